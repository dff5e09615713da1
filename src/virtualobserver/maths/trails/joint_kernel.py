"""Compiled joint fit: the equations of trails that share pixels, and their solution group by group."""

# ruff: noqa: PLR0917 - compiled functions take positional arguments only

from __future__ import annotations

import numpy as np

from virtualobserver.maths.arrays import Array
from virtualobserver.maths.kernels import jit
from virtualobserver.maths.trails.extract_kernel import share_at, sky_at, span

__all__ = [
    "count_entries", "envelope", "fill_entries", "own_sums", "pair_sums", "seen_data", "solve_groups",
]  # fmt: skip


@jit
def column_of(
    x: float, y: float, ux: float, uy: float, first: float, row: int, col: int
) -> tuple[int, float]:
    """Return the column of a trail that a pixel is in, and how far across the pixel lies."""
    dx, dy = col - x, row - y
    return int(np.floor(dx * ux + dy * uy - first + 0.5)), dy * ux - dx * uy


@jit
def seen_data(
    image: Array, good: Array, model: Array, top: int, which: Array, sky: Array, split: float, x: Array, y: Array,
    ux: float, uy: float, first: Array, half: float, usable: Array, seen: Array,
) -> None:  # fmt: skip
    """Write the light above the sky over the noise of each pixel, as the first of the trails `which` that has it does.

    `model` and `seen` are some rows of the frame from `top` on.
    """
    nx, m = image.shape[1], usable.shape[1]
    for at in range(len(which)):
        k = which[len(which) - 1 - at]
        end = first[k] + m - 1
        row0, row1 = span(y[k], uy, first[k], end, ux, half)
        col0, col1 = span(x[k], ux, first[k], end, uy, half)
        for row in range(max(row0, top), min(row1, top + len(model))):
            for col in range(max(col0, 0), min(col1, nx)):
                j, q = column_of(x[k], y[k], ux, uy, first[k], row, col)
                if j < 0 or j >= m or abs(q) > half or not usable[k, j] or not good[row, col]:
                    continue
                noise = np.sqrt(sky[k, 4] + max(float(model[row - top, col]), 0.0))
                seen[row - top, col] = (image[row, col] - sky_at(sky[k], split, row, col)) / noise


@jit
def own_sums(
    good: Array, model: Array, top: int, which: Array, sky: Array, seen: Array, x: Array, y: Array, ux: float,
    uy: float, first: Array, shift: Array, width: Array, table: Array, half: float, usable: Array, square: Array,
    right: Array,
) -> None:  # fmt: skip
    """Add to each column of trails its square, and its product with the data, over pixels of some rows."""
    nx, m = good.shape[1], usable.shape[1]
    for k in which:
        end = first[k] + m - 1
        row0, row1 = span(y[k], uy, first[k], end, ux, half)
        col0, col1 = span(x[k], ux, first[k], end, uy, half)
        for row in range(max(row0, top), min(row1, top + len(model))):
            for col in range(max(col0, 0), min(col1, nx)):
                j, q = column_of(x[k], y[k], ux, uy, first[k], row, col)
                if j < 0 or j >= m or abs(q) > half or not usable[k, j] or not good[row, col]:
                    continue
                noise = np.sqrt(sky[k, 4] + max(float(model[row - top, col]), 0.0))
                value = share_at(table, q - shift[k, j], width[k, j]) / noise
                square[k, j] += value * value
                right[k, j] += value * seen[row - top, col]


@jit
def pair_sums(
    good: Array, model: Array, top: int, pairs: Array, sky: Array, x: Array, y: Array, ux: float, uy: float,
    first: Array, shift: Array, width: Array, table: Array, half: float, usable: Array, one: Array, other: Array,
    value: Array,
) -> int:  # fmt: skip
    """List the products of columns of two trails that share pixels in some rows: both numbers, and the sum.

    A column of one lies over two of the other at most. What has no room in the lists is counted and not written.
    """
    nx, m = good.shape[1], usable.shape[1]
    total = 0
    sums = np.empty((m, 2))
    for at in range(len(pairs)):
        k, n = pairs[at, 0], pairs[at, 1]
        row0, row1 = span(y[k], uy, first[k], first[k] + m - 1, ux, half)
        col0, col1 = span(x[k], ux, first[k], first[k] + m - 1, uy, half)
        up0, up1 = span(y[n], uy, first[n], first[n] + m - 1, ux, half)
        left, right = span(x[n], ux, first[n], first[n] + m - 1, uy, half)
        sums[:] = 0.0
        # columns of both are one pixel wide, and where those of the other begin is the same all along
        apart = int(np.floor((x[k] - x[n]) * ux + (y[k] - y[n]) * uy + first[k] - first[n]))
        for row in range(max(row0, up0, top), min(row1, up1, top + len(model))):
            for col in range(max(col0, left, 0), min(col1, right, nx)):
                if not good[row, col]:
                    continue
                j, q = column_of(x[k], y[k], ux, uy, first[k], row, col)
                if j < 0 or j >= m or abs(q) > half or not usable[k, j]:
                    continue
                i, p = column_of(x[n], y[n], ux, uy, first[n], row, col)
                if i < 0 or i >= m or abs(p) > half or not usable[n, i]:
                    continue
                light = max(float(model[row - top, col]), 0.0)
                both = share_at(table, q - shift[k, j], width[k, j]) / np.sqrt(sky[k, 4] + light)
                both *= share_at(table, p - shift[n, i], width[n, i]) / np.sqrt(sky[n, 4] + light)
                sums[j, min(max(i - j - apart, 0), 1)] += both
        for j in range(m):
            for side in range(2):
                if sums[j, side] == 0.0:
                    continue
                if total < len(one):
                    one[total], other[total], value[total] = (
                        k * m + j,
                        n * m + j + apart + side,
                        sums[j, side],
                    )
                total += 1
    return total


