"""Requests to the archive, as pure functions, and how their answers are checked."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.csv as pacsv

from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.product import Target
from virtualobserver.errors import ArchiveAnswerError, ConfigError
from virtualobserver.io.http.answers import Answer, expect_csv, expect_votable
from virtualobserver.observatories.ztf.table import REQUIRED

__all__ = [
    "FORCED_URL",
    "LIGHTCURVE_URL",
    "TAP_URL",
    "Cone",
    "build_cone_params",
    "build_lightcurve_params",
    "build_objects_query",
    "build_release_query",
    "build_tap_params",
    "check_lightcurve",
    "check_objects",
    "check_releases",
    "chunks",
    "cone_of",
    "newest_release",
    "parse_objects",
]

TAP_URL = "https://irsa.ipac.caltech.edu/TAP/sync"
FORCED_URL = "https://ztfweb.ipac.caltech.edu"
LIGHTCURVE_URL = "https://irsa.ipac.caltech.edu/cgi-bin/ZTF/nph_light_curves"
MAX_IDS = 100
"""Objects a request, so that its address stays short. Chosen, not tuned."""
T = TypeVar("T")
MAX_RADIUS = 0.1667  # deg, the service's own limit
OBJECT_COLUMNS = ("oid", "ra", "dec", "filtercode", "field", "ccdid", "qid", "ngoodobs")
_MIDDLE, _HALF_SPAN = 2022.5, 4.5  # Julian years: the survey began in 2018
_RELEASE = re.compile(r"dr[0-9]{1,3}")
_FILTER_NAMES = {"zg": "g", "zr": "r", "zi": "i"}


class Cone(NamedTuple):
    """Centre (ICRS, deg) and radius (deg) of a search."""

    ra: float
    dec: float
    radius: float


def cone_of(target: Target, radius: float) -> Cone:
    """Return the cone that holds `target` all through the survey.

    Parameters
    ----------
    target
        Its position is carried to the middle of the survey by its proper motion.
    radius
        Margin in arcsec, widened by the proper motion of half the survey.

    Raises
    ------
    BadKeyword
        If the target has no position.
    """
    ra, dec = target.position_at(_MIDDLE)
    motion = math.hypot(target.pmra or 0.0, target.pmdec or 0.0) / 1000.0  # arcsec/yr
    return Cone(ra, dec, min((radius + motion * _HALF_SPAN) / ARCSEC_PER_DEGREE, MAX_RADIUS))


def build_release_query() -> str:
    """Return the ADQL that lists the objects tables, hence the releases."""
    return "SELECT table_name FROM TAP_SCHEMA.tables WHERE table_name LIKE 'ztf_objects_dr%'"


def build_objects_query(cone: Cone, release: str, filters: Sequence[str] = ()) -> str:
    """Return the ADQL that lists the objects of a release inside a cone."""
    _check_release(release)
    where = (
        f"CONTAINS(POINT('ICRS', ra, dec), "
        f"CIRCLE('ICRS', {cone.ra:.7f}, {cone.dec:.7f}, {cone.radius:.7f})) = 1"
    )
    filters = _checked_filters(filters)
    if 0 < len(filters) < len(_FILTER_NAMES):
        where += " AND filtercode IN (" + ", ".join(f"'{name}'" for name in filters) + ")"
    return f"SELECT {', '.join(OBJECT_COLUMNS)} FROM ztf_objects_{release} WHERE {where}"  # noqa: S608 - every part was checked


def build_tap_params(query: str) -> dict[str, str]:
    """Return the form of a synchronous TAP query with a CSV answer.

    Columns, filters and digits of the queries here have one order and one form, so that the same question
    is always the same text.
    """
    return {"REQUEST": "doQuery", "LANG": "ADQL", "FORMAT": "csv", "QUERY": query}


def build_lightcurve_params(oids: Sequence[int], release: str) -> list[tuple[str, str]]:
    """Return the parameters that ask for the light curves of at most 100 objects.

    The mask 0 keeps flagged epochs: the service drops every epoch with a bit of the mask.
    """
    _check_release(release)
    if not 0 < len(oids) <= MAX_IDS:
        msg = f"one request takes 1 to {MAX_IDS} object ids, not {len(oids)}"
        raise ValueError(msg)
    return [("ID", str(int(oid))) for oid in oids] + _common(release)


def build_cone_params(cone: Cone, release: str, filters: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return the parameters of the light-curve service's own cone search."""
    _check_release(release)
    params = [("POS", f"CIRCLE {cone.ra:.7f} {cone.dec:.7f} {cone.radius:.7f}")]
    filters = _checked_filters(filters)
    if 0 < len(filters) < len(_FILTER_NAMES):
        params.append(("BANDNAME", ",".join(_FILTER_NAMES[name] for name in filters)))
    return params + _common(release)


