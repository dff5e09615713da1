"""Completeness in depth, width and velocity, and how often comets pass, corrected for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from virtualobserver.errors import DataError
from virtualobserver.maths.efficiency import ONE_SIGMA, Rate, rate_and_limit, wilson_interval

__all__ = [
    "CompletenessMap",
    "comet_rate",
    "comet_rates",
    "completeness_map",
    "expected_completeness",
]

FloatArray = NDArray[np.float64]

_LEAST = 0.001
"""Least completeness that a rate is given for: below, its error would be all there is to it."""


@dataclass(frozen=True, slots=True)
class CompletenessMap:
    """Fraction of injected comets that was found, by depth, width and velocity (axes in this order).

    ``fraction`` is NaN, and the interval 0 to 1, where nothing was injected; ``outside`` counts injections
    beyond the edges.
    """

    depth_edges: FloatArray
    fwhm_edges: FloatArray
    velocity_edges: FloatArray
    injected: NDArray[np.int64]
    found: NDArray[np.int64]
    fraction: FloatArray
    low: FloatArray
    high: FloatArray
    outside: int


def completeness_map(
    depth: ArrayLike,
    fwhm: ArrayLike,
    velocity: ArrayLike,
    found: ArrayLike,
    *,
    depth_edges: ArrayLike,
    fwhm_edges: ArrayLike,
    velocity_edges: ArrayLike,
    confidence: float = ONE_SIGMA,
) -> CompletenessMap:
    """Count injections and recoveries in cells, with Wilson intervals.

    Parameters
    ----------
    depth, fwhm, velocity : array_like, shape (n,)
        Of the injected comets: fraction, km/s, km/s.
    found : array_like of bool, shape (n,)
        Whether each was found.

    Raises
    ------
    DataError
        Columns differ in length or edges do not rise.
    """
    columns = [np.asarray(column, dtype=np.float64).ravel() for column in (depth, fwhm, velocity)]
    hit = np.asarray(found, dtype=bool).ravel()
    if any(column.size != hit.size for column in columns):
        msg = f"depth, fwhm, velocity and found differ in length: {[c.size for c in columns]}, {hit.size}"
        raise DataError(msg)
    edges = [np.asarray(edge, dtype=np.float64).ravel() for edge in (depth_edges, fwhm_edges, velocity_edges)]
    if any(edge.size < 2 or not bool((np.diff(edge) > 0).all()) for edge in edges):
        msg = "edges of a completeness map must be at least two rising numbers"
        raise DataError(msg)
    sample = np.stack(columns, axis=1) if hit.size else np.zeros((0, 3))
    tried, hits = (
        np.histogramdd(sample[rows], bins=edges)[0].astype(np.int64)
        for rows in (np.ones(hit.size, bool), hit)
    )
    interval = wilson_interval(hits, tried, confidence=confidence)
    with np.errstate(all="ignore"):
        fraction = np.where(tried > 0, hits / tried, np.nan)
    return CompletenessMap(
        edges[0],
        edges[1],
        edges[2],
        tried,
        hits,
        fraction,
        interval.low,
        interval.high,
        int(hit.size - tried.sum()),
    )


def expected_completeness(
    snr_per_depth: ArrayLike, depth: ArrayLike, threshold: float, *, night: ArrayLike | None = None
) -> FloatArray:
    """Return the fraction of nights in which a comet of each depth, there all night, would pass the threshold.

    Parameters
    ----------
    snr_per_depth : array_like, shape (n, ...)
        S/N that a comet of depth 1 has in each spectrum, by width and velocity; 0 = not searched there.
    depth : array_like, shape (d,)
        Fractional depths in K.
    threshold : float
        S/N that is asked for in the best spectrum of a night; noise of one standard deviation goes on top of the
        comet's.
    night : array_like of int, shape (n,), optional
        Night of each spectrum; each is one of its own if left out.

    Returns
    -------
    ndarray, shape (d, ...)
    """
    sensitivity = np.asarray(snr_per_depth, dtype=np.float64)
    if not len(sensitivity):
        return np.zeros((np.size(depth), *sensitivity.shape[1:]))
    labels = np.arange(len(sensitivity)) if night is None else np.asarray(night)
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(labels[order]) != 0))
    sensitivity = sensitivity[order]
    fractions = []
    for one in np.asarray(depth, dtype=np.float64):
        missed = 1.0 - ndtr(one * sensitivity - threshold) * (sensitivity > 0)
        fractions.append(1.0 - np.multiply.reduceat(missed, starts, axis=0).mean(axis=0))
    return np.stack(fractions)


def comet_rate(n_found: int, completeness: ArrayLike, nights: ArrayLike, *, confidence: float = 0.95) -> Rate:
    """Return comets per night of observation over one or more stars, with interval and upper limit.

    Parameters
    ----------
    n_found : int
        Comets found in all of them.
    completeness, nights : array_like, shape (s,)
        For each star the fraction of comets of the kind meant that its search finds, and its number of nights.

    Raises
    ------
    DataError
        If fewer than one comet in a thousand would have been found: nothing is then known about the rate.
    """
    share, time = (np.atleast_1d(np.asarray(one, dtype=np.float64)) for one in (completeness, nights))
    exposure, total = float((share * time).sum()), float(time.sum())
    if not exposure > _LEAST * total:
        msg = "no rate can be given: the search would have found no comet in any of these nights"
        raise DataError(msg)
    return rate_and_limit(n_found, min(exposure / total, 1.0), total, confidence=confidence)


def comet_rates(
    stars: Sequence[Mapping[str, object]], *, by: str | None = None, confidence: float = 0.95
) -> dict[str, Rate]:
    """Return rates star by star, or by a class of stars, and for all together (key ``all``).

    Parameters
    ----------
    stars
        Rows with ``name``, ``n_found``, ``completeness``, ``n_nights`` and, if asked for, the column `by`, e.g.
        ``spectral_class``. Groups whose search could find nothing are left out.
    """
    groups: dict[str, list[Mapping[str, object]]] = {"all": list(stars)}
    for star in stars:
        groups.setdefault(str(star.get(by or "name") or "unknown"), []).append(star)
    rates = {}
    for name, members in groups.items():
        found = [int(str(one["n_found"])) for one in members]
        share, nights = (
            np.array([float(str(one[key])) for one in members]) for key in ("completeness", "n_nights")
        )
        if float((share * nights).sum()) > _LEAST * float(nights.sum()):
            rates[name] = comet_rate(sum(found), share, nights, confidence=confidence)
    return rates
