"""Panels as still pictures: one in a pair of axes, or several on a sheet."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.colors import AsinhNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from virtualobserver.data.panels import Axis, Curve, Facts, Heatmap, ImageStack, Panel, Series
from virtualobserver.plot.marks import draw_mark, draw_marks, plain
from virtualobserver.plot.style import FLAGGED, role_colour, stretch
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.gridspec import SubplotSpec

    from virtualobserver.maths.arrays import Array

__all__ = ["draw_panel", "draw_panels", "said"]

_WIDTH: Final = 12.0
"""Inches of a sheet with two columns: its letters are read on a screen and on a page."""
_ALONE: Final = 8.0
"""Inches of a sheet with one panel."""
_SERIES, _SKY, _MAP, _STRIP, _LINE = 3.1, 4.2, 3.4, 2.0, 0.19
"""Inches of height of a row with curves, with the sky, with a map, of a film, and of one fact."""
_TITLES: Final = 0.9
"""Inches above and below images, for titles and names of axes."""
_LEGEND_WIDTH: Final = 1.0
"""Inches beside images, for names of masks."""
_FEW: Final = 3
"""Images that stand side by side in one column."""
_SHOWN: Final = 8
"""Images of a stack side by side; more are too small to judge."""
_LETTERS: Final = 180
"""Of one line of the titles of a strip, together: the sheet holds 200 of their size."""
_NOTE: Final = 95
"""Letters of a line below a panel of one column."""
_LEGEND: Final = 64
"""Letters of a line of the legend, so that it stays within its column of the sheet."""
_KEY: Final = 6
"""Letters of which a sign of the legend takes the room."""
_MARKERS: Final = "os^Dv<>p"
"""One for each curve, since colours alone do not tell them apart for everybody."""
_MANY: Final = 300
"""Points from which on they are drawn smaller."""


def draw_panels(
    panels: Sequence[Panel], *, title: str = "", figsize: tuple[float, float] | None = None
) -> Figure:
    """Draw panels on one sheet, two in a row; a film takes a row for itself.

    Where one would be left over, the first is as wide as the sheet.

    Parameters
    ----------
    panels
        The most telling one first.
    title
        Above the sheet.
    figsize
        Width and height in inches; by default what the panels need.
    """
    rows = _rows(panels)
    heights = [max(_height(panel) for panel in row) for row in rows] or [1.0]
    alone = len(panels) == 1 and not _is_film(panels[0])
    size = figsize or (_ALONE if alone else _WIDTH, sum(heights) + (0.4 if title else 0.1))
    figure = Figure(figsize=size, layout="constrained")
    if title:
        figure.suptitle(plain(title), fontsize=12)
    grid = figure.add_gridspec(len(rows) or 1, 2, height_ratios=heights)
    for number, row in enumerate(rows):
        for column, panel in enumerate(row):
            place = grid[number, :] if len(row) == 1 else grid[number, column]
            if isinstance(panel, ImageStack):
                _strip(figure, place, panel)
            else:
                draw_panel(figure.add_subplot(place), panel)
    return figure


def draw_panel(axis: Axes, panel: Panel) -> None:
    """Draw one panel in a pair of axes; of a stack the image that is shown first."""
    if isinstance(panel, Series):
        _series(axis, panel)
    elif isinstance(panel, Heatmap):
        _heatmap(axis, panel)
    elif isinstance(panel, ImageStack):
        outlined = _image(axis, panel, panel.start, _norm(panel.images, panel.stretch, panel.value))
        if outlined:
            _legend_of_masks(axis, outlined)
        axis.set(xlabel=panel.x.label, ylabel=panel.y.label)
    else:
        _facts(axis, panel)


def said(value: object, unit: str = "") -> str:
    """Return a value as it is read: of a number as many digits as mean something, and all that a time of a day has."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _number(value, unit)
    return str(value)


