"""How often one archive host may be asked, and how patiently."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol, runtime_checkable

__all__ = [
    "LocalRateLimiter",
    "LocalSlots",
    "RateLimiter",
    "Retry",
    "SlotRateLimiter",
    "SlotSource",
    "retry_after",
]


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How patiently a request is repeated.

    Attributes
    ----------
    attempts
        At most so many.
    longest_wait
        Longest pause between two, in seconds; caps what the server asks for, too.
    total
        Bound on all attempts and pauses together, in seconds.
    first_wait
        Pause after the first failure, doubled each time, with up to as much jitter, in seconds.
    """

    attempts: int = 5
    longest_wait: float = 60.0
    total: float = 600.0
    first_wait: float = 1.0


@runtime_checkable
class RateLimiter(Protocol):
    """What the HTTP client asks before every request."""

    def acquire(self, host: str) -> None:
        """Wait until the host may be asked again, and take that turn."""

    def penalise(self, host: str, seconds: float) -> None:
        """Let nobody ask the host for that long."""


@runtime_checkable
class SlotSource(Protocol):
    """Who hands out the turns: one process, or a database that all workers share."""

    def reserve(self, host: str, interval: float) -> float:
        """Take the host's next turn, keep it busy for ``interval`` seconds, return seconds until the turn."""

    def block(self, host: str, seconds: float) -> None:
        """Hand out no turn for that long, to those who already wait included."""

    def blocked(self, host: str) -> float:
        """Return seconds until a block ends, 0 when there is none."""


class LocalSlots:
    """Turns per host for all threads of one process.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}
        self._blocked: dict[str, float] = {}

    def reserve(self, host: str, interval: float) -> float:
        """Take the host's next turn and return seconds until it."""
        with self._lock:
            now = self._clock()
            slot = max(now, self._next.get(host, 0.0), self._blocked.get(host, 0.0))
            if interval > 0:
                self._next[host] = slot + interval
            return slot - now

    def block(self, host: str, seconds: float) -> None:
        """Hand out no turn for ``seconds``."""
        with self._lock:
            until = self._clock() + max(seconds, 0.0)
            self._blocked[host] = max(until, self._blocked.get(host, until))

    def blocked(self, host: str) -> float:
        """Return seconds until a block ends."""
        with self._lock:
            return max(self._blocked.get(host, 0.0) - self._clock(), 0.0)


class SlotRateLimiter:
    """Keep to a rate per host, by turns that somebody hands out.

    Parameters
    ----------
    rate
        Requests per second: one number for every host, or a mapping from host to number in which ``"*"``
        stands for all others. None sets no limit; penalties hold all the same.
    slots
        Who hands out the turns.
    sleep
        How to wait.

    Raises
    ------
    ValueError
        If a rate is not above zero.
    """

    def __init__(
        self,
        rate: float | Mapping[str, float] | None,
        slots: SlotSource,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        rates = {"*": rate} if isinstance(rate, int | float) else dict(rate or {})
        for host, value in rates.items():
            if not value > 0:
                msg = f"rate for host {host!r} is {value}: give requests per second above 0, or leave it out"
                raise ValueError(msg)
        self._rates = rates
        self._slots = slots
        self._sleep = sleep

    def acquire(self, host: str) -> None:
        """Wait for a turn at the host and take it.

        Parameters
        ----------
        host
            Name and port as in the address.
        """
        rate = self._rates.get(host, self._rates.get("*"))
        while True:
            wait = self._slots.reserve(host, 1.0 / rate if rate else 0.0)
            if wait <= 0:
                return
            self._sleep(wait)
            if self._slots.blocked(host) <= 0:
                return
            # somebody was told to slow down while we waited: queue again behind the penalty

    def penalise(self, host: str, seconds: float) -> None:
        """Let nobody ask the host for ``seconds``, those who already wait included."""
        self._slots.block(host, seconds)


class LocalRateLimiter(SlotRateLimiter):
    """Turns per host for all threads of one process; see `SlotRateLimiter` for ``rate`` and ``sleep``.

    Parameters
    ----------
    rate, sleep
        As for `SlotRateLimiter`.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        rate: float | Mapping[str, float] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(rate, LocalSlots(clock=clock), sleep=sleep)


def retry_after(text: str | None, *, now: float, longest: float) -> float | None:
    """Read a ``Retry-After`` header.

    Parameters
    ----------
    text
        Seconds, or an HTTP date; a date without zone is UTC.
    now
        Seconds since 1970.
    longest
        Cap, in seconds.

    Returns
    -------
    float or None
        Seconds to wait, between 0 and the cap; None when the header says nothing usable.
    """
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return None
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = aware.timestamp() - now
    return min(max(seconds, 0.0), longest) if math.isfinite(seconds) else None
