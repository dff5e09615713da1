"""Panels become figures that say the same."""

from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from virtualobserver.data.curve_panels import MJD
from virtualobserver.data.panels import Axis, Curve, Heatmap, ImageStack, Mark, Series
from virtualobserver.plot.style import role_colour
from virtualobserver.web import bokeh as web
from virtualobserver.web.bokeh import drawn, scripts_folder
from virtualobserver.web.views import View, viewed

X = np.arange(50.0)


def models(told, kind):
    """Return the models of one kind in a figure's JSON."""
    found = []

    def look(one):
        if isinstance(one, dict):
            if one.get("type") == "object" and one.get("name") == kind:
                found.append(one.get("attributes", {"name": kind}))
            for value in one.values():
                look(value)
        elif isinstance(one, list):
            for value in one:
                look(value)

    look(told["item"])
    return found


def series(**options):
    curve = Curve("R", X, 100.0 + X, np.full(50, 2.0), flags=X > 45, colour="band r")
    return Series(
        "light curve",
        Axis("time", "d", "time"),
        Axis("flux", "uJy"),
        [curve],
        [Mark("line", x=10.0)],
        **options,
    )


def test_a_figure_is_json_for_the_element_it_was_made_for():
    told = drawn(series(), "picture-7-0")
    assert told["item"]["target_id"] == "picture-7-0"
    assert json.loads(json.dumps(told))["item"]["root_id"] == told["item"]["root_id"]
    assert told["scales"] == ["log", "mag"]
    assert told["folds"] is True
    assert told["title"] == "light curve"
    assert not models(told, "CustomJS"), "no code travels in data"


def test_fluxes_become_magnitudes_and_what_has_none_is_left_out():
    flux = np.array([1.0, 10.0, -3.0, 0.0])
    panel = Series("", Axis("t"), Axis("flux", "uJy"), [Curve("", np.arange(4.0), flux, np.full(4, 0.1))])
    shown = viewed(panel, View("mag"))
    assert shown.y.scale == "magnitude"
    np.testing.assert_allclose(shown.curves[0].y, [23.9, 21.4, np.nan, np.nan])
    np.testing.assert_allclose(shown.curves[0].y_error[:2], [0.10857, 0.010857], rtol=1e-4)
    assert viewed(panel, View("log")).y.scale == "linear", "not all of it is positive"


def test_folding_brings_what_is_one_period_apart_together():
    times = np.array([0.0, 2.5, 5.0, 6.25])
    panel = Series("", Axis("t", "d", "time"), Axis("y"), [Curve("", times, times)], [Mark("line", x=0.0)])
    shown = viewed(panel, View(fold=2.5))
    np.testing.assert_allclose(shown.curves[0].x, [0, 0, 0, 0.5])
    assert shown.marks == ()


def test_a_few_days_are_counted_from_a_whole_one_and_years_are_not():
    axis = Axis("MJD (UTC, mid-exposure)", scale="time", limits=(59560.25, 59560.75))
    curve = Curve("", np.array([59560.25, 59560.5]), np.zeros(2))
    marks = [Mark("span", x=59560.3, x_end=59560.4), Mark("line", y=1.0)]
    shown = viewed(Series("", axis, Axis("y"), [curve], marks), View())
    assert shown.x.label == "MJD − 59560 (UTC, mid-exposure)"
    assert shown.x.limits == (0.25, 0.75)
    np.testing.assert_allclose(shown.curves[0].x, [0.25, 0.5])
    np.testing.assert_allclose([shown.marks[0].x, shown.marks[0].x_end], [0.3, 0.4], atol=1e-9)
    assert shown.marks[1].y == 1.0
    long = Series("", MJD, Axis("y"), [Curve("", np.array([59000.0, 59500.0]), np.zeros(2))])
    assert viewed(long, View()).x.label == MJD.label
    spectra = Series("", Axis("velocity", "km/s"), Axis("y"), [Curve("", np.array([5.0, 6.0]), np.zeros(2))])
    assert viewed(spectra, View()).x.label == "velocity (km/s)"


def test_names_of_curves_stand_above_them_in_a_line_if_they_are_short():
    def legend(*labels):
        curves = [Curve(label, X, X) for label in labels]
        (made,) = models(drawn(Series("", Axis("x"), Axis("y"), curves), "x"), "Legend")
        return made

    assert legend("east", "north").get("orientation") == "horizontal"
    assert legend("east" * 8, "north" * 8).get("orientation", "vertical") == "vertical"
    assert legend(*"abcdefghi")["visible"] is False


