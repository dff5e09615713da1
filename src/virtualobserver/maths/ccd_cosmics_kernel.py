"""Compiled search for cosmic rays: medians are taken only where a pixel can be one."""

# ruff: noqa: PLR0917 - compiled functions take positional arguments only

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtualobserver.maths.kernels import jit

__all__ = ["search"]

Array = NDArray[Any]
REACH = 5
"""A pixel is judged by pixels no further away than this."""
LEAST_FINE = np.float32(0.01)
"""Fine structure below this many standard deviations is none."""


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
    if not noise[y, x] >= np.float32(0):
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
    if excess[y, x] == excess[y, x]:
        return excess[y, x]  # type: ignore[no-any-return]
    for i in range(max(y - 2, 0), min(y + 3, ny)):
        for j in range(max(x - 2, 0), min(x + 3, nx)):
            if not sharp[i, j] >= np.float32(0):
                sharp[i, j] = _laplacian(image, i, j) / _noise(image, base, noise, i, j, spare)
    excess[y, x] = sharp[y, x] - _window(sharp, y, x, 2, spare)
    return excess[y, x]  # type: ignore[no-any-return]


@jit
def _fine(image: Array, fine: Array, y: int, x: int, spare: Array) -> float:
    """Return what is left of the image when it is smoothed over 3 pixels less over 7."""
    ny, nx = image.shape
    for i in range(max(y - 3, 0), min(y + 4, ny)):
        for j in range(max(x - 3, 0), min(x + 4, nx)):
            if fine[i, j] != fine[i, j]:
                fine[i, j] = _window(image, i, j, 1, spare)
    return fine[y, x] - _window(fine, y, x, 3, spare)  # type: ignore[no-any-return]


@jit
def _lowest(image: Array, y: int, lowest: Array) -> None:
    """Write the least value of 5 x 5 pixels around each pixel of a row, which no median is below."""
    ny, nx = image.shape
    column = np.empty(nx + 4, np.float32)
    for x in range(nx):
        column[x + 2] = image[y, x]
    for i in range(max(y - 2, 0), min(y + 3, ny)):
        for x in range(nx):
            column[x + 2] = min(column[x + 2], image[i, x])
    column[0] = column[1] = column[2]
    column[nx + 2] = column[nx + 3] = column[nx + 1]
    for x in range(nx):
        a = min(column[x], column[x + 1])
        b = min(column[x + 2], column[x + 3])
        lowest[x] = min(a, b, column[x + 4])


@jit
def _candidates(image: Array, base: Array, bad: Array, sigma: float, out: Array) -> None:
    """Mark pixels whose Laplacian exceeds the least noise they can have by `sigma`."""
    ny, nx = image.shape
    lowest = np.empty(nx, np.float32)
    zero = np.float32(0)
    limit = np.float32(sigma * sigma * 0.9999)
    for y in range(ny):
        _lowest(image, y, lowest)
        here = image[y]
        above = image[max(y - 1, 0)]
        below = image[min(y + 1, ny - 1)]
        for x in range(nx):
            left = here[max(x - 1, 0)]
            right = here[min(x + 1, nx - 1)]
            up = here[x] + here[x] - above[x]
            down = here[x] + here[x] - below[x]
            total = max(up - left, zero) + max(up - right, zero)
            total += max(down - left, zero) + max(down - right, zero)
            total *= np.float32(0.125)
            least = limit * (base[y, x] + max(lowest[x], zero))
            out[y, x] = (total * total >= least) & (not bad[y, x])


@jit
def _grow(
    image: Array, base: Array, memo: tuple[Array, Array, Array], bad: Array, seeds: Any, limit: float,
    mark: Array, spare: Array,
) -> Any:  # fmt: skip
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
def _forget(memo: tuple[Array, Array, Array], fine: Array, changed: Any) -> None:
    """Forget what was worked out near changed pixels."""
    noise, sharp, excess = memo
    ny, nx = noise.shape
    for y, x in changed:
        for i in range(max(y - REACH, 0), min(y + REACH + 1, ny)):
            for j in range(max(x - REACH, 0), min(x + REACH + 1, nx)):
                noise[i, j] = np.nan
                sharp[i, j] = np.nan
                excess[i, j] = np.nan
                fine[i, j] = np.nan


@jit
def _seeds(
    image: Array, base: Array, memo: tuple[Array, Array, Array], fine: Array, where: Array,
    sigma: float, contrast: float, spare: Array,
) -> Any:  # fmt: skip
    found = [(0, 0) for _ in range(0)]
    ny, nx = image.shape
    for y in range(ny):
        for x in range(nx):
            if not where[y, x]:
                continue
            excess = _excess(image, base, memo, y, x, spare)
            if not excess > np.float32(sigma):
                continue
            structure: Any = _fine(image, fine, y, x, spare) / _noise(image, base, memo[0], y, x, spare)
            if excess > np.float32(contrast) * max(structure, LEAST_FINE):
                found.append((y, x))
    return found


@jit
def search(
    image: Array, base: Array, bad: Array, mask: Array, sigma: float, fraction: float, contrast: float,
    rounds: int,
) -> int:  # fmt: skip
    """Find cosmic rays, set `mask` and clean `image`, both in place; return the rounds that found any."""
    noise = np.full(image.shape, np.nan, np.float32)
    memo = (noise, noise.copy(), noise.copy())
    fine = noise.copy()
    where = np.zeros(image.shape, np.bool_)
    mark = np.zeros(image.shape, np.bool_)
    spare = np.empty(17 * 17, np.float32)
    found = [(0, 0) for _ in range(0)]
    for done in range(rounds):
        _candidates(image, base, bad, sigma, where)
        seeds = _seeds(image, base, memo, fine, where, sigma, contrast, spare)
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
