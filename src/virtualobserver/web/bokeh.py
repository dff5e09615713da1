"""Panels as interactive pictures: a panel in, a figure of Bokeh as JSON out, which Bokeh's own script draws.

Nothing here is code for the page: what a button does stands in ``static/vet.js``, so that no text is run as a script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from virtualobserver.data.panels import Axis, Curve, Heatmap, ImageStack, Series
from virtualobserver.maths.arrays import Array
from virtualobserver.plot.style import FLAGGED, role_colour, stretch
from virtualobserver.typing import RecordDict, Value
from virtualobserver.web.marks import draw_marks, film_marks
from virtualobserver.web.views import View, other_scales, viewed

if TYPE_CHECKING:
    from bokeh.models import Axis as BokehAxis
    from bokeh.models import ColorMapper, ColumnDataSource, GlyphRenderer, Range
    from bokeh.plotting import figure as Figure  # noqa: N812 - a class by another name

__all__ = ["drawn", "scripts_folder"]

Limits = tuple[str, float, float]
"""A way to see an image: what it is called, the lowest and the highest value."""

MOST_POINTS: Final = 20_000
"""Points of a curve that are sent to a page; of longer ones the lowest and highest of each stretch."""
MOST_PIXELS: Final = 600
"""Pixels along a side of an image that are sent: a panel on a screen has fewer."""

_PADDING: Final = 0.06
"""Of the data left free beside them: the ring about an extreme point is not cut."""
_NUMBERS: Final = 4
"""Numbers below a panel: more overlap where it is a third of a small screen."""
_EVEN: Final = 0.5
"""Decades of a logarithmic axis below which even steps are as good, and 1, 2, 5 too few."""
_LIGHT: Final = {"background_fill_color": "#ffffff", "border_fill_color": "#ffffff"}


def scripts_folder() -> Path:
    """Return the folder of Bokeh's scripts, which come with the package."""
    import bokeh

    return Path(bokeh.__file__).parent / "server" / "static" / "js"


_AS_IT_IS: Final = View()


def drawn(panel: Series | Heatmap | ImageStack, target: str, view: View = _AS_IT_IS) -> RecordDict:
    """Return a panel as Bokeh's script takes it.

    Parameters
    ----------
    target
        Id of the element that it is drawn in.
    view
        How curves are to be shown.

    Returns
    -------
    dict
        ``item`` for ``Bokeh.embed.embed_item``, ``kind`` of the panel, ``scales`` that y can have, ``folds`` whether it
        may be folded, ``title``, which the page writes, and of images ``limits``: name, lowest and highest value of
        each stretch, and ``masks``: name and colour of each, drawn by the model ``mask N`` when asked for.
    """
    from bokeh.document import Document

    told: RecordDict = {
        "kind": type(panel).__name__.lower(),
        "title": panel.title,
        "scales": [],
        "folds": False,
        "limits": [],
    }
    if isinstance(panel, Series):
        told |= {"scales": other_scales(panel), "folds": panel.x.scale == "time" or panel.fold is not None}
        figure = _series(panel, view)
    elif isinstance(panel, Heatmap):
        figure, told["limits"] = _heatmap(panel)
    else:
        figure, told["limits"] = _film(panel)
        told |= {
            "labels": list(panel.labels),
            "start": panel.start,
            "masks": [(name, _mask_colour(n)) for n, name in enumerate(panel.masks)],
        }
    document = Document()
    document.add_root(figure)
    # what `bokeh.embed.json_item` returns, which goes through the figure three times
    return told | {
        "item": {"target_id": target, "root_id": figure.id, "doc": document.to_json(deferred=False)}
    }


