"""What to see of a trail: its samples with what was found in them, and how strong events of all stars are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import log_ndtr

from virtualobserver.analyses.driftscan.vetoes import form_of
from virtualobserver.data.curve_panels import event_facts
from virtualobserver.data.panels import Axis, Curve, Mark, Panel, Series
from virtualobserver.data.result import Event

if TYPE_CHECKING:
    from virtualobserver.analyses.driftscan.search import Searched

__all__ = ["event_panels", "statistics_panel"]

_TIME = Axis("time since the shutter opened", "s")
_UNITS: Final = dict.fromkeys(("time", "time_error", "host_time", "duration", "fluence"), "s") | {"trail": ""}
"""Of parameters; the number of a trail is no length."""
_TITLED: Final = frozenset({"star_id", "mag", "ccd"})
"""Parameters that the title of the samples tells."""


def event_panels(event: Event, searched: Sequence[Searched]) -> list[Panel]:
    """Return a star's samples with the form that was found, the common mode of its CCD, all trails, and facts.

    Samples that were left out are flagged. Of a spot there are facts alone.
    """
    titled = _TITLED if event.kind in {"pulse", "dip"} else frozenset()
    facts = event_facts(event, units=_UNITS, only=[name for name in event.parameters if name not in titled])
    wanted = [one for one in searched if one.product == event.product and event.kind in {"pulse", "dip"}]
    if not wanted:
        return [facts]
    one, trails = wanted[0], wanted[0].trails
    places = np.flatnonzero(trails.trail == event.parameters["trail"])
    if len(places) == 0:
        return [facts]
    number = int(places[0])
    time, value, error, trend = (
        trails.grid(name)[number] for name in ("time", "relative", "relative_error", "trend")
    )
    good, best = trails.good[number], one.best(event.kind)
    form = form_of(trails, best, number)
    level = np.average(value[good] - best.amplitude[number] * form[good], weights=1 / error[good] ** 2)
    dense = trails.start[number] + trails.step * np.arange(len(form))
    ccd = f", CCD {trails.ccd}" if trails.ccd else ""
    samples = Series(
        f"star {event.parameters['star_id']}{_bright(event)}{ccd}: {event.kind}, S/N {event.snr:.1f}",
        _TIME,
        Axis("flux over mean and common mode"),
        [
            Curve("samples", time, value, np.where(error >= 0, error, np.nan), flags=~good, colour="data"),
            Curve(_words(event), dense, level + best.amplitude[number] * form, style="line", colour="model"),
        ],
        [Mark("line", x=best.time[number])],
        note=", ".join(event.parameters.get("reasons") or []),
    )
    common = Series(
        "common mode", _TIME, Axis("flux over mean"), [Curve("", time, trend, style="line", colour="reference")],
        [Mark("line", x=best.time[number])],
    )  # fmt: skip
    return [samples, common, statistics_panel(searched, event), facts]


def statistics_panel(searched: Sequence[Searched], event: Event | None = None) -> Series:
    """Return how many trails have a pulse or dip above each S, beside what noise has."""
    curves = []
    total = 0
    for kind, role in (("pulse", "data"), ("dip", "second")):
        found = np.concatenate([one.best(kind).statistic[one.search.searched] for one in searched])
        level = np.sort(found)[::-1]
        total = len(level)
        curves.append(Curve(f"{kind}s", level, np.arange(1.0, total + 1), style="steps", colour=role))
    grid = np.linspace(1.0, 6.5, 200)
    null = searched[0].search.null
    expected = total * -np.expm1(null.trials(grid) * log_ndtr(grid))
    curves.append(Curve("noise", grid, expected, style="line", colour="reference"))
    marks = [] if event is None else [Mark("line", x=abs(event.snr), label="this one")]
    high = max(2.0 * total, 1.0)
    return Series(
        "all trails",
        Axis("strongest S of a trail"),
        Axis("trails above", scale="log", limits=(0.3, high)),
        curves,
        marks,
    )


def _bright(event: Event) -> str:
    mag = event.parameters.get("mag")
    return "" if mag is None else f" ({mag:.1f} mag)"


def _words(event: Event) -> str:
    facts = event.parameters
    return (
        f"{facts['shape']} of {facts['duration']:g} s at {facts['time']:.2f} ± {facts['time_error']:.2f} s, amplitude "
        f"{facts['amplitude']:.2f} ± {facts['amplitude_error']:.2f}"
    )
