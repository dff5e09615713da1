"""The generalised Lomb-Scargle periodogram, by its formula."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from virtualobserver.maths.kernels import jit_regrouped

__all__ = ["gls_power"]

FloatArray = NDArray[np.float64]

_ANCHOR = 64
"""Cosines and sines of a step of frequency are multiplied up so often before they are worked out anew: the error
stays below 1e-14."""


@jit_regrouped
def gls_power(
    t: FloatArray, y: FloatArray, w: FloatArray, grid: tuple[float, float, int], floating: bool
) -> FloatArray:
    """Return the power and the two coefficients at equally spaced frequencies.

    Parameters
    ----------
    t, y, w
        Times, values less their weighted mean, weights of sum 1, shape (n,).
    grid
        First frequency, step (cycles per unit of `t`) and number of frequencies.
    floating
        Whether the mean is fitted along at each frequency.

    Returns
    -------
    ndarray
        Shape (3, number): power (0 to 1), coefficients of cosine and sine.
    """
    n = t.size
    first, step, number = grid
    out = np.empty((3, number))
    c, s, cd, sd = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    total = 0.0
    for i in range(n):
        cd[i], sd[i] = math.cos(2 * math.pi * step * t[i]), math.sin(2 * math.pi * step * t[i])
        total += w[i] * y[i] * y[i]
    for k in range(number):
        if k % _ANCHOR == 0:
            for i in range(n):
                angle = 2 * math.pi * (((first + k * step) * t[i]) % 1.0)
                c[i], s[i] = math.cos(angle), math.sin(angle)
        sc = ss = yc = ys = cc = cs = 0.0
        for i in range(n):
            wc, ws = w[i] * c[i], w[i] * s[i]
            sc += wc
            ss += ws
            yc += wc * y[i]
            ys += ws * y[i]
            cc += wc * c[i]
            cs += wc * s[i]
            c[i], s[i] = c[i] * cd[i] - s[i] * sd[i], s[i] * cd[i] + c[i] * sd[i]
        sn = 1.0 - cc
        if floating:
            cc -= sc * sc
            sn -= ss * ss
            cs -= sc * ss
        d = cc * sn - cs * cs
        out[0, k] = (sn * yc * yc + cc * ys * ys - 2 * cs * yc * ys) / (total * d)
        out[1, k] = (yc * sn - ys * cs) / d
        out[2, k] = (ys * cc - yc * cs) / d
    return out