def _figure(x: Axis, y: Axis, **options: Value) -> Figure:
    from bokeh.models import BasicTicker, BasicTickFormatter
    from bokeh.plotting import figure

    flipped = {name: _range(axis) for name, axis in (("x_range", x), ("y_range", y))}
    made = figure(
        x_axis_label=x.label, y_axis_label=y.label, sizing_mode="stretch_both", min_width=120,
        min_height=90, tools="pan,box_zoom,wheel_zoom,save,reset", active_drag="box_zoom", toolbar_location="right",
        x_axis_type="log" if x.scale == "log" else "linear", y_axis_type="log" if y.scale == "log" else "linear",
        output_backend="canvas", **_LIGHT, **flipped, **options,
    )  # fmt: skip
    made.toolbar.logo = None
    made.toolbar.autohide = True
    for axis, told in ((made.xaxis, x), (made.yaxis, y)):
        axis.axis_label_text_font_size = "11px"
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_standoff = 2
        axis.major_label_text_font_size = "11px"
        if told.scale != "log" and told is x:
            axis.ticker = BasicTicker(desired_num_ticks=_NUMBERS)
        if told.scale != "log":
            axis.formatter = BasicTickFormatter(use_scientific=told.scale != "time")
    made.grid.grid_line_color = "#ececec"
    return made


def _logarithmic(axis: BokehAxis, told: Axis, values: Sequence[Array]) -> None:
    """Write 1, 2, 5 beside a logarithmic axis of less than two decades: even steps would crowd at its upper end."""
    from bokeh.models import BasicTickFormatter, FixedTicker, LogTicker

    low, high = told.limits or _positive_ends(values)
    decades = np.log10(high / low)
    if decades >= 2:
        return
    axis.formatter = BasicTickFormatter(use_scientific=False)
    if decades < _EVEN:
        axis.ticker = LogTicker(desired_num_ticks=_NUMBERS)
        return
    powers = 10.0 ** np.arange(np.floor(np.log10(low)) - 1, np.ceil(np.log10(high)) + 2)
    axis.ticker = FixedTicker(
        ticks=np.outer(powers, (1, 2, 5)).ravel().tolist(),
        minor_ticks=np.outer(powers, (3, 4, 6, 7, 8, 9)).ravel().tolist(),
    )


def _positive_ends(values: Sequence[Array]) -> tuple[float, float]:
    """Return the lowest and the highest value that a logarithmic axis shows; a decade where there is none."""
    shown = np.concatenate([one[np.isfinite(one) & (one > 0)] for one in values] or [np.empty(0)])
    return (float(shown.min()), float(shown.max())) if shown.size else (1.0, 10.0)


def _range(axis: Axis) -> Range:
    from bokeh.models import DataRange1d, Range1d

    backwards = axis.scale == "magnitude" or axis.reverse
    if axis.limits is None:
        return DataRange1d(flipped=backwards, range_padding=_PADDING, only_visible=True)
    low, high = reversed(axis.limits) if backwards else axis.limits
    return Range1d(low, high)


# --- curves ------------------------------------------------------------------------------------------------


def _series(panel: Series, view: View) -> Figure:
    panel = viewed(panel, view)
    figure = _figure(panel.x, panel.y, match_aspect=panel.equal)
    labels: list[str] = []
    count = 0
    for curve in panel.curves:
        colour = role_colour(curve.colour, count)
        count += curve.colour is None
        labels += [curve.label] * bool(curve.label)
        _curve(figure, curve, colour)
    draw_marks(figure, panel.marks, _ends(panel))
    if panel.x.scale == "log":
        _logarithmic(figure.xaxis[0], panel.x, [curve.x for curve in panel.curves])
    if panel.y.scale == "log":
        _logarithmic(figure.yaxis[0], panel.y, [curve.y for curve in panel.curves])
    _legend(figure, list(dict.fromkeys(labels)))
    return figure


