"""Imported target lists."""

from __future__ import annotations

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from virtualobserver.models.base import Base, created_at, json_dict, key

__all__ = ["Catalog"]


class Catalog(Base):
    """A target list as it was imported."""

    __tablename__ = "catalog"
    __table_args__ = (UniqueConstraint("name", "checksum"), {"comment": "Imported target lists"})

    id: Mapped[key]
    name: Mapped[str] = mapped_column(comment="Name of the list")
    origin: Mapped[str] = mapped_column(server_default="", comment="File, query or table it came from")
    checksum: Mapped[str] = mapped_column(comment="SHA-256 of its content")
    n_rows: Mapped[int] = mapped_column(comment="Number of targets")
    meta: Mapped[json_dict]
    imported: Mapped[created_at]
