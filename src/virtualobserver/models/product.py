"""Products: light curves, spectra, images, tables."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, UniqueConstraint, select
from sqlalchemy.orm import Mapped, column_property, mapped_column, relationship

from virtualobserver.data.handles import Handle, ProductInfo
from virtualobserver.data.show import picture_html
from virtualobserver.errors import ProductDropped, StoreError
from virtualobserver.models.base import Base, created_at, json_dict, key
from virtualobserver.models.raw_data import File
from virtualobserver.models.run import Task
from virtualobserver.typing import QueryRow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from virtualobserver.io.store import Store
    from virtualobserver.models.source import Source

__all__ = [
    "STATISTICS",
    "DroppedHandle",
    "Image",
    "Lightcurve",
    "Product",
    "Spectrum",
    "Table",
    "product_handle",
    "product_info",
]

STATISTICS = (
    "n_good",
    "exptime",
    "cadence",
    "flux_mean",
    "flux_rms",
    "flux_mean_robust",
    "flux_rms_robust",
    "flux_min",
    "flux_max",
    "flux_median",
    "snr_min",
    "snr_max",
    "dsnr_min",
    "dsnr_max",
    "mag_mean",
    "mag_brightest",
    "mag_faintest",
)


_COUNTED = {"lightcurve": "epochs", "spectrum": "spectra", "image": "pixels"}
"""What the number of a product counts."""
_DRAWN = frozenset(_COUNTED)
"""Kinds of which a notebook shows a small picture; a table has none, and is not read for it."""


class Product(Base):
    """One product of a task: a row here and a block in a file."""

    __tablename__ = "product"
    __table_args__ = (
        UniqueConstraint("source_id", "task_id", "role", "series"),
        Index("ix_product_task_id", "task_id"),
        Index("ix_product_file_id", "file_id"),
        CheckConstraint("kind in ('lightcurve', 'spectrum', 'image', 'table')", name="kind"),
        {"comment": "Light curves, spectra, images and tables made from raw data"},
    )
    __mapper_args__ = {"polymorphic_on": "kind"}

    id: Mapped[key]
    kind: Mapped[str] = mapped_column(comment="lightcurve, spectrum, image or table")
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    task_id: Mapped[int] = mapped_column(ForeignKey("task.id", ondelete="CASCADE"))
    role: Mapped[str] = mapped_column(comment="reduced, processed, master, mover, ...")
    series: Mapped[str] = mapped_column(server_default="", default="")
    band: Mapped[str] = mapped_column(server_default="", default="")
    file_id: Mapped[int | None] = mapped_column(ForeignKey("file.id", ondelete="SET NULL"))
    block: Mapped[str] = mapped_column(server_default="", comment="Dataset in the file")
    checksum: Mapped[str] = mapped_column(comment="SHA-256 of the content")
    simulated: Mapped[bool] = mapped_column(server_default="false", default=False)
    n: Mapped[int] = mapped_column(server_default="0", comment="Epochs, rows or pixels")
    t_min: Mapped[float | None] = mapped_column(Float, comment="First mid-exposure [d], MJD UTC")
    t_max: Mapped[float | None] = mapped_column(Float, comment="Last mid-exposure [d], MJD UTC")
    flux_unit: Mapped[str] = mapped_column(server_default="", default="")
    n_good: Mapped[int | None] = mapped_column(comment="Epochs without flags and with finite flux")
    exptime: Mapped[float | None] = mapped_column(Float, comment="Median exposure time [s]")
    cadence: Mapped[float | None] = mapped_column(Float, comment="Median time between epochs [s]")
    flux_mean: Mapped[float | None] = mapped_column(Float)
    flux_rms: Mapped[float | None] = mapped_column(Float)
    flux_mean_robust: Mapped[float | None] = mapped_column(Float)
    flux_rms_robust: Mapped[float | None] = mapped_column(Float)
    flux_min: Mapped[float | None] = mapped_column(Float)
    flux_max: Mapped[float | None] = mapped_column(Float)
    flux_median: Mapped[float | None] = mapped_column(Float)
    snr_min: Mapped[float | None] = mapped_column(Float)
    snr_max: Mapped[float | None] = mapped_column(Float)
    dsnr_min: Mapped[float | None] = mapped_column(Float)
    dsnr_max: Mapped[float | None] = mapped_column(Float)
    mag_mean: Mapped[float | None] = mapped_column(Float)
    mag_brightest: Mapped[float | None] = mapped_column(Float)
    mag_faintest: Mapped[float | None] = mapped_column(Float)
    statistics: Mapped[json_dict] = mapped_column(comment="Further summary numbers")
    obscore: Mapped[json_dict] = mapped_column(comment="ObsCore columns that the product itself tells")
    created: Mapped[created_at]

    unit: Mapped[str] = column_property(select(Task.unit).where(Task.id == task_id).scalar_subquery())
    step: Mapped[str] = column_property(select(Task.step).where(Task.id == task_id).scalar_subquery())

    file: Mapped[File | None] = relationship(lazy="joined")
    source: Mapped[Source] = relationship(viewonly=True)

    def handle(self) -> Handle:
        """Return the lazy handle to the stored container."""
        file = self.file
        path, kind = (None, "") if file is None else (file.path, file.format)
        return product_handle(self._store, self, path, file_format=kind)

    @property
    def data(self) -> Any:
        """The container, read and checked when asked for."""
        if "_data" not in self.__dict__:
            self.__dict__["_data"] = self.handle().load()
        return self.__dict__["_data"]

    def plot(self, **options: object) -> Figure:
        """Draw the product."""
        from virtualobserver.hooks import draw

        return draw(self.data, **options)

    def _repr_html_(self) -> str:
        name, word = (
            escape("/".join(one for one in (self.role, self.series) if one)),
            _COUNTED.get(self.kind, "rows"),
        )
        shown = f"<p>{escape(self.kind)} <b>{name}</b>: {self.n} {word}, band {escape(self.band or '-')}</p>"
        if self._store is not None and self.kind in _DRAWN:
            with contextlib.suppress(StoreError):  # a file that was dropped has no picture
                shown += picture_html(self.data)
        return shown


def product_info(row: QueryRow) -> ProductInfo:
    """Return what a row of `product` tells without opening a file: an ORM row, or a Core row with unit and step."""
    kind, _, plugin = row.step.partition(":")
    return ProductInfo(
        kind=row.kind,
        role=row.role,
        series=row.series,
        band=row.band,
        unit=row.unit,
        step=row.step,
        observatory="" if kind == "analyse" else plugin,
        product_id=row.id,
        simulated=row.simulated,
        statistics=dict(row.statistics or {}),
    )


def product_handle(store: Store, row: QueryRow, path: str | None, *, file_format: str) -> Handle:
    """Return the lazy handle of a row of `product`, see `product_info`; `path` and `file_format` are of its file."""
    from virtualobserver.io.store import BlockRef

    info = product_info(row)
    if path is None:
        return DroppedHandle(info)
    handle: Handle = store.open(BlockRef(path, row.block, row.kind, file_format, row.checksum), info)
    return handle


@dataclass(frozen=True)
class DroppedHandle:
    """Handle of a product whose file was dropped: it says so when somebody wants the data."""

    info: ProductInfo

    def load(self) -> NoReturn:
        """Raise `ProductDropped`."""
        msg = (
            f"the file of {self.info.kind} {self.info.role}/{self.info.series} was dropped; "
            "`vo run CONFIG --redo --step reduce` makes it again"
        )
        raise ProductDropped(msg)

    def section(self, rows: slice, cols: slice | None = None) -> NoReturn:  # noqa: ARG002
        """Raise `ProductDropped`."""
        self.load()


class Lightcurve(Product):
    """A light curve: times and fluxes of one source in one band."""

    __mapper_args__ = {"polymorphic_identity": "lightcurve"}

    @property
    def times(self) -> NDArray[np.datetime64]:
        """Mid-exposure times as UTC ``datetime64[us]``, shape (n,)."""
        times: NDArray[np.datetime64] = self.data.times
        return times

    @property
    def mjds(self) -> NDArray[np.float64]:
        """Mid-exposure times as MJD (UTC), shape (n,)."""
        mjds: NDArray[np.float64] = self.data.mjd
        return mjds


class Spectrum(Product):
    """A set of spectra of one source."""

    __mapper_args__ = {"polymorphic_identity": "spectrum"}


class Image(Product):
    """An image."""

    __mapper_args__ = {"polymorphic_identity": "image"}


class Table(Product):
    """A table, e.g. all sources of one frame."""

    __mapper_args__ = {"polymorphic_identity": "table"}
