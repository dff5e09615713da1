"""The list of products by way of astroquery.eso, for those who prefer it to a query of our own.

Releases up to 0.4.11 fill in the archive's web form, which gives at most 10,000 rows, neither sizes nor release
dates for certain, and squares instead of circles; later ones ask the same TAP service as we do. Either way products
are downloaded by the framework, which verifies them. What old releases send goes through the framework's client.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

import requests

from virtualobserver.errors import ArchiveAnswerError, ArchiveOverflow
from virtualobserver.io.http.client import HttpClient
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.observatories.harps.query import WEB, Found, build_query, rows_of
from virtualobserver.observatories.harps.settings import HARPSSettings
from virtualobserver.typing import RecordDict, Value

if TYPE_CHECKING:
    from astropy.table import Row as AstropyRow
    from astropy.table import Table as AstropyTable
    from astroquery.eso import EsoClass

T = TypeVar("T")

__all__ = ["find_rows", "open_eso"]

_HARD_CODED: Final = "http://archive.eso.org"
_MOST: Final = 10_000
"""What the form of the archive gives at most."""
_SHORTEST: Final = 1.0  # d; the form knows no finer time
_FORM: Final = {
    "dp_id": "ARCFILE", "target_name": "Object", "ra": "RA", "dec": "DEC", "date": "DATE OBS", "exptime": "EXPTIME",
    "proposal": "Run/Program ID",
}  # fmt: skip

Cone = tuple[float, float, float]


def open_eso(http: HttpClient, base: str = WEB) -> EsoClass:
    """Return astroquery's client; what it sends with `requests` goes through `http` instead."""
    from astroquery.eso import EsoClass

    class Eso(EsoClass):  # type: ignore[misc]
        """The client of astroquery with the pace, patience and privacy of the framework."""

        def _request(
            self,
            method: str,
            url: str,
            params: Value = None,
            data: Value = None,
            files: Value = None,
            **_: Value,
        ) -> requests.Response:
            address = base + url.removeprefix(_HARD_CODED) if url.startswith(_HARD_CODED) else url
            if method == "GET":
                answer = http.get(address, params=_several(params))
            else:
                answer = http.post(address, data=_several(data), files=files)
            response = requests.Response()
            response.status_code, response.url = 200, answer.url
            response._content = answer.content  # noqa: SLF001 - the way to make one from bytes
            return response

    return Eso()


def _several(pairs: Value) -> dict[str, list[Value]] | None:
    """Return (name, value) pairs as a mapping to lists: a name may come several times."""
    if pairs is None:
        return None
    found: dict[str, list[Value]] = {}
    for name, value in pairs.items() if isinstance(pairs, dict) else pairs:
        found.setdefault(name, []).append(value)
    return found


def find_rows(
    eso: EsoClass, cone: Cone | None, settings: HARPSSettings, times: tuple[float, float]
) -> Iterator[Found]:
    """Yield the products of a cone (degrees), or of the whole sky.

    Parameters
    ----------
    eso
        Client of astroquery, as `open_eso` returns it.
    times
        First and last MJD of observation.

    Raises
    ------
    ArchiveError
        If the archive does not answer, not with all rows, or without a needed column.
    """
    if hasattr(eso, "query_tap"):
        eso.ROW_LIMIT = -1
        adql = build_query(
            cone, collections=settings.collections, archived_before=settings.archived_before,
            minimal_snr=settings.minimal_snr,
        )  # fmt: skip
        table = _quietly(lambda: eso.query_tap(adql))
        yield from () if table is None else rows_of(table, "astroquery.eso")
        return
    latest = f"ADP.{settings.archived_before}" if settings.archived_before else "B"
    for row in _form_rows(eso, cone, settings, times):
        if row.dp_id < latest and (cone is None or _inside(row, cone)):
            yield row


def _form_rows(
    eso: EsoClass, cone: Cone | None, settings: HARPSSettings, times: tuple[float, float]
) -> Iterator[Found]:
    """Yield what the form finds; where it gives as many rows as it can, the halves of the time."""
    eso.ROW_LIMIT = -1
    asked: RecordDict = {
        "dataproduct_type": "spectrum", "mjd_obs": f"{times[0]:.4f}..{times[1]:.4f}", "tab_rel_date": "on"
    }  # fmt: skip
    if cone is not None:
        minutes, seconds = divmod(math.ceil(7200 * cone[2] - 1e-6), 60)
        box = f"{minutes // 60:02d} {minutes % 60:02d} {seconds:02d}"
        asked |= {"coord1": f"{cone[0]:.7f}", "coord2": f"{cone[1]:.7f}", "box": box}
    table = _quietly(lambda: eso.query_surveys(surveys=list(settings.collections), cache=False, **asked))
    if table is None:
        return
    if missing := [name for name in ("ARCFILE", "RA", "DEC", "DATE OBS") if name not in table.colnames]:
        msg = f"astroquery.eso: the archive answered without {', '.join(missing)}; set route: tap"
        raise ArchiveAnswerError(msg)
    if len(table) < _MOST:
        for row in table:
            yield _found(
                {name: row[theirs] if theirs in table.colnames else None for name, theirs in _FORM.items()},
                _release(table, row),
            )
        return
    if times[1] - times[0] < _SHORTEST:
        msg = f"astroquery.eso: the form of the archive gives no more than {_MOST} rows; set route: tap"
        raise ArchiveOverflow(msg)
    middle = (times[0] + times[1]) / 2
    yield from _form_rows(eso, cone, settings, (times[0], middle))
    yield from _form_rows(eso, cone, settings, (middle, times[1]))


def _quietly(ask: Callable[[], T]) -> T:
    """Ask; that nothing was found, which astroquery says in a warning, is no news."""
    from astroquery.exceptions import RemoteServiceError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ask()
    except (RemoteServiceError, ValueError, IndexError, AttributeError) as error:
        # what parsing a page that is no form, or a table that is none, ends with
        msg = f"astroquery.eso: no list of products in the answer ({error}); set route: tap"
        raise ArchiveAnswerError(msg) from error


def _release(table: AstropyTable, row: AstropyRow) -> str:
    name = next((one for one in table.colnames if one.lower().startswith("release date")), None)
    return "" if name is None else _text(row[name])


def _found(row: RecordDict, release: str) -> Found:
    from astropy.time import Time

    started = _text(row["date"])
    return Found(
        dp_id=_text(row["dp_id"]),
        target_name=_text(row["target_name"]),
        ra=_number(row["ra"]),
        dec=_number(row["dec"]),
        t_min=float(Time(started).mjd) if started else math.nan,
        exptime=_number(row["exptime"]),
        snr=math.nan,
        em_min=math.nan,
        em_max=math.nan,
        url="",
        size=math.nan,
        release=release,
        proposal=_text(row["proposal"]),
    )


def _inside(row: Found, cone: Cone) -> bool:
    return bool(separation(row.ra, row.dec, cone[0], cone[1]) <= cone[2])


def _text(value: object) -> str:
    return "" if value is None or type(value).__name__ == "MaskedConstant" else str(value).strip()


def _number(value: Value) -> float:
    return math.nan if value is None or type(value).__name__ == "MaskedConstant" else float(value)
