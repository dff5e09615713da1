"""What to see of the bodies of a field, and of one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from virtualobserver.analyses.asteroids.bodies import SAME_TIME, Body, label_of
from virtualobserver.analyses.asteroids.rows import residual_of
from virtualobserver.analyses.asteroids.settings import AsteroidsSettings
from virtualobserver.data.curve_panels import event_facts
from virtualobserver.data.panels import Axis, Curve, Facts, Mark, Panel, Series
from virtualobserver.data.result import Event
from virtualobserver.maths.astrometry.sphere import separation

__all__ = ["body_panels", "field_panels"]

_TOLD: Final = (
    "rate", "rate_error", "pa", "n_obs", "n_nights", "class", "orbit_class", "predicted_mag", "separation",
    "rate_difference", "match_chi2", "second", "second_separation", "second_chi2", "chi2", "residual_east",
    "residual_north", "position_error", "epoch_flux", "epoch_flux_error",
)  # fmt: skip
"""Parameters of a body that a person judges by: its motion, who it is, who it may be instead, how well it fits."""
_UNITS: Final = {
    "rate": "arcsec/h", "rate_error": "arcsec/h", "pa": "deg", "predicted_mag": "mag", "separation": "arcsec",
    "rate_difference": "arcsec/h", "second_separation": "arcsec", "residual_east": "arcsec",
    "residual_north": "arcsec", "position_error": "arcsec",
}  # fmt: skip
_CROSS: Final = (Mark("line", x=0.0, colour="context"), Mark("line", y=0.0, colour="context"))


def field_panels(bodies: Sequence[Body], settings: AsteroidsSettings) -> list[Panel]:
    """Return the paths of all bodies on the sky, each named at its first epoch, and the residuals of the known ones."""
    known = [body for body in bodies if any(part.identity is not None for part in body.parts)]
    sky = _sky(bodies, settings, f"{len(bodies)} bodies, {len(known)} known")
    return [sky, *([_residuals(known, settings)] if known else [])]


def body_panels(bodies: Sequence[Body], settings: AsteroidsSettings, event: Event) -> list[Panel]:
    """Return the panels of the body that a detection is of: its path among the others, residuals and facts."""
    body = _body_of(bodies, event)
    light = "" if body is None else body.parts[0].track.rows.units.get("flux", "")
    units = _UNITS | dict.fromkeys(("epoch_flux", "epoch_flux_error"), light)
    facts = event_facts(event, units=units, only=_TOLD)
    if body is None:
        return [facts]
    others = [one for one in bodies if one is not body]
    name = _name(body, settings)
    known = [part.identity for part in body.parts if part.identity is not None]
    rows: list[tuple[str, str | float | bool | None, str]]
    rows = [("name", name, ""), *facts.rows]
    return [
        _sky([*others, body], settings, f"{name} among {len(bodies)} bodies", chosen=body, event=event),
        *([_residuals([body], settings)] if known else []),
        Facts(facts.title, rows, facts.note),
    ]


def _sky(
    bodies: Sequence[Body],
    settings: AsteroidsSettings,
    title: str,
    *,
    chosen: Body | None = None,
    event: Event | None = None,
) -> Series:
    middle = (chosen or bodies[0]).parts[0].track.path
    curves, marks = [], []
    for body in bodies:
        places = (
            np.concatenate([middle.plane(p.track.rows["ra"], p.track.rows["dec"]) for p in body.parts]) / 60
        )
        name = _name(body, settings)
        mjd = np.concatenate([part.track.rows["mjd"] for part in body.parts])
        colour = None if chosen is None else "event" if body is chosen else "context"
        text = [f"{name}, MJD {one:.5f}" for one in mjd]
        curves.append(Curve("", places[:, 0], places[:, 1], style="line", colour=colour, text=text))
        if chosen is None:
            marks.append(Mark("point", x=places[0, 0], y=places[0, 1], label=name, colour="data"))
    if event is not None and event.ra is not None and event.dec is not None:
        x, y = np.ravel(middle.plane(event.ra, event.dec)) / 60
        marks.append(Mark("point", x=x, y=y, label="this epoch", colour="event"))
    east = Axis(f"east of {middle.ra:.4f}°", "arcmin", reverse=True)
    north = Axis(f"north of {middle.dec:+.4f}°", "arcmin")
    return Series(title, east, north, curves, marks, equal=True)


def _residuals(bodies: Sequence[Body], settings: AsteroidsSettings) -> Series:
    curves = []
    for body in bodies:
        known = [residual_of(part) for part in body.parts if part.identity is not None]
        if known:
            off = np.concatenate(known)
            curves.append(Curve(_name(body, settings), off[:, 0], off[:, 1]))
    return Series(
        "measured less ephemeris",
        Axis("east", "arcsec", reverse=True), Axis("north", "arcsec"), curves, _CROSS, equal=True,
    )  # fmt: skip


def _name(body: Body, settings: AsteroidsSettings) -> str:
    return body.known_as or label_of(body.number, body.kind(settings))


def _body_of(bodies: Sequence[Body], event: Event) -> Body | None:
    """Return the body with an epoch where and when the detection is; the nearest, if two are."""
    if event.ra is None or event.dec is None:
        return None
    near: list[tuple[float, Body]] = []
    for body in bodies:
        for part in body.parts:
            rows = part.track.rows
            now = np.abs(rows["mjd"] - event.peak_mjd) < SAME_TIME
            if now.any():
                apart = separation(rows["ra"][now], rows["dec"][now], event.ra, event.dec)
                near.append((float(np.min(apart)), body))
    return min(near, key=lambda one: one[0])[1] if near else None
