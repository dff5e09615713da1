"""The whole search of one star: noise, reference, filter, second look without the events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.filter import (
    Bank,
    LineChunk,
    emission_peaks,
    filter_chunk,
    make_bank,
    rescaled,
    scale_factors,
    template_widths,
)
from virtualobserver.analyses.exocomets.matched.hits import HIT, strongest_hits
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
    "TAIL_START",
    "Searched",
    "StarLine",
    "chunk_of",
    "forced_depth",
    "plain_line",
    "search_star",
    "velocity_cells",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Gaps = Sequence[tuple[float, float]]

_CHUNK: Final = 256
"""Spectra filtered at a time; bounds the memory of stars with thousands of spectra."""
TAIL_START: Final = 3.0
"""S/N from which a peak of emission is looked at at all: below, peaks of noise are many."""
_MOST_PEAKS: Final = 12
"""Peaks of emission kept of a spectrum; of pure noise there are fewer above 3."""
_MASK_REACH: Final = 1.25
"""Full widths on either side of a hit that leave the reference: a Gaussian is below 2 % there."""
_CELL: Final = 50.0
"""km/s; sensitivity changes little within, but for the core, which has a cell of its own."""
_MARGIN: Final = 100.0
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


@dataclass(frozen=True, slots=True)
class Searched:
    """What the filter saw in one star; n = spectra.

    Parameters
    ----------
    rows
        Spectra that were searched.
    hits
        Absorption features of at least the member S/N, dtype `HIT`; ``row`` counts all n spectra.
    emission_row, emission
        Spectrum and S/N of the sign-flipped features.
    sensitivity
        S/N of a comet of depth 1 in K and half of that in H, shape (rows, widths, velocities): means over the
        cells of `velocity_cells`; 0 where a cell was not searched.
    """

    lines: tuple[StarLine, ...]
    bank: Bank
    rows: IntArray
    hits: NDArray[np.void]
    emission_row: IntArray
    emission: FloatArray
    sensitivity: NDArray[np.float32]
    mode: str
    factors: FloatArray


def search_star(
    spectra: Sequence[LineSpectra],
    night: IntArray,
    era: IntArray,
    *,
    settings: ExocometsSettings,
    gaps: Sequence[Gaps] = (),
) -> Searched:
    """Search all spectra of a star in one line or in K and H jointly.

    Parameters
    ----------
    spectra
        K, or K and H, or H alone: the same spectra in each, on its own pixels.
    night, era
        Night and instrument state of each spectrum, shape (n,).
    settings
        Of the analysis; ``resolution`` is that of these spectra.
    gaps
        For each of `spectra` the ranges that are not searched, km/s.

    Notes
    -----
    A first pass finds the strong features; their pixels then leave the reference, and a second pass measures.
    """
    usable = np.logical_and.reduce([one.usable for one in spectra])
    group, eras = voting_groups(night, era, usable)
    prepared = []
    for position, one in enumerate(spectra):
        prepared.append(_prepared(one, group, eras, gaps[position] if gaps else (), settings))
    usable &= np.logical_and.reduce([np.isfinite(line.noise.sigma) for line in prepared])
    alone = np.bincount(group[group >= 0], minlength=eras.size) if eras.size else np.zeros(0)
    rows = np.flatnonzero(usable & (group >= 0)) if np.count_nonzero(alone) > 1 else np.zeros(0, np.int64)
    bank = _bank(prepared, settings)
    mode = "quantile" if settings.reference == "quantile" else "mean"
    lines = tuple(_referenced(line, mode) for line in prepared)
    bank, factors = _calibrated(bank, lines, rows)
    first = _pass(bank, lines, rows, settings)
    if settings.reference == "auto" and _absorbs_often(first, night, settings):
        mode = "quantile"
        lines = tuple(_referenced(line, mode) for line in prepared)
        first = _pass(bank, lines, rows, settings)
    if (first.hits["snr"] >= settings.snr_threshold).any():
        lines = tuple(
            _second(line, first.hits[first.hits["snr"] >= settings.snr_threshold], mode) for line in lines
        )
        bank, factors = _calibrated(_bank(prepared, settings), lines, rows)
        first = _pass(bank, lines, rows, settings)
    return replace(first, mode=mode, factors=factors)


def _prepared(
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
    blocked = np.zeros(spectra.velocity.size, dtype=bool)
    for low, high in gaps:
        blocked |= (spectra.velocity >= low) & (spectra.velocity <= high)
    blocked |= np.abs(spectra.velocity) > _searched_reach(settings)
    votes = collect_votes(fitted, noise, group, eras)
    return StarLine(fitted, noise, votes, Reference(votes.mean, votes.mean, "mean"), blocked)


def _referenced(line: StarLine, mode: str) -> StarLine:
    if mode == "quantile":
        return replace(line, reference=quantile_reference(line.votes, line.noise, line.spectra.velocity))
    return replace(line, reference=mean_reference(line.votes, line.noise))


def _second(line: StarLine, hits: NDArray[np.void], mode: str) -> StarLine:
    hidden = np.zeros(line.spectra.flux.shape, dtype=bool)
    v = line.spectra.velocity
    for hit in hits:
        hidden[hit["row"]] |= np.abs(v - hit["v"]) < _MASK_REACH * hit["fwhm"]
    clean = collect_votes(line.spectra, line.noise, line.votes.group, line.votes.era, hidden=hidden)
    if mode == "quantile":
        return replace(line, reference=combine_clean(line.reference, line.votes, clean, line.noise))
    reference = mean_reference(clean, line.noise)
    # Of two nights of a state one with a comet leaves none to compare the other with: the nights of the other
    # states then stand in. Where nothing is left of any vote the first reference stays.
    everywhere = mean_reference(replace(clean, era=np.zeros_like(clean.era)), line.noise)
    for other in (everywhere, line.reference):
        empty = ~(np.isfinite(reference.variance) & (clean.information.sum(axis=0) > 0))
        flux = np.where(empty, other.flux, reference.flux)
        reference = Reference(flux, np.where(empty, other.variance, reference.variance), "mean")
    return replace(line, reference=reference)


def plain_line(
    spectra: LineSpectra, night: IntArray, era: IntArray, *, settings: ExocometsSettings
) -> StarLine:
    """Return a further line, e.g. of sodium, with noise and reference, to measure depths in."""
    group, eras = voting_groups(night, era, spectra.usable)
    return _referenced(_prepared(spectra, group, eras, (), settings), "mean")


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


def _bank(lines: Sequence[StarLine], settings: ExocometsSettings) -> Bank:
    reach = _searched_reach(settings)
    return make_bank(
        [line.spectra.velocity[np.abs(line.spectra.velocity) <= reach] for line in lines],
        v_range=settings.velocity_range,
        widths=template_widths(settings.resolution, max(settings.widest, settings.resolution)),
        lag1=[line.noise.lag1 for line in lines],
    )


def _searched_reach(settings: ExocometsSettings) -> float:
    low, high = settings.velocity_range
    return max(abs(low), abs(high)) + _MARGIN


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


def _chunks(
    lines: Sequence[StarLine], rows: IntArray, reach: float
) -> Iterator[tuple[IntArray, list[LineChunk]]]:
    for start in range(0, rows.size, _CHUNK):
        part = rows[start : start + _CHUNK]
        yield part, [chunk_of(line, part, reach) for line in lines]


def _reach(bank: Bank) -> float:
    return float(np.abs(bank.v).max()) + _MARGIN


def _calibrated(bank: Bank, lines: Sequence[StarLine], rows: IntArray) -> tuple[Bank, FloatArray]:
    if rows.size == 0:
        return bank, np.ones(int(bank.width.max()) + 1)
    sample = rows[np.linspace(0, rows.size - 1, min(rows.size, 64)).astype(int)]
    filtered = filter_chunk(bank, [chunk_of(line, sample, _reach(bank)) for line in lines])
    factors = scale_factors(bank, filtered)
    return rescaled(bank, factors), factors


def _pass(bank: Bank, lines: tuple[StarLine, ...], rows: IntArray, settings: ExocometsSettings) -> Searched:
    hits, where, heights = [np.zeros(0, HIT)], [np.zeros(0, np.int64)], [np.zeros(0)]
    cells = _cells(bank)
    depths = [np.zeros((0, cells.shape[1]), np.float32)]
    for part, chunks in _chunks(lines, rows, _reach(bank)):
        filtered = filter_chunk(bank, chunks)
        found = strongest_hits(
            bank,
            chunks,
            filtered,
            least=min(settings.member_snr, settings.snr_threshold),
            subtract=settings.snr_threshold,
            most=settings.max_events_per_spectrum,
        )
        found["row"] = part[found["row"]]
        hits.append(found)
        at, height = emission_peaks(bank, filtered, least=TAIL_START, most=_MOST_PEAKS)
        where.append(part[at])
        heights.append(height)
        # A thin comet: half its depth in K shows in H.
        information = filtered.denominator[0].copy()
        if len(filtered.denominator) > 1:
            information += 0.25 * filtered.denominator[1]
        depths.append(np.sqrt(information) @ cells)
    return Searched(
        lines,
        bank,
        rows,
        np.concatenate(hits),
        np.concatenate(where),
        np.concatenate(heights),
        np.concatenate(depths).reshape(rows.size, int(bank.width.max()) + 1, velocity_cells(bank).size),
        "mean",
        np.ones(0),
    )


def velocity_cells(bank: Bank) -> FloatArray:
    """Return the middles (km/s) of the cells in which sensitivity is kept: 50 km/s wide, one on the star."""
    low, high = float(bank.v.min()), float(bank.v.max())
    first, last = int(np.ceil(low / _CELL)), int(np.floor(high / _CELL))
    return np.asarray(np.arange(first, last + 1) * _CELL, dtype=np.float64)


def _cells(bank: Bank) -> NDArray[np.float32]:
    """Return the matrix that averages templates into cells of width and velocity."""
    middles = velocity_cells(bank)
    nearest = np.argmin(np.abs(bank.v[:, None] - middles), axis=1)
    column = bank.width * middles.size + nearest
    matrix = np.zeros((bank.v.size, (int(bank.width.max()) + 1) * middles.size), np.float32)
    matrix[np.arange(bank.v.size), column] = 1.0
    # A wide template has fewer centres than there are cells: an empty cell takes those of its neighbours.
    for empty in np.flatnonzero(matrix.sum(axis=0) == 0):
        same = np.flatnonzero(bank.width == empty // middles.size)
        matrix[same[np.argmin(np.abs(bank.v[same] - middles[empty % middles.size]))], empty] = 1.0
    return np.asarray(matrix / matrix.sum(axis=0))


def _absorbs_often(first: Searched, night: IntArray, settings: ExocometsSettings) -> bool:
    """Whether events are so frequent, and so one-sided, that the mean of the nights holds them."""
    strong = first.hits[first.hits["snr"] >= settings.snr_threshold]
    nights = np.unique(night[first.rows]).size
    absorbed = np.unique(night[strong["row"]]).size
    emitted = np.unique(night[first.emission_row[first.emission >= settings.snr_threshold]]).size
    return nights >= 5 and absorbed >= max(3, settings.frequent * nights) and absorbed >= 2 * emitted
