"""Columns of values to Arrow arrays that PostgreSQL's CSV reader takes exactly."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from virtualobserver.db import driver
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.typing import Value

__all__ = ["Values", "to_arrow"]

#: What a column may be given as.
Values: TypeAlias = "Sequence[Value] | Array | pa.Array"

_NUL_IN_JSON = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def to_arrow(column: sa.Column[Any], values: Values) -> pa.Array:
    """Return the values of one column as an Arrow array of text, numbers or booleans.

    Parameters
    ----------
    column : sqlalchemy.Column
        Decides how values are read; its Python-side type decorators are applied.
    values : sequence, ndarray or pyarrow.Array, shape (n,)
        None (for text and times also NaN and NaT) is NULL. Whole numbers are never made from floats.

    Raises
    ------
    DataError
        A value the column cannot hold exactly; names table and column.
    """
    kind = column.type
    try:
        if isinstance(kind, sa.TypeDecorator):
            dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
            values = [kind.process_bind_param(value, dialect) for value in _listed(values)]
            kind = kind.impl_instance
        return _reader(kind)(kind, values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        place = f"{column.table.name}.{column.name}"
        msg = f"column {place} ({kind}) cannot take the values: {error}; nothing was written"
        raise DataError(msg) from error


def _reader(kind: sa.types.TypeEngine[Value]) -> Callable[[Value, Values], Value]:
    """Return the function that reads values for a type; the first match counts."""
    readers: tuple[tuple[Value, Callable[[Value, Values], Value]], ...] = (
        (sa.Integer, _whole),
        (sa.Boolean, _truth),
        (sa.Float, _real),
        (sa.Numeric, _words(str)),
        (sa.JSON, _words(_json)),
        (sa.ARRAY, _words(_array_cell)),
        (sa.LargeBinary, _words(_hex)),
        (sa.DateTime, _instants),
        (sa.Date, _words(_day)),
        (sa.Uuid, _words(str)),
        (sa.String, _text),
    )
    for known, reader in readers:
        if isinstance(kind, known):
            return reader
    msg = f"columns of type {kind} are not supported in bulk"
    raise TypeError(msg)


def _listed(values: Values) -> list[Value]:
    return list(values.to_pylist() if isinstance(values, pa.Array | pa.ChunkedArray) else values)


def _natural(values: Values) -> Value:
    """Let Arrow infer the type: told one, it would cut 1.5 down to 1 without a word."""
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if isinstance(values, np.ndarray) or not hasattr(values, "dtype"):
        return pa.array(values)
    return pa.array(np.asarray(values))  # a pandas column


def _whole(kind: sa.Integer, values: Values) -> Value:
    found = _natural(values)
    wanted = pa.int64()
    if isinstance(kind, sa.SmallInteger):
        wanted = pa.int16()
    elif not isinstance(kind, sa.BigInteger):
        wanted = pa.int32()
    if not (pa.types.is_integer(found.type) or pa.types.is_null(found.type)):
        msg = (
            f"whole numbers are expected, not {found.type} (an id that went through a float has lost digits)"
        )
        raise TypeError(msg)
    return found.cast(wanted, safe=True)


def _truth(_: sa.Boolean, values: Values) -> Value:
    found = _natural(values)
    if not (pa.types.is_boolean(found.type) or pa.types.is_null(found.type)):
        msg = f"true or false is expected, not {found.type}"
        raise TypeError(msg)
    return found


def _real(kind: sa.Float[Value], values: Values) -> Value:
    found = _natural(values)
    number = (
        pa.types.is_floating(found.type) or pa.types.is_integer(found.type) or pa.types.is_null(found.type)
    )
    if not number:
        msg = f"numbers are expected, not {found.type}"
        raise TypeError(msg)
    if isinstance(kind, sa.REAL) and pa.types.is_float32(found.type):
        return found
    return found.cast(pa.float64())


def _text(_: sa.String, values: Values) -> Value:
    found = (
        values
        if isinstance(values, pa.Array | pa.ChunkedArray)
        else pa.array(values, pa.string(), from_pandas=True)
    )
    found = found.cast(pa.string())
    nul = pc.index(pc.match_substring(found, "\0"), True).as_py()
    if nul >= 0:
        msg = f"value {nul} holds a NUL character, which PostgreSQL text cannot: {found[nul].as_py()!r:.80}"
        raise ValueError(msg)
    return found


def _words(spell: Callable[[Value], str]) -> Callable[[Value, Values], Value]:
    """Read cell by cell, each spelled as PostgreSQL's text form."""

    def read(_: object, values: Values) -> Value:
        cells = [None if value is None else spell(value) for value in _listed(values)]
        return pa.array(cells, pa.string())

    return read


def _json(value: object) -> str:
    text = driver.dumps(value)
    if "\\u0000" in text and _NUL_IN_JSON.search(text):
        msg = f"JSON with a NUL character cannot be stored: {text:.80}"
        raise ValueError(msg)
    return text


def _hex(value: object) -> str:
    if not isinstance(value, bytes | bytearray | memoryview):
        msg = f"bytes are expected, not {type(value).__name__}"
        raise TypeError(msg)
    return "\\x" + bytes(value).hex()


def _day(value: object) -> str:
    if not isinstance(value, date) or isinstance(value, datetime):
        msg = f"dates are expected, not {type(value).__name__}"
        raise TypeError(msg)
    return value.isoformat()


def _array_cell(value: object) -> str:
    """Spell a one-dimensional array: ``{1,2,NULL}`` or ``{"a","b"}``."""
    words = []
    for item in np.asarray(value, dtype=object).tolist():
        if item is None:
            words.append("NULL")
        elif isinstance(item, str):
            if "\0" in item:
                msg = f"an array with a NUL character cannot be stored: {item!r:.80}"
                raise ValueError(msg)
            words.append('"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"')
        elif isinstance(item, bool | int | float):
            words.append(repr(item).lower())
        else:
            msg = f"arrays hold numbers or text, not {type(item).__name__}"
            raise TypeError(msg)
    return "{" + ",".join(words) + "}"


def _instants(kind: sa.DateTime, values: Values) -> Value:
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        # numpy's datetimes have no zone; here they are UTC, as everywhere in the package
        marks = np.datetime_as_string(values.astype("M8[us]"))
        suffix = "+00:00" if kind.timezone else ""
        return pa.array([None if m == "NaT" else m + suffix for m in marks.tolist()], pa.string())
    return _words(_aware if kind.timezone else _naive)(kind, values)


def _aware(value: object) -> str:
    if not isinstance(value, datetime):
        msg = f"datetimes are expected, not {type(value).__name__}"
        raise TypeError(msg)
    if value.tzinfo is None:
        msg = f"{value.isoformat()} has no time zone: say which, e.g. tzinfo=UTC"
        raise ValueError(msg)
    return value.astimezone(UTC).isoformat()


def _naive(value: object) -> str:
    if not isinstance(value, datetime) or value.tzinfo is not None:
        msg = f"datetimes without a time zone are expected, not {value!r}"
        raise TypeError(msg)
    return value.isoformat()