def _curve(figure: Figure, curve: Curve, colour: str) -> None:
    from bokeh.models import HoverTool

    rows = _thinned(curve.x, curve.y)
    x, y = curve.x[rows], curve.y[rows]
    columns: RecordDict = {
        "x": x,
        "y": y,
        "text": [""] * len(x) if curve.text is None else [curve.text[n] for n in rows],
    }
    shown = {"visible": not curve.hidden} | ({"legend_label": curve.label} if curve.label else {})
    tips = [
        (figure.xaxis[0].axis_label or "x", "@x{0.[00000]}"),
        (figure.yaxis[0].axis_label or "y", "@y{0.[0000]}"),
    ]
    if curve.text is not None:
        tips.append(("", "@text"))
    bad = np.zeros(len(x), dtype=bool) if curve.flags is None else curve.flags[rows]
    if curve.style != "points":
        glyph = _line(figure, curve, columns, colour, shown)
        figure.add_tools(HoverTool(renderers=[glyph], tooltips=tips, mode="mouse", visible=False))
        return
    if curve.y_error is not None:
        error = curve.y_error[rows]
        for which, tint in ((~bad, colour), (bad, FLAGGED)):
            some = which & np.isfinite(error)
            figure.segment(
                x[some], (y - error)[some], x[some], (y + error)[some], color=tint, alpha=0.4, **shown
            )
    for which, look in (
        (~bad, {"fill_color": colour, "line_color": colour, "fill_alpha": 0.75}),
        (bad, {"fill_color": None, "line_color": FLAGGED}),
    ):
        if which.any():
            source = {name: np.asarray(values, dtype=object)[which].tolist() if name == "text" else values[which]
                      for name, values in columns.items()}  # fmt: skip
            size = 3 if len(x) > 2000 else 5
            glyph = figure.scatter("x", "y", source=_source(source), size=size, **look, **shown)
            figure.add_tools(HoverTool(renderers=[glyph], tooltips=tips, mode="mouse", visible=False))


def _line(figure: Figure, curve: Curve, columns: RecordDict, colour: str, shown: RecordDict) -> GlyphRenderer:
    source = _source(columns)
    if curve.style == "bars":
        steps = np.diff(np.unique(curve.x[np.isfinite(curve.x)]))
        width = float(steps.min()) if steps.size else 1.0
        return figure.vbar("x", top="y", width=width, source=source, color=colour, alpha=0.6, **shown)
    if curve.style == "steps":
        return figure.step("x", "y", source=source, mode="center", color=colour, line_width=1.3, **shown)
    return figure.line("x", "y", source=source, color=colour, line_width=1.4, **shown)


def _source(columns: RecordDict) -> ColumnDataSource:
    from bokeh.models import ColumnDataSource

    return ColumnDataSource(columns)


