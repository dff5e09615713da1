"""Summary numbers of a star and what it adds to the histograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.classes import CANDIDATE, event_class, star_class
from virtualobserver.analyses.exocomets.matched.passes import velocity_cells
from virtualobserver.analyses.exocomets.matched.rates import comet_rate, expected_completeness
from virtualobserver.analyses.exocomets.matched.star import StarSearch
from virtualobserver.analyses.exocomets.population import colour_and_magnitude, spectral_class
from virtualobserver.analyses.exocomets.published.search import PublishedSearch
from virtualobserver.analyses.exocomets.settings import ExocometsSettings
from virtualobserver.analyses.exocomets.stars import Star
from virtualobserver.data.axis import Axis
from virtualobserver.data.histogram import Histogram
from virtualobserver.data.plain import finite
from virtualobserver.data.product import Target
from virtualobserver.data.result import Event
from virtualobserver.errors import DataError
from virtualobserver.typing import RecordDict

__all__ = ["empty_histograms", "fill_histograms", "published_properties", "star_properties"]

DEPTHS: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.4)
"""Fractional depths in K at which the completeness of a star is kept."""
_TYPICAL: Final = (0.05, 30.0, 50.0)
"""Depth, width and velocity of the comet that rates are given for."""
NOT_SEARCHED: Final = "not_searched"
"""Class of a star without two spectra to compare: nothing is known about its comets."""
FEW_NIGHTS: Final = 3
"""Nights below which it rests on the sign alone which of them holds the comet."""
_MOST_REASONS: Final = 200
"""Spectra of a star whose reason is stored; a property is a line for people, not a table."""
_GAIA: Final = ("source_id", "match_distance", "match_probability", "mag", "bp_rp", "g_rp", "absolute_mag")
_SIMBAD: Final = (
    "main_id", "sptype", "otype", "aliases", "pmra", "pmdec", "parallax", "radial_velocity", "gaia_dr3"
)  # fmt: skip


def star_properties(search: StarSearch, events: Sequence[Event], target: Target) -> RecordDict:
    """Return the summary numbers of one star (JSON-like, None where there is no number)."""
    searched, exposures = search.searched, search.star.exposures
    nights = np.unique(exposures.night[searched.rows])
    kinds = [event.kind for event in events]
    candidates = [event for event in events if event.kind == CANDIDATE]
    noise = [line.noise.sigma[searched.rows] for line in searched.lines]
    properties: RecordDict = {
        "method": "matched",
        "class": star_class(kinds, search.features, search.settings) if searched.rows.size else NOT_SEARCHED,
        "n_spectra": int(exposures.mjd.size),
        "n_searched": int(searched.rows.size),
        "n_nights": int(nights.size),
        "time_span": float(np.ptp(exposures.mjd[searched.rows])) if searched.rows.size else 0.0,
        "n_events": len(events),
        "n_candidates": len(candidates),
        "n_candidate_nights": len({event.parameters["night"] for event in candidates}),
        "best_snr": max((event.snr for event in candidates or events), default=None),
        "threshold": search.threshold,
        "candidate_threshold": search.candidate,
        "null_spread": search.tail.spread,
        "null_rate": search.tail.rate,
        "reference": searched.mode,
        "few_nights": bool(nights.size < FEW_NIGHTS),
        "hypothesis_odds": searched.odds,
        "fap": _star_fap(search),
        "lines": "+".join(search.names),
        "instrument": search.star.instrument,
        "left_out": _reasons(search.star, search.reasons),
    }
    for name, sigma, line in zip(search.names, noise, searched.lines, strict=True):
        key = name.lower()
        properties[f"snr_{key}"] = float(np.median(1.0 / sigma)) if sigma.size else None
        properties[f"lag1_{key}"] = line.noise.lag1
    properties |= {name: finite(value) for name, value in search.features.items()}
    properties |= _known(search.star, target)
    return properties | _completeness(search, len(candidates), int(nights.size))


def _star_fap(search: StarSearch) -> float:
    """Return how often noise would make a feature as strong as the star's strongest; 1 where there is none."""
    snr = search.searched.hits["snr"]
    return float(search.tail.probability(snr.max())) if snr.size else 1.0


def _known(star: Star, target: Target) -> RecordDict:
    """Return what Gaia and SIMBAD have of a star, its place in the Hertzsprung-Russell diagram, and its class."""
    meta = star.sets[0].data.meta
    gaia, simbad = meta.get("gaia") or {}, meta.get("simbad") or {}
    known = {f"gaia_{name}": gaia.get(name) for name in _GAIA if gaia}
    known |= {f"simbad_{name}": simbad.get(name) for name in _SIMBAD if simbad}
    known |= _place(star, target)
    return known | {
        "spectral_class": spectral_class(
            {k: v for one in (gaia, simbad, target.extra) for k, v in one.items() if v is not None}
        )
    }


def _place(star: Star, target: Target) -> RecordDict:
    """Return the place in the Hertzsprung-Russell diagram: of the catalogue, else of Gaia."""
    found = colour_and_magnitude(target, star.sets[0].data.meta.get("gaia") or {})
    return dict(zip(("bp_rp", "absolute_mag"), found or (None, None), strict=True))


