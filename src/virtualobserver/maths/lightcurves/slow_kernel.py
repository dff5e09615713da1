"""The compiled part of `slow`: whitening by two exponential kernels and white noise, in one pass over the rows.

The factorisation of a semi-separable matrix is that of D. Foreman-Mackey et al. 2017, AJ 154, 220 (real terms).
"""

# ruff: noqa: PLR0917 - compiled functions take positional arguments only

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from virtualobserver.maths.kernels import jit

__all__ = ["likelihood", "whitened"]

FloatArray = NDArray[np.float64]


@jit
def whitened(
    t: FloatArray, columns: FloatArray, variance: FloatArray, power: FloatArray, rate: FloatArray
) -> tuple[FloatArray, float]:
    """Return the columns, shape (rows, columns), in units of independent noise of variance one, and ln det K.

    K is ``diag(variance) + sum_j power_j exp(-rate_j |t - t'|)``; times rise.
    """
    rows, count = columns.shape
    out = np.empty((rows, count))
    s00, s01, s11 = 0.0, 0.0, 0.0
    w0, w1, d = 0.0, 0.0, 1.0
    f0, f1 = np.zeros(count), np.zeros(count)
    root = 1.0
    log_det = 0.0
    for n in range(rows):
        p0, p1 = 1.0, 1.0
        if n > 0:
            step = t[n] - t[n - 1]
            p0, p1 = np.exp(-rate[0] * step), np.exp(-rate[1] * step)
            s00 = p0 * p0 * (s00 + d * w0 * w0)
            s01 = p0 * p1 * (s01 + d * w0 * w1)
            s11 = p1 * p1 * (s11 + d * w1 * w1)
        u0, u1 = power[0], power[1]
        su0, su1 = s00 * u0 + s01 * u1, s01 * u0 + s11 * u1
        new = variance[n] + power[0] + power[1] - u0 * su0 - u1 * su1
        for c in range(count):
            if n > 0:
                last = out[n - 1, c] * root
                f0[c] = p0 * (f0[c] + w0 * last)
                f1[c] = p1 * (f1[c] + w1 * last)
            out[n, c] = columns[n, c] - u0 * f0[c] - u1 * f1[c]
        d = max(new, 1e-300)
        w0, w1 = (1.0 - su0) / d, (1.0 - su1) / d
        root = np.sqrt(d)
        log_det += np.log(d)
        for c in range(count):
            out[n, c] /= root
    return out, log_det


@jit
def _profiled(white: FloatArray, log_det: float) -> tuple[float, float]:
    """Return ln L of the first column, the others fitted and the scale of the noise free, and that scale."""
    rows, count = white.shape
    free = count - 1
    normal = np.zeros((free, free))
    right = np.zeros(free)
    square = 0.0
    for n in range(rows):
        square += white[n, 0] ** 2
        for a in range(free):
            right[a] += white[n, a + 1] * white[n, 0]
            for b in range(a + 1):
                normal[a, b] += white[n, a + 1] * white[n, b + 1]
    half = 0.0
    for a in range(free):  # Cholesky, in place
        for b in range(a + 1):
            total = normal[a, b]
            for c in range(b):
                total -= normal[a, c] * normal[b, c]
            if a == b:
                normal[a, a] = np.sqrt(max(total, 1e-300))
                half += np.log(normal[a, a])
            else:
                normal[a, b] = total / normal[b, b]
    left = square
    for a in range(free):
        total = right[a]
        for c in range(a):
            total -= normal[a, c] * right[c]
        right[a] = total / normal[a, a]
        left -= right[a] ** 2
    degrees = max(rows - free, 1)
    scale = max(left / degrees, 1e-300)
    return -0.5 * (degrees * np.log(scale) + degrees + log_det) - half, scale


@jit
def likelihood(
    t: FloatArray,
    columns: FloatArray,
    variance: FloatArray,
    powers: FloatArray,
    rates: FloatArray,
    night: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return ln L and the best scale of all noise, for each power and rate of the slow part.

    `night` is power and rate of the noise that epochs of one night share.
    """
    result, scales = np.empty((powers.size, rates.size)), np.empty((powers.size, rates.size))
    power, rate = np.empty(2), np.empty(2)
    power[1], rate[1] = night[0], night[1]
    for i in range(powers.size):
        for j in range(rates.size):
            power[0], rate[0] = powers[i], rates[j]
            white, log_det = whitened(t, columns, variance, power, rate)
            result[i, j], scales[i, j] = _profiled(white, log_det)
    return result, scales
