"""Pictures: everything about one star on one page, and how complete a search is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.classes import CANDIDATE
from virtualobserver.analyses.exocomets.matched.rates import CompletenessMap
from virtualobserver.analyses.exocomets.matched.search import chunk_of
from virtualobserver.analyses.exocomets.matched.star import StarSearch
from virtualobserver.analyses.exocomets.population import colour_and_magnitude
from virtualobserver.data.product import Target
from virtualobserver.data.result import Event
from virtualobserver.typing import Record, RecordDict
from virtualobserver.words import counted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = ["completeness_figure", "sample_figure", "star_figure"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_COLORS: Final = {
    CANDIDATE: "#c0392b",
    "activity": "#e07b00",
    "binary": "#6a3d9a",
    "instrument": "#7f7f7f",
    "unclear": "#1f4e79",
}
_CLASSES: Final = _COLORS | {
    "published_candidate": _COLORS[CANDIDATE],
    "quiet": "#6baed6",
    "not_searched": "#d0d0d0",
}
"""Classes of stars; any other is black."""
_MOST_LINES: Final = 120
"""Spectra drawn over each other; more make a solid band."""
_MOST_ROWS: Final = 400
"""Rows of the picture by time, about its height in pixels."""
_SHOWN: Final = 200.0
"""km/s; nearly all comets of beta Pic are within."""
_WORDS: Final = {
    "main_id": "", "sptype": "", "otype": "", "gaia_dr3": "Gaia DR3 ", "vsini": "v sin i ", "teff": "Teff ",
}  # fmt: skip
_DWARFS: Final = (
    (-0.120, 0.515), (-0.037, 1.00), (0.194, 1.98), (0.377, 2.51), (0.587, 3.26), (0.784, 4.325), (0.983, 5.553),
    (1.19, 6.22), (1.43, 6.85), (1.84, 8.10), (2.23, 9.29), (2.50, 10.05), (2.94, 11.21), (3.35, 12.45), (4.16, 14.26),
)  # fmt: skip
"""BP - RP and M_G of dwarfs from B9 to M6: E. Mamajek's table, see `spectral_class`."""


def star_figure(search: StarSearch, events: Sequence[Event], target: Target) -> Figure:
    """Draw what is known of a star, its spectra and residuals in each line, events, and the times.

    Panels: a table; spectra with the reference and residual S/N by time and velocity for K and H; velocity and
    S/N of the events; the star in the Hertzsprung-Russell diagram where colour and magnitude are known; the
    time line.
    """
    figure = Figure(figsize=(11.0, 12.5), layout="constrained")
    grid = figure.add_gridspec(5, 2, height_ratios=[1.1, 2.2, 2.2, 2.0, 0.7])
    _table(figure.add_subplot(grid[0, :]), search, events, target)
    rows = search.searched.rows
    if rows.size > _MOST_ROWS:
        rows = rows[np.linspace(0, rows.size - 1, _MOST_ROWS).astype(int)]
    for number, name in enumerate(search.names[:2]):
        # Where a line was not looked at, an event of the other one is none.
        share = f"coverage_{name.lower()}"
        own = [one for one in events if name in one.band and one.parameters.get(share) != 0.0]
        _spectra(figure.add_subplot(grid[1, number]), search, number, rows, own)
        _residuals(figure.add_subplot(grid[2, number]), search, number, rows, own)
    _events(figure.add_subplot(grid[3, 0]), search, events)
    _diagram(figure.add_subplot(grid[3, 1]), search, target)
    _times(figure.add_subplot(grid[4, :]), search, events)
    return figure


