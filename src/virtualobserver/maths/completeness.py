"""How the fraction found falls with magnitude: a fitted curve, and false alarms per area."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.efficiency import Interval, Rate, rate_and_limit, wilson_interval

__all__ = ["Completeness", "RecallBins", "fit_completeness", "per_square_degree", "recall_bins"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Completeness:
    """``eta(m) = eta0 / (1 + exp((m - m50) / width))`` with standard errors, magnitudes."""

    eta0: float
    m50: float
    width: float
    eta0_error: float
    m50_error: float
    width_error: float

    def at(self, mag: ArrayLike) -> FloatArray:
        """Return the fraction found at some magnitudes."""
        return np.asarray(_curve(np.asarray(mag, dtype=np.float64), self.eta0, self.m50, self.width))


@dataclass(frozen=True, eq=False)
class RecallBins:
    """Injected and found by bin, with Wilson intervals; the recall of an empty bin is NaN."""

    edges: FloatArray
    injected: NDArray[np.int64]
    found: NDArray[np.int64]
    recall: FloatArray
    interval: Interval


def recall_bins(value: ArrayLike, found: ArrayLike, edges: ArrayLike) -> RecallBins:
    """Count injected and found in bins of magnitude, rate or likelihood; the last edge belongs to its bin."""
    x, hit = np.asarray(value, dtype=np.float64), np.asarray(found, dtype=bool)
    borders = np.asarray(edges, dtype=np.float64)
    injected, hits = (np.histogram(part, borders)[0].astype(np.int64) for part in (x, x[hit]))
    with np.errstate(all="ignore"):
        recall = np.where(injected > 0, hits / injected, np.nan)
    return RecallBins(borders, injected, hits, recall, wilson_interval(hits, injected))


def fit_completeness(mag: ArrayLike, found: ArrayLike) -> Completeness:
    """Fit the curve to single injections by maximum likelihood (binomial), errors from its curvature.

    Raises
    ------
    NotEnoughData
        If all were found, or none, or there are fewer than 10: they do not say where the fraction falls.
    """
    m, hit = np.asarray(mag, dtype=np.float64), np.asarray(found, dtype=bool)
    if len(m) < 10 or hit.all() or not hit.any():
        msg = f"{int(hit.sum())} found of {len(m)} injections do not say where the recall falls to one half"
        raise NotEnoughData(msg)
    spread = max(float(np.ptp(m)), 1e-3)

    def cost(values: FloatArray) -> float:
        eta = np.clip(_curve(m, *values), 1e-9, 1 - 1e-9)
        # a weak prior keeps the width from 0 where the found and the missed do not overlap
        return float(
            -np.log(np.where(hit, eta, 1 - eta)).sum() + 0.5 * (np.log(values[2] / spread * 10) / 3) ** 2
        )

    bounds = [(0.05, 1.0), (float(m.min()), float(m.max())), (spread / 1e3, spread)]
    best = None
    for start in np.quantile(m, (0.3, 0.5, 0.7)):
        fit = minimize(cost, [0.95, float(start), spread / 10], method="L-BFGS-B", bounds=bounds)
        if best is None or fit.fun < best.fun:
            best = fit
    assert best is not None
    errors = _errors(cost, np.asarray(best.x), bounds)
    eta0, m50, width = (float(value) for value in best.x)
    return Completeness(eta0, m50, width, *errors)


def per_square_degree(number: int, area: float) -> Rate:
    """Return false alarms per square degree with their Poisson interval; `area` in square degrees."""
    return rate_and_limit(number, 1.0, area)


def _curve(mag: FloatArray, eta0: float, m50: float, width: float) -> FloatArray:
    return np.asarray(eta0 / (1.0 + np.exp(np.clip((mag - m50) / width, -500, 500))))


def _errors(
    cost: Callable[[FloatArray], float], best: FloatArray, bounds: list[tuple[float, float]]
) -> tuple[float, float, float]:
    """Return standard errors from second differences; of parameters at a bound, those of the others stay."""
    free = [k for k in range(3) if bounds[k][0] + 1e-6 < best[k] < bounds[k][1] - 1e-6]
    step = np.maximum(np.abs(best) * 1e-4, 1e-5)
    curvature = np.zeros((len(free), len(free)))
    for a, i in enumerate(free):
        for b, j in enumerate(free):
            total = 0.0
            for sign_i, sign_j in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                point = best.copy()
                point[i] += sign_i * step[i]
                point[j] += sign_j * step[j]
                total += sign_i * sign_j * cost(point)
            curvature[a, b] = total / (4 * step[i] * step[j])
    errors = [0.0, 0.0, 0.0]
    if free and np.linalg.cond(curvature) < 1e12:
        for place, variance in zip(free, np.diag(np.linalg.inv(curvature)), strict=True):
            errors[place] = float(np.sqrt(max(variance, 0.0)))
    return errors[0], errors[1], errors[2]
