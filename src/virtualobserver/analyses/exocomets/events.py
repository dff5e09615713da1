"""Features of each event, and the detections made of them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.classes import event_class
from virtualobserver.analyses.exocomets.matched.features import (
    Principal,
    event_correlation,
    pixel_share,
    principal_component,
    stable_frame,
)
from virtualobserver.analyses.exocomets.matched.profiles import equivalent_width, gaussian_profile
from virtualobserver.analyses.exocomets.matched.star import StarSearch, line_of_set
from virtualobserver.analyses.exocomets.matched.starline import chunk_of, forced_depth, plain_line
from virtualobserver.analyses.exocomets.matched.tracks import Track
from virtualobserver.analyses.exocomets.settings import ExocometsSettings
from virtualobserver.conventions import HOURS_PER_DAY, SECONDS_PER_DAY
from virtualobserver.data.plain import finite
from virtualobserver.data.product import Target
from virtualobserver.data.result import Event
from virtualobserver.typing import RecordDict

__all__ = ["events_of"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_NEAR_CORE: Final = 150.0
"""km/s; the core of the line with the reach of activity where v sin i is unknown (setting `activity_core`)."""
_EXPECTED: Final = 6.0
"""S/N with which a comet ought to show in a neighbouring spectrum before its absence counts: noise then leaves less
than the 3 of a member of an event once in 700."""
_MOST_COMPARED: Final = 50
"""Events of a star that are compared with the other nights; bounds the time of a star with a thousand of them."""
_LEAST_COVERAGE: Final = 0.5
"""Part of an event's pixels that have data; with less than half its shape is guessed. Chosen, not tuned."""


def events_of(search: StarSearch, target: Target, settings: ExocometsSettings) -> list[Event]:
    """Return the events of one star in order of time."""
    constancy = _constancy(search)
    sodium = _sodium(search, settings)
    events = []
    for number, track in enumerate(search.tracks):
        features = _measured(search, track)
        features |= _context(search, track, settings, compare=number < _MOST_COMPARED)
        features |= constancy[number] | sodium[number]
        verdict = event_class(features, search.features, search.settings)
        events.append(_event(search, track, verdict, features, target))
    return sorted(events, key=lambda event: event.peak_mjd)


def _event(
    search: StarSearch, track: Track, verdict: tuple[str, str], features: RecordDict, target: Target
) -> Event:
    """Return a track as a detection; what has no value is stored as None, since JSON knows no NaN."""
    kind, reason = verdict
    exposures = search.star.exposures
    times = exposures.mjd[track.members]
    half = np.nan_to_num(exposures.exptime[track.members]) / (2.0 * SECONDS_PER_DAY)
    quality = int(np.bitwise_or.reduce(exposures.quality[track.members]))
    features = {name: finite(value) for name, value in features.items()} | {
        "reason": reason,
        "lines": "+".join(search.names),
        "instrument": search.star.instrument,
    }
    return Event(
        kind=kind,
        peak_mjd=float(exposures.mjd[track.best]),
        start_mjd=float((times - half).min()),
        end_mjd=float((times + half).max()),
        snr=track.snr,
        score=track.peak_snr,
        ra=target.ra,
        dec=target.dec,
        band="+".join(search.names),
        quality=quality,
        parameters=features,
        product=search.star.sets[0].number,
    )


