"""Where on the sky the images of a field were, and how faint their sources go: what could have been seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.data.table import Table
from virtualobserver.errors import DataError
from virtualobserver.maths.astrometry.tan_sip import fit_tan_sip
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["footprint_of_grid", "footprint_of_list"]

_EDGE: Final = 10.0
"""Pixels at the edge of a frame where sources are cut off or left out."""
_FAINT: Final = 20.0
"""Signal-to-noise ratio below which the sky makes most of the noise, so that it falls as the light does."""
_LIMIT: Final = 5.0
"""Signal-to-noise ratio of what is just seen: the one for which limits of images are usually given."""


def footprint_of_list(table: Table) -> RecordDict | None:
    """Return the corners of a frame and its limiting magnitude from its table of sources.

    Returns
    -------
    dict or None
        ``corners``, four (ra, dec) in degrees; ``limit``, the magnitude at five standard deviations, None where sources
        have none. None if the table does not say how large the frame is, or has too few sources.
    """
    shape = table.meta.get("shape")
    if shape is None or "ra" not in table or "x" not in table:
        return None
    good = np.isfinite(table["ra"]) & np.isfinite(table["dec"])
    columns = [table[name][good] for name in ("x", "y", "ra", "dec")]
    size = int(shape[0]), int(shape[1])
    try:
        plate = fit_tan_sip(*columns, shape=size, order=1, inverse=False)
    except DataError:
        return None
    return {"corners": _corners(*plate.to_sky(*_edges(size))), "limit": _limit(table)}


def footprint_of_grid(wcs: WCS, shape: Sequence[int], limit: float | None) -> RecordDict:
    """Return the corners of a frame with world coordinates, and the limit of the sum that it is part of."""
    ra, dec = wcs.all_pix2world(*_edges((int(shape[0]), int(shape[1]))), 0)
    return {"corners": _corners(np.asarray(ra), np.asarray(dec)), "limit": limit}


# --- inside -----------------------------------------------------------------------------------------------


def _edges(shape: tuple[int, int]) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
    ny, nx = (max(side - 1 - _EDGE, _EDGE) for side in shape)
    return np.array([_EDGE, nx, nx, _EDGE]), np.array([_EDGE, _EDGE, ny, ny])


def _corners(ra: object, dec: object) -> list[list[float]]:
    pairs = zip(np.asarray(ra).tolist(), np.asarray(dec).tolist(), strict=True)
    return [[float(a) % 360.0, float(d)] for a, d in pairs]


def _limit(table: Table) -> float | None:
    if "mag" not in table or "snr" not in table:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        faint = np.isfinite(table["mag"]) & (table["snr"] > 0) & (table["snr"] < _FAINT)
        if not faint.any():
            return None
        limits = table["mag"][faint] + 2.5 * np.log10(table["snr"][faint] / _LIMIT)
    return float(np.median(limits))
