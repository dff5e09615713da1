"""Compiled sky: the ring of one trail after the other, without a copy of the frame."""

# ruff: noqa: PLR0917, C901, PLR0912, PLR0915 - compiled functions take positional arguments only

from __future__ import annotations

import numpy as np

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.kernels import jit, jit_regrouped

__all__ = ["paint", "ring_sky"]

CLIP = 3.0
"""Scatters from the median, beyond which a pixel is no sky: 0.3 % of it goes by chance."""
SAME = 0.002
"""Part of the pixels that a round may still change: the level moves by a hundredth of its error for it."""
ROUNDS = 20
"""Rounds of clipping: it converges in five on most rings."""


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


@jit_regrouped
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
    ny, nx = image.shape
    room = int((2 * outer + length + 4) * (2 * outer + length + 4))
    px, py, value, var = np.empty(room), np.empty(room), np.empty(room), np.empty(room)
    level, alive = np.empty(room), np.empty(room, np.bool_)
    a, b = np.empty((4, 4)), np.empty(4)
    total = 0
    for k in range(len(x)):
        out[k] = np.nan
        if not (np.isfinite(x[k]) and np.isfinite(y[k])):
            continue
        mx, my = x[k] + ux * length / 2, y[k] + uy * length / 2
        x1, y1 = x[k] + ux * length, y[k] + uy * length
        n = missed = right = 0
        for row in range(int(np.ceil(min(y[k], y1) - outer)), int(max(y[k], y1) + outer) + 1):
            for col in range(int(np.ceil(min(x[k], x1) - outer)), int(max(x[k], x1) + outer) + 1):
                dx, dy = col - x[k], row - y[k]
                along = dx * ux + dy * uy
                s = min(max(along, 0.0), length)
                away = (dx - s * ux) ** 2 + (dy - s * uy) ** 2
                if away <= inner * inner or away > outer * outer or (row + col) % every:
                    continue
                if row < 0 or row >= ny or col < 0 or col >= nx or not good[row, col] or lit[row, col]:
                    missed += 1
                    continue
                px[n], py[n] = col - mx, row - my
                value[n], var[n] = image[row, col], variance[row, col]
                alive[n] = True
                right += col >= split
                n += 1
        counts[k, 1] = missed
        if n < fewest:
            continue
        # a step is measured where both sides have enough pixels; else the larger side stands for both
        stepped = min(right, n - right) >= fewest
        terms = 4 if stepped else 3
        if not stepped and 0 < right < n:
            for i in range(n):
                alive[i] = (px[i] + mx >= split) == (2 * right > n)
        used = n
        b[:] = 0.0
        shift = np.zeros(2)
        sigma = 0.0
        for turn in range(ROUNDS):
            # level of what is left, about the slope of the round before, each side for itself
            for side in range(2):
                m = 0
                for i in range(n):
                    if alive[i] and (not stepped or (px[i] + mx >= split) == (side == 1)):
                        level[m] = value[i] - b[1] * px[i] - b[2] * py[i]
                        m += 1
                shift[side] = np.median(level[:m]) if m else np.nan
            m = 0
            for i in range(n):
                if alive[i]:
                    here = shift[1 if stepped and px[i] + mx >= split else 0]
                    level[m] = abs(value[i] - b[1] * px[i] - b[2] * py[i] - here)
                    m += 1
            sigma = np.median(level[:m]) * MAD_TO_SIGMA
            before, used = used, 0
            for i in range(n):
                here = shift[1 if stepped and px[i] + mx >= split else 0]
                if not stepped and 0 < right < n and (px[i] + mx >= split) != (2 * right > n):
                    continue
                off = abs(value[i] - b[1] * px[i] - b[2] * py[i] - here)
                alive[i] = off <= CLIP * sigma or sigma == 0.0
                used += alive[i]
            if used < fewest:
                break
            if turn and abs(used - before) <= SAME * used:
                break
            a[:] = 0.0
            b[:] = 0.0
            one = sx = sy = xx = xy = yy = d = dx = dy = 0.0
            for i in range(n):
                if not alive[i]:
                    continue
                u, w, v = px[i], py[i], value[i]
                one += 1.0
                sx += u
                sy += w
                xx += u * u
                xy += u * w
                yy += w * w
                d += v
                dx += u * v
                dy += w * v
                if stepped and u + mx >= split:
                    a[0, 3] += 1.0
                    a[1, 3] += u / 10
                    a[2, 3] += w / 10
                    b[3] += v
            a[0, 0], a[0, 1], a[0, 2], a[1, 1], a[1, 2], a[2, 2] = (
                one,
                sx / 10,
                sy / 10,
                xx / 100,
                xy / 100,
                yy / 100,
            )
            a[3, 3] = a[0, 3]
            for j in range(terms):
                for m in range(j):
                    a[j, m] = a[m, j]
            b[0], b[1], b[2] = d, dx / 10, dy / 10
            if not _solve(a, b, terms):
                b[:] = 0.0
            b[1] /= 10
            b[2] /= 10
        if used < fewest:
            continue
        side = 1 if stepped and mx >= split else 0
        m = lost = 0
        for i in range(n):
            if alive[i]:
                level[m] = var[i]
                m += 1
                if keep:
                    if total < len(kept):
                        kept[total, 0], kept[total, 1] = k, px[i] + mx
                        kept[total, 2], kept[total, 3] = py[i] + my, value[i]
                    total += 1
            elif stepped or not 0 < right < n or (px[i] + mx >= split) == (2 * right > n):
                lost += 1
        out[k, 0] = shift[side]
        out[k, 1] = 1.2533 * sigma / np.sqrt(m)
        out[k, 2], out[k, 3] = b[1], b[2]
        out[k, 4] = shift[1] - shift[0] if stepped else 0.0
        out[k, 5] = lost / (m + lost)
        out[k, 6] = np.median(level[:m])
        out[k, 7] = sigma
        counts[k, 0] = m
    counts[-1, 0] = total
