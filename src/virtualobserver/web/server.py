"""Start the server and keep it up until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Final

from virtualobserver.errors import ConfigError
from virtualobserver.web.app import make_app
from virtualobserver.web.security import Keys

if TYPE_CHECKING:
    from virtualobserver.run.project import Project
    from virtualobserver.web.queue import Viewer

__all__ = ["serve"]

AT_ONCE: Final = 48
"""Requests and connections at a time: more than a few tabs have; those beyond are told to come again."""


def serve(
    project: Project, viewer: Viewer, *, port: int = 0, when_up: Callable[[Keys], None] = lambda _: None
) -> None:
    """Serve the candidates of a project on the loopback interface, until the process is interrupted.

    Parameters
    ----------
    port
        0 for any that is free.
    when_up
        Called with the server's secrets, among them its first address, when it listens.

    Raises
    ------
    ConfigError
        If the port is taken.
    """
    import uvicorn

    with closing(_listening(port)) as listener:
        keys = Keys(listener.getsockname()[1])
        config = uvicorn.Config(
            make_app(project, viewer, keys), log_level="critical", access_log=False, limit_concurrency=AT_ONCE,
            timeout_keep_alive=30, timeout_graceful_shutdown=2, server_header=False, ws="none", lifespan="off",
            proxy_headers=False, h11_max_incomplete_event_size=16 * 1024,
        )  # fmt: skip
        when_up(keys)
        uvicorn.Server(config).run(sockets=[listener])


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        msg = f"port {port} cannot be had ({error.strerror}); give another one (--port), or none"
        raise ConfigError(msg) from None
    listener.listen(128)
    return listener
