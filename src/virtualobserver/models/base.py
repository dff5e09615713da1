"""Declarative base: constraint names, column types, and what rows know of where they came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from sqlalchemy import BigInteger, DateTime, Identity, MetaData, Table, event, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column

from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from sqlalchemy.orm import QueryContext
    from sqlalchemy.types import TypeEngine

    from virtualobserver.data.panels import Panel

__all__ = ["Base", "Scope", "created_at", "json_dict", "key", "table_of"]

CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

key = Annotated[int, mapped_column(BigInteger, Identity(), primary_key=True)]
json_dict = Annotated[RecordDict, mapped_column(JSONB, server_default="{}", default=dict)]
created_at = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]


@dataclass(frozen=True)
class Scope:
    """The project that a session hands out rows for.

    Parameters
    ----------
    project
        Its id: what is current differs from project to project.
    levels
        Names of the parts of a step's units, by step.
    upstream
        Steps whose products an analysis searches, by analysis.
    services
        Makes what an analysis may ask besides its products, given its name.
    draw
        Draws a detection, given its id, as the analysis that found it does.
    panels
        Returns what to see of a detection, given its id, as plain data.
    """

    project: int
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    upstream: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    services: Callable[[str], Record] | None = None
    draw: Callable[..., Figure] | None = None
    panels: Callable[..., list[Panel]] | None = None


class Base(DeclarativeBase):
    """Base of all rows.

    A row that is loaded by a session which knows the data folder has its store in ``_store``; one that came from a
    project has the project's `Scope` in ``_scope``.
    """

    metadata = MetaData(naming_convention=CONVENTION)
    type_annotation_map: ClassVar[dict[type, TypeEngine[Any]]] = {
        datetime: DateTime(timezone=True),
        int: BigInteger(),
    }

    _store: Any = None
    _scope: Scope | None = None

    def __repr__(self) -> str:
        state = self.__dict__
        names = ("id", "name", "kind", "step", "unit", "status", "role", "series", "known_as")
        shown = ", ".join(f"{name}={state[name]!r}" for name in names if state.get(name) is not None)
        return f"{type(self).__name__}({shown})"


@event.listens_for(Base, "load", propagate=True)
def _remember(target: Base, context: QueryContext) -> None:
    info = context.session.info
    target._store, target._scope = info.get("store"), info.get("scope")  # noqa: SLF001 - attributes of this base


def table_of(model: type[Base]) -> Table:
    """Return the table of an ORM class."""
    return cast("Table", model.__table__)
