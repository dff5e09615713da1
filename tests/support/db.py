"""A throw-away PostgreSQL server for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from virtualobserver.db.server import EmbeddedServer

if TYPE_CHECKING:
    from pathlib import Path


def start_test_server(tmp: Path) -> EmbeddedServer:
    """Start a server in ``tmp/postgres`` that gives up durability for speed; the caller closes it."""
    return EmbeddedServer(tmp / "postgres", durable=False).start()
