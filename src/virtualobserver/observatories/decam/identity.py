"""Numbers of stars that stay, and which of them Gaia has.

Star numbers are permanent. A star of Gaia has Gaia's ``source_id``. Another one is numbered by its place: the
HEALPix cell (order 17, nested, 1.6 arcsec) times 256 plus its rank in the cell, above ``12 << 59``, which no number
of Gaia reaches. Neither depends on the order of the stars or on when the catalogue was made; only a star at the edge
of its cell could change it between two exposures, and keeps that of an earlier catalogue which is given as `known`,
as those of the companions of a frame are. Catalogues of one filter do not know of each other when they are made:
whoever measures with one of them asks the earlier ones for their numbers (`numbered`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from virtualobserver.catalog.reference import ReferenceCatalogue, ReferenceStars
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.table import Table
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["MATCH", "NO_GAIA", "PLACED", "gaia_of", "identified", "numbered", "pairs", "star_ids"]

FloatArray = NDArray[np.float64]
NO_GAIA: Final = -1
"""In the column ``gaia``, of a star that is not in Gaia."""
PLACED: Final = 12 << 59
"""First number of stars that Gaia does not have: its own end at 12 * 4**12 << 35."""
ID_ORDER: Final = 17
"""Of the HEALPix cells in star numbers: 1.6 arcsec wide, the diameter of the circle in which stars are one."""
MATCH: Final = 1.0
"""Arcsec within which two positions are one star."""


def star_ids(
    ra: FloatArray,
    dec: FloatArray,
    flux: FloatArray,
    *,
    gaia: Array | None = None,
    known: Sequence[Table] = (),
) -> NDArray[np.int64]:
    """Return permanent numbers of stars: Gaia's, those of earlier catalogues, or of their place, see above.

    Parameters
    ----------
    ra, dec : ndarray, shape (n,)
        Degrees, as they are in the exposure.
    flux : ndarray, shape (n,)
        The brighter of two in one cell has the lower number.
    gaia : ndarray of int, optional
        Numbers of Gaia, -1 where there is none.
    """
    from astropy import units as u
    from astropy_healpix import HEALPix

    cells = HEALPix(nside=1 << ID_ORDER, order="nested").lonlat_to_healpix(ra * u.deg, dec * u.deg)
    numbers = np.zeros(len(ra), np.int64) if gaia is None else np.maximum(np.asarray(gaia, np.int64), 0)
    for table in known:
        star, other, _ = pairs(ra, dec, table["ra"], table["dec"], MATCH)
        free = (numbers[star] == 0) & ~np.isin(table["star_id"][other], numbers)
        numbers[star[free]] = table["star_id"][other[free]]
    open_rows = np.flatnonzero(numbers == 0)
    taken = set(numbers.tolist())
    for row in open_rows[np.argsort(-np.nan_to_num(flux[open_rows]), kind="stable")]:
        number = PLACED + (int(cells[row]) << 8)
        while number in taken:
            number += 1
        taken.add(number)
        numbers[row] = number
    return numbers


def numbered(stars: Table, earlier: Sequence[Table]) -> Table:
    """Return a catalogue with the numbers that earlier ones have of its stars, the first of them before all others.

    So a star is called the same by whichever of several overlapping catalogues it is measured.
    """
    if not earlier:
        return stars
    place = (np.asarray(stars[name], float) for name in ("ra", "dec", "flux"))
    ids = star_ids(*place, gaia=np.asarray(stars["gaia"]), known=[*earlier, stars])
    return Table({**stars.columns, "star_id": ids}, stars.units, stars.meta)


def gaia_of(
    gaia: ReferenceStars | ReferenceCatalogue | None, wcs: WCS, shape: tuple[int, int], facts: RecordDict
) -> ReferenceStars | None:
    """Return the stars of Gaia where they were at the epoch of the frame."""
    if gaia is None:
        return None
    if isinstance(gaia, ReferenceStars):
        return gaia.at_epoch(facts["epoch"])
    ny, nx = shape
    ra, dec = (float(part) for part in wcs.pixel_to_world_values((nx - 1) / 2, (ny - 1) / 2))
    corner = wcs.pixel_to_world_values([0, nx - 1, 0, nx - 1], [0, 0, ny - 1, ny - 1])
    away = [math.hypot((a - ra + 180) % 360 - 180, 0) * math.cos(math.radians(dec)) for a in corner[0]]
    radius = max(math.hypot(one, float(d) - dec) for one, d in zip(away, corner[1], strict=True))
    return gaia.cone(ra % 360, dec, 1.02 * radius + 0.002, facts["epoch"])


def pairs(
    ra: FloatArray, dec: FloatArray, other_ra: FloatArray, other_dec: FloatArray, radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Return pairs of which each is the other's nearest within a radius (arcsec), and their distances."""
    none = np.zeros(0, np.int64)
    if not len(ra) or not len(other_ra):
        return none, none, np.zeros(0)
    ours, theirs = _vectors(ra, dec), _vectors(other_ra, other_dec)
    chord = math.radians(radius / ARCSEC_PER_DEGREE)
    near = cKDTree(theirs).query(ours, distance_upper_bound=chord)
    away, there = np.asarray(near[0], float), np.asarray(near[1], np.int64)
    back = np.asarray(cKDTree(ours).query(theirs)[1], np.int64)
    rows = np.flatnonzero(np.isfinite(away))
    rows = rows[back[there[rows]] == rows]
    return rows, there[rows], np.degrees(away[rows]) * ARCSEC_PER_DEGREE


def _vectors(ra: FloatArray, dec: FloatArray) -> FloatArray:
    a, d = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)


def identified(
    ra: FloatArray, dec: FloatArray, stars: ReferenceStars | None, facts: RecordDict
) -> RecordDict:
    """Return the columns ``match`` (row of `stars` or -1), ``gaia``, ``pmra``, ``pmdec``; `facts` gets ``gaia_rms``."""
    match = np.full(len(ra), -1)
    facts["gaia_rms"] = math.nan
    if stars is not None and len(stars):
        star, other, away = pairs(ra, dec, stars.ra, stars.dec, MATCH)
        match[star] = other
        facts["gaia_rms"] = float(np.sqrt(np.mean(away**2))) if len(away) else math.nan
    there = match >= 0
    columns: RecordDict = {"match": match, "gaia": np.full(len(ra), NO_GAIA, np.int64)}
    for name in ("pmra", "pmdec"):
        columns[name] = np.full(len(ra), np.nan)
        if stars is not None:
            columns[name][there] = getattr(stars, name)[match[there]]
    if stars is not None:
        columns["gaia"][there] = stars.source_id[match[there]]
    return columns
