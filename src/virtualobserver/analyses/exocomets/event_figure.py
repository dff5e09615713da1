"""The picture of one event: where, when and how deep it absorbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.search import chunk_of
from virtualobserver.analyses.exocomets.matched.star import StarSearch
from virtualobserver.data.result import Event
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["event_figure"]

IntArray = NDArray[np.int64]

_NEAR: Final = 40.0  # km/s shown on either side of an event at least: the core of the line gives the scale
_WIDTHS: Final = 3.0  # or so many widths of the event
_OTHERS: Final = 60  # spectra of other nights that are drawn, evenly chosen: more make the picture grey
_ROWS: Final = 12  # spectra before and after the night in the map of residuals
_MARK: Final = "#e07b00"
_REFERENCE: Final = "#c0392b"


def event_figure(search: StarSearch, event: Event) -> Figure:
    """Draw one event in each line: the spectra of its night against the reference, and the residuals around it.

    Above, other nights are grey, the spectra of the event black, and its velocity and width are shaded. Below, the
    residual over its noise of the spectra about the event in time, a frame around it.
    """
    at, width = float(event.parameters["velocity"]), float(event.parameters.get("fwhm") or 10.0)
    limits = (at - max(_NEAR, _WIDTHS * width), at + max(_NEAR, _WIDTHS * width))
    exposures, rows = search.star.exposures, search.searched.rows
    inside = rows[(exposures.mjd[rows] >= event.start_mjd) & (exposures.mjd[rows] <= event.end_mjd)]
    if inside.size == 0 and rows.size:
        inside = rows[[int(np.argmin(np.abs(exposures.mjd[rows] - event.peak_mjd)))]]
    names = search.names[:2]
    figure = Figure(figsize=(5.5 * len(names), 7.5), layout="constrained")
    panels = figure.subplots(2, len(names), squeeze=False, height_ratios=[1.2, 1.0])
    for number, name in enumerate(names):
        above, below = panels[0][number], panels[1][number]
        _spectra(above, search, number, inside, limits)
        _residuals(below, search, number, inside, limits=limits, event=(at, width))
        above.axvspan(at - width / 2, at + width / 2, color=_MARK, alpha=0.2, lw=0)
        above.set_title(f"Ca II {name}", fontsize=11)
        above.set_ylabel("flux over continuum" if number == 0 else "")
        below.set_xlabel(search.star.axis)
        below.set_ylabel("spectrum, in order of time" if number == 0 else "")
    figure.supxlabel(_words(event, inside.size), fontsize=10)
    return figure


def _words(event: Event, spectra: int) -> str:
    facts: list[str] = [f"MJD {event.peak_mjd:.5f}", f"S/N {event.snr:.1f}"]
    facts += [f"{spectra} spectra" if spectra != 1 else "1 spectrum"]
    units = {"velocity": "km/s", "fwhm": "km/s", "depth": "", "fap": ""}
    values: RecordDict = {name: event.parameters.get(name) for name in units}
    facts += [f"{name} {value:.3g} {units[name]}".strip() for name, value in values.items() if value]
    return ", ".join(facts)


def _spectra(
    axes: Axes, search: StarSearch, number: int, inside: IntArray, limits: tuple[float, float]
) -> None:
    line = search.searched.lines[number]
    v = line.spectra.velocity
    shown = (v >= limits[0]) & (v <= limits[1])
    others = np.setdiff1d(search.searched.rows, inside)
    if others.size > _OTHERS:
        others = others[np.linspace(0, others.size - 1, _OTHERS).astype(int)]
    for rows, color, width in ((others, "0.75", 0.5), (inside, "k", 0.9)):
        for row in rows:
            flux = np.where(line.spectra.good[row], line.spectra.flux[row], np.nan)
            axes.plot(v[shown], flux[shown], color=color, lw=width, rasterized=True)
    if line.votes.era.size:
        axes.plot(v[shown], line.average[shown], color=_REFERENCE, lw=1.4, label="reference")
        axes.legend(fontsize=8, frameon=False, loc="lower left")
    axes.set_xlim(limits)


def _residuals(
    axes: Axes,
    search: StarSearch,
    number: int,
    inside: IntArray,
    *,
    limits: tuple[float, float],
    event: tuple[float, float],
) -> None:
    """Draw the event's spectra and their neighbours in time.

    In standard deviations: a comet is a track, a defect one row.
    """
    line, rows = search.searched.lines[number], search.searched.rows
    if inside.size == 0:
        axes.text(0.5, 0.5, "nothing searched", ha="center", transform=axes.transAxes)
        return
    places = np.flatnonzero(np.isin(rows, inside))
    first, last = max(int(places[0]) - _ROWS, 0), min(int(places[-1]) + _ROWS + 1, rows.size)
    reach = max(abs(one) for one in limits)
    chunk = chunk_of(line, rows[first:last], reach)
    v = line.spectra.velocity[np.abs(line.spectra.velocity) <= reach]
    image = np.where(chunk.weight > 0, -chunk.residual * np.sqrt(chunk.weight), np.nan)
    mesh = axes.imshow(
        image, aspect="auto", origin="lower", interpolation="nearest", vmin=-5, vmax=5, cmap="RdBu",
        extent=(float(v[0]), float(v[-1]), first - 0.5, last - 0.5),
    )  # fmt: skip
    at, width = event
    edges = (at - width / 2, at + width / 2, places[0] - 0.5, places[-1] + 0.5)
    axes.plot(
        [edges[0], edges[1], edges[1], edges[0], edges[0]],
        [edges[2], edges[2], edges[3], edges[3], edges[2]],
        color=_MARK,
        lw=1.6,
    )
    axes.set(xlim=limits, ylim=(first - 0.5, last - 0.5))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.figure.colorbar(
        mesh, ax=axes, shrink=0.9, label="residual over noise (red: absorption)", extend="both"
    )
