"""How what the air does differs over a chip: a plane through what references are off their trend, at each time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST", "plane_over"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
LEAST: Final = 10
"""References through which a plane is laid: three of its numbers are then known to half of the scatter of one."""
BETTER: Final = 0.95
"""Of what references are off without a plane, below which those that were left out must come with one."""
_ROUNDS: Final = 3
"""Of weights and planes: the second knows what the first left, the third what events had hidden."""
_WILD: Final = 4.0
"""Standard deviations beyond which a reference is not counted at a time."""


def plane_over(
    rest: FloatArray, variance: FloatArray, place: FloatArray, wanted: FloatArray, own: IntArray
) -> tuple[FloatArray, FloatArray] | None:
    """Return by which part stars differ from the trend of all at their places, and the variance of that.

    Parameters
    ----------
    rest, variance
        Of references: flux over mean and trend, less 1, and the variance of its noise, shape (k, m); NaN if unknown.
    place, wanted
        Pixels x and y of references and of stars, shapes (k, 2) and (n, 2).
    own
        Which reference a star is, -1 for none, shape (n,): it is left out of its own plane.

    Returns
    -------
    tuple of array, shape (n, m), or None
        None if a plane does not predict references that were left out of it better than none.
    """
    middle, width = place.mean(axis=0), np.maximum(place.std(axis=0), 1.0)
    terms, at = (np.column_stack([np.ones(len(one)), (one - middle) / width]) for one in (place, wanted))
    known = np.isfinite(rest) & np.isfinite(variance) & (variance > 0)
    value = np.where(known, rest, 0.0)
    noise = np.where(known, variance, 1.0)
    left = value
    for _ in range(_ROUNDS):  # what a plane leaves is what stars do by themselves
        with np.errstate(divide="ignore", invalid="ignore"):
            excess = np.sum(known * (left**2 - noise) / noise, axis=0) / np.sum(known / noise, axis=0)
        total = noise + np.maximum(np.nan_to_num(excess), 0.0)
        sound = known & (left**2 < _WILD**2 * total)
        sound &= sound.sum(axis=0) >= LEAST
        weight = np.where(sound, 1 / total, 0.0)
        normal = np.einsum("km,ki,kj->mij", weight, terms, terms)
        right = np.einsum("km,ki->mi", weight * value, terms)
        fitted, _ = _solved(normal, right, terms, np.full(len(place), -1), (weight, value, terms))
        left = value - fitted
    each = np.arange(len(place))
    judged, _ = _solved(normal, right, terms, each, (weight, value, terms))
    off = [float(np.sum(np.where(sound, (value - one) ** 2 / noise, 0.0))) for one in (0.0, judged)]
    if not off[1] < BETTER * off[0]:
        return None
    return _solved(normal, right, at, own, (weight, value, terms))


# --- inside -----------------------------------------------------------------------------------------------


def _solved(
    normal: FloatArray,
    right: FloatArray,
    at: FloatArray,
    own: IntArray,
    references: tuple[FloatArray, FloatArray, FloatArray],
) -> tuple[FloatArray, FloatArray]:
    """Return planes at places, each without the reference that is there, and their variances; 0 where there is none."""
    weight, value, terms = references
    m = len(normal)
    found, error = np.zeros((len(at), m)), np.zeros((len(at), m))
    ridge = 1e-9 * np.eye(3)
    some = normal[:, 0, 0] > 0
    inverse = np.zeros_like(normal)
    inverse[some] = np.linalg.inv(normal[some] + ridge * normal[some, :1, :1])
    numbers = np.einsum("mij,mj->mi", inverse, right)
    free = own < 0
    found[free] = at[free] @ numbers.T
    error[free] = np.einsum("ni,mij,nj->nm", at[free], inverse, at[free], optimize=True)
    for row in np.flatnonzero(~free):
        k = int(own[row])
        w = weight[k][:, None]
        less = normal - w[..., None] * np.outer(terms[k], terms[k])
        rest = right - w * value[k][:, None] * terms[k]
        here = np.zeros_like(normal)
        here[some] = np.linalg.inv(less[some] + ridge * normal[some, :1, :1])
        found[row] = np.einsum("i,mij,mj->m", at[row], here, rest)
        error[row] = np.einsum("i,mij,j->m", at[row], here, at[row])
    return found, error
