"""Records of 80 columns, as the Minor Planet Center takes the places of bodies."""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from virtualobserver.errors import DataError
from virtualobserver.io.mpc.names import UNKNOWN, Designation

__all__ = ["CATALOGUES", "MJD_ZERO", "Observation", "header_lines", "record"]

MJD_ZERO: Final = date(1858, 11, 17)
CATALOGUES: Final = {
    "Gaia1": "U", "Gaia2": "V", "Gaia3": "W", "Gaia3E": "X", "Tyc2": "g", "UCAC4": "q", "PPMXL": "t",
}  # fmt: skip
"""Letters of reference catalogues, by their names in ADES."""

_WIDTH: Final = 80
"""Columns of a line, those of a punched card."""


@dataclass(frozen=True)
class Observation:
    """One body at one time.

    Parameters
    ----------
    mjd
        UTC, middle of the exposure.
    ra, dec
        deg, ICRS.
    temporary
        Name of at most seven letters of a body without `designation`.
    ra_error, dec_error
        arcsec, the first times cos(dec); NaN if not known.
    mag, mag_error
        NaN if not known.
    band
        As the Minor Planet Center calls it; empty if not known.
    """

    mjd: float
    ra: float
    dec: float
    designation: Designation = UNKNOWN
    temporary: str = ""
    ra_error: float = math.nan
    dec_error: float = math.nan
    mag: float = math.nan
    mag_error: float = math.nan
    band: str = ""


def record(
    seen: Observation,
    code: str,
    *,
    discovery: str = " ",
    note1: str = " ",
    note2: str = "C",
    catalogue: str = " ",
    digits: tuple[int, int, int, int] = (6, 3, 2, 2),
    both: bool = False,
) -> str:
    """Return a record of exactly 80 columns.

    All numbers are rounded as a whole, so that 59.9996 s carries over into minutes, hours and the next day.

    Parameters
    ----------
    code
        Of the observatory.
    discovery, note1, note2, catalogue
        Columns 13, 14, 15 and 72.
    digits
        Decimals of day, seconds of right ascension, seconds of declination, and magnitude.
    both
        Write the provisional designation of a numbered body too.

    Raises
    ------
    DataError
        If something does not fit into its columns.
    """
    day, second, arcsecond, hundredth = digits
    name = f"{'':5}{seen.temporary:<7}" if seen.temporary else seen.designation.packed(both=both)
    mag = f"{seen.mag:.{hundredth}f}" if math.isfinite(seen.mag) else ""
    text = (
        f"{name}{discovery}{note1}{note2}{_time(seen.mjd, day):<17}{_hours(seen.ra, second):<12}"
        f"{_degrees(seen.dec, arcsecond):<12}{'':9}{mag:<5}{seen.band:1}{catalogue}{'':5}{code}"
    )
    if len(text) != _WIDTH or not text.isascii():
        msg = f"{text!r} is no record of {_WIDTH} columns"
        raise DataError(msg)
    return text


def _time(mjd: float, digits: int) -> str:
    day, part = divmod(round(mjd * 10**digits), 10**digits)
    return f"{MJD_ZERO + timedelta(day):%Y %m %d}.{part:0{digits}d}"


def _hours(ra: float, digits: int) -> str:
    return _sixty(round(ra * 240 * 10**digits) % (86400 * 10**digits), digits)


def _degrees(dec: float, digits: int) -> str:
    units = round(dec * 3600 * 10**digits)
    return ("-" if units < 0 else "+") + _sixty(abs(units), digits)


def _sixty(units: int, digits: int) -> str:
    """Return a whole number of the last decimal of a second as ``12 34 56.78``."""
    whole, part = divmod(units, 10**digits)
    minutes, seconds = divmod(whole, 60)
    return f"{minutes // 60:02d} {minutes % 60:02d} {seconds:02d}.{part:0{digits}d}"


def header_lines(told: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield lines such as ``OBS A. Name, B. Other``, without accents; a long one goes on with the same word."""
    for word, text in told:
        plain = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
        for line in textwrap.wrap(plain, _WIDTH - 4):
            yield f"{word} {line}"
