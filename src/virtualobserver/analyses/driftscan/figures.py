"""Pictures: one star's samples with what was found in them, and how strong events of all stars are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import log_ndtr

from virtualobserver.analyses.driftscan.vetoes import form_of
from virtualobserver.data.result import Event

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from virtualobserver.analyses.driftscan.search import Searched

__all__ = ["event_figure", "statistics_figure"]

_BLUE: Final = "#1f4e79"
_ORANGE: Final = "#e07b00"
_GREY: Final = "#9a9a9a"


def event_figure(event: Event, searched: Sequence[Searched]) -> Figure | None:
    """Draw the samples of a star with errors and the form that was found, and below what all stars did.

    Grey samples were left out.
    """
    wanted = [one for one in searched if one.product == event.product and event.kind in {"pulse", "dip"}]
    if not wanted:
        return None
    one, trails = wanted[0], wanted[0].trails
    (places,) = np.nonzero(trails.trail == event.parameters["trail"])
    if len(places) == 0:
        return None
    number = int(places[0])
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 6.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1.0])
    time, value, error, trend = (
        trails.grid(name)[number] for name in ("time", "relative", "relative_error", "trend")
    )
    good, best = trails.good[number], one.best(event.kind)
    for part, colour in ((~good, _GREY), (good, _BLUE)):
        above.errorbar(time[part], value[part], error[part], fmt="o", ms=4, lw=0.9, color=colour)
    form = form_of(trails, best, number)
    weight = 1 / error[good] ** 2
    level = np.average(value[good] - best.amplitude[number] * form[good], weights=weight)
    dense = trails.start[number] + trails.step * np.arange(len(form))
    above.plot(dense, level + best.amplitude[number] * form, color=_ORANGE, lw=1.6, label=_words(event))
    above.axvline(best.time[number], color=_ORANGE, lw=0.8, ls=":")
    above.set_ylabel("flux over mean and common mode")
    above.legend(fontsize=8, frameon=False)
    below.plot(time, trend, color=_BLUE, lw=1.0, marker=".", ms=4)
    below.set(xlabel="time since the shutter opened (s)", ylabel="common mode")
    said = event.parameters.get("reasons") or []
    star = f"star {event.parameters['star_id']}" + (f", CCD {trails.ccd}" if trails.ccd else "")
    figure.suptitle(f"{star}: {event.kind}, S/N {event.snr:.1f}" + (f" ({', '.join(said)})" if said else ""))
    return figure


def statistics_figure(searched: Sequence[Searched], title: str) -> Figure:
    """Draw how many trails have a pulse or dip above each S, beside what noise has."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    axes = figure.add_subplot()
    total = 0
    for kind, colour in (("pulse", _BLUE), ("dip", _ORANGE)):
        level = np.sort(np.concatenate([one.best(kind).statistic[one.search.searched] for one in searched]))[
            ::-1
        ]
        total = len(level)
        axes.step(level, np.arange(1, total + 1), where="post", color=colour, lw=1.2, label=f"{kind}s")
    grid = np.linspace(1.0, 6.5, 200)
    null = searched[0].search.null
    axes.plot(grid, total * -np.expm1(null.trials(grid) * log_ndtr(grid)), color=_GREY, lw=1.2, label="noise")
    axes.set(
        yscale="log", ylim=(0.3, None), xlabel="strongest S of a trail", ylabel="trails above", title=title
    )
    axes.legend(fontsize=8, frameon=False)
    return figure


def _words(event: Event) -> str:
    facts = event.parameters
    return (
        f"{facts['shape']} of {facts['duration']:g} s at {facts['time']:.2f} ± {facts['time_error']:.2f} s, amplitude "
        f"{facts['amplitude']:.2f} ± {facts['amplitude_error']:.2f}"
    )
