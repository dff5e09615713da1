"""Sources and their membership in projects."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy import CheckConstraint, Float, ForeignKey, Index, UniqueConstraint, select, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.orm import Mapped, column_property, mapped_column, object_session
from sqlalchemy.orm.exc import DetachedInstanceError

from virtualobserver.data.product import Aux, Target
from virtualobserver.data.show import facts_html, picture_html
from virtualobserver.errors import ConfigError, StoreError
from virtualobserver.models.base import Base, created_at, json_dict, key, table_of
from virtualobserver.models.detection import Detection
from virtualobserver.models.product import Image, Lightcurve, Product, Spectrum, Table
from virtualobserver.models.project import Configuration
from virtualobserver.models.properties import Properties
from virtualobserver.models.raw_data import RawData, SourceRaw
from virtualobserver.models.run import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from virtualobserver.analysis import Analysis
    from virtualobserver.data.handles import Handle

__all__ = ["Membership", "Source"]

_Row = TypeVar("_Row", Product, Lightcurve, Spectrum, Image, Table, Detection, Properties)

_CURVES: Final = 12
"""Light curves in the small picture of a notebook; more hide each other."""
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

    if TYPE_CHECKING:  # a column of the same table, which only stands when the class does; see below
        known_as: Mapped[str | None]

    @property
    def products(self) -> list[Product]:
        """Everything that the current configurations made of it, in order of time."""
        return self.rows(Product)

    @property
    def lightcurves(self) -> list[Lightcurve]:
        """Light curves of the current configurations, in order of time."""
        return self.rows(Lightcurve)

    @property
    def spectra(self) -> list[Spectrum]:
        """Sets of spectra of the current configurations."""
        return self.rows(Spectrum)

    @property
    def images(self) -> list[Image]:
        """Images of the current configurations, in order of time and unit."""
        return self.rows(Image)

    @property
    def tables(self) -> list[Table]:
        """Tables of the current configurations."""
        return self.rows(Table)

    @property
    def detections(self) -> list[Detection]:
        """Detections of the current configurations, injected ones too, in order of time."""
        return self.rows(Detection)

    @property
    def properties(self) -> list[Properties]:
        """Summary numbers of the current configurations."""
        return self.rows(Properties)

    @property
    def raw_data(self) -> list[RawData]:
        """Raw data that the current configurations fetched."""
        fetched = select(SourceRaw.raw_data_id).where(
            SourceRaw.source_id == self.id, self._current(SourceRaw.task_id)
        )
        statement = select(RawData).where(RawData.id.in_(fetched)).order_by(RawData.id)
        return list(self._loading().scalars(statement))

    def rows(self, model: type[_Row], *, current: bool = True) -> list[_Row]:
        """Return the rows of one kind that belong to this source: `Lightcurve`, `Product`, `Detection`, ...

        One question to the database, however many there are.

        Parameters
        ----------
        current
            Only those of the current configurations: of the project that this row came from, and of any project
            if it came from none. False = of all configurations there ever were.
        """
        statement = select(model).where(model.source_id == self.id).order_by(*_order(model))
        if current:
            statement = statement.where(self._current(model.task_id))
        found = list(self._loading().scalars(statement))
        # kept, so that what they have read is read once
        self.__dict__.setdefault("_kept", {})[model] = found
        return found

    def _current(self, task_id: object) -> ColumnElement[bool]:
        made = select(Task.id).join(
            Configuration, (Configuration.step == Task.step) & (Configuration.digest == Task.digest)
        )
        made = made.where(Task.id == task_id)
        if self._scope is not None:
            return made.where(Configuration.current, Configuration.project_id == self._scope.project).exists()
        return made.where(Configuration.current).exists() | ~made.exists()

    def _loading(self) -> Session:
        session = object_session(self)
        if session is None:
            msg = f"source {self.name} belongs to no session; ask for it while its project is open"
            raise DetachedInstanceError(msg)
        return session

    def aux(self, analysis: Analysis) -> Aux:
        """Return what an analysis may use besides this source's products: the target, and its project's services."""
        scope = self._scope
        if scope is None or scope.services is None or analysis.name not in scope.upstream:
            return Aux(target=self.target())
        return Aux(target=self.target(), services=scope.services(analysis.name))

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

    def handles(self, *, current: bool = True) -> list[Handle]:
        """Return lazy handles to all products in the order in which a run hands them out; see `rows`.

        That of a product whose file was dropped says so when its data are asked for.
        """
        return [product.handle() for product in self.rows(Product, current=current)]

    def parts(self, analysis: Analysis) -> dict[str, list[Handle]]:
        """Return what an analysis searches of this source, by unit, grouped as a run does.

        Raises
        ------
        ConfigError
            If the analysis works per a part that units do not have.
        """
        wanted = {(need.kind, need.role) for need in analysis.requires}
        upstream = self._scope.upstream.get(analysis.name) if self._scope else None
        parts: dict[str, list[Handle]] = {}
        for handle in self.handles():
            info = handle.info
            own = info.step == f"analyse:{analysis.name}" if upstream is None else info.step not in upstream
            if (info.kind, info.role) in wanted and not own:
                depth = self._depth(analysis, info.step)
                parts.setdefault("/".join(info.unit.split("/")[:depth]), []).append(handle)
        return dict(sorted(parts.items()))

    def _depth(self, analysis: Analysis, step: str) -> int:
        """Return how many parts of the units of a step an analysis groups by."""
        if analysis.per == "source":
            return 0
        if self._scope is None:
            return 1  # what a unit is named by first is the night
        levels = self._scope.levels.get(step, ())
        if analysis.per not in levels:
            msg = f"analysis {analysis.name} works per {analysis.per}, but {step} makes products per "
            raise ConfigError(msg + ", ".join(("source", *levels)))
        return levels.index(analysis.per) + 1

    def plot(self, **options: object) -> Figure:
        """Draw all light curves of this source."""
        from virtualobserver.hooks import draw

        return draw([curve.data for curve in self.lightcurves], **options)

    def _repr_html_(self) -> str:
        facts: dict[str, object] = {"kind": self.kind}
        if self.ra is not None and self.dec is not None:
            facts["position"] = f"{self.ra:.6f}, {self.dec:+.6f} deg (ICRS, {self.epoch:g})"
        if self.mag is not None:
            facts["magnitude"] = f"{self.mag:.2f} {self.mag_band or ''}".strip()
        if self.aliases:
            facts["also"] = ", ".join(self.aliases)
        picture = ""
        if object_session(self) is not None:
            reduced = [one for one in self.lightcurves if one.role == "reduced"][:_CURVES]
            with contextlib.suppress(StoreError):  # a file that was dropped has no picture
                picture = picture_html([one.data for one in reduced], figsize=(7.0, 3.0)) if reduced else ""
        return facts_html(f"Source {self.name} of {self.namespace}", facts) + picture

    @property
    def session(self) -> Session | None:
        """The session this row belongs to, or None."""
        return object_session(self)


# Name of the source that this one, which an analysis discovered, was found to be.
_KNOWN = table_of(Source).alias("known")
Source.known_as = column_property(
    select(_KNOWN.c.name).where(_KNOWN.c.id == Source.same_as_id).correlate_except(_KNOWN).scalar_subquery()
)


def _order(model: Any) -> tuple[Any, ...]:
    """Return the order of rows: products as a run takes them, so that a search by hand adds up the same numbers."""
    if issubclass(model, Product):
        names = (column.collate("C") for column in (model.unit, model.band, model.series))
        return (model.t_min, *names, model.id)
    return (model.peak_mjd, model.id) if issubclass(model, Detection) else (model.id,)


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
