"""Lazy handles: what `reduce` and `find` receive instead of data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, cast, runtime_checkable

from typing_extensions import TypeVar

from virtualobserver.data.image import Image
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.typing import RecordDict

__all__ = ["Container", "Handle", "MemoryHandle", "ProductInfo", "as_handle", "of_kind"]

Container: TypeAlias = Table | SpectrumSet | Image
"""What a product holds; a `TimeSeries` is a table."""

C_co = TypeVar("C_co", bound=Container, covariant=True, default=Container)
C = TypeVar("C", bound=Container)


@dataclass(frozen=True)
class ProductInfo:
    """What a row knows about a product without opening its file.

    ``unit`` is the piece of work it was made in (``night/frame``) and ``step`` the step that made it.
    """

    kind: str
    role: str = ""
    series: str = ""
    band: str = ""
    unit: str = ""
    step: str = ""
    observatory: str = ""
    product_id: int | None = None
    simulated: bool = False
    statistics: RecordDict = field(default_factory=dict)


@runtime_checkable
class Handle(Protocol[C_co]):
    """A stored container that is read when asked for; ``Handle[Image]`` is one of an image."""

    @property
    def info(self) -> ProductInfo:
        """What is known without opening the file."""
        ...

    def load(self) -> C_co:
        """Read the whole container and check its checksum."""
        ...

    def section(self, rows: slice, cols: slice | None = None) -> C_co:
        """Read a part: rows of a table or light curve, a box of an image with variance and mask."""
        ...


@dataclass(frozen=True)
class MemoryHandle(Generic[C_co]):
    """A handle backed by a container in memory, for tests, notebooks and injections."""

    container: C_co
    info: ProductInfo

    def load(self) -> C_co:
        """Return the container."""
        return self.container

    def section(self, rows: slice, cols: slice | None = None) -> C_co:
        """Return rows of a table, epochs and pixels of spectra, or a box of an image with variance and mask."""
        data: Container = self.container
        return cast(C_co, data.take(rows) if isinstance(data, Table) else data.cut(rows, cols))


def of_kind(products: Iterable[Handle], container: type[C]) -> list[Handle[C]]:
    """Return the products that hold one kind of container, ``of_kind(products, Image)``, none of which is opened."""
    return [cast(Handle[C], one) for one in products if one.info.kind == container.kind]


def as_handle(thing: Any, *, role: str = "reduced", series: str = "", observatory: str = "") -> Handle:
    """Wrap a container or a product as a handle; a handle is returned as it is."""
    if isinstance(thing, Handle):
        return thing
    if hasattr(thing, "container_kind"):  # a Product
        info = ProductInfo(
            kind=thing.container_kind,
            role=thing.role,
            series=thing.series,
            band=thing.band,
            observatory=observatory,
            statistics=dict(thing.statistics),
        )
        return MemoryHandle(thing.data, info)
    info = ProductInfo(
        kind=thing.kind, role=role, series=series, band=getattr(thing, "band", ""), observatory=observatory
    )
    return MemoryHandle(thing, info)
