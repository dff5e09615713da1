"""Nights told apart by two levels, where what goes up is a comet that the mean of the others holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.passes import Searched, calibrated, filtered_pass, reach_of
from virtualobserver.analyses.exocomets.matched.reference import Reference
from virtualobserver.analyses.exocomets.matched.split import Amplitudes, quiet_votes, share_name
from virtualobserver.analyses.exocomets.matched.starline import chunk_of, hide, remade
from virtualobserver.analyses.exocomets.settings import ExocometsSettings

__all__ = ["NARROW", "split_nights", "upward"]

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
NARROW: Final = 2.1
"""Resolutions; what goes up and is narrower is a hit, not the star's variation."""
_MOST_SPLITS: Final = 2
"""Velocities at which nights are told apart by two levels: a star that needs more varies everywhere."""
_SPLIT_REACH: Final = 1.6
"""Of the reach of a mask, where a comet is in so many nights that its wings are in the reference too."""
_LEFT_UP: Final = 0.2
"""Of the power of what goes up, that may be left where nights were told apart; of waves it is most."""
_FEWEST_UP: Final = 3
"""Features that go up, from which on a star varies both ways."""
_TYPICAL_RATIO: Final = 0.75
"""Depth in H over that in K between thin and thick gas, to tell nights apart by both lines."""


def upward(searched: Searched, settings: ExocometsSettings) -> BoolArray:
    """Return which sign-flipped features are significant and wider than a hit."""
    wide = searched.bank.fwhm[searched.emission_template] > NARROW * settings.resolution
    return np.asarray(wide & (searched.emission >= settings.snr_threshold))


def split_nights(
    first: Searched, hidden: list[BoolArray], settings: ExocometsSettings
) -> tuple[Searched, list[BoolArray], tuple[str, float | None]]:
    """Try to explain what goes up by a comet in nights that the mean of the others holds."""
    group, now, absorbed = first.lines[0].votes.group, first, set[int]()
    for _ in range(_MOST_SPLITS):
        up = np.flatnonzero(upward(now, settings))
        if up.size == 0:
            break
        template = now.emission_template[up[int(np.argmax(now.emission[up]))]]
        # The mean holds the comet for all quiet exposures alike: they go up together.
        here = (
            np.abs(first.bank.v[now.emission_template[up]] - first.bank.v[template])
            < first.bank.fwhm[template]
        )
        own = _absorbed(first, template, np.unique(now.emission_row[up[here]]), settings)
        if own.size == 0:
            break
        absorbed |= set(group[own].tolist())
        v, fwhm = (np.full(own.size, values[template]) for values in (first.bank.v, first.bank.fwhm))
        hidden = [
            hide(line, mask, own, v, _SPLIT_REACH * fwhm)
            for line, mask in zip(first.lines, hidden, strict=True)
        ]
        lines = tuple(
            remade(line, mask, "mean", split=True) for line, mask in zip(first.lines, hidden, strict=True)
        )
        now = filtered_pass(calibrated(first.bank, lines, first.rows), lines, first.rows, settings)
    power = [float((one.emission[upward(one, settings)] ** 2).sum()) for one in (first, now)]
    odds = 0.5 * (power[0] - power[1]) / np.log(10.0)
    # A hit or a wing may be left; what varies everywhere leaves most.
    left = int(np.count_nonzero(upward(now, settings)))
    if left >= _FEWEST_UP or power[1] > _LEFT_UP * power[0]:
        none = [np.zeros_like(mask) for mask in hidden]
        # A few features among many spectra are no reading of the star.
        few = np.count_nonzero(upward(first, settings)) < _FEWEST_UP
        return first, none, ("few" if few else "both ways", None)
    return now, hidden, (share_name(sorted(absorbed), int(np.unique(group[first.rows]).size)), odds)


def _absorbed(first: Searched, template: int, lifted: IntArray, settings: ExocometsSettings) -> IntArray:
    """Return the exposures on the lower of two levels, of the instrument states in which some go up.

    Each state has a mean of its own: what a comet in one of its two nights does is not seen in those of the others.
    """
    votes = first.lines[0].votes
    amplitudes = _amplitudes(first, template)
    own = [np.zeros(0, np.int64)]
    for state in np.unique(votes.era[votes.group[lifted]]):
        members = np.flatnonzero(votes.era == state)
        rows = first.rows[np.isin(votes.group[first.rows], members)]
        quiet = quiet_votes(
            amplitudes.of(np.isin(amplitudes.vote, members)),
            least=settings.snr_threshold,
            known=members.size < votes.era.size,
        )
        if quiet is None:
            continue
        calm = np.isin(votes.group[rows], quiet)
        if 2 * np.count_nonzero(np.isin(lifted, rows)) >= np.count_nonzero(calm):
            own.append(rows[~calm])
    return np.concatenate(own)


def _amplitudes(searched: Searched, template: int) -> Amplitudes:
    """Return the depth of one template in every exposure, against the mean of all of its instrument state."""
    bank, rows = searched.bank, searched.rows
    numerator, denominator = np.zeros(rows.size), np.zeros(rows.size)
    for position, line in enumerate(searched.lines):
        common = np.ones_like(line.votes.mean)
        for state in np.unique(line.votes.era):
            members = line.votes.era == state
            power = (line.votes.information[members] > 0).sum(axis=0)
            common[members] = np.where(
                power > 0, line.votes.mean[members].sum(axis=0) / np.maximum(power, 1), 1.0
            )
        whole = replace(line, reference=Reference(common, np.zeros_like(common), "mean"))
        chunk = chunk_of(whole, rows, reach_of(bank))
        shape = bank.lines[position][:, template]
        ratio = 1.0 if position == 0 else _TYPICAL_RATIO
        scale = ratio / float(bank.inflation[position][template])
        weighted = chunk.reference * chunk.weight * shape
        information = (weighted * chunk.reference * shape).sum(axis=1) * scale * ratio
        shrink = 1.0 / (1.0 + float(bank.floor[position][template]) * information / ratio**2)
        numerator += (weighted * chunk.residual).sum(axis=1) * scale * shrink
        denominator += information * shrink
    fine = denominator > 0
    vote = searched.lines[0].votes.group[rows][fine]
    return Amplitudes(numerator[fine] / denominator[fine], denominator[fine] ** -0.5, vote)
