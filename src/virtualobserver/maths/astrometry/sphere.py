"""Angles on the sky."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["separation"]


def separation(ra: ArrayLike, dec: ArrayLike, ra0: ArrayLike, dec0: ArrayLike) -> NDArray[np.float64]:
    """Return the angle between positions, all in degrees; exact at the poles and across RA 0.

    The haversine formula, which keeps its digits at small angles. NaN where a coordinate is NaN.
    """
    a, d, a0, d0 = (np.deg2rad(np.asarray(part, dtype=np.float64)) for part in (ra, dec, ra0, dec0))
    h = np.sin((d - d0) / 2) ** 2 + np.cos(d) * np.cos(d0) * np.sin((a - a0) / 2) ** 2
    return np.asarray(np.rad2deg(2 * np.arcsin(np.sqrt(np.clip(h, 0, 1)))))
