"""Order, cadence and seasons of times; means and offsets of positions.

Times are days, positions degrees, offsets arcseconds. Nothing here changes its input or warns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import ARCSEC_PER_DEGREE, SECONDS_PER_DAY

__all__ = [
    "cadence",
    "circular_mean",
    "circular_mean_block",
    "seasons",
    "sort_times",
    "tangent_offsets",
]

FloatArray = NDArray[np.float64]

UNIFORM_SPREAD = 0.01
"""Of the median step: rounding of times in archives is below, a missed exposure far above."""


def sort_times(mjd: ArrayLike, *ties: ArrayLike) -> NDArray[np.int64]:
    """Row numbers in time order; equal times by the further columns, so that input order does not matter.

    Rows whose time is not finite are left out.
    """
    time = np.asarray(mjd, dtype=np.float64).ravel()
    columns = [np.asarray(tie, dtype=np.float64).ravel() for tie in reversed(ties)]
    order = np.lexsort((*columns, time)) if columns else np.argsort(time, kind="stable")
    return order[np.isfinite(time[order])]


def cadence(mjd: ArrayLike) -> tuple[float, bool]:
    """Median step in seconds, and whether the sampling is uniform.

    Uniform: the 5 to 95% range of the steps is below 1% of their median. NaN and False for fewer than two
    times.
    """
    time = np.asarray(mjd, dtype=np.float64).ravel()
    time = np.sort(time[np.isfinite(time)])
    if time.size < 2:
        return float("nan"), False
    step = np.sort(np.diff(time)) * SECONDS_PER_DAY
    # chosen: the usual pauses, without the longest and shortest twentieth
    place = np.array((0.05, 0.5, 0.95)) * (step.size - 1)
    low, median, high = np.interp(place, np.arange(step.size), step)
    return float(median), bool(median > 0 and high - low < UNIFORM_SPREAD * median)


def seasons(mjd: ArrayLike, gap: float) -> NDArray[np.int64]:
    """Season number of every row, counted from 0 in time order; -1 where the time is not finite.

    Parameters
    ----------
    mjd : array_like, shape (n,)
        Times in days, in any order.
    gap : float
        A step longer than this many days starts a new season.
    """
    time = np.asarray(mjd, dtype=np.float64).ravel()
    label = np.full(time.size, -1, dtype=np.int64)
    order = sort_times(time)
    if order.size:
        label[order] = np.concatenate(([0], np.cumsum(np.diff(time[order]) > gap)))
    return label


def circular_mean(angle: ArrayLike) -> float:
    """Mean of angles in degrees, in [0, 360), right across 0/360; NaN without a finite angle."""
    value = np.asarray(angle, dtype=np.float64).ravel()
    return float(circular_mean_block(value, [0, value.size])[0])


def circular_mean_block(angle: ArrayLike, offsets: ArrayLike) -> FloatArray:
    """`circular_mean` of many sets at once; set i is ``angle[offsets[i]:offsets[i + 1]]``."""
    value = np.radians(np.asarray(angle, dtype=np.float64).ravel())
    edges = np.asarray(offsets, dtype=np.int64).ravel()
    finite = np.isfinite(value)
    held = np.flatnonzero(np.diff(edges) > 0)
    result = np.full(edges.size - 1, np.nan)
    if held.size == 0:
        return result
    value = np.where(finite, value, 0.0)
    known = np.add.reduceat(finite, edges[:-1][held]) > 0
    east = np.add.reduceat(np.where(finite, np.cos(value), 0.0), edges[:-1][held])
    north = np.add.reduceat(np.sin(value), edges[:-1][held])
    mean = np.degrees(np.arctan2(north, east)) % 360.0
    # a tiny negative angle rounds up to 360 itself
    mean[mean == 360.0] = 0.0
    result[held] = np.where(known, mean, np.nan)
    return result


def tangent_offsets(
    ra: ArrayLike, dec: ArrayLike, ra0: ArrayLike, dec0: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Offsets east and north of (ra0, dec0) on the tangent plane, in arcseconds.

    Gnomonic projection, so it holds at the poles and across RA 0/360. NaN on the far half of the sky.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        Positions in degrees.
    ra0, dec0 : float, or array_like of shape (n,)
        Tangent point in degrees, one for all rows or one for each.
    """
    with np.errstate(all="ignore"):
        step = np.radians(np.asarray(ra, dtype=np.float64) - np.asarray(ra0, dtype=np.float64))
        south, north = (np.radians(np.asarray(angle, np.float64)) for angle in (dec, dec0))
        sin_north, cos_south = np.sin(north), np.cos(south)
        depth = np.sin(south) * sin_north + cos_south * np.cos(north) * np.cos(step)
        depth = np.where(depth > 0, depth, np.nan)
        east = cos_south * np.sin(step) / depth
        # written with sin^2(step/2) so that small offsets keep their digits
        upward = np.sin(south - north) + 2.0 * cos_south * sin_north * np.sin(step / 2.0) ** 2
        scale = np.degrees(1.0) * ARCSEC_PER_DEGREE
        return np.asarray(east * scale), np.asarray(upward / depth * scale)
