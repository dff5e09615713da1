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

_TOP: Final = 10
"""Highest peaks that tell how the tail falls: few enough that noise, of which there are hundreds, is not among them
where a star varies in some places only."""
_PRIOR_PEAKS: Final = 30
"""Weight of the Gaussian expectation, in peaks: few stars are worse than the measured floors of their noise say."""
_SIMILAR: Final = 4.0
"""Factor in width and in depth; comets of one night that differ by more are two. Chosen, not tuned."""
_SLOPE: Final = 3.0
"""Errors of a slope from which on a feature is followed along it; two close exposures know none."""
_MISSES: Final = 3
"""Spectra in a row without a feature that end it: one or two may be bad."""


@dataclass(frozen=True, slots=True)
class NullTail:
    """Number of noise peaks above x in the whole star: ``rate exp(-w t) (1 + (1 - w) t / k)^-k``, ``t = y / spread``.

    ``y = (x^2 - u^2) / 2 - 2 ln(x / u)``, u the ``start``, is distributed exponentially for maxima of a Gaussian field
    over velocity and width, with the mean ``spread``, 1 for noise whose size is known. A spread that k ``peaks`` have
    told beside the prior, w its weight, scatters: the power is what an exponential has to be replaced by, for chances
    to be even in noise as the prior says. It is an exponential where none have told it.
    """

    start: float
    rate: float
    spread: float = 1.0
    peaks: int = 0

    def probability(self, snr: ArrayLike) -> FloatArray:
        """Return the probability that noise makes a peak of at least this S/N anywhere in the star's data."""
        x = np.maximum(np.asarray(snr, dtype=np.float64), self.start)
        scaled = _exceedance(x, self.start) / self.spread / (_PRIOR_PEAKS + self.peaks)
        exponent = _PRIOR_PEAKS * scaled + self.peaks * np.log1p(scaled)
        return np.asarray(-np.expm1(-self.rate * np.exp(-exponent)))


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


def _exceedance(x: FloatArray, start: float) -> FloatArray:
    return np.asarray(0.5 * (x**2 - start**2) - 2.0 * np.log(x / start))


def null_tail(peaks: ArrayLike, *, start: float, gaussian: bool = False) -> NullTail:
    """Fit the tail of the sign-flipped peaks of a star.

    Parameters
    ----------
    peaks
        S/N of the emission peaks at or above `start`, shape (p,).
    start
        S/N above which all peaks are known.
    gaussian
        Keep the spread at 1: what the peaks would be if the noise were as the errors say.

    Notes
    -----
    The ten highest peaks above the next one tell the spread; thirty of Gaussian noise are added as prior. The tail
    allows for the scatter of a mean of ten values of noise, and not for what noise may differ by from star to star:
    that would make the chances of quiet stars too large by half.

    With k peaks the rate is k + 1, whether counted above a given height or above the next peak: of a Poisson process
    that expects N there, N/(k + 1) is 1 on average, so that a chance stated as p is p. With k alone the chances of
    stars with few spectra were too small by a tenth.
    """
    height = np.sort(np.asarray(peaks, dtype=np.float64))[::-1]
    if gaussian:
        return NullTail(start, height.size + 1.0)
    top = height[:_TOP]
    begin = float(height[_TOP]) if height.size > _TOP else start
    excess = float(_exceedance(top, begin).sum())
    spread = (excess + _PRIOR_PEAKS) / (top.size + _PRIOR_PEAKS)
    return NullTail(begin, top.size + 1.0, spread, top.size)


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
    times = mjd[group["row"]]
    slope, middle, v_middle = _line(times, group)
    span = float(np.ptp(times))
    best, nearest = None, np.inf
    seed = hits[members[0]]
    for other in candidates:
        hit = hits[other]
        similar = max(hit["fwhm"] / seed["fwhm"], seed["fwhm"] / hit["fwhm"]) <= _SIMILAR
        depths = abs(hit["depth_k"]), abs(seed["depth_k"])
        if min(depths) > 0:
            similar &= max(depths) / min(depths) <= _SIMILAR
        # Beyond as much again as it was seen for, a line says nothing about where the feature went.
        when = float(np.clip(mjd[hit["row"]], times.min() - span, times.max() + span))
        distance = abs(hit["v"] - (v_middle + slope * (when - middle)))
        if similar and distance <= max(seed["fwhm"], hit["fwhm"]) and distance < nearest:
            best, nearest = other, distance
    return best


def _line(mjd: FloatArray, part: NDArray[np.void]) -> tuple[float, float, float]:
    """Return slope (km/s/d; 0 unless it is significant), mean time and mean velocity of the weighted line."""
    weight = 1.0 / _centre_error(part) ** 2
    share = weight / weight.sum()
    middle, v_middle = float((share * mjd).sum()), float((share * part["v"]).sum())
    spread = float((weight * (mjd - middle) ** 2).sum())
    if not spread > 0:
        return 0.0, middle, v_middle
    slope = float((weight * (mjd - middle) * (part["v"] - v_middle)).sum()) / spread
    return slope if abs(slope) > _SLOPE / np.sqrt(spread) else 0.0, middle, v_middle


def _centre_error(part: NDArray[np.void]) -> FloatArray:
    """Return the error of the velocities: the centre of a Gaussian is known to about 0.42 FWHM over its S/N."""
    return np.asarray(0.42 * part["fwhm"] / part["snr"])


def fit_track(hits: NDArray[np.void], group: IntArray, mjd: FloatArray) -> Track:
    """Combine the members of a group: inverse-variance depths, a line through the velocities."""
    part = hits[group]
    times = mjd[part["row"]]
    error = _centre_error(part)
    weight = 1.0 / error**2
    middle, v_middle = (float(np.average(values, weights=weight)) for values in (times, part["v"]))
    spread = float((weight * (times - middle) ** 2).sum())
    slope = float((weight * (times - middle) * (part["v"] - v_middle)).sum()) / spread if spread > 0 else 0.0
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
