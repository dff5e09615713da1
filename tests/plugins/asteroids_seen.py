"""Four 'movers' beside each star: one known by number, one by designation, two that nobody knows."""

from __future__ import annotations

import numpy as np

from virtualobserver.analysis import Analysis, AnalysisSettings
from virtualobserver.data import Event, Found, Result, Target, TimeSeries
from virtualobserver.data.product import Product

KNOWN = {
    "M1_229762": "(229762) G!kunll'homdima",
    "M2": "2019 RB21",
    "AST_1": None,
    "M60100.12345_010.00000": None,
}


class AsteroidsSeenSettings(AnalysisSettings):
    """Nothing of its own."""


class AsteroidsSeen(Analysis[TimeSeries, AsteroidsSeenSettings]):
    """Movers with places, errors and fluxes that are made up; the last epoch of each is flagged."""

    name = "asteroids_seen"
    produces = (("lightcurve", "mover"),)

    def find(self, products, aux, settings):
        events, sources, curves = [], [], []
        for n, (name, known) in enumerate(KNOWN.items()):
            target = Target(name, ra=359.9999999, dec=-0.5, kind="moving")
            mjd = np.array([60100.0, 60100.9999996, 60101.2]) + n
            flags = np.array([0, 0, 4])
            columns = {
                "mjd": mjd, "flux": [100.0, -1.0, 90.0], "flux_error": [1.0, 1.0, 1.0], "flags": flags,
                "ra_error": np.full(3, 0.12), "dec_error": np.full(3, 0.0001),
            }  # fmt: skip
            if n == 3:  # as a search of stacked images gives it
                del columns["ra_error"], columns["dec_error"]
            curve = TimeSeries(columns, band="zr", flux_unit="adu" if n == 2 else "uJy")
            curves.append(Product(curve, role="mover", series=name, band="zr", target=target))
            sources.append(Found(target, same_as=known))
            events += [
                Event(
                    "mover", t, t, t, 9.0, ra=359.9999999, dec=-0.5, band="zr", quality=int(flag), source=name,
                    parameters={"position_error": 0.2},
                )
                for t, flag in zip(mjd.tolist(), flags.tolist(), strict=True)
            ]  # fmt: skip
        events.sort(key=lambda one: one.peak_mjd)
        return Result(detections=events, sources=sources, products=curves)

    def draw(self, rng, products, settings):
        return {}

    def inject(self, products, params, rng):
        return products
