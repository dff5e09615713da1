"""Ranges and bins: what each refuses, wherever a setting has one."""

from __future__ import annotations

import pydantic
import pytest

from virtualobserver.config.settings import Bins, NonNegativeRange, PositiveRange, Range, Settings, setting


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
