"""From hits in single spectra to events in a night, and how often noise alone would make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import HOURS_PER_DAY

__all__ = ["NullTail", "Track", "fit_track", "link_hits", "null_tail"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_PRIOR_PEAKS: Final = 40
"""Weight of the Gaussian expectation, in peaks: a star with fewer peaks of its own is believed less than it."""
_BOOTSTRAPS: Final = 200
"""Draws of nights; the scatter of the tail is then known to 5 %."""
_SIMILAR: Final = 4.0
"""Factor in width and in depth; comets of one night that differ by more are two. Chosen, not tuned."""
_MISSES: Final = 3
"""Spectra in a row without a feature that end it: one or two may be bad."""


@dataclass(frozen=True, slots=True)
class NullTail:
    """Number of noise peaks above x in the whole star: ``rate (x/u)^2 exp(-(x^2 - u^2) / (2 spread))``.

    The form is that of maxima of a Gaussian field over velocity and width. One ``rate`` and ``spread`` for each
    bootstrap of the nights; ``spread`` is 1 for Gaussian noise whose size is known.
    """

    start: float
    rate: FloatArray
    spread: FloatArray

    def probability(self, snr: ArrayLike) -> FloatArray:
        """Return the probability that noise makes a peak of at least this S/N anywhere in the star's data."""
        x = np.maximum(np.asarray(snr, dtype=np.float64), self.start)[..., None]
        exponent = -(x**2 - self.start**2) / (2.0 * self.spread)
        expected = self.rate * (x / self.start) ** 2 * np.exp(exponent)
        return np.asarray(-np.expm1(-expected).mean(axis=-1))


@dataclass(frozen=True, slots=True)
class Track:
    """A feature followed through one night.

    ``v`` (km/s) belongs to ``mjd``, the mean time; ``acceleration`` is in km/s/h, NaN for fewer than two spectra.
    ``snr`` adds the members in quadrature; ``best`` is the row of the strongest one.
    """

    members: IntArray
    best: int
    v: float
    mjd: float
    acceleration: float
    acceleration_error: float
    fwhm: float
    snr: float
    peak_snr: float
    depth: tuple[float, float]
    depth_error: tuple[float, float]


def null_tail(
    peaks: ArrayLike,
    night: ArrayLike,
    searched: ArrayLike,
    *,
    start: float,
    gaussian: bool = False,
    seed: int = 0,
) -> NullTail:
    """Fit the tail of the sign-flipped peaks; nights are drawn with replacement for its uncertainty.

    Parameters
    ----------
    peaks, night
        S/N of the emission peaks at or above `start`, and the night of each; shape (p,).
    searched
        The night of every spectrum that was searched.
    start
        S/N at which the tail begins.
    gaussian
        Keep the spread at 1: what the peaks would be if the noise were as the errors say.

    Notes
    -----
    The spread follows from the mean E of ``(x^2 - u^2)/2``, which is ``s + 2 s^2 / u^2``; forty peaks of Gaussian
    noise are added as prior, and it is never taken below 1.
    """
    height, when = np.asarray(peaks, dtype=np.float64), np.asarray(night)
    nights, counts = np.unique(np.asarray(searched), return_counts=True)
    if nights.size == 0:
        return NullTail(start, np.ones(1), np.ones(1))
    position = np.searchsorted(nights, when)
    number = np.bincount(position, minlength=nights.size).astype(np.float64)
    excess = np.bincount(position, 0.5 * (height**2 - start**2), minlength=nights.size)
    draws = np.random.default_rng(seed).multinomial(
        nights.size, np.full(nights.size, 1.0 / nights.size), size=_BOOTSTRAPS
    )
    # As many spectra as there are, whatever nights were drawn.
    share = counts.sum() / np.maximum(draws @ counts, 1)
    total, energy = draws @ number, draws @ excess
    prior = 1.0 + 2.0 / start**2
    mean = (energy + _PRIOR_PEAKS * prior) / (total + _PRIOR_PEAKS)
    spread = 0.25 * start**2 * (np.sqrt(1.0 + 8.0 * mean / start**2) - 1.0)
    if gaussian:
        spread = np.ones_like(spread)
    return NullTail(start, np.maximum(total * share, 1.0), np.maximum(spread, 1.0))


