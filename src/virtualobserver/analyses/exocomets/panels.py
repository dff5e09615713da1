"""What to see of one comet, of one star, and of a whole sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.classes import CANDIDATE
from virtualobserver.analyses.exocomets.matched.rates import CompletenessMap
from virtualobserver.analyses.exocomets.matched.star import StarSearch
from virtualobserver.analyses.exocomets.matched.starline import chunk_of
from virtualobserver.analyses.exocomets.population import colour_and_magnitude
from virtualobserver.data.curve_panels import MJD, event_facts
from virtualobserver.data.panels import Axis, Curve, Facts, Heatmap, Mark, Panel, Series
from virtualobserver.data.product import Target
from virtualobserver.data.result import Event
from virtualobserver.typing import Record
from virtualobserver.words import counted

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["completeness_panels", "event_panels", "sample_panel", "star_panels"]

IntArray = NDArray[np.int64]

_NEAR: Final = 40.0
"""km/s shown on either side of an event at least: the core of the line gives the scale."""
_WIDTHS: Final = 3.0
"""Or so many widths of the event."""
_OTHERS: Final = 60
"""Spectra of other nights that are shown, evenly chosen: more make the picture grey."""
_ROWS: Final = 12
"""Spectra before and after the night in the map of residuals."""
_MOST_ROWS: Final = 400
"""Rows of the map of a whole star, about its height in pixels."""
_SHOWN: Final = 200.0
"""km/s; nearly all comets of beta Pic are within."""
_ROLES: Final = {
    CANDIDATE: "event",
    "published_candidate": "event",
    "activity": "second",
    "binary": "third",
    "instrument": "flagged",
    "unclear": "data",
}
"""Classes of events and of stars."""
_RESIDUAL: Final = Axis("residual, red: absorption", "σ", limits=(-5.0, 5.0))
_ORDER: Final = Axis("spectrum, in order of time")
_GREY: Final = "grey: no data, or left out of the search, as H around the hydrogen line Hε"
_FLUX: Final = Axis("flux over continuum")
_UNITS: Final = {
    "velocity": "km/s", "velocity_barycentric": "km/s", "fwhm": "km/s", "acceleration": "km/s/h",
    "acceleration_error": "km/s/h",
}  # fmt: skip
_TOLD: Final = (
    "velocity", "velocity_barycentric", "fwhm", "depth_k", "depth_k_error", "depth_h", "depth_h_error", "ratio",
    "ratio_error", "acceleration", "acceleration_error", "fap", "snr_k", "snr_h", "n_spectra", "misfit", "n_nights",
    "reason", "lines", "instrument",
)  # fmt: skip
"""Parameters of an event that a person judges by."""
_LEAST_FAP: Final = 1e-3
"""Smallest chance that was compared with how often noise does it: one is expected in 1200 stars without comets."""
_WORDS: Final = {
    "main_id": "name", "sptype": "spectral type", "otype": "type", "gaia_dr3": "Gaia DR3", "vsini": "v sin i",
    "teff": "Teff",
}  # fmt: skip
_DWARFS: Final = (
    (-0.120, 0.515), (-0.037, 1.00), (0.194, 1.98), (0.377, 2.51), (0.587, 3.26), (0.784, 4.325), (0.983, 5.553),
    (1.19, 6.22), (1.43, 6.85), (1.84, 8.10), (2.23, 9.29), (2.50, 10.05), (2.94, 11.21), (3.35, 12.45), (4.16, 14.26),
)  # fmt: skip
"""BP - RP and M_G of dwarfs from B9 to M6: E. Mamajek's table, see `spectral_class`."""


def event_panels(search: StarSearch, event: Event, target: Target) -> list[Panel]:
    """Return one event in each line: spectra of its night against the reference, and the residuals around it.

    Then S/N by velocity and by time, where the star stands, and what is known of both.
    """
    at, width = float(event.parameters["velocity"]), float(event.parameters.get("fwhm") or 10.0)
    limits = (at - max(_NEAR, _WIDTHS * width), at + max(_NEAR, _WIDTHS * width))
    exposures, rows = search.star.exposures, search.searched.rows
    inside = rows[(exposures.mjd[rows] >= event.start_mjd) & (exposures.mjd[rows] <= event.end_mjd)]
    if inside.size == 0 and rows.size:
        inside = rows[[int(np.argmin(np.abs(exposures.mjd[rows] - event.peak_mjd)))]]
    lines = range(len(search.names[:2]))
    span = Mark("span", x=at - width / 2, x_end=at + width / 2)
    others = np.setdiff1d(rows, inside)
    panels: list[Panel] = [
        _spectra(search, number, inside, others, limits=limits, marks=[span]) for number in lines
    ]
    if inside.size:
        places = np.flatnonzero(np.isin(rows, inside))
        first, last = max(int(places[0]) - _ROWS, 0), min(int(places[-1]) + _ROWS + 1, rows.size)
        frame = Mark(
            "box",
            x=at - width / 2,
            x_end=at + width / 2,
            y=float(places[0]) - 0.5,
            y_end=float(places[-1]) + 0.5,
        )
        panels += [
            _residuals(search, number, rows[first:last], limits, [frame], first=first) for number in lines
        ]
    panels += [_strengths(search, [event]), _diagram(search, target), _times(search, [event])]
    panels.append(event_facts(event, units=_UNITS, only=_TOLD, least={"fap": _LEAST_FAP}))
    return [*panels, star_facts(search, target)]


