"""Rings and circles about many places of an image, compiled; imported by the functions that call it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.maths.kernels import jit

__all__ = ["circle_bits", "clipped_level", "ring_values"]

FloatArray = NDArray[np.float64]
FloatPlane = NDArray[np.float32]
_SIGMA = 3.0
"""Beyond which pixels of a ring are left out."""
_ROUNDS = 3
"""Times: neighbours that are left to a third one are as faint as the noise."""
_FEWEST = 5
"""Pixels below which none is left out."""
_LEAST_SPREAD = 1e-12
"""Keeps an even ring from leaving out all but one value."""


@jit
def ring_values(  # noqa: PLR0917
    data: FloatPlane,
    bad: NDArray[np.bool_],
    x: FloatArray,
    y: FloatArray,
    inner: float,
    outer: float,
    values: FloatPlane,
) -> NDArray[np.int64]:
    """Take over the good pixels of a ring about each place, and return how many there are.

    Parameters
    ----------
    data, bad
        Shape (ny, nx).
    x, y
        Pixels from 0, shape (n,); where they are no numbers there are no pixels.
    inner, outer
        Radii, pixels.
    values
        Where pixels go, shape (n, room): with room for all of them. The rest of each row becomes infinite.
    """
    ny, nx = data.shape
    number = np.zeros(len(x), np.int64)
    near, far = inner * inner, outer * outer
    for one in range(len(x)):
        n = 0
        if math.isfinite(x[one]) and math.isfinite(y[one]):
            top, bottom = max(math.ceil(y[one] - outer), 0), min(math.floor(y[one] + outer), ny - 1)
            left, right = max(math.ceil(x[one] - outer), 0), min(math.floor(x[one] + outer), nx - 1)
            for row in range(top, bottom + 1):
                down = (row - y[one]) ** 2
                for column in range(left, right + 1):
                    away = down + (column - x[one]) ** 2
                    if near <= away <= far and not bad[row, column]:
                        values[one, n] = data[row, column]
                        n += 1
        number[one] = n
        values[one, n:] = np.inf
    return number


@jit
def clipped_level(values: FloatPlane, number: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Return the median of each row and its error, without values beyond three scaled median deviations, three times.

    Parameters
    ----------
    values
        Shape (n, room), each row rising.
    number
        Of the values of a row that count, the first ones; without any, median and error are NaN.

    Notes
    -----
    The deviations of rising values from their median fall, then rise: their median is found by going outwards from
    the middle, and what is kept is one stretch of the row.
    """
    level, error = np.full(len(values), np.nan), np.full(len(values), np.nan)
    for one in range(len(values)):
        row, low, high = values[one], 0, number[one]
        if high == 0:
            continue
        for _ in range(_ROUNDS):
            if high - low < _FEWEST:
                break
            centre = _middle(row, low, high)
            reach = _SIGMA * max(MAD_TO_SIGMA * _deviation(row, low, high, centre), _LEAST_SPREAD)
            before = high - low
            while centre - row[low] > reach:
                low += 1
            while row[high - 1] - centre > reach:
                high -= 1
            if high - low == before:
                break
        n, mean, squares = high - low, 0.0, 0.0
        for place in range(low, high):
            mean += row[place]
        mean /= n
        for place in range(low, high):
            squares += (row[place] - mean) ** 2
        level[one] = _middle(row, low, high)
        error[one] = math.sqrt(squares / n) * math.sqrt(0.5 * math.pi / n)
    return level, error


@jit
def circle_bits(
    bits: NDArray[np.int32], x: FloatArray, y: FloatArray, radius: FloatArray
) -> NDArray[np.int64]:
    """Return all bits of the pixels that lie in a circle about each place, or are touched by it: half a pixel more.

    Parameters
    ----------
    bits
        Shape (ny, nx).
    x, y, radius
        Pixels, shape (n,).
    """
    ny, nx = bits.shape
    flags = np.zeros(len(x), np.int64)
    for one in range(len(x)):
        if not (math.isfinite(x[one]) and math.isfinite(y[one])):
            continue
        reach = radius[one] + 0.5
        top, bottom = max(math.ceil(y[one] - reach), 0), min(math.floor(y[one] + reach), ny - 1)
        left, right = max(math.ceil(x[one] - reach), 0), min(math.floor(x[one] + reach), nx - 1)
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                if (row - y[one]) ** 2 + (column - x[one]) ** 2 <= reach * reach:
                    flags[one] |= bits[row, column]
    return flags


@jit
def _middle(row: FloatPlane, low: int, high: int) -> float:
    return 0.5 * (np.float64(row[(low + high - 1) // 2]) + np.float64(row[(low + high) // 2]))


@jit
def _deviation(row: FloatPlane, low: int, high: int, centre: float) -> float:
    """Return the median of the distances from `centre` of the rising values from `low` to `high`."""
    n = high - low
    right = (low + high) // 2
    left = right - 1
    last, before = 0.0, 0.0
    for _ in range(n // 2 + 1):
        before = last
        down = np.inf if left < low else centre - row[left]
        up = np.inf if right >= high else row[right] - centre
        if down < up:
            last, left = down, left - 1
        else:
            last, right = up, right + 1
    return last if n % 2 else 0.5 * (before + last)
