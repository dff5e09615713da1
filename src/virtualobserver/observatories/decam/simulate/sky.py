"""What is in a field, and where the camera has it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.catalog.reference import ReferenceStars
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.world import world_of
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from virtualobserver.observatories.decam.simulate.settings import SimulationSettings

__all__ = ["CCD_NUMBERS", "Field", "field_of", "plate_cards", "turned_sky"]

FloatArray = NDArray[np.float64]
_ROWS: Final = (range(1, 8), range(8, 14), range(14, 20), range(20, 25), range(25, 29), range(29, 32))
"""CCDs of each row of the focal plane, from its middle outwards."""
_ROW_STEP, _COLUMN_STEP = 0.1642, 0.3108
"""Degrees between CCDs along north and along east, from 61 headers of exposure 1031745."""
SCALE: Final = 0.2637
"""Arcsec of a pixel in the middle of the camera."""
TURN: Final = 0.14
"""Degrees by which the camera is turned, as the trails of that exposure are on the mean."""
CUBIC: Final = -0.0016
"""Radial distortion, degrees^-2: pixels of the outermost CCDs are 0.6 % smaller."""
VR_COLOUR: Final = 0.2
"""VR - r for each magnitude of g - r. Chosen, not measured: the filter reaches over both bands."""


def _numbers() -> dict[str, int]:
    south = [f"S{n}" for row in reversed(_ROWS) for n in row]
    return {name: n for n, name in enumerate([*south, *(f"N{n}" for row in _ROWS for n in row)], start=1)}


CCD_NUMBERS: Final = MappingProxyType(_numbers())
"""CCDNUM by DETPOS."""


@dataclass(frozen=True, eq=False)
class Field:
    """Stars on one CCD and around it, shape (n,).

    Parameters
    ----------
    ra, dec
        Degrees.
    r, g_r
        Magnitude and colour.
    """

    ra: FloatArray
    dec: FloatArray
    r: FloatArray
    g_r: FloatArray

    def __len__(self) -> int:
        return len(self.ra)

    def mag(self, band: str) -> FloatArray:
        """Return the magnitudes in ``g``, ``r`` or ``VR``."""
        return self.r + {"g": 1.0, "r": 0.0, "VR": VR_COLOUR}[band] * self.g_r

    def gaia(self, *, faintest: float = 20.7, first: int = 1) -> ReferenceStars:
        """Return what Gaia would have of them, without motion, numbered from `first`; G is r, BP - RP from g - r."""
        rows = np.flatnonzero(self.r < faintest)
        columns = {
            "source_id": first + rows, "ra": self.ra[rows], "dec": self.dec[rows], "mag": self.r[rows],
            "bp_rp": 0.4 + self.g_r[rows], "pmra": np.zeros(len(rows)), "pmdec": np.zeros(len(rows)),
            "mag_error": np.full(len(rows), 0.003),
        }  # fmt: skip
        return ReferenceStars.build(columns, epoch=2016.0)


def place_of(ccd: str) -> tuple[float, float]:
    """Return how far east and north of the middle of the camera a CCD is, degrees."""
    number = int(ccd[1:])
    for row, names in enumerate(_ROWS):
        if number in names:
            east = (number - (names.start + names.stop - 1) / 2) * _COLUMN_STEP
            return east, (row + 0.5) * _ROW_STEP * (-1 if ccd.startswith("N") else 1)
    msg = f"there is no CCD {ccd}"
    raise KeyError(msg)


def plate_cards(
    ccd: str,
    size: tuple[int, int],
    boresight: tuple[float, float],
    *,
    distorted: bool,
    shift: tuple[float, float] = (0.0, 0.0),
) -> RecordDict:
    """Return the world coordinates of the middle part of a CCD: +x is south, +y is east.

    Parameters
    ----------
    size
        Rows and columns.
    shift
        Pixels along x and y by which things are elsewhere than without it.
    """
    (east, north), (ny, nx) = place_of(ccd), size
    pixel, turn = SCALE / ARCSEC_PER_DEGREE, math.radians(TURN)
    cards: RecordDict = {
        "WCSAXES": 2, "CTYPE1": "RA---TPV" if distorted else "RA---TAN",
        "CTYPE2": "DEC--TPV" if distorted else "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg",
        "CRVAL1": boresight[0], "CRVAL2": boresight[1],
        "CRPIX1": (nx + 1) / 2 + north / pixel + shift[0], "CRPIX2": (ny + 1) / 2 - east / pixel + shift[1],
        "CD1_1": -pixel * math.sin(turn), "CD1_2": pixel * math.cos(turn),
        "CD2_1": -pixel * math.cos(turn), "CD2_2": -pixel * math.sin(turn), "RADESYS": "ICRS", "EQUINOX": 2000.0,
    }  # fmt: skip
    if distorted:
        for axis in (1, 2):
            cards |= {f"PV{axis}_{term}": 0.0 for term in range(11) if term != 3}
            cards |= {f"PV{axis}_1": 1.0, f"PV{axis}_7": CUBIC, f"PV{axis}_9": CUBIC}
    return cards


def turned_sky(ra: FloatArray, dec: FloatArray, *, ra0: float, angle: float) -> tuple[FloatArray, FloatArray]:
    """Return positions (degrees) after the sky turned by an angle (degrees) about the axis across a meridian.

    A positive angle moves stars on the meridian `ra0` north: what a camera sees whose telescope moves south.
    """
    a, d, t = np.radians(ra - ra0), np.radians(dec), math.radians(angle)
    x, y, z = np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)
    x, z = x * math.cos(t) - z * math.sin(t), x * math.sin(t) + z * math.cos(t)
    return (np.degrees(np.arctan2(y, x)) + ra0) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def field_of(
    ccd: str, boresight: tuple[float, float], sim: SimulationSettings, rng: np.random.Generator
) -> Field:
    """Return stars on the middle part of a CCD, and as far around it as their trails may begin."""
    wcs: WCS = world_of(plate_cards(ccd, sim.size, boresight, distorted=sim.distorted))
    margin = (sim.rate * sim.exptime * (1 + abs(sim.rate_error)) + sim.pointing_error) / SCALE + 15
    ny, nx = sim.size[0] + 2 * margin, sim.size[1] + 2 * margin
    n = int(rng.poisson(sim.density * nx * ny / 1e6))
    x, y = rng.uniform(-margin, nx - margin, n), rng.uniform(-margin, ny - margin, n)
    bright, faint = (10 ** (0.3 * mag) for mag in sim.mag)
    mag = np.log10(bright + rng.random(n) * (faint - bright)) / 0.3
    ra, dec = (np.asarray(part, float) for part in wcs.pixel_to_world_values(x, y))
    return Field(ra % 360, dec, mag, np.clip(rng.normal(0.6, 0.35, n), -0.3, 1.6))
