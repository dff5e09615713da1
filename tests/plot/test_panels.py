"""Panels are drawn whole: every axis says what it counts, and nothing hides what there is to see."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from virtualobserver.data import Event, Table, TimeSeries, as_handle
from virtualobserver.data.curve_panels import curve_panels, default_panels, event_facts, flag_words
from virtualobserver.data.panels import ROLES, Axis, Curve, Facts, Heatmap, ImageStack, Mark, Panel, Series
from virtualobserver.plot import draw_panel, draw_panels, plot
from virtualobserver.plot.panels import said
from virtualobserver.plot.style import role_colour

TIME, FLUX = Axis("MJD", scale="time"), Axis("flux", "uJy")
EVENT = Event("dip", peak_mjd=58030.0, start_mjd=58029.0, end_mjd=58031.0, snr=-20.0, band="zr", product=1)


def series(**changes):
    x = 58000 + np.arange(20.0)
    flags = np.arange(20) == 7
    curves = [
        Curve("g", x, np.sin(x), np.full(20, 0.1), flags, colour="band g"),
        Curve("model", x, np.sin(x), style="line", colour="model"),
        Curve("later", x, x, hidden=True),
    ]
    marks = [
        Mark("line", x=58003, label="t0"),
        Mark("span", x=58005, x_end=58006),
        Mark("line", y=0.5, label="level"),
        Mark("span", y=-0.1, y_end=0.1, label="band"),
        Mark("point", x=58010, y=0.0, label="here"),
        Mark("box", x=58011, x_end=58012, y=0, y_end=1),
        Mark("line", x=58011, x_end=58012, y=0, y_end=1),
    ]
    return Series("curves", TIME, FLUX, curves, marks, **changes)


def film(n=20):
    images = np.random.default_rng(0).normal(size=(n, 9, 11))
    return ImageStack(
        "film", images, [str(k) for k in range(n)], marks=[[Mark("point", x=5, y=4)]] * n, start=min(7, n - 1)
    )


def heatmap(**changes):
    return Heatmap("map", Axis("v", "km/s"), Axis("row"), np.arange(6.0).reshape(2, 3) - 2, **changes)


def axes_of(panel: Panel):
    axes = Figure().add_subplot()
    draw_panel(axes, panel)
    return axes


def drawn(figure: Figure) -> None:
    figure.savefig(io.BytesIO(), format="png", dpi=40)


def test_a_series_has_units_legend_errors_and_hollow_flagged_points():
    axes = axes_of(series(note="as it is"))
    assert axes.get_ylabel() == "flux (µJy)"
    assert axes.get_xlabel() == "MJD\nas it is"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["model", "g"]
    hollow = [
        line for line in axes.lines if line.get_markerfacecolor() == "none" and line.get_marker() == "o"
    ]
    assert any(list(line.get_xdata()) == [58007.0] for line in hollow)
    assert {text.get_text() for text in axes.texts} == {"t0", "level", "band", "here"}


def test_a_legend_of_many_long_names_stays_within_its_panel():
    curves = [Curve(f"(90000{n}) Asteroid", np.arange(3.0), np.arange(3.0) + n) for n in range(6)]
    figure = draw_panels([series(), Series("residuals", Axis("east"), Axis("north"), curves)])
    figure.draw_without_rendering()
    axes = figure.axes[1]
    legend = axes.get_legend()
    assert len(legend.get_texts()) == 6
    assert legend.get_window_extent().x1 <= axes.get_window_extent().x1 + 1
    assert legend.get_window_extent().y1 <= axes._left_title.get_window_extent().y0 + 3


def test_heights_suit_what_is_seen_between_limits_of_x():
    x = np.arange(10.0)
    y = np.where(x < 5, x, 1000.0)
    panel = Series("near", Axis("x", limits=(0, 4.5)), FLUX, [Curve("", x, y)])
    low, high = axes_of(panel).get_ylim()
    assert -1 < low < 0
    assert 4 < high < 5


@pytest.mark.parametrize(
    ("axis", "turned"),
    [(Axis("m", "mag", "magnitude"), True), (Axis("ra", reverse=True), True), (FLUX, False)],
)
def test_magnitudes_and_right_ascensions_run_backwards(axis, turned):
    panel = Series("", TIME, axis, [Curve("", np.arange(3.0), np.arange(3.0))])
    assert axes_of(panel).yaxis_inverted() == turned
    limited = Axis(axis.name, axis.unit, axis.scale, (1.0, 9.0), axis.reverse)
    ends = axes_of(Series("", TIME, limited, [])).get_ylim()
    assert ends == ((9, 1) if turned else (1, 9))


def test_a_heatmap_shows_its_cells_its_texts_and_zero_in_the_middle():
    figure = Figure()
    axes = figure.add_subplot()
    draw_panel(
        axes, heatmap(stretch="symmetric", value=Axis("residual", "σ"), text=[["a", "b", "c"], ["", "", "d"]])
    )
    (mesh,) = axes.collections
    assert mesh.norm.vmin == -mesh.norm.vmax
    np.testing.assert_array_equal(mesh.get_array(), np.arange(6.0).reshape(2, 3) - 2)
    assert {"a", "b", "c", "d"} <= {text.get_text() for text in axes.texts}
    assert figure.axes[1].get_ylabel() == "residual (σ)"


def test_names_of_masks_stand_beside_the_image():
    mask = np.eye(40, 60, dtype=bool)
    one = ImageStack("cut", np.zeros((1, 40, 60)), ["here"], masks={"hot": mask, "none": mask & False})
    figure = draw_panels([one, one])
    drawn(figure)
    for axes in figure.axes:
        legend = axes.get_legend()
        assert [text.get_text() for text in legend.get_texts()] == ["hot"]
        assert legend.get_window_extent().x0 >= axes.get_window_extent().x1
        assert legend.get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize(
    ("shape", "height", "seen"), [((60, 60), 4.2, 2.9), ((20, 60), 2.4, 1.3), ((5, 60), 2.0, 0.3)]
)
def test_single_images_fill_their_column_as_far_as_a_page_allows(shape, height, seen):
    one = ImageStack("cut", np.zeros((1, *shape)), ["here"])
    figure = draw_panels([one, one])
    assert figure.get_figheight() == pytest.approx(height + 0.1, abs=0.1)
    drawn(figure)
    assert figure.axes[0].get_window_extent().height >= figure.dpi * seen


def test_a_map_keeps_the_limits_it_is_given_and_its_proportion(caplog):
    limits = (0.0, 10.0), (-5.0, 10.0)
    x, y = (Axis(name, limits=ends) for name, ends in zip("xy", limits, strict=True))
    figure = draw_panels([Series("map", x, y, [Curve("", np.arange(9.0), np.arange(9.0))], equal=True)] * 2)
    drawn(figure)
    (axes, _) = figure.axes
    assert (axes.get_xlim(), axes.get_ylim()) == limits
    box = axes.get_window_extent()
    assert box.height / box.width == pytest.approx(1.5, rel=1e-3)
    assert not caplog.records


def test_a_film_is_drawn_as_a_strip_with_the_image_of_the_event_among_them():
    figure = draw_panels([film()])
    drawn(figure)
    labels = [axes.get_title().splitlines()[-1] for axes in figure.axes]
    assert len(labels) == 8
    assert "7" in labels
    assert len({axes.images[0].get_clim() for axes in figure.axes}) == 1  # one stretch for all
    alone = axes_of(film())
    np.testing.assert_array_equal(alone.images[0].get_array(), film().images[7])
    # the pointer leaves the middle free
    assert all(abs(np.asarray(line.get_xdata()) - 5).min() > 1 for line in alone.lines)


def test_a_sheet_has_two_columns_and_no_hole():
    for number in range(1, 6):
        figure = draw_panels([series()] * number, title="sheet")
        drawn(figure)
        boxes = [axes.get_subplotspec() for axes in figure.axes]
        cells = [(row, column) for box in boxes for row in box.rowspan for column in box.colspan]
        assert len(set(cells)) == len(cells) == 2 * ((number + 1) // 2)
        assert figure.get_suptitle() == "sheet"


def test_every_kind_and_every_empty_one_can_be_drawn_together():
    nothing = [
        Series("none", TIME, FLUX, []),
        Series("gaps", TIME, FLUX, [Curve("a", np.full(3, np.nan), np.full(3, np.nan))]),
        Heatmap("gaps", TIME, FLUX, np.full((2, 2), np.nan)),
        ImageStack("none", np.zeros((0, 3, 3)), []),
        Facts("none", []),
    ]
    bars = Series("bars", Axis("x"), Axis("n"), [Curve("", np.arange(4.0), np.arange(4.0), style="bars")])
    steps = Series(
        "steps",
        Axis("x"),
        Axis("n", scale="log"),
        [Curve("", np.arange(4.0), 1 + np.arange(4.0), style="steps")],
    )
    figure = plot(
        [*nothing, bars, steps, film(2), film(), heatmap(stretch="asinh"), Facts("f", [("a", 1.5, "d")])]
    )
    drawn(figure)
    titles = [axes.get_title("left").splitlines()[0] for axes in figure.axes if axes.get_title("left")]
    assert {"bars", "steps", "map", "f"} <= set(titles)


def test_names_are_written_as_they_stand():
    name = r"$\frac{1} <script>"
    panel = Series(
        name,
        TIME,
        Axis(name, name),
        [Curve(name, np.arange(2.0), np.arange(2.0))],
        [Mark("line", x=1, label=name)],
    )
    figure = draw_panels([panel, Facts(name, [(name, name, name)]), film(1)], title=name)
    drawn(figure)
    first = figure.axes[0]
    written = [figure.get_suptitle(), first.get_title("left"), first.get_xlabel(), first.get_ylabel()]
    assert all(name in text.replace(r"\$", "$") for text in written if text != TIME.label), written


def test_numbers_are_read_at_a_glance():
    axes = axes_of(
        Facts("f", [("mjd", 58000.123456, ""), ("p", 1.23456789e-20, ""), ("ok", True, ""), ("no", None, "")])
    )
    assert {"58000.123456", "1.2e-20", "yes", "–"} <= {text.get_text() for text in axes.texts}


@pytest.mark.parametrize(
    ("value", "unit", "read"),
    [
        (225.84843835, "uJy", "225.8"), (-0.9080727, "mag", "-0.908"), (57131.3133, "MJD", "57131.3133"),
        (24223.456, "electron", "24223"), (1.49623456, "h", "1.4962"), (269.44125, "deg", "269.44"), (0.0, "", "0"),
        (3, "", "3"), (1.25e7, "", "1.25e+07"),
    ],
)  # fmt: skip
def test_a_number_has_the_digits_that_its_unit_gives_it(value, unit, read):
    assert said(value, unit) == read


def test_roles_have_colours_of_their_own():
    colours = {role_colour(role, 0) for role in ROLES}
    assert len(colours) == len(ROLES)
    assert role_colour("band zg", 0) == role_colour("band g", 3) != role_colour("band zr", 0)
    assert len({role_colour(None, number) for number in range(4)}) == 4


def light(band, level, *, n=60, dip=0.5):
    flux = np.full(n, level)
    flux[29:32] *= dip
    flags = np.where(np.arange(n) == 5, 64 + 256, 0)
    columns = {
        "mjd": 58000 + np.arange(float(n)),
        "flux": flux,
        "flux_error": np.where(flags, -1.0, level / 50),
        "flags": flags,
    }
    return TimeSeries(columns, band=band)


def test_a_detection_is_shown_near_in_all_filters_and_whole():
    handles = [as_handle(light("zg", 100.0)), as_handle(light("zr", 900.0))]
    near, together, whole, facts = default_panels(handles, EVENT)
    (curve,) = near.curves
    assert (curve.colour, curve.y[30]) == ("band zr", 450.0)
    assert near.x.limits[0] < EVENT.start_mjd < EVENT.end_mjd < near.x.limits[1]
    assert near.x.limits[1] - near.x.limits[0] < 30
    assert [one.y[30] for one in together.curves] == pytest.approx([0.5, 0.5])
    assert len(whole.curves) == 2
    assert curve.text[5] == flag_words(64 + 256) == "saturated or non-linear; cosmic ray"
    assert np.isnan(curve.y_error[5])
    assert ("S/N", -20.0, "") in facts.rows
    spans = [mark for mark in near.marks if mark.kind == "span" and mark.x is not None]
    assert (spans[0].x, spans[0].x_end) == (58029.0, 58031.0)
    drawn(draw_panels([near, together, whole, facts]))


def test_many_light_curves_are_named_by_their_filters_each_once():
    curves = [(f"season {n} {band}", light(band, 1.0)) for n in range(4) for band in ("g", "r")]
    near, together, whole, *_ = curve_panels(curves, EVENT)
    assert [curve.label for curve in near.curves] == ["season 0 g"]
    for panel in (together, whole):
        assert [curve.label for curve in panel.curves] == ["g", "r"] * 4
        legend = axes_of(panel).get_legend()
        assert [one.get_text() for one in legend.get_texts()] == ["g", "r"]
    assert [curve.label for curve in curve_panels(curves[:6], EVENT)[2].curves] == [
        name for name, _ in curves[:6]
    ]


def test_what_was_seen_without_a_filter_says_so():
    event = replace(EVENT, band="NONE")
    near, whole, facts = default_panels([as_handle(light("NONE", 900.0))], event)
    assert [curve.label for curve in (*near.curves, *whole.curves)] == ["no filter", "no filter"]
    assert ("filter", "no filter", "") in facts.rows


def test_a_detection_without_light_curve_has_its_facts():
    table = as_handle(Table({"x": np.arange(60.0)}))
    held, facts = default_panels([table], Event("x", 1.0, 1.0, 1.0, 5.0))
    assert ("rows", 60, "") in held.rows
    assert facts.rows[0] == ("kind", "x", "")
    assert curve_panels([("g", light("g", 1.0, n=0))], EVENT) == []


def test_facts_are_the_parameters_asked_for_with_their_units():
    event = Event(
        "x",
        58000.0,
        58000.0,
        58000.0,
        5.0,
        quality=64,
        parameters={"rate": 3.0, "a": [1.23456789], "b": {}, "c": ""},
    )
    rows = event_facts(event, units={"rate": "arcsec/h"}).rows
    assert ("rate", 3.0, "arcsec/h") in rows
    assert ("a", "1.2346", "") in rows
    assert ("quality", "saturated or non-linear", "") in rows
    assert not {"b", "c"} & {row[0] for row in rows}
    assert [row[0] for row in event_facts(event, only=("a", "gone")).rows][-1] == "a"


@pytest.mark.parametrize(
    "label", ["57809.90590, S/N 29.1", "57809.90590, S/N 29.1 of 12 frames in the night"]
)
def test_titles_of_a_film_stay_on_the_sheet_and_apart(label):
    figure = draw_panels([ImageStack("frames about the body", np.zeros((8, 9, 9)), [label] * 8)])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [axis.title.get_window_extent() for axis in figure.axes]
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= figure.bbox.width
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert not any(axis.get_title(loc="left") for axis in figure.axes)
