"""Compiled sky: the ring of one trail after the other, without a copy of the frame."""

# ruff: noqa: PLR0917 - compiled functions take positional arguments only

from __future__ import annotations

import numpy as np

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.kernels import jit, jit_regrouped

__all__ = ["median_near", "paint", "ring_sky"]

CLIP = 3.0
"""Scatters from the median, beyond which a pixel is no sky: 0.3 % of it goes by chance."""
SAME = 0.002
"""Part of the pixels that a round may still change: the level moves by a hundredth of its error for it."""
ROUNDS = 20
"""Rounds of clipping: it converges in five on most rings."""
_NARROW = 0.3
"""Scatters about the level of the round before in which the next one is looked for: a quarter of the pixels."""
_MANY, _EVERY = 200, 8
"""Numbers from which on a median is guessed from some, and of how many one is taken: 25 tell it to a quarter of a
scatter."""


@jit
def distance(dx: float, dy: float, ux: float, uy: float, length: float) -> float:
    """Return pixels from the nearest point of a line that begins at 0."""
    s = min(max(dx * ux + dy * uy, 0.0), length)
    return float(np.sqrt((dx - s * ux) ** 2 + (dy - s * uy) ** 2))


@jit
def paint(plane: Array, x: Array, y: Array, ux: float, uy: float, length: float, width: Array) -> None:
    """Set a plane to True within `width` pixels of each trail; a width of 0 paints nothing."""
    ny, nx = plane.shape
    for k in range(len(x)):
        if not (np.isfinite(x[k]) and np.isfinite(y[k])) or width[k] <= 0:
            continue
        x1, y1 = x[k] + ux * length, y[k] + uy * length
        for row in range(
            max(int(np.ceil(min(y[k], y1) - width[k])), 0), min(int(max(y[k], y1) + width[k]) + 1, ny)
        ):
            for col in range(
                max(int(np.ceil(min(x[k], x1) - width[k])), 0), min(int(max(x[k], x1) + width[k]) + 1, nx)
            ):
                if distance(col - x[k], row - y[k], ux, uy, length) <= width[k]:
                    plane[row, col] = True


@jit
def _solve(a: Array, b: Array, n: int) -> bool:
    """Gauss in place; False if the system has no solution."""
    for i in range(n):
        pivot = i
        for j in range(i + 1, n):
            if abs(a[j, i]) > abs(a[pivot, i]):
                pivot = j
        if abs(a[pivot, i]) < 1e-9:
            return False
        if pivot != i:
            for j in range(n):
                a[i, j], a[pivot, j] = a[pivot, j], a[i, j]
            b[i], b[pivot] = b[pivot], b[i]
        for j in range(i + 1, n):
            factor = a[j, i] / a[i, i]
            for m in range(i, n):
                a[j, m] -= factor * a[i, m]
            b[j] -= factor * b[i]
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            b[i] -= a[i, j] * b[j]
        b[i] /= a[i, i]
    return True


@jit
def _select(values: Array, n: int, k: int) -> float:
    """Return the k-th smallest of the first `n` values, which are put before and after it (C. A. R. Hoare, 1961)."""
    low, high = 0, n - 1
    while low < high:
        pivot, i, j = values[k], low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if j < k:
            low = i
        if k < i:
            high = j
    return float(values[k])


@jit
def _middle(values: Array, n: int, offset: int, whole: int) -> float:
    """Return the median of `whole` numbers, of which the first `n` values are those after the `offset` smallest."""
    k = (whole - 1) // 2 - offset
    lower = _select(values, n, k)
    if whole % 2:
        return lower
    return float(0.5 * (lower + np.min(values[k + 1 : n])))


