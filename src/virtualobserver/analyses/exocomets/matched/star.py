"""The sound search: one star, K and H jointly, events with features and class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from virtualobserver.analyses.exocomets.matched.features import (
    ShiftFit,
    emission_core,
    fit_shifts,
    principal_component,
)
from virtualobserver.analyses.exocomets.matched.levels import NARROW
from virtualobserver.analyses.exocomets.matched.lines import LineSpectra, line_spectra, velocity_of
from virtualobserver.analyses.exocomets.matched.passes import TAIL_START, Searched
from virtualobserver.analyses.exocomets.matched.search import search_star
from virtualobserver.analyses.exocomets.matched.starline import chunk_of
from virtualobserver.analyses.exocomets.matched.tracks import NullTail, Track, fit_track, link_hits, null_tail
from virtualobserver.analyses.exocomets.settings import ExocometsSettings
from virtualobserver.analyses.exocomets.stars import Star, StarSet, duplicates
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import RecordDict

__all__ = ["Found", "StarSearch", "line_of_set", "search_matched"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_HEPSILON: Final = 3970.0788
"""Air wavelength of the Balmer line epsilon, Angstrom."""
_NEAR_CORE: Final = 150.0
"""km/s; the core of the line with the reach of activity where v sin i is unknown (setting `activity_core`)."""
_EMISSION: Final = 5.0
"""S/N from which features count for the balance of emission and absorption: that of events by default."""


@dataclass(frozen=True, slots=True)
class Found:
    """One event: the track and its features, which are the parameters of the detection."""

    track: Track
    features: RecordDict


@dataclass(frozen=True, slots=True)
class StarSearch:
    """All that was worked out for one star.

    ``tail`` is the star's own false-alarm model; ``threshold`` the S/N that an event needs against noise as the
    errors say, ``candidate`` the one it needs against the star's own variation; ``settings`` have the resolution of the
    star's spectra.
    """

    star: Star
    spectra: tuple[LineSpectra, ...]
    searched: Searched
    tail: NullTail
    threshold: float
    candidate: float
    tracks: tuple[Track, ...]
    features: RecordDict
    settings: ExocometsSettings
    reasons: dict[int, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Lines that were searched, ``K`` first."""
        return tuple(one.line for one in self.star.sets)


def search_matched(star: Star, settings: ExocometsSettings) -> StarSearch:
    """Search one star and measure what its class depends on."""
    if star.lsf is not None:
        settings = settings.model_copy(update={"resolution": star.lsf})
    spectra = tuple(line_of_set(one, star, settings) for one in star.sets)
    spectra, reasons = _judged(spectra, star)
    searched = search_star(
        spectra,
        star.exposures.night,
        star.exposures.era,
        settings=settings,
        gaps=[_gaps(one, settings) for one in star.sets],
    )
    night = star.exposures.night
    narrow = searched.bank.fwhm[searched.emission_template] <= NARROW * settings.resolution
    # What is so narrow, and so high, is a hit that the mask has missed: it goes up only.
    peaks = searched.emission[~(narrow & (searched.emission > _EMISSION))]
    tail, gaussian = (null_tail(peaks, start=TAIL_START, gaussian=plain) for plain in (False, True))
    threshold = _threshold(gaussian, settings)
    candidate = max(_threshold(tail, settings), threshold)
    tracks = []
    if (searched.hits["snr"] >= threshold).any():
        groups = link_hits(searched.hits, star.exposures.mjd, night, seed_snr=threshold)
        tracks = [fit_track(searched.hits, group, star.exposures.mjd) for group in groups]
        tracks = tracks[: settings.max_events_per_star]
    features = _star_features(star, searched, settings)
    return StarSearch(
        star, spectra, searched, tail, threshold, candidate, tuple(tracks), features, settings, reasons
    )


def _threshold(tail: NullTail, settings: ExocometsSettings) -> float:
    """Return the S/N from which on the false-alarm probability is small enough, at least the one set."""
    # finer than any S/N is known
    grid = np.concatenate([np.arange(0.0, 10.0, 0.02), np.geomspace(10.0, 1000.0, 500)])
    grid = np.maximum(grid, settings.snr_threshold)
    fine = tail.probability(grid) <= settings.max_fap
    return float(grid[int(np.argmax(fine))]) if fine.any() else float(grid[-1])


