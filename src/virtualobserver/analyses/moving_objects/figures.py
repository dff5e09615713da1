"""Pictures of movers and of how many are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.analyses.moving_objects.recall import strength_of
from virtualobserver.conventions import HOURS_PER_DAY
from virtualobserver.data.result import Event
from virtualobserver.data.table import Table
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.completeness import fit_completeness, recall_bins
from virtualobserver.maths.shiftstack.boxes import likelihood_along, open_likelihoods
from virtualobserver.maths.shiftstack.find import Harvest
from virtualobserver.maths.shiftstack.images import Stack
from virtualobserver.maths.shiftstack.stamps import coadd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from virtualobserver.maths.arrays import Array
    from virtualobserver.maths.shiftstack.explain import Mover

__all__ = ["event_sheet", "recall_curve", "stamp_sheet"]

_MOST: Final = 8
"""Movers on a sheet, one row each."""
_BINS: Final = 8
"""Bins of a recall figure; hundreds of injections leave tens in each."""
_BLUE: Final = "#1f4e79"
_ORANGE: Final = "#e07b00"


def stamp_sheet(stack: Stack, harvest: Harvest, *, most: int = _MOST, radius: int = 10) -> Figure:
    """Draw one line of pictures for each of the strongest movers.

    From the left: weighted coadd along the path; the same at rest, where only a real mover is smeared out; psi
    and phi summed along the path; signal-to-noise ratio of every epoch, open where it was left out.
    """
    from matplotlib.figure import Figure

    movers = harvest.movers[:most]
    tau = stack.mjd - stack.mjd[0]
    likelihoods = open_likelihoods(stack)
    rows = max(1, len(movers))
    figure = Figure(figsize=(12.0, 0.6 + 2.1 * rows), layout="constrained")
    axes = figure.subplots(rows, 5, squeeze=False, width_ratios=[1, 1, 1, 1, 1.9])
    if not movers:
        for one in axes.flat:
            one.set_axis_off()
        figure.suptitle(f"no mover above likelihood {harvest.level:.2f}")
        return figure
    for line, mover in zip(axes, movers, strict=True):
        x, y = mover.path.at(tau)
        middle = (np.full_like(x, x[len(x) // 2]), np.full_like(y, y[len(y) // 2]))
        pictures = [coadd(stack, x, y, kind="weighted", radius=radius, epochs=mover.kept)]
        pictures.append(coadd(stack, *middle, kind="weighted", radius=radius, epochs=mover.kept))
        corner = np.floor(np.stack([x, y], axis=1) + 0.5).astype(np.int64) - radius
        near = likelihoods.boxes(corner, (2 * radius + 1, 2 * radius + 1))
        pictures += [plane[mover.kept].sum(axis=0) for plane in (near.psi, near.phi)]
        for axis, picture in zip(line, pictures, strict=False):
            _picture(axis, picture, radius)
        line[1].images[0].set_clim(line[0].images[0].get_clim())
        line[0].set_ylabel(f"L = {mover.likelihood:.1f}\n{mover.n_obs} epochs")
        _epochs(line[4], tau, mover)
    for axis, title in zip(
        axes[0], ("along the path", "at rest", "sum of psi", "sum of phi", "each epoch"), strict=True
    ):
        axis.set_title(title)
    axes[-1][4].set_xlabel("hours since the first image")
    _headline(figure, harvest)
    return figure


def event_sheet(stack: Stack, event: Event, *, radius: int = 10) -> Figure:
    """Draw the mover of one detection, whose path its parameters give.

    From the left: the frame of the detection; weighted coadd along the path; the same at rest, where only a real
    mover is smeared out; signal-to-noise ratio of every epoch, that of the detection ringed.
    """
    from matplotlib.figure import Figure

    path, tau = event.parameters, stack.mjd - stack.mjd[0]
    since = stack.mjd - path["mjd0"]
    x, y = path["x0"] + path["vx"] * since, path["y0"] + path["vy"] * since
    frame = int(np.argmin(np.abs(stack.mjd - event.peak_mjd)))
    one = np.arange(len(tau)) == frame
    at_rest = (np.full_like(x, x[frame]), np.full_like(y, y[frame]))
    figure = Figure(figsize=(12.0, 3.2), layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=[1, 1, 1, 1.9])
    for axis, title, (column, row), epochs in (
        (axes[0], f"MJD {event.peak_mjd:.5f}", (x, y), one),
        (axes[1], "along the path", (x, y), None),
        (axes[2], "at rest", at_rest, None),
    ):
        _picture(axis, coadd(stack, column, row, kind="weighted", radius=radius, epochs=epochs), radius)
        axis.set_title(title, fontsize=10)
    axes[2].images[0].set_clim(axes[1].images[0].get_clim())
    axes[0].set_xlabel(f"x {x[frame]:.1f}, y {y[frame]:.1f} px")
    psi, phi = likelihood_along(open_likelihoods(stack), x, y)
    here = phi > 0
    snr = np.where(here, psi / np.sqrt(np.where(here, phi, 1.0)), np.nan)
    axes[3].axhline(0.0, color="0.7", lw=0.8)
    axes[3].plot(tau[here] * 24.0, snr[here], "o", ms=4, color=_BLUE)
    axes[3].plot(tau[frame] * 24.0, snr[frame], "o", ms=13, mfc="none", mec=_ORANGE, mew=1.8)
    axes[3].set(xlabel="hours since the first image", ylabel="S/N")
    axes[3].yaxis.tick_right()
    axes[3].yaxis.set_label_position("right")
    axes[3].set_title(
        f"L = {path['likelihood']:.1f} in {path['n_obs']} epochs, {path['rate']:.1f} arcsec/h", fontsize=10
    )
    return figure


def recall_curve(truth: Table, *, by: str = "") -> Figure:
    """Draw the fraction found with Wilson intervals, against magnitude or expected likelihood, and rate.

    Parameters
    ----------
    truth
        Injected movers with ``mag, likelihood, rate, found``.
    by
        Column of the left picture; by default ``mag`` where it is known and was drawn, else ``likelihood``.
    """
    from matplotlib.figure import Figure

    name = by or strength_of(truth)
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _binned(left, truth[name], truth["found"])
    labels = {"mag": "magnitude", "likelihood": "expected likelihood"}
    left.set(xlabel=labels.get(name, name), ylabel="fraction found", ylim=(-0.03, 1.06))
    sign = 1.0 if name == "mag" else -1.0
    try:
        fit = fit_completeness(sign * truth[name], truth["found"])
    except NotEnoughData:
        pass
    else:
        line = np.linspace(float(truth[name].min()), float(truth[name].max()), 200)
        left.plot(line, fit.at(sign * line), color=_ORANGE, lw=1.2)
        left.axvline(sign * fit.m50, color=_ORANGE, lw=0.8, ls=":")
        left.set_title(f"half found at {sign * fit.m50:.2f} ± {fit.m50_error:.2f}", fontsize=10)
    _binned(right, truth["rate"], truth["found"])
    right.set(xlabel="rate [arcsec/h]")
    right.set_title(f"{int(truth['found'].sum())} of {len(truth)} found", fontsize=10)
    return figure


def _picture(axis: Axes, picture: Array, radius: int) -> None:
    finite = picture[np.isfinite(picture)]
    low, high = np.percentile(finite, [2, 99.8]) if finite.size else (0.0, 1.0)
    high = high if high > low else low + 1.0
    axis.imshow(picture, origin="lower", cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    for side in (-1, 1):
        axis.plot([radius + side * 4, radius + side * 7], [radius, radius], color=_ORANGE, lw=1)


def _epochs(axis: Axes, tau: Array, mover: Mover) -> None:
    here = mover.phi > 0
    hours = tau * HOURS_PER_DAY
    with np.errstate(all="ignore"):
        snr = mover.psi / np.sqrt(mover.phi)
    axis.axhline(0.0, color="0.7", lw=0.8)
    axis.plot(hours[here & mover.kept], snr[here & mover.kept], "o", ms=4, color=_BLUE)
    axis.plot(hours[here & ~mover.kept], snr[here & ~mover.kept], "o", ms=4, mfc="none", mec=_ORANGE)
    axis.set_ylabel("S/N")
    axis.yaxis.tick_right()
    axis.yaxis.set_label_position("right")


def _headline(figure: Figure, harvest: Harvest) -> None:
    text = f"{len(harvest.movers)} movers above likelihood {harvest.level:.2f}"
    if harvest.inverted is not None and harvest.shuffled is not None:
        text += f"; false alarms: {len(harvest.inverted)} inverted, {len(harvest.shuffled)} shuffled"
    figure.suptitle(text)


def _binned(axis: Axes, value: Array, found: Array) -> None:
    low, high = float(np.min(value)), float(np.max(value))
    bins = recall_bins(value, found, np.linspace(low, high if high > low else low + 1.0, _BINS + 1))
    middle = 0.5 * (bins.edges[1:] + bins.edges[:-1])
    some = bins.injected > 0
    height = bins.recall[some]
    bars = [height - bins.interval.low[some], bins.interval.high[some] - height]
    axis.errorbar(middle[some], height, np.maximum(bars, 0.0), fmt="o", ms=5, color=_BLUE, capsize=2)
    for x, y, n in zip(middle[some], height, bins.injected[some], strict=True):
        axis.annotate(
            str(int(n)), (x, y), xytext=(4, -10), textcoords="offset points", fontsize=7, color="0.4"
        )
