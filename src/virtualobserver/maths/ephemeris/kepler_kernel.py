"""Motion about the Sun alone, for any number of bodies."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from virtualobserver.maths.kernels import jit

__all__ = ["propagate"]

FloatArray = NDArray[np.float64]

_SMALL = 1e-2
"""Arguments of Stumpff's functions below which series of four terms are right to 1e-15."""
_ITERATIONS = 60
"""Laguerre's method needs three to six; it converges from anywhere."""


@jit
def propagate(position: FloatArray, velocity: FloatArray, days: FloatArray, gm: float) -> FloatArray:
    """Return positions and velocities after so many days.

    Parameters
    ----------
    position, velocity
        Shape (n, 3).
    days
        Shape (n,).
    gm
        Of the Sun.

    Returns
    -------
    ndarray
        Shape (n, 6); NaN for a body that does not move by the laws of two bodies (a position of 0, NaN).
    """
    moved = np.empty((len(days), 6))
    for i in range(len(days)):
        r0 = math.sqrt(position[i, 0] ** 2 + position[i, 1] ** 2 + position[i, 2] ** 2)
        v2 = velocity[i, 0] ** 2 + velocity[i, 1] ** 2 + velocity[i, 2] ** 2
        u = 0.0
        for k in range(3):
            u += position[i, k] * velocity[i, k]
        alpha = 2 * gm / r0 - v2
        s = _universal(days[i], r0, u, alpha, gm)
        c0, c1, c2, c3 = _stumpff(alpha * s * s)
        r = r0 * c0 + u * s * c1 + gm * s * s * c2
        f, g = 1 - gm * s * s * c2 / r0, days[i] - gm * s**3 * c3
        fd, gd = -gm * s * c1 / (r * r0), 1 - gm * s * s * c2 / r
        for k in range(3):
            moved[i, k] = f * position[i, k] + g * velocity[i, k]
            moved[i, 3 + k] = fd * position[i, k] + gd * velocity[i, k]
    return moved


@jit
def _universal(days: float, r0: float, u: float, alpha: float, gm: float) -> float:
    """Return the universal variable, by Laguerre's method of fifth order (Conway 1986, Celest. Mech. 39, 199)."""
    s = (
        days / r0
        if abs(days) * math.sqrt(abs(alpha)) < r0
        else math.copysign(1.0, days) * alpha * abs(days) / gm
    )
    if s == 0.0 or not abs(s) < 1e6:
        s = days / r0
    if alpha < 0:  # of a hyperbola the stretch grows as a logarithm: begin near the Sun
        s = math.copysign(min(abs(s), 2.0 / math.sqrt(-alpha)), days)
    for _ in range(_ITERATIONS):
        c0, c1, c2, c3 = _stumpff(alpha * s * s)
        value = r0 * s * c1 + u * s * s * c2 + gm * s**3 * c3 - days
        slope = r0 * c0 + u * s * c1 + gm * s * s * c2
        bend = (gm - alpha * r0) * s * c1 + u * c0
        root = math.sqrt(abs(16 * slope * slope - 20 * value * bend))
        step = 5 * value / (slope + math.copysign(root, slope))
        s -= step
        if abs(step) <= 1e-15 * abs(s) + 1e-300:
            break
    return s


@jit
def _stumpff(x: float) -> tuple[float, float, float, float]:
    """Return Stumpff's functions c0 to c3."""
    if abs(x) < _SMALL:
        c2 = 0.5 * (1 - x / 12 * (1 - x / 30 * (1 - x / 56 * (1 - x / 90))))
        c3 = 1 / 6 * (1 - x / 20 * (1 - x / 42 * (1 - x / 72 * (1 - x / 110))))
        return 1 - x * c2, 1 - x * c3, c2, c3
    if x > 0:
        root = math.sqrt(x)
        c0, c1 = math.cos(root), math.sin(root) / root
    else:
        root = math.sqrt(-x)
        c0, c1 = math.cosh(root), math.sinh(root) / root
    return c0, c1, (1 - c0) / x, (1 - c1) / x
