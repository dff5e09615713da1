"""What an exposure does to all stars of like brightness: clouds, a shallow night, errors that are too small.

A star alone cannot tell a bad exposure from an event; the others on the same detector can. A shallow exposure holds of
faint stars only those that noise has made brighter, so the effect hangs on the brightness.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["Effects", "exposure_effects", "exposures"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

ALIKE: Final = 51
"""Stars of like brightness that tell what an exposure did: their median is known to a sixth of the scatter of one, and
a few variables among them change nothing."""
NODES: Final = 200
"""Brightnesses of an exposure at which the effect is measured; between them it hardly changes."""
LEAST_EPOCHS: Final = 10
"""Epochs from which the median of a star is known."""
TAIL, TAIL_SIGMA = 0.9, 1.645
"""Part of the stars whose deviations tell the scatter, and how many sigma it is of a normal distribution: bad exposures
have long tails, which a median would not show."""
LEAST_FACTOR: Final = 1.25
"""Errors are scaled from this on: the scatter of 51 values is uncertain by a seventh."""
SAME: Final = 0.01
"""Days within which rows with one colour term are one exposure; the light reaches stars of one detector within 10 s of
each other, and some archives round times to five minutes."""
_ROUNDS: Final = 2
"""The medians of faint stars move when the exposures are corrected; after two rounds by less than a mmag."""


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """For each row: by how much (mag) its exposure shows stars like it too faint, and what its error is short by."""

    offset: FloatArray
    factor: FloatArray


def exposures(mjd: FloatArray, term: FloatArray) -> IntArray:
    """Return the number of the exposure of each row; `term` is a number that all rows of an exposure share."""
    order = np.lexsort((mjd, term))
    new = np.ones(mjd.size, dtype=bool)
    new[1:] = (np.diff(term[order]) != 0) | ~(np.diff(mjd[order]) <= SAME)
    number = np.empty(mjd.size, dtype=np.int64)
    number[order] = np.cumsum(new) - 1
    return number


def exposure_effects(
    star: IntArray, exposure: IntArray, mag: FloatArray, error: FloatArray, good: BoolArray
) -> Effects:
    """Measure what each exposure does to stars of each brightness.

    Parameters
    ----------
    star, exposure
        Numbers from 0, shape (n,).
    mag, error
        Magnitudes and their errors, shape (n,).
    good
        Rows that may tell, shape (n,); all get what is told.

    Returns
    -------
    Effects
        Offset 0 and factor 1 for exposures with fewer than `ALIKE` stars, and for stars without a median.
    """
    offset, factor = np.zeros(mag.size), np.ones(mag.size)
    if not mag.size:
        return Effects(offset, factor)
    good = good & np.isfinite(mag) & np.isfinite(error) & (error > 0)
    counts = np.bincount(star[good], minlength=int(star.max()) + 1)
    known = (counts >= LEAST_EPOCHS)[star]
    order = np.argsort(exposure, kind="stable")
    edges = np.searchsorted(exposure[order], np.arange(int(exposure.max()) + 2))
    for _ in range(_ROUNDS):
        usual = _medians(star, mag - offset, good & known, counts.size)[star]
        for first, stop in pairwise(edges.tolist()):
            rows = order[first:stop]
            rows = rows[known[rows]]
            told = rows[good[rows]]
            if told.size >= ALIKE:
                told = told[np.argsort(usual[told], kind="stable")]
                offset[rows], factor[rows] = _effect(
                    usual[told], (mag - usual)[told], error[told], usual[rows]
                )
    return Effects(offset, np.where(factor < LEAST_FACTOR, 1.0, factor))


def _medians(star: IntArray, mag: FloatArray, good: BoolArray, size: int) -> FloatArray:
    """Return the median of the good rows of each star, NaN without one."""
    rows = np.flatnonzero(good)
    rows = rows[np.lexsort((mag[rows], star[rows]))]
    edges = np.searchsorted(star[rows], np.arange(size + 1))
    count = np.diff(edges)
    result = np.full(size, np.nan)
    some = count > 0
    low, high = edges[:-1] + (count - 1) // 2, edges[:-1] + count // 2
    result[some] = 0.5 * (mag[rows[low[some]]] + mag[rows[high[some]]])
    return result


def _effect(
    usual: FloatArray, residual: FloatArray, error: FloatArray, wanted: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return offset and factor at the wanted magnitudes, from the nearest in rank of stars in order of magnitude."""
    step = max(usual.size // NODES, 1)
    near = sliding_window_view(residual, ALIKE)[::step]
    middle = np.median(near, axis=1)
    pulls = np.abs(near - middle[:, None]) / sliding_window_view(error, ALIKE)[::step]
    spread = np.quantile(pulls, TAIL, axis=1) / TAIL_SIGMA
    centre = sliding_window_view(usual, ALIKE)[::step, ALIKE // 2]
    return np.interp(wanted, centre, middle), np.interp(wanted, centre, spread)
