"""Robust moments and medians of many light curves at once.

Rows of curves of similar length are sorted side by side. What comes out for a curve does not depend on the
curves beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.lightcurves.statistics import (
    CLIP_ROUNDS,
    CLIP_SIGMA,
    FEWEST_TO_CLIP,
    LARGE,
    robust_mean_rms,
)

__all__ = ["RobustMomentsBlock", "median_block", "robust_mean_rms_block"]

FloatArray = NDArray[np.float64]

BLOCK_CELLS = 1 << 18
"""Cells of one padded block: 2 MB of float64, so that a block stays in the cache of the processor."""
ROW_GROUP = 32
"""Rows of a block are whole multiples of this long: four of the widest registers of a processor."""


@dataclass(frozen=True, slots=True)
class RobustMomentsBlock:
    """Clipped mean, scatter and number of values kept, one entry per curve."""

    mean: FloatArray
    rms: FloatArray
    n: NDArray[np.int64]


def robust_mean_rms_block(values: ArrayLike, offsets: ArrayLike) -> RobustMomentsBlock:
    """`robust_mean_rms` of many curves at once.

    Parameters
    ----------
    values : array_like, shape (n_rows,)
        Values of all curves, one after the other.
    offsets : array_like of int, shape (n_curves + 1,)
        Curve ``i`` is ``values[offsets[i]:offsets[i + 1]]``.

    Returns
    -------
    RobustMomentsBlock
        Arrays of length ``n_curves``.

    Raises
    ------
    DataError
        The offsets do not start at 0, fall, or do not end at the number of rows.
    """
    data = np.asarray(values, dtype=np.float64).ravel()
    edges = _checked_offsets(offsets, data.size)
    mean = np.full(edges.size - 1, np.nan)
    rms = np.full(edges.size - 1, np.nan)
    n = np.zeros(edges.size - 1, dtype=np.int64)
    with np.errstate(all="ignore"):
        for rows, block in _sorted_blocks(data, edges):
            mean[rows], rms[rows], n[rows] = _clip_block(block)
        for curve in np.flatnonzero((n > 0) & ~(rms < LARGE)).tolist():
            single = robust_mean_rms(data[edges[curve] : edges[curve + 1]])
            mean[curve], rms[curve], n[curve] = single.mean, single.rms, single.n
    return RobustMomentsBlock(mean, rms, n)


def _checked_offsets(offsets: ArrayLike, n_rows: int) -> NDArray[np.int64]:
    edges = np.asarray(offsets, dtype=np.int64).ravel()
    if edges.size == 0 or edges[0] != 0 or edges[-1] != n_rows or bool((np.diff(edges) < 0).any()):
        msg = f"curve offsets must rise from 0 to the number of rows, {n_rows}, not {edges[:3]}..{edges[-1:]}"
        raise DataError(msg)
    return edges


def median_block(values: ArrayLike, offsets: ArrayLike) -> FloatArray:
    """Median of the finite values of many curves at once, NaN where there are none.

    Parameters
    ----------
    values : array_like, shape (n_rows,)
        Values of all curves, one after the other.
    offsets : array_like of int, shape (n_curves + 1,)
        Curve ``i`` is ``values[offsets[i]:offsets[i + 1]]``.

    Returns
    -------
    ndarray, shape (n_curves,)

    Raises
    ------
    DataError
        The offsets do not start at 0, fall, or do not end at the number of rows.
    """
    data = np.asarray(values, dtype=np.float64).ravel()
    edges = _checked_offsets(offsets, data.size)
    result = np.full(edges.size - 1, np.nan)
    for rows, block in _sorted_blocks(data, edges):
        result[rows] = _middle(block, block.shape[1] - np.isnan(block).sum(axis=1))
    return result


def _sorted_blocks(data: FloatArray, edges: NDArray[np.int64]) -> Iterator[tuple[Array, FloatArray]]:
    """Yield curve numbers and their values, sorted along each row; NaN stands for no value and comes last."""
    lengths = np.diff(edges)
    order = np.argsort(lengths, kind="stable")
    ordered = lengths[order]
    first = int(np.searchsorted(ordered, 0, side="right"))
    while first < order.size:
        # curves of similar length share a block, so padding stays below the data themselves
        shortest = int(ordered[first])
        last = int(np.searchsorted(ordered, 2 * shortest, side="right"))
        last = min(last, first + max(1, BLOCK_CELLS // (2 * shortest)))
        rows = order[first:last]
        yield rows, _padded(data, edges[:-1][rows], lengths[rows])
        first = last


def _padded(data: FloatArray, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> FloatArray:
    longest = int(lengths.max())
    # whole groups, so that the sums over a curve do not depend on the curves beside it
    width = -(-longest // ROW_GROUP) * ROW_GROUP
    block = np.full((starts.size, width), np.nan)
    if int(lengths.min()) == longest and bool((np.diff(starts) == longest).all()):
        block[:, :longest] = data[starts[0] : starts[0] + longest * starts.size].reshape(-1, longest)
    else:
        inside = np.arange(width) < lengths[:, None]
        block[inside] = data[(starts[:, None] + np.arange(width))[inside]]
    block[np.isinf(block)] = np.nan
    block.sort(axis=1)
    return block


def _middle(block: FloatArray, n: NDArray[np.int64]) -> FloatArray:
    """Median of each sorted row, of which the first n values count."""
    row = np.arange(block.shape[0])
    return np.asarray(0.5 * block[row, np.maximum(n - 1, 0) // 2] + 0.5 * block[row, n // 2])


def _clip_block(block: FloatArray) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    finite = np.isfinite(block)
    n = finite.sum(axis=1)
    mean = _middle(block, n)
    block[~finite] = 0.0
    _, rms = _block_moments(block, finite, n)
    active = np.flatnonzero((n >= FEWEST_TO_CLIP) & (rms > 0))
    for _ in range(CLIP_ROUNDS):
        if active.size == 0:
            break
        center, scale = mean[active, None], rms[active, None]
        inside = finite[active] & (np.abs(block[active] - center) / scale <= CLIP_SIGMA)
        left = inside.sum(axis=1)
        goes_on = (left < n[active]) & (left >= FEWEST_TO_CLIP)
        active, inside, left = active[goes_on], inside[goes_on], left[goes_on]
        mean[active], rms[active] = _block_moments(block[active], inside, left)
        finite[active], n[active] = inside, left
        active = active[rms[active] > 0]
    return mean, rms, n


def _block_moments(
    block: FloatArray, keep: NDArray[np.bool_], n: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray]:
    weight = keep.astype(np.float64)
    mean = np.einsum("ij,ij->i", block, weight) / n
    deviation = (block - mean[:, None]) * weight
    return mean, np.sqrt(np.einsum("ij,ij->i", deviation, deviation) / n)
