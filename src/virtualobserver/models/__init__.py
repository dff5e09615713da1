"""Rows of the database, one class a table; its history is in ``alembic/versions``.

Commits nothing and starts nothing.
"""

from virtualobserver.models.archive import ArchiveJob, Place, RateSlot
from virtualobserver.models.base import Base
from virtualobserver.models.catalog import Catalog
from virtualobserver.models.detection import Classification, Detection, Injection
from virtualobserver.models.product import Image, Lightcurve, Product, Spectrum, Table
from virtualobserver.models.project import Configuration, Project
from virtualobserver.models.properties import HistogramPart, Properties
from virtualobserver.models.raw_data import File, RawData, SourceRaw
from virtualobserver.models.run import Run, Task, TaskInput
from virtualobserver.models.source import Membership, Source

__all__ = [
    "ArchiveJob",
    "Base",
    "Catalog",
    "Classification",
    "Configuration",
    "Detection",
    "File",
    "HistogramPart",
    "Image",
    "Injection",
    "Lightcurve",
    "Membership",
    "Place",
    "Product",
    "Project",
    "Properties",
    "RateSlot",
    "RawData",
    "Run",
    "Source",
    "SourceRaw",
    "Spectrum",
    "Table",
    "Task",
    "TaskInput",
]