def star_panels(search: StarSearch, events: Sequence[Event], target: Target) -> list[Panel]:
    """Return what is known of a star, its spectra and residuals in each line, events, its place, the times."""
    exposures, rows = search.star.exposures, search.searched.rows
    if rows.size > _MOST_ROWS:
        rows = rows[np.linspace(0, rows.size - 1, _MOST_ROWS).astype(int)]
    spectra: list[Panel] = []
    maps: list[Panel] = []
    for number, name in enumerate(search.names[:2]):
        # Where a line was not looked at, an event of the other one is none.
        share = f"coverage_{name.lower()}"
        own = [one for one in events if name in one.band and one.parameters.get(share) != 0.0]
        peaks = {float(event.peak_mjd) for event in own}
        marked = np.asarray([row for row in rows if float(exposures.mjd[row]) in peaks], dtype=np.int64)
        limits = (-_SHOWN, _SHOWN)
        spectra.append(_spectra(search, number, marked, np.setdiff1d(rows, marked), limits=limits))
        if rows.size:
            marks = [
                _ring(event, int(np.argmin(np.abs(exposures.mjd[rows] - event.peak_mjd)))) for event in own
            ]
            maps.append(_residuals(search, number, rows, limits, marks))
    counts = {kind: sum(event.kind == kind for event in events) for kind in _ROLES}
    found = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items() if count)
    return [
        *spectra,
        *maps,
        _strengths(search, events),
        _diagram(search, target),
        _times(search, events),
        star_facts(search, target, events=found or "none"),
    ]


def star_facts(search: StarSearch, target: Target, **more: str) -> Facts:
    """Return who the star is, what was searched of it and how it behaves."""
    features, star, rows = search.features, search.star, search.searched.rows
    nights = int(np.unique(star.exposures.night[rows]).size)
    facts: list[tuple[str, str | float | None, str]] = [(name, value, "") for name, value in more.items()]
    facts.append(("spectra", f"{star.exposures.mjd.size}, {rows.size} searched in {nights} nights", ""))
    if rows.size:
        facts += [
            (f"S/N per pixel in {name}", float(np.median(1 / line.noise.sigma[rows])), "")
            for name, line in zip(search.names, search.searched.lines, strict=True)
        ]
    facts += [
        ("reference", _reference_words(search, nights), ""),
        ("threshold of events", search.threshold, "S/N"),
        ("threshold of candidates", search.candidate, "S/N"),
        ("velocity of the star", star.v_star if star.v_known else "unknown", "km/s" if star.v_known else ""),
        ("emission core", features["emission_core"], ""),
        ("features up, down", f"{features['n_emission']}, {features['n_absorption']}", ""),
        ("shifts of the line", features["rv_scatter"], "km/s"),
        ("variability by shifts", 100 * features["shift_share"], "%"),
        ("instrument", star.instrument, ""),
        *_identity(star.sets[0].data.meta, target),
    ]
    return Facts(f"{target.name or 'star'}, Ca II {' and '.join(search.names)}", facts)


def sample_panel(properties: pd.DataFrame) -> Series:
    """Return all stars of a sample in the Hertzsprung-Russell diagram, by class.

    Parameters
    ----------
    properties
        One row per star: ``class, bp_rp, absolute_mag``; stars without the last two are counted in the note.
    """
    table = properties.reindex(columns=["class", "bp_rp", "absolute_mag"])
    placed = table[table[["bp_rp", "absolute_mag"]].notna().all(axis=1)]
    numbers = placed["class"].fillna("unknown").value_counts()
    curves = []
    for name in sorted(numbers.index, key=lambda one: (one == CANDIDATE, -numbers[one])):  # comets on top
        stars = placed[placed["class"].fillna("unknown") == name]
        curves.append(
            Curve(
                f"{str(name).replace('_', ' ')} ({len(stars)})",
                stars["bp_rp"].to_numpy(float),
                stars["absolute_mag"].to_numpy(float),
                colour=_ROLES.get(str(name), "reference" if name == "unknown" else "context"),
            )
        )
    # stars outside of the usual frame have to be seen, too
    colours = np.append(placed["bp_rp"].to_numpy(float), [-0.3, 3.8])
    mags = np.append(placed["absolute_mag"].to_numpy(float), [-2.5, 14.5])
    without = len(table) - len(placed)
    told = f"{counted(without, 'star')} without colour or parallax not shown" if without else ""
    ends = (
        (float(colours.min()) - 0.2, float(colours.max()) + 0.2),
        (float(mags.min()) - 0.5, float(mags.max()) + 0.5),
    )
    return _hertzsprung_russell(curves, *ends, note=told)


