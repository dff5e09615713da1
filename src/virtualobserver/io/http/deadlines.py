"""Bounds in time of one HTTP exchange.

The libraries below bound each wait on the socket but not their sum, so a server that sends a byte now and
then could hold a worker for ever. Here a watchdog shuts the socket at the deadline, while the header
arrives and while the body does.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

__all__ = ["BoundedAdapter", "Timeouts", "Watchdog"]


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Bounds of one attempt, in seconds.

    Attributes
    ----------
    connect
        Until the connection stands.
    answer
        Until the whole header is there: a service may compute for minutes before it says a word. None for
        as long as ``total``.
    read
        Longest silence within the body.
    total
        From the first byte sent to the last byte received.
    """

    connect: float = 10.0
    answer: float | None = None
    read: float = 60.0
    total: float = 300.0

    def __post_init__(self) -> None:
        for name in ("connect", "answer", "read", "total"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                msg = f"timeouts.{name} is {value}: give seconds above 0"
                raise ValueError(msg)

    @property
    def header(self) -> float:
        """Seconds until the whole header must be there."""
        return self.total if self.answer is None else min(self.answer, self.total)


class Watchdog:
    """Call ``bite`` after some seconds unless the block ended before."""

    def __init__(self, seconds: float, bite: Callable[[], object]) -> None:
        self.fired = False
        self._bite = bite
        self._timer = threading.Timer(max(seconds, 0.0), self._fire)
        self._timer.daemon = True

    def _fire(self) -> None:
        self.fired = True
        # the socket may be gone already, which is as good
        with suppress(OSError, RuntimeError, ValueError, AttributeError):
            self._bite()

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._timer.cancel()


def _bounded_header(connection: Any, getresponse: Callable[[], Any]) -> Any:
    """Wait for the header, its arrival bounded as a whole; let shorter silences count from then on."""
    answer, sock, seconds = None, connection.sock, connection.timeout
    with Watchdog(seconds, lambda: sock.shutdown(2)) as dog:
        try:
            answer = getresponse()
        except (OSError, http.client.HTTPException):
            # half a header is what a shut socket leaves behind
            if not dog.fired:
                raise
    if dog.fired:
        msg = "header not complete in time"
        raise TimeoutError(msg)
    sock.settimeout(min(connection.read_seconds, seconds))
    return answer


class _BoundedHTTPConnection(HTTPConnection):
    read_seconds: float = 60.0

    def getresponse(self) -> Any:
        return _bounded_header(self, super().getresponse)


class _BoundedHTTPSConnection(HTTPSConnection):
    read_seconds: float = 60.0

    def getresponse(self) -> Any:
        return _bounded_header(self, super().getresponse)


class BoundedAdapter(HTTPAdapter):
    """An adapter whose connections also bound the arrival of the header.

    Parameters
    ----------
    timeouts
        ``read`` bounds the silences after the header; the whole header has as long as a request gives it
        as the library's read timeout.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        bound = {"read_seconds": timeouts.read}
        plain = type("BoundedHTTP", (_BoundedHTTPConnection,), bound)
        secure = type("BoundedHTTPS", (_BoundedHTTPSConnection,), bound)
        self._pools = {
            "http": type("HTTPPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("HTTPSPool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
        super().__init__(max_retries=0, pool_maxsize=16)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of bounded connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: object) -> Any:
        """Make the pools towards a proxy, bounded as well."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager
