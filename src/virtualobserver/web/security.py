"""Who is let in, and what a page may load: this machine, whoever has the first address, and nothing from outside.

The server listens on the loopback interface only. The address that it prints has a token, which a first visit turns
into a cookie; whatever changes something needs besides a second token, which only pages of this server know.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from html import escape
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, parse_qsl, quote, urlencode

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CSRF_HEADER", "LARGEST_BODY", "Doorkeeper", "Keys"]

CSRF_HEADER: Final = "x-vo-csrf"
LARGEST_BODY: Final = 64 * 1024
"""Bytes of a request: a verdict with a long note has a few thousand."""
LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")

POLICY: Final = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'nonce-{nonce}'; style-src-attr 'none'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""Pictures draw icons from ``data:`` and are saved as ``blob:``; their style sheets, which a script makes, carry a
nonce that is new for each server. No script is allowed but files of this server, and no code from text."""

_HEADERS: Final = (
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_ENTER: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={to}">
<title>vo vet</title><p><a href="{to}">Go on</a></p></html>"""


class Keys:
    """The secrets of one server: in the first address, in the cookie, in each page.

    Parameters
    ----------
    port
        Of the server: cookies of one machine are shared by all its ports.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.token, self.cookie, self.csrf, self.nonce = (secrets.token_urlsafe(32) for _ in range(4))

    @property
    def cookie_name(self) -> str:
        """Name of the cookie."""
        return f"vo_vet_{self.port}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a request may call this server."""
        return tuple(f"{name}:{self.port}" for name in LOCAL)

    def address(self, first: str = "/") -> str:
        """Return the first address, with the token; `first` is the page that it leads to."""
        return f"http://127.0.0.1:{self.port}{first}{'&' if '?' in first else '?'}token={self.token}"

    def __repr__(self) -> str:
        return f"Keys(port={self.port})"


class Doorkeeper:
    """Lets requests through to an application, or answers why not; ASGI.

    Parameters
    ----------
    app
        What is guarded, every path of it.
    keys
        Of the server.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self.app = app
        self.keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # pages open no other connections
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        sending = self._guarded(send)
        if headers.get("host", "") not in self.keys.hosts:
            await _say(sending, 421, "This server answers to its own address only.")
        elif (given := parse_qs(scope["query_string"].decode("latin-1")).get("token")) is not None:
            await self._enter(sending, scope, given)
        elif not self._known(headers.get("cookie", "")):
            await _say(sending, 403, "Open the address that vo vet printed when it started: it lets you in.")
        elif scope["method"] not in ("GET", "HEAD") and (wrong := self._forged(headers)):
            await _say(sending, 403, wrong)
        else:
            await self.app(scope, _bounded(receive), sending)

    async def _enter(self, send: Send, scope: Scope, given: list[str]) -> None:
        if not hmac.compare_digest(given[0].encode(), self.keys.token.encode()):
            await _say(send, 403, "This address is of another server, or of one that has ended.")
            return
        cookie = f"{self.keys.cookie_name}={self.keys.cookie}; HttpOnly; SameSite=Strict; Path=/"
        # not a redirection: a cookie that is strict does not follow one that began on another page
        rest = [
            (name, word)
            for name, word in parse_qsl(scope["query_string"].decode("latin-1"))
            if name != "token"
        ]
        to = quote(scope["path"]) + (f"?{urlencode(rest)}" if rest else "")
        page = _ENTER.format(to=escape(to if to.startswith("/") and not to.startswith("//") else "/"))
        await _say(send, 200, page, [(b"set-cookie", cookie.encode())], kind="text/html")

    def _known(self, cookies: str) -> bool:
        jar = SimpleCookie()
        try:
            jar.load(cookies)
        except CookieError:
            return False
        mine = jar.get(self.keys.cookie_name)
        return mine is not None and hmac.compare_digest(mine.value.encode(), self.keys.cookie.encode())

    def _forged(self, headers: dict[str, str]) -> str:
        """Return what is wrong with a request that would change something; empty if nothing is."""
        if headers.get("origin", "").removeprefix("http://") not in self.keys.hosts:
            return "Changes are made from pages of this server only."
        if not headers.get("content-type", "").startswith("application/json"):
            return "Changes are sent as JSON."
        if not hmac.compare_digest(headers.get(CSRF_HEADER, "").encode(), self.keys.csrf.encode()):
            return "This page is of a server that has ended: load it again."
        length = headers.get("content-length", "")
        return "" if length.isdigit() and int(length) <= LARGEST_BODY else "Too long."

    def _guarded(self, send: Send) -> Send:
        policy = (b"content-security-policy", POLICY.format(nonce=self.keys.nonce).encode())

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                names = {name for name, _ in headers}
                if b"cache-control" not in names:
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*headers, policy, *_HEADERS]}
            await send(message)

        return sending


def _bounded(receive: Receive) -> Receive:
    """Return what gives the body of a request to the application, no more of it than `LARGEST_BODY`."""
    taken = 0

    async def receiving() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        return message if taken <= LARGEST_BODY else {"type": "http.disconnect"}

    return receiving


async def _say(
    send: Send,
    status: int,
    words: str,
    headers: Iterable[tuple[bytes, bytes]] = (),
    *,
    kind: str = "text/plain",
) -> None:
    body = words.encode()
    start = [
        (b"content-type", f"{kind}; charset=utf-8".encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*start, *headers]})
    await send({"type": "http.response.body", "body": body})
