"""Tables as CSV text: names and values, of which each keeps all its digits or stays text."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from virtualobserver.columns import Column
from virtualobserver.errors import InvalidFile, LostFact
from virtualobserver.io.sizes import check_room
from virtualobserver.typing import Record, Value

__all__ = ["csv_bytes", "frame_of_csv", "nullable", "warn_of_csv"]

_INTEGER: Final = r"^[+-]?(0|[1-9][0-9]*)$"
_FLOAT: Final = r"^[+-]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|inf|Inf|INF)$"
_NUMBER: Final = r"[+-]?([0-9]+[.,]?[0-9]*|[.,][0-9]+)([eE][+-]?[0-9]+)?"
_NUMBER_FIRST: Final = rf"^{_NUMBER}\s*[,;\t]"
_DECIMAL_COMMA: Final = r"^\s*([+-]?[0-9]*),([0-9]+(?:[eE][+-]?[0-9]+)?)\s*$"
_MISSING: Final = ["", "NaN", "nan", "NAN", "null", "NULL", "None", "NA", "N/A"]
_CSV_TIMES = 10
"""Bytes of memory that a byte of text takes while it becomes a table."""


def frame_of_csv(content: bytes, name: str = "table") -> pd.DataFrame:
    """Parse CSV text exactly: every column is whole numbers, floats, booleans or text, never a mixture.

    Lines that begin with ``#`` are left out, but for one right above rows of numbers that names as many columns as
    they have. Where the names have no comma between them, they may have semicolons (and numbers then a decimal comma)
    or tabs, as spreadsheets write them.

    Raises
    ------
    InvalidFile
        If a line has another number of fields than the header, or the text is not UTF-8.
    MemoryError
        If this process may not have the address space for it.
    """
    check_room(_CSV_TIMES * len(content), name)
    lines = content.lstrip(b"\xef\xbb\xbf")
    said = b""
    while lines.startswith(b"#"):
        said, _, lines = lines.partition(b"\n")
    if b"\0" in lines:
        msg = f"{name}: holds NUL bytes, so it is not text; fetch it again"
        raise InvalidFile(msg)
    if not lines.strip():
        msg = f"{name}: no header line"
        raise InvalidFile(msg)
    if _names_rows(said, lines):
        lines = said.lstrip(b"# ") + b"\n" + lines
    mark = _mark(lines)
    try:
        parse = pyarrow.csv.ParseOptions(delimiter=mark, newlines_in_values=True)
        head = pyarrow.csv.open_csv(io.BytesIO(lines), parse_options=parse).schema.names
        kinds = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(head, pa.string()), strings_can_be_null=False
        )
        table = pyarrow.csv.read_csv(io.BytesIO(lines), parse_options=parse, convert_options=kinds)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        msg = f"{name}: not a whole CSV table ({error}); mend the file or fetch it again"
        raise InvalidFile(msg) from error
    if len(set(head)) < len(head):
        twice = sorted({label for label in head if head.count(label) > 1})
        msg = f"{name}: column names are used twice: {', '.join(twice)}"
        raise InvalidFile(msg)
    if mark == ";":
        columns = [
            pc.replace_substring_regex(table.column(label), _DECIMAL_COMMA, r"\1.\2") for label in head
        ]
        table = pa.table(columns, names=head)
    return pd.DataFrame({name: _typed(table.column(name)) for name in head})


def _mark(lines: bytes) -> str:
    """Return what stands between the columns: a comma, if there is none in the first line a semicolon or a tab."""
    first = re.sub(rb'"[^"]*"', b"", lines.lstrip().partition(b"\n")[0])
    return "," if b"," in first else next((mark for mark in ";\t" if mark.encode() in first), ",")


def _names_rows(said: bytes, lines: bytes) -> bool:
    """Whether a comment names the columns of the rows below it: as many words as they have numbers."""
    head, first = said.lstrip(b"# "), lines.partition(b"\n")[0].decode("utf-8", "replace")
    mark, words = _mark(head), head.decode("utf-8", "replace")
    fields = [one.strip() for one in first.split(mark)]
    named = len(words.split(mark)) == len(fields) > 1
    return named and any(re.fullmatch(_NUMBER, one) for one in fields) and not re.search(_NUMBER_FIRST, words)


def _typed(column: object) -> Value:
    """Return the values of a text column as the narrowest type that keeps all of them exactly."""
    text = pc.utf8_trim_whitespace(column)
    empty = pc.is_in(text, value_set=pa.array(_MISSING))
    known = pc.filter(text, pc.invert(empty))
    if len(known) == 0:
        return np.full(len(text), np.nan)
    number = pc.if_else(empty, pa.scalar(None, pa.string()), text)
    whole = pc.match_substring_regex(known, _INTEGER)
    if pc.all(whole).as_py():
        for kind, name in ((pa.int64(), "Int64"), (pa.uint64(), "UInt64")):
            try:
                values = pc.cast(pc.replace_substring_regex(number, r"^\+", ""), kind)
            except pa.ArrowInvalid:
                continue
            return values.to_numpy() if values.null_count == 0 else nullable(values, name)
        return _text(column)
    if pc.all(pc.or_(whole, pc.match_substring_regex(known, _FLOAT))).as_py():
        longest = pc.max(pc.utf8_length(pc.filter(known, whole))).as_py() or 0
        if longest <= 15:
            values = pc.cast(pc.replace_substring_regex(number, r"^\+", ""), pa.float64())
            return values.to_numpy().astype("f8")
    if pc.all(pc.is_in(known, value_set=pa.array(["true", "false", "True", "False"]))).as_py():
        truths = pc.is_in(text, value_set=pa.array(["true", "True"]))
        return truths.to_numpy() if len(known) == len(text) else _truths(truths, empty)
    return _text(column)


def _truths(values: Any, missing: Any) -> Any:
    return pd.arrays.BooleanArray(np.array(values), np.array(missing))


def _text(column: Value) -> Value:
    values = np.array([value or None for value in column.to_pylist()], dtype=object)
    return pd.Series(values, dtype=object)


def nullable(values: Any, name: str) -> Any:
    """Return an Arrow column with gaps as one of pandas."""
    array: Any = pd.array
    return array(values.to_pylist(), dtype=name)


def warn_of_csv(path: Path, known: Mapping[str, Column], facts: Record) -> None:
    """Warn, as `LostFact`, of what is known of a table and a CSV file cannot hold."""
    lost = [what for what, field in (("units", "unit"), ("descriptions", "description"), ("UCDs", "ucd"))
            if any(getattr(column, field) for column in known.values())]  # fmt: skip
    lost += [f"facts ({', '.join(facts)})"] if facts else []
    if lost:
        msg = f"{path}: CSV holds no {', '.join(lost)}; ECSV, VOTable, FITS, Parquet and HDF5 do"
        warnings.warn(msg, LostFact, stacklevel=3)


def csv_bytes(frame: pd.DataFrame, path: Path) -> bytes:
    """Return a frame as CSV, with quotes where a reader would see something else.

    Warns
    -----
    LostFact
        If a text is what stands for a missing value, such as NA.
    """
    texts = {name: frame[name].dropna() for name in frame if frame[name].dtype.kind not in "biufcmM"}
    for name, column in texts.items():
        if (gone := column[column.isin(_MISSING[1:])]).size:
            msg = f"{path}: column {name!r}: CSV has no types, so {gone.iloc[0]!r} will be read as missing"
            warnings.warn(msg, LostFact, stacklevel=4)
    # a line end alone, the sign of a comment or of XML at the very start, and a semicolon in the one name there is, are
    # not quoted otherwise
    odd = any(column.str.contains("\r", regex=False).any() for column in texts.values())
    odd |= str(next(iter(frame), "")).startswith(("#", "<"))
    odd |= len(frame.columns) == 1 and ";" in str(frame.columns[0])
    quoting: Literal[0, 2] = csv.QUOTE_NONNUMERIC if odd else csv.QUOTE_MINIMAL
    return frame.to_csv(index=False, lineterminator="\n", quoting=quoting).encode()
