"""An analysis of what another one made."""

from __future__ import annotations

from virtualobserver.analysis import Analysis, AnalysisSettings, Requirement
from virtualobserver.data import Event, Result, TimeSeries


class Counted(Analysis[TimeSeries, AnalysisSettings]):
    """One event for each light curve of the nights."""

    name = "counted"
    requires = (Requirement("lightcurve", "counted"),)

    def find(self, products, aux, settings):
        events = []
        for number, handle in enumerate(products):
            curve = handle.load()
            first, last = float(curve.mjd[0]), float(curve.mjd[-1])
            events.append(Event("night", first, first, last, float(curve.flux.mean()), product=number))
        return Result(events, {"n": len(products)})

    def draw(self, rng, products, settings):
        return {}

    def inject(self, products, params, rng):
        return products
