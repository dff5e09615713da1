"""How the fraction found falls with magnitude: a fitted curve, and false alarms per area."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.efficiency import Interval, Rate, rate_and_limit, wilson_interval

__all__ = ["Completeness", "RecallBins", "fit_completeness", "per_square_degree", "recall_bins"]

FloatArray = NDArray[np.float64]

_GRID: Final = (13, 25, 13)
"""Points in top, middle and the logarithm of the width: the middle is known best and needs most."""
_PASSES: Final = 4
"""Each closes in on five deviations. Chosen, not tuned."""


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
    """Fit the curve to single injections by maximum likelihood (binomial).

    Errors are standard deviations of the likelihood over all curves: where what was found and what was missed do
    not overlap, its curvature at the best curve would say far too little.

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
        return float(-np.log(np.where(hit, eta, 1 - eta)).sum() + _penalty(values[2], spread))

    bounds = [(0.05, 1.0), (float(m.min()), float(m.max())), (spread / 1e3, spread)]
    best = None
    for start in np.quantile(m, (0.3, 0.5, 0.7)):
        fit = minimize(cost, [0.95, float(start), spread / 10], method="L-BFGS-B", bounds=bounds)
        if best is None or fit.fun < best.fun:
            best = fit
    assert best is not None
    eta0, m50, width = (float(value) for value in best.x)
    return Completeness(eta0, m50, width, *_spreads(m, hit, bounds))


def per_square_degree(number: int, area: float) -> Rate:
    """Return false alarms per square degree with their Poisson interval; `area` in square degrees."""
    return rate_and_limit(number, 1.0, area)


def _curve(mag: FloatArray, eta0: float, m50: float | FloatArray, width: float) -> FloatArray:
    return np.asarray(eta0 / (1.0 + np.exp(np.clip((mag - m50) / width, -500, 500))))


def _penalty(width: float, spread: float) -> float:
    """Return a weak prior that keeps the width from 0 where the found and the missed do not overlap."""
    return 0.5 * float(np.log(width / spread * 10) / 3) ** 2


def _spreads(
    m: FloatArray, hit: NDArray[np.bool_], bounds: Sequence[tuple[float, float]]
) -> tuple[float, float, float]:
    """Return the standard deviation of each parameter over curves weighted by their likelihood.

    The grid of curves closes in on those that count: from pass to pass to five deviations about their mean, but
    never to less than the neighbouring points.
    """
    whole = [bounds[0], bounds[1], (np.log(bounds[2][0]), np.log(bounds[2][1]))]
    ranges = list(whole)
    for _ in range(_PASSES):
        axes = [np.linspace(*limits, n) for limits, n in zip(ranges, _GRID, strict=True)]
        weight = _weights(m, hit, axes, bounds[2][1])
        shares = [weight.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
        means = [float(share @ values) for share, values in zip(shares, axes, strict=True)]
        reach = [
            max(5 * float(np.sqrt(share @ (values - mean) ** 2)), 1.5 * float(values[1] - values[0]))
            for share, values, mean in zip(shares, axes, means, strict=True)
        ]
        last = axes, shares
        ranges = [
            (max(low, mean - far), min(high, mean + far))
            for (low, high), mean, far in zip(whole, means, reach, strict=True)
        ]
    found = []
    for axis, (values, share) in enumerate(zip(*last, strict=True)):
        plain = np.exp(values) if axis == 2 else values
        found.append(float(np.sqrt(share @ (plain - share @ plain) ** 2)))
    return found[0], found[1], found[2]


def _weights(m: FloatArray, hit: NDArray[np.bool_], axes: Sequence[FloatArray], spread: float) -> FloatArray:
    """Return the normalised likelihood over a grid of eta0, m50 and the logarithm of the width."""
    score = np.empty(_GRID)
    for k, width in enumerate(np.exp(axes[2])):
        part = _curve(m, 1.0, axes[1][:, None], float(width))
        for i, most in enumerate(axes[0]):
            eta = np.clip(most * part, 1e-9, 1 - 1e-9)
            score[i, :, k] = np.log(np.where(hit, eta, 1 - eta)).sum(axis=1)
        score[:, :, k] -= _penalty(float(width), spread)
    weight = np.exp(score - score.max()) * np.exp(axes[2])
    return np.asarray(weight / weight.sum())