def _common(release: str) -> list[tuple[str, str]]:
    return [("BAD_CATFLAGS_MASK", "0"), ("COLLECTION", f"ztf_{release}"), ("FORMAT", "CSV")]


def _check_release(release: str) -> None:
    if not _RELEASE.fullmatch(release):
        msg = f"release {release!r} is not of the form dr24"
        raise ConfigError(msg)


def _checked_filters(filters: Sequence[str]) -> list[str]:
    if unknown := [name for name in filters if name not in _FILTER_NAMES]:
        msg = f"filters {', '.join(unknown)} are not among {', '.join(_FILTER_NAMES)}"
        raise ConfigError(msg)
    return sorted(set(filters))


def chunks(items: Sequence[T], size: int = MAX_IDS) -> Iterator[Sequence[T]]:
    """Cut a list of object ids, or of other things, into requests, in order."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def check_objects(answer: Answer) -> bool:
    """Accept an answer of the objects table; True if it lists nothing. Errors: see `expect_csv`."""
    return bool(expect_csv(("oid", "ngoodobs"))(answer))


def check_releases(answer: Answer) -> bool:
    """Accept a list of tables; True if it lists nothing."""
    return bool(expect_csv(("table_name",))(answer))


def check_lightcurve(answer: Answer) -> bool:
    """Accept a light curve, CSV or VOTable; True if it has no epoch.

    Raises
    ------
    ArchiveAnswerError
        If the body is an error report, a web page or another table.
    IncompleteDownload
        If it was cut, which the client answers by asking again.
    """
    if b"<votable" in answer.content[:1024].lower():
        return bool(expect_votable()(answer))
    return bool(expect_csv(REQUIRED)(answer))


def newest_release(content: bytes) -> str:
    """Return the newest release named in the answer to `build_release_query`."""
    numbers = [int(found) for found in re.findall(rb"ztf_objects_dr([0-9]+)\b", content)]
    if not numbers:
        msg = "list of ZTF releases: no table ztf_objects_drNN; set release to a number, e.g. dr24"
        raise ArchiveAnswerError(msg)
    return f"dr{max(numbers)}"


def parse_objects(content: bytes, name: str) -> list[int]:
    """Return the ids of the objects that have light curves, in increasing order.

    An object without good observations is listed by the archive but has no light curve.
    """
    first = content.split(b"\n", 1)[0].decode("utf-8", "replace").strip().replace('"', "").split(",")
    if missing := [column for column in ("oid", "ngoodobs") if column not in first]:
        msg = f"{name}: the objects table answered without {', '.join(missing)}: {','.join(first)[:200]}"
        raise ArchiveAnswerError(msg)
    options = pacsv.ConvertOptions(
        column_types={"oid": pa.int64(), "ngoodobs": pa.int64()}, include_columns=["oid", "ngoodobs"]
    )
    try:
        table = pacsv.read_csv(io.BytesIO(content), convert_options=options)
    except pa.ArrowInvalid as error:
        msg = f"{name}: the answer of the objects table is damaged ({str(error).splitlines()[0][:200]})"
        raise ArchiveAnswerError(msg) from None
    pairs = zip(table.column("oid").to_pylist(), table.column("ngoodobs").to_pylist(), strict=True)
    return sorted({oid for oid, good in pairs if oid is not None and good})
