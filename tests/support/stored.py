"""A light curve and spectra to store and read back."""

import numpy as np

from virtualobserver.data import SpectrumSet, Table, TimeSeries

NAMES = ("exptime", "bjd_tdb", "ra", "dec", "mag", "mag_error", "seeing", "airmass")


def lightcurve(seed=1, n=100):
    rng = np.random.default_rng(seed)
    columns = {"mjd": 58000 + np.sort(rng.random(n)), "flux": rng.random(n), "flux_error": rng.random(n)}
    columns |= {"flags": rng.integers(0, 9, n)} | {name: rng.random(n) for name in NAMES}
    return TimeSeries(columns, units={"ra": "deg"}, meta={"field": np.int64(7)}, band="zg")


def spectra():
    epochs = Table({"mjd": np.array([1.0, 2.0]), "name": np.array(["a", "Ω"])})
    flux = np.arange(6.0).reshape(2, 3)
    return SpectrumSet(np.arange(3.0), flux, flux + 1, np.zeros((2, 3), "i2"), epochs, meta={"v": 1})
