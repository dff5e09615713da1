"""How the contract suite tries the search: spectra of a star without lines and without comets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from virtualobserver.analysis import AnalysisContract
from virtualobserver.data.product import Product
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.maths.spectra.lines import CALCIUM

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CONTRACT"]


def _noise(rng: np.random.Generator) -> Sequence[Product[SpectrumSet]]:
    """Return K and H of twenty nights at S/N 100: a flat continuum and white noise."""
    mjd = np.sort(rng.uniform(55000, 56000, 20))
    columns = {
        "mjd": mjd,
        "night": np.floor(mjd - 0.5).astype(np.int64),
        "era": np.zeros(20, dtype=np.int64),
        "exptime": np.full(20, 600.0),
        "snr": np.full(20, 100.0),
        "berv": np.zeros(20),
        "rv": np.zeros(20),
        "quality": np.zeros(20, dtype=np.int64),
        "c0": np.ones(20),
        "c1": np.zeros(20),
        "c2": np.zeros(20),
    }
    products = []
    for line, rest in CALCIUM.items():
        wave = rest + 0.01 * np.arange(-1000, 1001)
        shape = (20, wave.size)
        spectra = SpectrumSet(
            wave=wave,
            flux=rng.normal(1.0, 0.01, shape),
            error=np.full(shape, 0.01),
            mask=np.zeros(shape, dtype=np.int64),
            epochs=Table(columns),
            meta={"line": f"CaII {line}", "rest": rest, "v_star": 0.0, "instrument": "HARPS"},
        )
        products.append(Product(spectra, series=line, band=line))
    return products


CONTRACT = AnalysisContract(
    false_alarms=0.02,  # of stars; the promise is 0.01
    trials=100,
    noise=_noise,
    options={"save_processed": True},
    strong={"simulate": {"depth": [0.3, 0.6], "fwhm": [8.0, 40.0]}},
)
