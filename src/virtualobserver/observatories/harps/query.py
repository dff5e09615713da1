"""Questions to the ESO archive as pure functions: ADQL on ObsCore, and the rows of the answers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from virtualobserver.errors import ArchiveAnswerError, ConfigError
from virtualobserver.io.http.tap import votable_rows

if TYPE_CHECKING:
    from astropy.table import Row as AstropyRow
    from astropy.table import Table as AstropyTable

    from virtualobserver.typing import Value

__all__ = ["COLUMNS", "FILE_URL", "TAP_URL", "WEB", "Found", "build_query", "parse_rows", "rows_of"]

TAP_URL: Final = "https://archive.eso.org/tap_obs"
WEB: Final = "https://archive.eso.org"
FILE_URL: Final = "https://dataportal.eso.org/dataPortal/file/"
COLUMNS: Final = (
    "target_name", "dp_id", "s_ra", "s_dec", "t_min", "t_exptime", "snr", "em_min", "em_max", "em_res_power",
    "access_url", "access_estsize", "obs_release_date", "proposal_id",
)  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z0-9_.+-]{1,40}")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Found:
    """A product of the archive: what ObsCore says of it. Sizes are bytes, wavelengths metres."""

    dp_id: str
    target_name: str
    ra: float
    dec: float
    t_min: float
    exptime: float
    snr: float
    em_min: float
    em_max: float
    url: str
    size: float
    release: str
    proposal: str
    em_res_power: float = math.nan

    def is_public(self, now: str) -> bool:
        """Say whether it is public at a time (ISO 8601, UTC)."""
        return not self.release or self.release[:19] <= now[:19]


def build_query(
    cone: tuple[float, float, float] | None = None,
    *,
    collections: Sequence[str] = ("HARPS",),
    times: tuple[float, float] | None = None,
    archived_before: str | None = None,
    minimal_snr: float = 0.0,
) -> str:
    """Return the ADQL that lists spectra.

    Parameters
    ----------
    cone
        Right ascension, declination and radius, degrees; all of the sky if not given.
    times
        First and last ``t_min`` (MJD), the last left out.
    archived_before
        A day; products are named by when they were archived, ADP.<time>, so that names tell.

    Raises
    ------
    ConfigError
        If a name cannot be one: nothing of a configuration enters a query unchecked.
    """
    if wrong := [name for name in collections if not _NAME.fullmatch(name)]:
        msg = f"collections: {', '.join(map(repr, wrong))} cannot be names of ESO collections, e.g. HARPS"
        raise ConfigError(msg)
    if not collections:
        msg = "collections: name at least one, e.g. HARPS"
        raise ConfigError(msg)
    if len(collections) == 1:
        which = f"obs_collection='{collections[0]}'"
    else:
        which = "obs_collection IN (" + ",".join(f"'{name}'" for name in collections) + ")"
    where = [which, "dataproduct_type='spectrum'"]
    if cone is not None:
        ra, dec, radius = cone
        if not (math.isfinite(ra) and abs(dec) <= 90 and 0 < radius < 90):
            msg = f"a cone needs ra, dec and radius in degrees, not {cone}"
            raise ConfigError(msg)
        where.append(f"INTERSECTS(s_region,CIRCLE('ICRS',{ra % 360:.7f},{dec:.7f},{radius:.7f}))=1")
    if minimal_snr > 0:
        where.append(f"snr>={minimal_snr:g}")
    if archived_before is not None:
        if not _DAY.fullmatch(archived_before):
            msg = f"archived_before: {archived_before!r} is no day such as 2022-03-21"
            raise ConfigError(msg)
        where.append(f"dp_id<'ADP.{archived_before}'")
    if times is not None:
        where.append(f"t_min>={times[0]:.6f} AND t_min<{times[1]:.6f}")
    return f"SELECT {','.join(COLUMNS)} FROM ivoa.ObsCore WHERE {' AND '.join(where)}"  # noqa: S608 - every part was checked


def parse_rows(content: bytes, where: str) -> list[Found]:
    """Return the rows of an answer that was found whole and good.

    Raises
    ------
    ArchiveAnswerError
        If a column is missing.
    """
    return rows_of(votable_rows(content), where)


def rows_of(table: AstropyTable, where: str) -> list[Found]:
    """Return the rows of a table with the columns of ObsCore.

    Raises
    ------
    ArchiveAnswerError
        If a column is missing.
    """
    if missing := [name for name in COLUMNS if name not in table.colnames]:
        msg = f"{where}: the archive answered without {', '.join(missing)}"
        raise ArchiveAnswerError(msg)
    return [_found(row) for row in table]


def _found(row: AstropyRow) -> Found:
    return Found(
        dp_id=_text(row["dp_id"]),
        target_name=_text(row["target_name"]),
        ra=_number(row["s_ra"]),
        dec=_number(row["s_dec"]),
        t_min=_number(row["t_min"]),
        exptime=_number(row["t_exptime"]),
        snr=_number(row["snr"]),
        em_min=_number(row["em_min"]),
        em_max=_number(row["em_max"]),
        url=_text(row["access_url"]),
        size=1000.0 * _number(row["access_estsize"]),
        release=_text(row["obs_release_date"]),
        proposal=_text(row["proposal_id"]),
        em_res_power=_number(row["em_res_power"]),
    )


def _text(value: object) -> str:
    if value is None or getattr(value, "mask", False) is True or type(value).__name__ == "MaskedConstant":
        return ""
    return value.decode() if isinstance(value, bytes) else str(value).strip()


def _number(value: Value) -> float:
    return math.nan if type(value).__name__ == "MaskedConstant" or value is None else float(value)
