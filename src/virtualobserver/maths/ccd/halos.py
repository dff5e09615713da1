"""Halos of bright stars: how far their light reaches, measured ring by ring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from virtualobserver.maths.arrays import Array
from virtualobserver.maths.ccd.masks import halo_mask

__all__ = ["bright_stars", "halo_radii", "star_halos"]

FloatArray = NDArray[np.float64]
RING = 2.0
"""Width of a ring, pixels."""
OUTER = 0.85
"""Rings beyond this part of the largest radius tell the sky around the star."""


def star_halos(data: Array, bright: NDArray[np.bool_], *, limit: float, largest: float) -> NDArray[np.uint16]:
    """Return ``MASK_HALO`` around bright stars, to where their light falls below `limit`.

    Parameters
    ----------
    data
        Calibrated frame, shape (ny, nx).
    bright
        Pixels that are as bright as those of a star with a halo; hot pixels and cosmic rays are no stars.
    limit
        In the unit of `data`, above the sky around each star.
    largest
        Pixels.
    """
    x, y, inner = bright_stars(bright)
    shape = (int(data.shape[0]), int(data.shape[1]))
    return halo_mask(shape, x, y, np.maximum(halo_radii(data, x, y, limit=limit, largest=largest), inner))


def bright_stars(bright: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return x, y (pixels from 0) and half the extent of each connected group of bright pixels."""
    rows, cols = np.nonzero(bright)  # a few of millions of pixels, which alone are looked at
    if not len(rows):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    place = rows * (bright.shape[1] + 1) + cols  # a column more, so that no line goes on in the next
    one, other = [], []
    for step in (1, bright.shape[1], bright.shape[1] + 1, bright.shape[1] + 2):
        there = np.minimum(np.searchsorted(place, place + step), len(place) - 1)
        beside = np.flatnonzero(place[there] == place + step)
        one.append(beside)
        other.append(there[beside])
    pairs = np.concatenate(one), np.concatenate(other)
    links = coo_array((np.ones(len(pairs[0]), bool), pairs), shape=(len(place), len(place)))
    count, group = connected_components(links, directed=False)
    middle, extent = [], np.zeros(count)
    for axis in (cols, rows):
        low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
        np.minimum.at(low, group, axis)
        np.maximum.at(high, group, axis)
        middle.append((low + high) / 2)
        extent = np.maximum(extent, (high + 1 - low) / 2)
    return middle[0], middle[1], extent


def halo_radii(data: Array, x: FloatArray, y: FloatArray, *, limit: float, largest: float) -> FloatArray:
    """Return for each star the radius (pixels) at which the median of a ring falls below sky plus `limit`.

    The sky is the median between 0.85 times `largest` and `largest`; a halo that reaches there has that radius.
    """
    edges = np.arange(0.0, largest + RING, RING)
    found = np.full(len(x), float(largest))
    for number, (x0, y0) in enumerate(zip(x, y, strict=True)):
        top, left = max(int(y0 - largest), 0), max(int(x0 - largest), 0)
        box = data[top : int(y0 + largest) + 2, left : int(x0 + largest) + 2]
        rows, cols = np.ogrid[top : top + box.shape[0], left : left + box.shape[1]]
        radius = np.hypot(rows - y0, cols - x0).ravel()
        order = np.argsort(radius, kind="stable")
        radius, values = radius[order], np.asarray(box, np.float64).ravel()[order]
        first, last = np.searchsorted(radius, (OUTER * largest, largest))
        sky = float(np.median(values[first:last])) if last > first else 0.0
        ends = np.searchsorted(radius, edges)
        for ring in range(len(edges) - 1):
            part = values[ends[ring] : ends[ring + 1]]
            if part.size and np.median(part) < sky + limit:
                found[number] = edges[ring]
                break
    return found
