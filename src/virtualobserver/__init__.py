"""A database-backed framework for searches in astronomical surveys.

The names below are resolved when they are first used: importing the package reads nothing and opens nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from virtualobserver import hooks

__version__ = "0.1.0"

_NAMES = {
    "Analysis": "analysis",
    "Catalog": "catalog",
    "DatasetMixin": "data.table:Table",
    "Detection": "models",
    "Histogram": "data.histogram",
    "Histograms": "data.histogram:Histogram",
    "Image": "models",
    "Lightcurve": "models",
    "Parameters": "config",
    "Project": "run.project",
    "Properties": "models",
    "RawData": "models",
    "Simulator": "simulate",
    "Source": "models",
    "Spectrum": "models",
    "VirtualDemoObs": "observatories.demo:VirtualDemo",
    "VirtualObservatory": "observatory",
    "cone_search": "db.sky",
    "crossmatch": "db.sky",
    "read_catalog": "catalog",
}

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from virtualobserver.analysis import Analysis as Analysis
    from virtualobserver.catalog import Catalog as Catalog
    from virtualobserver.catalog import read_catalog as read_catalog
    from virtualobserver.data.histogram import Histogram as Histogram
    from virtualobserver.models import Detection as Detection
    from virtualobserver.models import Image as Image
    from virtualobserver.models import Lightcurve as Lightcurve
    from virtualobserver.models import Properties as Properties
    from virtualobserver.models import RawData as RawData
    from virtualobserver.models import Source as Source
    from virtualobserver.models import Spectrum as Spectrum
    from virtualobserver.observatory import VirtualObservatory as VirtualObservatory
    from virtualobserver.run.project import Project as Project
    from virtualobserver.simulate import Simulator as Simulator
    from virtualobserver.typing import Record, RecordDict


def _draw(thing: object, **options: object) -> Figure:
    from virtualobserver.plot import plot

    return plot(thing, **options)


def _fits_header(cards: Record) -> Any:
    from virtualobserver.io.fits.headers import fits_header

    return fits_header(cards)


def _plain_header(header: object) -> RecordDict:
    from virtualobserver.io.fits.headers import plain_header

    return plain_header(header)


hooks.draw.fill(_draw)
hooks.fits_header.fill(_fits_header)
hooks.plain_header.fill(_plain_header)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        module, _, attribute = _NAMES[name].partition(":")
        return getattr(import_module(f"virtualobserver.{module}"), attribute or name)
    if name.startswith("Virtual"):
        from virtualobserver import plugins

        found = plugins.find_class(name)
        if found is not None:
            return found
    msg = f"module 'virtualobserver' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    from virtualobserver import plugins

    surveys = [
        f"Virtual{name.upper() if name != 'demo' else 'Demo'}" for name in plugins.names("observatories")
    ]
    return sorted({*_NAMES, *surveys, "__version__"})
