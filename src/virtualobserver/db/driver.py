"""Everything that is particular to psycopg2; no other module imports it."""

from __future__ import annotations

import contextlib
import json
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import psycopg2
import psycopg2.extensions
from sqlalchemy import exc

from virtualobserver.data.plain import plain
from virtualobserver.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Executable

__all__ = [
    "ENGINE_OPTIONS",
    "copy_in",
    "create_database",
    "dumps",
    "register_numpy",
    "rows_and_kinds",
    "why_no_answer",
]

#: Options of ``create_engine`` that only this driver knows.
ENGINE_OPTIONS: Mapping[str, Any] = {"executemany_mode": "values_plus_batch"}

_ENCODER = json.JSONEncoder(allow_nan=False)  # json.dumps would make one for every value

_SCALARS = (
    np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8,
    np.uint64, np.uint32, np.uint16, np.uint8, np.bool_,
)  # fmt: skip


# Object ids of PostgreSQL's own types; they never change.
_KINDS: Mapping[Any, str] = {
    20: "whole", 21: "whole", 23: "whole", 26: "whole",
    700: "real", 701: "real", 1700: "real",
    16: "truth", 1184: "instant",
}  # fmt: skip


def register_numpy() -> None:
    """Let NumPy scalars be bound as parameters; without this float64 is written as ``np.float64(...)``."""
    for kind in _SCALARS:
        psycopg2.extensions.register_adapter(kind, _adapt)


def _adapt(value: Any) -> Any:
    return psycopg2.extensions.adapt(value.item())


def why_no_answer(host: str, user: str, database: str = "postgres") -> str:
    """Try to connect; return why it failed, or an empty text when the server answers."""
    try:
        psycopg2.connect(host=host, user=user, dbname=database, connect_timeout=5).close()
    except psycopg2.OperationalError as error:
        return str(error).strip() or type(error).__name__
    return ""


def create_database(host: str, user: str, name: str) -> None:
    """Create database ``name`` unless it exists."""
    connection = psycopg2.connect(host=host, user=user, dbname="postgres", connect_timeout=5)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if cursor.fetchone() is None:
                quoted = psycopg2.extensions.quote_ident(name, cursor)
                cursor.execute(f"CREATE DATABASE {quoted}")
    finally:
        connection.close()


def copy_in(connection: Connection, statement: str, stream: IO[bytes], *, place: str) -> None:
    """Run ``COPY ... FROM STDIN`` in the transaction of ``connection``.

    Raises
    ------
    DataError
        A value is refused by the table ``place``, or a constraint is.
    sqlalchemy.exc.DBAPIError
        Anything else the server reports, in SQLAlchemy's classes.
    """
    try:
        with contextlib.closing(connection.connection.cursor()) as cursor:
            cast("Any", cursor).copy_expert(statement, stream)
    except (psycopg2.DataError, psycopg2.IntegrityError) as error:
        msg = f"table {place} refuses the rows: {str(error).strip()}; nothing was written"
        raise DataError(msg) from error
    except psycopg2.Error as error:
        wrapped = exc.DBAPIError.instance(statement, None, error, psycopg2.Error, dialect=connection.dialect)
        raise wrapped from error


def rows_and_kinds(
    connection: Connection, query: Executable, params: Mapping[str, Any]
) -> tuple[list[str], list[str], list[Any]]:
    """Return column names, kinds (whole, real, truth, instant, other) and rows of a query."""
    result = connection.execute(query, params)
    names = [str(name) for name in result.keys()]  # noqa: SIM118 - not a mapping
    cursor = result.cursor
    description = cursor.description if cursor is not None else None
    kinds = [_KINDS.get(column[1], "other") for column in description or ()]
    return names, kinds, list(result.all())


def dumps(value: Any) -> str:
    """Serialise for JSON columns: NaN and infinities become null, NumPy values plain ones.

    Raises
    ------
    DataError
        A value that JSON cannot hold.
    """
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError):
        try:
            return _ENCODER.encode(plain(value, strict=True))
        except TypeError as error:
            msg = f"{error}; it cannot be stored in a JSON column"
            raise DataError(msg) from error
