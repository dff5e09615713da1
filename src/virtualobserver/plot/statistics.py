"""Counts and efficiencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from virtualobserver.data.histogram import Histogram
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.plot.style import PLAIN, edges, log_strengths, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["efficiency", "histogram"]


def histogram(
    counts: Histogram,
    *,
    x: str | None = None,
    y: str | None = None,
    title: str = "",
    log: bool = True,
    figsize: tuple[float, float] = (7.0, 4.5),
) -> Figure:
    """Draw a histogram over one axis (by default its first), or two as a map; the other axes are summed.

    What lies outside or is missing is written into the picture.
    """
    x = x or counts.axes[0].name
    figure, axes = new_figure(figsize, title)
    names = (x,) if y is None else (x, y)
    projected = counts.project(*names)
    array, codes = projected.dense()
    dataset = [axis.centers(code[3:]) for axis, code in zip(projected.axes, codes, strict=True)]
    regular = np.asarray(array, dtype=np.float64)[tuple(slice(3, None) for _ in names)]
    labels = [f"{one.name} [{one.unit}]" if one.unit else one.name for one in projected.axes]
    axes.set_xlabel(labels[0])
    if y is None:
        _bars(axes, dataset[0], regular, projected.axes[0].step)
        axes.set_ylabel("number")
        if log and (regular > 0).any():
            axes.set_yscale("log")
            axes.set_ylim(bottom=0.5)
    else:
        axes.set_ylabel(labels[1])
        _map(axes, figure, dataset, regular, log=log)
    outside = f"below {counts.underflow(x)} · above {counts.overflow(x)} · missing {counts.missing(x)}"
    axes.text(
        1.0, 1.01, outside, ha="right", va="bottom", transform=axes.transAxes, fontsize=8, color="#444444"
    )
    return figure


def efficiency(
    table: pd.DataFrame,
    *,
    x: str | None = None,
    by: str | None = None,
    title: str = "",
    figsize: tuple[float, float] = (7.0, 4.5),
) -> Figure:
    """Draw the fraction of injected events that was found, one line for each class of `by`, and each kind.

    Parameters
    ----------
    table
        As `virtualobserver.simulate.efficiency` returns it.
    x, by
        Parameters along the axis and for the lines; by default the first and the second that the table has.
    """
    figure, axes = new_figure(figsize, title)
    shares = ("coverage", "search")
    names = [str(name).removesuffix("_low") for name in table.columns if str(name).endswith("_low")]
    names = [name for name in names if name not in shares]
    if not names:
        msg = (
            f"an efficiency table has columns <name>_low and <name>_high; this one has {list(table.columns)}"
        )
        raise DataError(msg)
    x = x or names[0]
    by = by or next((name for name in names if name != x), None)
    groups = _classes(table, by)
    for number, (label, part) in enumerate(groups):
        # side by side, so that error bars do not hide one another
        shift = 1.01 ** (number - len(groups) / 2)
        _efficiency_line(axes, part.sort_values(f"{x}_low"), x, shift, label=label, color=f"C{number % 10}")
    if (table[f"{x}_low"].dropna() > 0).all():  # of kinds that are told by something else there is none
        log_strengths(axes, table[f"{x}_low"].min(), table[f"{x}_high"].max())
    label = table.attrs.get("axes", {}).get(x, x)
    axes.set(xlabel=label, ylabel="fraction found", ylim=(-0.03, 1.03))
    if len(groups) > 1:
        axes.legend(fontsize=8, frameon=False)
    return figure


def _classes(table: pd.DataFrame, by: str | None) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of each line: one for each bin of `by` and each text, such as the kind."""
    texts = [
        name for name in table.columns if name in ("analysis", "kind") and table[name].astype(bool).any()
    ]
    keys = [*texts, *([f"{by}_low", f"{by}_high"] if by is not None else [])]
    if not keys:
        return [("", table)]
    found = []
    for values, part in table.groupby(keys):
        said = [str(value) for value in values[: len(texts)]]
        said += [f"{by} {values[-2]:.3g} to {values[-1]:.3g}"] if by is not None else []
        found.append((", ".join(said), part))
    return found


def _efficiency_line(axes: Axes, part: pd.DataFrame, x: str, shift: float, **style: Any) -> None:
    low, high = part[f"{x}_low"].to_numpy(), part[f"{x}_high"].to_numpy()
    middle = np.sqrt(low * high) if (low > 0).all() else (low + high) / 2
    value = part["efficiency"].to_numpy()
    bars = np.clip([value - part["low"], part["high"] - value], 0, None)
    axes.errorbar(middle * shift, value, yerr=bars, fmt="o-", ms=4, lw=1, capsize=2, **style)


def _bars(axes: Axes, centers: Array, counts: Array, step: float) -> None:
    if centers.dtype == object:
        axes.bar([str(center) for center in centers], counts, color=PLAIN)
    else:
        axes.bar(centers, counts, width=step, color=PLAIN)


def _map(axes: Axes, figure: Figure, centers: Sequence[Array], counts: Array, *, log: bool) -> None:
    if counts.size == 0 or not (counts > 0).any():
        return
    places = [np.arange(len(one)) if one.dtype == object else one.astype(float) for one in centers]
    norm = LogNorm(vmin=1, vmax=max(counts.max(), 2)) if log else None
    mesh = axes.pcolormesh(
        edges(places[0]),
        edges(places[1]),
        np.where(counts > 0, counts, np.nan).T,
        norm=norm,
        rasterized=True,
    )
    for one, place, set_ticks in zip(centers, places, (axes.set_xticks, axes.set_yticks), strict=True):
        if one.dtype == object:
            set_ticks(place, [str(label) for label in one])
    figure.colorbar(mesh, ax=axes, label="number")
