"""Order, cadence and seasons of times; means and offsets of positions.

Times are days, positions degrees, offsets arcseconds. Nothing here changes its input or warns.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import ARCSEC_PER_DEGREE, SECONDS_PER_DAY

__all__ = ["cadence", "circular_mean", "season_slices", "seasons", "sort_times", "tangent_offsets"]

FloatArray = NDArray[np.float64]

UNIFORM_SPREAD = 0.01


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
    step = np.diff(time) * SECONDS_PER_DAY
    low, median, high = np.quantile(step, (0.05, 0.5, 0.95))
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


def season_slices(mjd: ArrayLike, gap: float) -> list[slice]:
    """Slices of the time-ordered finite rows (see `sort_times`), one per season."""
    label = np.sort(seasons(mjd, gap))
    label = label[label >= 0]
    if label.size == 0:
        return []
    cuts = np.concatenate(([0], np.flatnonzero(np.diff(label)) + 1, [label.size])).tolist()
    return [slice(start, stop) for start, stop in pairwise(cuts)]


def circular_mean(angle: ArrayLike) -> float:
    """Mean of angles in degrees, in [0, 360), right across 0/360; NaN without a finite angle."""
    value = np.asarray(angle, dtype=np.float64).ravel()
    value = np.radians(value[np.isfinite(value)])
    if value.size == 0:
        return float("nan")
    mean = float(np.degrees(np.arctan2(np.sin(value).sum(), np.cos(value).sum()))) % 360.0
    # a tiny negative angle rounds up to 360 itself
    return 0.0 if mean == 360.0 else mean


def tangent_offsets(ra: ArrayLike, dec: ArrayLike, ra0: float, dec0: float) -> tuple[FloatArray, FloatArray]:
    """Offsets east and north of (ra0, dec0) on the tangent plane, in arcseconds.

    Gnomonic projection, so it holds at the poles and across RA 0/360. NaN on the far half of the sky.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        Positions in degrees.
    ra0, dec0 : float
        Tangent point in degrees.
    """
    with np.errstate(all="ignore"):
        step = np.radians(np.asarray(ra, dtype=np.float64) - ra0)
        south, north = np.radians(np.asarray(dec, dtype=np.float64)), np.radians(dec0)
        depth = np.sin(south) * np.sin(north) + np.cos(south) * np.cos(north) * np.cos(step)
        depth = np.where(depth > 0, depth, np.nan)
        east = np.cos(south) * np.sin(step) / depth
        # written with sin^2(step/2) so that small offsets keep their digits
        upward = np.sin(south - north) + 2.0 * np.cos(south) * np.sin(north) * np.sin(step / 2.0) ** 2
        scale = np.degrees(1.0) * ARCSEC_PER_DEGREE
        return np.asarray(east * scale), np.asarray(upward / depth * scale)