def _number(value: float, unit: str) -> str:
    size = abs(value)
    if unit in _PLACES_OF:
        return f"{value:.{_PLACES_OF[unit]}f}"
    if 1e4 <= size < 1e6:
        return f"{value:.6f}".rstrip("0").rstrip(".") if unit in _OF_TIMES else f"{value:.0f}"
    if 0 < size < 1e-3:
        return f"{value:.2g}"
    return f"{value:.5g}" if unit in _OF_FIVE else f"{value:.4g}"


_PLACES_OF: Final[Mapping[str, int]] = {"mag": 3}
"""Digits behind the point."""
_OF_TIMES: Final = frozenset({"", "d", "MJD"})
_OF_FIVE: Final = frozenset({"d", "h", "min", "s", "deg"})
"""Units of periods and angles, which are known to five digits; most else is to three at best."""


# --- the sheet --------------------------------------------------------------------------------------------


def _is_film(panel: Panel) -> bool:
    """Whether a panel is a stack of more images than one column has room for."""
    return isinstance(panel, ImageStack) and len(panel) > _FEW


def _rows(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Return panels in rows; a film waits until the row before it is full."""
    single = [panel for panel in panels if not _is_film(panel)]
    lone = None
    if len(single) % 2:  # where images come first, the last is left over: they need no width
        lone = len(single) - 1 if isinstance(single[0], ImageStack) else 0
    singles = 0
    rows: list[list[Panel]] = []
    half: list[Panel] = []
    waiting: list[Panel] = []
    for panel in panels:
        if _is_film(panel):
            waiting.append(panel)
        else:
            if singles == lone:
                rows.append([panel])
            else:
                half.append(panel)
            singles += 1
        if len(half) == 2:
            rows.append(half)
            half = []
        if not half:
            rows += [[stack] for stack in waiting]
            waiting = []
    return rows + [[stack] for stack in waiting]


def _height(panel: Panel) -> float:
    if isinstance(panel, Facts):
        return 0.5 + _LINE * (len(panel.rows) + len(textwrap.wrap(panel.note, _NOTE)))
    more = 0.16 * len(textwrap.wrap(panel.note, _NOTE))
    if isinstance(panel, ImageStack):
        return more + _height_of_images(panel)
    if isinstance(panel, Heatmap):
        return more + _MAP
    return more + (_SKY if panel.equal and panel.x.limits and panel.y.limits else _SERIES)


def _height_of_images(panel: ImageStack) -> float:
    """Return the height at which images fill the width of their column, at most that of the sky."""
    if _is_film(panel) or not len(panel):
        return _STRIP
    left, right, bottom, top = panel.extent
    width = (_WIDTH / 2 - _LEGEND_WIDTH) / len(panel) - _TITLES / 2
    return float(np.clip(width * abs(top - bottom) / abs(right - left) + _TITLES, _STRIP, _SKY))


def _strip(figure: Figure, place: SubplotSpec, panel: ImageStack) -> None:
    """Draw some images of a stack side by side, that of the event among them."""
    n = len(panel)
    numbers = np.unique(np.linspace(0, n - 1, min(n, _SHOWN)).astype(int)) if n else np.array([], int)
    if n and panel.start not in numbers:
        numbers[int(np.argmin(np.abs(numbers - panel.start)))] = panel.start
    norm = _norm(panel.images, panel.stretch, panel.value)
    inner = place.subgridspec(1, max(len(numbers), 1))
    outlined: dict[str, Line2D] = {}
    for column, number in enumerate(numbers):
        axis = figure.add_subplot(inner[0, column])
        outlined |= _image(axis, panel, int(number), norm)
        axis.tick_params(labelsize=7)
        label = textwrap.fill(plain(panel.labels[number]), int(_LETTERS / len(numbers)))
        axis.set_title("", loc="left")
        axis.set_title(f"{plain(panel.title)}\n{label}" if column == 0 else label, fontsize=8)
        if column == 0:
            axis.set_xlabel(panel.x.label, fontsize=7)
            axis.set_ylabel(panel.y.label, fontsize=7)
        else:
            axis.tick_params(labelleft=False, labelbottom=False)
    if outlined:
        _legend_of_masks(axis, outlined)


# --- kinds ------------------------------------------------------------------------------------------------


def _series(axis: Axes, panel: Series) -> None:
    shown = [curve for curve in panel.curves if not curve.hidden]
    for number, curve in enumerate(shown):
        _curve(axis, curve, number)
    _scales(axis, panel.x, panel.y)
    if panel.x.limits is not None and panel.y.limits is None:
        _fit(axis, shown, panel.x.limits)
    draw_marks(axis, panel.marks)
    _turn(axis, panel.x, panel.y)
    if panel.equal:
        limited = panel.x.limits is not None and panel.y.limits is not None
        axis.set_aspect("equal", adjustable="box" if limited else "datalim")
    _words(axis, panel.title, panel.x, panel.y, panel.note)
    # light curves of one filter share a name
    keys = {label: handle for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if keys:
        columns = max(1, min(len(keys), 6, _LEGEND // (max(map(len, keys)) + _KEY)))
        rows = -(-len(keys) // columns)
        axis.set_title(plain(panel.title), loc="left", fontsize=10, pad=6 + 12 * rows)
        axis.legend(
            list(keys.values()), list(keys), loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, frameon=False,
            fontsize=8, borderaxespad=0.1, handletextpad=0.4, columnspacing=1.2,
        )  # fmt: skip


def _curve(axis: Axes, curve: Curve, number: int) -> None:
    colour = role_colour(curve.colour, number)
    label = plain(curve.label) or None
    good = np.ones(len(curve), bool) if curve.flags is None else ~curve.flags
    behind = 1 if curve.colour == "context" else 3 if curve.colour in ("event", "model") else 2
    if curve.style == "line":
        width = 1.2 if curve.colour != "context" else 0.6 if len(curve) > _MANY else 3.0
        axis.plot(
            curve.x,
            curve.y,
            color=colour,
            lw=width,
            label=label,
            zorder=behind,
            rasterized=len(curve) > _MANY,
        )
    elif curve.style == "steps":
        axis.step(curve.x, curve.y, where="mid", color=colour, lw=1.0, label=label, zorder=behind)
    elif curve.style == "bars":
        steps = np.diff(np.unique(curve.x[np.isfinite(curve.x)]))
        width = float(steps.min()) if steps.size else 1.0
        axis.bar(curve.x, curve.y, width=width, color=colour, label=label, zorder=behind, yerr=curve.y_error)
    else:
        size = 2.6 if len(curve) > _MANY else 4.0
        marker = "," if curve.colour == "context" and len(curve) > _MANY else _MARKERS[number % len(_MARKERS)]
        error = None if curve.y_error is None else np.nan_to_num(curve.y_error[good], nan=0.0, posinf=0.0)
        axis.errorbar(
            curve.x[good], curve.y[good], error, fmt=marker, ms=size, mew=0, lw=0, elinewidth=0.7, color=colour,
            label=label, zorder=behind,
        )  # fmt: skip
    if not good.all():
        axis.plot(curve.x[~good], curve.y[~good], "o", ms=4, mfc="none", mec=FLAGGED, mew=0.8, zorder=1)


def _fit(axis: Axes, curves: Sequence[Curve], limits: tuple[float, float]) -> None:
    """Let heights suit what is seen between two x."""
    ends: list[float] = []
    for curve in curves:
        inside = (curve.x >= limits[0]) & (curve.x <= limits[1]) & np.isfinite(curve.y)
        if curve.flags is not None and bool((inside & ~curve.flags).any()):
            inside &= ~curve.flags
        if inside.any():
            error = (
                0.0 if curve.y_error is None else np.nan_to_num(curve.y_error[inside], nan=0.0, posinf=0.0)
            )
            ends += [float((curve.y[inside] - error).min()), float((curve.y[inside] + error).max())]
    if ends and axis.get_yscale() == "linear":
        pad = 0.08 * (max(ends) - min(ends)) or 1.0
        axis.set_ylim(min(ends) - pad, max(ends) + pad)


def _heatmap(axis: Axes, panel: Heatmap) -> None:
    norm = _norm(panel.values, panel.stretch, panel.value)
    colours = "RdBu" if panel.stretch == "symmetric" else "viridis"
    axis.set_facecolor("0.93")
    mesh = axis.pcolormesh(
        panel.x_edges, panel.y_edges, panel.values, norm=norm, cmap=colours, rasterized=True
    )
    _scales(axis, panel.x, panel.y)
    if panel.text is not None:
        _cells(axis, panel, norm)
    draw_marks(axis, panel.marks)
    _turn(axis, panel.x, panel.y)
    extend = "both" if panel.value.limits is not None and panel.stretch != "linear" else "neither"
    bar = axis.figure.colorbar(mesh, ax=axis, shrink=0.9, extend=extend)
    bar.set_label(plain(panel.value.label), fontsize=8)
    bar.ax.tick_params(labelsize=8)
    _words(axis, panel.title, panel.x, panel.y, panel.note)


def _cells(axis: Axes, panel: Heatmap, norm: Normalize) -> None:
    x, y = (_middles(edges, one.scale) for edges, one in ((panel.x_edges, panel.x), (panel.y_edges, panel.y)))
    for row, texts in enumerate(panel.text or ()):
        for column, text in enumerate(texts):
            value = panel.values[row, column]
            dark = np.isfinite(value) and norm(value) < 0.6
            axis.text(
                x[column],
                y[row],
                plain(text),
                ha="center",
                va="center",
                fontsize=7,
                color="w" if dark else "k",
            )


def _middles(edges: Array, scale: str) -> Array:
    return np.asarray(np.sqrt(edges[1:] * edges[:-1]) if scale == "log" else (edges[1:] + edges[:-1]) / 2)


def _image(axis: Axes, panel: ImageStack, number: int, norm: Normalize) -> dict[str, Line2D]:
    """Draw one image of a stack, and return the lines that stand for its masks."""
    if not len(panel):
        axis.set_axis_off()
        return {}
    axis.set_facecolor("0.85")
    axis.imshow(
        panel.images[number],
        origin="lower",
        cmap="gray",
        norm=norm,
        interpolation="nearest",
        extent=panel.extent,
    )
    outlined = _outlines(axis, panel, number)
    for mark in panel.marks[number]:
        if mark.kind == "point" and mark.x is not None and mark.y is not None:
            _pointer(axis, panel, mark.x, mark.y, role_colour(mark.colour, 0))
        else:
            draw_mark(axis, mark)
    axis.set(xlim=panel.extent[:2], ylim=panel.extent[2:])
    axis.set_title(plain(panel.labels[number]), loc="left", fontsize=9)
    _turn(axis, panel.x, panel.y)
    return outlined


def _outlines(axis: Axes, panel: ImageStack, number: int) -> dict[str, Line2D]:
    """Draw the borders of masks, so that what lies below them stays visible."""
    left, right, bottom, top = panel.extent
    lines = {}
    for order, (name, mask) in enumerate(panel.masks.items()):
        one = np.pad(np.asarray(mask[number] if mask.ndim == 3 else mask, float), 1)
        if not one.any():
            continue
        step = (right - left) / (one.shape[1] - 2), (top - bottom) / (one.shape[0] - 2)
        x = left + (np.arange(one.shape[1]) - 0.5) * step[0]
        y = bottom + (np.arange(one.shape[0]) - 0.5) * step[1]
        colour = _OUTLINES[order % len(_OUTLINES)]
        axis.contour(x, y, one, levels=[0.5], colors=[colour], linewidths=1.0, zorder=3)
        lines[name] = Line2D([], [], color=colour, lw=1.4, label=plain(name))
    return lines


def _legend_of_masks(axis: Axes, lines: Mapping[str, Line2D]) -> None:
    """Say beside an image what the borders in it are: on top it would hide some."""
    axis.legend(
        handles=list(lines.values()), loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7, frameon=False,
        handlelength=1.0,
    )  # fmt: skip


_OUTLINES: Final = ("#ff8c00", "#4fc3f7", "#8bc34a", "#e57373")
"""Colours of the borders of masks, which stand out from grey."""


def _pointer(axis: Axes, panel: ImageStack, x: float, y: float, colour: str) -> None:
    """Point at a place in an image from both sides, so that what is there stays visible."""
    left, right, _, _ = panel.extent
    near, far = 0.16 * (right - left), 0.3 * (right - left)
    for side in (-1, 1):
        axis.plot([x + side * near, x + side * far], [y, y], color=colour, lw=1.2)


def _facts(axis: Axes, panel: Facts) -> None:
    axis.set_axis_off()
    axis.set_title(plain(panel.title), loc="left", fontsize=10)
    rows = [
        (name.replace("_", " "), f"{said(value, unit)} {unit}".strip()) for name, value, unit in panel.rows
    ]
    rows += [(line, "") for line in textwrap.wrap(panel.note, _NOTE)]
    style: RecordDict = {
        "xycoords": "axes fraction",
        "textcoords": "offset points",
        "va": "top",
        "fontsize": 9,
    }
    for number, (name, text) in enumerate(rows):
        down = (0, -72 * _LINE * number)
        axis.annotate(plain(name), (0.0, 1.0), down, color="#555555", **style)
        axis.annotate(plain(textwrap.shorten(text, 62, placeholder=" …")), (0.42, 1.0), down, **style)


# --- parts ------------------------------------------------------------------------------------------------


def _norm(values: Array, kind: str, value: Axis) -> Normalize:
    """Return how values become colours: all images of a stack in the same way."""
    low, high = value.limits or stretch(values, sky=kind == "zscale")
    if kind == "symmetric":
        high = max(abs(low), abs(high))
        low = -high
    if kind == "asinh":
        return AsinhNorm(linear_width=max((high - low) / 20, 1e-30), vmin=low, vmax=high)
    return Normalize(low, high)


def _scales(axis: Axes, x: Axis, y: Axis) -> None:
    for one, set_scale, line, set_limits in (
        (x, axis.set_xscale, axis.xaxis, axis.set_xlim),
        (y, axis.set_yscale, axis.yaxis, axis.set_ylim),
    ):
        if one.scale == "log":
            set_scale("log")
            line.set_major_locator(
                LogLocator(subs=(1, 3) if _decades(line.get_view_interval()) < 3 else (1,))
            )
            line.set_major_formatter("{x:g}")
            line.set_minor_formatter(NullFormatter())
        else:
            line.set_major_locator(MaxNLocator(5 if one.scale == "time" else 7, steps=[1, 2, 5, 10]))
            line.get_major_formatter().set_useOffset(False)  # type: ignore[attr-defined]
        if one.limits is not None:
            set_limits(*one.limits)


def _decades(ends: Sequence[float]) -> float:
    low, high = float(min(ends)), float(max(ends))
    return float(np.log10(high / low)) if low > 0 and high > 0 else 9.0


def _turn(axis: Axes, x: Axis, y: Axis) -> None:
    if (x.reverse or x.scale == "magnitude") and not axis.xaxis_inverted():
        axis.invert_xaxis()
    if (y.reverse or y.scale == "magnitude") and not axis.yaxis_inverted():
        axis.invert_yaxis()


def _words(axis: Axes, title: str, x: Axis, y: Axis, note: str) -> None:
    axis.set_title(plain(title), loc="left", fontsize=10)
    lines = [x.label, *textwrap.wrap(note, _NOTE)]
    axis.set_xlabel(plain("\n".join(lines)), fontsize=9)
    axis.set_ylabel(plain(y.label), fontsize=9)
    axis.tick_params(labelsize=8)
