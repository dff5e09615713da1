"""The whole search of one star: noise, reference, filter, second look without the events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.cosmics import without_hits
from virtualobserver.analyses.exocomets.matched.filter import (
    Bank,
    Filtered,
    LineChunk,
    emission_peaks,
    excess_variance,
    filter_chunk,
    floor_share,
    floor_shares,
    gaussian_snr,
    make_bank,
    measured_floor,
    template_widths,
    with_floor,
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
from virtualobserver.analyses.exocomets.matched.split import Amplitudes, quiet_votes, share_name
from virtualobserver.analyses.exocomets.settings import ExocometsSettings
from virtualobserver.conventions import MAD_TO_SIGMA

__all__ = [
    "NARROW",
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
_CANDIDATE_SNR: Final = 7.0
"""S/N about which completeness is decided: candidates need 6 or so, and what the floor takes off goes on top."""
_MOST_PEAKS: Final = 12
"""Peaks of emission kept of a spectrum; of pure noise there are fewer above 3."""
_MASK_REACH: Final = 1.25
"""Full widths on either side of a hit that leave the reference: a Gaussian is below 2 % there."""
_MOST_SPLITS: Final = 2
"""Velocities at which nights are told apart by two levels: a star that needs more varies everywhere."""
_LOCAL: Final = 60.0
"""km/s; what is wider is as likely a residual of the continuum as a comet."""
_STRONG: Final = 5.0
"""S/N of a feature that is left out where the floor is measured: residuals of the continuum rarely are as strong."""
_SPLIT_REACH: Final = 1.6
"""Of the reach of a mask, where a comet is in so many nights that its wings are in the reference too."""
_LEFT_UP: Final = 0.2
"""Of the power of what goes up, that may be left where nights were told apart; of waves it is most."""
_FEWEST_UP: Final = 3
"""Features that go up, from which on a star varies both ways."""
_TYPICAL_RATIO: Final = 0.75
"""Depth in H over that in K between thin and thick gas, to tell nights apart by both lines."""
NARROW: Final = 2.1
"""Resolutions; what goes up and is narrower is a hit, not the star's variation."""
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
    emission_row, emission_template, emission
        Spectrum, template and S/N of the sign-flipped features.
    sensitivity
        S/N of a comet of depth 1 in K and half of that in H, shape (rows, widths, velocities): means over the
        cells of `velocity_cells`; 0 where a cell was not searched.
    hypothesis, odds
        Nights in which the absorption that decided the reference was seen: ``few``, ``half`` or ``most``, or
        ``both ways`` where no such split explains what goes up; and log10 of how much likelier that is than the other
        reading, from what goes up under each.
    """

    lines: tuple[StarLine, ...]
    bank: Bank
    rows: IntArray
    hits: NDArray[np.void]
    emission_row: IntArray
    emission_template: IntArray
    emission: FloatArray
    sensitivity: NDArray[np.float32]
    mode: str
    hypothesis: str = "few"
    odds: float | None = None


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
    bank = _calibrated(bank, lines, rows)
    first = _pass(bank, lines, rows, settings)
    hypothesis: tuple[str, float | None] = ("most" if mode == "quantile" else "few", None)
    hidden = [np.zeros(line.spectra.flux.shape, dtype=bool) for line in prepared]
    if settings.reference == "auto" and _absorbs_often(first, night, settings):
        mode, hypothesis = "quantile", ("most", None)
        lines = tuple(_referenced(line, mode) for line in prepared)
        first = _pass(bank, lines, rows, settings)
    elif settings.reference == "auto" and _upward(first, settings).any():
        first, hidden, hypothesis = _split(first, hidden, settings)
    first = _settled(first, hidden, mode, hypothesis[0], settings)
    return replace(first, mode=mode, hypothesis=hypothesis[0], odds=hypothesis[1])


def _settled(
    first: Searched, hidden: list[BoolArray], mode: str, hypothesis: str, settings: ExocometsSettings
) -> Searched:
    """Search again with a reference that holds no event, as the first pass has found them.

    What goes up leaves it with what goes down: clipping one side alone would lift the reference and turn the noise
    of the others into absorption. A star that varies both ways keeps the reference of all.
    """
    strong = first.hits[first.hits["snr"] >= settings.snr_threshold]
    if strong.size == 0 or hypothesis == "both ways":
        return first
    up = np.flatnonzero(first.emission >= settings.snr_threshold)
    rows = np.concatenate([strong["row"], first.emission_row[up]])
    v = np.concatenate([strong["v"], first.bank.v[first.emission_template[up]]])
    fwhm = np.concatenate([strong["fwhm"], first.bank.fwhm[first.emission_template[up]]])
    hidden = [_hide(line, mask, rows, v, fwhm) for line, mask in zip(first.lines, hidden, strict=True)]
    lines = tuple(
        _second(line, mask, mode, split=hypothesis in ("half", "most") and mode == "mean")
        for line, mask in zip(first.lines, hidden, strict=True)
    )
    # Few events do not change the floor; measured again without them it would be that of the quietest spectra.
    bank = first.bank if hypothesis == "few" else _calibrated(first.bank, lines, first.rows)
    return _pass(bank, lines, first.rows, settings)


def _upward(searched: Searched, settings: ExocometsSettings) -> BoolArray:
    """Return which sign-flipped features are significant and wider than a hit."""
    wide = searched.bank.fwhm[searched.emission_template] > NARROW * settings.resolution
    return np.asarray(wide & (searched.emission >= settings.snr_threshold))


def _split(
    first: Searched, hidden: list[BoolArray], settings: ExocometsSettings
) -> tuple[Searched, list[BoolArray], tuple[str, float | None]]:
    """Try to explain what goes up by a comet in nights that the mean of the others holds."""
    group, now, absorbed = first.lines[0].votes.group, first, set[int]()
    for _ in range(_MOST_SPLITS):
        up = np.flatnonzero(_upward(now, settings))
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
            _hide(line, mask, own, v, _SPLIT_REACH * fwhm)
            for line, mask in zip(first.lines, hidden, strict=True)
        ]
        lines = tuple(
            _second(line, mask, "mean", split=True) for line, mask in zip(first.lines, hidden, strict=True)
        )
        now = _pass(_calibrated(first.bank, lines, first.rows), lines, first.rows, settings)
    power = [float((one.emission[_upward(one, settings)] ** 2).sum()) for one in (first, now)]
    odds = 0.5 * (power[0] - power[1]) / np.log(10.0)
    # A hit or a wing may be left; what varies everywhere leaves most.
    left = int(np.count_nonzero(_upward(now, settings)))
    if left >= _FEWEST_UP or power[1] > _LEFT_UP * power[0]:
        none = [np.zeros_like(mask) for mask in hidden]
        # A few features among many spectra are no reading of the star.
        few = np.count_nonzero(_upward(first, settings)) < _FEWEST_UP
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
        chunk = chunk_of(whole, rows, _reach(bank))
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


def _hide(line: StarLine, hidden: BoolArray, rows: IntArray, v: FloatArray, fwhm: FloatArray) -> BoolArray:
    """Return `hidden` with the pixels of some features, one row, velocity and width each."""
    result = hidden.copy()
    velocity = line.spectra.velocity
    for row, centre, width in zip(rows, v, fwhm, strict=True):
        result[row] |= np.abs(velocity - centre) < _MASK_REACH * width
    return result


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
    fitted = without_hits(fitted, noise, middle)
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


def _second(line: StarLine, hidden: BoolArray, mode: str, *, split: bool = False) -> StarLine:
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


def _calibrated(bank: Bank, lines: Sequence[StarLine], rows: IntArray) -> Bank:
    """Return the bank with the floor that the star's own spectra show: of each width, and of the zero level."""
    bank = with_floor(bank, np.zeros(bank.floor.shape))
    if rows.size == 0:
        return bank
    sample = rows[np.linspace(0, rows.size - 1, min(rows.size, 64)).astype(int)]
    chunks = [chunk_of(line, sample, _reach(bank)) for line in lines]
    filtered = filter_chunk(bank, chunks)
    plain = [_plain(line, bank, filtered, chunk) for line, chunk in zip(lines, chunks, strict=True)]
    floor = measured_floor(bank, filter_chunk(bank, plain))[:, bank.width]
    for position, chunk in enumerate(chunks):
        floor[position] += _zero_variance(plain[position]) * _zero_answer(bank, position, chunk) ** 2
    return with_floor(bank, floor)