@jit_regrouped
def median_near(values: Array, n: int, work: Array, guess: float, reach: float) -> float:
    """Return the median of the first `n` values, which is looked for within `reach` of a guess, and then everywhere.

    Without a reach the guess is the median of every eighth value. The answer is the same whatever the guess.
    """
    if reach <= 0 and n >= _MANY:
        m = 0
        for i in range(0, n, _EVERY):
            work[m] = values[i]
            m += 1
        guess = _middle(work, m, 0, m)
        low, high = _select(work, m, m // 3), _select(work, m, m - m // 3)  # 0.43 of a scatter to each side
        reach = 0.5 * (high - low)
    m = below = 0
    for i in range(n):
        if values[i] < guess - reach:
            below += 1
        elif values[i] <= guess + reach:
            work[m] = values[i]
            m += 1
    if below <= (n - 1) // 2 and n // 2 < below + m:
        return _middle(work, m, below, n)
    for i in range(n):
        work[i] = values[i]
    return _middle(work, n, 0, n)


@jit_regrouped
def _ring(
    image: Array, variance: Array, good: Array, lit: Array, x: float, y: float, ux: float, uy: float, length: float,
    inner: float, outer: float, split: float, every: int, ring: Array,
) -> tuple[int, int, int]:  # fmt: skip
    """Fill rows of `ring` with x, y (from the middle of the trail), value, variance and side (0, 1) of its pixels.

    Returns how many there are, how many are left out, and how many are on the right of the split.
    """
    ny, nx = image.shape
    mx, my = x + ux * length / 2, y + uy * length / 2
    x1, y1 = x + ux * length, y + uy * length
    n = missed = right = 0
    for row in range(int(np.ceil(min(y, y1) - outer)), int(max(y, y1) + outer) + 1):
        for col in range(int(np.ceil(min(x, x1) - outer)), int(max(x, x1) + outer) + 1):
            dx, dy = col - x, row - y
            s = min(max(dx * ux + dy * uy, 0.0), length)
            away = (dx - s * ux) ** 2 + (dy - s * uy) ** 2
            if away <= inner * inner or away > outer * outer or (row + col) % every:
                continue
            if row < 0 or row >= ny or col < 0 or col >= nx or not good[row, col] or lit[row, col]:
                missed += 1
                continue
            ring[0, n], ring[1, n] = col - mx, row - my
            ring[2, n], ring[3, n] = image[row, col], variance[row, col]
            ring[4, n] = 1.0 if col >= split else 0.0
            right += col >= split
            n += 1
    return n, missed, right


@jit
def _one_side(ring: Array, n: int, side: float) -> int:
    """Keep the pixels of one side of the split; return how many."""
    m = 0
    for i in range(n):
        if ring[4, i] == side:
            for part in range(4):
                ring[part, m] = ring[part, i]
            ring[4, m] = 0.0
            m += 1
    return m


@jit_regrouped
def _fit_plane(ring: Array, alive: Array, n: int, stepped: bool, a: Array, b: Array) -> None:
    """Fit level, slopes and, if `stepped`, what the right side has more, to the pixels that are alive."""
    a[:] = 0.0
    b[:] = 0.0
    one = sx = sy = xx = xy = yy = d = dx = dy = 0.0
    for i in range(n):
        w = alive[i]
        u, v, z = w * ring[0, i], w * ring[1, i], w * ring[2, i]
        one += w
        sx += u
        sy += v
        xx += u * ring[0, i]
        xy += u * ring[1, i]
        yy += v * ring[1, i]
        d += z
        dx += u * ring[2, i]
        dy += v * ring[2, i]
    if stepped:
        for i in range(n):
            w = alive[i] * ring[4, i]
            a[0, 3] += w
            a[1, 3] += w * ring[0, i] / 10
            a[2, 3] += w * ring[1, i] / 10
            b[3] += w * ring[2, i]
    a[0, 0], a[0, 1], a[0, 2] = one, sx / 10, sy / 10
    a[1, 1], a[1, 2], a[2, 2], a[3, 3] = xx / 100, xy / 100, yy / 100, a[0, 3]
    terms = 4 if stepped else 3
    for j in range(terms):
        for m in range(j):
            a[j, m] = a[m, j]
    b[0], b[1], b[2] = d, dx / 10, dy / 10
    if not _solve(a, b, terms):
        b[:] = 0.0
    b[1] /= 10
    b[2] /= 10


@jit_regrouped
def _levels(
    ring: Array,
    rest: Array,
    alive: Array,
    n: int,
    stepped: bool,
    level: Array,
    work: Array,
    shift: Array,
    sigma: float,
) -> float:
    """Write the median of what is alive, of each side for itself if `stepped`; return the scatter about it."""
    for side in range(2 if stepped else 1):
        m = 0
        for i in range(n):
            if alive[i] > 0 and (not stepped or ring[4, i] == side):
                level[m] = rest[i]
                m += 1
        shift[side] = median_near(level, m, work, shift[side], _NARROW * sigma) if m else np.nan
    m = 0
    for i in range(n):
        if alive[i] > 0:
            level[m] = abs(rest[i] - shift[int(ring[4, i]) if stepped else 0])
            m += 1
    return median_near(level, m, work, sigma / MAD_TO_SIGMA, _NARROW * sigma) * MAD_TO_SIGMA


@jit_regrouped
def _clipped(
    ring: Array, n: int, stepped: bool, fewest: int, scratch: Array, shift: Array, a: Array, b: Array
) -> tuple[int, float]:
    """Clip a ring about its own slope until nothing changes; return how many pixels are left, and their scatter.

    Rows of `scratch` are which are left, what they are off the slope, and two more.
    """
    alive, rest = scratch[0], scratch[1]
    used, sigma = n, 0.0
    alive[:n] = 1.0
    shift[:] = 0.0
    b[:] = 0.0
    for turn in range(ROUNDS):
        for i in range(n):
            rest[i] = ring[2, i] - b[1] * ring[0, i] - b[2] * ring[1, i]
        sigma = _levels(ring, rest, alive, n, stepped, scratch[2], scratch[3], shift, sigma)
        before, used = used, 0
        for i in range(n):
            off = abs(rest[i] - shift[int(ring[4, i]) if stepped else 0])
            kept = off <= CLIP * sigma or sigma == 0.0
            alive[i] = 1.0 if kept else 0.0
            used += kept
        if used < fewest or (turn and abs(used - before) <= SAME * used):
            break
        _fit_plane(ring, alive, n, stepped, a, b)
    return used, sigma


@jit
def ring_sky(
    image: Array, variance: Array, good: Array, lit: Array, x: Array, y: Array, ux: float, uy: float,
    length: float, inner: float, outer: float, split: float, fewest: int, every: int, out: Array, counts: Array,
    kept: Array, keep: bool,
) -> None:  # fmt: skip
    """Measure the ring of each trail.

    Columns of `out`: value at the middle, error, gradient along x and y, step at the split, clipped share, variance
    of a pixel, scatter. Columns of `counts`: used, left out. `kept` (pixels, 4) takes trail, x, y, value when `keep`;
    its number is counts[-1, 0], and pixels beyond its length are counted and not kept. Of the pixels, `every`-th are
    looked at along rows and columns.
    """
    room = int((2 * outer + length + 4) * (2 * outer + length + 4))
    ring, scratch = np.empty((5, room)), np.empty((4, room))
    a, b, shift = np.empty((4, 4)), np.empty(4), np.empty(2)
    total = 0
    for k in range(len(x)):
        out[k] = np.nan
        if not (np.isfinite(x[k]) and np.isfinite(y[k])):
            continue
        n, missed, right = _ring(
            image, variance, good, lit, x[k], y[k], ux, uy, length, inner, outer, split, every, ring
        )
        counts[k, 1] = missed
        if n < fewest:
            continue
        # a step is measured where both sides have enough pixels; else the larger side stands for both
        stepped = min(right, n - right) >= fewest
        if not stepped and 0 < right < n:
            n = _one_side(ring, n, 1.0 if 2 * right > n else 0.0)
        used, sigma = _clipped(ring, n, stepped, fewest, scratch, shift, a, b)
        if used < fewest:
            continue
        mx, my, m = x[k] + ux * length / 2, y[k] + uy * length / 2, 0
        for i in range(n):
            if scratch[0, i] > 0:
                scratch[2, m] = ring[3, i]
                m += 1
                if keep and total < len(kept):
                    kept[total, 0], kept[total, 1] = k, ring[0, i] + mx
                    kept[total, 2], kept[total, 3] = ring[1, i] + my, ring[2, i]
                total += keep
        out[k, 0] = shift[1 if stepped and mx >= split else 0]
        out[k, 1] = 1.2533 * sigma / np.sqrt(m)
        out[k, 2], out[k, 3] = b[1], b[2]
        out[k, 4] = shift[1] - shift[0] if stepped else 0.0
        out[k, 5] = (n - m) / n
        out[k, 6] = median_near(scratch[2], m, scratch[3], 0.0, 0.0)
        out[k, 7] = sigma
        counts[k, 0] = m
    counts[-1, 0] = total
