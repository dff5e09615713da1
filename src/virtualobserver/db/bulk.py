"""Many rows at once: COPY in, upsert through a temporary table, and a query to a DataFrame.

Everything happens in the transaction of the session that is given, and nothing here commits. Names of
tables and columns come from `sqlalchemy.Table` objects only, values travel as CSV or bound parameters.
"""

from __future__ import annotations

import io
import uuid
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.csv
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from virtualobserver.db import driver
from virtualobserver.db.cells import to_arrow
from virtualobserver.errors import DatabaseError, DataError
from virtualobserver.typing import Record, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd
    from sqlalchemy.orm import Session

    from virtualobserver.db.cells import Values

__all__ = ["copy_rows", "frame_of", "read_frame", "upsert_rows"]

BATCH = 100_000  # rows of CSV in memory at a time

_PREPARER = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]
_NUMBER = "_n"  # input order, in the temporary table


def copy_rows(session: Session, table: sa.Table, columns: Mapping[str, Values]) -> int:
    """Append rows by COPY, in the session's transaction.

    Parameters
    ----------
    session : Session
        Flushed first, so that rows may refer to pending ones.
    table : sqlalchemy.Table
    columns : mapping of name to values, each of shape (n,)
        Columns left out get the server's default, not a Python-side one.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    DataError
        An unknown column, unequal lengths, a value the column cannot hold, a constraint; names the place.
    """
    data = _arrow_table(table, columns)
    session.flush()
    _copy(session.connection(), data, _name(table), place=table.name)
    return int(data.num_rows)


@overload
def upsert_rows(
    session: Session,
    table: sa.Table,
    columns: Mapping[str, Values],
    *,
    key: Sequence[str],
    update: Sequence[str] | None = None,
) -> int: ...


@overload
def upsert_rows(
    session: Session,
    table: sa.Table,
    columns: Mapping[str, Values],
    *,
    key: Sequence[str],
    update: Sequence[str] | None = None,
    returning: Sequence[str],
) -> list[tuple[Value, ...]]: ...


def upsert_rows(
    session: Session,
    table: sa.Table,
    columns: Mapping[str, Values],
    *,
    key: Sequence[str],
    update: Sequence[str] | None = None,
    returning: Sequence[str] = (),
) -> list[tuple[Value, ...]] | int:
    """Insert rows, or update those whose key exists, through a temporary table.

    Of input rows with equal keys the last one counts when updating, else the first.

    Parameters
    ----------
    session : Session
    table : sqlalchemy.Table
    columns : mapping of name to values, each of shape (n,)
    key : sequence of str
        Columns of a unique constraint of the table; NULLs in it are equal to each other.
    update : sequence of str, optional
        Columns to overwrite in existing rows; default none: those rows stay as they are.
    returning : sequence of str
        Columns to return for every input row, in input order, also of rows left as they were.

    Returns
    -------
    list of tuple, or int
        With ``returning`` one tuple per input row, else the number of rows inserted or updated.

    Raises
    ------
    DataError
        As for `copy_rows`, or a key that is not among the columns.
    """
    _known(table, (*key, *(update or ()), *returning))
    missing = [name for name in (*key, *(update or ())) if name not in columns]
    if missing or not key:
        lacking = missing or "a key"
        msg = f"upsert into {table.name} needs values for its key and updated columns; missing: {lacking}"
        raise DataError(msg)
    data = _arrow_table(table, columns)
    data = data.append_column(_NUMBER, pa.array(np.arange(data.num_rows)))
    session.flush()
    connection = session.connection()
    stage = _quote(f"vo_stage_{uuid.uuid4().hex}")
    listed = ", ".join(map(_quote, columns))
    make = f"SELECT {listed}, CAST(0 AS bigint) AS {_NUMBER} FROM {_name(table)} WITH NO DATA"  # noqa: S608 - from the Table
    _execute(connection, f"CREATE TEMPORARY TABLE {stage} ON COMMIT DROP AS {make}")
    _copy(connection, data, stage, place=table.name)
    changed = _merge(connection, table, stage, listed, key=key, update=update or ())
    rows = _read_back(connection, table, stage, key=key, returning=returning) if returning else []
    _execute(connection, f"DROP TABLE {stage}")
    return rows if returning else changed


def read_frame(session: Session, sql: str | sa.Executable, params: Record | None = None) -> pd.DataFrame:
    """Return the answer of a query as a DataFrame with the types of the server.

    Whole numbers stay whole (``Int64`` where NULLs are among them), ``numeric`` becomes float64, times are
    UTC, JSON stays dict or list, text and bytes are objects with None for NULL.

    Parameters
    ----------
    session : Session
    sql : str or sqlalchemy.Executable
        Values belong into ``params``, as ``:name``.
    params : mapping, optional
    """
    query = sa.text(sql) if isinstance(sql, str) else sql
    return frame_of(*driver.rows_and_kinds(session.connection(), query, params or {}))


