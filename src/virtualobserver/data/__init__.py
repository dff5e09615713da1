"""In-memory containers: frozen dataclasses that hold arrays, and lazy handles to stored ones.

Knows no file, row or picture.
"""

from virtualobserver.data.handles import Handle, MemoryHandle, as_handle, of_kind
from virtualobserver.data.image import Image
from virtualobserver.data.product import Product, Raw, RawRef, Target
from virtualobserver.data.result import Event, Found, Result
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.data.timeseries import TimeSeries

__all__ = [
    "Event",
    "Found",
    "Handle",
    "Image",
    "MemoryHandle",
    "Product",
    "Raw",
    "RawRef",
    "Result",
    "SpectrumSet",
    "Table",
    "Target",
    "TimeSeries",
    "as_handle",
    "of_kind",
]
