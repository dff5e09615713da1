"""One line of a star: spectra with noise and votes, the reference they are compared with, and depths in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.cosmics import without_hits
from virtualobserver.analyses.exocomets.matched.filter import LineChunk
from virtualobserver.analyses.exocomets.matched.lines import (
    LineSpectra,
    NoiseModel,
    fit_continuum,
    mask_spikes,
    median_spectrum,
    noise_model,
)
from virtualobserver.analyses.exocomets.matched.profiles import gaussian_profile
from virtualobserver.analyses.exocomets.matched.reference import (
    Reference,
    Votes,
    collect_votes,
    combine_clean,
    mean_reference,
    quantile_reference,
    voting_groups,
)
from virtualobserver.analyses.exocomets.settings import ExocometsSettings

__all__ = [
    "MARGIN",
    "MASK_REACH",
    "StarLine",
    "chunk_of",
    "forced_depth",
    "hide",
    "plain_line",
    "prepared",
    "referenced",
    "remade",
    "searched_reach",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Gaps = Sequence[tuple[float, float]]
MASK_REACH: Final = 1.25
"""Full widths on either side of a hit that leave the reference: a Gaussian is below 2 % there."""
MARGIN: Final = 100.0
"""km/s beyond the range searched that are filtered with it: half a template of the widest default, 150, and some."""


@dataclass(frozen=True, slots=True)
class StarLine:
    """One line of the star: spectra, noise, votes, reference and the pixels that are filtered."""

    spectra: LineSpectra
    noise: NoiseModel
    votes: Votes
    reference: Reference
    blocked: BoolArray

    @property
    def average(self) -> FloatArray:
        """Mean reference over all votes, shape (m,)."""
        return np.asarray(self.reference.flux.mean(axis=0))


def prepared(
    spectra: LineSpectra,
    group: IntArray,
    eras: IntArray,
    gaps: Gaps,
    settings: ExocometsSettings,
) -> StarLine:
    """Fit the continuum and the noise; twice, since each needs a median spectrum that the other has made straight."""
    fitted = spectra
    for _ in range(2):
        middle = median_spectrum(fitted)
        fitted = fit_continuum(
            spectra, middle, degree=settings.continuum_degree, side_bands=settings.side_bands, excluded=gaps
        )
    middle = median_spectrum(fitted)
    noise = noise_model(fitted, middle, side_bands=settings.side_bands)
    fitted = without_hits(fitted, noise, middle)
    blocked = np.zeros(spectra.velocity.size, dtype=bool)
    for low, high in gaps:
        blocked |= (spectra.velocity >= low) & (spectra.velocity <= high)
    blocked |= np.abs(spectra.velocity) > searched_reach(settings)
    votes = collect_votes(fitted, noise, group, eras)
    return StarLine(fitted, noise, votes, Reference(votes.mean, votes.mean, "mean"), blocked)


def referenced(line: StarLine, mode: str) -> StarLine:
    """Return a line with the reference of all its votes: their mean, or a quantile of them (`mode`)."""
    if mode == "quantile":
        return replace(line, reference=quantile_reference(line.votes, line.noise, line.spectra.velocity))
    return replace(line, reference=mean_reference(line.votes, line.noise))


def remade(line: StarLine, hidden: BoolArray, mode: str, *, split: bool = False) -> StarLine:
    """Make the reference again without the hidden pixels; with `split` a night that alone is quiet is its own."""
    clean = collect_votes(line.spectra, line.noise, line.votes.group, line.votes.era, hidden=hidden)
    if mode == "quantile":
        return replace(line, reference=combine_clean(line.reference, line.votes, clean, line.noise))
    reference = mean_reference(clean, line.noise)
    # Of two nights of a state one with a comet leaves none to compare the other with: the nights of the other
    # states then stand in. Where nothing is left of any vote the first reference stays.
    everywhere = mean_reference(replace(clean, era=np.zeros_like(clean.era)), line.noise)
    others = [everywhere, line.reference]
    if split:
        with np.errstate(divide="ignore"):
            variance = np.where(clean.information > 0, 1.0 / clean.information, np.inf)
        others.insert(1, Reference(clean.mean, variance, "mean"))
    for other in others:
        empty = ~np.isfinite(reference.variance)
        flux = np.where(empty, other.flux, reference.flux)
        reference = Reference(flux, np.where(empty, other.variance, reference.variance), "mean")
    return replace(line, reference=reference)


def hide(line: StarLine, hidden: BoolArray, rows: IntArray, v: FloatArray, fwhm: FloatArray) -> BoolArray:
    """Return `hidden` with the pixels of some features, one row, velocity and width each."""
    result = hidden.copy()
    velocity = line.spectra.velocity
    for row, centre, width in zip(rows, v, fwhm, strict=True):
        result[row] |= np.abs(velocity - centre) < MASK_REACH * width
    return result


def searched_reach(settings: ExocometsSettings) -> float:
    """Return how far from the star pixels are used, km/s."""
    low, high = settings.velocity_range
    return max(abs(low), abs(high)) + MARGIN


def chunk_of(line: StarLine, rows: IntArray, reach: float) -> LineChunk:
    """Return residual, reference and weight of some spectra on the pixels with |v| <= `reach` km/s."""
    inner = np.abs(line.spectra.velocity) <= reach
    vote = line.votes.group[rows]
    reference, variance = line.reference.flux[vote][:, inner], line.reference.variance[vote][:, inner]
    noise = line.noise
    factor = np.clip(noise.constant + noise.slope * np.clip(reference, 0.0, None), 1e-3, None)
    total = noise.sigma[rows, None] ** 2 * factor + variance
    residual = reference - line.spectra.flux[rows][:, inner]
    good = line.spectra.good[rows][:, inner] & np.isfinite(total) & ~line.blocked[inner]
    with np.errstate(invalid="ignore", divide="ignore"):
        good = mask_spikes(residual, np.sqrt(total), good)
        weight = np.where(good, 1.0 / total, 0.0)
    return LineChunk(
        np.where(good, residual, 0.0).astype(np.float32),
        np.clip(reference, 0.0, None).astype(np.float32),
        weight.astype(np.float32),
    )


def plain_line(
    spectra: LineSpectra, night: IntArray, era: IntArray, *, settings: ExocometsSettings
) -> StarLine:
    """Return a further line, e.g. of sodium, with noise and reference, to measure depths in."""
    group, eras = voting_groups(night, era, spectra.usable)
    return referenced(prepared(spectra, group, eras, (), settings), "mean")


def forced_depth(line: StarLine, rows: IntArray, *, v: float, fwhm: float) -> tuple[float, float]:
    """Return depth and error of a Gaussian at a given place, over some spectra; NaN where there is no pixel."""
    rows = rows[line.votes.group[rows] >= 0]
    if rows.size == 0:
        return float("nan"), float("nan")
    reach = abs(v) + 2.0 * fwhm
    chunk = chunk_of(line, rows, reach)
    velocity = line.spectra.velocity[np.abs(line.spectra.velocity) <= reach]
    template = chunk.reference * gaussian_profile(velocity, v, fwhm)
    information = float((template**2 * chunk.weight).sum()) / (1.0 + 2.0 * line.noise.lag1)
    if not information > 0:
        return float("nan"), float("nan")
    amount = float((template * chunk.weight * chunk.residual).sum()) / (1.0 + 2.0 * line.noise.lag1)
    return amount / information, information**-0.5
