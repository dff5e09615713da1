"""One HTTP exchange under deadlines: send, follow redirects, read the body piece by piece.

A watchdog shuts the socket at the deadline, see `virtualobserver.io.http.deadlines`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.auth import AuthBase, HTTPBasicAuth

from virtualobserver.errors import ArchiveError, ArchiveRefused, ArchiveUnavailable, IncompleteDownload
from virtualobserver.io.http.deadlines import Timeouts, Watchdog
from virtualobserver.secrets import host_of, scrub, scrub_url
from virtualobserver.typing import Value

__all__ = ["Exchange", "NoAuth", "PlainSession", "Reply", "open_reply"]

_PIECE = 1 << 16
"""Bytes read at a time: few calls, and a limit is noticed soon."""
_LONGEST_CHAIN = 10
"""Redirects; browsers give up at 20."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class NoAuth(AuthBase):
    """Send no credentials, not even those of a ``.netrc`` file."""

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request as it is."""
        return r


class PlainSession(requests.Session):
    """A session that leaves redirects to `open_reply`.

    The library would read the body of a redirect to its end, however long it takes.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - given by the base
        """Return None: no answer is followed here."""
        return None


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What is asked, and the bounds of the answer."""

    method: str
    url: str
    timeouts: Timeouts
    deadline: float
    clock: Callable[[], float]
    params: Value = None
    data: Value = None
    files: Value = None
    headers: dict[str, str] = field(default_factory=dict)
    auth: AuthBase | None = None
    secrets: frozenset[str] = frozenset()
    turn: Callable[[str], None] | None = None

    def clean(self, thing: object) -> str:
        """Return a text without this exchange's secrets."""
        return scrub(str(thing), self.secrets)

    def left(self) -> float:
        """Return seconds until the deadline, at least a millisecond."""
        return max(self.deadline - self.clock(), 1e-3)


class Reply:
    """An open answer: status and header are there, the body still comes.

    Parameters
    ----------
    response
        The library's open answer.
    exchange
        What was asked.
    """

    def __init__(self, response: requests.Response, exchange: Exchange) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.url = exchange.clean(scrub_url(response.url))
        self._response = response
        self._exchange = exchange

    def length(self) -> int | None:
        """Return the promised number of bytes on the wire, None when nothing was promised."""
        text = self.headers.get("Content-Length", "").strip()
        return int(text) if text.isdigit() and "Transfer-Encoding" not in self.headers else None

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it came over the wire, still compressed where the server compressed it.

        Raises
        ------
        IncompleteDownload
            If fewer bytes came than promised, or a chunk was cut.
        ArchiveUnavailable
            If the server fell silent, the total time ran out or the connection was lost.
        """
        raw, got, promised = self._response.raw, 0, self.length()
        with Watchdog(self._exchange.left(), getattr(raw, "shutdown", lambda: None)) as dog:
            while True:
                data, error = self._read(raw)
                if dog.fired or self._exchange.clock() >= self._exchange.deadline:
                    msg = (
                        f"{self.url}: body not complete after {self._exchange.timeouts.total:g} s ({got}"
                        " bytes so far); try again later or raise timeouts.total"
                    )
                    raise ArchiveUnavailable(msg)
                if error is not None:
                    raise error
                if not data:
                    break
                got += len(data)
                yield data
        if promised is not None and got != promised and self._exchange.method != "HEAD":
            msg = f"{self.url}: {got} bytes came, {promised} were promised"
            raise IncompleteDownload(msg)

    def _read(self, raw: Value) -> tuple[bytes, ArchiveError | None]:
        url, clean = self.url, self._exchange.clean
        try:
            if isinstance(raw, urllib3.response.HTTPResponse):
                return raw.read1(_PIECE, decode_content=False), None
            return raw.read(_PIECE), None
        except (urllib3.exceptions.ReadTimeoutError, TimeoutError):
            return b"", ArchiveUnavailable(f"{url}: silent for {self._exchange.timeouts.read:g} s")
        except urllib3.exceptions.SSLError as exc:
            return b"", ArchiveUnavailable(f"{url}: connection lost: {clean(exc)}")
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            return b"", IncompleteDownload(f"{url}: the body broke off: {clean(exc)}")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, port


def _without_userinfo(url: str) -> tuple[str, AuthBase | None]:
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url, None
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return bare, HTTPBasicAuth(parts.username or "", parts.password or "")


@contextmanager
def open_reply(session: requests.Session, exchange: Exchange) -> Iterator[Reply]:
    """Send a request, follow redirects and give the open answer.

    Credentials and cookies set by hand travel to the first host only; a request with a body follows no
    redirect to another one. Each redirect takes a turn at its host.

    Parameters
    ----------
    session
        Holds adapter and cookies.
    exchange
        What to ask.

    Raises
    ------
    ArchiveUnavailable
        If no connection came about in time or it was lost.
    ArchiveRefused
        If TLS fails, the address is unusable, or redirects do not end or lead to an unsafe place.
    """
    hop = _first_hop(exchange)
    for _ in range(_LONGEST_CHAIN):
        response, error = _send(session, hop.request(exchange), exchange)
        if response is None:
            raise error if error is not None else ArchiveUnavailable(scrub_url(hop.url))
        target = response.headers.get("Location") if response.status_code in _REDIRECTS else None
        if target is None:
            try:
                yield Reply(response, exchange)
            finally:
                response.close()
            return
        response.close()
        hop = _next_hop(hop, response, target, exchange)
        if exchange.turn is not None:
            exchange.turn(host_of(hop.url))
    msg = f"{scrub_url(exchange.url)}: more than {_LONGEST_CHAIN} redirects"
    raise ArchiveRefused(msg)


@dataclass(frozen=True, kw_only=True)
class _Hop:
    """One request of a chain of redirects; ``own`` are the credentials that stood in the first address."""

    method: str
    url: str
    first: tuple[str, str | None, int | None]
    own: AuthBase | None
    params: Value
    data: Value
    files: Value

    def request(self, exchange: Exchange) -> requests.Request:
        """Return what is sent: credentials, form and own headers only where the chain began."""
        at_home = _origin(self.url) == self.first
        return requests.Request(
            self.method,
            self.url,
            params=self.params,
            data=self.data if at_home else None,
            files=self.files if at_home else None,
            headers=exchange.headers if at_home else _travelling(exchange.headers),
            auth=(self.own or exchange.auth or NoAuth()) if at_home else NoAuth(),
        )


def _first_hop(exchange: Exchange) -> _Hop:
    try:
        url, own = _without_userinfo(exchange.url)
        first = _origin(url)
    except ValueError:
        msg = f"{scrub_url(exchange.url)}: not an address that can be asked"
        raise ArchiveRefused(msg) from None
    return _Hop(
        method=exchange.method, url=url, first=first, own=own,
        params=exchange.params, data=exchange.data, files=exchange.files,
    )  # fmt: skip


def _next_hop(hop: _Hop, response: requests.Response, target: str, exchange: Exchange) -> _Hop:
    """Return the request a redirect asks for.

    Raises
    ------
    ArchiveRefused
        If it leads to an unsafe place, or wants a form sent to another host.
    """
    hop = replace(hop, url=_next_address(response.url, target, exchange), params=None)
    if response.status_code in (301, 302, 303) and hop.method != "HEAD":
        return replace(hop, method="GET", data=None, files=None)
    if hop.method not in ("GET", "HEAD") and _origin(hop.url) != hop.first:
        shown = exchange.clean(scrub_url(hop.url))
        msg = (
            f"{scrub_url(exchange.url)}: wants the {hop.method} sent to {shown}; give that address if trusted"
        )
        raise ArchiveRefused(msg)
    return hop


def _travelling(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers that another host may see: an own ``X-Api-Key`` is not among them."""
    harmless = {"user-agent", "accept", "accept-encoding", "range", "if-range"}
    return {name: value for name, value in headers.items() if name.lower() in harmless}