@pytest.mark.parametrize(
    ("low", "high", "ticker", "numbers"),
    [
        (3.0, 90.0, "FixedTicker", {2.0, 5.0, 10.0, 20.0, 50.0, 100.0}),
        (0.004, 0.02, "FixedTicker", {0.005, 0.01, 0.02}),
        (20.0, 40.0, "LogTicker", set()),
        (1.0, 1000.0, "LogTicker", set()),
    ],
)
def test_numbers_of_a_logarithmic_axis_do_not_crowd(low, high, ticker, numbers):
    panel = Series("", Axis("x"), Axis("S/N", scale="log"), [Curve("", X, np.geomspace(low, high, 50))])
    told = drawn(panel, "x")
    made = models(told, ticker)
    assert made
    if ticker == "FixedTicker":
        ticks = np.array(made[0]["ticks"])
        assert numbers <= set(np.round(ticks, 9))
        assert np.diff(np.log10(ticks)).min() > 0.3, "1, 2, 5 and no more"
        assert ticks.min() < low < high < ticks.max()


def test_a_name_beside_a_place_stands_outside_of_its_ring():
    panel = Series("", Axis("x"), Axis("y"), [Curve("", X, X)], [Mark("point", x=5.0, y=5.0, label="here")])
    told = drawn(panel, "x")
    (label,) = models(told, "Label")
    ring = max(one["size"]["value"] for one in models(told, "Scatter"))
    assert label["x_offset"] > ring / 2


def test_a_long_curve_is_thinned_and_keeps_its_peaks():
    x = np.arange(300_000.0)
    y = np.sin(x)
    y[123_457], y[222_222], y[5] = 50.0, -50.0, np.nan
    rows = web._thinned(x, y)
    assert len(rows) <= web.MOST_POINTS
    assert {123_457, 222_222} <= set(rows.tolist())
    assert (np.diff(rows) > 0).all()
    assert web._thinned(X, X).tolist() == list(range(50))


def test_a_large_image_is_sent_as_means_of_its_pixels():
    image = np.add.outer(np.arange(1300.0), np.zeros(40))
    image[0, 0] = np.nan
    small = web._smaller(image[None])[0]
    assert small.shape == (434, 40)
    assert small[0, 0] == pytest.approx(1.5)
    assert small[100, 5] == pytest.approx(301.0)


def test_uneven_cells_are_where_they_belong():
    values = np.array([[1.0, 2.0, 3.0]])
    panel = Heatmap("", Axis("x"), Axis("y"), values, x_edges=[0.0, 1.0, 2.0, 6.0], y_edges=[0.0, 1.0])
    even, extent = web._even(panel)
    assert even.tolist() == [[1, 2, 3, 3, 3, 3]]
    assert extent == (0.0, 6.0, 0.0, 1.0)


def test_colours_of_a_map_begin_and_end_as_it_says():
    values = np.linspace(-2.0, 8.0, 100).reshape(10, 10)
    (mapper, *_) = models(
        drawn(Heatmap("", Axis("x"), Axis("y"), values, stretch="symmetric"), "x"), "LinearColorMapper"
    )
    assert mapper["low"] == -mapper["high"]
    lowest, highest = (to_rgb(mapper["palette"][n]) for n in (0, -1))
    assert lowest[0] > lowest[2]  # red, as in pictures of Matplotlib
    assert highest[2] > highest[0]
    limited = Heatmap("", Axis("x"), Axis("y"), values, value=Axis("S/N", limits=(-5.0, 5.0)))
    told = drawn(limited, "x")
    assert told["limits"][0] == ("as measured", -5.0, 5.0)
    flat = drawn(Heatmap("", Axis("x"), Axis("y"), np.full((4, 4), np.nan)), "x")
    assert flat["limits"] == [("all", 0.0, 1.0)]


def test_a_film_has_all_its_images_and_masks():
    images = np.arange(3 * 4 * 5.0).reshape(3, 4, 5)
    told = drawn(ImageStack("film", images, ["a", "b", "c"], masks={"hot": images > 50}, start=1), "x")
    assert told["kind"] == "imagestack"
    assert (told["labels"], told["start"]) == (["a", "b", "c"], 1)
    named = {one.get("name"): one for one in models(told, "ColumnDataSource")}
    assert {"shown", "frames", "marks", "marked"} <= set(named)
    assert len(dict(named["frames"]["data"]["entries"])["image"]) == 3
    assert [name for name, _ in told["masks"]] == ["hot"]
    assert [one.get("visible") for one in models(told, "GlyphRenderer") if one.get("name") == "mask 0"] == [
        False
    ]


