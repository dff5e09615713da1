"""Everything that is particular to psycopg2; no other module imports it."""

from __future__ import annotations

import contextlib
import json
import select
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import psycopg2
import psycopg2.extensions
import psycopg2.extras
from sqlalchemy import exc, text
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from virtualobserver.data.plain import plain
from virtualobserver.errors import DataError
from virtualobserver.typing import Record, RecordDict, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import URL, Connection, Executable

__all__ = [
    "ENGINE_OPTIONS",
    "Interruptible",
    "administering",
    "cancel",
    "compiled",
    "copy_in",
    "dumps",
    "is_full",
    "is_lost",
    "parameters",
    "quoted",
    "reason_of",
    "register_numpy",
    "rows_and_kinds",
    "state_of",
    "why_no_answer",
]

#: Options of ``create_engine`` that only this driver knows.
ENGINE_OPTIONS: Record = {"executemany_mode": "values_plus_batch"}

_ENCODER = json.JSONEncoder(allow_nan=False)  # json.dumps would make one for every value

_SCALARS = (
    np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8,
    np.uint64, np.uint32, np.uint16, np.uint8, np.bool_,
)  # fmt: skip


_GONE = ("08", "57P")  # classes of SQLSTATE: connections, and a server that stops or starts

_DIALECT: Any = PGDialect_psycopg2()  # type: ignore[no-untyped-call]

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


def _adapt(value: Value) -> Value:
    return psycopg2.extensions.adapt(value.item())


def why_no_answer(host: str, user: str, database: str = "postgres") -> str:
    """Try to connect; return why it failed, or an empty text when the server answers."""
    try:
        psycopg2.connect(host=host, user=user, dbname=database, connect_timeout=5).close()
    except psycopg2.OperationalError as error:
        return str(error).strip() or type(error).__name__
    return ""


@contextlib.contextmanager
def administering(host: str, user: str, database: str) -> Iterator[Callable[..., list[Value]]]:
    """Connect as ``user``; give a function that executes statements at once and returns the rows."""
    connection = psycopg2.connect(host=host, user=user, dbname=database, connect_timeout=5)
    connection.autocommit = True

    def execute(statement: str, values: Sequence[Value] | None = None) -> list[Value]:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    try:
        yield execute
    finally:
        connection.close()


def quoted(name: str) -> str:
    """Return a name as an identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


class Interruptible:
    """A connection on which Ctrl-C ends the statement that runs, on the server as well.

    psycopg2 waits in C, where Python's handler of the signal is not reached: here Python waits.

    Parameters
    ----------
    parameters
        Of ``psycopg2.connect``.
    json_as_text
        Leave JSON as the server writes it.
    """

    def __init__(self, parameters: Record, *, json_as_text: bool = False) -> None:
        try:
            self._connection: Any = psycopg2.connect(**parameters, async_=1)
        except psycopg2.Error as error:
            raise _wrapped("connect", error) from error
        try:
            self._wait()
        except psycopg2.Error as error:
            self._connection.close()
            raise _wrapped("connect", error) from error
        except BaseException:
            self._connection.close()
            raise
        self._cursor = self._connection.cursor()
        if json_as_text:
            for register in (psycopg2.extras.register_default_json, psycopg2.extras.register_default_jsonb):
                register(self._cursor, loads=str)

    def execute(self, statement: str) -> tuple[list[str], list[str], list[tuple[Value, ...]]]:
        """Return column names, kinds (whole, real, truth, instant, other) and rows of a statement.

        Raises
        ------
        sqlalchemy.exc.DBAPIError
            What the server reports, in SQLAlchemy's classes.
        KeyboardInterrupt
            After the server ended the statement.
        """
        try:
            self._cursor.execute(statement)
            self._wait()
        except psycopg2.Error as error:
            raise _wrapped(statement, error) from error
        columns = self._cursor.description
        if columns is None:
            return [], [], []
        kinds = [_KINDS.get(column[1], "other") for column in columns]
        return [column[0] for column in columns], kinds, self._cursor.fetchall()

    def literal(self, value: str) -> str:
        """Return a text as a literal in SQL."""
        adapted: Any = psycopg2.extensions.QuotedString(value)
        adapted.prepare(self._connection)
        return str(adapted.getquoted().decode())

    def filled(self, statement: str, values: Record) -> str:
        """Return a statement with its ``%(name)s`` replaced by literals."""
        return str(self._cursor.mogrify(statement, values).decode())

    def close(self) -> None:
        """Leave the server; what still runs there ends."""
        with contextlib.suppress(psycopg2.Error):
            if self._connection.isexecuting():
                self._connection.cancel()
        self._connection.close()

    def _wait(self) -> None:
        stopped: KeyboardInterrupt | None = None
        try:
            while (state := self._connection.poll()) != psycopg2.extensions.POLL_OK:
                reading = state == psycopg2.extensions.POLL_READ
                # poll, not select: that knows the first 1024 files of a process only
                waiting = select.poll()
                waiting.register(self._connection.fileno(), select.POLLIN if reading else select.POLLOUT)
                try:
                    waiting.poll()
                except KeyboardInterrupt as pressed:
                    stopped = pressed
                    self._connection.cancel()
        except psycopg2.Error:
            if stopped is None:
                raise
        if stopped is not None:
            raise stopped


def _wrapped(statement: str, error: psycopg2.Error) -> BaseException:
    return exc.DBAPIError.instance(statement, None, error, psycopg2.Error, dialect=_DIALECT)


def parameters(url: URL) -> RecordDict:
    """Return what ``psycopg2.connect`` takes for a URL."""
    _, found = _DIALECT.create_connect_args(url)
    return dict(found)


def compiled(query: str) -> str:
    """Return a query with ``%(name)s`` where it had ``:name``, as `Interruptible.filled` takes it."""
    return str(text(query).compile(dialect=_DIALECT))


def state_of(error: exc.DBAPIError) -> str | None:
    """Return the server's code (SQLSTATE) of an error; None where the server said nothing any more."""
    code: str | None = getattr(error.orig, "pgcode", None)
    return code


def is_lost(error: exc.DBAPIError) -> bool:
    """Whether a statement failed because the server went away, stops or starts."""
    code = state_of(error)
    if code is None:
        return isinstance(error, exc.OperationalError | exc.InterfaceError)
    return code.startswith(_GONE)


def is_full(error: exc.DBAPIError) -> bool:
    """Whether a statement failed because the server has no room on its disk."""
    return state_of(error) == "53100"


def cancel(connection: Any) -> None:
    """End the statement that runs on a connection, if one does; from any thread."""
    with contextlib.suppress(psycopg2.Error):
        if connection.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_ACTIVE:
            connection.cancel()


def reason_of(error: exc.DBAPIError) -> str:
    """Return what the server said, without where in our own text it said it."""
    said = getattr(error.orig, "diag", None)
    parts = [said.message_primary, said.message_detail, said.message_hint] if said else []
    return "; ".join(str(part) for part in parts if part) or str(error.orig).strip()


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
    connection: Connection, query: Executable, params: Record
) -> tuple[list[str], list[str], Iterable[Sequence[Value]]]:
    """Return column names, kinds (whole, real, truth, instant, other) and rows in batches of a query."""
    result = connection.execute(query, params)
    names = [str(name) for name in result.keys()]  # noqa: SIM118 - not a mapping
    cursor = result.cursor
    description = cursor.description if cursor is not None else None
    kinds = [_KINDS.get(column[1], "other") for column in description or ()]
    return names, kinds, result.partitions(10_000)


def dumps(value: object) -> str:
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
