"""What all workers have to know of the archives they ask."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from virtualobserver.models.base import Base, json_dict

__all__ = ["ArchiveJob", "Place", "RateSlot"]


class RateSlot(Base):
    """When an archive host may be asked again: the rate limit that holds over all workers."""

    __tablename__ = "rate_slot"
    __table_args__ = ({"comment": "Next free turn at each archive host, for all workers"},)

    host: Mapped[str] = mapped_column(primary_key=True, comment="Name and port as in the address")
    next_free: Mapped[datetime] = mapped_column(comment="When the next request may begin")
    blocked: Mapped[datetime | None] = mapped_column(comment="Until when the host wants to be left alone")


class ArchiveJob(Base):
    """What is known of a request that an archive works on for hours or days."""

    __tablename__ = "archive_job"
    __table_args__ = ({"comment": "Requests that archives keep in a queue: submitted, listed, collected"},)

    observatory: Mapped[str] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(primary_key=True, comment="The question, in the survey's own words")
    facts: Mapped[json_dict] = mapped_column(comment="State and what the archive said; no secrets")
    changed: Mapped[datetime] = mapped_column(server_default=func.now())


class Place(Base):
    """Where the data folder is, for addresses of files; one row."""

    __tablename__ = "place"
    __table_args__ = (
        CheckConstraint("id = 1", name="id"),
        {"comment": "Where the files are that paths lead to, as the program that opened them last sees it"},
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    root: Mapped[str] = mapped_column(comment="The data folder, absolute")