def _next_address(here: str, target: str, exchange: Exchange) -> str:
    try:
        url = _without_userinfo(urljoin(here, target))[0]
        _origin(url)
    except ValueError:
        msg = f"{scrub_url(here)}: redirects to an address that cannot be asked"
        raise ArchiveRefused(msg) from None
    shown = exchange.clean(scrub_url(url))
    if urlsplit(url).scheme not in ("http", "https"):
        msg = f"{scrub_url(here)}: redirects to {shown}, which is not http(s)"
        raise ArchiveRefused(msg)
    if urlsplit(here).scheme == "https" and urlsplit(url).scheme == "http":
        msg = f"{scrub_url(here)}: redirects to {shown}, from encrypted to open"
        raise ArchiveRefused(msg)
    return url


def _send(
    session: requests.Session, request: requests.Request, exchange: Exchange
) -> tuple[requests.Response | None, ArchiveError | None]:
    """Send one request. Errors are returned, so that no foreign message with an address hangs on them."""
    url, clean = exchange.clean(scrub_url(request.url)), exchange.clean
    left = exchange.left()
    limit = (min(exchange.timeouts.connect, left), min(exchange.timeouts.header, left))
    try:
        prepared = session.prepare_request(request)
        settings = session.merge_environment_settings(prepared.url or "", {}, True, None, None)
        settings["stream"] = True
        return session.send(prepared, timeout=limit, allow_redirects=False, **settings), None
    except requests.exceptions.SSLError as exc:
        return None, ArchiveRefused(f"{url}: TLS: {clean(exc)}; check the certificate, it is not retried")
    except requests.exceptions.ConnectTimeout:
        return None, ArchiveUnavailable(f"{url}: no connection within {limit[0]:g} s")
    except requests.exceptions.Timeout:
        return None, ArchiveUnavailable(f"{url}: no answer within {limit[1]:g} s")
    except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as exc:
        return None, ArchiveUnavailable(f"{url}: {clean(exc)}")
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as exc:
        return None, ArchiveRefused(f"{url}: cannot be asked: {clean(exc)}")
