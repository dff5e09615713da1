"""Ranges and bins: what each refuses, wherever a setting has one."""

from __future__ import annotations

import typing

import pydantic
import pytest

from virtualobserver import plugins
from virtualobserver.config.settings import (
    Bins,
    Date,
    DateSpan,
    NonNegativeRange,
    Position,
    PositiveRange,
    Range,
    Settings,
    Site,
    Size,
    Span,
    WholeSpan,
    field_marks,
    model_in,
    setting,
)


class Given(Settings):
    """One setting of each kind."""

    velocity: Range = setting((-300.0, 300.0), doc="Any two numbers")
    rate: NonNegativeRange = setting((0.0, 60.0), doc="From a standstill on")
    width: PositiveRange = setting((1.0, 1.0), doc="Drawn evenly in the logarithm")
    bins: Bins = setting((0.0, 0.0, 0.5), doc="First, last and step")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("velocity", (300.0, -300.0), "smaller one first"),
        ("velocity", (1.0, 1.0), "smaller one first"),
        ("velocity", ("1", 2.0), "number"),
        ("velocity", (float("nan"), 2.0), "finite"),
        ("rate", (-1.0, 60.0), "not negative"),
        ("rate", (60.0, 5.0), "smaller one first"),
        ("width", (0.0, 1.0), "positive"),
        ("width", (2.0, 1.0), "smaller one first"),
        ("bins", (0.0, 1.0, 0.0), "positive step"),
        ("bins", (1.0, 0.0, 0.1), "last centre"),
    ],
)
def test_what_is_no_range_is_refused_with_the_reason(key, value, reason):
    with pytest.raises(pydantic.ValidationError, match=reason):
        Given(**{key: value})


def test_usable_ranges_are_kept_as_given():
    given = Given(velocity=(-1, 0), rate=(0, 1e-3), width=(5, 5), bins=(-1, 1, 2))
    assert (given.velocity, given.rate, given.width, given.bins) == ((-1, 0), (0, 1e-3), (5, 5), (-1, 1, 2))


class Dated(Settings):
    """A setting of each further kind, and one that has to lie above another."""

    night: Date = setting("2021-02-28", doc="A day")
    nights: DateSpan | None = setting(None, doc="First and last day")
    exptime: Span | None = setting(None, doc="Shortest and longest")
    numbers: WholeSpan | None = setting(None, doc="First and last number")
    size: Size = setting((4, 5), doc="Rows and columns")
    site: Site | None = setting(None, doc="A telescope")
    place: Position | None = setting(None, doc="A star")
    start: float = setting(57000.0, doc="First epoch")
    end: float = setting(58000.0, doc="Last epoch", above="start")
    fewest: int = setting(3, doc="Least")
    most: int | None = setting(None, doc="Most", not_below="fewest")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"night": "2021-02-30"}, "'2021-02-30' is no date of the calendar"),
        ({"night": "2021-2-3"}, "'2021-2-3' is no date; write YYYY-MM-DD"),
        ({"nights": ("2021-02-28", "2021-02-29")}, "'2021-02-29' is no date of the calendar"),
        ({"nights": ("2021-03-01", "2021-02-28")}, "2021-03-01 is later than 2021-02-28"),
        ({"exptime": (30, 20)}, r"30\.0 is larger than 20\.0"),
        ({"numbers": (7, 6)}, "7 is larger than 6"),
        ({"size": (4, 0)}, "greater than 0"),
        ({"site": (10.0, 95.0, 0.0)}, "latitude"),
        ({"place": (361.0, 0.0)}, "right ascension"),
        ({"start": 59000.0}, r"end = 58000\.0 is not above start = 59000\.0"),
        ({"end": 57000.0}, r"end = 57000\.0 is not above start = 57000\.0"),
        ({"most": 2}, "most = 2 is below fewest = 3"),
    ],
)
def test_what_cannot_be_is_refused_with_both_values(given, reason):
    with pytest.raises(pydantic.ValidationError, match=reason):
        Dated(**given)


def test_what_can_be_is_kept_as_given():
    same = {"nights": ("2020-02-29", "2020-02-29"), "exptime": (20, 20), "numbers": (5, 5), "most": 3}
    given = Dated(**same, site=(289.2, -30.2, 2200.0), place=(359.9, -90.0))
    assert all(getattr(given, name) == value for name, value in same.items())


NAMES = (
    ("start", "end"),
    ("min", "max"),
    ("low", "up"),
    ("inner", "outer"),
    ("brightest", "faintest"),
    ("fewest", "most"),
)
NUMBERS = {(float, float), (int, int)}
NO_PAIRS = {"exptime_bins"}
"""A centre and a step."""
DATES = {"first_night": "2021-02-30", "caldat": ("2021-02-30", "2021-03-01"), "archived_before": "2021-02-30"}


def every_group(model, seen):
    """Yield a class of settings and those that its fields hold."""
    if model not in seen:
        seen.add(model)
        yield model
        for field in model.model_fields.values():
            inner = model_in(field.annotation)
            if inner is not None:
                yield from every_group(inner, seen)


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in ("observatories", "analyses") for name in plugins.names(kind)]
)
def test_every_pair_of_settings_that_comes_along_is_kept_in_order(kind, name):
    """Pairs are known by their names, or by being two numbers."""
    for model in every_group(plugins.settings_of(kind, name), set()):
        fields = model.model_fields
        for key, field in fields.items():
            for low, high in NAMES:
                parts = key.split("_")
                partner = "_".join(high if part == low else part for part in parts)
                if low in parts and partner in fields:
                    marks = field_marks(fields[partner])
                    assert key in {marks.above, marks.not_below}, (model, partner)
            for held in [field.annotation, *typing.get_args(field.annotation)]:
                if (
                    typing.get_origin(held) is tuple
                    and typing.get_args(held) in NUMBERS
                    and key not in NO_PAIRS
                ):
                    assert field.metadata, f"{model.__name__}.{key}: two numbers in any order"
            if key in DATES:
                with pytest.raises(pydantic.ValidationError, match="no date of the calendar"):
                    model(**{key: DATES[key]})
