"""Compiled extraction: every pixel of every trail once, straight from the frame."""

# ruff: noqa: PLR0917, C901 - compiled functions take positional arguments only

from __future__ import annotations

import numpy as np

from virtualobserver.maths.arrays import Array
from virtualobserver.maths.kernels import jit

__all__ = ["FINE", "add_trails", "column_moments", "fit_columns", "sharp_pixels"]

FINE = 20
"""Steps of the table of the profile in a pixel: between them it is straight to 1e-4 of its peak."""
ROWS = 5.5
"""Pixels to each side of the sum over 11 rows, as published."""
_SEEN = 0.05
"""Of the peak of the profile, from which on a masked pixel is named in the flags."""


@jit
def profile_at(table: Array, q: float) -> float:
    """Return the share of a column's light in a pixel `q` pixels across; the table goes to both sides alike."""
    at = abs(q) * FINE
    i = int(at)
    if i + 1 >= len(table):
        return 0.0
    return float(table[i] + (at - i) * (table[i + 1] - table[i]))


@jit
def share_at(table: Array, q: float, width: float) -> float:
    """Return the same of a profile that is `width` times as wide."""
    return profile_at(table, q / width) / width


@jit
def sky_at(sky: Array, split: float, row: int, col: int) -> float:
    """Return the sky of one trail in a pixel."""
    step = 0.0
    if (col >= split) != (sky[5] >= split):
        step = sky[3] if col >= split else -sky[3]
    return float(sky[0] + sky[1] * (col - sky[5]) + sky[2] * (row - sky[6]) + step)


@jit
def span(x: float, ux: float, first: float, last: float, across: float, half: float) -> tuple[int, int]:
    """Return the first column (or row) of a strip, and the one after its last."""
    a, b = x + ux * first, x + ux * last
    room = half * abs(across) + 0.5 * abs(ux)
    return int(np.ceil(min(a, b) - room)), int(np.floor(max(a, b) + room)) + 1


@jit
def named(found: int, inside: bool, counts: Array) -> int:
    """Return the bits of a pixel that is not measured, 30 off the frame and 31 of no bit, and count it under each."""
    if not inside:
        found = 1 << 30
    elif found == 0:
        found = 1 << 31
    for bit in range(32):
        if found >> bit & 1:
            counts[bit] += 1
    return found


@jit
def fit_columns(
    image: Array, good: Array, mask: Array, sky: Array, split: float, x: Array, y: Array, ux: float, uy: float,
    first: Array, shift: Array, width: Array, table: Array, half: float, light: Array, covered: float,
    out: Array, bits: Array, counts: Array,
) -> None:  # fmt: skip
    """Fit the profile to each column of each trail.

    `sky` has the columns value, gradient x, gradient y, step, variance and the middle x, y; `light` is the light
    expected of each column, which weighs its pixels. Planes of `out`, (planes, n, m): flux, its variance, share of
    the weight that is good, pixels from the start, sky; and of the 11 rows, where at least `covered` of them is good:
    sum, share of the light in the pixels summed, variance. `bits` are those of masked pixels, `counts` (n, 32) the
    pixels of each.
    """
    (ny, nx), (n, m) = image.shape, light.shape
    sums = np.empty((10, m))
    top, whole, weight, way, ground = sums[0], sums[1], sums[2], sums[3], sums[4]
    area, rows, share, spread, all_rows = sums[5], sums[6], sums[7], sums[8], sums[9]
    for k in range(n):
        out[:, k], out[2, k] = np.nan, 0.0
        if not (np.isfinite(x[k]) and np.isfinite(y[k])):
            continue
        sums[:] = 0.0
        row0, row1 = span(y[k], uy, first[k], first[k] + m - 1, ux, half)
        col0, col1 = span(x[k], ux, first[k], first[k] + m - 1, uy, half)
        for row in range(row0, row1):
            for col in range(col0, col1):
                dx, dy = col - x[k], row - y[k]
                along = dx * ux + dy * uy
                j = int(np.floor(along - first[k] + 0.5))
                q = dy * ux - dx * uy
                if j < 0 or j >= m or abs(q) > half:
                    continue
                p = share_at(table, q - shift[k, j], width[k, j])
                v = sky[k, 4] + max(light[k, j], 0.0) * p
                whole[j] += p * p / v
                inside = 0 <= row < ny and 0 <= col < nx
                if abs(q) <= ROWS:
                    all_rows[j] += p
                if not inside or not good[row, col]:
                    if p >= _SEEN * table[0]:
                        bits[k, j] |= named(int(mask[row, col]) if inside else 0, inside, counts[k])
                    continue
                level = sky_at(sky[k], split, row, col)
                d = image[row, col] - level
                top[j] += p * d / v
                weight[j] += p * p / v
                way[j] += p * p / v * along
                ground[j] += level
                area[j] += 1.0
                if abs(q) <= ROWS:
                    rows[j] += d
                    share[j] += p
                    spread[j] += v
        for j in range(m):
            if weight[j] <= 0.0:
                continue
            out[0, k, j], out[1, k, j], out[2, k, j] = top[j] / weight[j], 1 / weight[j], weight[j] / whole[j]
            out[3, k, j], out[4, k, j] = way[j] / weight[j], ground[j] / area[j]
            if share[j] >= covered * all_rows[j]:
                out[5, k, j], out[6, k, j], out[7, k, j] = rows[j], share[j], spread[j]


