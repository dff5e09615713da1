"""Cosmic rays in a single frame, by the sharpness of their edges.

P. G. van Dokkum, 2001, PASP 113, 1420: a Laplacian of the image on a grid twice as fine, kept where positive,
is compared with the noise, its own local median (which sampling of stars leaves) is taken off, and what is not
sharp against the fine structure of the image, as stars are not, is kept out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array

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

    sigma: float = 4.5  # this and the next three as astroscrappy has them (L.A.Cosmic, van Dokkum 2001)
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
    data: Array,
    variance: Array,
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
    from virtualobserver.maths.ccd.cosmics_kernel import prepare, search

    image = np.array(data, dtype=np.float32)
    noise = np.require(variance, np.float32, ["W"])  # a kernel is compiled for each kind of array
    masked = np.zeros(image.shape, bool) if bad is None else np.array(bad, dtype=bool)
    if image.ndim != 2 or noise.shape != image.shape or masked.shape != image.shape:
        msg = f"image {image.shape}, variance {noise.shape} and bad pixels {masked.shape} differ in shape"
        raise DataError(msg)
    limits = settings or CosmicSettings()
    base = np.empty_like(image)
    prepare(image, noise, _least_variance(image, noise), base, masked)
    mask = np.zeros(image.shape, bool)
    known = [np.zeros(image.shape, np.float32) for _ in range(4)]  # unlike zeros_like, not written to yet
    rounds = search(
        image, base, masked, mask, (known[0], known[1], known[2]), known[3], np.zeros(image.shape, bool),
        limits.sigma, limits.fraction, limits.contrast, limits.rounds,
    )  # fmt: skip
    return CosmicRays(mask, image, int(rounds))


def _least_variance(image: FloatPlane, variance: FloatPlane) -> float:
    """Return half the median variance without the light's own: no pixel can be much quieter than the read noise."""
    step = max(len(image) // 128, 1)  # 128 rows give the median to a thousandth
    some, light = variance[::step], np.maximum(image[::step], np.float32(0))
    good = np.isfinite(some) & np.isfinite(light)
    if not good.any():
        return 1e-6
    base, whole = some[good] - light[good], some[good]
    return max(0.5 * float(np.median(base)), 1e-3 * float(np.median(whole)), 1e-6)
