"""Compiled sky: the ring of one trail after the other, without a copy of the frame."""

# ruff: noqa: PLR0917 - compiled functions take positional arguments only

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
SOME = 64
"""Values near whose median that of all is looked for: an eighth of the scatter from it by chance."""
NEAR = 0.1
"""Scatters from the median of the round before within which that of the next one is looked for."""
LEFT, RIGHT = 1, 2
"""Bits of the pixels on each side of the column where the amplifiers meet."""


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
def _gather(
    image: Array, variance: Array, sky: Array, x: float, y: float, ux: float, uy: float, length: float,
    inner: float, outer: float, every: int, pixels: Array, inside: Array,
) -> tuple[int, int]:  # fmt: skip
    """Write x and y from the middle of a trail, value and variance of each pixel of its ring that is sky.

    Return how many there are, and how many are not: off the frame, not good, or lit by a neighbour.
    """
    ny, nx = image.shape
    px, py, value, var = pixels[0], pixels[1], pixels[2], pixels[3]
    mx, my = x + ux * length / 2, y + uy * length / 2
    x1, y1 = x + ux * length, y + uy * length
    left, right = int(np.ceil(min(x, x1) - outer)), int(max(x, x1) + outer) + 1
    n = ring = 0
    for row in range(int(np.ceil(min(y, y1) - outer)), int(max(y, y1) + outer) + 1):
        first, dy = left + (-(row + left)) % every, row - y
        many = (right - first + every - 1) // every
        for i in range(many):  # for itself, as it runs over many pixels at once
            dx = first + i * every - x
            s = min(max(dx * ux + dy * uy, 0.0), length)
            away = (dx - s * ux) ** 2 + (dy - s * uy) ** 2
            inside[i] = (away > inner * inner) & (away <= outer * outer)
        for i in range(many):
            ring += inside[i]
        if row < 0 or row >= ny:
            continue
        for i in range(max(-(first // every), 0), min(many, (nx - 1 - first) // every + 1)):
            col = first + i * every
            px[n], py[n], value[n], var[n] = col - mx, row - my, image[row, col], variance[row, col]
            n += inside[i] & sky[row, col]
    return n, ring - n


@jit_regrouped
def _sides(pixels: Array, side: Array, n: int, split: float, fewest: int) -> tuple[int, bool]:
    """Write the bit of the side of the split that each pixel is on; return how many stay, and whether on two sides.

    A step is measured where both sides have enough pixels; else the larger side stands for both, and the other goes.
    """
    right = 0
    for i in range(n):
        beyond = pixels[0, i] >= split
        side[i] = RIGHT if beyond else LEFT
        right += beyond
    if min(right, n - right) >= fewest:
        return n, True
    larger, m = RIGHT if 2 * right > n else LEFT, 0
    for i in range(n):
        if side[i] == larger:
            for plane in range(4):
                pixels[plane, m] = pixels[plane, i]
            m += 1
    side[:m] = LEFT
    return m, False


@jit_regrouped
def _median(values: Array, n: int, some: int, near: float, width: float, spare: Array) -> float:
    """Return the median of the `some` of n values that are not infinite, NaN of none: exact, wherever it lies.

    It is looked for within `width` of `near`: those farther off are only counted, and as many of the more numerous side
    as it has more are put beside the near ones, so that their median is that of all. If it is not there, all are asked.
    """
    low, high = near - width, near + width
    close = below = 0
    for i in range(n):
        v = values[i]
        spare[close] = v
        close += (v >= low) & (v <= high)
        below += v < low
    above = some - close - below
    more = abs(below - above)
    if more < close:
        for i in range(close, close + more):
            spare[i] = -np.inf if below > above else np.inf
        return float(np.median(spare[: close + more]))
    m = 0
    for i in range(n):
        spare[m] = values[i]
        m += values[i] < np.inf
    return float(np.median(spare[:m])) if m else np.nan


@jit_regrouped
def _median_anew(values: Array, n: int, some: int, spare: Array) -> float:
    """Return the same where nothing is known: looked for near that of some of them."""
    m = 0
    for i in range(0, n, n // SOME + 1):
        spare[m] = values[i]
        m += values[i] < np.inf
    if m < SOME // 4:
        return _median(values, n, some, 0.0, -1.0, spare)
    near = np.median(spare[:m])
    for i in range(m):
        spare[i] = abs(spare[i] - near)
    return _median(values, n, some, near, np.median(spare[:m]), spare)


@jit_regrouped
def _only(values: Array, alive: Array, which: int, n: int, out: Array) -> int:
    """Write the values that have a bit of `which`, infinity for the others, and return how many they are."""
    some = 0
    for i in range(n):
        one = (alive[i] & which) != 0
        out[i] = values[i] if one else np.inf
        some += one
    return some


@jit_regrouped
def _slope(pixels: Array, alive: Array, n: int, terms: int) -> tuple[float, float]:
    """Return the slope along x and y of a plane through the pixels alive, the level of each side for itself."""
    px, py, value = pixels[0], pixels[1], pixels[2]
    one = sx = sy = xx = xy = yy = d = dx = dy = 0.0
    for i in range(n):
        w = 1.0 if alive[i] else 0.0
        u, v, z = w * px[i], w * py[i], w * value[i]
        one += w
        sx += u
        sy += v
        xx += u * px[i]
        xy += u * py[i]
        yy += v * py[i]
        d += z
        dx += z * px[i]
        dy += z * py[i]
    a, b = np.zeros((4, 4)), np.zeros(4)
    a[0, 0], a[0, 1], a[0, 2], a[1, 1], a[1, 2], a[2, 2] = one, sx / 10, sy / 10, xx / 100, xy / 100, yy / 100
    b[0], b[1], b[2] = d, dx / 10, dy / 10
    if terms == 4:
        for i in range(n):
            if alive[i] == RIGHT:
                a[0, 3] += 1.0
                a[1, 3] += px[i] / 10
                a[2, 3] += py[i] / 10
                b[3] += value[i]
        a[3, 3] = a[0, 3]
    for j in range(terms):
        for m in range(j):
            a[j, m] = a[m, j]
    if not _solve(a, b, terms):
        return 0.0, 0.0
    return b[1] / 10, b[2] / 10


@jit_regrouped
def _clip(
    pixels: Array, side: Array, alive: Array, n: int, stepped: bool, fewest: int, work: Array
) -> tuple[int, float, float, float, float, float]:
    """Return how many pixels are sky, slopes, level of each side, scatter; `alive` has the bits of those that are."""
    px, py, value = pixels[0], pixels[1], pixels[2]
    rest, level, spare = work[0], work[1], work[2]
    alive[:n] = side[:n]
    used, bx, by, left, right, sigma = n, 0.0, 0.0, 0.0, 0.0, 0.0
    for turn in range(ROUNDS):
        # level of what is left, about the slope of the round before, each side for itself
        for i in range(n):
            rest[i] = value[i] - bx * px[i] - by * py[i]
        some = _only(rest, alive, LEFT, n, level)
        left = (
            _median(level, n, some, left, NEAR * sigma, spare)
            if turn
            else _median_anew(level, n, some, spare)
        )
        if stepped:
            some = _only(rest, alive, RIGHT, n, level)
            right = _median(level, n, some, right if turn else left, NEAR * sigma, spare)
            for i in range(n):
                rest[i] = abs(rest[i] - (right if side[i] == RIGHT else left))
        else:
            for i in range(n):
                rest[i] = abs(rest[i] - left)
        some = _only(rest, alive, LEFT | RIGHT, n, level)
        if turn:
            sigma = _median(level, n, some, sigma / MAD_TO_SIGMA, NEAR * sigma, spare) * MAD_TO_SIGMA
        else:
            sigma = _median_anew(level, n, some, spare) * MAD_TO_SIGMA
        before, used = used, 0
        limit = CLIP * sigma if sigma > 0 else np.inf
        for i in range(n):
            inside = rest[i] <= limit
            alive[i] = side[i] if inside else 0
            used += inside
        if used < fewest or (turn and abs(used - before) <= SAME * used):
            break
        bx, by = _slope(pixels, alive, n, 4 if stepped else 3)
    return used, bx, by, left, right, sigma


@jit
def _keep(pixels: Array, alive: Array, n: int, k: int, mx: float, my: float, kept: Array, total: int) -> int:
    """Write trail, place and value of the pixels used as long as there is room; return how many there are by now."""
    for i in range(n):
        if alive[i]:
            if total < len(kept):
                kept[total, 0], kept[total, 1] = k, pixels[0, i] + mx
                kept[total, 2], kept[total, 3] = pixels[1, i] + my, pixels[2, i]
            total += 1
    return total


@jit_regrouped
def ring_sky(
    image: Array, variance: Array, sky: Array, x: Array, y: Array, ux: float, uy: float, length: float,
    inner: float, outer: float, split: float, fewest: int, every: int, order: Array, out: Array, counts: Array,
    kept: Array, keep: bool,
) -> None:  # fmt: skip
    """Measure the ring of each trail.

    Columns of `out`: value at the middle, error, gradient along x and y, step at the split, clipped share, variance
    of a pixel, scatter. Columns of `counts`: used, left out. `kept` (pixels, 4) takes trail, x, y, value when `keep`;
    its number is counts[-1, 0], and pixels beyond its length are counted and not kept. Of the pixels, `every`-th are
    looked at along rows and columns.
    """
    room = int((2 * outer + length + 4) * (2 * outer + length + 4))
    pixels, work = np.empty((4, room)), np.empty((3, room))
    side, alive, inside = np.empty(room, np.uint8), np.empty(room, np.uint8), np.empty(room, np.bool_)
    total = 0
    for k in order:
        out[k] = np.nan
        if not (np.isfinite(x[k]) and np.isfinite(y[k])):
            continue
        n, counts[k, 1] = _gather(
            image, variance, sky, x[k], y[k], ux, uy, length, inner, outer, every, pixels, inside
        )
        if n < fewest:
            continue
        mx, my = x[k] + ux * length / 2, y[k] + uy * length / 2
        n, stepped = _sides(pixels, side, n, split - mx, fewest)
        used, bx, by, left, right, sigma = _clip(pixels, side, alive, n, stepped, fewest, work)
        if used < fewest:
            continue
        out[k, 0] = right if stepped and mx >= split else left
        out[k, 1] = 1.2533 * sigma / np.sqrt(used)
        out[k, 2], out[k, 3] = bx, by
        out[k, 4] = right - left if stepped else 0.0
        out[k, 5] = (n - used) / n
        some = _only(pixels[3], alive, LEFT | RIGHT, n, work[1])
        out[k, 6] = _median_anew(work[1], n, some, work[2])
        out[k, 7] = sigma
        counts[k, 0] = used
        if keep:
            total = _keep(pixels, alive, n, k, mx, my, kept, total)
    counts[-1, 0] = total
