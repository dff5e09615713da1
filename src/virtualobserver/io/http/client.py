"""Ask archives over HTTP: bounded in time, polite to the host, honest about what came.

`HttpClient` stands on requests (connections, TLS, proxies) and tenacity (repeated attempts); deadlines,
rate limit, verification and masking of secrets are its own.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import replace
from json import dumps
from pathlib import Path
from typing import Any, Self, TypeVar

import tenacity
from requests.adapters import BaseAdapter
from requests.auth import AuthBase, HTTPBasicAuth

from virtualobserver.config.log import get_logger
from virtualobserver.errors import ArchiveError, ArchiveUnavailable, IncompleteDownload
from virtualobserver.io.http.answers import Answer, Check
from virtualobserver.io.http.body import read_body
from virtualobserver.io.http.cache import read_cached, write_cached
from virtualobserver.io.http.deadlines import BoundedAdapter, Timeouts
from virtualobserver.io.http.download import Wanted, fetch_file
from virtualobserver.io.http.ratelimit import LocalRateLimiter, RateLimiter, Retry
from virtualobserver.io.http.status import AttemptError, refuse_status
from virtualobserver.io.http.transport import Exchange, PlainSession, Reply, open_reply
from virtualobserver.secrets import host_of, public_headers, request_secrets, scrub

__all__ = ["HttpClient", "Progress", "Retry", "Timeouts"]

Progress = Callable[[int, "int | None"], None]
T = TypeVar("T")

_MAX_BYTES = 512 * 1024**2
"""Of an answer held in memory; the largest table asked for is some tens of MB, files are streamed to disk."""


def _any_seat(host: str) -> AbstractContextManager[None]:  # noqa: ARG001 - as those that ask for the host
    return nullcontext()


class HttpClient:
    """Ask archives and download files.

    Parameters
    ----------
    adapter
        Carries the requests; a fake one in tests. None for the network.
    timeouts, retry
        Bounds of one attempt, and of all.
    rate
        Requests per second for each host (a number, or a mapping host → number, ``"*"`` for others).
    limiter
        Takes the place of the in-process limiter made from ``rate``.
    seat
        Entered with the host for the time of an attempt: bounds how many are under way at one time.
    credentials
        Sent to the host that is asked, never to another one after a redirect.
    progress
        Called with bytes so far and bytes in all (None when unknown).
    user_agent
        Says who asks.
    fresh
        Answers that were kept before this client was made do not count.
    sleep, clock, wall
        How to wait, monotonic seconds, and seconds since 1970.
    """

    def __init__(
        self,
        *,
        adapter: BaseAdapter | None = None,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
        rate: float | Mapping[str, float] | None = None,
        limiter: RateLimiter | None = None,
        seat: Callable[[str], AbstractContextManager[None]] | None = None,
        credentials: AuthBase | None = None,
        progress: Progress | None = None,
        user_agent: str = "virtualobserver",
        fresh: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self.retry = retry or Retry()
        self._limiter = limiter or LocalRateLimiter(rate, clock=clock, sleep=sleep)
        self._seat = seat or _any_seat
        self._auth = credentials
        self._progress = progress
        self._agent = user_agent
        self._sleep, self._clock, self._wall = sleep, clock, wall
        self._since = wall() if fresh else None
        self._jitter = random.Random()  # noqa: S311 - spreads pauses, protects nothing
        self._log = get_logger(__name__)
        self._session = PlainSession()
        carrier = adapter or BoundedAdapter(self.timeouts)
        self._session.mount("https://", carrier)
        self._session.mount("http://", carrier)

    def __repr__(self) -> str:
        return f"HttpClient(timeouts={self.timeouts}, retry={self.retry}, user_agent={self._agent!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def with_credentials(self, credentials: AuthBase | None) -> HttpClient:
        """Return a client that shares connections, limits and patience but sends other credentials."""
        other = copy(self)
        other._auth = credentials  # noqa: SLF001 - a copy of ourselves
        return other

    def get(
        self,
        url: str,
        *,
        params: Mapping[str, object] | None = None,
        check: Check | None = None,
        headers: Mapping[str, str] | None = None,
        login: tuple[str, str] | None = None,
        repeat: bool = True,
        max_bytes: int = _MAX_BYTES,
    ) -> Answer:
        """Ask with GET.

        Parameters
        ----------
        url, params
            Address and query; a list as value repeats the name.
        check
            Raises when the body is not what was asked for.
        headers
            Further request headers.
        login
            User name and password of this service, in place of the client's credentials.
        repeat
            As for `post`.
        max_bytes
            Longest body, after decompression, that is accepted.

        Raises
        ------
        ArchiveUnavailable, IncompleteDownload
            If it did not work out within the attempts and the time.
        ArchiveRefused
            For 4xx and TLS errors.
        ArchiveAnswerError
            If the body is too long or in an unknown encoding; whatever else ``check`` raises.
        """
        return self._ask(
            "GET", url, check, max_bytes,
            repeat=repeat, params=params, headers=dict(headers or {}), login=login,
        )  # fmt: skip

    def post(
        self,
        url: str,
        *,
        data: Mapping[str, object] | bytes | None = None,
        files: Mapping[str, tuple[str, bytes]] | None = None,
        json: Mapping[str, object] | None = None,
        params: Mapping[str, object] | None = None,
        check: Check | None = None,
        login: tuple[str, str] | None = None,
        repeat: bool = True,
        max_bytes: int = _MAX_BYTES,
    ) -> Answer:
        """Ask with POST; errors as for `get`.

        Parameters
        ----------
        url, params
            Address and query.
        data, files
            Form fields, and uploads as field → (name, bytes).
        json
            Sent as JSON in place of a form.
        check
            Raises when the body is not what was asked for.
        login
            As for `get`.
        repeat
            False for a submission that must not happen twice: then it is tried again only where the
            archive said that it did not take it, with 429 or with 503 and Retry-After.
        max_bytes
            Longest body that is accepted.
        """
        headers = {}
        if json is not None:
            data, headers = dumps(json).encode(), {"Content-Type": "application/json"}
        return self._ask(
            "POST", url, check, max_bytes,
            repeat=repeat, params=params, data=data, files=files, headers=headers, login=login, told=json,
        )  # fmt: skip

    def put(
        self,
        url: str,
        *,
        json: Mapping[str, object],
        check: Check | None = None,
        repeat: bool = True,
        max_bytes: int = _MAX_BYTES,
    ) -> Answer:
        """Ask with PUT, with a body of JSON; else as `post`."""
        headers = {"Content-Type": "application/json"}
        return self._ask(
            "PUT", url, check, max_bytes,
            repeat=repeat, data=dumps(json).encode(), headers=headers, told=json,
        )  # fmt: skip

    def delete(self, url: str, *, check: Check | None = None, repeat: bool = True) -> Answer:
        """Ask with DELETE; else as `get`."""
        return self._ask("DELETE", url, check, _MAX_BYTES, repeat=repeat, headers={})

    def download(
        self,
        url: str,
        target: Path,
        *,
        params: Mapping[str, object] | None = None,
        size: int | None = None,
        sha256: str | None = None,
        md5: str | None = None,
        check: Check | None = None,
    ) -> Path:
        """Download a file; it appears under its name only when whole and verified.

        The body grows in ``<target>.part``; an interrupted download goes on from there when the server
        says that the file is still the same, and begins anew otherwise. The name is ours: what the server
        proposes in Content-Disposition is ignored.

        Parameters
        ----------
        url, params
            Address and query.
        target
            Where the file shall stand; its folder is made.
        size, sha256, md5
            What the archive's catalogue promised, in bytes and hexadecimal.
        check
            Receives an `Answer` with the first bytes and the path.

        Raises
        ------
        DiskFull
            With needed and free bytes; nothing is left behind.
        ArchiveUnavailable, IncompleteDownload, ArchiveRefused, ArchiveAnswerError
            As for `get`.
        """
        wanted = Wanted(target=Path(target), size=size, sha256=sha256, md5=md5, check=check)

        def attempt(exchange: Exchange) -> Path:
            def opened(reply: Reply) -> None:
                self._refuse_status(reply, accept=(200, 206, 416))

            return fetch_file(self._session, exchange, wanted, opened, self._progress)

        headers = {"Accept-Encoding": "identity"}
        return self._repeat("GET", url, attempt, params=params, headers=headers)[0]

    def cached_get(
        self,
        url: str,
        *,
        folder: Path,
        params: Mapping[str, object] | None = None,
        check: Check | None = None,
        max_age: float | None = None,
        refresh: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask with GET unless a good answer of the same question lies in a folder.

        Only an answer that passed ``check`` is kept; a kept one is checked again, bytes and content.

        Parameters
        ----------
        url, params, check, headers
            As for `get`.
        folder
            Where answers are kept.
        max_age
            In seconds; None for ever.
        refresh
            Ask in any case.
        """
        if not refresh and (kept := self._kept(folder, url, params, check, max_age)) is not None:
            return kept
        answer = self.get(url, params=params, check=check, headers=headers)
        write_cached(folder, url, params, answer, now=self._wall())
        return answer

    def cached_post(
        self,
        url: str,
        *,
        folder: Path,
        data: Mapping[str, object],
        check: Check | None = None,
        max_age: float | None = None,
        refresh: bool = False,
    ) -> Answer:
        """Ask with POST unless a good answer to the same form lies in a folder; see `cached_get`.

        The form alone tells two questions apart, so that the same question has to be put in the same words.
        """
        if not refresh and (kept := self._kept(folder, url, data, check, max_age)) is not None:
            return kept
        answer = self.post(url, data=data, check=check)
        write_cached(folder, url, data, answer, now=self._wall())
        return answer

    def _kept(
        self,
        folder: Path,
        url: str,
        question: Mapping[str, object] | None,
        check: Check | None,
        max_age: float | None,
    ) -> Answer | None:
        """Return a kept answer that still passes its check."""
        now = self._wall()
        if self._since is not None:
            max_age = min(now - self._since, math.inf if max_age is None else max_age)
        kept = read_cached(folder, url, question, max_age=max_age, now=now)
        if kept is None:
            return None
        try:
            empty = check(kept) if check else None
        except ArchiveError as exc:
            self._log.debug("cached answer fails its check", url=kept.url, error=str(exc))
            return None
        return replace(kept, empty=bool(empty))

    def _ask(
        self, method: str, url: str, check: Check | None, max_bytes: int, *, repeat: bool = True, **asked: Any
    ) -> Answer:
        started = self._clock()

        def attempt(exchange: Exchange) -> Answer:
            with open_reply(self._session, exchange) as reply:
                self._refuse_status(reply)
                content = read_body(reply, max_bytes, self._progress)
                headers = public_headers(reply.headers)
                answer = Answer(status=reply.status, headers=headers, content=content, url=reply.url)
            return replace(answer, empty=bool(check(answer))) if check else answer

        asked["headers"] = {"Accept-Encoding": "gzip"} | asked["headers"]
        answer, attempts = self._repeat(method, url, attempt, repeat=repeat, **asked)
        return replace(answer, attempts=attempts, elapsed=self._clock() - started)

    def _repeat(
        self, method: str, url: str, attempt: Callable[[Exchange], T], *, repeat: bool = True, **asked: Any
    ) -> tuple[T, int]:
        """Run an attempt until it succeeds or patience ends; return its result and the number of attempts."""
        started, host = self._clock(), host_of(url)
        asked["headers"] = {"User-Agent": self._agent} | asked["headers"]
        login, told = asked.pop("login", None), asked.pop("told", None)
        auth = HTTPBasicAuth(*login) if login else self._auth
        secrets = frozenset(request_secrets(url, auth, asked.get("params"), asked.get("data"), told))

        def once() -> T:
            with self._seat(host):
                return seated()

        def seated() -> T:
            self._limiter.acquire(host)
            now = self._clock()
            deadline = min(now + self.timeouts.total, started + self.retry.total)
            exchange = Exchange(
                method=method, url=url, timeouts=self.timeouts, deadline=deadline, clock=self._clock,
                auth=auth, secrets=secrets, turn=self._limiter.acquire, **asked,
            )  # fmt: skip
            return self._judge(attempt, exchange, host, repeat=repeat)

        loop = tenacity.Retrying(
            stop=lambda state: (
                state.attempt_number >= self.retry.attempts
                or self._clock() - started + state.upcoming_sleep >= self.retry.total
            ),
            wait=self._pause,
            retry=tenacity.retry_if_exception(lambda exc: isinstance(exc, AttemptError) and exc.again),
            before_sleep=self._tell,
            sleep=self._sleep,
            reraise=True,
        )
        failed: AttemptError | None = None
        try:
            result = loop(once)
        except AttemptError as exc:
            failed = exc
        attempts = int(loop.statistics.get("attempt_number", 1))
        if failed is not None:
            text = scrub(str(failed.error), secrets)
            spent = self._clock() - started
            tried = f" ({attempts} attempts in {spent:.1f} s)" if attempts > 1 else ""
            failed.error.args = (f"{text}{tried}",)
            raise failed.error.with_traceback(None) from None
        return result, attempts

    def _judge(self, attempt: Callable[[Exchange], T], exchange: Exchange, host: str, *, repeat: bool) -> T:
        """Run one attempt; sort its errors into worth another try and final."""
        try:
            return attempt(exchange)
        except AttemptError as failure:
            if failure.wait is not None:
                self._limiter.penalise(failure.host or host, failure.wait)
            if not repeat and failure.wait is None:
                failure.again = False
            raise
        except (ArchiveUnavailable, IncompleteDownload) as error:
            raise AttemptError(error, again=repeat) from None
        except ArchiveError as error:
            raise AttemptError(error, again=False) from None

    def _refuse_status(self, reply: Reply, accept: tuple[int, ...] = ()) -> None:
        refuse_status(reply, accept, now=self._wall(), retry=self.retry)

    def _pause(self, state: tenacity.RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome else None
        if isinstance(failure, AttemptError) and failure.wait is not None:
            return failure.wait
        step = self.retry.first_wait * 2.0 ** min(state.attempt_number - 1, 30)
        return min(step + self._jitter.uniform(0.0, step), self.retry.longest_wait)

    def _tell(self, state: tenacity.RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        self._log.debug(
            "try again", attempt=state.attempt_number, wait=state.upcoming_sleep, why=str(failure)
        )
