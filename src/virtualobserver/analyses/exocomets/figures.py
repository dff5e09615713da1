"""Pictures: everything about one star on one page, and how complete a search is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched import StarSearch
from virtualobserver.data.product import Target
from virtualobserver.data.result import Event
from virtualobserver.maths.exocomets_class import CANDIDATE
from virtualobserver.maths.exocomets_rates import CompletenessMap
from virtualobserver.maths.exocomets_search import chunk_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["completeness_figure", "star_figure"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_COLORS: Final = {
    CANDIDATE: "#c0392b",
    "activity": "#e07b00",
    "binary": "#6a3d9a",
    "instrument": "#7f7f7f",
    "unclear": "#1f4e79",
}
_MOST_LINES: Final = 120
_MOST_ROWS: Final = 400
_SHOWN: Final = 200.0


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
        own = [event for event in events if name in event.band]
        _spectra(figure.add_subplot(grid[1, number]), search, number, rows, own)
        _residuals(figure.add_subplot(grid[2, number]), search, number, rows, own)
    _events(figure.add_subplot(grid[3, 0]), search, events)
    _diagram(figure.add_subplot(grid[3, 1]), search, target)
    _times(figure.add_subplot(grid[4, :]), search, events)
    return figure


def _table(axes: Axes, search: StarSearch, events: Sequence[Event], target: Target) -> None:
    axes.axis("off")
    features, star, extra = search.features, search.star, target.extra
    counts = {kind: sum(event.kind == kind for event in events) for kind in _COLORS}
    found = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items() if count)
    place = "" if target.ra is None or target.dec is None else f"{target.ra:.4f}° {target.dec:+.4f}°"
    known = "  ".join(
        f"{key} {extra[key]}" for key in ("sptype", "gaia_dr3", "vsini", "teff") if extra.get(key)
    )
    nights = np.unique(star.exposures.night[search.searched.rows]).size
    reference = {"mean": "mean of other nights", "quantile": "upper envelope"}[search.searched.mode]
    lines = [
        f"{star.instrument}  {place}  {known}",
        f"{star.exposures.mjd.size} spectra, {search.searched.rows.size} searched in {nights} nights; "
        f"v* = {star.v_star:.2f} km/s; S/N per pixel "
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


def _behaviour(features: dict[str, Any]) -> str:
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
    axes.set(xlabel="velocity in the star's frame [km/s]", ylabel="flux over continuum")
    axes.set_title(f"Ca II {search.names[number]}: grey without, black with event", fontsize=10)
    axes.legend(fontsize=8, frameon=False, loc="lower left")


def _residuals(axes: Axes, search: StarSearch, number: int, rows: IntArray, events: Sequence[Event]) -> None:
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
        axes.plot(
            event.parameters["velocity"],
            place,
            "o",
            ms=9,
            mfc="none",
            mec=_COLORS.get(event.kind, "k"),
            mew=1.4,
        )
    axes.set(xlabel="velocity in the star's frame [km/s]", ylabel="spectrum, in order of time")
    axes.set_title("residual over its noise (red: absorption)", fontsize=10)
    axes.figure.colorbar(mesh, ax=axes, shrink=0.9)


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
    axes.set(
        xlim=(low, high), xlabel="velocity in the star's frame [km/s]", ylabel="S/N of the best spectrum"
    )
    axes.set_title("events; bars are widths, dashed the threshold", fontsize=10)
    axes.legend(fontsize=8, frameon=False)


def _diagram(axes: Axes, search: StarSearch, target: Target) -> None:
    """Draw colour against absolute magnitude, the main sequence of nearby stars for orientation.

    What the catalogue gives comes first, then the star that the survey found in Gaia.
    """
    gaia = search.star.sets[0].data.meta.get("gaia") or {}
    colour = [0.0, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
    axes.plot(colour, [1.0, 2.6, 3.5, 4.6, 5.6, 7.3, 8.5, 9.8, 11.2, 12.6], color="0.75", lw=6, alpha=0.6)
    value, parallax = target.extra.get("bp_rp", gaia.get("bp_rp")), target.parallax or gaia.get("parallax")
    mag = target.extra.get("phot_g_mean_mag", gaia.get("mag") or target.mag)
    if value is not None and mag is not None and parallax is not None and parallax > 0:
        absolute = float(mag) + 5.0 * (np.log10(float(parallax)) - 2.0)
        axes.plot(float(value), absolute, "s", color="#1f4e79", ms=8)
    else:
        axes.text(0.5, 0.5, "no colour or parallax", ha="center", va="center", transform=axes.transAxes)
    axes.set(xlim=(-0.5, 4.0), ylim=(15.0, -3.0), xlabel="$G_{BP}-G_{RP}$ [mag]", ylabel="$M_G$ [mag]")
    axes.set_title("Hertzsprung-Russell diagram", fontsize=10)


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
        axes.set(xscale="log", yscale="log", xlabel="width (FWHM) [km/s]")
        axes.set_title(
            f"{found.velocity_edges[number]:.0f} to {found.velocity_edges[number + 1]:.0f} km/s", fontsize=10
        )
        for row, column in np.argwhere(found.injected[:, :, number] > 0):
            x = np.sqrt(found.fwhm_edges[column] * found.fwhm_edges[column + 1])
            y = np.sqrt(found.depth_edges[row] * found.depth_edges[row + 1])
            count = f"{found.found[row, column, number]}/{found.injected[row, column, number]}"
            dark = values[row, column] < 0.6
            axes.text(x, y, count, ha="center", va="center", fontsize=7, color="w" if dark else "k")
        if number == 0:
            axes.set_ylabel("depth in K")
        if expected is not None:
            middles = np.sqrt(found.fwhm_edges[:-1] * found.fwhm_edges[1:])
            axes.contour(middles, depths, expected, levels=[0.5, 0.95], colors="#c0392b", linewidths=1.2)
    if mesh is not None:
        figure.colorbar(mesh, ax=figure.axes, label="fraction found")
    return figure