def film_of(marks, start=0):
    """Return the figure of a film of images of 5 by 4 pixels, and the columns of the marks that come and go."""
    told = drawn(
        ImageStack("", np.zeros((len(marks), 4, 5)), ["a"] * len(marks), marks=marks, start=start), "x"
    )
    named = {one.get("name"): dict(one["data"]["entries"]) for one in models(told, "ColumnDataSource")}
    return told, named["marks"], named["marked"]


def test_marks_that_are_in_all_images_of_a_film_are_drawn_as_in_any_panel():
    staying = [
        Mark("line", x=1.5, colour="context"), Mark("line", y=2.0), Mark("span", x=1.0, x_end=2.0),
        Mark("box", x=0.0, x_end=2.0, y=1.0, y_end=3.0, label="pulse"),
    ]  # fmt: skip
    told, followed, _ = film_of([staying, [*staying, Mark("point", x=3.0, y=2.0)]])
    assert [(one.get("dimension", "width"), one["location"]) for one in models(told, "Span")] == [
        ("height", 1.5), ("width", 2.0)
    ]  # fmt: skip
    sides = [(one["left"], one["right"]) for one in models(told, "BoxAnnotation") if "left" in one]
    assert (1.0, 2.0) in sides
    assert (0.0, 2.0) in sides
    assert [one["text"] for one in models(told, "Label")] == ["pulse"]
    assert followed["x"] == [[], [3.0]]


def test_marks_of_single_images_of_a_film_come_and_go_as_what_they_are():
    marks = [
        [Mark("point", x=1.0, y=2.0, label="here"), Mark("line", x=1.0)],
        [Mark("box", x=0.0, x_end=2.0, y=1.0, y_end=3.0, colour="second")],
        [Mark("span", y=1.0, y_end=2.0), Mark("line", x=0.0, x_end=1.0, y=2.0, y_end=3.0)],
    ]
    told, followed, now = film_of(marks, start=1)
    assert not models(told, "Span")
    assert followed["ring"] == [[1.0, 0.0], [0.0], [0.0, 0.0]]
    assert followed["label"][0] == ["here", ""]
    assert (followed["x"][0], followed["y"][0]) == ([1.0, 1.0], [2.0, -0.5])
    assert (followed["xs"][0][1], followed["ys"][0][1]) == ([1.0, 1.0], [-0.5, 3.5])
    assert (now["xs"], now["ys"]) == ([[0.0, 2.0, 2.0, 0.0, 0.0]], [[1.0, 1.0, 3.0, 3.0, 1.0]])
    assert now["colour"] == [role_colour("second", 0)]
    assert followed["xs"][2] == [[-0.5, 4.5, 4.5, -0.5, -0.5], [0.0, 1.0]]
    assert followed["ys"][2] == [[1.0, 1.0, 2.0, 2.0, 1.0], [2.0, 3.0]]
    assert models(told, "MultiLine")


@pytest.mark.parametrize("style", ["points", "line", "steps", "bars"])
def test_curves_of_every_style_and_marks_of_every_kind_are_drawn(style):
    marks = [
        Mark("line", x=1.0, label="x"), Mark("line", y=1.0, label="y"), Mark("line", x=0.0, x_end=1.0, y=0.0, y_end=1.0),
        Mark("span", x=1.0, x_end=2.0), Mark("span", y=1.0, y_end=2.0), Mark("point", x=1.0, y=1.0),
        Mark("box", x=1.0, x_end=2.0, y=1.0, y_end=2.0),
    ]  # fmt: skip
    told = drawn(
        Series("", Axis("x"), Axis("y", scale="log"), [Curve("c", X, X + 1, style=style)], marks), "x"
    )
    assert len(models(told, "BoxAnnotation")) >= 3
    assert len(models(told, "Span")) == 2
    glyph = {"points": "Scatter", "line": "Line", "steps": "Step", "bars": "VBar"}[style]
    assert models(told, glyph)
    assert models(told, "LogScale")


def test_empty_panels_are_no_errors():
    empty = np.empty(0)
    assert drawn(Series("", Axis("x"), Axis("y"), [Curve("c", empty, empty, empty)]), "x")["scales"] == []
    assert drawn(ImageStack("", np.empty((0, 3, 3)), []), "x")["labels"] == []


def test_the_script_of_bokeh_comes_with_the_package():
    assert (scripts_folder() / "bokeh.min.js").stat().st_size > 500_000
