"""Compiled search for cosmic rays: medians are taken only where a pixel can be one.

What was worked out is kept in planes, in which 0 says that it was not; a true 0 is worked out again.
"""

# ruff: noqa: PLR0917 - compiled functions take positional arguments only

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from virtualobserver.maths.arrays import Array
from virtualobserver.maths.kernels import jit

__all__ = ["prepare", "search"]

REACH = 5
"""A pixel is judged by pixels no further away than this: medians of 5 x 5 or 7 x 7 over medians of 5 x 5 or 3 x 3."""
NEAR = REACH + 2
"""From a seed a cosmic ray grows by two pixels: further from a change than this all is as it was."""
LEAST_FINE = np.float32(0.01)
"""Fine structure below this many standard deviations is none."""


_Pixels: TypeAlias = list[tuple[int, int]]
"""Rows and columns."""


@jit
def _median(values: Array, count: int) -> float:
    """Return the median of an odd number of values, which are sorted in place."""
    for i in range(1, count):
        value = values[i]
        j = i - 1
        while j >= 0 and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value
    return values[count // 2]  # type: ignore[no-any-return]


@jit
def _window(plane: Array, y: int, x: int, half: int, spare: Array) -> float:
    ny, nx = plane.shape
    count = 0
    for i in range(y - half, y + half + 1):
        row = min(max(i, 0), ny - 1)
        for j in range(x - half, x + half + 1):
            spare[count] = plane[row, min(max(j, 0), nx - 1)]
            count += 1
    return _median(spare, count)


@jit
def _laplacian(image: Array, y: int, x: int) -> float:
    ny, nx = image.shape
    twice = image[y, x] + image[y, x]
    up = twice - image[max(y - 1, 0), x]
    down = twice - image[min(y + 1, ny - 1), x]
    left = image[y, max(x - 1, 0)]
    right = image[y, min(x + 1, nx - 1)]
    zero = np.float32(0)
    total = max(up - left, zero) + max(up - right, zero)
    total = total + max(down - left, zero)
    total = total + max(down - right, zero)
    return total * np.float32(0.125)  # type: ignore[no-any-return]


@jit
def _noise(image: Array, base: Array, noise: Array, y: int, x: int, spare: Array) -> float:
    """Return the noise of a pixel, which is worked out once."""
    if noise[y, x] == np.float32(0):
        level = _window(image, y, x, 2, spare)
        noise[y, x] = np.float32(math.sqrt(base[y, x] + max(level, np.float32(0))))
    return noise[y, x]  # type: ignore[no-any-return]


@jit
def _excess(
    image: Array, base: Array, memo: tuple[Array, Array, Array], y: int, x: int, spare: Array
) -> float:
    """Return the Laplacian over the noise less its local median, worked out once."""
    noise, sharp, excess = memo
    ny, nx = image.shape
    if excess[y, x] != np.float32(0):
        return excess[y, x]  # type: ignore[no-any-return]
    for i in range(max(y - 2, 0), min(y + 3, ny)):
        for j in range(max(x - 2, 0), min(x + 3, nx)):
            if sharp[i, j] == np.float32(0):
                sharp[i, j] = _laplacian(image, i, j) / _noise(image, base, noise, i, j, spare)
    excess[y, x] = sharp[y, x] - _window(sharp, y, x, 2, spare)
    return excess[y, x]  # type: ignore[no-any-return]


@jit
def _fine(image: Array, fine: Array, y: int, x: int, spare: Array) -> float:
    """Return what is left of the image when it is smoothed over 3 pixels less over 7."""
    ny, nx = image.shape
    for i in range(max(y - 3, 0), min(y + 4, ny)):
        for j in range(max(x - 3, 0), min(x + 4, nx)):
            if fine[i, j] == np.float32(0):
                fine[i, j] = _window(image, i, j, 1, spare)
    return fine[y, x] - _window(fine, y, x, 3, spare)  # type: ignore[no-any-return]


@jit
def _lowest(image: Array, y: int, column: Array, lowest: Array) -> None:
    """Write the least value of 5 x 5 pixels around each pixel of a row, which no median is below."""
    ny, nx = image.shape
    inside = column[2 : nx + 2]
    inside[:] = image[y]
    for i in range(max(y - 2, 0), min(y + 3, ny)):
        row = image[i]
        for x in range(nx):
            inside[x] = min(inside[x], row[x])
    column[0] = column[1] = column[2]
    column[nx + 2] = column[nx + 3] = column[nx + 1]
    for x in range(nx):
        a = min(column[x], column[x + 1])
        b = min(column[x + 2], column[x + 3])
        lowest[x] = min(a, b, column[x + 4])


@jit
def _row_candidates(
    image: Array, base: Array, bad: Array, y: int, sigma: float, lowest: Array, wide: Array, out: Array
) -> None:
    """Mark the pixels of a row whose Laplacian exceeds the least noise they can have by `sigma`."""
    ny, nx = image.shape
    zero = np.float32(0)
    limit = np.float32(sigma * sigma * 0.9999)  # rounding must not lose what the exact test would take
    here = image[y]
    above = image[max(y - 1, 0)]
    below = image[min(y + 1, ny - 1)]
    wide[1 : nx + 1] = here  # with its edges repeated no pixel needs a test, and the loop runs in vectors
    wide[0] = here[0]
    wide[nx + 1] = here[nx - 1]
    for x in range(nx):
        left = wide[x]
        right = wide[x + 2]
        up = here[x] + here[x] - above[x]
        down = here[x] + here[x] - below[x]
        total = max(up - left, zero) + max(up - right, zero)
        total += max(down - left, zero) + max(down - right, zero)
        total *= np.float32(0.125)
        least = limit * (base[y, x] + max(lowest[x], zero))
        out[x] = (total * total >= least) & (not bad[y, x])


@jit
def prepare(image: Array, variance: Array, least: float, base: Array, bad: Array) -> None:
    """Write the variance without the Poisson noise of each pixel's own light, held above `least`.

    Pixels that are no numbers become 0 and, as those without variance, `bad`.
    """
    ny, nx = image.shape
    zero = np.float32(0)
    floor = np.float32(least)
    for y in range(ny):
        for x in range(nx):
            value = image[y, x]
            if not abs(value) < np.inf:
                value = zero
                image[y, x] = zero
                bad[y, x] = True
            own = variance[y, x]
            if not own > zero:
                bad[y, x] = True
            light = own - max(value, zero)
            base[y, x] = max(floor, light)


@jit
def _grow(
    image: Array, base: Array, memo: tuple[Array, Array, Array], bad: Array, seeds: _Pixels, limit: float,
    mark: Array, spare: Array,
) -> _Pixels:  # fmt: skip
    """Return the pixels of 3 x 3 around `seeds`, and these, above `limit`."""
    ny, nx = image.shape
    found = [(0, 0) for _ in range(0)]
    for y, x in seeds:
        for i in range(max(y - 1, 0), min(y + 2, ny)):
            for j in range(max(x - 1, 0), min(x + 2, nx)):
                if mark[i, j] or bad[i, j]:
                    continue
                if _excess(image, base, memo, i, j, spare) > np.float32(limit):
                    mark[i, j] = True
                    found.append((i, j))
    for y, x in found:
        mark[y, x] = False
    return found


@jit
def _clean(image: Array, bad: Array, mask: Array, y: int, x: int, spare: Array) -> None:
    ny, nx = image.shape
    for half in (2, 3, 5, 8):
        count = 0
        for i in range(max(y - half, 0), min(y + half + 1, ny)):
            for j in range(max(x - half, 0), min(x + half + 1, nx)):
                if not bad[i, j] and not mask[i, j]:
                    spare[count] = image[i, j]
                    count += 1
        if count > 0:
            _median(spare, count)
            image[y, x] = np.float32(0.5) * (spare[(count - 1) // 2] + spare[count // 2])
            return


@jit
def _forget(memo: tuple[Array, Array, Array], fine: Array, changed: _Pixels) -> None:
    """Forget what was worked out near changed pixels."""
    noise, sharp, excess = memo
    ny, nx = noise.shape
    for y, x in changed:
        for i in range(max(y - REACH, 0), min(y + REACH + 1, ny)):
            for j in range(max(x - REACH, 0), min(x + REACH + 1, nx)):
                noise[i, j] = np.float32(0)
                sharp[i, j] = np.float32(0)
                excess[i, j] = np.float32(0)
                fine[i, j] = np.float32(0)


@jit
def _can_be_seed(image: Array, base: Array, y: int, x: int, sigma: float) -> bool:
    """Do for one pixel as `_row_candidates` does for a row."""
    ny, nx = image.shape
    height = _laplacian(image, y, x)
    square = height * height
    # a hair less, that rounding in single precision loses no candidate
    limit = np.float32(sigma * sigma * 0.9999)
    if square < limit * base[y, x]:
        return False
    lowest = image[y, x]
    for i in range(max(y - 2, 0), min(y + 3, ny)):
        for j in range(max(x - 2, 0), min(x + 3, nx)):
            lowest = min(lowest, image[i, j])
    return square >= limit * (base[y, x] + max(lowest, np.float32(0)))  # type: ignore[no-any-return]


@jit
def _is_seed(
    image: Array, base: Array, memo: tuple[Array, Array, Array], fine: Array, y: int, x: int,
    sigma: float, contrast: float, spare: Array,
) -> bool:  # fmt: skip
    """Return whether a pixel is sharp against the noise and against the fine structure of the image."""
    excess = _excess(image, base, memo, y, x, spare)
    if not excess > np.float32(sigma):
        return False
    structure: Any = _fine(image, fine, y, x, spare) / _noise(image, base, memo[0], y, x, spare)
    return excess > np.float32(contrast) * max(structure, LEAST_FINE)  # type: ignore[no-any-return]


@jit
def _seeds(
    image: Array, base: Array, memo: tuple[Array, Array, Array], fine: Array, bad: Array,
    sigma: float, contrast: float, spare: Array,
) -> _Pixels:  # fmt: skip
    """Return the seeds of the whole image."""
    found = [(0, 0) for _ in range(0)]
    ny, nx = image.shape
    lowest = np.empty(nx, np.float32)
    column = np.empty(nx + 4, np.float32)
    wide = np.empty(nx + 2, np.float32)
    where = np.empty(nx, np.bool_)
    for y in range(ny):
        _lowest(image, y, column, lowest)
        _row_candidates(image, base, bad, y, sigma, lowest, wide, where)
        for x in range(nx):
            if where[x] and _is_seed(image, base, memo, fine, y, x, sigma, contrast, spare):
                found.append((y, x))  # noqa: PERF401 - a compiled loop
    return found


@jit
def _seeds_near(
    image: Array, base: Array, memo: tuple[Array, Array, Array], fine: Array, bad: Array,
    changed: _Pixels, sigma: float, contrast: float, mark: Array, spare: Array,
) -> _Pixels:  # fmt: skip
    """Return the seeds so near to changed pixels that they can be new, or grow to other pixels than before."""
    found = [(0, 0) for _ in range(0)]
    seen = [(0, 0) for _ in range(0)]
    ny, nx = image.shape
    for y, x in changed:
        for i in range(max(y - NEAR, 0), min(y + NEAR + 1, ny)):
            for j in range(max(x - NEAR, 0), min(x + NEAR + 1, nx)):
                if mark[i, j] or bad[i, j]:
                    continue
                mark[i, j] = True
                seen.append((i, j))
                if not _can_be_seed(image, base, i, j, sigma):
                    continue
                if _is_seed(image, base, memo, fine, i, j, sigma, contrast, spare):
                    found.append((i, j))
    for y, x in seen:
        mark[y, x] = False
    return found


@jit
def search(
    image: Array, base: Array, bad: Array, mask: Array, memo: tuple[Array, Array, Array], fine: Array,
    mark: Array, sigma: float, fraction: float, contrast: float, rounds: int,
) -> int:  # fmt: skip
    """Find cosmic rays, set `mask` and clean `image`, both in place; return the rounds that found any.

    The first round looks everywhere, each other one near the pixels that were cleaned: elsewhere nothing changed.
    `memo`, `fine` and `mark` are planes of zeros, made by the caller: memory that the system clears when it is
    touched, which is near candidates only.
    """
    spare = np.empty(17 * 17, np.float32)
    found = [(0, 0) for _ in range(0)]
    for done in range(rounds):
        if done == 0:
            seeds = _seeds(image, base, memo, fine, bad, sigma, contrast, spare)
        else:
            seeds = _seeds_near(image, base, memo, fine, bad, found, sigma, contrast, mark, spare)
        beside = _grow(image, base, memo, bad, seeds, sigma, mark, spare)
        hit = _grow(image, base, memo, bad, beside, sigma * fraction, mark, spare)
        fresh = 0
        for y, x in hit:
            if not mask[y, x]:
                mask[y, x] = True
                found.append((y, x))
                fresh += 1
        if fresh == 0:
            return done
        for y, x in found:  # only pixels outside the mask are used, so that the order does not matter
            _clean(image, bad, mask, y, x, spare)
        _forget(memo, fine, found)
    return rounds