@jit
def count_entries(one: Array, other: Array, number: Array, count: Array) -> None:
    """Count what rows get of products of samples, whose unknowns have these numbers."""
    for i in range(len(one)):
        count[number[one[i]]] += 1
        count[number[other[i]]] += 1


@jit
def fill_entries(
    one: Array, other: Array, value: Array, number: Array, free: Array, indices: Array, data: Array
) -> None:
    """Write products into the rows of both unknowns, from the first free place of each."""
    for i in range(len(one)):
        a, b = number[one[i]], number[other[i]]
        indices[free[a]], data[free[a]] = b, value[i]
        free[a] += 1
        indices[free[b]], data[free[b]] = a, value[i]
        free[b] += 1


@jit
def envelope(indptr: Array, indices: Array, order: Array, rank: Array, low: Array, block: Array) -> int:
    """Write where each row of the ordered matrix begins, and where the group of each begins; return the largest group.

    That is the largest number of places from the beginnings of rows to the diagonal in a group.
    """
    n = len(order)
    for i in range(n):
        row = order[i]
        least = i
        for at in range(indptr[row], indptr[row + 1]):
            least = min(least, rank[indices[at]])
        low[i] = least
    begin = n
    for i in range(n - 1, -1, -1):
        begin = min(begin, low[i])
        block[i] = begin == i
    largest = size = 0
    for i in range(n):
        if block[i]:
            size = 0
        size += i - low[i] + 1
        largest = max(largest, size)
    return largest


@jit
def _factorised(
    indptr: Array, indices: Array, data: Array, right: Array, order: Array, rank: Array, low: Array, start: int,
    ridge: float, place: Array, factor: Array, line: Array,
) -> None:  # fmt: skip
    """Write the Cholesky factor of a group within its envelope, and what it makes of the right side."""
    for i in range(len(place)):
        begin, row = low[start + i] - start, order[start + i]
        for entry in range(indptr[row], indptr[row + 1]):
            j = rank[indices[entry]] - start
            if j <= i:
                factor[place[i] + j] += data[entry]
        own = factor[place[i] + i]
        factor[place[i] + i] = own * (1 + ridge)
        for j in range(begin, i + 1):
            total = factor[place[i] + j]
            for k in range(max(begin, low[start + j] - start), j):
                total -= factor[place[i] + k] * factor[place[j] + k]
            factor[place[i] + j] = total / factor[place[j] + j] if j < i else np.sqrt(max(total, ridge * own))
        total = right[row]
        for k in range(begin, i):
            total -= factor[place[i] + k] * line[k]
        line[i] = total / factor[place[i] + i]


@jit
def _inverted(
    low: Array,
    start: int,
    place: Array,
    last: Array,
    factor: Array,
    line: Array,
    inverse: Array,
    answer: Array,
) -> None:
    """Write the solution of a group and, within its envelope, the inverse."""
    for j in range(len(place) - 1, -1, -1):
        pivot, total = factor[place[j] + j], line[j]
        own = 1 / (pivot * pivot)
        for i in range(j + 1, last[j] + 1):
            if low[start + i] - start > j:
                continue
            total -= factor[place[i] + j] * answer[i]
            cross = 0.0
            for k in range(j + 1, last[j] + 1):
                if low[start + k] - start <= j:
                    cross -= inverse[place[max(i, k)] + min(i, k)] * factor[place[k] + j] / pivot
            inverse[place[i] + j] = cross
            own -= cross * factor[place[i] + j] / pivot
        answer[j] = total / pivot
        inverse[place[j] + j] = own


@jit
def solve_groups(
    indptr: Array, indices: Array, data: Array, right: Array, order: Array, rank: Array, low: Array, block: Array,
    room: int, ridge: float, flux: Array, variance: Array,
) -> None:  # fmt: skip
    """Solve each group of unknowns that touch each other, and give the diagonal of the inverse: their variances.

    Cholesky within the envelope of the ordered matrix; the inverse within it by the equations of K. Takahashi, J. Fagan
    and M.-S. Chen (1973, 8th PICA conference): exact, and nothing outside of the envelope is needed for it.
    """
    n = len(order)
    factor, inverse = np.empty(room), np.empty(room)
    start = 0
    while start < n:
        stop = start + 1
        while stop < n and not block[stop]:
            stop += 1
        size = stop - start
        place, last = np.empty(size, np.int64), np.empty(size, np.int64)
        line, answer = np.empty(size), np.empty(size)
        at = 0
        for i in range(size):  # place[i] + j is where row i has column j
            begin = low[start + i] - start
            place[i] = at - begin
            at += i - begin + 1
            last[i] = i
            last[begin] = max(last[begin], i)
        for i in range(1, size):
            last[i] = max(last[i], last[i - 1])
        factor[:at] = 0.0
        _factorised(indptr, indices, data, right, order, rank, low, start, ridge, place, factor, line)
        _inverted(low, start, place, last, factor, line, inverse, answer)
        for i in range(size):
            flux[order[start + i]], variance[order[start + i]] = answer[i], inverse[place[i] + i]
        start = stop
