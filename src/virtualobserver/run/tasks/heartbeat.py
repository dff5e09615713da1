"""A thread that shows that a worker lives."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from virtualobserver.db.engine import Database

__all__ = ["Heartbeat"]


class Heartbeat:
    """While entered, hold the worker's advisory lock and renew the leases of its tasks.

    The lock tells other drivers at once when the process died; the leases tell them when its host did.
    """

    def __init__(self, database: Database, worker: str, lease: float) -> None:
        self._database, self._worker, self._lease = database, worker, lease
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(timeout=30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _beat(self) -> None:
        while not self._stop.is_set():
            try:
                self._hold()
            except DBAPIError:  # the server went away: take the lock anew
                self._ready.set()
                self._stop.wait(0.5)

    def _hold(self) -> None:
        with self._database.engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:w, 0))"), {"w": self._worker})
            connection.commit()
            self._ready.set()
            try:
                while not self._stop.wait(self._lease / 3):
                    connection.execute(
                        text("""UPDATE task SET lease = now() + make_interval(secs => :lease)
                        WHERE worker = :w AND status = 'running'"""),
                        {"lease": self._lease, "w": self._worker},
                    )
                    connection.commit()
            finally:
                if not connection.invalidated:
                    connection.execute(
                        text("SELECT pg_advisory_unlock(hashtextextended(:w, 0))"), {"w": self._worker}
                    )
                    connection.commit()
