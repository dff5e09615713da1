"""How the contract suite tries this analysis: a small night of pure noise."""

from __future__ import annotations

from typing import Final

import numpy as np

from virtualobserver.data.contract import AnalysisContract
from virtualobserver.data.image import Image
from virtualobserver.data.product import Product

__all__ = ["CONTRACT"]

_FRAMES: Final = 8
"""As few as a search accepts comfortably: a trial is to take a second."""
_SIDE: Final = 56
"""Pixels; likewise."""


def _noise(rng: np.random.Generator) -> list[Product[Image]]:
    """Return differences of Gaussian noise, 2 electrons, over 5 h at 2 arcsec per pixel."""
    night = []
    for number in range(_FRAMES):
        header = {
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 75.0, "CRVAL2": -65.0, "CRPIX1": 28.5,
            "CRPIX2": 28.5, "CDELT1": -2 / 3600, "CDELT2": 2 / 3600, "CUNIT1": "deg", "CUNIT2": "deg",
            "MJD-MID": 60100.0 + 0.03 * number, "EXPTIME": 60.0, "FWHM": 3.0,
        }  # fmt: skip
        data = rng.normal(0.0, 2.0, (_SIDE, _SIDE)).astype(np.float32)
        image = Image(data, np.full_like(data, 4.0), np.zeros(data.shape, np.uint8), header, "electron")
        night.append(Product(image, role="difference"))
    return night


CONTRACT: Final = AnalysisContract(
    false_alarms=0.1,
    trials=20,
    noise=_noise,
    options={"stack": {"rate": [0.0, 6.0], "controls": False}},
    strong={"simulate": {"likelihood": [20.0, 25.0], "rate": [1.0, 5.0]}},
    injections=4,
)