def _plain(line: StarLine, bank: Bank, filtered: Filtered, chunk: LineChunk) -> LineChunk:
    """Return the chunk without the strongest feature of each spectrum, whichever way it goes.

    Of two nights one with a comet shows in all spectra, and is no floor.
    """
    size = np.where(bank.fwhm <= _LOCAL, np.abs(filtered.snr), 0.0)
    best = np.argmax(size, axis=1)
    strong = size[np.arange(len(size)), best] >= _STRONG
    velocity = line.spectra.velocity[np.abs(line.spectra.velocity) <= _reach(bank)]
    near = np.abs(velocity - bank.v[best][:, None]) < _MASK_REACH * bank.fwhm[best][:, None]
    return replace(chunk, weight=np.where(near & strong[:, None], np.float32(0), chunk.weight))


def _zero_variance(chunk: LineChunk) -> float:
    """Return the variance of the zero level of the spectra.

    Light that is wrongly subtracted, or not, changes a spectrum by (1 - R) once its continuum is 1 again.
    """
    shape = np.clip(1.0 - chunk.reference, 0.0, 1.0)
    information = (chunk.weight * shape**2).sum(axis=1, dtype=np.float64)
    fine = information > 0
    if not fine.any():
        return 0.0
    levels = (chunk.weight * shape * chunk.residual).sum(axis=1, dtype=np.float64)[fine] / information[fine]
    scatter = MAD_TO_SIGMA * float(np.median(np.abs(levels)))
    return excess_variance(scatter, float(np.median(1.0 / information[fine])), levels.size)


