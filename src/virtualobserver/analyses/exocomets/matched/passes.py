"""One pass of the filter over all spectra of a star: the bank with its floor, what it finds, and how deep it sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

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
from virtualobserver.analyses.exocomets.matched.starline import (
    MARGIN,
    MASK_REACH,
    StarLine,
    chunk_of,
    searched_reach,
)
from virtualobserver.analyses.exocomets.settings import ExocometsSettings
from virtualobserver.conventions import MAD_TO_SIGMA

__all__ = ["TAIL_START", "Searched", "bank_of", "calibrated", "filtered_pass", "reach_of", "velocity_cells"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
TAIL_START: Final = 3.0
"""S/N from which a peak of emission is looked at at all: below, peaks of noise are many."""
_CHUNK: Final = 256
"""Spectra filtered at a time; bounds the memory of stars with thousands of spectra."""
_CANDIDATE_SNR: Final = 7.0
"""S/N about which completeness is decided: candidates need 6 or so, and what the floor takes off goes on top."""
_MOST_PEAKS: Final = 12
"""Peaks of emission kept of a spectrum; of pure noise there are fewer above 3."""
_LOCAL: Final = 60.0
"""km/s; what is wider is as likely a residual of the continuum as a comet."""
_STRONG: Final = 5.0
"""S/N of a feature that is left out where the floor is measured: residuals of the continuum rarely are as strong."""
_CELL: Final = 50.0
"""km/s; sensitivity changes little within, but for the core, which has a cell of its own."""


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


def bank_of(lines: Sequence[StarLine], settings: ExocometsSettings) -> Bank:
    """Return the templates of all lines, on the pixels that are filtered."""
    reach = searched_reach(settings)
    return make_bank(
        [line.spectra.velocity[np.abs(line.spectra.velocity) <= reach] for line in lines],
        v_range=settings.velocity_range,
        widths=template_widths(settings.resolution, max(settings.widest, settings.resolution)),
        lag1=[line.noise.lag1 for line in lines],
    )


def calibrated(bank: Bank, lines: Sequence[StarLine], rows: IntArray) -> Bank:
    """Return the bank with the floor that the star's own spectra show: of each width, and of the zero level."""
    bank = with_floor(bank, np.zeros(bank.floor.shape))
    if rows.size == 0:
        return bank
    sample = rows[np.linspace(0, rows.size - 1, min(rows.size, 64)).astype(int)]
    chunks = [chunk_of(line, sample, reach_of(bank)) for line in lines]
    filtered = filter_chunk(bank, chunks)
    plain = [_plain(line, bank, filtered, chunk) for line, chunk in zip(lines, chunks, strict=True)]
    floor = measured_floor(bank, filter_chunk(bank, plain))[:, bank.width]
    for position, chunk in enumerate(chunks):
        floor[position] += _zero_variance(plain[position]) * _zero_answer(bank, position, chunk) ** 2
    return with_floor(bank, floor)


def filtered_pass(
    bank: Bank, lines: tuple[StarLine, ...], rows: IntArray, settings: ExocometsSettings
) -> Searched:
    """Filter all spectra against the present reference, and keep what stands out, up and down."""
    hits, where, heights = [np.zeros(0, HIT)], [np.zeros(0, np.int64)], [np.zeros(0)]
    templates = [np.zeros(0, np.int64)]
    cells = _cells(bank)
    depths = [np.zeros((0, cells.shape[1]), np.float32)]
    least = min(settings.member_snr, settings.snr_threshold)
    for part, chunks in _chunks(lines, rows, reach_of(bank)):
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


def reach_of(bank: Bank) -> float:
    """Return how far from the star pixels are filtered, km/s."""
    return float(np.abs(bank.v).max()) + MARGIN


def velocity_cells(bank: Bank) -> FloatArray:
    """Return the middles (km/s) of the cells in which sensitivity is kept: 50 km/s wide, one on the star."""
    low, high = float(bank.v.min()), float(bank.v.max())
    first, last = int(np.ceil(low / _CELL)), int(np.floor(high / _CELL))
    return np.asarray(np.arange(first, last + 1) * _CELL, dtype=np.float64)


def _chunks(
    lines: Sequence[StarLine], rows: IntArray, reach: float
) -> Iterator[tuple[IntArray, list[LineChunk]]]:
    for start in range(0, rows.size, _CHUNK):
        part = rows[start : start + _CHUNK]
        yield part, [chunk_of(line, part, reach) for line in lines]


def _plain(line: StarLine, bank: Bank, filtered: Filtered, chunk: LineChunk) -> LineChunk:
    """Return the chunk without the strongest feature of each spectrum, whichever way it goes.

    Of two nights one with a comet shows in all spectra, and is no floor.
    """
    size = np.where(bank.fwhm <= _LOCAL, np.abs(filtered.snr), 0.0)
    best = np.argmax(size, axis=1)
    strong = size[np.arange(len(size)), best] >= _STRONG
    velocity = line.spectra.velocity[np.abs(line.spectra.velocity) <= reach_of(bank)]
    near = np.abs(velocity - bank.v[best][:, None]) < MASK_REACH * bank.fwhm[best][:, None]
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


def _sober_at_threshold(bank: Bank, filtered: Filtered, spectra: int) -> NDArray[np.float32]:
    """Return what `gaussian_snr` leaves of features as strong as candidates have to be, shape (rows, templates)."""
    share = floor_shares(bank, filtered)
    factors = gaussian_snr(np.full(share.shape, _CANDIDATE_SNR), share, spectra) / _CANDIDATE_SNR
    return np.asarray(factors, dtype=np.float32)


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
