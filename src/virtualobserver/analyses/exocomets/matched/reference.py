"""The star without comets: a reference spectrum per instrument state in which every night has one vote.

Each spectrum is compared with the reference of all *other* nights, so that an event never hides itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.lines import LineSpectra, NoiseModel
from virtualobserver.conventions import MAD_TO_SIGMA

__all__ = ["Reference", "Votes", "collect_votes", "mean_reference", "quantile_reference", "voting_groups"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Mode = Literal["mean", "quantile"]

_CLIP: Final = 4.0
"""Standard deviations; a comet shallower than that in a night hardly moves the mean of many."""
_FEWEST_VOTES: Final = 3
"""With three votes, one of them wrong, the median still is right."""
_UPPER: Final = 0.975
"""The percentile of `quantile_reference`, which names its source."""
_FAR: Final = 150.0
"""km/s; beyond there are few comets, as the text of `quantile_reference` says."""
_LEAST_CLEAN: Final = 0.2
"""Part of the votes of an instrument state that have to be free of features at a pixel. Chosen, not tuned."""


@dataclass(frozen=True, slots=True)
class Votes:
    """Mean spectrum of each night; g = votes, m = pixels.

    ``group`` is the vote of each spectrum, -1 for those without one; ``era`` the instrument state of each vote.
    ``information`` is the inverse variance of the mean at a continuum of 1.
    """

    group: IntArray
    era: IntArray
    mean: FloatArray
    information: FloatArray


@dataclass(frozen=True, slots=True)
class Reference:
    """Spectrum that each vote is compared with, and the variance it brings; shape (g, m) each.

    ``information`` is 0 where no other vote has data.
    """

    flux: FloatArray
    variance: FloatArray
    mode: Mode


def voting_groups(night: IntArray, era: IntArray, usable: BoolArray) -> tuple[IntArray, IntArray]:
    """Return the vote of each spectrum (-1 = none) and the instrument state of each vote.

    A night is one vote. An instrument state seen in one night only, in which a comet that stays all night would
    be compared with itself, and one with fewer than three spectra join the nearest other state. Where there is
    none, each spectrum of a single night has a vote.
    """
    era = era.copy()
    states, counts = np.unique(era[usable], return_counts=True)
    nights = np.array([np.unique(night[usable & (era == state)]).size for state in states])
    alone = (nights == 1) | (counts < _FEWEST_VOTES)
    large = states[~alone]
    if large.size:
        for state in states[alone]:
            era[era == state] = large[int(np.argmin(np.abs(large - state)))]
    group = np.full(len(night), -1, dtype=np.int64)
    eras: list[int] = []
    for state in np.unique(era[usable]):
        rows = np.flatnonzero(usable & (era == state))
        nights = np.unique(night[rows])
        labels = (
            np.searchsorted(nights, night[rows]) if nights.size > 1 else np.arange(rows.size, dtype=np.int64)
        )
        group[rows] = labels + len(eras)
        eras += [int(state)] * int(labels.max() + 1)
    return group, np.asarray(eras, dtype=np.int64)


def collect_votes(
    lines: LineSpectra,
    noise: NoiseModel,
    group: IntArray,
    era: IntArray,
    *,
    hidden: BoolArray | None = None,
) -> Votes:
    """Average the spectra of each vote with inverse-variance weights.

    Parameters
    ----------
    hidden
        Pixels of detected events, shape (n, m), which do not vote.
    """
    m = lines.velocity.size
    mean, information = np.zeros((era.size, m)), np.zeros((era.size, m))
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(era.size + 1))
    for vote in range(era.size):
        rows = order[bounds[vote] : bounds[vote + 1]]
        good = lines.good[rows] if hidden is None else lines.good[rows] & ~hidden[rows]
        weight = good / (noise.sigma[rows] ** 2)[:, None]
        total = weight.sum(axis=0)
        information[vote] = total
        mean[vote] = np.divide(
            (weight * lines.flux[rows]).sum(axis=0), total, out=np.zeros(m), where=total > 0
        )
    return Votes(group, era, mean, information)


def mean_reference(votes: Votes, noise: NoiseModel) -> Reference:
    """Return the robust weighted mean of all other votes of the same instrument state.

    A vote weighs at most as much as the median vote, so that a night of many spectra has one vote, and a
    noisy night less. Votes 4 sigma off the median of all are left out at that pixel.
    """
    flux, variance = np.ones_like(votes.mean), np.zeros_like(votes.mean)
    for state in np.unique(votes.era):
        members = np.flatnonzero(votes.era == state)
        flux[members], variance[members] = _leave_one_out(
            votes.mean[members], votes.information[members], noise
        )
    return Reference(flux, variance, "mean")


def _leave_one_out(
    mean: FloatArray, information: FloatArray, noise: NoiseModel
) -> tuple[FloatArray, FloatArray]:
    known = information > 0
    # The median over votes without those that have no data at a pixel.
    middle = _column_median(mean, known)
    factor = np.clip(noise.constant + noise.slope * np.clip(middle, 0.0, None), 1e-3, None)
    with np.errstate(divide="ignore"):
        own = np.where(known, factor / information, np.inf)
    weight = np.where(known, 1.0 / own, 0.0)
    cap = _column_median(weight, known)
    weight = np.minimum(weight, cap)
    if len(mean) > _FEWEST_VOTES:
        with np.errstate(invalid="ignore"):
            off = np.abs(mean - middle) > _CLIP * np.sqrt(own + _column_median(own, known) / len(mean))
        weight[off & known] = 0.0
    total, power = weight.sum(axis=0), weight * mean
    squares = np.where(known, weight**2 * np.where(known, own, 0.0), 0.0)
    left = total - weight
    tiny = left <= 1e-6 * np.maximum(total, 1e-30)
    with np.errstate(all="ignore"):
        flux = (power.sum(axis=0) - power) / left
        variance = (squares.sum(axis=0) - squares) / left**2
    return np.where(tiny, middle, flux), np.where(tiny, np.inf, np.clip(variance, 0.0, None))


def quantile_reference(votes: Votes, noise: NoiseModel, velocity: FloatArray) -> Reference:
    """Return the upper envelope of the votes, for a star that absorbs in many nights.

    The 97.5th percentile lies above the true spectrum by a multiple of the noise; the multiple is measured
    where |v| > 150 km/s, where there are few comets. As done for beta Pic by Kennedy (2018, MNRAS 479, 1997).
    """
    flux, variance = np.ones_like(votes.mean), np.zeros_like(votes.mean)
    far = np.abs(velocity) > _FAR
    for state in np.unique(votes.era):
        members = np.flatnonzero(votes.era == state)
        mean, information = votes.mean[members], votes.information[members]
        known = information > 0
        middle = _column_median(mean, known)
        factor = np.clip(noise.constant + noise.slope * np.clip(middle, 0.0, None), 1e-3, None)
        upper = (
            np.nanquantile(np.where(known, mean, np.nan), _UPPER, axis=0)
            if known.all(axis=0).any()
            else middle
        )
        upper = np.where(np.isfinite(upper), upper, middle)
        typical = np.sqrt(factor / np.clip(_column_median(information, known), 1e-30, None))
        excess = float(np.median((upper - middle)[far] / typical[far])) if far.any() else 0.0
        envelope = upper - excess * typical
        spread = (
            float(np.median(np.abs(envelope - middle)[far] / typical[far])) * MAD_TO_SIGMA
            if far.any()
            else 1.0
        )
        flux[members] = envelope
        variance[members] = (np.hypot(spread, 1.0 / np.sqrt(len(members))) * typical) ** 2
    return Reference(flux, variance, "quantile")


def combine_clean(envelope: Reference, votes: Votes, clean: Votes, noise: NoiseModel) -> Reference:
    """Replace the envelope by the mean of votes without detected events, where enough of them are left.

    Of those of the same instrument state, or else of all states.

    Parameters
    ----------
    votes, clean
        With all pixels, and without those of detected events.
    """
    flux, variance = envelope.flux.copy(), envelope.variance.copy()
    clear = clean.information > 0.3 * votes.information
    # All states first, each by itself afterwards, so that the nearer comparison has the last word.
    together = np.zeros_like(votes.era)
    for era in (together, votes.era):
        better = mean_reference(replace(clean, era=era), noise)
        for state in np.unique(era):
            members = np.flatnonzero(era == state)
            enough = clear[members].sum(axis=0) >= max(_FEWEST_VOTES, _LEAST_CLEAN * members.size)
            for row in members:
                flux[row, enough] = better.flux[row, enough]
                variance[row, enough] = better.variance[row, enough]
    return Reference(flux, variance, envelope.mode)


def _column_median(values: FloatArray, known: BoolArray) -> FloatArray:
    """Return the median of the known values of each column; 0 where there is none."""
    if known.all():
        return np.asarray(np.median(values, axis=0))
    ordered = np.sort(np.where(known, values, np.inf), axis=0)
    count = known.sum(axis=0)
    columns = np.arange(values.shape[1])
    low, high = np.maximum(count - 1, 0) // 2, np.maximum(count, 1) // 2
    high = np.minimum(high, len(values) - 1)
    middle = 0.5 * (ordered[low, columns] + ordered[high, columns])
    return np.where(count > 0, middle, 0.0)
