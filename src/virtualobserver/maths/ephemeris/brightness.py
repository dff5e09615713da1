"""How bright a body is in the H, G system (Bowell et al. 1989, Asteroids II; IAU Commission 20, 1985)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["SLOPE", "magnitude", "phase_dimming"]

FloatArray = NDArray[np.float64]

SLOPE: Final = 0.15
"""G of a body of which nothing is known."""
_BASIN: Final = ((3.33, 0.63), (1.87, 1.22))
"""Phase functions: exp(-a tan(alpha / 2)^b)."""


def phase_dimming(alpha: ArrayLike, g: ArrayLike = SLOPE) -> FloatArray:
    """Return by how many magnitudes a body is fainter at a phase angle (deg) than at opposition."""
    half = np.tan(np.radians(np.asarray(alpha, dtype=np.float64)) / 2)
    first, second = (np.exp(-a * half**b) for a, b in _BASIN)
    slope = np.asarray(g, dtype=np.float64)
    return np.asarray(-2.5 * np.log10((1 - slope) * first + slope * second))


def magnitude(h: ArrayLike, g: ArrayLike, *, r: ArrayLike, delta: ArrayLike, alpha: ArrayLike) -> FloatArray:
    """Return the visual magnitude, from distances to Sun and observer (au) and phase angle (deg)."""
    distances = np.asarray(r, dtype=np.float64) * np.asarray(delta, dtype=np.float64)
    return np.asarray(np.asarray(h, dtype=np.float64) + 5 * np.log10(distances) + phase_dimming(alpha, g))