def _table(axes: Axes, search: StarSearch, events: Sequence[Event], target: Target) -> None:
    axes.axis("off")
    features, star = search.features, search.star
    counts = {kind: sum(event.kind == kind for event in events) for kind in _COLORS}
    found = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items() if count)
    place = "" if target.ra is None or target.dec is None else f"{target.ra:.4f}° {target.dec:+.4f}°"
    nights = np.unique(star.exposures.night[search.searched.rows]).size
    reference = _reference_words(search, nights)
    lines = [
        f"{star.instrument}  {place}  {_identity(star.sets[0].data.meta, target)}",
        f"{star.exposures.mjd.size} spectra, {search.searched.rows.size} searched in {nights} nights; "
        + (f"v* = {star.v_star:.2f} km/s" if star.v_known else "v* unknown: velocities are barycentric")
        + "; S/N per pixel "
        + ", ".join(
            f"{name} {np.median(1 / line.noise.sigma[search.searched.rows]):.0f}"
            for name, line in zip(search.names, search.searched.lines, strict=True)
            if search.searched.rows.size
        ),
        f"reference: {reference}; threshold {search.threshold:.1f}, of candidates {search.candidate:.1f}",
        _behaviour(features),
        f"events: {found or 'none'}",
    ]
    axes.set_title(f"{target.name or 'star'}, Ca II {' and '.join(search.names)}", fontsize=14)
    axes.text(0.01, 0.95, "\n".join(lines), va="top", ha="left", fontsize=10, linespacing=1.5)


def _reference_words(search: StarSearch, nights: int) -> str:
    if search.searched.mode == "quantile":
        return "upper envelope"
    if nights < 2:
        return "mean of the other spectra of the night"
    share = search.searched.hypothesis
    return f"mean of quiet nights (comet in {share})" if share in ("half", "most") else "mean of other nights"


def _identity(meta: Record, target: Target) -> str:
    """Return name, type and numbers of the star as the catalogue has them, else as SIMBAD and Gaia do."""
    simbad, gaia = meta.get("simbad") or {}, meta.get("gaia") or {}
    known = {"gaia_dr3": gaia.get("source_id") if str(gaia.get("catalogue", "")).endswith("dr3") else None}
    known |= {name: value for source in (simbad, target.extra) for name, value in source.items() if value}
    return "  ".join(f"{word}{known[key]}" for key, word in _WORDS.items() if known.get(key))


def _behaviour(features: RecordDict) -> str:
    return (
        f"emission core {features['emission_core']:.2f}; features upwards {features['n_emission']}, "
        f"downwards {features['n_absorption']}; shifts {features['rv_scatter']:.2f} km/s explain "
        f"{100 * features['shift_share']:.0f} % of the variability"
    )


def _spectra(axes: Axes, search: StarSearch, number: int, rows: IntArray, events: Sequence[Event]) -> None:
    line = search.searched.lines[number]
    v = line.spectra.velocity
    shown = np.abs(v) <= _SHOWN
    with_event = {float(event.peak_mjd) for event in events}
    marked = [row for row in rows if float(search.star.exposures.mjd[row]) in with_event]
    plain = (
        rows[np.linspace(0, rows.size - 1, min(rows.size, _MOST_LINES)).astype(int)] if rows.size else rows
    )
    for group, color in ((plain, "0.7"), (marked, "k")):
        for row in group:
            flux = np.where(line.spectra.good[row], line.spectra.flux[row], np.nan)
            axes.plot(v[shown], flux[shown], rasterized=True, color=color, lw=0.5)
    average = line.average if line.votes.era.size else np.full(v.size, np.nan)
    axes.plot(v[shown], average[shown], color="#c0392b", lw=1.6, label="reference")
    low, high = np.nanmin(average[shown], initial=0.0), np.nanmax(average[shown], initial=1.0)
    axes.set(xlim=(-_SHOWN, _SHOWN), ylim=(low - 0.1, high + 0.15))
    axes.set(xlabel=search.star.axis, ylabel="flux over continuum")
    axes.set_title(f"Ca II {search.names[number]}: grey without, black with event", fontsize=10)
    axes.legend(fontsize=8, frameon=False, loc="lower left")


def _residuals(axes: Axes, search: StarSearch, number: int, rows: IntArray, events: Sequence[Event]) -> None:
    """Draw all spectra in standard deviations, the events marked: what the filter saw."""
    line = search.searched.lines[number]
    reach = max(abs(search.searched.bank.v[0]), _SHOWN)
    chunk = chunk_of(line, rows, reach)
    v = line.spectra.velocity[np.abs(line.spectra.velocity) <= reach]
    image = np.where(chunk.weight > 0, -chunk.residual * np.sqrt(chunk.weight), np.nan)
    if not rows.size:
        axes.text(0.5, 0.5, "nothing searched", ha="center", transform=axes.transAxes)
        return
    mesh = axes.imshow(
        image,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=(float(v[0]), float(v[-1]), -0.5, rows.size - 0.5),
        vmin=-5,
        vmax=5,
        cmap="RdBu",
    )
    times = search.star.exposures.mjd[rows]
    for event in events:
        place = int(np.argmin(np.abs(times - event.peak_mjd)))
        for color, width in (("w", 3.2), (_COLORS.get(event.kind, "k"), 1.4)):
            axes.plot(event.parameters["velocity"], place, "o", ms=11, mfc="none", mec=color, mew=width)
    axes.set(xlabel=search.star.axis, ylabel="spectrum, in order of time")
    axes.set_title("residual over its noise (red: absorption)", fontsize=10)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.figure.colorbar(mesh, ax=axes, shrink=0.9, label="σ", extend="both")


