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
from scipy.ndimage import binary_dilation, median_filter

from virtualobserver.errors import DataError
from virtualobserver.maths.kernels import use_kernel

__all__ = ["CosmicRays", "CosmicSettings", "find_cosmic_rays"]

FloatPlane = NDArray[np.float32]
BoolPlane = NDArray[np.bool_]
LEAST_FINE = np.float32(0.01)
"""Fine structure below this many standard deviations is none."""
AROUND = np.ones((3, 3), bool)


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
    compiled: bool | None = None,
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
    compiled
        Use the compiled kernel, by default where numba is installed; the result is the same.

    Raises
    ------
    DataError
        If the shapes differ.
    """
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
    if use_kernel(compiled, 4 * image.size):
        from virtualobserver.maths.ccd_cosmics_kernel import search

        mask = np.zeros(image.shape, bool)
        rounds = search(
            image, base, masked, mask, limits.sigma, limits.fraction, limits.contrast, limits.rounds
        )
        return CosmicRays(mask, image, int(rounds))
    return _search(image, base, masked, limits)


def _base_variance(image: FloatPlane, variance: FloatPlane) -> FloatPlane:
    """Return the variance without the Poisson noise of each pixel's own light, held above half its median."""
    base = np.maximum(image, np.float32(0))
    np.subtract(variance, base, out=base)
    step = max(len(base) // 128, 1)
    least = max(0.5 * float(np.median(base[::step])), 1e-3 * float(np.median(variance[::step])), 1e-6)
    return np.maximum(base, np.float32(least), out=base)


# --- NumPy path -------------------------------------------------------------------------------------------


def _search(image: FloatPlane, base: FloatPlane, bad: BoolPlane, limits: CosmicSettings) -> CosmicRays:
    mask = np.zeros(image.shape, bool)
    for done in range(limits.rounds):
        hit = _find(image, base, bad, limits) & ~mask
        if not hit.any():
            return CosmicRays(mask, image, done)
        mask |= hit
        image = _clean(image, mask | bad, mask)
    return CosmicRays(mask, image, limits.rounds)


def _find(image: FloatPlane, base: FloatPlane, bad: BoolPlane, limits: CosmicSettings) -> BoolPlane:
    level = median_filter(image, 5, mode="nearest")
    noise = np.sqrt(base + np.maximum(level, np.float32(0)))
    sharp = laplacian(image) / noise
    excess = sharp - median_filter(sharp, 5, mode="nearest")
    smooth = median_filter(image, 3, mode="nearest")
    fine = (smooth - median_filter(smooth, 7, mode="nearest")) / noise
    seeds = (excess > np.float32(limits.sigma)) & ~bad
    seeds &= excess > np.float32(limits.contrast) * np.maximum(fine, LEAST_FINE)
    beside = binary_dilation(seeds, AROUND) & (excess > np.float32(limits.sigma)) & ~bad
    last = np.float32(limits.sigma * limits.fraction)
    return np.asarray(binary_dilation(beside, AROUND) & (excess > last) & ~bad)


def laplacian(image: FloatPlane) -> FloatPlane:
    """Return the positive part of the Laplacian on a grid twice as fine, binned back.

    On that grid a pixel is four equal ones, each with two neighbours in the pixel itself and two outside, so
    that the sum over its corners can be written down without making the grid. A lone pixel of height h gives h.
    """
    around = np.pad(image, 1, mode="edge")
    twice = image + image
    up, down = twice - around[:-2, 1:-1], twice - around[2:, 1:-1]
    left, right = around[1:-1, :-2], around[1:-1, 2:]
    zero = np.float32(0)
    total = np.maximum(up - left, zero) + np.maximum(up - right, zero)
    total = total + np.maximum(down - left, zero)
    total = total + np.maximum(down - right, zero)
    return np.asarray(total * np.float32(0.125))


def _clean(image: FloatPlane, unusable: BoolPlane, mask: BoolPlane) -> FloatPlane:
    """Put the median of the usable pixels of 5 x 5 in place of those of `mask`; wider where there are none."""
    out = image.copy()
    rows, cols = np.nonzero(mask)
    for y, x in zip(rows.tolist(), cols.tolist(), strict=True):
        for half in (2, 3, 5, 8):
            box = slice(max(y - half, 0), y + half + 1), slice(max(x - half, 0), x + half + 1)
            values = np.sort(image[box][~unusable[box]])
            if values.size:
                below, above = values[(values.size - 1) // 2], values[values.size // 2]
                out[y, x] = np.float32(0.5) * (below + above)
                break
    return out
