"""Looks at the light curves of movers: one event for the length of each."""

from __future__ import annotations

from virtualobserver.analysis import Analysis, AnalysisSettings, Requirement
from virtualobserver.data.result import Event, Result
from virtualobserver.data.timeseries import TimeSeries


class SpansSettings(AnalysisSettings):
    """Nothing of its own."""


class Spans(Analysis[TimeSeries, SpansSettings]):
    """Length of each mover's light curve."""

    name = "spans"
    requires = (Requirement("lightcurve", "mover"),)

    def find(self, products, aux, settings):
        events = []
        for number, handle in enumerate(products):
            curve = handle.load()
            events.append(
                Event("span", curve.mjd[0], curve.mjd[0], curve.mjd[-1], float(len(curve)), product=number)
            )
        return Result(detections=events)

    def draw(self, rng, products, settings):
        return {"t_peak": 0.0, "start_mjd": 0.0, "end_mjd": 0.0}

    def inject(self, products, params, rng):
        return products
