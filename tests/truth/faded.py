"""Stars that fade, as an archive of detections gives them: what falls below five sigma is not in the file.

The dip is a trapezoid put into the light of the star before the camera sees it; sky noise differs from night to
night, and the archive states the limit of each exposure with an error of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.timeseries import TimeSeries

__all__ = ["Dip", "Star", "faded_star"]

FloatArray = NDArray[np.float64]

START, SPAN = 58300.0, 240.0  # MJD and d: one season
EPOCHS = 150
LIMIT, NIGHTS = 20.6, 0.25  # mag: five sigma in a usual night, and its scatter from night to night
STATED = 0.05  # mag: error of the limit that the archive states
FLOOR = 0.012  # mag
FOUND = 5.0  # sigma
INGRESS = 0.06  # of the width


@dataclass(frozen=True)
class Dip:
    """Share of the light that is missing, full width (d) and middle (MJD)."""

    share: float
    width: float
    middle: float

    def left(self, mjd: FloatArray) -> FloatArray:
        """Return the share of the light that is left at some times."""
        ramp = (0.5 * self.width - np.abs(mjd - self.middle)) / (INGRESS * self.width)
        return np.asarray(1.0 - self.share * np.clip(ramp, 0.0, 1.0))


@dataclass(frozen=True, eq=False)
class Star:
    """What the archive has of a star: middle of the exposures (MJD), magnitudes and their errors, stated limits."""

    mjd: FloatArray
    mag: FloatArray
    mag_error: FloatArray
    limit: FloatArray

    @property
    def curve(self) -> TimeSeries:
        """As a light curve in microjansky."""
        flux = 10 ** (0.4 * (23.9 - self.mag))
        columns = {
            "mjd": self.mjd, "flux": flux, "flux_error": flux * self.mag_error * np.log(10) / 2.5,
            "mag": self.mag, "mag_error": self.mag_error, "limiting_mag": self.limit,
            "flags": np.zeros(len(flux), dtype=np.int64), "exptime": np.full(len(flux), 30.0),
        }  # fmt: skip
        return TimeSeries(columns, band="zr")


def faded_star(rng: np.random.Generator, mag: float, dip: Dip | None = None) -> Star:
    """Observe a star of constant magnitude, but for a dip, and keep what the archive would."""
    mjd = np.sort(START + SPAN * rng.random(EPOCHS))
    limit = LIMIT + NIGHTS * rng.standard_normal(EPOCHS)
    light = 10 ** (0.4 * (23.9 - mag)) * (1.0 if dip is None else dip.left(mjd))
    sigma = np.hypot(10 ** (0.4 * (23.9 - limit)) / FOUND, FLOOR * light)
    flux = light + sigma * rng.standard_normal(EPOCHS)
    kept = flux > FOUND * sigma
    mjd, flux, sigma = mjd[kept], flux[kept], sigma[kept]
    stated = (limit + STATED * rng.standard_normal(EPOCHS))[kept]
    return Star(mjd, 23.9 - 2.5 * np.log10(flux), 2.5 / np.log(10) * sigma / flux, stated)
