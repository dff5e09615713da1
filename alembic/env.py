"""Run migrations on a connection that is given, else on the database of VO_DATABASE_URL or VO_DATA."""

import os
from pathlib import Path

from alembic import context
from sqlalchemy import Connection

import virtualobserver.models  # noqa: F401 - fills the metadata
from virtualobserver.db.engine import Database
from virtualobserver.models.base import Base


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


def stand_alone() -> None:
    root = Path(os.environ.get("VO_DATA", "results/data"))
    with Database.open(root, check_schema=False) as database, database.engine.begin() as connection:
        migrate(connection)


def as_sql() -> None:
    context.configure(dialect_name="postgresql", target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if context.is_offline_mode():
    as_sql()
elif given is not None:
    migrate(given)
else:
    stand_alone()
