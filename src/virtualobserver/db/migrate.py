"""The schema's version: bring a database up to it, or say that it is another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from virtualobserver.errors import DatabaseError, SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from alembic.config import Config

__all__ = ["check", "current", "downgrade", "head", "migrations_dir", "prepare", "upgrade"]

HEAD = "0008"
"""The revision this version of the package works with. Known here, since a worker that only compares it should
not have to load Alembic."""

_VERSIONS = "alembic_version"
LOCK = 0x766F5F736368656D  # "vo_schem": one migration at a time on a server


def migrations_dir() -> Path:
    """Return the folder of the migrations: inside an installed wheel, else the repository's ``alembic``.

    Raises
    ------
    DatabaseError
        Neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    places = (package / "_migrations", package.parents[1] / "alembic")
    for place in places:
        if (place / "env.py").is_file():
            return place
    msg = f"no migrations found in {places[0]} nor {places[1]}: reinstall virtualobserver"
    raise DatabaseError(msg)


def upgrade(engine: sa.Engine, revision: str = "head") -> None:
    """Bring the schema to ``revision``, all in one transaction; concurrent callers wait for each other."""
    from alembic import command

    _migrate(engine, lambda config: command.upgrade(config, revision))


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Take the schema back to ``revision`` (``base`` = nothing), all in one transaction."""
    from alembic import command

    _migrate(engine, lambda config: command.downgrade(config, revision))


def current(engine: sa.Engine) -> str | None:
    """Return the revision of the database, None when it has none."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table(_VERSIONS):
            return None
        found: str | None = connection.execute(sa.text(f"SELECT version_num FROM {_VERSIONS}")).scalar()  # noqa: S608
        return found


def head() -> str:
    """Return the revision this version of the package works with."""
    return HEAD


def check(engine: sa.Engine) -> None:
    """Compare the database with this version.

    Raises
    ------
    SchemaMismatch
        They differ; the message names both revisions and the command.
    """
    found = current(engine) or ""
    if found == head():
        return
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found and found not in known:
        advice = "it was made by another, probably newer version of virtualobserver: install that one"
    else:
        advice = "run `vo db upgrade` (with the same --data)"
    place = engine.url.render_as_string(hide_password=True)
    msg = f"the database {place} has schema {found or 'none'}, this version needs {head()}: {advice}"
    raise SchemaMismatch(msg)


def prepare(engine: sa.Engine) -> None:
    """Build the schema in an empty database, check that of any other.

    Raises
    ------
    SchemaMismatch
        The database has tables, but not of this version.
    """
    if current(engine) is None and not sa.inspect(engine).get_table_names():
        upgrade(engine)
    check(engine)


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_dir()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _migrate(engine: sa.Engine, step: Callable[[Config], None]) -> None:
    config = _config()
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        config.attributes["connection"] = connection
        step(config)