def _zero_answer(bank: Bank, position: int, chunk: LineChunk) -> FloatArray:
    """Return the depth that each template takes a zero level of 1 for, shape (c,)."""
    reference, weight = chunk.reference.mean(axis=0), chunk.weight.mean(axis=0)
    shape = np.clip(1.0 - reference, 0.0, 1.0)
    power = (weight * reference**2) @ bank.squares[position]
    answer = (weight * reference * shape) @ bank.lines[position]
    known = power > 1e-3 * power.max(initial=0.0)
    return np.where(known, answer / np.where(known, power, 1.0), 0.0)


def _pass(bank: Bank, lines: tuple[StarLine, ...], rows: IntArray, settings: ExocometsSettings) -> Searched:
    hits, where, heights = [np.zeros(0, HIT)], [np.zeros(0, np.int64)], [np.zeros(0)]
    templates = [np.zeros(0, np.int64)]
    cells = _cells(bank)
    depths = [np.zeros((0, cells.shape[1]), np.float32)]
    least = min(settings.member_snr, settings.snr_threshold)
    for part, chunks in _chunks(lines, rows, _reach(bank)):
        filtered = filter_chunk(bank, chunks)
        found = strongest_hits(
            bank,
            chunks,
            filtered,
            least=least,
            subtract=settings.snr_threshold,
            most=settings.max_events_per_spectrum,
        )
        share = floor_share(bank, filtered, found["row"], found["template"])
        found["snr"] = gaussian_snr(found["snr"].astype(np.float64), share, rows.size)
        found = found[found["snr"] >= least]
        found["row"] = part[found["row"]]
        hits.append(found)
        at, template, height = emission_peaks(bank, filtered, least=TAIL_START, most=_MOST_PEAKS)
        height = gaussian_snr(height, floor_share(bank, filtered, at, template), rows.size)
        high = height >= TAIL_START
        at, template, height = at[high], template[high], height[high]
        where.append(part[at])
        templates.append(template)
        heights.append(height)
        # A thin comet: half its depth in K shows in H.
        information = filtered.denominator[0].copy()
        if len(filtered.denominator) > 1:
            information += 0.25 * filtered.denominator[1]
        depths.append((np.sqrt(information) * _sober_at_threshold(bank, filtered, rows.size)) @ cells)
    return Searched(
        lines,
        bank,
        rows,
        np.concatenate(hits),
        np.concatenate(where),
        np.concatenate(templates),
        np.concatenate(heights),
        np.concatenate(depths).reshape(rows.size, int(bank.width.max()) + 1, velocity_cells(bank).size),
        "mean",
    )


def _sober_at_threshold(bank: Bank, filtered: Filtered, spectra: int) -> NDArray[np.float32]:
    """Return what `gaussian_snr` leaves of features as strong as candidates have to be, shape (rows, templates)."""
    share = floor_shares(bank, filtered)
    factors = gaussian_snr(np.full(share.shape, _CANDIDATE_SNR), share, spectra) / _CANDIDATE_SNR
    return np.asarray(factors, dtype=np.float32)


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
