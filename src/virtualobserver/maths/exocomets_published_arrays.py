"""Rows and columns of many spectra at once: medians, scatters, runs, as the published statistic needs them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "column_median",
    "deepest",
    "deviation",
    "deviations",
    "ends",
    "run_lengths",
    "running_median",
    "span",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_RUN_LEVEL: Final = -3.0


def deviation(values: FloatArray) -> FloatArray:
    """Return the standard deviation of each row; rows scatter about a mean near zero."""
    count = values.shape[1]
    mean, square = values.sum(axis=1) / count, np.einsum("ij,ij->i", values, values) / count
    return np.asarray(np.sqrt(np.clip(square - mean**2, 0.0, None)))


def deviations(values: FloatArray, middle: Any) -> tuple[FloatArray, FloatArray]:
    """Return the standard deviation of each row over all its pixels, and over those that are not in `middle`."""
    inner = values[:, middle]
    total, squares = values.sum(axis=1), np.einsum("ij,ij->i", values, values)
    counts = values.shape[1], values.shape[1] - inner.shape[1]
    totals = total, total - inner.sum(axis=1)
    powers = squares, squares - np.einsum("ij,ij->i", inner, inner)
    every, outer = (
        np.sqrt(np.clip(power / count - (one / count) ** 2, 0.0, None))
        for one, power, count in zip(totals, powers, counts, strict=True)
    )
    return np.asarray(every), np.asarray(outer)


def span(pixels: BoolArray) -> Any:
    """Return what picks these pixels: a slice if they are contiguous, which copies nothing."""
    where = np.flatnonzero(pixels)
    if where.size and where[-1] - where[0] == where.size - 1:
        return slice(int(where[0]), int(where[-1]) + 1)
    return pixels


def ends(pixels: BoolArray) -> IntArray:
    """Return the first of contiguous pixels and the one after the last; zeros for none."""
    where = np.flatnonzero(pixels)
    return np.array([where[0], where[-1] + 1] if where.size else [0, 0], dtype=np.int64)


def deepest(sigma: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the rows that have a number, and the deepest pixel of each."""
    if sigma.shape[1] == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    at = np.argmin(sigma, axis=1)  # of a NaN, its place
    lines = np.arange(len(sigma))
    if np.isnan(sigma[lines, at]).any():
        lines = np.flatnonzero(~np.isnan(sigma).all(axis=1))
        at = np.nanargmin(sigma[lines], axis=1)
    return lines, at


def run_lengths(sigma: FloatArray, at: IntArray) -> IntArray:
    """Return the number of contiguous pixels at or below -3 around each row's deepest pixel `at`, itself counted."""
    widths = np.ones(len(sigma), dtype=np.int64)
    size = sigma.shape[1]
    # at a minimum above -3 no pixel reaches -3
    deep = np.flatnonzero(sigma[np.arange(len(sigma)), at] <= _RUN_LEVEL)
    for row in deep:
        values, start = sigma[row], at[row]
        for step in (-1, 1):
            here = int(start) + step
            while 0 <= here < size and values[here] <= _RUN_LEVEL:  # NaN ends a run
                widths[row] += 1
                here += step
    return widths


def running_median(spectra: FloatArray, pixels: int, out: FloatArray, work: FloatArray) -> None:
    """Write the running median along the last axis, edges replicated."""
    if pixels == 1:
        out[:] = spectra
        return
    if pixels != 3:
        from scipy.ndimage import median_filter

        out[:] = median_filter(spectra, size=(1, pixels), mode="nearest")
        return
    # Median of three = max(min(a, b), min(max(a, b), c)): three passes without a sort.
    left, here, right = spectra[:, :-2], spectra[:, 1:-1], spectra[:, 2:]
    inside = out[:, 1:-1]
    np.maximum(left, here, out=inside)
    np.minimum(inside, right, out=inside)
    np.maximum(inside, np.minimum(left, here, out=work[:, 2:]), out=inside)
    # At an edge two of the three values are the edge pixel itself.
    out[:, 0], out[:, -1] = spectra[:, 0], spectra[:, -1]


def column_median(values: FloatArray) -> FloatArray:
    """Sort each column in place and return its median; NaN where a column holds one."""
    # A sort of few rows is faster than a selection, and NaN comes last.
    ordered = values
    ordered.sort(axis=0)
    half = len(values) // 2
    middle = ordered[half].copy()
    if len(values) % 2 == 0:
        middle = 0.5 * (ordered[half - 1] + middle)
    middle[np.isnan(ordered[-1])] = np.nan
    return np.asarray(middle)