def _events(axes: Axes, search: StarSearch, events: Sequence[Event]) -> None:
    hits = search.searched.hits
    axes.plot(hits["v"], hits["snr"], ".", color="0.75", ms=3, label="single spectra")
    for kind, color in _COLORS.items():
        own = [event for event in events if event.kind == kind]
        if own:
            axes.errorbar(
                [event.parameters["velocity"] for event in own],
                [event.score or 0.0 for event in own],
                xerr=[0.5 * event.parameters["fwhm"] for event in own],
                fmt="o",
                ms=5,
                lw=1,
                color=color,
                label=kind.replace("_", " "),
            )
    axes.axhline(search.threshold, color="#c0392b", ls="--", lw=1)
    if search.candidate > search.threshold * 1.01:
        axes.axhline(search.candidate, color="#c0392b", ls=":", lw=1)
    low, high = float(search.searched.bank.v.min()), float(search.searched.bank.v.max())
    axes.set(xlim=(low, high), xlabel=search.star.axis, ylabel="S/N of the best spectrum")
    # a comet may be a hundred times as strong as the threshold: both have to be seen
    axes.set(
        yscale="log", ylim=(2.5, 1.5 * max([10.0, *(event.score or 0.0 for event in events), *hits["snr"]]))
    )
    _plain_ticks(axes.yaxis, (3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000))
    axes.set_title("bars: widths; thresholds, dashed of events, dotted of candidates", fontsize=10)
    axes.legend(fontsize=8, frameon=False, loc="upper right")


def _diagram(axes: Axes, search: StarSearch, target: Target) -> None:
    _main_sequence(axes)
    place = colour_and_magnitude(target, search.star.sets[0].data.meta.get("gaia") or {})
    if place is not None:
        axes.plot(*place, "s", color="#1f4e79", ms=8)
    else:
        axes.text(0.5, 0.5, "no colour or parallax", ha="center", va="center", transform=axes.transAxes)
    axes.set_title("Hertzsprung-Russell diagram", fontsize=10)


def _main_sequence(axes: Axes) -> None:
    """Prepare a Hertzsprung-Russell diagram: colour against absolute magnitude, nearby dwarfs for orientation."""
    axes.plot(*zip(*_DWARFS, strict=True), color="0.75", lw=6, alpha=0.6, zorder=0)
    axes.set(xlim=(-0.5, 4.0), ylim=(15.0, -3.0), xlabel="$G_{BP}-G_{RP}$ [mag]", ylabel="$M_G$ [mag]")


def sample_figure(properties: pd.DataFrame, *, title: str = "") -> Figure:
    """Draw all stars of a sample in the Hertzsprung-Russell diagram, in the colour of their class.

    Parameters
    ----------
    properties
        One row per star: ``class, bp_rp, absolute_mag``; stars without the last two are counted below the diagram.
    """
    figure = Figure(figsize=(7.0, 7.5), layout="constrained")
    axes = figure.add_subplot()
    _main_sequence(axes)
    table = properties.reindex(columns=["class", "bp_rp", "absolute_mag"])
    placed = table[table[["bp_rp", "absolute_mag"]].notna().all(axis=1)]
    numbers = placed["class"].fillna("unknown").value_counts()
    for name in sorted(numbers.index, key=lambda one: (one == CANDIDATE, -numbers[one])):  # comets on top
        stars = placed[placed["class"].fillna("unknown") == name]
        comet = name == CANDIDATE
        axes.plot(
            stars["bp_rp"].astype(float),
            stars["absolute_mag"].astype(float),
            "*" if comet else "o",
            ms=13 if comet else 6,
            mec="k" if comet else "w",
            mew=0.6,
            color=_CLASSES.get(str(name), "k"),
            label=f"{str(name).replace('_', ' ')} ({len(stars)})",
        )
    if len(placed):
        # stars outside of the usual frame have to be seen, too
        colours, mags = placed["bp_rp"].astype(float), placed["absolute_mag"].astype(float)
        axes.set_xlim(min(-0.5, colours.min() - 0.2), max(4.0, colours.max() + 0.2))
        axes.set_ylim(max(15.0, mags.max() + 0.5), min(-3.0, mags.min() - 0.5))
        axes.legend(fontsize=9, frameon=False, loc="upper right")
    axes.set_title(title or "Hertzsprung-Russell diagram", fontsize=11)
    if without := len(table) - len(placed):
        told = f"{counted(without, 'star')} without colour or parallax not shown"
        axes.text(0.02, 0.02, told, transform=axes.transAxes, fontsize=9, color="0.4")
    return figure


