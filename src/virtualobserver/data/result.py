"""What an analysis returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from virtualobserver.data.histogram import Histogram
from virtualobserver.data.product import Product, Target
from virtualobserver.typing import Record

__all__ = ["Event", "Found", "Result"]


@dataclass(frozen=True)
class Event:
    """One detection: something a person may want to vet.

    Times are MJD (UTC, mid-exposure), positions ICRS degrees. ``snr`` is signed and never NaN.
    ``product`` is the index, among the products that `find` received, of the one it was seen in.
    """

    kind: str
    peak_mjd: float
    start_mjd: float
    end_mjd: float
    snr: float
    score: float | None = None
    ra: float | None = None
    dec: float | None = None
    band: str = ""
    quality: int = 0
    parameters: Record = field(default_factory=dict)
    product: int | None = None
    source: str | None = None


@dataclass(frozen=True)
class Found:
    """A source that an analysis discovered, named by epoch and position."""

    target: Target
    same_as: str | None = None


@dataclass(frozen=True)
class Result:
    """All that `Analysis.find` found in one unit.

    Parameters
    ----------
    detections
        Events in order of time.
    properties
        Summary numbers (JSON-like).
    products
        Further products, e.g. processed light curves.
    sources
        Discovered sources; events and products name them.
    histograms
        Name to the counts of this unit.
    """

    detections: Sequence[Event] = ()
    properties: Record = field(default_factory=dict)
    products: Sequence[Product] = ()
    sources: Sequence[Found] = ()
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
