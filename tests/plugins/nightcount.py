"""An analysis that works on nights: an event for each frame, a light curve of their means for each night."""

from __future__ import annotations

import numpy as np

from virtualobserver.analysis import Analysis, AnalysisSettings, Requirement
from virtualobserver.data import Event, Image, Product, Result, TimeSeries


class NightCount(Analysis[Image, AnalysisSettings]):
    """One event for each frame of a night."""

    name = "nightcount"
    requires = (Requirement("image", "calibrated"),)
    produces = (("lightcurve", "counted"),)
    per = "night"

    def find(self, products, aux, settings):
        images = [handle.load() for handle in products]
        mjd = [float(image.header["MJD-MID"]) for image in images]
        mean = np.array([float(image.data.mean()) for image in images])
        columns = {"mjd": np.array(mjd), "flux": mean, "flux_error": np.ones(len(mean))}
        columns["flags"] = np.zeros(len(mean), np.int64)
        events = [
            Event("frame", time, time, time, float(value), product=number)
            for number, (time, value) in enumerate(zip(mjd, mean, strict=True))
        ]
        night = products[0].info.unit.split("/")[0] if products else ""
        made = [Product(TimeSeries(columns), role="counted", series=night)] if images else []
        return Result(events, {"n": len(images), "mean": float(mean.mean()) if images else None}, made)

    def draw(self, rng, products, settings):
        return {}

    def inject(self, products, params, rng):
        return products
