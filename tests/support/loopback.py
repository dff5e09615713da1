"""An archive on the loopback interface that answers, and misbehaves, as told."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True)
class Act:
    """What happens at one request.

    ``cut`` closes after that many body bytes, ``stall`` falls silent there, ``length`` lies about the
    length, ``chunked`` sends chunks, ``byte_pause`` is the pause between single bytes, ``endless`` never
    ends, ``header_pause`` drips the header, ``header_delay`` keeps silent before it, ``reset`` drops the
    connection before any answer, ``ranges`` honours Range and If-Range.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    stall: int | None = None
    length: int | None = None
    chunked: bool = False
    byte_pause: float | None = None
    header_pause: float | None = None
    header_delay: float = 0.0
    endless: bool = False
    reset: bool = False
    ranges: bool = False


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up early is what many tests are about."""


class Loopback:
    """Server with scripted answers; the last act of a path repeats."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.released = threading.Event()
        self._acts: dict[str, list[Act]] = {}
        self._choosers: dict[str, Callable[[bytes], Act]] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def on(self, path: str, *acts: Act) -> str:
        self._acts[path] = list(acts)
        return self.url + path

    def choose(self, path: str, chooser: Callable[[bytes], Act]) -> None:
        """Answer by what was sent."""
        self._choosers[path] = chooser

    def next_act(self, path: str, body: bytes = b"") -> Act:
        if path in self._choosers:
            return self._choosers[path](body)
        with self._lock:
            acts = self._acts.get(path, [Act(status=404, body=b"no such path")])
            return acts.pop(0) if len(acts) > 1 else acts[0]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {k.lower(): v for k, v in self.headers.items()}
                loopback.asked.append(Asked(self.command, parts.path, parts.query, headers, body))
                self.close_connection = True
                play(self, loopback.next_act(parts.path, body), loopback.released)

            do_POST = do_GET

        return Handler


def _range(handler: BaseHTTPRequestHandler, act: Act) -> tuple[int, bytes, dict[str, str]]:
    wanted, condition = handler.headers.get("Range"), handler.headers.get("If-Range")
    same = condition in (None, act.headers.get("ETag"), act.headers.get("Last-Modified"))
    if not (act.ranges and wanted and same):
        return act.status, act.body, {}
    start = int(wanted.removeprefix("bytes=").rstrip("-"))
    whole = len(act.body)
    return 206, act.body[start:], {"Content-Range": f"bytes {start}-{whole - 1}/{whole}"}


def play(handler: BaseHTTPRequestHandler, act: Act, released: threading.Event) -> None:
    if act.reset:
        linger = struct.pack("ii", 1, 0)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.connection.close()
        return
    if act.header_pause is not None:
        _drip(handler, b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000, act.header_pause, released)
        return
    released.wait(act.header_delay)
    body = _head(handler, act)
    _body(handler, act, body, released)
    handler.wfile.flush()
    if act.stall is not None:
        released.wait(30)


def _drip(handler: BaseHTTPRequestHandler, text: bytes, pause: float, released: threading.Event) -> None:
    for letter in text:
        handler.wfile.write(bytes([letter]))
        if released.wait(pause):
            return


def _head(handler: BaseHTTPRequestHandler, act: Act) -> bytes:
    status, body, extra = _range(handler, act)
    handler.send_response(status)
    for name, value in (act.headers | extra).items():
        handler.send_header(name, value)
    if act.chunked:
        handler.send_header("Transfer-Encoding", "chunked")
    elif not act.endless and "Content-Length" not in act.headers and status != 204:
        handler.send_header("Content-Length", str(len(body) if act.length is None else act.length))
    handler.send_header("Connection", "close")
    handler.end_headers()
    return body


def _body(handler: BaseHTTPRequestHandler, act: Act, body: bytes, released: threading.Event) -> None:
    sent = body[: act.cut if act.cut is not None else act.stall]
    if act.endless:
        while not released.wait(0.002):
            handler.wfile.write(b"z" * 1000)
    elif act.chunked:
        handler.wfile.write(b"%x\r\n" % len(body) + sent + (b"\r\n0\r\n\r\n" if act.cut is None else b""))
    elif act.byte_pause is not None:
        _drip(handler, sent, act.byte_pause, released)
    else:
        handler.wfile.write(sent)


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def wait_until(condition: Any, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "condition not met in time"
        time.sleep(0.01)