def _completeness(search: StarSearch, n_candidates: int, n_nights: int) -> RecordDict:
    """Return sensitivity, completeness and the rate of typical comets."""
    searched = search.searched
    widths = np.unique(searched.bank.fwhm)
    cells = velocity_cells(searched.bank)
    fractions = star_completeness(search)
    depth, width, velocity = _TYPICAL
    at = int(np.argmin(np.abs(np.log(widths / width)))), int(np.argmin(np.abs(cells - velocity)))
    typical = searched.sensitivity[:, at[0], at[1]] if searched.rows.size else np.zeros(0)
    height = float(np.median(typical)) if typical.size else 0.0
    share = float(fractions[DEPTHS.index(depth), at[0], at[1]]) if typical.size else 0.0
    result: RecordDict = {
        "sensitivity": search.candidate / height if height > 0 else None,
        "completeness": {
            "depth": list(DEPTHS),
            "fwhm": [round(float(one), 3) for one in widths],
            "velocity": [float(one) for one in cells],
            "fraction": np.round(fractions, 3).tolist(),
        },
        "completeness_typical": share,
        "rate": None,
        "rate_low": None,
        "rate_high": None,
        "rate_limit": None,
    }
    try:
        rate = comet_rate(n_candidates, share, n_nights)
    except DataError:
        return result
    return result | {
        "rate": rate.rate,
        "rate_low": rate.low,
        "rate_high": rate.high,
        "rate_limit": rate.upper_limit,
    }


def star_completeness(search: StarSearch) -> NDArray[np.float64]:
    """Return which part of comets this star's search calls candidates, shape (depths, widths, velocities).

    A comet is in front of the star for one of the nights, in all spectra of it; the best of them decides, against the
    noise and the floor of this star, at the threshold of its own false alarms. What the rules of classes would call
    something else there is not found, and of a single night nothing that lasts it.
    """
    searched, night = search.searched, search.star.exposures.night[search.searched.rows]
    fractions = expected_completeness(searched.sensitivity, DEPTHS, search.candidate, night=night)
    if np.unique(night).size < 2:
        return np.zeros_like(fractions)
    widths, cells = np.unique(searched.bank.fwhm), velocity_cells(searched.bank)
    for i, width in enumerate(widths):
        for j, velocity in enumerate(cells):
            comet = {"velocity": velocity, "fwhm": width, "fap": 0.0, "n_nights": 1}
            if event_class(comet, search.features, search.settings)[0] != CANDIDATE:
                fractions[:, i, j] = 0.0
    return fractions


def published_properties(
    searches: Sequence[PublishedSearch], events: Sequence[Event], target: Target
) -> RecordDict:
    """Return the summary numbers of a star searched by the published statistic."""
    star = searches[0].star
    used = np.zeros(star.exposures.mjd.size, dtype=bool)
    for one in searches:
        used[one.rows[one.result.used]] = True
    minima = [float(np.nanmin(one.result.minimum)) for one in searches if one.result.used.any()]
    return {
        "method": "published",
        "class": "published_candidate" if events else "quiet" if used.any() else NOT_SEARCHED,
        "n_spectra": int(star.exposures.mjd.size),
        "n_searched": int(used.sum()),
        "n_nights": int(np.unique(star.exposures.night[used]).size),
        "n_events": len(events),
        "min_snr": min(minima, default=None),
        "skipped": {one.line.line: one.result.skipped for one in searches if one.result.skipped},
        "lines": "+".join(one.line.line for one in searches),
        "instrument": star.instrument,
        "left_out": _reasons(star, star.exposures.reasons),
        **_place(star, target),
    }


def empty_histograms(settings: ExocometsSettings) -> dict[str, Histogram]:
    """Return the histograms without counts.

    ``snr`` counts features of single spectra by S/N (negative: upwards) and velocity; ``depth_limit`` counts
    spectra by the logarithm of the smallest depth they would show, width (log10 of km/s) and velocity.
    """
    velocity = Axis.fixed("velocity", *settings.velocity_bins, "km/s")
    return {
        "snr": Histogram((Axis.fixed("snr", *settings.snr_bins), velocity)),
        "depth_limit": Histogram(
            (
                Axis.fixed("log_depth", *settings.depth_bins),
                Axis.fixed("log_fwhm", 0.4, 2.2, 0.15),
                velocity,
            )
        ),
    }


def fill_histograms(searches: Sequence[StarSearch], settings: ExocometsSettings) -> dict[str, Histogram]:
    """Count the features and the sensitivity of all spectra of one source."""
    filled = empty_histograms(settings)
    for search in searches:
        searched = search.searched
        if searched.hits.size:
            filled["snr"] = filled["snr"].fill(snr=searched.hits["snr"], velocity=searched.hits["v"])
        if searched.emission.size:
            filled["snr"] = filled["snr"].fill(
                snr=-searched.emission, velocity=np.full(searched.emission.size, np.nan)
            )
        if searched.rows.size:
            filled["depth_limit"] = filled["depth_limit"].fill(**_limits(search))
    return filled


def _limits(search: StarSearch) -> dict[str, NDArray[np.float64]]:
    searched = search.searched
    widths, cells = np.unique(searched.bank.fwhm), velocity_cells(searched.bank)
    values = searched.sensitivity.astype(np.float64)
    shape = values.shape
    with np.errstate(divide="ignore"):
        depth = np.where(values > 0, np.log10(search.candidate / values), np.nan)
    return {
        "log_depth": depth.ravel(),
        "log_fwhm": np.broadcast_to(np.log10(widths)[None, :, None], shape).ravel(),
        "velocity": np.broadcast_to(cells, shape).ravel(),
    }


def _reasons(star: Star, reasons: dict[int, str]) -> list[RecordDict]:
    rows = sorted(reasons)[:_MOST_REASONS]
    return [{"mjd": finite(float(star.exposures.mjd[row])), "reason": reasons[row]} for row in rows]