def link_hits(hits: NDArray[np.void], mjd: FloatArray, night: IntArray, *, seed_snr: float) -> list[IntArray]:
    """Group hits of the same night that are one feature: index arrays into `hits`, the strongest group first.

    From each hit of at least `seed_snr` on, the weaker ones are followed forward and backward in time: velocity
    within the larger width (about the line through the members, once there are two), width and depth alike
    within a factor of 4; three spectra in a row without it end the feature.
    """
    order = np.argsort(-hits["snr"], kind="stable")
    free = np.ones(hits.size, dtype=bool)
    by_night: dict[int, IntArray] = {
        int(one): np.flatnonzero(night[hits["row"]] == one) for one in np.unique(night[hits["row"]])
    }
    rows_of: dict[int, IntArray] = {}
    for one in by_night:
        rows = np.flatnonzero(night == one)
        rows_of[one] = rows[np.argsort(mjd[rows], kind="stable")]
    groups = []
    for first in order:
        if hits["snr"][first] < seed_snr:
            break
        if not free[first]:
            continue
        one = int(night[hits["row"][first]])
        group = _followed(hits, int(first), by_night[one][free[by_night[one]]], rows_of[one], mjd)
        free[group] = False
        groups.append(group)
    return groups


def _followed(
    hits: NDArray[np.void], first: int, others: IntArray, rows: IntArray, mjd: FloatArray
) -> IntArray:
    """Follow a feature through the night from its strongest spectrum, forward and backward."""
    members = [first]
    seed = hits[first]
    here = int(np.flatnonzero(rows == seed["row"])[0])
    by_row: dict[int, list[int]] = {}
    for other in others:
        if other != first:
            by_row.setdefault(int(hits["row"][other]), []).append(int(other))
    for path in (rows[here + 1 :], rows[:here][::-1]):
        misses = 0
        for row in path:
            chosen = _nearest(hits, members, by_row.get(int(row), []), mjd)
            if chosen is None:
                misses += 1
                if misses == _MISSES:
                    break
            else:
                misses = 0
                members.append(chosen)
    return np.asarray(sorted(members, key=lambda one: mjd[hits["row"][one]]), dtype=np.int64)


def _nearest(
    hits: NDArray[np.void], members: Sequence[int], candidates: Sequence[int], mjd: FloatArray
) -> int | None:
    if not candidates:
        return None
    group = hits[list(members)]
    slope, middle, v_middle = _line(mjd[group["row"]], group["v"], group["snr"])
    best, nearest = None, np.inf
    seed = hits[members[0]]
    for other in candidates:
        hit = hits[other]
        similar = max(hit["fwhm"] / seed["fwhm"], seed["fwhm"] / hit["fwhm"]) <= _SIMILAR
        depths = abs(hit["depth_k"]), abs(seed["depth_k"])
        if min(depths) > 0:
            similar &= max(depths) / min(depths) <= _SIMILAR
        distance = abs(hit["v"] - (v_middle + slope * (mjd[hit["row"]] - middle)))
        if similar and distance <= max(seed["fwhm"], hit["fwhm"]) and distance < nearest:
            best, nearest = other, distance
    return best


def _line(mjd: FloatArray, v: FloatArray, weight: FloatArray) -> tuple[float, float, float]:
    """Return slope (km/s/d), mean time and mean velocity of the weighted line."""
    share = weight**2 / (weight**2).sum()
    middle, v_middle = float((share * mjd).sum()), float((share * v).sum())
    spread = float((share * (mjd - middle) ** 2).sum())
    slope = float((share * (mjd - middle) * (v - v_middle)).sum()) / spread if spread > 0 else 0.0
    return slope, middle, v_middle


def fit_track(hits: NDArray[np.void], group: IntArray, mjd: FloatArray) -> Track:
    """Combine the members of a group: inverse-variance depths, a line through the velocities."""
    part = hits[group]
    times = mjd[part["row"]]
    slope, middle, v_middle = _line(times, part["v"], part["snr"])
    # The centre of a Gaussian is known to about 0.42 FWHM over its S/N.
    error = 0.42 * part["fwhm"] / part["snr"]
    weight = 1.0 / error**2
    spread = float((weight * (times - middle) ** 2).sum())
    several = part.size > 1 and spread > 0
    depth, depth_error = zip(*(_weighted(part, line) for line in ("k", "h")), strict=True)
    best = int(np.argmax(part["snr"]))
    return Track(
        members=np.asarray(part["row"], dtype=np.int64),
        best=int(part["row"][best]),
        v=v_middle,
        mjd=middle,
        acceleration=slope / HOURS_PER_DAY if several else float("nan"),
        acceleration_error=spread**-0.5 / HOURS_PER_DAY if several else float("nan"),
        fwhm=float(np.average(part["fwhm"], weights=part["snr"] ** 2)),
        snr=float(np.sqrt((part["snr"] ** 2).sum())),
        peak_snr=float(part["snr"][best]),
        depth=(depth[0], depth[1]),
        depth_error=(depth_error[0], depth_error[1]),
    )


def _weighted(part: NDArray[np.void], line: str) -> tuple[float, float]:
    value, error = part[f"depth_{line}"], part[f"error_{line}"]
    known = np.isfinite(value) & np.isfinite(error) & (error > 0)
    if not known.any():
        return float("nan"), float("nan")
    weight = 1.0 / error[known] ** 2
    return float((weight * value[known]).sum() / weight.sum()), float(weight.sum() ** -0.5)
