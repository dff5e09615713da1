"""Record batches become rows of text as they are."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest

from virtualobserver.io.batches import record_batches, schema_of, write_batches, write_csv
from virtualobserver.io.tables import read_any

WHOLE = 2**62 + 1
CASES = [
    ("whole", [1, WHOLE], ["1", str(WHOLE)]),
    ("whole", [None, WHOLE], ["", str(WHOLE)]),
    ("real", [58000.0, 1e300], ["58000.0", "1e+300"]),
    ("real", [None, float("nan"), 0.1], ["", "", "0.1"]),
    ("truth", [True, False], ["True", "False"]),
    ("truth", [None, False], ["", "False"]),
    ("other", ["é, x", None], ['"é, x"', ""]),
    ("other", [None, {"b": 1, "a": [2]}], ["", '"{""a"": [2], ""b"": 1}"']),
]


@pytest.mark.parametrize(("kind", "values", "said"), CASES)
def test_each_kind_of_value_is_written_as_it_is_with_holes_or_without(kind, values, said):
    schema = schema_of(["n", "x"], ["whole", kind])
    rows = record_batches(schema, ["whole", kind], [list(enumerate(values))])
    stream = io.StringIO()
    assert write_csv(stream, schema, rows) == len(values)
    assert stream.getvalue().splitlines() == ["n,x", *(f"{n},{cell}" for n, cell in enumerate(said))]


def test_what_a_reader_would_take_for_something_else_is_quoted(tmp_path):
    schema = schema_of(["#a", "b"], ["other", "real"])
    rows = [("x\ry", 1.0), (None, 2.0), ("#z", None)]
    write_batches(tmp_path / "t.csv", "csv", schema, record_batches(schema, ["other", "real"], [rows]))
    frame = read_any(tmp_path / "t.csv")
    assert list(frame) == ["#a", "b"]
    assert frame["#a"].tolist() == ["x\ry", None, "#z"]
    assert frame["b"].isna().tolist() == [False, False, True]


def test_no_rows_are_a_header():
    stream = io.StringIO()
    assert write_csv(stream, schema_of(["a"], ["real"]), []) == 0
    empty = pa.record_batch([pa.array([], pa.float64())], names=["a"])
    assert write_csv(stream, schema_of(["a"], ["real"]), [empty]) == 0
    assert stream.getvalue() == "a\na\n"