def completeness_panels(found: CompletenessMap) -> list[Heatmap]:
    """Return the fraction of comets that is found, by depth and width, a panel for each range of velocity."""
    panels = []
    for number in range(found.velocity_edges.size - 1):
        injected, recovered = found.injected[:, :, number], found.found[:, :, number]
        text = [
            [f"{got}/{put}" if put else "" for got, put in zip(*pair, strict=True)]
            for pair in zip(recovered, injected, strict=True)
        ]
        panels.append(
            Heatmap(
                f"comets at {found.velocity_edges[number]:.0f} to {found.velocity_edges[number + 1]:.0f} km/s",
                Axis("width (FWHM)", "km/s", "log"),
                Axis("depth in K", scale="log"),
                found.fraction[:, :, number],
                found.fwhm_edges,
                found.depth_edges,
                value=Axis("fraction found", limits=(0.0, 1.0)),
                text=text,
            )
        )
    return panels


# --- parts ------------------------------------------------------------------------------------------------


def _velocity(search: StarSearch, limits: tuple[float, float] | None = None) -> Axis:
    return Axis(search.star.axis, "km/s", limits=limits)


def _spectra(
    search: StarSearch,
    number: int,
    inside: IntArray,
    others: IntArray,
    *,
    limits: tuple[float, float],
    marks: Sequence[Mark] = (),
) -> Series:
    """Return spectra of one line: pale those without the event, above them those with it, and the reference."""
    line = search.searched.lines[number]
    v = line.spectra.velocity
    shown = (v >= limits[0]) & (v <= limits[1])
    if others.size > _OTHERS:
        others = others[np.linspace(0, others.size - 1, _OTHERS).astype(int)]
    curves = []
    for label, rows, role in (("other spectra", others, "context"), ("with the event", inside, "data")):
        flux = np.where(line.spectra.good[rows], line.spectra.flux[rows], np.nan)[:, shown]
        if rows.size:
            # one curve with gaps between the spectra
            gap = np.full((rows.size, 1), np.nan)
            x = np.broadcast_to(np.append(v[shown], np.nan), (rows.size, shown.sum() + 1))
            curves.append(Curve(label, x.ravel(), np.hstack([flux, gap]).ravel(), style="line", colour=role))
    heights = None
    if line.votes.era.size:
        average = line.average[shown]
        curves.append(Curve("reference", v[shown], average, style="line", colour="reference"))
        seen = np.concatenate(
            [curve.y[np.isfinite(curve.y)] for curve in curves] + [average[np.isfinite(average)]]
        )
        if seen.size:
            low, high = (float(one) for one in np.percentile(seen, [0.5, 99.5]))
            pad = 0.1 * (high - low) or 0.1
            heights = (low - pad, high + pad)
    title = f"Ca II {search.names[number]}"
    return Series(title, _velocity(search, limits), Axis(_FLUX.name, limits=heights), curves, marks)


def _residuals(
    search: StarSearch,
    number: int,
    rows: IntArray,
    limits: tuple[float, float],
    marks: Sequence[Mark],
    *,
    first: int = 0,
) -> Heatmap:
    """Return spectra in standard deviations, what the filter saw: a comet is a track, a defect one row."""
    line = search.searched.lines[number]
    reach = max(abs(one) for one in limits)
    chunk = chunk_of(line, rows, reach)
    v = line.spectra.velocity[np.abs(line.spectra.velocity) <= reach]
    image = np.where(chunk.weight > 0, -chunk.residual * np.sqrt(chunk.weight), np.nan)
    half = 0.5 * float(np.median(np.diff(v)))
    shown = (v >= limits[0]) & (v <= limits[1])
    v = v[shown]
    return Heatmap(
        f"residuals of Ca II {search.names[number]}",
        _velocity(search),
        _ORDER,
        image[:, shown],
        extent=(float(v[0]) - half, float(v[-1]) + half, first - 0.5, first + rows.size - 0.5),
        value=_RESIDUAL,
        stretch="symmetric",
        marks=marks,
        note=_GREY if np.isnan(image[:, shown]).any() else "",
    )


