"""Sources and their membership in projects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, mapped_column, object_session, relationship

from virtualobserver.data.product import Target
from virtualobserver.data.show import facts_html
from virtualobserver.models.base import Base, created_at, json_dict, key

if TYPE_CHECKING:
    from virtualobserver.data.handles import Handle
    from virtualobserver.models.detection import Detection
    from virtualobserver.models.product import Image, Lightcurve, Product, Spectrum, Table
    from virtualobserver.models.properties import Properties
    from virtualobserver.models.raw_data import RawData

__all__ = ["Membership", "Source"]

KINDS = ("object", "field", "moving", "instrument")


class Source(Base):
    """A target of a catalogue, or something an analysis discovered."""

    __tablename__ = "source"
    __table_args__ = (
        UniqueConstraint("namespace", "name"),
        Index("ix_source_hpx", "hpx"),
        Index("ix_source_name", "name"),
        # targets of a catalogue have neither: without the condition these cost a third of their import
        Index("ix_source_parent_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        Index("ix_source_same_as_id", "same_as_id", postgresql_where=text("same_as_id IS NOT NULL")),
        Index("ix_source_aliases", "aliases", postgresql_using="gin"),
        CheckConstraint("kind in ('object', 'field', 'moving', 'instrument')", name="kind"),
        CheckConstraint("ra >= 0 and ra < 360", name="ra"),
        CheckConstraint("dec between -90 and 90", name="dec"),
        {"comment": "Everything that has data: stars, fields, moving objects, cameras"},
    )

    id: Mapped[key]
    kind: Mapped[str] = mapped_column(server_default="object", comment="object, field, moving or instrument")
    namespace: Mapped[str] = mapped_column(
        comment="Authority (gaia_dr3), catalogue, or digest for discoveries"
    )
    name: Mapped[str] = mapped_column(comment="Name, unique in its namespace")
    aliases: Mapped[list[str]] = mapped_column(ARRAY(TEXT), server_default="{}", default=list)
    ra: Mapped[float | None] = mapped_column(Float, comment="ICRS right ascension at epoch [deg]")
    dec: Mapped[float | None] = mapped_column(Float, comment="ICRS declination at epoch [deg]")
    epoch: Mapped[float] = mapped_column(
        Float, server_default="2000", comment="Epoch of the position [Julian year]"
    )
    pmra: Mapped[float | None] = mapped_column(Float, comment="Proper motion in RA times cos(dec) [mas/yr]")
    pmdec: Mapped[float | None] = mapped_column(Float, comment="Proper motion in declination [mas/yr]")
    parallax: Mapped[float | None] = mapped_column(Float, comment="Parallax [mas]")
    mag: Mapped[float | None] = mapped_column(Float, comment="Catalogue magnitude")
    mag_error: Mapped[float | None] = mapped_column(Float)
    mag_band: Mapped[str] = mapped_column(server_default="", default="")
    hpx: Mapped[int | None] = mapped_column(comment="HEALPix nested index of order 29")
    extra: Mapped[json_dict] = mapped_column(comment="Further catalogue columns the project keeps")
    row_sha: Mapped[str] = mapped_column(server_default="", comment="SHA-256 of what steps see of this row")
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"))
    same_as_id: Mapped[int | None] = mapped_column(ForeignKey("source.id", ondelete="SET NULL"))
    simulated: Mapped[bool] = mapped_column(server_default="false", default=False)
    created: Mapped[created_at]

    raw_data: Mapped[list[RawData]] = relationship(
        secondary="source_raw",
        viewonly=True,
        order_by="RawData.id",
    )
    products: Mapped[list[Product]] = relationship(viewonly=True, order_by="Product.t_min, Product.id")
    lightcurves: Mapped[list[Lightcurve]] = relationship(
        viewonly=True, order_by="Lightcurve.t_min, Lightcurve.id", overlaps="products"
    )
    spectra: Mapped[list[Spectrum]] = relationship(viewonly=True, overlaps="products,lightcurves")
    images: Mapped[list[Image]] = relationship(viewonly=True, overlaps="products,lightcurves,spectra")
    tables: Mapped[list[Table]] = relationship(viewonly=True, overlaps="products,lightcurves,spectra,images")
    detections: Mapped[list[Detection]] = relationship(
        viewonly=True, order_by="Detection.peak_mjd, Detection.id"
    )
    properties: Mapped[list[Properties]] = relationship(viewonly=True)

    def target(self) -> Target:
        """Return what surveys and analyses see of this row."""
        return Target(
            name=self.name,
            ra=self.ra,
            dec=self.dec,
            epoch=self.epoch,
            pmra=self.pmra,
            pmdec=self.pmdec,
            parallax=self.parallax,
            mag=self.mag,
            mag_error=self.mag_error,
            mag_band=self.mag_band or "",
            aliases=tuple(self.aliases or ()),
            kind=self.kind,
            namespace=self.namespace,
            extra=dict(self.extra or {}),
        )

    def handles(self) -> list[Handle]:
        """Return lazy handles to all products that have a file, current or not."""
        return [product.handle() for product in self.products if product.file_id is not None]

    def plot(self, **options: Any) -> Any:
        """Draw all light curves of this source."""
        from virtualobserver.data.hooks import draw

        return draw([curve.data for curve in self.lightcurves], **options)

    def _repr_html_(self) -> str:
        facts: dict[str, object] = {"kind": self.kind}
        if self.ra is not None and self.dec is not None:
            facts["position"] = f"{self.ra:.6f}, {self.dec:+.6f} deg (ICRS, {self.epoch:g})"
        if self.mag is not None:
            facts["magnitude"] = f"{self.mag:.2f} {self.mag_band or ''}".strip()
        if self.aliases:
            facts["also"] = ", ".join(self.aliases)
        return facts_html(f"Source {self.name} of {self.namespace}", facts)

    @property
    def session(self) -> Any:
        """The session this row belongs to, or None."""
        return object_session(self)


class Membership(Base):
    """A source in a project, with its row of the project's catalogue."""

    __tablename__ = "membership"
    __table_args__ = (
        Index("ix_membership_source_id", "source_id"),
        Index("ix_membership_catalog_id", "catalog_id"),
        {"comment": "Which sources a project looks at"},
    )

    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"), primary_key=True)
    source_id: Mapped[int] = mapped_column(ForeignKey("source.id", ondelete="CASCADE"), primary_key=True)
    catalog_id: Mapped[int | None] = mapped_column(ForeignKey("catalog.id", ondelete="SET NULL"))
    number: Mapped[int] = mapped_column(comment="Row number in the catalogue")
    mag: Mapped[float | None] = mapped_column(Float, comment="Magnitude used for selection")
    row: Mapped[json_dict] = mapped_column(comment="The catalogue row as imported")
