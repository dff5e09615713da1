"""Least squares of Fourier series with own offsets of sessions, on a grid of frequencies."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from virtualobserver.maths.kernels import jit_regrouped

__all__ = ["series_gain"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_SINGULAR = 1e-10
"""A column of which less than this is left, beside those before it, is one of them: it adds nothing."""


@jit_regrouped
def series_gain(
    times: tuple[FloatArray, FloatArray, IntArray], y: FloatArray, frequencies: FloatArray, harmonics: int
) -> FloatArray:
    """Return by how much Fourier series of 1, 2 … harmonics lower the sum of squares at each frequency.

    Each session has an offset of its own, which is fitted along. The normal matrix of cosines and sines is
    factorised once (Cholesky): columns come in the order of harmonics, so one factorisation answers for each number.

    Parameters
    ----------
    times
        Times; weights (1 / variance); numbers of the sessions, from 0 without a gap: shape (n,) each.
    y
        Values of several trials, each less its weighted mean in the session, shape (trials, n).
    frequencies
        Cycles per unit of time, shape (m,).
    harmonics
        The largest number of harmonics.

    Returns
    -------
    ndarray
        Shape (trials, m, harmonics).
    """
    _, w, session = times
    trials, n = y.shape
    k = 2 * harmonics
    gain = np.zeros((trials, frequencies.size, harmonics))
    design, matrix, solved = np.empty((k, n)), np.empty((k, k)), np.empty(k)
    mean = np.empty((k, session.max() + 1))
    weight = np.zeros(mean.shape[1])
    for i in range(n):
        weight[session[i]] += w[i]
    for m in range(frequencies.size):
        _fill(design, mean, times, weight, frequencies[m])
        _factorise(matrix, design, w)
        for trial in range(trials):
            _solve(solved, matrix, design, w, y[trial])
            explained = 0.0
            for a in range(k):
                explained += solved[a] ** 2
                if a % 2:
                    gain[trial, m, a // 2] = explained
    return gain


@jit_regrouped
def _fill(
    design: FloatArray,
    mean: FloatArray,
    times: tuple[FloatArray, FloatArray, IntArray],
    weight: FloatArray,
    frequency: float,
) -> None:
    """Write cosines and sines, less their weighted means in each session."""
    t, w, session = times
    mean[:] = 0.0
    for i in range(t.size):
        angle = 2.0 * math.pi * ((frequency * t[i]) % 1.0)
        c1, s1 = math.cos(angle), math.sin(angle)
        c, s = c1, s1
        for h in range(design.shape[0] // 2):
            design[2 * h, i], design[2 * h + 1, i] = c, s
            mean[2 * h, session[i]] += w[i] * c
            mean[2 * h + 1, session[i]] += w[i] * s
            c, s = c * c1 - s * s1, s * c1 + c * s1
    for a in range(design.shape[0]):
        for i in range(t.size):
            design[a, i] -= mean[a, session[i]] / weight[session[i]]


@jit_regrouped
def _factorise(matrix: FloatArray, design: FloatArray, w: FloatArray) -> None:
    """Write the lower Cholesky factor of the normal matrix; columns that add nothing have a zero on the diagonal."""
    for a in range(design.shape[0]):
        for b in range(a + 1):
            total = 0.0
            for i in range(w.size):
                total += w[i] * design[a, i] * design[b, i]
            matrix[a, b] = total
        full = matrix[a, a]
        for b in range(a):
            for e in range(b):
                matrix[a, b] -= matrix[a, e] * matrix[b, e]
            matrix[a, b] = matrix[a, b] / matrix[b, b] if matrix[b, b] > 0 else 0.0
        left = full
        for b in range(a):
            left -= matrix[a, b] ** 2
        matrix[a, a] = math.sqrt(left) if left > _SINGULAR * full else 0.0


@jit_regrouped
def _solve(solved: FloatArray, matrix: FloatArray, design: FloatArray, w: FloatArray, y: FloatArray) -> None:
    """Write the values divided by the factor: their squares are what each column explains."""
    for a in range(design.shape[0]):
        value = 0.0
        for i in range(w.size):
            value += w[i] * design[a, i] * y[i]
        for b in range(a):
            value -= matrix[a, b] * solved[b]
        solved[a] = value / matrix[a, a] if matrix[a, a] > 0 else 0.0