def _ring(event: Event, place: int) -> Mark:
    return Mark("point", x=event.parameters["velocity"], y=place, colour=_ROLES.get(event.kind, "reference"))


def _strengths(search: StarSearch, events: Sequence[Event]) -> Series:
    """Return S/N by velocity of single spectra and of events."""
    hits = search.searched.hits
    curves = [Curve("single spectra", hits["v"], hits["snr"], colour="context")]
    for kind in dict.fromkeys(event.kind for event in events):
        own = [event for event in events if event.kind == kind]
        at = [event.parameters["velocity"] for event in own]
        best = [event.score or abs(event.snr) for event in own]
        label = kind.replace("_", " ")
        curves.append(Curve(label, np.array(at), np.array(best), colour=_ROLES.get(kind, "reference")))
    marks = [Mark("line", y=search.threshold, label="events", colour="reference")]
    if search.candidate > search.threshold * 1.15:  # closer, the words on both lines would cover each other
        marks.append(Mark("line", y=search.candidate, label="candidates", colour="reference"))
    low, high = float(search.searched.bank.v.min()), float(search.searched.bank.v.max())
    # a comet may be a hundred times as strong as the threshold: both have to be seen
    top = 1.5 * max([10.0, *(curve.y.max() for curve in curves if len(curve))])
    y = Axis("S/N of the best spectrum", scale="log", limits=(2.5, float(top)))
    return Series("what the filter found, by velocity", _velocity(search, (low, high)), y, curves, marks)


def _times(search: StarSearch, events: Sequence[Event]) -> Series:
    """Return the S/N of all spectra by time, those that were left out flagged, and when the events were."""
    exposures, line = search.star.exposures, search.searched.lines[0]
    left = np.ones(exposures.mjd.size, bool)
    left[search.searched.rows] = False
    sigma = np.asarray(line.noise.sigma, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.where(np.isfinite(sigma) & (sigma > 0), 1 / sigma, 0.0)
    why = [search.reasons.get(row, "") for row in range(left.size)]
    spectra = Curve("spectra", exposures.mjd, snr, flags=left, text=why)
    marks = [Mark("line", x=event.peak_mjd, colour=_ROLES.get(event.kind, "reference")) for event in events]
    y = Axis(f"S/N per pixel in {search.names[0]}")
    return Series("observations", MJD, y, [spectra], marks, note="hollow: left out of the search")


def _diagram(search: StarSearch, target: Target) -> Series:
    place = colour_and_magnitude(target, search.star.sets[0].data.meta.get("gaia") or {})
    if place is None:
        return _hertzsprung_russell([], (-0.5, 4.0), (-3.0, 15.0), note="no colour or parallax known")
    star = Curve(target.name or "star", np.array([place[0]]), np.array([place[1]]), colour="event")
    return _hertzsprung_russell(
        [star],
        (min(-0.5, place[0] - 0.2), max(4.0, place[0] + 0.2)),
        (min(-3.0, place[1] - 0.5), max(15.0, place[1] + 0.5)),
    )


def _hertzsprung_russell(
    curves: Sequence[Curve], colours: tuple[float, float], mags: tuple[float, float], *, note: str = ""
) -> Series:
    """Return a Hertzsprung-Russell diagram, nearby dwarfs for orientation."""
    x, y = (np.array(column) for column in zip(*_DWARFS, strict=True))
    return Series(
        "Hertzsprung-Russell diagram",
        Axis("G_BP - G_RP", "mag", limits=colours),
        Axis("M_G", "mag", "magnitude", limits=mags),
        [Curve("dwarfs", x, y, style="line", colour="context"), *curves],
        note=note,
    )


def _reference_words(search: StarSearch, nights: int) -> str:
    if search.searched.mode == "quantile":
        return "upper envelope"
    if nights < 2:
        return "mean of the other spectra of the night"
    share = search.searched.hypothesis
    return f"mean of quiet nights (comet in {share})" if share in ("half", "most") else "mean of other nights"


def _identity(meta: Record, target: Target) -> list[tuple[str, str, str]]:
    """Return name, type and numbers of the star as the catalogue has them, else as SIMBAD and Gaia do."""
    simbad, gaia = meta.get("simbad") or {}, meta.get("gaia") or {}
    known = {"gaia_dr3": gaia.get("source_id") if str(gaia.get("catalogue", "")).endswith("dr3") else None}
    known |= {name: value for source in (simbad, target.extra) for name, value in source.items() if value}
    place = []
    if target.ra is not None and target.dec is not None:
        place = [("position", f"{target.ra:.5f} {target.dec:+.5f}", "deg, ICRS")]
    return place + [(word, str(known[key]), "") for key, word in _WORDS.items() if known.get(key)]
