"""Files and raw data."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from virtualobserver.data.product import RawRef
from virtualobserver.errors import ChecksumMismatch, ProductDropped
from virtualobserver.models.base import Base, created_at, json_dict, key
from virtualobserver.typing import QueryRow

if TYPE_CHECKING:
    from virtualobserver.io.store import Store

__all__ = ["FURTHER", "OBSCORE", "File", "RawData", "SourceRaw"]

OBSCORE = (
    "obs_id",
    "obs_collection",
    "dataproduct_type",
    "s_ra",
    "s_dec",
    "s_fov",
    "t_min",
    "t_max",
    "t_exptime",
    "em_min",
    "em_max",
    "facility_name",
    "instrument_name",
)
"""Columns of ObsCore that are columns of the table."""

FURTHER = (
    "s_region",
    "s_resolution",
    "s_xel1",
    "s_xel2",
    "t_resolution",
    "t_xel",
    "em_res_power",
    "em_xel",
    "o_ucd",
)
"""Those that few archives tell: in the one column `RawData.obscore`."""


class File(Base):
    """A file of the store, or of a folder archive registered in place."""

    __tablename__ = "file"
    __table_args__ = (
        UniqueConstraint("path"),
        Index("ix_file_sha256", "sha256"),
        Index("ix_file_damaged", "id", postgresql_where=text("damaged")),
        {"comment": "Files; a NULL path was dropped and can be made again"},
    )

    id: Mapped[key]
    path: Mapped[str | None] = mapped_column(comment="Relative to the data folder; absolute if external")
    sha256: Mapped[str]
    bytes: Mapped[int]
    format: Mapped[str]
    external: Mapped[bool] = mapped_column(server_default="false", default=False)
    mtime: Mapped[float | None] = mapped_column(Float, comment="Modification time of an external file [s]")
    damaged: Mapped[bool] = mapped_column(server_default="false", default=False)
    created: Mapped[created_at]


class RawData(Base):
    """One piece of raw data; never changed: another answer is another row."""

    __tablename__ = "raw_data"
    __table_args__ = (
        UniqueConstraint("observatory", "origin", "archive", "archive_id", "key", "sha256"),
        Index("ix_raw_data_file_id", "file_id"),
        Index("ix_raw_data_hpx", "hpx"),
        CheckConstraint("origin in ('live', 'folder', 'simulated')", name="origin"),
        {"comment": "Raw data with their ObsCore columns"},
    )

    id: Mapped[key]
    observatory: Mapped[str]
    origin: Mapped[str] = mapped_column(comment="live, folder or simulated")
    archive: Mapped[str] = mapped_column(
        server_default="", comment="Which archive: its folders or addresses, one a line"
    )
    archive_id: Mapped[str] = mapped_column(comment="Identity in the archive, or the query")
    key: Mapped[str] = mapped_column(server_default="", comment="Part of an external bulk file")
    block: Mapped[str] = mapped_column(server_default="", comment="Dataset in the file of the store")
    sha256: Mapped[str] = mapped_column(comment="SHA-256 of the bytes")
    file_id: Mapped[int] = mapped_column(ForeignKey("file.id", ondelete="CASCADE"))
    format: Mapped[str]
    simulated: Mapped[bool] = mapped_column(server_default="false")
    obs_id: Mapped[str | None]
    obs_collection: Mapped[str | None]
    dataproduct_type: Mapped[str | None]
    s_ra: Mapped[float | None] = mapped_column(Float, comment="[deg]")
    s_dec: Mapped[float | None] = mapped_column(Float, comment="[deg]")
    s_fov: Mapped[float | None] = mapped_column(Float, comment="[deg]")
    t_min: Mapped[float | None] = mapped_column(Float, comment="[d], MJD")
    t_max: Mapped[float | None] = mapped_column(Float, comment="[d], MJD")
    t_exptime: Mapped[float | None] = mapped_column(Float, comment="[s]")
    em_min: Mapped[float | None] = mapped_column(Float, comment="[m]")
    em_max: Mapped[float | None] = mapped_column(Float, comment="[m]")
    facility_name: Mapped[str | None] = mapped_column(comment="Telescope")
    instrument_name: Mapped[str | None] = mapped_column(comment="Instrument")
    obscore: Mapped[json_dict] = mapped_column(comment="Further ObsCore columns that are known")
    hpx: Mapped[int | None]
    header: Mapped[json_dict] = mapped_column(comment="Extract of header or answer")
    created: Mapped[created_at]

    file: Mapped[File] = relationship(lazy="joined")

    @property
    def data(self) -> bytes:
        """The bytes as the archive gave them, read when asked for."""
        return self.ref().read()

    def ref(self) -> RawRef:
        """Return what `reduce` receives."""
        store, file = self._store, self.file
        return raw_ref(store, self, file.path, external=file.external)


def raw_ref(store: Store, row: QueryRow, path: str | None, *, external: bool) -> RawRef:
    """Return the lazy reference to a row of `raw_data` (an ORM row or a Core row with the same names)."""
    from virtualobserver.io.store import BlockRef

    ref = BlockRef(path or "", row.block, "raw", "hdf5" if row.block else row.format, None, external=external)

    def read() -> bytes:
        if path is None:
            msg = f"the file of raw data {row.archive_id} was dropped; `vo verify --repair` fetches it again"
            raise ProductDropped(msg)
        content: bytes = store.read_bytes(ref)
        if not row.key and sha256(content).hexdigest() != row.sha256:
            msg = f"{path}[{row.block}]: raw data {row.archive_id} changed since they were stored; `vo verify --repair`"
            raise ChecksumMismatch(msg)
        return content

    return RawRef(
        archive_id=row.archive_id,
        format=row.format,
        read=read,
        path=None if row.block or path is None else store.resolve(path, external=external),
        key=row.key,
        obscore={n: value for n in OBSCORE if (value := getattr(row, n)) is not None}
        | dict(row.obscore or {}),
        header=dict(row.header or {}),
        raw_id=row.id,
        simulated=row.simulated,
    )


class SourceRaw(Base):
    """Which raw data a fetch task found for a source."""

    __tablename__ = "source_raw"
    __table_args__ = (
        Index("ix_source_raw_raw_data_id", "raw_data_id"),
        Index("ix_source_raw_task_id", "task_id"),
        {"comment": "Raw data by source and fetch task; one piece may serve many sources"},
    )

    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"), primary_key=True)
    raw_data_id: Mapped[int] = mapped_column(ForeignKey("raw_data.id", ondelete="CASCADE"), primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("task.id", ondelete="CASCADE"), primary_key=True)
    unit: Mapped[str] = mapped_column(server_default="", comment="Unit it belongs to, as the survey says")
