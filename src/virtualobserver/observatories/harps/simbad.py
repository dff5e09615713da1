"""The star in SIMBAD: found by position or by name, for its other names, motion and spectral type.

Asked by TAP (ADQL) with the framework's HTTP client, so that pace, retries and kept answers are those of every
other archive. Positions of SIMBAD are ICRS at J2000.0. Reference: Wenger et al. 2000, A&AS 143, 9.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.product import Raw, RawRef, Target
from virtualobserver.errors import ArchiveAnswerError, ConfigError, DataError
from virtualobserver.io.http.answers import expect_votable
from virtualobserver.io.http.client import HttpClient
from virtualobserver.io.http.tap import tap_request, votable_rows
from virtualobserver.maths.astrometry.motion import move_linear
from virtualobserver.maths.astrometry.positions import match_star, normal_name
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from virtualobserver.typing import Value

__all__ = [
    "SERVICE",
    "TAP_URL",
    "SimbadStar",
    "ask",
    "build_query",
    "describe",
    "identify",
    "located",
    "parse_stars",
]

SERVICE: Final = "simbad"
TAP_URL: Final = "https://simbad.cds.unistra.fr/simbad/sim-tap"
_EPOCH: Final = 2000.0
"""SIMBAD gives positions of this Julian year, whatever the source."""
_COLUMNS: Final = {
    **dict.fromkeys(
        ("main_id", "ra", "dec", "pmra", "pmdec", "plx_value", "rvz_radvel", "sp_type", "otype"), "basic"
    ),
    "V": "allfluxes", "G": "allfluxes", "ids": "ids",
}  # fmt: skip
"""Column to table. Names are quoted, since those of magnitudes differ in case only."""
_TABLES: Final = (
    "basic LEFT JOIN ids ON ids.oidref = basic.oid LEFT JOIN allfluxes ON allfluxes.oidref = basic.oid"
)
_NAME: Final = re.compile(r"[\x20-\x7e]{1,80}")
_MOST_NAMES: Final = 20
"""Names a query, so that it stays short. Chosen, not tuned."""
_ROWS: Final = 1000
"""Stars about a target are few; a thousand means that the cone is wrong."""
_KIND: Final = re.compile(r"^(\*\*|\*|V\*|EM\*|PM\*|HH|Cl\*|NAME)\s+")
"""What SIMBAD puts before a name to say what kind of name it is."""


@dataclass(frozen=True)
class SimbadStar:
    """An object of SIMBAD: degrees at J2000.0, mas/yr, mas, km/s; NaN or empty where nothing is known."""

    main_id: str
    ra: float
    dec: float
    pmra: float
    pmdec: float
    parallax: float
    radial_velocity: float
    sptype: str
    otype: str
    mag_v: float
    mag_g: float
    names: tuple[str, ...]

    @property
    def gaia_dr3(self) -> str:
        """Source number in Gaia DR3, empty if SIMBAD knows none."""
        return next((name[9:].strip() for name in self.names if name.startswith("Gaia DR3 ")), "")

    def position(self, year: float) -> tuple[float, float]:
        """Return where it is in a Julian year."""
        ra, dec = move_linear(self.ra, self.dec, self.pmra, self.pmdec, year - _EPOCH)
        return float(ra), float(dec)

    def goes_by(self, names: Sequence[str]) -> bool:
        """Say whether one of `names` is one of its names, however it is spelt."""
        own = {normal_name(_KIND.sub("", name)) for name in (self.main_id, *self.names)}
        return any(normal_name(_KIND.sub("", name)) in own for name in names if name.strip())


def build_query(cone: tuple[float, float, float] | None = None, *, names: Sequence[str] = ()) -> str:
    """Return the ADQL that asks for the objects in a cone (degrees, J2000.0), or for those of some names.

    Raises
    ------
    ConfigError
        If the cone is none.
    DataError
        If neither cone nor a name that can be asked for is given.
    """
    columns = ", ".join(f'{table}."{name}"' for name, table in _COLUMNS.items())
    select = f"SELECT {columns} FROM {_TABLES}"  # noqa: S608 - constants
    if cone is not None:
        ra, dec, radius = cone
        if not (math.isfinite(ra) and abs(dec) <= 90 and 0 < radius < 90):
            msg = f"a cone needs ra, dec and radius in degrees, not {cone}"
            raise ConfigError(msg)
        circle = f"CIRCLE('ICRS', {ra % 360:.7f}, {dec:.7f}, {radius:.7f})"
        return f"{select} WHERE CONTAINS(POINT('ICRS', basic.ra, basic.dec), {circle}) = 1"
    wanted = [name.strip() for name in names if _NAME.fullmatch(name) and name.strip()]
    if not wanted:
        msg = f"SIMBAD is asked for a cone or for names in ASCII, not for {list(names)}"
        raise DataError(msg)
    where = " OR ".join(
        "ident.id = '" + name.replace("'", "''") + "'" for name in dict.fromkeys(wanted[:_MOST_NAMES])
    )
    distinct = select.replace("SELECT", "SELECT DISTINCT", 1)
    return f"{distinct} JOIN ident ON ident.oidref = basic.oid WHERE {where}"


def parse_stars(content: bytes, where: str) -> list[SimbadStar]:
    """Return the objects of an answer that was found whole and good.

    Raises
    ------
    ArchiveAnswerError
        If a column is missing.
    """
    table = votable_rows(content)
    known = {name.lower(): name for name in table.colnames}
    if missing := [name for name in _COLUMNS if name.lower() not in known]:
        msg = f"{where}: SIMBAD answered without {', '.join(missing)}"
        raise ArchiveAnswerError(msg)
    stars = [_star({name: row[known[name.lower()]] for name in _COLUMNS}) for row in table]
    return [star for star in stars if math.isfinite(star.ra + star.dec)]


def _star(row: Record) -> SimbadStar:
    names = tuple(re.sub(r"\s+", " ", name).strip() for name in _text(row["ids"]).split("|"))
    return SimbadStar(
        main_id=re.sub(r"\s+", " ", _text(row["main_id"])),
        ra=_number(row["ra"]),
        dec=_number(row["dec"]),
        pmra=_number(row["pmra"]),
        pmdec=_number(row["pmdec"]),
        parallax=_number(row["plx_value"]),
        radial_velocity=_number(row["rvz_radvel"]),
        sptype=_text(row["sp_type"]),
        otype=_text(row["otype"]),
        mag_v=_number(row["V"]),
        mag_g=_number(row["G"]),
        names=tuple(name for name in names if name),
    )


def _text(value: object) -> str:
    if value is None or value is np.ma.masked:
        return ""
    return (value.decode() if isinstance(value, bytes) else str(value)).strip()


def _number(value: Value) -> float:
    return math.nan if value is None or value is np.ma.masked else float(value)


def ask(http: HttpClient, folder: Path, target: Target, *, radius: float = 30.0, url: str = TAP_URL) -> Raw:
    """Return what SIMBAD has around a target (radius in arcsec), or under its names if it has no position.

    Parameters
    ----------
    http
        Client without credentials.
    folder
        Where answers are kept.
    target
        What to ask for.

    Raises
    ------
    ArchiveError
        If SIMBAD does not answer, or with an error.
    """
    if target.ra is None or target.dec is None:
        names = (target.name, *target.aliases)
        adql, label = build_query(names=names), f"simbad {' | '.join(names)}"
    else:
        ra, dec = target.position_at(_EPOCH)
        moves = target.pmra is not None and target.pmdec is not None
        wide = radius if moves else radius + 0.5 * abs(_EPOCH - target.epoch)
        adql = build_query((ra, dec, wide / ARCSEC_PER_DEGREE))
        label = f"simbad {ra:.6f} {dec:.6f} {wide:.1f} arcsec"
    address, params = tap_request(url, adql, rows=_ROWS)
    answer = http.cached_get(address, folder=folder, params=params, check=expect_votable())
    return Raw(label, "votable", content=answer.content, header={"service": SERVICE, "adql": adql})


def identify(raws: Sequence[RawRef], target: Target, years: Sequence[float]) -> SimbadStar | None:
    """Return the object of SIMBAD that the target is: by name if one answers to it, else by position and brightness.

    Parameters
    ----------
    raws
        All raw data; the answer of SIMBAD is among them.
    target
        Its names, position, motion and magnitude.
    years
        Julian years of the spectra: the match is made at their middle.
    """
    answers = [raw for raw in raws if raw.header.get("service") == SERVICE]
    stars = parse_stars(answers[-1].read(), answers[-1].archive_id) if answers else []
    named = [star for star in stars if star.goes_by((target.name, *target.aliases))]
    if len(named) == 1 or target.ra is None or target.dec is None:
        return named[0] if len(named) == 1 else stars[0] if len(stars) == 1 else None
    stars = named or stars
    moves = target.pmra is not None and target.pmdec is not None
    year = float(np.median(years)) if len(years) and moves else target.epoch
    ra, dec = target.position_at(year)
    places = np.array([star.position(year) for star in stars]).reshape(-1, 2)
    away = separation(places[:, 0], places[:, 1], ra, dec) * ARCSEC_PER_DEGREE
    mags = [star.mag_g if target.mag_band.upper() == "G" else star.mag_v for star in stars]
    match = match_star(away, np.array(mags, dtype=np.float64), expected=target.mag)
    return None if match is None else stars[match.row]


def located(target: Target, star: SimbadStar | None) -> Target:
    """Return the target with what its catalogue does not say of place, motion and parallax, as SIMBAD has it.

    Raises
    ------
    DataError
        If nobody knows where it is.
    """
    if target.ra is None or target.dec is None:
        if star is None:
            msg = f"source {target.name} has no position, and SIMBAD knows no single object of its names; "
            raise DataError(msg + "give ra and dec in the catalogue")
        target = replace(target, ra=star.ra, dec=star.dec, epoch=_EPOCH, pmra=None, pmdec=None)
    if star is None or target.pmra is not None or target.pmdec is not None:
        return target
    if not math.isfinite(star.pmra + star.pmdec):
        return target
    return replace(target, pmra=star.pmra, pmdec=star.pmdec)


def describe(star: SimbadStar) -> RecordDict:
    """Return what SIMBAD knows as plain values: None where it does not know."""
    numbers = {
        "ra": star.ra, "dec": star.dec, "pmra": star.pmra, "pmdec": star.pmdec, "parallax": star.parallax,
        "radial_velocity": star.radial_velocity, "mag_v": star.mag_v, "mag_g": star.mag_g,
    }  # fmt: skip
    words = {"main_id": star.main_id, "sptype": star.sptype, "otype": star.otype, "gaia_dr3": star.gaia_dr3}
    plain: RecordDict = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return plain | {name: value or None for name, value in words.items()} | {"aliases": list(star.names)}
