"""Tables of movers of four nights beside each star: two that are one body each, of which one turns."""

from __future__ import annotations

import numpy as np

from virtualobserver.analysis import Analysis, AnalysisSettings
from virtualobserver.config.settings import setting
from virtualobserver.data import Result, Table, TimeSeries
from virtualobserver.data.product import Product

PERIOD = 5.2
"""Hours of one turn of the first body, whose two maxima differ."""
RATES = ((20.0, 5.0), (-8.0, 30.0))
"""Towards east and north, arcsec/h."""


class TrackedSettings(AnalysisSettings):
    """What is made."""

    first: int = setting(0, doc="Number of the first night that is there")
    nights: int = setting(4, doc="Nights")
    epochs: int = setting(30, doc="Epochs of a night")


class Tracked(Analysis[TimeSeries, TrackedSettings]):
    """Movers of some nights, as `moving_objects` writes them."""

    name = "tracked"
    produces = (("table", "tracks"),)

    def find(self, products, aux, settings):
        rng = np.random.default_rng(1)
        made = []
        for night in range(settings.nights):
            mjd = 57809.9 + night + np.linspace(0, 0.3, settings.epochs)
            if night < settings.first:
                continue
            parts = [_rows(k, mjd, rng) for k in range(len(RATES))]
            columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            meta = {
                "method": "link",
                "OBS_LON": -2.566,
                "OBS_LAT": 37.983,
                "OBS_ELEV": 1530.0,
                "MPCCODE": "J75",
            }
            table = Table(columns, {"flux": "uJy", "flux_error": "uJy"}, meta)
            made.append(Product(table, role="tracks", series=f"night {night}"))
        return Result(products=made)

    def draw(self, rng, products, settings):
        return {}

    def inject(self, products, params, rng):
        return products


def _rows(number, mjd, rng):
    hours = (mjd - 57809.9) * 24
    east, north = (rate * hours / 3600 for rate in RATES[number])
    n = mjd.size
    phase = 2 * np.pi * hours / PERIOD
    mag = 0.3 * np.cos(2 * phase) + 0.07 * np.cos(phase) if number == 0 else np.zeros(n)
    flux = 100 * 10 ** (-0.4 * (mag + rng.normal(0, 0.01, n)))
    dec = 20 + 0.1 * number + north + rng.normal(0, 0.05, n) / 3600
    ra = 150 + (east + rng.normal(0, 0.05, n) / 3600) / np.cos(np.radians(dec))
    nothing = dict.fromkeys(("x", "y", "rate", "rate_error", "pa", "chi2"), np.full(n, np.nan))
    return {
        "track": np.full(n, f"M{mjd[0]:.5f}_{ra[0]:09.5f}{dec[0]:+09.5f}"), "mjd": mjd, "ra": ra, "dec": dec,
        "ra_error": np.full(n, 0.05), "dec_error": np.full(n, 0.05), "flux": flux, "flux_error": 0.01 * flux,
        "snr": np.full(n, 100.0), "exptime": np.full(n, 60.0), "flags": np.zeros(n, int), "band": np.full(n, "NONE"),
        **nothing,
    }  # fmt: skip
