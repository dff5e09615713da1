"""What all searches of a project find of what was injected: one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from virtualobserver.conventions import DAYS_PER_YEAR
from virtualobserver.plot.style import UNITS, log_strengths
from virtualobserver.typing import Record

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.typing import ColorType

    from virtualobserver.simulate import SearchEfficiency

__all__ = ["searches"]

_SHARES: Final = {
    "coverage": ("coverage_low", "coverage_high", "Covered by the data"),
    "search": ("search_low", "search_high", "Found, of what is covered"),
    "efficiency": ("low", "high", "Found, of all"),
}
_WIDTH, _ROW, _HEAD = 12.0, 2.5, 0.9
"""Inches: of the figure, of one search, of title and axis labels."""
_SHORT: Final = ("d", "yr", "h", "min", "s")
"""Units that take no s where there are several: two nights, two star h."""
_PALE: Final = 0.85
"""Where the colours of the lines end: yellow on white is hard to see."""
_SIDE_BY_SIDE: Final = 0.035
"""Step between lines in dex, so that their error bars do not hide one another. Chosen, not tuned."""


def searches(told: Sequence[SearchEfficiency], *, title: str = "") -> Figure:
    """Draw a row of panels for each search and kind of events.

    From left to right, against strength, with a line for each duration and intervals of one standard deviation: the
    share of the events of which the data have anything, the share of these that was found, and both together;
    then numbers, rate and upper limit.
    """
    figure = Figure(figsize=(_WIDTH, _HEAD + _ROW * len(told)), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=13)
    grid = figure.subplots(len(told), 4, squeeze=False, width_ratios=(1, 1, 1, 0.85))
    for number, (row, one) in enumerate(zip(grid, told, strict=True)):
        lines = _lines(one)
        for axes, (share, (low, high, heading)) in zip(row, _SHARES.items(), strict=False):
            _panel(axes, one, lines, (share, low, high))
            if number == 0:
                axes.set_title(heading, fontsize=11, pad=10)
            if axes is not row[0]:
                axes.tick_params(labelleft=False)
        name = one.analysis.replace("_", " ")
        row[0].set_ylabel(f"{name}\n{one.kind}, fraction" if one.kind else f"{name}, fraction", fontsize=10)
        _words(row[3], one, lines)
    return figure


def _lines(one: SearchEfficiency) -> list[tuple[str, ColorType, pd.DataFrame]]:
    """Return label, colour and rows of each line: one for each class of the second parameter of strength."""
    table, names = one.table, one.strength
    if len(names) < 2 or f"{names[1]}_low" not in table:
        return [("", "#1f4e79", table)]
    groups = list(table.groupby([f"{names[1]}_low", f"{names[1]}_high"], sort=True))
    colours = mpl.colormaps["viridis"](np.linspace(0.0, _PALE, max(len(groups), 2)))
    return [
        (" – ".join(dict.fromkeys((f"{low:.3g}", f"{high:.3g}"))), colour, part)
        for ((low, high), part), colour in zip(groups, colours, strict=False)
    ]


def _panel(
    axes: Axes,
    one: SearchEfficiency,
    lines: Sequence[tuple[str, ColorType, pd.DataFrame]],
    share: tuple[str, str, str],
) -> None:
    x, (name, low, high) = one.strength[0], share
    positive = bool(len(one.table)) and bool((one.table[f"{x}_low"] > 0).all())
    for number, (_, colour, part) in enumerate(lines):
        known = part[part[name].notna()].sort_values(f"{x}_low")
        left, right = known[f"{x}_low"].to_numpy(float), known[f"{x}_high"].to_numpy(float)
        middle = np.sqrt(left * right) if positive else (left + right) / 2
        if positive:
            middle = middle * 10 ** (_SIDE_BY_SIDE * (number - (len(lines) - 1) / 2))
        value = known[name].to_numpy(float)
        bars = np.clip([value - known[low], known[high] - value], 0, None)
        axes.errorbar(
            middle,
            value,
            yerr=bars,
            fmt="o-",
            ms=4.5,
            lw=1.4,
            elinewidth=1.1,
            capsize=0,
            color=colour,
            zorder=3,
        )
    if positive:
        log_strengths(axes, one.table[f"{x}_low"].min(), one.table[f"{x}_high"].max())
    axes.set(ylim=(-0.04, 1.04), yticks=(0, 0.25, 0.5, 0.75, 1.0))
    axes.set_xlabel(one.labels.get(x, x), fontsize=9)
    axes.tick_params(labelsize=8, which="both")
    axes.grid(color="#e4e4e4", lw=0.7, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)


def _words(axes: Axes, one: SearchEfficiency, lines: Sequence[tuple[str, ColorType, pd.DataFrame]]) -> None:
    """Write what the lines are, how many events they stand for, and what follows for their rate."""
    axes.set_axis_off()
    y = 1.0
    if len(lines) > 1:
        label = one.labels.get(one.strength[1], one.strength[1])
        axes.text(0, y, label, transform=axes.transAxes, va="top", fontsize=9, color="#444444")
        for label, colour, _ in lines:
            y -= 0.115
            axes.plot(
                [0.0, 0.1], [y - 0.035] * 2, color=colour, lw=2.2, transform=axes.transAxes, clip_on=False
            )
            axes.text(0.14, y, label, transform=axes.transAxes, va="top", fontsize=9)
        y -= 0.17
    elif (
        lines and lines[0][0]
    ):  # one for all, as the seeing of a night, and yet what is shown holds for that alone
        label = one.labels.get(one.strength[1], one.strength[1])
        axes.text(0, y, f"{label}: {lines[0][0]}", transform=axes.transAxes, va="top", fontsize=9)
        y -= 0.17
    axes.text(
        0, y, "\n".join(_facts(one.facts)), transform=axes.transAxes, va="top", fontsize=9, linespacing=1.5
    )
    axes.set(xlim=(0, 1), ylim=(0, 1))


def _facts(facts: Record) -> list[str]:
    """Return what the injections come to, and what was found without any, line by line."""
    said = [
        f"{facts['injected']} injected: {facts['covered']} covered,",
        f"{facts['recovered']} found",
    ]
    if not np.isfinite(facts.get("rate", np.nan)):
        return [*said, f"{facts['found']} in the data"]
    factor, unit = (
        (DAYS_PER_YEAR, "yr") if facts["unit"] == "d" else (1.0, UNITS.get(facts["unit"], facts["unit"]))
    )
    rate, low, high, limit = (factor * facts[f"rate{end}"] for end in ("", "_low", "_high", "_limit"))
    of = f"{facts['sources']} source{'s' if facts['sources'] != 1 else ''}"
    units = unit if str(unit).rpartition(" ")[2] in _SHORT else f"{unit}s"
    said.append(f"{facts['found']} in the data: {_number(facts['exposure'] / factor)} {units} of {of}")
    if facts["found"]:
        said.append(f"rate {_number(rate)} ({_number(low)} – {_number(high)}) per {unit}")
    said.append(f"less than {_number(limit)} per {unit} ({facts['confidence']:.0%})")
    return said


def _number(value: float) -> str:
    """Return two digits of a number, written out where that is no longer than six of them."""
    short = float(f"{value:.1e}")
    if 100 <= abs(short) < 1e6:
        return f"{short:.0f}"
    return (
        f"{short:.2g}"
        if 1e-3 <= abs(short) < 100
        else f"{short:.1e}".replace("e+0", "e").replace("e-0", "e-")
    )