def frame_of(
    names: Sequence[str], kinds: Sequence[str], batches: Iterable[Sequence[Sequence[Value]]]
) -> pd.DataFrame:
    """Return rows in batches as one DataFrame; see `read_frame` for the types.

    Every batch becomes arrays before the next is asked for, which take a tenth of the memory of Python's objects.
    """
    import pandas as pd

    parts: list[list[Value]] = [[] for _ in names]
    for rows in batches:
        for part, kind, values in zip(parts, kinds, zip(*rows, strict=True), strict=True):
            part.append(_series(kind, list(values)))
    series = [
        pd.concat(part, ignore_index=True) if part else _series(kind, [])
        for part, kind in zip(parts, kinds, strict=True)
    ]
    frame = pd.concat(series, axis=1) if series else pd.DataFrame()
    frame.columns = pd.Index(list(names))
    return frame


def _series(kind: str, values: list[Value]) -> pd.Series:
    import pandas as pd

    holes = any(value is None for value in values)
    if kind == "whole":
        return pd.Series(values, dtype="Int64" if holes else "int64")
    if kind == "truth":
        return pd.Series(values, dtype="boolean" if holes else "bool")
    if kind == "real":
        return pd.Series([np.nan if v is None else float(v) for v in values], dtype="float64")
    if kind == "instant":
        return pd.Series(pd.to_datetime(values, utc=True))
    return pd.Series(values, dtype=object)


def _quote(name: str) -> str:
    return str(_PREPARER.quote_identifier(name))


def _name(table: sa.Table) -> str:
    return _quote(table.name) if table.schema is None else f"{_quote(table.schema)}.{_quote(table.name)}"


def _execute(connection: sa.Connection, statement: str) -> sa.CursorResult[Any]:
    # Not text(): a colon in a column's name is no parameter.
    return connection.exec_driver_sql(statement)


def _known(table: sa.Table, names: Sequence[str]) -> None:
    for name in names:
        if name not in table.c:
            msg = f"table {table.name} has no column {name!r}; it has {', '.join(table.c.keys())}"
            raise DataError(msg)


def _arrow_table(table: sa.Table, columns: Mapping[str, Values]) -> pa.Table:
    _known(table, tuple(columns))
    if not columns:
        msg = f"no columns given for table {table.name}"
        raise DataError(msg)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        msg = f"columns for table {table.name} have unequal lengths: {lengths}"
        raise DataError(msg)
    return pa.table({name: to_arrow(table.c[name], values) for name, values in columns.items()})


def _copy(connection: sa.Connection, data: pa.Table, name: str, *, place: str) -> None:
    listed = ", ".join(map(_quote, data.column_names))
    statement = f"COPY {name} ({listed}) FROM STDIN WITH (FORMAT csv, ENCODING 'UTF8')"
    options = pyarrow.csv.WriteOptions(include_header=False)
    for start in range(0, data.num_rows, BATCH):
        buffer = io.BytesIO()
        pyarrow.csv.write_csv(data.slice(start, BATCH), buffer, options)
        buffer.seek(0)
        driver.copy_in(connection, statement, buffer, place=place)


def _merge(
    connection: sa.Connection,
    table: sa.Table,
    stage: str,
    listed: str,
    *,
    key: Sequence[str],
    update: Sequence[str],
) -> int:
    keys = ", ".join(map(_quote, key))
    action = "NOTHING"
    if update:
        action = "UPDATE SET " + ", ".join(f"{_quote(c)} = EXCLUDED.{_quote(c)}" for c in update)
    # In the order of the key, so that two writers of the same rows wait for each other and never deadlock.
    order = f"{keys}, {_NUMBER} {'DESC' if update else 'ASC'}"
    statement = (
        f"INSERT INTO {_name(table)} ({listed}) "  # noqa: S608 - names are quoted, from the Table
        f"SELECT {listed} FROM (SELECT DISTINCT ON ({keys}) * FROM {stage} ORDER BY {order}) AS s "
        f"ON CONFLICT ({keys}) DO {action}"
    )
    try:
        return int(_execute(connection, statement).rowcount)
    except (sa.exc.IntegrityError, sa.exc.DataError) as error:
        msg = f"table {table.name} refuses the rows: {str(error.orig).strip()}; nothing was written"
        raise DataError(msg) from error
    except sa.exc.ProgrammingError as error:
        msg = f"cannot upsert into {table.name} by ({', '.join(key)}): {str(error.orig).strip()}"
        raise DatabaseError(msg) from error


def _read_back(
    connection: sa.Connection, table: sa.Table, stage: str, *, key: Sequence[str], returning: Sequence[str]
) -> list[tuple[Value, ...]]:
    # IS NOT DISTINCT FROM cannot use an index or a hash, so only columns that may be NULL pay for it.
    same = []
    for name in key:
        pair = f"t.{_quote(name)} = s.{_quote(name)}"
        if table.c[name].nullable:
            pair = f"({pair} OR (t.{_quote(name)} IS NULL AND s.{_quote(name)} IS NULL))"
        same.append(pair)
    listed = ", ".join(f"t.{_quote(c)}" for c in returning)
    statement = (
        f"SELECT {listed} FROM {stage} AS s JOIN {_name(table)} AS t "  # noqa: S608 - as above
        f"ON {' AND '.join(same)} ORDER BY s.{_NUMBER}"
    )
    return [tuple(row) for row in _execute(connection, statement)]
