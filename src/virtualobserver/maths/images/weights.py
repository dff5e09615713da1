"""Variances for weights: what a pixel would scatter by, without the photons that it happens to have caught.

A variance made from a pixel's own counts is small where these are few by chance. Weighted by its inverse, few counts
count for more than many, and sums over pure noise are no longer zero.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.background import Mesh

__all__ = ["photon_slope"]

_SAMPLED: Final = 4
"""Every fourth pixel along each axis: a slope without scatter is known from few."""
_CLIP: Final = 4.0
"""Standard deviations of the sky, beyond which there are stars, and of the variance, beyond which are hot pixels."""
_CERTAIN: Final = 5.0
"""Standard errors of the correlation of light and variance, below which it is chance: the photons of a sky make
hundreds."""
_FEWEST: Final = 20
"""Pixels of a box, below which it takes the slope of the others."""


def photon_slope(signal: Array, variance: Array, *, box: int = 64) -> Mesh | None:
    """Measure by how much the variance of a pixel grows with its own light, in boxes; None if it does not.

    Images in electrons whose variance holds the photons counted have a slope of 1 over the flat; a variance that was
    made otherwise has none. ``variance - slope * signal`` is then that of the smooth sky, the detector and its
    masters.

    Parameters
    ----------
    signal
        Less its sky, shape (ny, nx); NaN = no data.
    variance
        Of the same shape.
    box
        Side of a box, pixels.
    """
    shape = signal.shape
    ny, nx = -(-shape[0] // box), -(-shape[1] // box)
    side = -(-box // _SAMPLED)
    planes = []
    for plane in (signal, variance):
        padded = np.full((ny * box, nx * box), np.nan, np.float32)
        padded[: shape[0], : shape[1]] = plane
        some = padded.reshape(ny, box, nx, box)[:, ::_SAMPLED, :, ::_SAMPLED]
        planes.append(some.swapaxes(1, 2).reshape(ny * nx, side * side).astype(np.float64))
    slope, certain = _slopes(*planes)
    slope = slope.reshape(ny, nx)
    known = np.isfinite(slope)
    if not certain > _CERTAIN or not np.median(slope[known]) > 0:
        return None
    slope = np.where(known, slope, np.median(slope[known]))
    slope = np.maximum(median_filter(slope, 3, mode="nearest"), 0.0)
    return Mesh(slope, np.zeros_like(slope), box, (shape[0], shape[1]))


def _slopes(light: NDArray[np.float64], noise: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the slope of each row by least squares, NaN with too few values, and how certain it is that there is one.

    That is the correlation of all rows together in standard errors.
    """
    good = np.isfinite(light) & np.isfinite(noise)
    for values in (light, noise):
        filled = np.where(good, values, np.nan)
        filled[~good.any(axis=1)] = 0.0
        middle = np.nanmedian(filled, axis=1, keepdims=True)
        spread = MAD_TO_SIGMA * np.nanmedian(np.abs(filled - middle), axis=1, keepdims=True)
        good &= np.abs(np.where(good, values, np.inf) - middle) <= _CLIP * spread
    count = good.sum(axis=1)
    number = np.maximum(count, 1)
    x, y = (
        np.where(good, values - (np.where(good, values, 0.0).sum(axis=1) / number)[:, None], 0.0)
        for values in (light, noise)
    )
    xy, xx, yy = (x * y).sum(axis=1), (x * x).sum(axis=1), (y * y).sum(axis=1)
    enough = count >= _FEWEST
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = xy[enough].sum() / np.sqrt(xx[enough].sum() * yy[enough].sum())
        certain = correlation * np.sqrt(count[enough].sum())
        return np.where(enough, xy / xx, np.nan), float(certain)
