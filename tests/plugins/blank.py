"""An analysis that finds nothing and draws an empty sheet."""

from __future__ import annotations

from matplotlib.figure import Figure

from virtualobserver.analysis import Analysis
from virtualobserver.data import Result


class Blank(Analysis):
    """Nothing."""

    name = "blank"

    def find(self, products, aux, settings):
        return Result()

    def draw(self, rng, products, settings):
        return {}

    def inject(self, products, params, rng):
        return products

    def figures(self, products, aux, settings):
        figure = Figure()
        figure.add_subplot().set_axis_off()
        figure.suptitle("nothing found")
        return {"sheet": figure}