@jit
def add_trails(
    plane: Array, top: int, x: Array, y: Array, ux: float, uy: float, first: Array, shift: Array, width: Array,
    table: Array, inner: float, half: float, light: Array,
) -> None:  # fmt: skip
    """Add the light of the columns of trails that is `inner` to `half` pixels across to a plane.

    The plane may be a part of a frame, of which `top` is its first row. Columns that are not finite add nothing.
    """
    ny, nx = plane.shape
    n, m = light.shape
    for k in range(n):
        if not (np.isfinite(x[k]) and np.isfinite(y[k])):
            continue
        end = first[k] + m - 1
        row0, row1 = span(y[k], uy, first[k], end, ux, half)
        col0, col1 = span(x[k], ux, first[k], end, uy, half)
        for row in range(max(row0, top), min(row1, top + ny)):
            for col in range(max(col0, 0), min(col1, nx)):
                dx, dy = col - x[k], row - y[k]
                at = dx * ux + dy * uy - first[k]
                j = int(np.floor(at + 0.5))
                q = dy * ux - dx * uy
                if 0 <= j < m and inner <= abs(q) <= half and np.isfinite(light[k, j]):
                    plane[row - top, col] += light[k, j] * share_at(table, q - shift[k, j], width[k, j])


@jit
def sharp_pixels(
    image: Array, model: Array, good: Array, sky: Array, split: float, x: Array, y: Array, ux: float, uy: float,
    first: Array, m: int, half: float, spread: float, limit: float,
) -> int:  # fmt: skip
    """Take from `good` what stands above the model and is sharper than the image of a star; return how many.

    `spread` is the light of a star one pixel beside its middle, of that in the middle.
    """
    ny, nx = image.shape
    found = 0
    hits = np.empty((int((m + 2 * half + 4) * (m + 2 * half + 4)), 2), np.int64)
    for k in range(len(x)):
        if not (np.isfinite(x[k]) and np.isfinite(y[k]) and np.isfinite(sky[k, 0])):
            continue
        end = first[k] + m - 1
        row0, row1 = span(y[k], uy, first[k], end, ux, half)
        col0, col1 = span(x[k], ux, first[k], end, uy, half)
        new = 0
        for row in range(max(row0, 1), min(row1, ny - 1)):
            for col in range(max(col0, 1), min(col1, nx - 1)):
                q = (row - y[k]) * ux - (col - x[k]) * uy
                if abs(q) > half or not good[row, col]:
                    continue
                level = sky_at(sky[k], split, row, col)
                v = sky[k, 4] + max(float(model[row, col]), 0.0)
                here = image[row, col] - level - model[row, col]
                if here <= limit * np.sqrt(v):
                    continue
                beside, known = 0.0, 0
                for i, j in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                    if good[row + i, col + j]:
                        beside += image[row + i, col + j] - level - model[row + i, col + j]
                        known += 1
                if known == 0:
                    continue
                beside = max(beside / known, 0.0) / spread
                if here - beside > limit * np.sqrt(v * (1 + 1 / (known * spread * spread))):
                    hits[new, 0], hits[new, 1] = row, col
                    new += 1
        for i in range(new):
            good[hits[i, 0], hits[i, 1]] = False
        found += new
    return found


