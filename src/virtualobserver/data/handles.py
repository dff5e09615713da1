"""Lazy handles: what `reduce` and `find` receive instead of data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

__all__ = ["Container", "Handle", "MemoryHandle", "ProductInfo", "as_handle"]

Container = Any  # TimeSeries | SpectrumSet | Image | Table


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
    statistics: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Handle(Protocol):
    """A stored container that is read when asked for."""

    @property
    def info(self) -> ProductInfo:
        """What is known without opening the file."""
        ...

    def load(self) -> Container:
        """Read the whole container and check its checksum."""
        ...

    def section(self, rows: slice, cols: slice | None = None) -> Container:
        """Read a part: rows of a table or light curve, a box of an image with variance and mask."""
        ...


@dataclass(frozen=True)
class MemoryHandle:
    """A handle backed by a container in memory, for tests, notebooks and injections."""

    container: Container
    info: ProductInfo

    def load(self) -> Container:
        """Return the container."""
        return self.container

    def section(self, rows: slice, cols: slice | None = None) -> Container:
        """Return rows of a table, epochs and pixels of spectra, or a box of an image with variance and mask."""
        if hasattr(self.container, "take"):
            return self.container.take(rows)
        return self.container.cut(rows, cols)


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
