"""Noise of a sample of a trail: photons, sky, amplifier, and the scintillation of the air."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.errors import DataError

__all__ = ["sample_noise", "scintillation"]

FloatArray = NDArray[np.float64]
OBSERVATORY: Final = 2215.0
"""Metres above the sea: Cerro Tololo."""
SCALE_HEIGHT: Final = 8000.0
"""Metres, of the turbulence that scintillates (Young 1967, AJ 72, 747; Osborn et al. 2015, MNRAS 452, 1707, eq. 7)."""
C_Y: Final = 1.42
"""Of a site, times Young's own formula: Osborn et al. 2015 measure medians of 1.4 to 1.6 at large observatories and
find 1 too low for all."""
YOUNG: Final = 1e-5
"""Coefficient of the variance for metres and seconds (Osborn et al. 2015, eq. 7)."""


def scintillation(
    diameter: float,
    airmass: float,
    exposure: float,
    *,
    c_y: float = C_Y,
    altitude: float = OBSERVATORY,
) -> float:
    """Return the relative standard deviation that scintillation gives an exposure.

    Parameters
    ----------
    diameter
        Of the telescope, metres.
    airmass
        1 at the zenith.
    exposure
        Seconds; of a sample of a trail, the time in which a star crosses a pixel.
    c_y
        Of the site.
    altitude
        Of the site, metres.

    Raises
    ------
    DataError
        If diameter, airmass or exposure are not above 0.

    Notes
    -----
    sigma² = 1e-5 c_y² D^(-4/3) t^-1 X³ exp(-2 h / H), for exposures longer than 0.1 s or so.
    """
    if not (diameter > 0 and airmass > 0 and exposure > 0):
        msg = f"diameter, airmass and exposure must be above 0, not {diameter}, {airmass} and {exposure}"
        raise DataError(msg)
    variance = YOUNG * c_y**2 * diameter ** (-4 / 3) / exposure * airmass**3
    return float(np.sqrt(variance * np.exp(-2 * altitude / SCALE_HEIGHT)))


def sample_noise(
    electrons: ArrayLike,
    *,
    n_pix: float,
    sky: ArrayLike,
    read_noise: ArrayLike,
    scintillation: float = 0.0,
    model: float = 0.0,
) -> FloatArray:
    """Return the standard deviation of a sample in electrons.

    Parameters
    ----------
    electrons
        Of the star in the sample; below 0 counts as 0.
    n_pix
        Pixels summed; of a fit of the profile, 1 over the sum of its squares.
    sky, read_noise
        Electrons per pixel.
    scintillation, model
        Relative: of the air, and of what the profile of the model is amiss by.
    """
    light = np.maximum(np.asarray(electrons, float), 0.0)
    pixels = n_pix * (np.maximum(np.asarray(sky, float), 0.0) + np.asarray(read_noise, float) ** 2)
    return np.asarray(np.sqrt(light + pixels + (scintillation**2 + model**2) * light**2))