def _times(axes: Axes, search: StarSearch, events: Sequence[Event]) -> None:
    exposures = search.star.exposures
    left = np.setdiff1d(np.arange(exposures.mjd.size), search.searched.rows)
    axes.plot(
        exposures.mjd[search.searched.rows], np.ones(search.searched.rows.size), "|", color="0.5", ms=12
    )
    axes.plot(exposures.mjd[left], np.ones(left.size), "x", color="0.8", ms=5)
    for event in events:
        axes.plot(event.peak_mjd, 1.0, "|", color=_COLORS.get(event.kind, "k"), ms=22, mew=2)
    axes.set(yticks=[], xlabel="MJD (UTC)")
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_title("observations; long marks are events, crosses were left out", fontsize=10)


def _plain_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Label a logarithmic axis at `ticks`, without powers of ten."""
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def completeness_figure(
    found: CompletenessMap,
    *,
    expected: FloatArray | None = None,
    depths: Sequence[float] = (),
    title: str = "",
) -> Figure:
    """Draw the fraction of comets that is found, by depth and width, a panel for each range of velocity.

    Parameters
    ----------
    found
        Injections and recoveries.
    expected
        Completeness from the noise, shape (depths, widths), drawn as contours at 50 and 95 % with `depths`; its
        widths are the middles of those of `found`.
    """
    panels = found.velocity_edges.size - 1
    figure = Figure(figsize=(3.4 * panels + 1.2, 4.2), layout="constrained")
    if title:
        figure.suptitle(title)
    mesh: Any = None
    for number in range(panels):
        axes = figure.add_subplot(1, panels, number + 1)
        values = found.fraction[:, :, number]
        mesh = axes.pcolormesh(found.fwhm_edges, found.depth_edges, values, vmin=0, vmax=1, cmap="viridis")
        axes.set(xscale="log", yscale="log", xlabel="width (FWHM) [km/s]", facecolor="0.93")
        for axis, ticks in ((axes.xaxis, (3, 10, 30, 100)), (axes.yaxis, (0.01, 0.03, 0.1, 0.3))):
            _plain_ticks(axis, ticks)
        axes.set_title(
            f"{found.velocity_edges[number]:.0f} to {found.velocity_edges[number + 1]:.0f} km/s", fontsize=10
        )
        for row, column in np.argwhere(found.injected[:, :, number] > 0):
            x = np.sqrt(found.fwhm_edges[column] * found.fwhm_edges[column + 1])
            y = np.sqrt(found.depth_edges[row] * found.depth_edges[row + 1])
            count = f"{found.found[row, column, number]}/{found.injected[row, column, number]}"
            dark = values[row, column] < 0.6
            axes.text(x, y, count, ha="center", va="center", fontsize=7, color="w" if dark else "k")
        axes.tick_params(labelleft=number == 0)
        if number == 0:
            axes.set_ylabel("depth in K")
        if expected is not None:
            middles = np.sqrt(found.fwhm_edges[:-1] * found.fwhm_edges[1:])
            axes.contour(middles, depths, expected, levels=[0.5, 0.95], colors="#c0392b", linewidths=1.2)
    if mesh is not None:
        figure.colorbar(mesh, ax=figure.axes, label="fraction found (grey: not tried)")
    return figure
