"""Declarative base: constraint names, column types, the store that lazy rows read from."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, cast

from sqlalchemy import BigInteger, DateTime, Identity, MetaData, Table, event, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

__all__ = ["Base", "created_at", "json_dict", "key", "table_of"]

CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

key = Annotated[int, mapped_column(BigInteger, Identity(), primary_key=True)]
json_dict = Annotated[dict[str, Any], mapped_column(JSONB, server_default="{}", default=dict)]
created_at = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]


class Base(DeclarativeBase):
    """Base of all rows. ``_store`` is set when a row is loaded by a session that knows the data folder."""

    metadata = MetaData(naming_convention=CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: DateTime(timezone=True), int: BigInteger()}

    _store: Any = None

    def __repr__(self) -> str:
        state = self.__dict__
        names = ("id", "name", "kind", "step", "unit", "status", "role", "series")
        shown = ", ".join(f"{name}={state[name]!r}" for name in names if state.get(name) is not None)
        return f"{type(self).__name__}({shown})"


@event.listens_for(Base, "load", propagate=True)
def _remember_store(target: Base, context: Any) -> None:
    target._store = context.session.info.get("store")  # noqa: SLF001 - an attribute of this base


def table_of(model: type[Base]) -> Table:
    """Return the table of an ORM class."""
    return cast("Table", model.__table__)