def line_of_set(one: StarSet, star: Star, settings: ExocometsSettings) -> LineSpectra:
    """Return the spectra of one line in the star's frame, in units of the continuum."""
    data, epochs = one.data, one.data.epochs
    whole = one.rows.size == len(data) and bool((np.diff(one.rows) == 1).all())
    rows: slice | Array = slice(None) if whole else one.rows
    continuum = None
    if all(name in epochs for name in ("c0", "c1", "c2")):
        continuum = np.stack(
            [np.asarray(epochs[name], dtype=np.float64)[rows] for name in ("c0", "c1", "c2")], axis=1
        )
    return line_spectra(
        data.wave,
        data.flux[rows],
        data.mask[rows],
        rest=one.rest,
        v_star=star.v_star,
        side_bands=settings.side_bands,
        continuum=continuum,
    )


def _judged(spectra: tuple[LineSpectra, ...], star: Star) -> tuple[tuple[LineSpectra, ...], dict[int, str]]:
    """Take out spectra that are empty, cut or repeated, and say why."""
    reasons = dict(star.exposures.reasons)
    kept = star.exposures.kept.copy()
    names = [one.line for one in star.sets]
    for name, one in zip(names, spectra, strict=True):
        for row in np.flatnonzero(kept & ~one.usable):
            reasons.setdefault(int(row), f"no usable signal in {name}")
        kept &= one.usable
    for row in duplicates(spectra[0].flux, star.exposures.mjd, kept):
        kept[row] = False
        reasons[int(row)] = "repeats an earlier exposure"
    return (
        tuple(LineSpectra(one.velocity, one.flux, one.good, one.usable & kept, one.rest) for one in spectra),
        reasons,
    )


def _gaps(one: StarSet, settings: ExocometsSettings) -> tuple[tuple[float, float], ...]:
    if one.line != "H" or settings.hepsilon == 0:
        return ()
    centre = float(velocity_of(_HEPSILON, one.rest))
    return ((centre - settings.hepsilon, centre + settings.hepsilon),)


def _star_features(star: Star, searched: Searched, settings: ExocometsSettings) -> RecordDict:
    """Return the numbers of a star that classes depend on; shifts and components are those of the first line."""
    lines = searched.lines
    best = [
        emission_core(line.spectra.velocity, line.average) if line.votes.era.size else 0.0 for line in lines
    ]
    balance = _balance(star, searched, settings)
    shifts = _shifts(searched)
    component = None
    if searched.rows.size >= 3:
        rows = searched.rows
        if rows.size > 120:
            rows = rows[np.linspace(0, rows.size - 1, 120).astype(int)]
        component = principal_component(chunk_of(lines[0], rows, _NEAR_CORE))
    header = star.exposures.rv[searched.rows]
    header = header[np.isfinite(header)]
    return {
        "v_star": star.v_star,
        "v_star_known": star.v_known,
        "vsini": star.vsini,
        "hypothesis": searched.hypothesis,
        "emission_core": max(best),
        **balance,
        "rv_scatter": shifts.scatter,
        "shift_share": shifts.share,
        "variability": shifts.excess,
        "rv_header_scatter": float(np.std(header)) if header.size >= 3 else None,
        "pc_share": component.share if component else 0.0,
        "pc_significance": component.significance if component else 0.0,
    }


def _balance(star: Star, searched: Searched, settings: ExocometsSettings) -> RecordDict:
    """Return how many features go up and down where the star's own variation lies, and how many would go up anyway.

    What goes up farther out has nothing to do with the star: its number, for the same stretch of velocities, is what
    hits and noise make here. Features as narrow as the resolution are such hits and do not count.
    """
    reach = settings.activity_core if star.vsini is None else star.vsini + 20.0
    least, bank = NARROW * settings.resolution, searched.bank
    v, fwhm = bank.v[searched.emission_template], bank.fwhm[searched.emission_template]
    up = (searched.emission >= _EMISSION) & (fwhm > least)
    inside = np.abs(v) <= reach + 0.5 * fwhm
    hits = searched.hits
    down = (hits["snr"] >= _EMISSION) & (hits["fwhm"] > least)
    down &= np.abs(hits["v"]) <= reach + 0.5 * hits["fwhm"]
    n_emission, n_absorption = int((up & inside).sum()), int(down.sum())
    low, high = settings.velocity_range
    inner = min(reach, high) - max(-reach, low)
    outer = max(high - low - inner, 0.1 * (high - low))
    expected = (int((up & ~inside).sum()) + 0.5) * inner / outer
    both = n_emission + n_absorption
    return {
        "n_emission": n_emission,
        "n_absorption": n_absorption,
        "n_emission_expected": expected,
        "emission_chance": float(poisson.sf(n_emission - 1, expected)),
        "n_emission_nights": int(np.unique(star.exposures.night[searched.emission_row[up & inside]]).size),
        "emission_fraction": n_emission / both if both else 0.0,
    }


def _shifts(searched: Searched) -> ShiftFit:
    line = searched.lines[0]
    return fit_shifts(line.spectra, line.noise.sigma, searched.rows)