def _measured(search: StarSearch, track: Track) -> RecordDict:
    hit = _best_hit(search, track)
    depths = dict(zip(search.names, track.depth, strict=False))
    errors = dict(zip(search.names, track.depth_error, strict=False))
    widths = _equivalent_widths(search, track)
    ratio, ratio_error = _doublet(search, track)
    coverage = _coverage(search, track)
    seen = all(share >= _LEAST_COVERAGE for share in coverage.values())
    return {
        "velocity": track.v,
        "velocity_barycentric": track.v + search.star.v_star,
        "fwhm": track.fwhm,
        "width": track.fwhm,
        "depth_k": depths.get("K"),
        "depth_h": depths.get("H"),
        "depth_k_error": errors.get("K"),
        "depth_h_error": errors.get("H"),
        "ew_k": widths.get("K"),
        "ew_h": widths.get("H"),
        "ratio": ratio,
        "ratio_error": ratio_error,
        "acceleration": track.acceleration,
        "acceleration_error": track.acceleration_error,
        "n_spectra": int(track.members.size),
        "peak_snr": track.peak_snr,
        # The filter keeps what it calls K in the first place, whichever line that is.
        "snr_k": float(hit["snr_k"]) if search.names[0] == "K" else None,
        "snr_h": float(hit["snr_h" if search.names[0] == "K" else "snr_k"]),
        # From the edge of a gap the depth of a line says more about the template than about the gas.
        "misfit": float(hit["misfit"]) if seen else None,
        "fap": float(search.tail.probability(track.peak_snr)),
        "night": int(search.star.exposures.night[track.best]),
    } | {f"coverage_{name.lower()}": share for name, share in coverage.items()}


def _equivalent_widths(search: StarSearch, track: Track) -> dict[str, float]:
    widths = {}
    for name, line, depth in zip(search.names, search.searched.lines, track.depth, strict=False):
        reference = line.reference.flux[line.votes.group[track.best]]
        widths[name] = equivalent_width(
            line.spectra.velocity, reference, v=track.v, fwhm=track.fwhm, depth=depth, rest=line.spectra.rest
        )
    return widths


def _doublet(search: StarSearch, track: Track) -> tuple[float | None, float | None]:
    """Return depth in H over that in K and its error; None where there is none to speak of."""
    if len(search.names) != 2 or not track.depth[0] > 0:
        return None, None
    ratio = track.depth[1] / track.depth[0]
    if not ratio:
        return ratio, None
    k, h = (track.depth_error[position] / track.depth[position] for position in (0, 1))
    return ratio, abs(ratio) * float(np.hypot(k, h))


def _coverage(search: StarSearch, track: Track) -> dict[str, float]:
    """Return for each line which part of the template's power fell on pixels that were searched."""
    shares = {}
    for name, line in zip(search.names, search.searched.lines, strict=True):
        power = gaussian_profile(line.spectra.velocity, track.v, track.fwhm) ** 2
        good = line.spectra.good[track.best] & ~line.blocked
        total = float(power.sum())
        shares[name] = float(power[good].sum()) / total if total > 0 else 0.0
    return shares


def _best_hit(search: StarSearch, track: Track) -> NDArray[np.void]:
    hits = search.searched.hits
    own = hits[hits["row"] == track.best]
    return np.asarray(own[int(np.argmin(np.abs(own["snr"] - track.peak_snr)))])


def _context(search: StarSearch, track: Track, settings: ExocometsSettings, *, compare: bool) -> RecordDict:
    """Return what tells a comet from a defect and from activity.

    A defect is in one line, so the least share of a pixel counts.
    """
    line = search.searched.lines[0]
    reach = float(np.abs(search.searched.bank.v).max()) + 100.0
    inner = np.abs(line.spectra.velocity) <= reach
    row = np.asarray([track.best])
    shares = []
    for one in search.searched.lines:
        chunk = chunk_of(one, row, reach)
        velocity = one.spectra.velocity[np.abs(one.spectra.velocity) <= reach]
        shares.append(pixel_share(chunk, 0, velocity, track.v, track.fwhm))
    context: RecordDict = {
        "pixel_share": min(shares) if min(shares) > 0 else max(shares),
        "missing_in_burst": _missing_in_burst(search, track, settings.burst_gap / HOURS_PER_DAY),
        "emission_beside": _emission_beside(search, track),
        "pc_correlation": None,
    }
    if compare and inner.any():
        context["pc_correlation"] = _like_other_nights(search, track)
    return context


