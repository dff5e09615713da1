"""Queries of people: answered, streamed, and unable to change anything.

Three things see to that, each by itself: the role may only read the tables of this schema, the transaction is
read-only, and the text is opened as a cursor, which the server does for one query that returns rows and for
nothing else. ``COMMIT; DELETE ...`` is therefore an error of syntax to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import exc

from virtualobserver.db import driver
from virtualobserver.errors import QueryError, ServerError
from virtualobserver.typing import Record, Value

__all__ = ["BATCH", "TIME_LIMIT", "Answer", "Reader"]

BATCH = 10_000
"""Rows in memory at a time: a few MB of detections, and few enough trips to the server."""
TIME_LIMIT = 300.0
"""Seconds for one step of a query: to its first rows, and from each batch to the next."""

_CURSOR = "vo_answer"
_CANCELLED = "57014"
_NO_TABLE, _NO_COLUMN = "42P01", "42703"
_NAMES = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1"


@dataclass(frozen=True)
class Answer:
    """The rows of a query, still on the server.

    Attributes
    ----------
    names
        Of the columns; a query may give one twice.
    kinds
        whole, real, truth, instant (times with their zone) or other.
    batches
        Lists of rows, to go through once.
    """

    names: list[str]
    kinds: list[str]
    batches: Iterator[list[tuple[Value, ...]]] = field(repr=False)


class Reader:
    """Answers queries as the role that may only read.

    Parameters
    ----------
    url
        Of the database, as that role.
    """

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url)

    @contextmanager
    def ask(
        self,
        query: str,
        values: Record | None = None,
        *,
        time_limit: float = TIME_LIMIT,
        json_as_text: bool = False,
    ) -> Iterator[Answer]:
        """Give the answer of a query while the block runs.

        Parameters
        ----------
        query
            One query that returns rows: SELECT, WITH, VALUES, TABLE, EXPLAIN or SHOW.
        values
            Of its ``:name`` marks; without any, a colon is a colon.
        time_limit
            Seconds, 0 for none; see `TIME_LIMIT`.
        json_as_text
            Leave JSON columns as text.

        Raises
        ------
        QueryError
            The text is something else than one query that returns rows, is wrong, or took too long.
        ServerError
            The server does not answer, or went away.
        """
        given = driver.parameters(self._url)
        given = {"application_name": "virtualobserver reader", "connect_timeout": 10} | given
        with _explained(), closing(driver.Interruptible(given, json_as_text=json_as_text)) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            connection.execute(f"SET statement_timeout = {round(time_limit * 1000)}")
            # All rows will be wanted: by default a cursor is planned for a tenth of them, with nested loops.
            connection.execute("SET cursor_tuple_fraction = 1")
            connection.execute("BEGIN READ ONLY")
            _open(connection, query, values or {})
            names, kinds, rows = _fetch(connection)
            yield Answer(names, kinds, _batches(connection, rows))


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        said = driver.reason_of(error)
        if driver.is_lost(error):
            msg = f"the database does not answer queries: {said}"
            raise ServerError(msg) from None
        if driver.state_of(error) == _CANCELLED:
            said = "the query took longer than its time limit; ask for less, or give it more (--time-limit)"
        raise QueryError(said) from None


def _open(connection: driver.Interruptible, query: str, values: Record) -> None:
    if values:
        query = connection.filled(driver.compiled(query), values)
    body = f"DECLARE c refcursor := '{_CURSOR}'; BEGIN OPEN c FOR EXECUTE {connection.literal(query)}; END"
    try:
        connection.execute(f"DO {connection.literal(body)}")
    except exc.ProgrammingError as error:
        said = driver.reason_of(error)
        if driver.state_of(error) == _NO_TABLE:
            connection.execute("ROLLBACK")
            names = [str(name) for (name,) in connection.execute(_NAMES)[2]]
            msg = f"{said}; tables and views here: {', '.join(names)}"
            raise QueryError(msg) from None
        word = said.partition('"')[2].partition('"')[0]
        if driver.state_of(error) == _NO_COLUMN and word and f"= {word}" in query:
            msg = f"{said}; a text stands in single quotes: '{word}'"
            raise QueryError(msg) from None
        if "as cursor" not in said:
            raise
        what = "none, or several" if "multi-query" in said else said.split()[2]
        msg = f"queries are read-only here: give one SELECT, WITH, VALUES, TABLE, EXPLAIN or SHOW; this is {what}"
        raise QueryError(msg) from None


def _fetch(connection: driver.Interruptible) -> tuple[list[str], list[str], list[tuple[Value, ...]]]:
    try:
        return connection.execute(f"FETCH {BATCH} FROM {_CURSOR}")
    except ValueError as error:  # a date that Python has not
        msg = f"a value of the answer has no place here ({error}); ask for it as text, such as day::text"
        raise QueryError(msg) from error


def _batches(
    connection: driver.Interruptible, rows: list[tuple[Value, ...]]
) -> Iterator[list[tuple[Value, ...]]]:
    while rows:
        yield rows
        full = len(rows) == BATCH
        rows = _fetch(connection)[2] if full else []
