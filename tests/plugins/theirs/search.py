"""Somebody's search: single epochs off the mean of their light curve, which it keeps without the mean."""

from __future__ import annotations

import numpy as np

from virtualobserver.analysis import Analysis, AnalysisContract, AnalysisSettings
from virtualobserver.config.settings import setting
from virtualobserver.data.handles import MemoryHandle
from virtualobserver.data.product import Product
from virtualobserver.data.result import Event, Result
from virtualobserver.data.timeseries import TimeSeries


class OddSettings(AnalysisSettings):
    """Settings of the search."""

    least: float = setting(6.0, doc="Least signal-to-noise ratio", step="analyse", gt=0)


class Odd(Analysis[TimeSeries, OddSettings]):
    """Odd epochs."""

    name = "odd"
    produces = (("lightcurve", "levelled"),)
    contract = AnalysisContract(false_alarms=0.005, own_columns=("oddity",))

    def find(self, products, aux, settings):
        events, made = [], []
        for number, handle in enumerate(products):
            curve = handle.load()
            if len(curve) == 0:
                continue
            level = float(np.mean(curve.flux))
            oddity = (curve.flux - level) / curve.flux_error
            odd = np.flatnonzero(np.abs(oddity) > settings.least)
            for place in odd:
                t, snr = float(curve.mjd[place]), float(oddity[place])
                events.append(Event("odd", t, t, t, snr, product=number))
            levelled = curve.with_columns(flux=curve.flux - level, oddity=oddity)
            made.append(Product(levelled, role="levelled", series=str(number)))
        events.sort(key=lambda event: event.peak_mjd)
        return Result(events, {"n_odd": len(events)}, made)

    def draw(self, rng, products, settings):
        t = float(rng.choice(products[0].load().mjd))
        amplitude = float(rng.uniform(40.0, 80.0))
        return {"t_peak": t, "start_mjd": t, "end_mjd": t, "amplitude": amplitude, "width": 0.0}

    def inject(self, products, params, rng):
        changed = []
        for handle in products:
            curve = handle.load()
            flux = curve.flux.copy()
            for event in params:
                flux[curve.mjd == event["t_peak"]] += event["amplitude"] * 10.0
            changed.append(MemoryHandle(curve.with_columns(flux=flux), handle.info))
        return changed
