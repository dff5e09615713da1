"""Compiled kernel of `combine`: a tile of pixels is sorted by a network, one vector instruction for many."""

# ruff: noqa: PLR0917 - compiled functions take positional arguments only

from __future__ import annotations

import math

import numpy as np

from virtualobserver.maths.arrays import Array
from virtualobserver.maths.kernels import jit

__all__ = ["combine_block"]

TILE = 256
"""Pixels sorted together: with a stack of 30 frames they fill 32 kB, the nearest cache of a core."""


@jit
def sort_tile(w: Array, network: Array, spare: Array) -> None:
    """Sort each column of `w` (values, pixels) in place; `spare` has the shape of one row."""
    for c in range(network.shape[0]):
        low = w[network[c, 0]]
        high = w[network[c, 1]]
        for p in range(w.shape[1]):  # two loops, since a compiler cannot know that the rows are apart
            x = low[p]
            y = high[p]
            spare[p] = min(x, y)
            high[p] = max(x, y)
        for p in range(w.shape[1]):
            low[p] = spare[p]


@jit
def _gather(
    w: Array, n: Array, block: Array, minus: Array, row: int, col: int, width: int,
    offsets: Array, scales: Array, lowest: float, highest: float,
) -> None:  # fmt: skip
    """Fill `w` with calibrated values, infinity where one is missing, and `n` with how many there are."""
    n[:] = 0
    for i in range(block.shape[0]):
        raw = block[i, row, col : col + width]
        offset = offsets[i]
        scale = scales[i]
        line = w[i]
        if minus.shape[0] > 0:
            dark = minus[row, col : col + width]
            for p in range(width):
                line[p] = (np.float32(raw[p]) - dark[p] - offset) * scale
        else:
            for p in range(width):
                line[p] = (np.float32(raw[p]) - offset) * scale
        for p in range(width):
            good = (raw[p] >= lowest) & (raw[p] <= highest) & (abs(line[p]) < np.inf)
            line[p] = line[p] if good else np.float32(np.inf)
            n[p] += 1 if good else 0
        for p in range(width, w.shape[1]):
            line[p] = np.float32(np.inf)


@jit
def expected(level: float, noise: Array) -> float:
    """Return the standard deviation the noise model expects of a value at `level`; see `NoiseModel`."""
    least = noise[3]
    if noise[1] <= 0.0:
        return float(least)
    light = level / noise[4] - noise[2]
    if not light > 0.0:
        light = 0.0
    sigma = noise[4] * math.sqrt(noise[0] * noise[0] + noise[1] * light) / noise[1]
    return float(max(sigma, least))


@jit
def _middle(w: Array, first: int, count: int, p: int) -> float:
    below = np.float64(w[first + (count - 1) // 2, p])
    above = np.float64(w[first + count // 2, p])
    return float(0.5 * (below + above))


@jit
def _clip_round(
    w: Array, d: Array, lo: Array, hi: Array, c: Array, s: Array, noise: Array, small: Array,
    low: float, high: float, network: Array, spare: Array,
) -> int:  # fmt: skip
    """Move the borders `lo` and `hi` of the values kept inwards; return how many values that rejects."""
    width = w.shape[1]
    for p in range(width):
        c[p] = _middle(w, lo[p], hi[p] - lo[p], p) if hi[p] > lo[p] else 0.0
    for i in range(w.shape[0]):
        for p in range(width):
            distance = np.float32(abs(np.float64(w[i, p]) - c[p]))
            d[i, p] = distance if (i >= lo[p]) & (i < hi[p]) else np.float32(np.inf)
    sort_tile(d, network, spare)
    rejected = 0
    for p in range(width):
        count = hi[p] - lo[p]
        if count < 2:
            continue
        s[p] = max(small[count] * _middle(d, 0, count, p), expected(c[p], noise))
        while np.float64(w[lo[p], p]) < c[p] - low * s[p]:
            lo[p] += 1
        while np.float64(w[hi[p] - 1, p]) > c[p] + high * s[p]:
            hi[p] -= 1
        rejected += count - (hi[p] - lo[p])
    return rejected


@jit
def _reduce(
    w: Array, lo: Array, hi: Array, total: Array, square: Array, noise: Array, excess: Array, median: bool,
    data: Array, variance: Array, used: Array,
) -> None:  # fmt: skip
    """Write mean (or median), its variance and the number of values kept."""
    width = data.shape[0]
    total[:] = 0.0
    square[:] = 0.0
    for i in range(w.shape[0]):
        for p in range(w.shape[1]):
            total[p] += np.float64(w[i, p]) if (i >= lo[p]) & (i < hi[p]) else 0.0
    for p in range(w.shape[1]):
        total[p] = total[p] / max(hi[p] - lo[p], 1)
    for i in range(w.shape[0]):
        for p in range(w.shape[1]):
            away = np.float64(w[i, p]) - total[p]
            square[p] += away * away if (i >= lo[p]) & (i < hi[p]) else 0.0
    for p in range(width):
        count = hi[p] - lo[p]
        used[p] = count
        if count == 0:
            data[p] = np.nan
            variance[p] = np.nan
            continue
        centre = _middle(w, lo[p], count, p) if median else total[p]
        sigma = expected(centre, noise)
        sample = square[p] / max(count - 1, 1)
        measured = count > 1 and (noise[1] <= 0.0 or sample > excess[count] * sigma * sigma)
        spread = sample if measured else sigma * sigma
        data[p] = np.float32(centre)
        loss = 0.5 * math.pi if median and count > 2 else 1.0
        variance[p] = np.float32(loss * spread / count)


@jit
def combine_block(
    block: Array, minus: Array, offsets: Array, scales: Array, lowest: float, highest: float,
    noise: Array, small: Array, excess: Array, method: int, low: float, high: float, rounds: int,
    n_low: int, n_high: int, median: bool, network: Array, data: Array, variance: Array, used: Array,
) -> int:  # fmt: skip
    """Combine a band of rows, shape (frames, ny, nx), into `data`, `variance`, `used`; return what is rejected.

    Parameters
    ----------
    minus
        Shape (ny, nx), or (0, 0) for nothing to subtract.
    noise
        Read noise, gain (0 = not known), zero level, least noise, typical scale.
    small, excess
        Indexed by the number of values: factor on the MAD, and ratio of variances that chance does not give.
    method
        0 none, 1 sigma, 2 minmax.
    """
    count, ny, nx = block.shape
    tile = min(TILE, nx)
    w = np.empty((count, tile), np.float32)
    d = np.empty((count, tile), np.float32)
    spare = np.empty(tile, np.float32)
    lo = np.empty(tile, np.int64)
    hi = np.empty(tile, np.int64)
    c = np.zeros(tile)
    s = np.zeros(tile)
    rejected = 0
    for row in range(ny):
        for col in range(0, nx, tile):
            width = min(tile, nx - col)
            hi[:] = 0
            _gather(w, hi, block, minus, row, col, width, offsets, scales, lowest, highest)
            sort_tile(w, network, spare)
            lo[:] = 0
            if method == 1:
                for _ in range(rounds):
                    change = _clip_round(w, d, lo, hi, c, s, noise, small, low, high, network, spare)
                    rejected += change
                    if change == 0:
                        break
            elif method == 2:
                for p in range(width):
                    if hi[p] > n_low + n_high:
                        lo[p] = n_low
                        hi[p] -= n_high
                        rejected += n_low + n_high
            stop = col + width
            _reduce(
                w, lo, hi, c, s, noise, excess, median,
                data[row, col:stop], variance[row, col:stop], used[row, col:stop],
            )  # fmt: skip
    return rejected
