"""Turns at archive hosts and notes on queued requests, shared by all workers of a database."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from virtualobserver.db.engine import Database

__all__ = ["DatabaseSeats", "DatabaseSlots", "JobBook"]

# clock_timestamp, not now: two turns taken in one transaction must differ as well
_RESERVE = text("""
INSERT INTO rate_slot AS r (host, next_free)
VALUES (:host, clock_timestamp() + make_interval(secs => :interval))
ON CONFLICT (host) DO UPDATE
  SET next_free = greatest(r.next_free, r.blocked, clock_timestamp()) + make_interval(secs => :interval)
RETURNING extract(epoch FROM next_free - clock_timestamp())::float8 - CAST(:interval AS float8)""")

_LOOK = text("""
SELECT extract(epoch FROM greatest(next_free, blocked) - clock_timestamp())::float8
FROM rate_slot WHERE host = :host""")

_BLOCK = text("""
INSERT INTO rate_slot AS r (host, next_free, blocked)
VALUES (:host, clock_timestamp(), clock_timestamp() + make_interval(secs => :seconds))
ON CONFLICT (host) DO UPDATE SET blocked = greatest(r.blocked, excluded.blocked)""")

_BLOCKED = text("""
SELECT extract(epoch FROM blocked - clock_timestamp())::float8 FROM rate_slot
WHERE host = :host AND blocked > clock_timestamp()""")

# held until its transaction ends, and given back by the server when a worker dies
_SEAT = text("SELECT pg_try_advisory_xact_lock(hashtextextended('seat ' || :host, :seat))")
_LOOK_AGAIN: Final = 0.2
"""Seconds until a worker that found no seat looks again; short beside any answer that takes a seat for long."""


class DatabaseSeats:
    """At most so many requests to a host under way at one time, of all workers of a database.

    Parameters
    ----------
    database
        Whose server holds the seats.
    seats
        Of each host.
    sleep
        How to wait.
    """

    def __init__(
        self, database: Database, seats: int, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._database = database
        self._seats = seats
        self._sleep = sleep

    @contextmanager
    def __call__(self, host: str) -> Iterator[None]:
        """Wait for a seat at the host, and keep it while entered."""
        while True:
            with self._database.engine.connect() as connection:
                if any(
                    connection.execute(_SEAT, {"host": host, "seat": seat}).scalar()
                    for seat in range(self._seats)
                ):
                    yield
                    return
            self._sleep(_LOOK_AGAIN)


class DatabaseSlots:
    """Turns per host for all workers of a database, by the clock of its server.

    A row is locked only while its turn is taken, never while somebody waits.

    Parameters
    ----------
    database
        Where the table ``rate_slot`` is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(self, host: str, interval: float) -> float:
        """Take the host's next turn, keep it busy for ``interval`` seconds, return seconds until the turn."""
        statement = _RESERVE if interval > 0 else _LOOK
        values: RecordDict = {"host": host} | ({"interval": interval} if interval > 0 else {})
        with self._database.engine.begin() as connection:
            wait = connection.execute(statement, values).scalar()
        return max(float(wait or 0.0), 0.0)

    def block(self, host: str, seconds: float) -> None:
        """Hand out no turn for ``seconds``, to those who already wait included."""
        with self._database.engine.begin() as connection:
            connection.execute(_BLOCK, {"host": host, "seconds": max(seconds, 0.0)})

    def blocked(self, host: str) -> float:
        """Return seconds until a block ends, 0 when there is none."""
        with self._database.engine.connect() as connection:
            return float(connection.execute(_BLOCKED, {"host": host}).scalar() or 0.0)


class JobBook:
    """Notes on the requests of one survey that its archive keeps in a queue.

    Parameters
    ----------
    database
        Where the table ``archive_job`` is.
    observatory
        Name of the survey.
    """

    def __init__(self, database: Database, observatory: str) -> None:
        self._database = database
        self._observatory = observatory

    def get(self, job: str) -> RecordDict | None:
        """Return what is known of a request, with ``age`` in seconds; None for an unknown one."""
        statement = text("""
            SELECT facts, extract(epoch FROM clock_timestamp() - changed)::float8 AS age FROM archive_job
            WHERE observatory = :observatory AND job = :job""")
        with self._database.engine.connect() as connection:
            row = connection.execute(statement, {"observatory": self._observatory, "job": job}).first()
        return None if row is None else {**row.facts, "age": row.age}

    def put(self, job: str, facts: Record) -> None:
        """Write down what is known of a request, in place of what was."""
        statement = text("""
            INSERT INTO archive_job (observatory, job, facts, changed)
            VALUES (:observatory, :job, CAST(:facts AS jsonb), clock_timestamp())
            ON CONFLICT (observatory, job) DO UPDATE SET facts = excluded.facts, changed = excluded.changed""")
        values = {"observatory": self._observatory, "job": job, "facts": json.dumps(dict(facts))}
        with self._database.engine.begin() as connection:
            connection.execute(statement, values)
