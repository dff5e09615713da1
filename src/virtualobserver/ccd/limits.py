"""Where the counts of a frame end, and the pixels that have none."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from virtualobserver.maths.arrays import Array

__all__ = ["ceiling_of", "fill_holes", "saturation_of"]

_CONVERTERS: Final = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 15, 16))
_SHIFTED: Final = tuple((2**bits - 1) << (16 - bits) for bits in (10, 12, 14))
_CEILINGS: Final = frozenset((*_CONVERTERS, *_SHIFTED))
"""Largest counts of converters of 8 to 16 bits, and of those whose counts are shifted up to 16 bits."""
_FEWEST: Final = 2
"""Pixels at such a ceiling that are no accident: the largest value of a frame is there once, as a rule."""
_PILED: Final = 8
"""Pixels at any other largest value that are no accident, if they are many times those just below it."""
_HALF: Final = 3
"""Half width (pixels) of the window whose median stands in a hole."""


def saturation_of(stated: float, data: Array) -> float:
    """Return the counts from which pixels of a frame are saturated, inf if none is.

    Parameters
    ----------
    stated
        What settings or header say, inf if nothing. DATAMAX may just be the largest value of the frame: if no more
        than one pixel has it, it is no ceiling.
    data
        Raw counts, shape (ny, nx).
    """
    if not math.isfinite(stated):
        return ceiling_of(data)
    finite = data[np.isfinite(data)] if data.dtype.kind == "f" else data
    alone = finite.size and float(finite.max()) == stated and np.count_nonzero(finite == stated) < _FEWEST
    return ceiling_of(data) if alone else stated


def ceiling_of(data: Array) -> float:
    """Return the value at which the counts of a frame are cut off, inf if none is seen.

    It is the largest value there, if several pixels have it and it is the ceiling of a converter, or if so many have
    it that they must have piled up.
    """
    finite = data[np.isfinite(data)] if data.dtype.kind == "f" else data.ravel()
    if not finite.size:
        return math.inf
    top = float(finite.max())
    count = int(np.count_nonzero(finite == top))
    if top in _CEILINGS and count >= _FEWEST:
        return top
    bright = finite[finite > 0.9 * top]
    # counts of a star's core spread evenly over the values below its peak; of a flat scene most are near its top
    few = bright.size < 0.02 * finite.size
    return top if few and count >= _PILED and count > 0.25 * bright.size else math.inf


def fill_holes(data: Array) -> tuple[Array, NDArray[np.bool_] | None]:
    """Put the local median into pixels that are not finite; return the frame, and which they are (None = none).

    A hole left at any other level is an edge, at which whole rings would be taken for cosmic rays.
    """
    if data.dtype.kind != "f" or np.isfinite(data).all():
        return data, None
    holes = ~np.isfinite(data)
    if holes.all():
        return np.zeros_like(data), holes
    filled = np.array(data)
    near = ndimage.distance_transform_edt(holes, return_distances=False, return_indices=True)
    rows, cols = np.nonzero(holes)
    y, x = (
        near[0][rows, cols],
        near[1][rows, cols],
    )  # the nearest good pixel, around which the median is taken
    steps = np.arange(-_HALF, _HALF + 1)
    down = np.clip(y[:, None, None] + steps[None, :, None], 0, data.shape[0] - 1)
    across = np.clip(x[:, None, None] + steps[None, None, :], 0, data.shape[1] - 1)
    values = np.where(holes[down, across], np.nan, data[down, across]).reshape(len(rows), -1)
    filled[rows, cols] = np.nanmedian(values, axis=1)
    return filled, holes
