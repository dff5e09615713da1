"""Compiled kernels of the published statistic: each pass over the spectra of a star does all it can on the way.

Sums are taken in another order than NumPy takes them, which changes the last digits only.
"""

# ruff: noqa: PLR0917 - compiled functions take positional arguments only

from __future__ import annotations

import math

import numpy as np

from virtualobserver.maths.arrays import Array
from virtualobserver.maths.ccd.combine_kernel import sort_tile
from virtualobserver.maths.kernels import jit, jit_regrouped

__all__ = ["TILE", "column_medians", "scatters", "significances", "smooth"]

TILE = 32
"""Columns that are sorted together: with a hundred spectra they fit into the processor's nearest cache."""


@jit
def _root(value: float) -> float:
    """Return the square root, 0 of what rounding made negative, and NaN of NaN."""
    return 0.0 if value < 0.0 else math.sqrt(value)


@jit_regrouped
def smooth(spectra: Array, start: int, stop: int, out: Array) -> None:
    """Write each row's running median of three, divided by its mean outside of `start` to `stop`."""
    n, m = spectra.shape
    for i in range(n):
        row, result = spectra[i], out[i]
        total = 0.0
        for j in range(start):
            total += row[j]
        for j in range(stop, m):
            total += row[j]
        mean = total / (m - stop + start)
        for j in range(1, m - 1):
            a, b, c = row[j - 1], row[j], row[j + 1]
            result[j] = max(min(a, b), min(max(a, b), c)) / mean
        result[0], result[m - 1] = row[0] / mean, row[m - 1] / mean


@jit_regrouped
def column_medians(values: Array, network: Array, tile: Array, spare: Array, out: Array) -> None:
    """Write the median of each column; `network` sorts as many values as there are rows, as far as that needs."""
    n, m = values.shape
    width = tile.shape[1]
    for first in range(0, m, width):
        count = min(width, m - first)
        for i in range(n):
            for j in range(count):
                tile[i, j] = values[i, first + j]
        sort_tile(tile, network, spare)
        for j in range(count):
            out[first + j] = 0.5 * (tile[(n - 1) // 2, j] + tile[n // 2, j])


@jit_regrouped
def scatters(
    smoothed: Array,
    median: Array,
    start: int,
    stop: int,
    error: Array,
    noise: Array,
    spread: Array,
    first: Array,
) -> None:
    """Write each row's scatter about the median, that outside of `start` to `stop`, and the variance of columns."""
    n, m = smoothed.shape
    first[:] = 0.0
    spread[:] = 0.0
    for i in range(n):
        row = smoothed[i]
        total, squares, inner, inner_squares = 0.0, 0.0, 0.0, 0.0
        for j in range(m):
            r = row[j] - median[j]
            total += r
            squares += r * r
            first[j] += r
            spread[j] += r * r
        for j in range(start, stop):
            r = row[j] - median[j]
            inner += r
            inner_squares += r * r
        outside = m - stop + start
        error[i] = _root(squares / m - (total / m) ** 2)
        rest = (squares - inner_squares) / outside - ((total - inner) / outside) ** 2
        noise[i] = _root(rest)
    for j in range(m):
        variance = spread[j] / n - (first[j] / n) ** 2
        spread[j] = max(variance, 0.0)


@jit_regrouped
def significances(
    smoothed: Array,
    median: Array,
    error: Array,
    spread: Array,
    hidden: Array,
    window: Array,
    line: Array,
    out: Array,
) -> None:
    """Write the statistic of the pixels in `window`, NaN in `hidden` (first pixel and end of each).

    Each row is divided by the scatter of its pixels that are not hidden; `line` is room for one row.
    """
    n, m = smoothed.shape
    low, high = hidden[0], hidden[1]
    begin, end = window[0], window[1]
    for i in range(n):
        row, result = smoothed[i], out[i]
        variance = error[i] * error[i]
        for j in range(m):
            line[j] = (row[j] - median[j]) / math.sqrt(variance + spread[j])
        total, squares = 0.0, 0.0
        for j in range(m):
            total += line[j]
            squares += line[j] * line[j]
        for j in range(low, high):
            total -= line[j]
            squares -= line[j] * line[j]
        count = m - high + low
        scatter = _root(squares / count - (total / count) ** 2)
        for j in range(begin, end):
            result[j - begin] = line[j] / scatter
        for j in range(max(low, begin), min(high, end)):
            result[j - begin] = np.nan
