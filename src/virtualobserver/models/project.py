"""Projects and their configurations."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from virtualobserver.models.base import Base, created_at, json_dict, key

__all__ = ["Configuration", "Project"]


class Project(Base):
    """A search: a name under which targets, settings and results belong together."""

    __tablename__ = "project"
    __table_args__ = (UniqueConstraint("name"), {"comment": "One search, described by one YAML file"})

    id: Mapped[key]
    name: Mapped[str] = mapped_column(comment="Unique name")
    description: Mapped[str] = mapped_column(server_default="", comment="Free text")
    created: Mapped[created_at] = mapped_column(comment="When the row was made (UTC)")


class Configuration(Base):
    """Settings of one step of a project, as resolved, without secrets."""

    __tablename__ = "configuration"
    __table_args__ = (
        UniqueConstraint("project_id", "step", "digest"),
        Index("ix_configuration_step_digest", "step", "digest"),
        Index(
            "uq_configuration_current",
            "project_id",
            "step",
            unique=True,
            postgresql_where=text("current"),
        ),
        {"comment": "Settings of one step of one project; exactly one per step is current"},
    )

    id: Mapped[key]
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    step: Mapped[str] = mapped_column(comment="fetch:ztf, reduce:ztf, analyse:transients, ...")
    digest: Mapped[str] = mapped_column(comment="SHA-256 of the settings that matter and the steps before")
    settings: Mapped[json_dict] = mapped_column(comment="Resolved settings, no secrets")
    current: Mapped[bool] = mapped_column(server_default="true", comment="Used by the latest run")
    created: Mapped[created_at]
