"""NumPy path of `combine`; the numbers are those of the compiled kernel."""

# ruff: noqa: PLR0917 - the arguments of the compiled kernel

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["combine_block_numpy"]

Array = NDArray[Any]


def combine_block_numpy(
    block: Array, minus: Array, offsets: Array, scales: Array, lowest: float, highest: float,
    noise: Array, small: Array, excess: Array, method: int, low: float, high: float, rounds: int,
    n_low: int, n_high: int, median: bool, data: Array, variance: Array, used: Array,
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
    rejected = 0
    for row in range(block.shape[1]):
        w, hi = _gather(block[:, row], minus[row] if len(minus) else None, offsets, scales, (lowest, highest))
        lo = np.zeros_like(hi)
        if method == 1:
            for _ in range(rounds):
                change = _clip_round(w, lo, hi, noise, small, (low, high))
                rejected += change
                if not change:
                    break
        elif method == 2:
            enough = hi > n_low + n_high
            lo[enough] = n_low
            hi[enough] -= n_high
            rejected += int(enough.sum()) * (n_low + n_high)
        _reduce(w, lo, hi, noise, excess, median, (data[row], variance[row], used[row]))
    return rejected


def _gather(
    raw: Array, dark: Array | None, offsets: Array, scales: Array, limits: tuple[float, float]
) -> tuple[Array, Array]:
    w = raw.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        good = (raw >= limits[0]) & (raw <= limits[1])
        if dark is not None:
            w -= dark
        w = (w - offsets[:, None]) * scales[:, None]
    good &= np.isfinite(w)
    w[~good] = np.inf
    w.sort(axis=0)
    return w, good.sum(axis=0)


def _expected(level: Array, noise: Array) -> Array:
    read_noise, gain, zero, least, scale = noise
    if gain <= 0:
        return np.full(level.shape, float(least))
    light = np.maximum(level / scale - zero, 0.0)
    return np.asarray(np.maximum(scale * np.sqrt(read_noise * read_noise + gain * light) / gain, least))


def _middle(w: Array, first: Array, count: Array) -> Array:
    some = np.maximum(count, 1)
    pixels = np.arange(w.shape[1])
    last = len(w) - 1
    below = w[np.minimum(first + (some - 1) // 2, last), pixels].astype(np.float64)
    above = w[np.minimum(first + some // 2, last), pixels].astype(np.float64)
    return np.asarray(np.where(count > 0, 0.5 * (below + above), 0.0))


def _kept(lo: Array, hi: Array, count: int) -> Array:
    number = np.arange(count)[:, None]
    return np.asarray((number >= lo) & (number < hi))


def _clip_round(
    w: Array, lo: Array, hi: Array, noise: Array, small: Array, factors: tuple[float, float]
) -> int:
    count = hi - lo
    c = _middle(w, lo, count)
    kept = _kept(lo, hi, len(w))
    distance = np.abs(w.astype(np.float64) - c).astype(np.float32)
    distance[~kept] = np.inf
    distance.sort(axis=0)
    s = np.maximum(small[count] * _middle(distance, np.zeros_like(lo), count), _expected(c, noise))
    some = count >= 2
    lo += ((w < c - factors[0] * s) & kept & some).sum(axis=0)
    hi -= ((w > c + factors[1] * s) & kept & some).sum(axis=0)
    return int((count - (hi - lo)).sum())


def _reduce(
    w: Array, lo: Array, hi: Array, noise: Array, excess: Array, median: bool, out: tuple[Array, ...]
) -> None:
    data, variance, used = out
    count = hi - lo
    total, square = np.zeros(w.shape[1]), np.zeros(w.shape[1])
    kept = _kept(lo, hi, len(w))
    for values, use in zip(w, kept, strict=True):  # in this order, so that the sums are those of the kernel
        total += np.where(use, values.astype(np.float64), 0.0)
    total /= np.maximum(count, 1)
    for values, use in zip(w, kept, strict=True):
        away = np.where(use, values.astype(np.float64) - total, 0.0)
        square += away * away
    centre = _middle(w, lo, count) if median else total
    expected = _expected(centre, noise) ** 2
    sample = square / np.maximum(count - 1, 1)
    with np.errstate(invalid="ignore"):
        measured = (count > 1) & (np.full(count.shape, noise[1] <= 0) | (sample > excess[count] * expected))
    spread = np.where(measured, sample, expected)
    loss = np.where(median & (count > 2), 0.5 * math.pi, 1.0)
    data[:] = np.where(count > 0, centre, np.nan)
    variance[:] = np.where(count > 0, loss * spread / np.maximum(count, 1), np.nan)
    used[:] = count
