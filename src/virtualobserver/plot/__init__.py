"""Pictures: a container or a row in, a Matplotlib figure out. Touches no global drawing state and opens no file."""

from virtualobserver.plot.curves import detection, lightcurve
from virtualobserver.plot.dispatch import plot
from virtualobserver.plot.panels import draw_panel, draw_panels
from virtualobserver.plot.pixels import image, spectrum
from virtualobserver.plot.searches import searches
from virtualobserver.plot.statistics import efficiency, histogram

__all__ = [
    "detection",
    "draw_panel",
    "draw_panels",
    "efficiency",
    "histogram",
    "image",
    "lightcurve",
    "plot",
    "searches",
    "spectrum",
]
