"""Weighted principal components of light curves, as many as predict what they have not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Components", "fit_components", "weighted_components"]

FloatArray = NDArray[np.float64]
MOST: Final = 3
"""Components: more than the three of two directions of motion and the width of the image follow noise."""
FOLDS: Final = 5
"""Parts of the data that are held back in turn."""
ROUNDS: Final = 15
"""Of expectation and maximisation: the sum changes by less than 1e-3 after ten."""
_BETTER: Final = 0.98
"""Of the error of prediction, which a further component must fall below to be taken."""
_SEED: Final = 20
"""Of the folds and the first guess: results are the same each time."""


@dataclass(frozen=True, eq=False)
class Components:
    """Vectors of length 1, shape (rank, m), and what they were made of."""

    vectors: FloatArray
    logs: FloatArray
    weight: FloatArray

    def without(self, row: int) -> FloatArray:
        """Return the vectors without one of the light curves, from those with it in a few rounds."""
        weight = self.weight.copy()
        weight[row] = 0.0
        return _maximised(_centred(self.logs, weight), weight, self.vectors, 4)


def weighted_components(logs: FloatArray, weight: FloatArray) -> Components:
    """Find the principal components of light curves about their mean.

    Parameters
    ----------
    logs
        Shape (n, m), any value where the weight is 0.
    weight
        Inverse variance, shape (n, m).

    Notes
    -----
    S. Bailey 2012, PASP 124, 1015. The rank is chosen by cross-validation, 0 to 3: entries are held back at random.
    """
    rng = np.random.default_rng(_SEED)
    fold = rng.integers(0, FOLDS, logs.shape)
    errors = np.array([_error(logs, weight, fold, rank) for rank in range(MOST + 1)])
    rank = 0
    for more in range(1, MOST + 1):
        if errors[more] < _BETTER * errors[rank]:
            rank = more
    return Components(_vectors(logs, weight, rank), logs, weight)


def fit_components(basis: FloatArray, values: FloatArray, error: FloatArray) -> FloatArray:
    """Return the factors of vectors (rank, m) that with a constant best make up values, shape (rank,)."""
    design = np.vstack([np.ones_like(values), basis]) / error
    return np.asarray(np.linalg.lstsq(design.T, values / error, rcond=None)[0][1:])


# --- inside -----------------------------------------------------------------------------------------------


def _centred(logs: FloatArray, weight: FloatArray) -> FloatArray:
    """Take the weighted mean from each column, then from each row."""
    columns = np.sum(weight * logs, axis=0) / np.maximum(weight.sum(axis=0), 1e-300)
    rest = logs - columns
    rows = np.sum(weight * rest, axis=1) / np.maximum(weight.sum(axis=1), 1e-300)
    return np.asarray(rest - rows[:, None])


def _factors(rest: FloatArray, weight: FloatArray, vectors: FloatArray) -> FloatArray:
    normal = np.einsum("nm,km,lm->nkl", weight, vectors, vectors, optimize=True)
    right = np.einsum("nm,km,nm->nk", weight, vectors, rest, optimize=True)
    ridge = 1e-9 * np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1e-30
    return np.asarray(np.linalg.solve(normal + ridge * np.eye(len(vectors)), right[..., None])[..., 0])


def _maximised(rest: FloatArray, weight: FloatArray, vectors: FloatArray, rounds: int) -> FloatArray:
    vectors = vectors.copy()
    for _ in range(rounds):
        factors = _factors(rest, weight, vectors)
        left = rest.copy()
        for k in range(len(vectors)):
            factor = factors[:, k : k + 1]
            base = np.sum(weight * factor**2, axis=0)
            vectors[k] = np.sum(weight * factor * left, axis=0) / np.maximum(base, 1e-300)
            left = left - factor * vectors[k]
        vectors = np.linalg.qr(vectors.T)[0].T
    return vectors


def _vectors(logs: FloatArray, weight: FloatArray, rank: int) -> FloatArray:
    start = np.random.default_rng(_SEED).normal(size=(rank, logs.shape[1]))
    if not rank:
        return start
    return _maximised(_centred(logs, weight), weight, np.linalg.qr(start.T)[0].T, ROUNDS)


def _error(logs: FloatArray, weight: FloatArray, fold: NDArray[np.int64], rank: int) -> float:
    """Return the weighted square of what entries held back differ from their prediction."""
    total = 0.0
    for held in range(FOLDS):
        part = np.where(fold == held, 0.0, weight)
        rest = _centred(logs, part)
        model = np.zeros_like(rest)
        if rank:
            vectors = _vectors(logs, part, rank)
            model = _factors(rest, part, vectors) @ vectors
        total += float(np.sum(np.where(fold == held, weight, 0.0) * np.minimum((rest - model) ** 2, 1.0)))
    return total
