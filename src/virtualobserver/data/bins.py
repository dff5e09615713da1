"""Counting rows of bin codes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from virtualobserver.errors import DataError

__all__ = ["MAX_COUNT", "Codes", "Counts", "collect", "no_wrap"]

Codes = NDArray[np.int64]
Counts = NDArray[np.uint64]

MAX_COUNT = 2**64 - 1
"""Largest count of an unsigned 64-bit integer."""
BINCOUNT_LIMIT = 1 << 22
"""Cells (32 MB of counts) up to which counting in place beats sorting."""


def no_wrap(count: Counts) -> Counts:
    """Return the counts if their sum fits into 64 bits.

    Raises
    ------
    DataError
        It does not.
    """
    # the float sum only chooses when exact arithmetic is worth its price
    if count.size and float(count.sum(dtype=np.float64)) > 2.0**63 and sum(count.tolist()) > MAX_COUNT:
        msg = f"histogram counts add up to more than {MAX_COUNT}, more than 64 bits can count"
        raise DataError(msg)
    return count


def collect(codes: list[Codes], n: int, weight: Counts | None) -> tuple[Codes, Counts]:
    """Sort and add up bins: one code array (or scalar) per axis, and a count for each of n rows."""
    if n == 0 or any(code.size == 0 for code in codes):
        return np.zeros((0, len(codes)), np.int64), np.zeros(0, np.uint64)
    low = [int(code.min()) for code in codes]
    size = [int(code.max()) - first + 1 for code, first in zip(codes, low, strict=True)]
    cells = 1
    for extent in size:
        cells *= extent
    if cells >= 2**62:
        return _collect_by_rows(codes, n, weight)
    flat = np.zeros(n, dtype=np.int64)
    for code, first, extent in zip(codes, low, size, strict=True):
        flat = flat * extent + (code - first)
    if weight is None and cells <= min(BINCOUNT_LIMIT, 16 * n):
        table = np.bincount(flat, minlength=cells)
        bins = np.flatnonzero(table)
        count = table[bins].astype(np.uint64)
    else:
        bins, count = _sorted_sum(flat, weight)
    index = np.stack(np.unravel_index(bins, size), axis=1).astype(np.int64) + np.array(low, dtype=np.int64)
    return index[count > 0], count[count > 0]


def _sorted_sum(flat: Codes, weight: Counts | None) -> tuple[Codes, Counts]:
    if weight is None:
        bins, number = np.unique(flat, return_counts=True)
        return bins, number.astype(np.uint64)
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    starts = np.flatnonzero(np.concatenate(([True], np.diff(ordered) != 0)))
    return ordered[starts], np.add.reduceat(weight[order], starts)


def _collect_by_rows(codes: list[Codes], n: int, weight: Counts | None) -> tuple[Codes, Counts]:
    rows = np.stack([np.broadcast_to(code, (n,)) for code in codes], axis=1)
    bins, inverse = np.unique(rows, axis=0, return_inverse=True)
    unit = np.ones(n, np.uint64) if weight is None else weight
    _, count = _sorted_sum(inverse.ravel().astype(np.int64), unit)
    return bins[count > 0], count[count > 0]
