"""What to see of the movers that linking found."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.engines import Linked
from virtualobserver.analyses.moving_objects.panels import FACTS, UNITS
from virtualobserver.analyses.moving_objects.tracks import curve_of
from virtualobserver.columns import band_words
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.curve_panels import MJD, curve_panels, event_facts
from virtualobserver.data.panels import Axis, Curve, Mark, Panel, Series, Style
from virtualobserver.data.result import Event
from virtualobserver.maths.linking.track import Track

__all__ = ["field_panel", "track_panels"]

_SAME: Final = 0.5
"""Arcsec within which two tracks begin at one place."""
_AROUND: Final = 60.0
"""Arcsec of sky shown around a track."""


def track_panels(linked: Linked, event: Event) -> list[Panel]:
    """Return the track of one detection: on the sky, off its motion, its light, and what is known of it.

    Empty if linking does not find the track.
    """
    lists = linked.field.lists
    track = next((one for one in linked.tracks if _starts_at(linked, one, event)), None)
    if track is None:
        return []
    image, place = lists.image[track.rows], lists.place[track.rows]
    off = place - track.at(lists.hours[image])
    peak = Mark("line", x=event.peak_mjd)
    motion = Series(
        "off the motion",
        MJD,
        Axis("offset", "arcsec"),
        [
            Curve(name, lists.mjd[image], off[:, axis], lists.error[track.rows, axis], colour=role)
            for axis, (name, role) in enumerate((("east", "data"), ("north", "second")))
        ],
        [peak, Mark("line", y=0.0, colour="context")],
    )
    curve = curve_of(linked, track)
    whole = curve_panels([(band_words(curve.band), curve)], event)[-1]
    units = UNITS | dict.fromkeys(("epoch_flux", "epoch_flux_error"), curve.flux_unit)
    facts = event_facts(event, units=units, only=FACTS)
    return [_sky(linked, track, event), motion, whole, facts]


def field_panel(linked: Linked) -> Series:
    """Return all sources of a field, and the paths of its movers with their sources."""
    lists = linked.field.lists
    hours = np.linspace(0, float(lists.hours[-1]), 30)
    curves = [_places("sources", lists.place / 60, colour="context")]
    marks = []
    for number, track in enumerate(linked.tracks, 1):
        path = track.at(hours) / 60
        curves.append(_places("", path, style="line", colour="event"))
        curves.append(_places("", lists.place[track.rows] / 60, colour="event"))
        label = f"{number}: {track.rate:.1f}"
        marks.append(Mark("point", x=path[0, 0], y=path[0, 1], label=label))
    return Series(
        f"{len(linked.tracks)} movers, rates in arcsec/h",
        *_sky_axes(linked, "arcmin"),
        curves,
        marks,
        equal=True,
    )


def _starts_at(linked: Linked, track: Track, event: Event) -> bool:
    ra, dec = (float(part[0]) for part in linked.field.lists.sky(track.at(np.zeros(1))))
    east = (ra - event.parameters["ra0"]) * np.cos(np.radians(dec)) * ARCSEC_PER_DEGREE
    north = (dec - event.parameters["dec0"]) * ARCSEC_PER_DEGREE
    return bool(np.hypot(east, north) <= _SAME)


def _sky(linked: Linked, track: Track, event: Event) -> Series:
    """Return the sky about a track: all sources of all images there, those of the track, and its path."""
    lists = linked.field.lists
    own = lists.place[track.rows]
    low, high = own.min(axis=0) - _AROUND, own.max(axis=0) + _AROUND
    near = ((lists.place >= low) & (lists.place <= high)).all(axis=1)
    path = track.at(np.linspace(float(lists.hours.min()), float(lists.hours.max()), 30))
    at = int(np.argmin(np.abs(lists.mjd[lists.image[track.rows]] - event.peak_mjd)))
    return Series(
        f"{track.rate:.1f} arcsec/h towards {track.pa:.0f}°",
        *_sky_axes(linked, "arcsec"),
        [
            _places("sources", lists.place[near], colour="context"),
            _places("path", path, style="line", colour="model"),
            _places("of the track", own, colour="data"),
        ],
        [Mark("point", x=own[at, 0], y=own[at, 1])],
        equal=True,
    )


def _places(label: str, place: NDArray[np.float64], *, colour: str, style: Style = "points") -> Curve:
    """Return places east and north, shape (n, 2), as a curve."""
    return Curve(label, place[:, 0], place[:, 1], style=style, colour=colour)


def _sky_axes(linked: Linked, unit: str) -> tuple[Axis, Axis]:
    ra, dec = linked.field.lists.centre
    return Axis(f"east of {ra:.4f}", unit, reverse=True), Axis(f"north of {dec:+.4f}", unit)
