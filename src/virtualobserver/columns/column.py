"""What a column holds, and the limits that many share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from virtualobserver.conventions import MJD_ZERO_JD, SCALE_UTC, UNIT_DAY

__all__ = [
    "ANY",
    "DEC",
    "JD",
    "MAG",
    "MAG_ERROR",
    "MJD",
    "PIXEL",
    "POSITIVE",
    "RA",
    "SECONDS",
    "SHARE",
    "Column",
    "Range",
    "of",
    "time_of",
]


@dataclass(frozen=True)
class Column:
    """What a column holds.

    Parameters
    ----------
    name
        Its name in our tables.
    unit
        Unit as astropy reads it; empty for names and pure numbers.
    ucd
        Unified content descriptor (IVOA UCD1+ 1.5).
    description
        One sentence without a full stop.
    low, high
        Smallest and largest value that can be; both are allowed.
    scale, place
        Time scale and place of a time as VOTable spells them (``UTC``, ``TOPOCENTER``); empty for others.
    utype
        Path in the ObsCore data model, for its columns.
    datatype
        VOTable's type of the column where a standard demands one: ``char``, ``int``, ``long`` or ``double``.
    """

    name: str
    unit: str = ""
    ucd: str = ""
    description: str = ""
    low: float = -math.inf
    high: float = math.inf
    scale: str = ""
    place: str = ""
    utype: str = ""
    datatype: str = ""

    @property
    def bounded(self) -> bool:
        """Whether not every number can be a value."""
        return math.isfinite(self.low) or math.isfinite(self.high)


# Ranges are what can be, not what is usual: their job is to find sentinels and other kinds of numbers.
MJD: Final = (5_000.0, 120_000.0)  # 1872, before the first plates, to 2187; TESS's BTJD and JDs are outside
JD: Final = (MJD_ZERO_JD + MJD[0], MJD_ZERO_JD + MJD[1])
MAG: Final = (
    -30.0,
    40.0,
)  # the Sun is -26.8, nothing fainter than 32 was measured; 50, 90, 99 are sentinels
MAG_ERROR: Final = (0.0, 10.0)  # an error of 10 mag says nothing; sentinels are 99 and -1
RA: Final = (0.0, 360.0)
"""Degrees, by definition."""
DEC: Final = (-90.0, 90.0)
"""Degrees, by definition."""
SECONDS: Final = (0.0, 1e7)  # four months: the deepest stacks
POSITIVE: Final = (0.0, math.inf)
PIXEL: Final = (-1e6, 1e6)
"""A position further out is no position: detectors have some 1e4 pixels."""
SHARE: Final = (0.0, 1.0)
"""By definition of a share."""

Range = tuple[float, float]
ANY: Final[Range] = (-math.inf, math.inf)


def of(name: str, unit: str, ucd: str, description: str, limits: Range = ANY) -> Column:
    """Return a column with limits."""
    return Column(name, unit, ucd, description, *limits)


def time_of(
    name: str,
    ucd: str,
    description: str,
    limits: Range = MJD,
    *,
    scale: str = SCALE_UTC,
    place: str = "TOPOCENTER",
) -> Column:
    """Return a column of times in days, of which scale and place are said."""
    return Column(name, UNIT_DAY, ucd, description, *limits, scale=scale.upper(), place=place)
