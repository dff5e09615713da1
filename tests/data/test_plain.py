"""Values in the form that JSON columns, hashes and files hold."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import PurePosixPath

import numpy as np
import pytest

from virtualobserver.data.plain import finite, plain


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5), (np.int64(3), 3), (np.bool_(True), True), (np.str_("a"), "a"), (float("nan"), None),
        (np.float64("inf"), None), (np.array([1.0, np.nan]), [1.0, None]), (np.array(2.0), 2.0), ((1, 2), [1, 2]),
        ({np.int64(1): {"a": np.nan}}, {"1": {"a": None}}), (frozenset({4}), [4]), (None, None), ("x", "x"),
        (date(2020, 1, 2), "2020-01-02"), (datetime(2020, 1, 2, tzinfo=UTC), "2020-01-02T00:00:00+00:00"),
        (np.datetime64("2020-01-02"), "2020-01-02"), (PurePosixPath("a/b"), "a/b"), (True, True), (10**20, 10**20),
    ],
)  # fmt: skip
def test_everything_becomes_what_json_holds(value, expected):
    found = plain(value, strict=True)
    assert found == expected
    assert type(found) is type(expected)
    assert json.loads(json.dumps(found, allow_nan=False)) == expected


def test_what_json_cannot_hold_is_handed_on_or_refused():
    thing = object()
    assert plain({"a": [thing]})["a"][0] is thing
    for wrong in (thing, {"a": [thing]}, b"x", 1j, np.complex128(1)):
        with pytest.raises(TypeError, match="not fit for JSON"):
            plain(wrong, strict=True)


def test_numbers_alone_are_finite_or_none():
    values = (1.5, np.float32(2.0), np.nan, -np.inf, "nan", None, 3)
    assert [finite(value) for value in values] == [1.5, 2.0, None, None, "nan", None, 3]
