"""Finds one 'mover' in each night and gives it a light curve of the mean level of the frames."""

from __future__ import annotations

import numpy as np

from virtualobserver.analysis import Analysis, AnalysisSettings, Requirement
from virtualobserver.data.image import Image
from virtualobserver.data.product import Product, Target
from virtualobserver.data.result import Event, Found, Result
from virtualobserver.data.timeseries import TimeSeries


class MoversSettings(AnalysisSettings):
    """Nothing of its own."""


class Movers(Analysis[Image, MoversSettings]):
    """One mover a night."""

    name = "movers"
    requires = (Requirement("image", "calibrated"),)
    produces = (("lightcurve", "mover"),)
    per = "night"

    def find(self, products, aux, settings):
        levels = np.array([float(handle.load().data.mean()) for handle in products])
        night = products[0].info.unit.split("/")[0]
        target = Target(name=f"mover {night}", kind="moving", ra=10.0, dec=20.0)
        mjd = 60000.0 + np.arange(len(levels))
        columns = {
            "mjd": mjd,
            "flux": levels,
            "flux_error": np.ones(len(mjd)),
            "flags": np.zeros(len(mjd), int),
        }
        series = TimeSeries(columns)
        event = Event("mover", mjd[0], mjd[0], mjd[-1], float(levels.sum()), source=target.name)
        return Result(
            detections=[event],
            sources=[Found(target)],
            products=[Product(series, role="mover", target=target)],
            properties={"frames": len(levels)},
        )

    def draw(self, rng, products, settings):
        return {"t_peak": 0.0, "start_mjd": 0.0, "end_mjd": 0.0}

    def inject(self, products, params, rng):
        return products
