"""What to see of a trail: its samples with what was found in them, and how strong events of all stars are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from virtualobserver.analyses.driftscan.samples import Trails
from virtualobserver.analyses.driftscan.vetoes import form_of
from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.data.curve_panels import event_facts
from virtualobserver.data.panels import Axis, Curve, Mark, Panel, Series
from virtualobserver.data.result import Event
from virtualobserver.maths.trails.search import Best, significance
from virtualobserver.maths.trails.spots import SPOT_COLUMNS

if TYPE_CHECKING:
    from virtualobserver.analyses.driftscan.search import Searched

__all__ = ["event_panels", "statistics_panel"]

FloatArray = NDArray[np.float64]
_OTHERS: Final = 30
"""Other stars in the picture: their median is good to a fifth of the scatter of one."""
_FEWEST: Final = 5
"""Stars with a median: that of five is right though two of them vary."""
_TIME = Axis("time since the shutter opened", "s")
_UNITS: Final = {
    **SPOT_COLUMNS, **dict.fromkeys(("time", "time_error", "host_time", "duration", "fluence"), "s"), "trail": "",
}  # fmt: skip
"""Of parameters: spots are in electrons and in widths of a star, and the number of a trail is no length."""
_LEAST: Final = 1e-300
"""Chances that floats do not hold (2e-308) are 0: of a pulse at S = 40, say."""
_TITLED: Final = frozenset({"mag", "ccd"})
"""Parameters that the title of the samples tells."""


def event_panels(event: Event, searched: Sequence[Searched]) -> list[Panel]:
    """Return what tells whether an event is one of its star.

    In this order: samples with the form that was found and what other bright stars do, how strong pulses and dips
    are at all times, where the trail lies and how wide it is (if that was measured), the common mode of the CCD, all
    trails, and facts. Samples that were left out are flagged. Of a spot there are facts alone.
    """
    titled = _TITLED if event.kind in {"pulse", "dip"} else frozenset()
    only = [name for name in event.parameters if name not in titled]
    facts = event_facts(event, units=_UNITS, only=only, least={"p_trail": _LEAST, "p_global": _LEAST})
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
    bright = "" if event.parameters.get("mag") is None else f", {event.parameters['mag']:.1f} mag"
    samples = Series(
        f"{event.kind}, S/N {event.snr:.1f}{bright}{ccd}",
        _TIME,
        Axis("flux over mean and common mode"),
        [
            *_others(trails, number),
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
    strength = _strength(one, best, number)
    return [
        samples,
        strength,
        *_across(trails, number, best.time[number]),
        common,
        statistics_panel(searched, event),
        facts,
    ]


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


def _others(trails: Trails, number: int) -> list[Curve]:
    """Return the middle of what the other bright stars do at the time of each sample, and their scatter beside it."""
    value, error = (
        np.where(trails.good, trails.grid(name), np.nan) for name in ("relative", "relative_error")
    )
    noise = np.full(len(trails), np.inf)
    some = np.isfinite(error).any(axis=1)
    noise[some] = np.nanmedian(error[some], axis=1)
    noise[number] = np.inf
    rows = np.argsort(noise, kind="stable")[:_OTHERS]
    rows = rows[np.isfinite(noise[rows])]
    if len(rows) < _FEWEST:
        return []
    at = trails.start[number] + trails.step * np.arange(value.shape[1])
    moved = np.stack(
        [_at(trails.start[row] + trails.step * np.arange(value.shape[1]), value[row], at) for row in rows]
    )
    moved = moved[:, (known := np.isfinite(moved).sum(axis=0) >= _FEWEST)]
    if not known.any():
        return []
    middle = np.nanmedian(moved, axis=0)
    scatter = MAD_TO_SIGMA * np.nanmedian(np.abs(moved - middle), axis=0)
    return [
        Curve(
            f"{len(rows)} other stars and their scatter",
            at[known],
            middle,
            style="line",
            colour="reference",
        ),
        Curve("", at[known], middle + scatter, style="line", colour="context"),
        Curve("", at[known], middle - scatter, style="line", colour="context"),
    ]


def _at(time: FloatArray, value: FloatArray, wanted: FloatArray) -> FloatArray:
    known = np.isfinite(value)
    if known.sum() < 2:
        return np.full(len(wanted), np.nan)
    return np.interp(wanted, time[known], value[known], left=np.nan, right=np.nan)


def _strength(one: Searched, best: Best, number: int) -> Series:
    """Return S of the event's own form at each time, and of the form that is strongest there, up or down."""
    trails = one.trails
    value, error = (trails.grid(name)[number] for name in ("relative", "relative_error"))
    since, found = significance(value, error, trails.good[number], step=trails.step, sigma=trails.sigma)
    found = found / one.search.scale
    own = found[int(best.shape[number])]
    strongest = np.argmax(np.abs(np.nan_to_num(found)), axis=0)
    most = np.take_along_axis(found, strongest[None, :], axis=0)[0]
    time = trails.start[number] + since
    curves = [
        Curve("any form", time, most, style="line", colour="reference"),
        Curve("this form", time, own, style="line", colour="data"),
    ]
    return Series("matched filter", _TIME, Axis("S"), curves, [Mark("line", x=best.time[number])])


def _across(trails: Trails, number: int, peak: float) -> list[Series]:
    """Return where the light of each sample lies beside its star, and how wide it is; nothing if nobody measured."""
    panels = []
    for name, title, axis in (
        ("shift", "place across the trail", Axis("beside the star", "pix")),
        ("width", "width across the trail", Axis("logarithm, over that of stars")),
    ):
        if name not in trails.table or f"{name}_error" not in trails.table:
            continue
        time, value, error = (trails.grid(one)[number] for one in ("time", name, f"{name}_error"))
        good = trails.good[number]
        shown = Curve(
            "", time, np.where(good, value, np.nan), np.where(error >= 0, error, np.nan), colour="data"
        )
        panels.append(Series(title, _TIME, axis, [shown], [Mark("line", x=peak)]))
    return panels


def _words(event: Event) -> str:
    facts = event.parameters
    return f"{facts['shape']} of {facts['duration']:g} s at {facts['time']:.2f} s"
