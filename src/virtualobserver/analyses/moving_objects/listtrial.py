"""How the contract suite tries the search on source lists: a small field without a mover."""

from __future__ import annotations

from typing import Final

import numpy as np

from virtualobserver.conventions import SIGMA_TO_FWHM
from virtualobserver.data.contract import AnalysisContract
from virtualobserver.data.product import Product
from virtualobserver.data.table import Table
from virtualobserver.maths.astrometry.tan_sip import deproject

__all__ = ["LINK_CONTRACT", "SSOS_CONTRACT"]

_IMAGES, _STARS, _SPURIOUS = 10, 60, 12
"""Images, stars and spurious sources of a trial; chosen, so that it takes a tenth of a second."""
_SCALE: Final = 2.0 / 3600.0
"""Degrees per pixel, as small telescopes have it."""
_SIDE: Final = 600
"""Pixels: a trial is to take a tenth of a second."""
_NOISE: Final = 0.05
"""Pixels that the place of a bright star scatters by."""


def _noise(rng: np.random.Generator) -> list[Product[Table]]:
    """Return the source lists of 40 minutes: stars that stay, and as many spurious sources as a bad night has."""
    stars = rng.uniform(5, _SIDE - 5, (2, _STARS))
    strength = np.exp(rng.uniform(np.log(6), np.log(200), _STARS))
    made = []
    for number in range(_IMAGES):
        dither = rng.uniform(-2, 2, 2)
        seen = strength + rng.normal(size=_STARS) > 6
        false = rng.uniform(5, _SIDE - 5, (2, _SPURIOUS))
        snr = np.concatenate([strength[seen], rng.uniform(5, 8, _SPURIOUS)])
        error = np.hypot(_NOISE, 1.0 / snr)
        place = np.concatenate([stars[:, seen], false], axis=1) + rng.normal(0, error, (2, len(snr)))
        east, north = (place - _SIDE / 2) * _SCALE
        ra, dec = deproject(east, north, 0.0, 40.0)
        x, y = place + dither[:, None]
        axis = np.full(len(snr), 1.0)
        columns = {
            "x": x, "y": y, "ra": ra, "dec": dec, "snr": snr, "flux_3": 50.0 * snr,
            "flux_error_3": np.full(len(snr), 50.0), "fwhm": SIGMA_TO_FWHM * axis,
            "a": axis, "b": axis, "theta": 0.0 * axis,
            **dict.fromkeys(("ra_error", "dec_error"), error * _SCALE * 3600.0),
        }  # fmt: skip
        meta = {
            "mjd": 60100.0 + number / 360,
            "exptime": 60.0,
            "radii": [3.0],
            "shape": [_SIDE, _SIDE],
            "band": "R",
        }
        made.append(Product(Table(columns, meta=meta), role="sources", band="R"))
    return made


LINK_CONTRACT: Final = AnalysisContract(
    false_alarms=0.05,
    trials=40,
    noise=_noise,
    options={"method": "link"},
    strong={"simulate": {"snr": [15.0, 60.0], "rate": [5.0, 300.0]}},
)
"""Chance alignments are kept below one in twenty fields."""

SSOS_CONTRACT: Final = AnalysisContract(
    false_alarms=0.05,
    trials=40,
    noise=_noise,
    options={"method": "ssos"},
    strong={"simulate": {"snr": [20.0, 60.0], "rate": [30.0, 120.0]}},
    recovered=0.6,
)
"""Motion along one coordinate alone has no R squared in the other, and is lost."""