def _emission_beside(search: StarSearch, track: Track) -> float:
    """Return the S/N of the strongest feature upwards beside an event, over the event's.

    In the same spectrum, within three widths, at least half as wide and at most twice.
    """
    searched = search.searched
    v, fwhm = (values[searched.emission_template] for values in (searched.bank.v, searched.bank.fwhm))
    beside = (searched.emission_row == track.best) & (np.abs(v - track.v) <= 3.0 * track.fwhm)
    beside &= (fwhm >= 0.5 * track.fwhm) & (fwhm <= 2.0 * track.fwhm)
    return float(searched.emission[beside].max(initial=0.0)) / track.peak_snr


def _like_other_nights(search: StarSearch, track: Track) -> float | None:
    night, searched = search.star.exposures.night, search.searched
    own = night[searched.rows] == night[track.best]
    others = (
        searched.rows[~own] if np.count_nonzero(~own) >= 3 else np.setdiff1d(searched.rows, track.members)
    )
    if others.size < 3:
        return None
    if others.size > 100:
        others = others[np.linspace(0, others.size - 1, 100).astype(int)]
    rows = np.concatenate([others, track.members])
    chunk = chunk_of(searched.lines[0], rows, _NEAR_CORE)
    component: Principal = principal_component(chunk, np.arange(others.size))
    return event_correlation(chunk, np.arange(others.size, rows.size), component)


def _missing_in_burst(search: StarSearch, track: Track, gap: float) -> bool:
    """Whether a neighbour in time should have shown an event that was seen once, and did not."""
    if track.members.size > 1:
        return False
    exposures, searched = search.star.exposures, search.searched
    sigma = searched.lines[0].noise.sigma
    others = searched.rows[searched.rows != track.best]
    apart = np.abs(exposures.mjd[others] - exposures.mjd[track.best])
    near = others[(apart <= gap) & (exposures.night[others] == exposures.night[track.best])]
    expected = track.peak_snr * sigma[track.best] / sigma[near]
    return bool((expected >= _EXPECTED).any())


def _constancy(search: StarSearch) -> list[RecordDict]:
    """Return for each event in how many nights there is one like it, and in which frame they stand still."""
    tracks = search.tracks
    night, berv = search.star.exposures.night, search.star.exposures.berv
    v = np.asarray([track.v for track in tracks])
    width = np.asarray([track.fwhm for track in tracks])
    nights = np.asarray([night[track.best] for track in tracks])
    earth = np.asarray([berv[track.best] for track in tracks])
    total = max(int(np.unique(night[search.searched.rows]).size), 1)
    result = []
    for number in range(len(tracks)):
        wide = np.maximum(width, width[number])
        alike = wide / np.minimum(width, width[number]) <= 2.0
        same = np.abs(v - v[number]) <= wide
        with np.errstate(invalid="ignore"):
            fixed = alike & (np.abs((v - earth) - (v[number] - earth[number])) <= wide)
        count = int(np.unique(nights[same]).size)
        own, observatory = stable_frame(v[fixed], earth[fixed])
        result.append(
            {
                "n_nights": count,
                "share_of_nights": count / total,
                "n_nights_earth": int(np.unique(nights[fixed]).size),
                "scatter_star": own,
                "scatter_earth": observatory,
            }
        )
    return result


def _sodium(search: StarSearch, settings: ExocometsSettings) -> list[RecordDict]:
    """Return depth and S/N in Na D of each event, and K over Na, where there are spectra of sodium."""
    tracks = search.tracks
    result: list[RecordDict] = [{} for _ in tracks]
    if not tracks or not search.star.others:
        return result
    for one in search.star.others:
        spectra = line_of_set(one, search.star, settings)
        line = plain_line(
            spectra,
            search.star.exposures.night,
            search.star.exposures.era,
            settings=search.settings,
        )
        key = one.line.lower().replace(" ", "_")
        for number, track in enumerate(tracks):
            depth, error = forced_depth(line, track.members, v=track.v, fwhm=track.fwhm)
            result[number][f"depth_{key}"] = depth
            result[number][f"snr_{key}"] = depth / error if error > 0 else None
            result[number][f"k_over_{key}"] = track.depth[0] / depth if depth > 2 * error else None
    return result
