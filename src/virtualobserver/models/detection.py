"""Detections, injections and human verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from virtualobserver.data.show import facts_html, figure_html
from virtualobserver.errors import DataError, VirtualObserverError
from virtualobserver.models.base import Base, created_at, json_dict, key

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from virtualobserver.data.panels import Panel
    from virtualobserver.models.product import Product
    from virtualobserver.models.source import Source

__all__ = ["Classification", "Detection", "Injection"]


class Injection(Base):
    """A simulated event that was put into real data, and whether it was found."""

    __tablename__ = "injection"
    __table_args__ = (
        UniqueConstraint("task_id", "number"),
        Index("ix_injection_source_id", "source_id"),
        {"comment": "Injected events and their recovery"},
    )

    id: Mapped[key]
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    task_id: Mapped[int] = mapped_column(ForeignKey("task.id", ondelete="CASCADE"))
    number: Mapped[int]
    kind: Mapped[str] = mapped_column(
        server_default="", comment="Class of the event: flare, dip, comet, mover, ..."
    )
    amplitude: Mapped[float | None] = mapped_column(Float, comment="In units of the analysis")
    width: Mapped[float | None] = mapped_column(Float, comment="Duration or width, in units of the analysis")
    parameters: Mapped[json_dict]
    covered: Mapped[bool | None] = mapped_column(
        comment="Whether the data have anything of the event; null where that was not recorded"
    )
    found: Mapped[bool]
    found_snr: Mapped[float | None] = mapped_column(Float)


class Detection(Base):
    """Something a person may want to vet."""

    __tablename__ = "detection"
    __table_args__ = (
        UniqueConstraint("source_id", "task_id", "injection_id", "event", postgresql_nulls_not_distinct=True),
        Index("ix_detection_task_id", "task_id"),
        Index("ix_detection_injection_id", "injection_id"),
        Index("ix_detection_product_id", "product_id"),
        Index("ix_detection_analysis_snr", "analysis", "snr"),
        Index("ix_detection_strength", text("abs(snr)"), "id"),
        Index("ix_detection_peak_mjd", "peak_mjd"),
        CheckConstraint("snr <> 'NaN'", name="snr"),
        CheckConstraint("score is null or score <> 'NaN'", name="score"),
        CheckConstraint("peak_mjd <> 'NaN'", name="peak_mjd"),
        {"comment": "Events found by analyses, real and simulated"},
    )

    id: Mapped[key]
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    task_id: Mapped[int] = mapped_column(ForeignKey("task.id", ondelete="CASCADE"))
    product_id: Mapped[int | None] = mapped_column(ForeignKey("product.id", ondelete="SET NULL"))
    injection_id: Mapped[int | None] = mapped_column(ForeignKey("injection.id", ondelete="CASCADE"))
    event: Mapped[int] = mapped_column(comment="Number of the event in its task")
    analysis: Mapped[str]
    kind: Mapped[str] = mapped_column(comment="flare, dip, ...")
    start_mjd: Mapped[float] = mapped_column(Float, comment="[d], MJD UTC, mid-exposure")
    peak_mjd: Mapped[float] = mapped_column(Float, comment="[d], MJD UTC, mid-exposure")
    end_mjd: Mapped[float] = mapped_column(Float, comment="[d], MJD UTC, mid-exposure")
    ra: Mapped[float | None] = mapped_column(Float, comment="[deg], ICRS")
    dec: Mapped[float | None] = mapped_column(Float, comment="[deg], ICRS")
    band: Mapped[str] = mapped_column(server_default="", default="")
    snr: Mapped[float] = mapped_column(Float, comment="Signed signal-to-noise ratio at the peak")
    score: Mapped[float | None] = mapped_column(Float)
    quality: Mapped[int] = mapped_column(server_default="0", comment="Quality bits, 0 = good")
    parameters: Mapped[json_dict]
    simulated: Mapped[bool] = mapped_column(server_default="false", default=False)
    created: Mapped[created_at]

    source: Mapped[Source] = relationship(viewonly=True)
    product: Mapped[Product | None] = relationship(viewonly=True)

    def panels(self, *, told: bool = True) -> list[Panel]:
        """Return what to see of this detection as plain data, an injected one with what was put in.

        Parameters
        ----------
        told
            Whether, of an injected event, the last panel says what was injected.

        Raises
        ------
        DataError
            If the row came from no project.
        """
        if self._scope is None or self._scope.panels is None:
            msg = f"only a project knows what detection {self.id} was found in: `project.panels({self.id})`"
            raise DataError(msg)
        return self._scope.panels(self.id, told=told)

    def plot(self, **options: object) -> Figure:
        """Draw the event; one that came from a project as its panels, an injected one with what was put in.

        Parameters
        ----------
        **options
            ``title`` and ``figsize`` (inches). With ``curve``, a light curve, the event is drawn in that one: all
            options are then of `virtualobserver.plot.detection`.

        Raises
        ------
        DataError
            If the event was injected and the row came from no project, which alone can put it in again.
        """
        from virtualobserver.hooks import draw

        if self._scope is not None and self._scope.draw is not None and "curve" not in options:
            return self._scope.draw(self.id, **options)
        if self.injection_id is not None and "curve" not in options:
            msg = f"detection {self.id} was put into its data: `project.detection({self.id}).plot()` draws it with them"
            raise DataError(msg)
        if self.product is not None:
            options = {"curve": self.product.data} | options
        return draw(self, **options)

    def _repr_html_(self) -> str:
        facts = {
            "analysis": self.analysis,
            "kind": self.kind,
            "peak": f"{self.peak_mjd:.5f} MJD (UTC)",
            "S/N": f"{self.snr:.2f}",
            "filter": self.band,
        }
        title = f"Detection {self.id}" + (" (injected)" if self.injection_id is not None else "")
        shown = facts_html(title, {name: value for name, value in facts.items() if value})
        try:
            return shown + figure_html(self.plot())
        except VirtualObserverError:
            return shown  # what it was found in is gone


class Classification(Base):
    """A human verdict; appended, never overwritten, and kept when the detection goes."""

    __tablename__ = "classification"
    __table_args__ = (
        Index("ix_classification_detection_id", "detection_id"),
        Index("ix_classification_source_id", "source_id"),
        Index("ix_classification_analysis_source_name", "analysis", "source_name"),
        Index("ix_classification_analysis_start_mjd", "analysis", "start_mjd"),
        {"comment": "Verdicts of people on detections"},
    )

    id: Mapped[key]
    detection_id: Mapped[int | None] = mapped_column(ForeignKey("detection.id", ondelete="SET NULL"))
    source_id: Mapped[int | None] = mapped_column(ForeignKey("source.id", ondelete="SET NULL"))
    label: Mapped[str]
    user: Mapped[str] = mapped_column(server_default="")
    note: Mapped[str] = mapped_column(server_default="")
    digest: Mapped[str] = mapped_column(server_default="")
    source_name: Mapped[str]
    analysis: Mapped[str]
    kind: Mapped[str] = mapped_column(server_default="")
    start_mjd: Mapped[float | None] = mapped_column(Float)
    end_mjd: Mapped[float | None] = mapped_column(Float)
    ra: Mapped[float | None] = mapped_column(Float)
    dec: Mapped[float | None] = mapped_column(Float)
    created: Mapped[created_at]