@jit
def column_moments(
    image: Array, good: Array, model: Array, top: int, which: Array, sky: Array, split: float, x: Array, y: Array,
    ux: float, uy: float, first: Array, shift: Array, width: Array, table: Array, half: float, light: Array, out: Array,
) -> None:  # fmt: skip
    """Measure where columns of the trails `which` lie across, and how wide they are, against the model of all trails.

    The model is a part of the frame, of which `top` is the first row and in which these trails lie.
    Planes of `out`, (4, n, m): pixels sideways of the profile, their error, relative width beyond that of the profile,
    its error; NaN where there is nothing. What the light of the column itself could be is taken out of both.
    """
    ny, nx = image.shape
    m = light.shape[1]
    step = 0.25  # pixels: the slope of a profile four pixels wide is straight over half of one to 1 %
    sums = np.empty((8, m))
    for k in which:
        for plane in range(4):
            out[plane, k] = np.nan
        if not (np.isfinite(x[k]) and np.isfinite(y[k]) and np.isfinite(sky[k, 0])):
            continue
        sums[:] = 0.0
        end = first[k] + m - 1
        row0, row1 = span(y[k], uy, first[k], end, ux, half)
        col0, col1 = span(x[k], ux, first[k], end, uy, half)
        for row in range(max(row0, 0), min(row1, ny)):
            for col in range(max(col0, 0), min(col1, nx)):
                dx, dy = col - x[k], row - y[k]
                j = int(np.floor(dx * ux + dy * uy - first[k] + 0.5))
                q = dy * ux - dx * uy
                if j < 0 or j >= m or abs(q) > half or not good[row, col] or not light[k, j] > 0:
                    continue
                wide = width[k, j]
                q -= shift[k, j]
                p = share_at(table, q, wide)
                slope = (share_at(table, q + step, wide) - share_at(table, q - step, wide)) / (2 * step)
                # by one pixel sideways; by one unit of the logarithm of the width
                side, broad = -slope, -p - q * slope
                v = sky[k, 4] + max(float(model[row - top, col]), 0.0)
                r = image[row, col] - sky_at(sky[k], split, row, col) - model[row - top, col]
                sums[0, j] += p * p / v
                sums[1, j] += p * side / v
                sums[2, j] += p * broad / v
                sums[3, j] += side * side / v
                sums[4, j] += broad * broad / v
                sums[5, j] += r * p / v
                sums[6, j] += r * side / v
                sums[7, j] += r * broad / v
        for j in range(m):
            if sums[0, j] <= 0:
                continue
            for kind in range(2):
                cross = sums[1 + kind, j] / sums[0, j]
                own = sums[3 + kind, j] - cross * sums[1 + kind, j]
                if own > 1e-3 * sums[3 + kind, j]:
                    out[2 * kind, k, j] = (sums[6 + kind, j] - cross * sums[5, j]) / own / light[k, j]
                    out[2 * kind + 1, k, j] = 1 / np.sqrt(own) / light[k, j]
