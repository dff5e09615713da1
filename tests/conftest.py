"""Fixtures of all tests: one throw-away server per process, one fresh database per test, no network."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from virtualobserver.db.engine import Database
    from virtualobserver.db.server import EmbeddedServer
    from virtualobserver.run.workspace import Workspace

_NUMBERS = itertools.count()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let tests speak to this machine only."""
    config.option.allow_hosts = "127.0.0.1,::1,localhost"
    config.option.allow_unix_socket = True
    # the same examples in every run: a failure is one of the change, never of the day
    hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
    hypothesis.settings.load_profile("same")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server of this process that gives up durability for speed."""
    from support.db import start_test_server

    running = start_test_server(tmp_path_factory.mktemp("server"))
    yield running
    running.close()


def _statement(server: EmbeddedServer, statement: str) -> None:
    import sqlalchemy as sa

    from virtualobserver.db.server import SUPERUSER

    url = server.url("postgres", role=SUPERUSER)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(statement))


def _url(server: EmbeddedServer, name: str | None) -> str:
    import sqlalchemy as sa

    from virtualobserver.db.engine import normalise_url

    url = sa.make_url(normalise_url(server.url()))
    return url.set(database=name or url.database).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def template(server: EmbeddedServer) -> str:
    """Name of a database with the schema and no rows, to copy."""
    from virtualobserver.db import migrate
    from virtualobserver.db.engine import Database

    _statement(server, "CREATE DATABASE vo_template OWNER vo_owner")
    made = Database(_url(server, "vo_template"))
    migrate.upgrade(made.engine)
    made.close()
    return "vo_template"


@pytest.fixture
def new_url(server: EmbeddedServer, request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Call it for the URL of a new database: with the schema, or without for ``empty=True``."""
    made: list[str] = []

    def make(*, empty: bool = False) -> str:
        made.append(_create(server, "template0" if empty else request.getfixturevalue("template")))
        return _url(server, made[-1])

    yield make
    for name in made:
        _statement(server, f"DROP DATABASE {name} WITH (FORCE)")


def _create(server: EmbeddedServer, source: str) -> str:
    name = f"vo_test_{next(_NUMBERS)}"
    _statement(server, f"CREATE DATABASE {name} TEMPLATE {source} OWNER vo_owner")
    return name


@pytest.fixture(scope="module")
def module_url(server: EmbeddedServer, template: str) -> Iterator[str]:
    """URL of a fresh database with the schema, for all tests of a module."""
    name = _create(server, template)
    yield _url(server, name)
    _statement(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def url(new_url: Callable[..., str]) -> str:
    """URL of a fresh database with the schema."""
    return new_url()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """A fresh database with the schema."""
    from virtualobserver.db.engine import Database

    with Database(url) as opened:
        yield opened


@pytest.fixture
def workspace(tmp_path: Path, url: str) -> Iterator[Workspace]:
    """A data folder with a fresh database."""
    from virtualobserver.run.workspace import Workspace

    with Workspace(tmp_path / "data", url=url) as opened:
        yield opened
