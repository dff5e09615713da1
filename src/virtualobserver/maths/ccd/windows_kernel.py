"""Compiled windows: the pixels of a row share the comparisons of one sorting network."""

# ruff: noqa: PLR0917 - compiled functions take positional arguments only

from __future__ import annotations

import numpy as np

from virtualobserver.maths.arrays import Array
from virtualobserver.maths.ccd.combine_kernel import sort_tile
from virtualobserver.maths.kernels import jit

__all__ = ["network_median", "network_ranks"]

TILE = 256
"""Windows sorted together, as many as pixels in `combine`: 50 kB if of 7 x 7 pixels, 230 kB if of 15 x 15, which
the second cache of most cores holds. Chosen, not tuned."""


@jit
def _fill(w: Array, padded: Array, row: int, col: int, size: int, step: int, width: int) -> None:
    for i in range(size):
        for j in range(size):
            line = w[i * size + j]
            source = padded[row + i]
            for p in range(width):
                line[p] = source[col + j + p * step]


@jit
def network_median(padded: Array, size: int, network: Array, out: Array) -> None:
    """Write the median of each window; `padded` is half a window larger on every side."""
    ny, nx = out.shape
    tile = min(TILE, nx)
    w = np.zeros((size * size, tile), np.float32)
    spare = np.empty(tile, np.float32)
    middle = w[size * size // 2]
    for row in range(ny):
        for col in range(0, nx, tile):
            width = min(tile, nx - col)
            _fill(w, padded, row, col, size, 1, width)
            sort_tile(w, network, spare)
            for p in range(width):
                out[row, col + p] = middle[p]


@jit
def network_ranks(
    padded: Array, size: int, step: int, network: Array, ranks: Array, weights: Array, out: Array
) -> None:
    """Write the distance of two interpolated percentiles for the window around every `step`-th pixel."""
    ny, nx = out.shape
    tile = min(TILE, nx)
    w = np.zeros((size * size, tile), np.float32)
    spare = np.empty(tile, np.float32)
    for row in range(ny):
        for col in range(0, nx, tile):
            width = min(tile, nx - col)
            _fill(w, padded, row * step, col * step, size, step, width)
            sort_tile(w, network, spare)
            for p in range(width):
                a = np.float64(w[ranks[0], p])
                b = np.float64(w[ranks[1], p])
                c = np.float64(w[ranks[2], p])
                d = np.float64(w[ranks[3], p])
                out[row, col + p] = (c + (d - c) * weights[1]) - (a + (b - a) * weights[0])
