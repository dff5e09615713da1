"""Panels: plain data that is whole, or says what is wrong with it."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest

from virtualobserver.data.panels import Axis, Curve, Facts, Heatmap, ImageStack, Mark, Series
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array


def a(*values: object) -> Array:
    return np.array(values)


X, Y = Axis("time", "d"), Axis("flux", "uJy")


def test_an_axis_says_name_and_unit() -> None:
    assert (Y.label, Axis("S/N").label, Axis("rate", "arcsec/h").label) == (
        "flux (µJy)",
        "S/N",
        "rate (arcsec/h)",
    )


def test_arrays_are_copies_that_nobody_changes() -> None:
    mine = np.arange(3.0)
    curve = Curve("", mine, mine, flags=np.zeros(3, bool), text=["a", "b", "c"])
    mine[0] = 99
    assert curve.x[0] == curve.y[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        curve.x[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        ImageStack("", np.zeros((2, 3, 4)), ["a", "b"], masks={"bad": np.zeros((3, 4))}).masks["bad"][0] = (
            True
        )


def test_borders_of_cells_are_always_known() -> None:
    counted = Heatmap("", X, Y, np.zeros((2, 3)))
    assert counted.x_edges.tolist() == [-0.5, 0.5, 1.5, 2.5]
    spread = Heatmap("", X, Y, np.zeros((2, 3)), extent=(0, 6, 10, 20))
    assert (spread.x_edges.tolist(), spread.y_edges.tolist()) == ([0, 2, 4, 6], [10, 15, 20])
    uneven = Heatmap("", X, Y, np.zeros((1, 2)), x_edges=a(0, 1, 10))
    assert uneven.extent == (0, 10, -0.5, 0.5)


def test_a_film_has_marks_and_borders_for_each_image() -> None:
    film = ImageStack("cut-outs", np.zeros((2, 3, 4)), ["first", "second"])
    assert (film.marks, film.extent, len(film)) == (((), ()), (-0.5, 3.5, -0.5, 2.5), 2)
    assert len(repr(film)) < 80


def test_panels_go_to_other_processes() -> None:
    panel = Series("", X, Y, [Curve("a", a(1, 2), a(3, 4), colour="band g")], [Mark("span", x=1, x_end=2)])
    again = pickle.loads(pickle.dumps(panel))
    assert again.curves[0].y.tolist() == [3, 4]
    assert again.marks == panel.marks


def test_facts_hold_plain_values() -> None:
    facts = Facts(
        "", [("period", np.float64(2.5), "d"), ("flagged", bool(np.bool_(True)), ""), ("name", None, "uJy")]
    )
    assert facts.rows == (("period", 2.5, "d"), ("flagged", True, ""), ("name", None, "µJy"))
    assert type(facts.rows[0][1]) is float


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "scale": (lambda: Axis("x", scale="cubic"), "unknown scale 'cubic'; there are linear, log"),  # type: ignore[arg-type]
    "limits not finite": (lambda: Axis("x", limits=(0, np.inf)), "limits of the axis 'x'.*finite"),
    "limits fall": (lambda: Axis("x", limits=(2, 1)), "rising order"),
    "log limits": (lambda: Axis("x", scale="log", limits=(0, 1)), "positive"),
    "lengths": (lambda: Curve("g", a(1, 2), a(1)), r"the curve 'g' are equally long.*\(2,\).*\(1,\)"),
    "flags": (lambda: Curve("g", a(1), a(1), flags=a(True, False)), "equally long"),
    "text": (lambda: Curve("g", a(1), a(1), text=[]), "equally long"),
    "error": (lambda: Curve("g", a(1), a(1), y_error=a(-1)), "negative: -1"),
    "colour": (lambda: Curve("g", a(1), a(1), colour="#ff0000"), "unknown colour '#ff0000'"),
    "style": (lambda: Curve("g", a(1), a(1), style="dots"), "unknown style"),  # type: ignore[arg-type]
    "words": (lambda: Curve("g", a("b"), a(1)), "x of the curve 'g' are not numbers"),
    "columns": (lambda: Curve("g", a([1]), a([1])), "1 axes, not shape"),
    "mark": (lambda: Mark("cross", x=1), "unknown kind of mark 'cross'"),  # type: ignore[arg-type]
    "mark without place": (lambda: Mark("span", x=1), "a span, has x, x_end or y, y_end; not x"),
    "mark nowhere": (lambda: Mark("line", x=np.nan, label="t0"), "x of the mark 't0' is nan"),
    "fold": (lambda: Series("s", X, Y, [], fold=0), "cannot be folded by 0"),
    "edges": (lambda: Heatmap("h", X, Y, np.zeros((2, 3)), x_edges=a(0, 1, 2)), "x_edges of .* 4 finite"),
    "falling edges": (lambda: Heatmap("h", X, Y, np.zeros((1, 2)), x_edges=a(2, 1, 0)), "rise"),
    "extent": (lambda: Heatmap("h", X, Y, np.zeros((1, 2)), extent=(1, 0, 0, 1)), "extent of the panel 'h'"),
    "stretch": (lambda: Heatmap("h", X, Y, np.zeros((1, 2)), stretch="sqrt"), "unknown stretch"),  # type: ignore[arg-type]
    "labels": (lambda: ImageStack("f", np.zeros((2, 3, 4)), ["one"]), "2 images and labels for 1"),
    "marks": (lambda: ImageStack("f", np.zeros((2, 3, 4)), "ab", marks=[[]]), "2 images and marks for 1"),
    "one image": (lambda: ImageStack("f", np.zeros((3, 4)), ["one"]), "3 axes"),
    "mask": (
        lambda: ImageStack("f", np.zeros((2, 3, 4)), "ab", masks={"bad": np.zeros((4, 3))}),
        r"mask bad of the panel 'f' has shape \(4, 3\)",
    ),
    "start": (lambda: ImageStack("f", np.zeros((2, 3, 4)), "ab", start=2), "2 images.*none of number 2"),
    "cells": (lambda: Heatmap("h", X, Y, np.zeros((1, 2)), text=[["a"]]), "text of the panel 'h'"),
    "row": (lambda: Facts("f", [("period", 1.0)]), "a name, a value and a unit"),  # type: ignore[list-item]
    "array": (lambda: Facts("f", [("flux", np.zeros(2), "")]), "flux of the panel 'f'"),  # type: ignore[list-item]
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case: str) -> None:
    make, says = WRONG[case]
    with pytest.raises(DataError, match=says):
        make()
