"""The compiled part of `windows`: quiet level, noise and best window of one star after the other."""

# ruff: noqa: PLR0917 - compiled functions take positional arguments only

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.maths.kernels import jit

__all__ = ["count_nights", "screen"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_CLIP = 3.0
"""Sigma beyond which a row is taken for part of an event when level and noise are measured; 0.3 % of noise is."""
_CLIPPED = 0.9733
"""Variance of a unit normal distribution that is cut at 3 sigma."""
_ROUNDS = 3  # of clipping, after which the noise changes by less than 1 %
_LEAST = 0.04
"""Least variance in units of the stated one: flux without any scatter is no measurement of its noise."""
_LEAST_PAIRS = 20
"""Pairs of epochs of one night from which their common noise can be told: to a fourth of the noise of one."""
_FREE = 0.05
"""Part of its weight that a window has to keep beside the quiet level; with less it holds nearly all of its series."""


@jit
def _levels(x: FloatArray, group: IntArray, n_groups: int, variance: FloatArray) -> FloatArray:
    """Return residuals from the level of each group: the median, then the weighted mean of what lies within 3 sigma."""
    residual = np.empty(x.size)
    for k in range(n_groups):
        rows = np.flatnonzero(group == k)
        if rows.size:
            residual[rows] = x[rows] - np.median(x[rows])
    for k in range(n_groups):
        total, weight = 0.0, 0.0
        for n in range(x.size):
            if group[n] == k and residual[n] ** 2 < _CLIP**2 * variance[n]:
                total += residual[n] / variance[n]
                weight += 1.0 / variance[n]
        if weight > 0.0:
            for n in range(x.size):
                if group[n] == k:
                    residual[n] -= total / weight
    return residual


@jit
def _noise(
    residual: FloatArray, error2: FloatArray, band: IntArray, n_bands: int, n_groups: int
) -> FloatArray:
    """Return the variance of each row: its own, and what its band scatters beyond; or less of it, if it does less."""
    variance = error2.copy()
    spared = max(1.0 - n_groups / max(residual.size, 1), 0.5)
    for b in range(n_bands):
        rows = np.flatnonzero(band == b)
        if rows.size < 3:
            continue
        ratio = residual[rows] ** 2 / error2[rows]
        factor = max(np.median(ratio) * MAD_TO_SIGMA**2 / spared, _LEAST)
        usual = np.median(error2[rows])
        for _ in range(_ROUNDS):
            extra = max(factor - 1.0, 0.0) * usual
            scale = min(factor, 1.0)
            total, count = 0.0, 0
            for n in rows:
                one = residual[n] ** 2 / (scale * error2[n] + extra)
                if one < _CLIP**2:
                    total += one
                    count += 1
            if count < 3:
                break
            better = max(factor * (total / count / _CLIPPED / spared), _LEAST)
            if abs(better - factor) < 0.01 * factor:
                factor = better
                break
            factor = better
        for n in rows:
            variance[n] = min(factor, 1.0) * error2[n] + max(factor - 1.0, 0.0) * usual
    return variance


@jit
def _night_variance(residual: FloatArray, variance: FloatArray, night: IntArray) -> float:
    """Return the variance that epochs of one night share, from their products; never below zero."""
    total, count = 0.0, 0
    for n in range(residual.size - 1):
        first, second = (
            residual[n] ** 2 < _CLIP**2 * variance[n],
            residual[n + 1] ** 2 < _CLIP**2 * variance[n + 1],
        )
        if night[n] == night[n + 1] and first and second:  # epochs of events share more than noise
            total += residual[n] * residual[n + 1]
            count += 1
    return max(total / count, 0.0) if count >= _LEAST_PAIRS else 0.0


@jit
def _values(
    clipped: FloatArray, white: FloatArray, group: IntArray, n_groups: int, known: bool
) -> tuple[FloatArray, FloatArray]:
    """Return weighted residuals of rows, whose sum is zero in each group, and the weights of groups."""
    weight, total = np.zeros(n_groups), np.zeros(n_groups)
    for n in range(clipped.size):
        weight[group[n]] += 1.0 / white[n]
        total[group[n]] += clipped[n] / white[n]
    if known:  # a level of no uncertainty
        weight[:] = np.inf
        total[:] = 0.0
    value = np.empty(clipped.size)
    for n in range(clipped.size):
        value[n] = (clipped[n] - total[group[n]] / weight[group[n]]) / white[n]
    return value, weight


@jit
def _statistics(
    number: FloatArray, spread: FloatArray, gross: FloatArray, common: float
) -> tuple[float, float]:
    """Return the sums over bands of squared significances of those that go up, and of those that go down."""
    up, down = 0.0, 0.0
    for b in range(number.size):
        if gross[b] > 0.0 and spread[b] > _FREE * gross[b]:
            one = number[b] ** 2 / (spread[b] * (1.0 + spread[b] * common))
            if number[b] > 0.0:
                up += one
            else:
                down += one
    return up, down


@jit
def _scan(
    t: FloatArray,
    values: tuple[FloatArray, FloatArray, FloatArray],
    group: IntArray,
    band: IntArray,
    n_bands: int,
    night: IntArray,
    shared: float,
    known: bool,
    durations: FloatArray,
) -> tuple[FloatArray, IntArray]:
    """Return the best statistic of a brightening and of a dip, and first row and end of its window.

    Windows of one length slide over the rows; sums of what is inside are kept up to date for each band.
    """
    value, white, weight = values
    size = t.size
    best, where = np.zeros(2), np.zeros((2, 2), dtype=np.int64)
    before = np.zeros(size, dtype=np.int64)
    inside = np.empty(weight.size)
    number, spread, gross = np.empty(n_bands), np.empty(n_bands), np.empty(n_bands)
    for duration in durations:
        inside[:], number[:], spread[:], gross[:] = 0.0, 0.0, 0.0, 0.0
        stop = 0
        for start in range(size):
            if start > 0:
                n = start - 1
                k, b, w = group[n], band[n], 1.0 / white[n]
                spread[b] -= w - w * (2.0 * inside[k] - w) / weight[k]
                inside[k] -= w
                number[b] -= value[n]
                gross[b] -= w
            while stop < size and t[stop] - t[start] <= duration:
                k, b, w = group[stop], band[stop], 1.0 / white[stop]
                spread[b] += w - w * (2.0 * inside[k] + w) / weight[k]
                inside[k] += w
                number[b] += value[stop]
                gross[b] += w
                stop += 1
            rows = stop - start
            if rows < 2 or before[start] == stop or (2 * rows > size and not known):
                continue
            before[start] = stop
            common = shared * n_bands / (night[stop - 1] - night[start] + 1)
            for kind, one in enumerate(_statistics(number, spread, gross, common)):
                if one > best[kind]:
                    best[kind] = one
                    where[kind, 0], where[kind, 1] = start, stop
    return best, where


@jit
def screen(
    edges: IntArray,
    t: FloatArray,
    x: FloatArray,
    error2: FloatArray,
    group: IntArray,
    n_groups: IntArray,
    band: IntArray,
    n_bands: IntArray,
    night: IntArray,
    known: NDArray[np.bool_],
    cap: float,
    shortest: FloatArray,
    ratio: float,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, IntArray]:
    """Return residual and variance of each row; shared variance, best statistics and windows of each star."""
    stars = edges.size - 1
    residual, variance = np.zeros(t.size), np.ones(t.size)
    shared, best, where = np.zeros(stars), np.zeros((stars, 2)), np.zeros((stars, 2, 2), dtype=np.int64)
    for star in range(stars):
        a, z = edges[star], edges[star + 1]
        if z - a < 3 and not known[star]:
            residual[a:z], variance[a:z] = x[a:z] - np.median(x[a:z]) if z > a else x[a:z], error2[a:z]
            continue
        groups, bands = n_groups[star], n_bands[star]
        noise = error2[a:z].copy()
        left = x[a:z].copy()
        for _ in range(0 if known[star] else 2):
            left = _levels(x[a:z], group[a:z], groups, noise)
            noise = _noise(left, error2[a:z], band[a:z], bands, groups)
        common = 0.0 if known[star] else _night_variance(left, noise, night[a:z])
        clipped, white = np.empty(z - a), np.empty(z - a)
        for n in range(z - a):
            limit = cap * np.sqrt(noise[n])
            clipped[n] = min(max(left[n], -limit), limit)
            white[n] = max(noise[n] - common, 0.25 * noise[n])
        span = t[z - 1] - t[a]
        count = 1
        if span > 2.0 * shortest[star]:
            count = int(np.ceil(np.log(0.5 * span / shortest[star]) / np.log(ratio))) + 1
        durations = shortest[star] * ratio ** np.arange(count)
        value, weight = _values(clipped, white, group[a:z], groups, known[star])
        one, window = _scan(
            t[a:z],
            (value, white, weight),
            group[a:z],
            band[a:z],
            bands,
            night[a:z],
            common,
            known[star],
            durations,
        )
        residual[a:z], variance[a:z] = left, noise
        shared[star], best[star], where[star] = common, one, window
    return residual, variance, shared, best, where


@jit
def count_nights(edges: IntArray, t: FloatArray, pause: float, longest: float) -> IntArray:
    """Return the number of the night of each row: a pause, or the length of a night, begins another one."""
    night = np.zeros(t.size, dtype=np.int64)
    for star in range(edges.size - 1):
        a, z = edges[star], edges[star + 1]
        number, began = 0, t[a] if z > a else 0.0
        for n in range(a, z):
            if n > a and (t[n] - t[n - 1] > pause or t[n] - began > longest):
                number, began = number + 1, t[n]
            night[n] = number
    return night
