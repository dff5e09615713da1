"""Runs, tasks and the lineage of tasks."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from virtualobserver.models.base import Base, created_at, json_dict, key
from virtualobserver.typing import RecordDict

__all__ = ["Run", "Task", "TaskInput"]

STATUSES = ("pending", "running", "done", "empty", "failed", "stale")


class Run(Base):
    """One call of ``vo run``."""

    __tablename__ = "run"
    __table_args__ = (Index("ix_run_project_id", "project_id"), {"comment": "Runs of projects"})

    id: Mapped[key]
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    version: Mapped[str] = mapped_column(comment="Version of virtualobserver")
    commit: Mapped[str | None] = mapped_column(comment="Commit of the source tree, if it is one")
    dirty: Mapped[bool | None] = mapped_column(comment="Whether that tree had uncommitted changes")
    packages: Mapped[json_dict] = mapped_column(comment="Versions of the packages used")
    host: Mapped[str] = mapped_column(server_default="")
    started: Mapped[created_at]
    finished: Mapped[datetime | None]
    counts: Mapped[json_dict] = mapped_column(comment="Tasks by step and status")
    error: Mapped[str | None] = mapped_column(comment="Why it ended before all was tried; null if it did not")


class Task(Base):
    """One unit of work: the queue and the resume point."""

    __tablename__ = "task"
    __table_args__ = (
        UniqueConstraint("source_id", "step", "unit", "digest", postgresql_nulls_not_distinct=True),
        Index("ix_task_step_digest_status", "step", "digest", "status"),
        Index("ix_task_run_id", "run_id"),
        Index(
            "ix_task_to_redo",
            "id",
            postgresql_where=text("finished IS NOT NULL AND status NOT IN ('done', 'empty')"),
        ),
        Index("ix_task_running", "lease", postgresql_where="status = 'running'"),
        CheckConstraint(
            "status in ('pending', 'running', 'done', 'empty', 'failed', 'stale')", name="status"
        ),
        {"comment": "Source x step x unit x digest; what is done is not done again"},
    )

    id: Mapped[key]
    source_id: Mapped[int | None] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    step: Mapped[str]
    unit: Mapped[str] = mapped_column(server_default="", default="")
    digest: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="pending", default="pending")
    attempts: Mapped[int] = mapped_column(server_default="0", default=0)
    deaths: Mapped[int] = mapped_column(server_default="0", default=0, comment="Workers that died on it")
    worker: Mapped[str | None] = mapped_column(comment="Who works on it")
    lease: Mapped[datetime | None] = mapped_column(comment="Until when the worker may be silent")
    inputs: Mapped[str | None] = mapped_column(comment="SHA-256 of everything it was made from")
    listed: Mapped[str | None] = mapped_column(
        comment="What a folder archive held of the source when it was read: JSON of path to size:time"
    )
    extent: Mapped[int] = mapped_column(server_default="0", default=0, comment="Injections made so far")
    seconds: Mapped[float | None] = mapped_column(Float)
    error_kind: Mapped[str | None] = mapped_column(comment="retryable, permanent or no data")
    error: Mapped[str | None] = mapped_column(comment="Class and message")
    traceback: Mapped[str | None]
    reason: Mapped[str | None] = mapped_column(comment="Why it is empty")
    counts: Mapped[RecordDict | None] = mapped_column(JSONB, comment="What was left out: number by cause")
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"))
    finished: Mapped[datetime | None]


class TaskInput(Base):
    """What a task was made from."""

    __tablename__ = "task_input"
    __table_args__ = (
        UniqueConstraint("task_id", "raw_data_id", "product_id", postgresql_nulls_not_distinct=True),
        Index("ix_task_input_raw_data_id", "raw_data_id"),
        Index("ix_task_input_product_id", "product_id"),
        CheckConstraint("num_nonnulls(raw_data_id, product_id) = 1", name="one"),
        {"comment": "Lineage: raw data and products used by a task"},
    )

    id: Mapped[key]
    task_id: Mapped[int] = mapped_column(ForeignKey("task.id", ondelete="CASCADE"))
    raw_data_id: Mapped[int | None] = mapped_column(ForeignKey("raw_data.id", ondelete="CASCADE"))
    product_id: Mapped[int | None] = mapped_column(ForeignKey("product.id", ondelete="CASCADE"))
