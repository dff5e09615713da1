"""Summary numbers and histogram parts of tasks."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from virtualobserver.models.base import Base, json_dict, key

__all__ = ["HistogramPart", "Properties"]


class Properties(Base):
    """Summary numbers of one source from one analysis."""

    __tablename__ = "properties"
    __table_args__ = (
        UniqueConstraint("source_id", "task_id"),
        Index("ix_properties_task_id", "task_id"),
        {"comment": "Best S/N, counts and other numbers by source and analysis"},
    )

    id: Mapped[key]
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    task_id: Mapped[int] = mapped_column(ForeignKey("task.id", ondelete="CASCADE"))
    analysis: Mapped[str]
    simulated: Mapped[bool] = mapped_column(server_default="false", default=False)
    props: Mapped[json_dict]


class HistogramPart(Base):
    """Counts of one task; a histogram is the sum of the parts of done tasks."""

    __tablename__ = "histogram_part"
    __table_args__ = (
        UniqueConstraint("task_id", "name"),
        {"comment": "Sparse histogram counts by task"},
    )

    id: Mapped[key]
    task_id: Mapped[int] = mapped_column(ForeignKey("task.id", ondelete="CASCADE"))
    name: Mapped[str]
    simulated: Mapped[bool] = mapped_column(server_default="false", default=False)
    counts: Mapped[bytes] = mapped_column(LargeBinary)
