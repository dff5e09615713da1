"""Filters of images and their noise, compiled; imported by the functions that call them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from virtualobserver.maths.kernels import jit_regrouped

__all__ = ["NEVER", "down_columns", "filtered_noise"]

FloatPlane = NDArray[np.float32]
NEVER = np.float32(1e30)
"""Noise of a pixel on which nothing is to be found, as `sep` has it for masked ones."""


@jit_regrouped
def filtered_noise(variance: FloatPlane, bad: NDArray[np.bool_], weights: FloatPlane) -> FloatPlane:
    """Return the standard deviation of pixels after a filter that is the same along both axes, over the filter's norm.

    Parameters
    ----------
    variance
        Of the pixels, shape (ny, nx).
    bad
        Pixels that the filter sees as 0, without noise; `NEVER` is their own.
    weights
        Squares of the filter along one axis, of sum 1; their number is odd.
    """
    ny, nx = variance.shape
    half = len(weights) // 2
    noise = np.empty((ny, nx), np.float32)
    rows = np.zeros((len(weights), nx), np.float32)  # the good variance of the rows that the filter reaches
    down = np.zeros(nx + 2 * half, np.float32)
    for y in range(-half, ny):
        new = y + half
        row = rows[new % len(weights)]
        if new < ny:
            for x in range(nx):
                row[x] = np.float32(0.0) if bad[new, x] else variance[new, x]
        else:
            row[:] = np.float32(0.0)
        if y < 0:
            continue
        down[half : half + nx] = np.float32(0.0)
        for step in range(len(weights)):
            weight, one = weights[step], rows[(y - half + step) % len(weights)]
            for x in range(nx):
                down[half + x] += weight * one[x]
        across = noise[y]
        across[:] = np.float32(0.0)
        for step in range(len(weights)):
            weight = weights[step]
            for x in range(nx):
                across[x] += weight * down[x + step]
        for x in range(nx):
            across[x] = NEVER if bad[y, x] else np.float32(math.sqrt(across[x]))
    return noise


@jit_regrouped
def down_columns(plane: FloatPlane, line: FloatPlane) -> FloatPlane:
    """Return an image filtered along its columns, beyond whose ends there is nothing; the filter has an odd length.

    A row of the answer at a time, whose sums stay near the processor: six times as fast as column after column.
    """
    ny, nx = plane.shape
    half = len(line) // 2
    found = np.zeros((ny, nx), np.float32)
    for y in range(ny):
        row = found[y]
        for step in range(max(half - y, 0), min(len(line), ny + half - y)):
            weight, one = line[step], plane[y - half + step]
            for x in range(nx):
                row[x] += weight * one[x]
    return found
