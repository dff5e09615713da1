"""The compiled loops of linking: pairs of sources, and tracks that grow from them.

Sources are sorted by image, then by north; those near a place are found by bisection in a strip. A track is fitted by
weighted least squares, each axis by itself, and takes in each image the source that is nearest in units of its errors.
Importing this module imports numba.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np

from virtualobserver.maths.arrays import Array
from virtualobserver.maths.kernels import jit

__all__ = ["follow", "grow", "motion", "seeds"]

_Index: TypeAlias = tuple[Array, Array, Array, Array, Array]
"""Time and first row of each image; east, north and whether it may be taken of each source."""
_Two: TypeAlias = tuple[float, float]

_ROUNDS: Final = 12
"""Fits until the members of a track are those of its fit; two to four are usual."""
_BLUR: Final = 10.0
"""Usual errors within which a pair predicts a source; beyond, it says nothing and a longer track will."""
_SPREAD: Final = 0.3
"""Growth of that for each distance of the pair beyond it."""


@jit
def _first(north: Array, low: int, high: int, y: float) -> int:
    """Return the first row from `low` on that is not south of y."""
    while low < high:
        middle = (low + high) // 2
        if north[middle] < y:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def _nearest(index: _Index, k: int, place: _Two, spread: _Two, how: tuple[Array, float, float]) -> int:
    """Return the source of image k that is most likely the one at a place, -1 = none near enough.

    `spread` holds the variances of the place, `how` those of all sources, the largest one north, and how many standard
    deviations are near enough.
    """
    _, starts, east, north, free = index
    variance, most, clip = how
    x, y = place
    vx, vy = spread
    far = clip * np.sqrt(vy + most)
    end = starts[k + 1]
    row = _first(north, starts[k], end, y - far)
    best, found = np.inf, -1
    while row < end and north[row] <= y + far:
        if free[row]:
            east_variance, north_variance = vx + variance[row, 0], vy + variance[row, 1]
            away = (east[row] - x) ** 2 / east_variance + (north[row] - y) ** 2 / north_variance
            # of two that may be it the more likely one: a vague source is near to everything
            unlikely = away + np.log(east_variance * north_variance)
            if away <= clip * clip and unlikely < best:
                best, found = unlikely, row
        row += 1
    return found


@jit
def follow(
    index: _Index,
    pair: tuple[int, int, int, int],
    source: tuple[Array, float],
    limits: tuple[float, int],
    members: Array,
) -> int:
    """Fill in the sources on the line through a pair, and return how many there are; few = not all were looked for."""
    t, starts, east, north, free = index
    i, j, p, q = pair
    sigma, usual = source
    clip, least = limits
    images = len(t)
    dx, dy = east[q] - east[p], north[q] - north[p]
    members[:] = -1
    members[i], members[j] = p, q
    count = 2
    for k in range(images):
        if count + images - k < least:
            break
        if k in (i, j):
            continue
        u = (t[k] - t[i]) / (t[j] - t[i])
        spread = np.sqrt((sigma[p] * (1.0 - u)) ** 2 + (sigma[q] * u) ** 2 + usual * usual)
        far = min(clip * spread, _BLUR * usual * (1.0 + _SPREAD * abs(u)))
        x, y = east[p] + dx * u, north[p] + dy * u
        best = far * far
        row = _first(north, starts[k], starts[k + 1], y - far)
        while row < starts[k + 1] and north[row] <= y + far:
            away = (east[row] - x) ** 2 + (north[row] - y) ** 2
            if away <= best and free[row]:
                best = away
                members[k] = row
            row += 1
        count += members[k] >= 0
    return count


@jit
def seeds(
    index: _Index,
    source: tuple[Array, Array, float],
    limits: tuple[float, int, int, float, float],
    members: Array,
    found: Array,
) -> tuple[int, int]:
    """Find pairs of sources with enough others on their line; return how many there are, and how many were tried.

    ``index`` is the time and the first row of each image, and east, north and whether it may be taken of each source;
    ``source`` is sigma, magnitude and the usual sigma; ``limits`` is the fastest rate, the images from one to
    the next, the fewest sources, the radius in sigma and the largest difference of magnitudes. Into the rows of
    `found` go (count, i, j, p, q), as far as there is room; `members` is room for one track.
    """
    t, starts, east, north, free = index
    sigma, mag, usual = source
    fastest, reach, least, clip, unlike = limits
    n, tried = 0, 0
    for i in range(len(t)):
        for j in range(i + 1, min(i + 1 + reach, len(t))):
            far = fastest * (t[j] - t[i])
            if far <= 0:
                continue
            for p in range(starts[i], starts[i + 1]):
                if not free[p]:
                    continue
                q = _first(north, starts[j], starts[j + 1], north[p] - far)
                while q < starts[j + 1] and north[q] <= north[p] + far:
                    near = (east[q] - east[p]) ** 2 + (north[q] - north[p]) ** 2 <= far * far
                    if free[q] and near and not abs(mag[q] - mag[p]) > unlike:
                        tried += 1
                        count = follow(index, (i, j, p, q), (sigma, usual), (clip, least), members)
                        if count >= least:
                            if n < len(found):
                                found[n, 0], found[n, 1], found[n, 2] = count, i, j
                                found[n, 3], found[n, 4] = p, q
                            n += 1
                    q += 1
    return n, tried


@jit
def _inverse(matrix: Array) -> Array:
    """Return the inverse of a symmetric matrix of 2 or 3 rows; LAPACK takes seconds to compile."""
    n = len(matrix)
    inverse = np.empty((n, n))
    if n == 2:
        determinant = matrix[0, 0] * matrix[1, 1] - matrix[0, 1] ** 2
        inverse[0, 0], inverse[1, 1] = matrix[1, 1] / determinant, matrix[0, 0] / determinant
        inverse[0, 1] = inverse[1, 0] = -matrix[0, 1] / determinant
        return inverse
    for i in range(3):
        for j in range(3):
            a, b, c, d = (j + 1) % 3, (j + 2) % 3, (i + 1) % 3, (i + 2) % 3
            inverse[i, j] = matrix[a, c] * matrix[b, d] - matrix[a, d] * matrix[b, c]
    determinant = matrix[0, 0] * inverse[0, 0] + matrix[0, 1] * inverse[1, 0] + matrix[0, 2] * inverse[2, 0]
    return inverse / float(determinant)


@jit
def motion(t: Array, place: Array, variance: Array, terms: int) -> tuple[Array, Array, float]:
    """Fit 1, t, ... of both axes: coefficients (2, terms), covariances (2, terms, terms), chi squared.

    Times are about their mean and places in any unit; 2 or 3 terms.
    """
    coefficients = np.zeros((2, terms))
    covariance = np.zeros((2, terms, terms))
    chi2 = 0.0
    for axis in range(2):
        matrix = np.zeros((terms, terms))
        vector = np.zeros(terms)
        for n in range(len(t)):
            for m in range(terms):
                vector[m] += t[n] ** m * place[n, axis] / variance[n, axis]
                for o in range(terms):
                    matrix[m, o] += t[n] ** (m + o) / variance[n, axis]
        inverse = _inverse(matrix)
        for m in range(terms):
            for o in range(terms):
                covariance[axis, m, o] = inverse[m, o]
                coefficients[axis, m] += inverse[m, o] * vector[o]
        for n in range(len(t)):
            away = place[n, axis]
            for m in range(terms):
                away -= coefficients[axis, m] * t[n] ** m
            chi2 += away * away / variance[n, axis]
    return coefficients, covariance, chi2


@jit
def _fit_members(
    t: Array, place: Array, variance: Array, members: Array, terms: int
) -> tuple[float, Array, Array, float]:
    n = 0
    times = np.empty(len(t))
    places = np.empty((len(t), 2))
    variances = np.empty((len(t), 2))
    for k in range(len(t)):
        if members[k] >= 0:
            times[n] = t[k]
            for axis in range(2):
                places[n, axis] = place[members[k], axis]
                variances[n, axis] = variance[members[k], axis]
            n += 1
    zero = times[:n].mean()
    coefficients, covariance, chi2 = motion(times[:n] - zero, places[:n], variances[:n], terms)
    return zero, coefficients, covariance, chi2


@jit
def grow(
    index: _Index,
    sources: tuple[Array, Array, float],
    members: Array,
    limits: tuple[int, float, float],
) -> int:
    """Let a track take the sources on its fit and lose those that are not, until it stays; return its terms.

    `members` (row of each image, -1 = none) is changed in place. 2 is a line, 3 accelerated motion, and 0 says that
    too few are left.
    """
    place, variance, most = sources
    least, clip, better = limits
    t = index[0]
    terms = 2
    for turn in range(2 * _ROUNDS):
        zero, coefficients, covariance, _ = _fit_members(t, place, variance, members, terms)
        count, same = 0, True
        for k in range(len(t)):
            x, y, vx, vy = 0.0, 0.0, 0.0, 0.0
            for m in range(terms):
                x += coefficients[0, m] * (t[k] - zero) ** m
                y += coefficients[1, m] * (t[k] - zero) ** m
                for o in range(terms):
                    vx += covariance[0, m, o] * (t[k] - zero) ** (m + o)
                    vy += covariance[1, m, o] * (t[k] - zero) ** (m + o)
            row = _nearest(index, k, (x, y), (vx, vy), (variance, most, clip))
            count += row >= 0
            same = same and row == members[k]
            members[k] = row
        if count < max(least, terms + 1):
            return 0
        if same or turn % _ROUNDS == _ROUNDS - 1:
            if terms == 3 or count < 5:
                break
            _, _, _, curved = _fit_members(t, place, variance, members, 3)
            _, _, _, straight = _fit_members(t, place, variance, members, 2)
            if straight - curved <= better:
                break
            terms = 3
    return terms
