"""Cosmic rays in a single frame, by the sharpness of their edges.

P. G. van Dokkum, 2001, PASP 113, 1420: a Laplacian of the image on a grid twice as fine, kept where positive,
is compared with the noise, its own local median (which sampling of stars leaves) is taken off, and what is not
sharp against the fine structure of the image, as stars are not, is kept out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtualobserver.errors import DataError

__all__ = ["CosmicRays", "CosmicSettings", "find_cosmic_rays"]

FloatPlane = NDArray[np.float32]
BoolPlane = NDArray[np.bool_]


@dataclass(frozen=True)
class CosmicSettings:
    """Limits of the search.

    Parameters
    ----------
    sigma
        Least significance of the Laplacian, standard deviations.
    fraction
        Of `sigma` that suffices beside a pixel already found.
    contrast
        Least ratio of the Laplacian to the fine structure; 5 for well sampled stars, less for sharper ones.
    rounds
        How often the search is repeated on the cleaned image.
    """

    sigma: float = 4.5
    fraction: float = 0.3
    contrast: float = 5.0
    rounds: int = 4


@dataclass(frozen=True, eq=False)
class CosmicRays:
    """Pixels hit (bool), the image with the median of good neighbours in their place, and rounds needed."""

    mask: BoolPlane
    cleaned: FloatPlane
    rounds: int


def find_cosmic_rays(
    data: NDArray[Any],
    variance: NDArray[Any],
    *,
    bad: BoolPlane | None = None,
    settings: CosmicSettings | None = None,
) -> CosmicRays:
    """Find cosmic rays in one image.

    Parameters
    ----------
    data
        Shape (ny, nx), e-, background included or not.
    variance
        e- squared, as `calibrate_frame` gives it: the Poisson noise of a pixel's own counts in it, which is
        replaced by that of the median around the pixel, since a cosmic ray must not raise its own noise.
    bad
        Pixels that are neither tested nor used to repair others.

    Raises
    ------
    DataError
        If the shapes differ.
    """
    from virtualobserver.maths.ccd_cosmics_kernel import search

    image = np.array(data, dtype=np.float32)
    noise = np.asarray(variance, dtype=np.float32)
    masked = np.zeros(image.shape, bool) if bad is None else np.array(bad, dtype=bool)
    if image.ndim != 2 or noise.shape != image.shape or masked.shape != image.shape:
        msg = f"image {image.shape}, variance {noise.shape} and bad pixels {masked.shape} differ in shape"
        raise DataError(msg)
    masked |= ~np.isfinite(image) | ~(noise > 0)
    image[masked & ~np.isfinite(image)] = np.float32(0)
    limits = settings or CosmicSettings()
    base = _base_variance(image, noise)
    mask = np.zeros(image.shape, bool)
    rounds = search(image, base, masked, mask, limits.sigma, limits.fraction, limits.contrast, limits.rounds)
    return CosmicRays(mask, image, int(rounds))


def _base_variance(image: FloatPlane, variance: FloatPlane) -> FloatPlane:
    """Return the variance without the Poisson noise of each pixel's own light, held above half its median."""
    base = np.maximum(image, np.float32(0))
    np.subtract(variance, base, out=base)
    step = max(len(base) // 128, 1)
    least = max(0.5 * float(np.median(base[::step])), 1e-3 * float(np.median(variance[::step])), 1e-6)
    return np.maximum(base, np.float32(least), out=base)