def _thinned(x: Array, y: Array) -> Array:
    """Return which points are sent: all, or the lowest and the highest of each of many equal stretches."""
    if len(x) <= MOST_POINTS:
        return np.arange(len(x))
    stretches = np.array_split(np.arange(len(x)), MOST_POINTS // 2)
    kept = []
    for rows in stretches:
        good = rows[np.isfinite(y[rows])]
        if good.size:
            kept += [good[np.argmin(y[good])], good[np.argmax(y[good])]]
    return np.unique(kept)


def _legend(figure: Figure, labels: Sequence[str]) -> None:
    """Put what the curves are called above them, where it hides nothing, in a line if they are short."""
    if not labels or not figure.legend:
        return
    legend = figure.legend[0]
    legend.click_policy = "hide"
    legend.label_text_font_size = "10px"
    legend.spacing, legend.padding, legend.margin = 4, 0, 0
    legend.glyph_height, legend.glyph_width = 12, 14
    legend.inactive_fill_alpha = 0.45
    legend.border_line_color = None
    legend.location = "left"
    if sum(len(label) + _KEY for label in labels) <= _LINE:
        legend.orientation = "horizontal"
    else:
        legend.spacing = 0
    figure.add_layout(legend, "above")
    if len(labels) > 8:  # the picture would have no room left
        legend.visible = False


_LINE: Final = 44
"""Letters of a legend in one line above a panel that is a third of a small screen."""
_KEY: Final = 4
"""Letters for which there is room in the key of one curve."""


def _ends(panel: Series) -> tuple[float, float] | None:
    """Return the left and the right end of a panel of curves, None where they cannot be told."""
    if panel.x.scale == "log" or panel.x.reverse or panel.x.limits is not None:
        return panel.x.limits if panel.x.scale != "log" and not panel.x.reverse else None
    x = np.concatenate([curve.x[np.isfinite(curve.x)] for curve in panel.curves] or [np.empty(0)])
    return (float(x.min()), float(x.max())) if x.size else None


# --- images ------------------------------------------------------------------------------------------------


def _heatmap(panel: Heatmap) -> tuple[Figure, list[Limits]]:
    from bokeh.models import ColorBar, HoverTool

    values, extent = _even(panel)
    figure = _figure(_tight(panel.x, extent[:2]), _tight(panel.y, extent[2:]))
    limits = _limits(values, panel.value.limits, panel.stretch)
    mapper = _mapper(limits[0], panel.stretch, images=False)
    glyph = _image(figure, values, extent, mapper)
    tips = [
        (panel.x.label, "$x{0.[000]}"),
        (panel.y.label, "$y{0.[000]}"),
        (panel.value.label, "@image{0.[0000]}"),
    ]
    figure.add_tools(HoverTool(renderers=[glyph], tooltips=tips, visible=False))
    if panel.text is not None:
        _cell_texts(figure, panel)
    bar = ColorBar(color_mapper=mapper, width=8, padding=2, label_standoff=3, major_label_text_font_size="10px",
                   title=panel.value.label, title_text_font_size="10px", title_text_font_style="normal")  # fmt: skip
    figure.add_layout(bar, "right")
    draw_marks(figure, panel.marks)
    return figure, limits


def _cell_texts(figure: Figure, panel: Heatmap) -> None:
    x, y = (0.5 * (edges[1:] + edges[:-1]) for edges in (panel.x_edges, panel.y_edges))
    words = [word for row in panel.text or () for word in row]
    grid = np.meshgrid(x, y)
    figure.text(grid[0].ravel(), grid[1].ravel(), words, text_align="center", text_baseline="middle",
                text_font_size="10px", text_color="#ffffff", text_outline_color="#222222")  # fmt: skip


def _film(panel: ImageStack) -> tuple[Figure, list[Limits]]:
    from bokeh.models import HoverTool

    images = _smaller(panel.images)
    figure = _figure(panel.x, panel.y, match_aspect=True)
    limits = _limits(images, panel.value.limits, panel.stretch)
    start = min(panel.start, max(len(images) - 1, 0))
    mapper = _mapper(limits[0], panel.stretch, images=True)
    first = images[start] if len(images) else np.zeros((1, 1))
    glyph = _image(figure, first, panel.extent, mapper)
    glyph.data_source.name = "shown"
    frames = _source({"image": [frame.astype(np.float32) for frame in images]})
    frames.name = "frames"
    followed = film_marks(figure, panel.marks, panel.extent, start)
    for n, mask in enumerate(panel.masks.values()):
        _mask(figure, panel, n, mask, start)
    tips = [("x", "$x{0.0}"), ("y", "$y{0.0}"), (panel.value.label, "@image{0.[00]}")]
    figure.add_tools(HoverTool(renderers=[glyph], tooltips=tips, visible=False))
    # they are drawn by nobody, and travel with the figure all the same
    figure.tags = [frames, followed]
    return figure, limits


_MASKS: Final = ("#ff8c00", "#00a0e0", "#e0218a", "#2fb344", "#ffd500", "#9b5de5")


def _mask_colour(n: int) -> str:
    return _MASKS[n % len(_MASKS)]


def _mask(figure: Figure, panel: ImageStack, n: int, mask: Array, start: int) -> None:
    from bokeh.models import LinearColorMapper

    one = mask[start] if mask.ndim == 3 else mask
    mapper = LinearColorMapper(
        palette=[_mask_colour(n)],
        low=0.5,
        high=1.0,
        low_color="rgba(0, 0, 0, 0)",
        nan_color="rgba(0, 0, 0, 0)",
    )
    left, right, bottom, top = panel.extent
    figure.image(image=[_smaller(one[None].astype(np.float64))[0]], x=left, y=bottom, dw=right - left, dh=top - bottom,
                 color_mapper=mapper, alpha=0.7, visible=False, name=f"mask {n}")  # fmt: skip


def _image(
    figure: Figure, values: Array, extent: tuple[float, float, float, float], mapper: ColorMapper
) -> GlyphRenderer:
    left, right, bottom, top = extent
    source = _source({"image": [values.astype(np.float32)]})
    return figure.image(image="image", source=source, x=left, y=bottom, dw=right - left, dh=top - bottom,
                        color_mapper=mapper)  # fmt: skip


def _tight(axis: Axis, ends: tuple[float, float]) -> Axis:
    return axis if axis.limits is not None or axis.scale == "log" else replace(axis, limits=ends)


def _mapper(limits: Limits, stretch: str, *, images: bool) -> ColorMapper:
    from bokeh.models import LinearColorMapper
    from bokeh.palettes import Cividis256, Greys256, RdBu11, interp_palette

    if stretch == "symmetric":
        palette = list(interp_palette(RdBu11[::-1], 256))  # the lowest is red, as Matplotlib has it
    elif images:
        palette = list(Greys256)
    else:
        palette = list(Cividis256)
    if stretch == "asinh":
        steps = np.arcsinh(np.linspace(0, _SOFTENING, 256)) / np.arcsinh(_SOFTENING)
        palette = [palette[n] for n in np.rint(255 * steps).astype(int)]
    return LinearColorMapper(
        palette=palette, low=limits[1], high=limits[2], nan_color="#dfe6ee", name="colours"
    )


_SOFTENING: Final = 10.0
"""How much brighter than the bend the brightest is, as DS9 has it by default."""


def _limits(values: Array, given: tuple[float, float] | None, wanted: str) -> list[Limits]:
    """Return name, lowest and highest value of each way to see an image, the first as the panel wants it."""
    good = values[np.isfinite(values)]
    if not good.size:
        return [("all", 0.0, 1.0)]
    parts = {"99.5 %": (1.0, 99.5), "98 %": (1.0, 98.0), "90 %": (5.0, 90.0), "all": (0.0, 100.0)}
    found: dict[str, tuple[float, float]] = {"faint": stretch(good, sky=True)}
    for name, part in parts.items():
        low, high = np.percentile(good, part)
        found[name] = (float(low), float(high))
    first = {"zscale": "faint", "linear": "all", "asinh": "99.5 %", "symmetric": "99.5 %"}[wanted]
    named = [(name, *found[name]) for name in dict.fromkeys([first, *parts, "faint"])]
    if given is not None:
        named.insert(0, ("as measured", *given))
    if wanted == "symmetric" and given is None:
        named = [(name, -max(abs(low), abs(high)), max(abs(low), abs(high))) for name, low, high in named]
    return [(name, low, high if high > low else low + 1.0) for name, low, high in named]


def _even(panel: Heatmap) -> tuple[Array, tuple[float, float, float, float]]:
    """Return values in cells of equal size: as they are, or each cell what lies at its middle."""
    values = panel.values
    for axis, edges in ((1, panel.x_edges), (0, panel.y_edges)):
        steps = np.diff(edges)
        if np.allclose(steps, steps[0], rtol=1e-3):
            continue
        number = int(min(MOST_PIXELS, np.ceil((edges[-1] - edges[0]) / steps.min())))
        middles = np.linspace(edges[0], edges[-1], 2 * number + 1)[1::2]
        rows = np.clip(np.searchsorted(edges, middles, side="right") - 1, 0, len(steps) - 1)
        values = np.take(values, rows, axis=axis)
    return _smaller(values[None])[0], panel.extent


def _smaller(images: Array) -> Array:
    """Return images of at most `MOST_PIXELS` a side, the mean of the pixels that fall together."""
    for axis in (1, 2):
        size = images.shape[axis]
        together = -(-size // MOST_PIXELS)
        if together > 1:
            starts = np.arange(0, size, together)
            good = np.isfinite(images)
            sums = np.add.reduceat(np.where(good, images, 0.0), starts, axis=axis)
            with np.errstate(invalid="ignore"):
                images = sums / np.add.reduceat(good, starts, axis=axis, dtype=np.float64)
    return images
