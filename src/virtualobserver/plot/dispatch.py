"""One function that draws whatever it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

from virtualobserver.data.handles import Handle
from virtualobserver.data.histogram import Histogram
from virtualobserver.data.image import Image
from virtualobserver.data.panels import Facts, Heatmap, ImageStack, Series
from virtualobserver.data.result import Event
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import DataError
from virtualobserver.plot.curves import detection, lightcurve
from virtualobserver.plot.panels import draw_panels
from virtualobserver.plot.pixels import image, spectrum
from virtualobserver.plot.searches import searches
from virtualobserver.plot.statistics import efficiency, histogram
from virtualobserver.simulate import SearchEfficiency

__all__ = ["plot"]

_PANELS = (Series, Heatmap, ImageStack, Facts)


def plot(thing: Any, **options: Any) -> Figure:
    """Draw a light curve, detection, histogram, efficiency table, set of spectra or image.

    Parameters
    ----------
    thing
        A container, a list of light curves, a handle, a row with ``.data``, an `Event` (with the option
        `curve`), a `Histogram`, a table of efficiencies, a list of what searches find, or panels.
    **options
        Of the function for that kind of thing: `lightcurve`, `detection`, `histogram`, `efficiency`,
        `searches`, `spectrum`, `image`, `draw_panels`.

    Raises
    ------
    DataError
        If nothing here can draw it.
    """
    if isinstance(thing, _PANELS):
        thing = [thing]
    if isinstance(thing, list | tuple) and thing:
        for of, together in (
            (TimeSeries, lightcurve),
            (SearchEfficiency, searches),
            (_PANELS, draw_panels),
        ):
            if all(isinstance(one, of) for one in thing):
                return together(thing, **options)
    if isinstance(thing, Handle) and not isinstance(thing, Image):
        thing = thing.load()
    if isinstance(thing, Histogram):
        return histogram(thing, **options)
    if hasattr(thing, "columns") and "efficiency" in thing.columns:
        return efficiency(thing, **options)
    if isinstance(thing, Event) or hasattr(thing, "peak_mjd"):
        return detection(thing, **options)
    kinds: dict[str, Callable[..., Figure]] = {"lightcurve": lightcurve, "spectrum": spectrum, "image": image}
    container = (
        thing if isinstance(thing, TimeSeries | SpectrumSet | Image) else getattr(thing, "data", thing)
    )
    draw = kinds.get(str(getattr(container, "kind", "")))
    if draw is None:
        msg = f"{type(thing).__name__} cannot be drawn; light curves, detections, histograms, "
        msg += "efficiencies, spectra and images can"
        raise DataError(msg)
    return draw(container, **options)
