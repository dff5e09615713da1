"""Tables of any length, written in record batches: CSV, Parquet and JSON."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Final, TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from virtualobserver.io.atomic import replacing
from virtualobserver.io.described import text_lengths
from virtualobserver.typing import Value

__all__ = ["STREAMED", "record_batches", "schema_of", "write_batches", "write_csv", "write_json",
           "write_parquet"]  # fmt: skip

STREAMED: Final = frozenset({"csv", "parquet"})
"""Formats of files that can be written a batch at a time."""

_TYPES: Final = {"whole": pa.int64(), "real": pa.float64(), "truth": pa.bool_()}


Metadata = Callable[[Mapping[str, int]], Mapping[bytes, bytes]]
"""What a Parquet file says of itself, from the lengths of the longest text of each column."""


def schema_of(names: Sequence[str], kinds: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of columns of these kinds (whole, real, truth, instant, other).

    Times become ISO 8601 text and JSON its text, which every format of tables can hold.
    """
    fields = [pa.field(name, _TYPES.get(kind, pa.string())) for name, kind in zip(names, kinds, strict=True)]
    return pa.schema(fields)


def record_batches(
    schema: pa.Schema, kinds: Sequence[str], batches: Iterable[Sequence[Sequence[Value]]]
) -> Iterator[pa.RecordBatch]:
    """Turn rows in batches into Arrow record batches; NaN becomes null."""
    for rows in batches:
        columns = [
            _array(kind, values, field.type)
            for kind, values, field in zip(kinds, zip(*rows, strict=True), schema, strict=True)
        ]
        yield pa.record_batch(columns, schema=schema)


def _array(kind: str, values: Sequence[Value], type_: pa.DataType) -> pa.Array:
    if kind == "real":
        try:
            return pa.array(values, type_, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError):  # numeric comes as Decimal
            return pa.array([None if v is None else float(v) for v in values], type_, from_pandas=True)
    if kind == "instant":
        return pa.array([None if v is None else v.isoformat() for v in values], type_)
    if kind == "other":
        return pa.array([v if v is None or isinstance(v, str) else _text(v) for v in values], type_)
    return pa.array(values, type_)


def _text(value: object) -> str:
    if isinstance(value, dict | list | int | float | bool):
        return json.dumps(value, sort_keys=True, default=str)
    return bytes(value).hex() if isinstance(value, memoryview | bytes) else str(value)


def write_batches(
    path: Path,
    kind: str,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    *,
    metadata: Metadata | None = None,
) -> int:
    """Write record batches atomically as a file of a `STREAMED` format; return the number of rows.

    Parameters
    ----------
    metadata
        What a Parquet file says of itself.

    Raises
    ------
    DiskFull
        If there is no room; an older file stays as it is.
    """
    with replacing(path) as temporary, temporary.open("wb") as plain:
        if kind == "parquet":
            return write_parquet(plain, schema, batches, metadata=metadata)
        packed: Value = gzip.GzipFile(fileobj=plain, mode="wb") if path.suffix.lower() == ".gz" else plain
        with io.TextIOWrapper(packed, encoding="utf-8", newline="") as text:
            return write_csv(text, schema, batches)


def write_csv(stream: TextIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write a header and rows; quotes only where they are needed, nothing for null."""
    sparing = csv.writer(stream, lineterminator="\n")
    # a line end of an old Macintosh, and the sign of a comment or of XML at the very start, are not quoted otherwise
    quoting = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    (quoting if schema.names[:1] and schema.names[0].startswith(("#", "<")) else sparing).writerow(
        schema.names
    )
    number = 0
    for batch in batches:
        writer = quoting if any(map(_has_return, batch.columns)) else sparing
        writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))
        number += batch.num_rows
    return number


def _has_return(column: pa.Array) -> bool:
    return pa.types.is_string(column.type) and bool(pc.any(pc.match_substring(column, "\r")).as_py())


def write_parquet(
    stream: IO[bytes],
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    *,
    metadata: Metadata | None = None,
) -> int:
    """Write a Parquet file with a row group for each batch; what it says of itself comes after the rows."""
    number = 0
    lengths: dict[str, int] = {}
    with pyarrow.parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            number += batch.num_rows
            if metadata is not None:
                longest = text_lengths(pa.Table.from_batches([batch]))
                lengths |= {name: max(size, lengths.get(name, 1)) for name, size in longest.items()}
        if metadata is not None:
            writer.add_key_value_metadata(dict(metadata(lengths)))
    return number


def write_json(stream: TextIO, names: Sequence[str], batches: Iterable[Sequence[Sequence[Value]]]) -> int:
    """Write rows in batches as a list of objects, one to a line; null for what is not known or no number."""
    number = 0
    stream.write("[")
    for rows in batches:
        for row in rows:
            stream.write(",\n " if number else "\n ")
            facts = {name: _plain(value) for name, value in zip(names, row, strict=True)}
            stream.write(json.dumps(facts, ensure_ascii=False, default=str))
            number += 1
    stream.write("\n]\n" if number else "]\n")
    return number


def _plain(value: object) -> Value:
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    return value.isoformat() if isinstance(value, datetime) else value
