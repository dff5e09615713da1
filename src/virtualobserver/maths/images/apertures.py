"""Light of an image in circles and ellipses, over the sky about them; sums are those of `sep`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import MASK_HALO, MASK_HOT, MASK_LOW_FLAT, MASK_NONLINEAR, MASK_SATURATED
from virtualobserver.maths.arrays import Array

__all__ = ["AperturePhotometry", "measure_apertures", "measure_trails"]

FloatArray = NDArray[np.float64]
TOLERATED: Final = MASK_SATURATED | MASK_NONLINEAR | MASK_HOT | MASK_HALO | MASK_LOW_FLAT
"""Bits of pixels whose values are light all the same, if not all of it."""
_TRUNCATED: Final = 0x10
"""Bit of `sep`: the aperture is cut by the edge of the image."""
_PLACES: Final = 2000
"""Places whose rings are sorted at once: some megabytes."""
_EXACT: Final = 0
"""For `sep`: shares of pixels as they are. Sampled five times across, as it has it by default, the area of a circle
of two pixels is wrong by 0.6 %: over a sky of 900 electrons by two thirds of their noise, and it grows faster."""
_HALF_DIAGONAL: Final = 0.5**0.5
"""Of a pixel, pixels: no pixel whose middle is in a ring reaches farther out of it."""


@dataclass(frozen=True, eq=False)
class AperturePhotometry:
    """Sums over circles: flux and error in the image's unit, sky per pixel, mask bits inside, area (pixels)."""

    flux: FloatArray
    flux_error: FloatArray
    sky: FloatArray
    flags: NDArray[np.int64]
    area: FloatArray


def measure_apertures(
    image: Array,
    variance: Array,
    x: ArrayLike,
    y: ArrayLike,
    *,
    radii: Sequence[float],
    annulus: tuple[float, float] | None = None,
    mask: Array | None = None,
    tolerate: int = TOLERATED,
) -> list[AperturePhotometry]:
    """Sum circles of several radii around positions, with one sky.

    Parameters
    ----------
    variance
        Of the pixels; the error of the sky is added.
    radii
        Pixels.
    annulus
        Inner and outer radius (pixels) of the ring whose median is the sky; None = the image has no sky.
    mask
        Bits, which are reported for each circle.
    tolerate
        Bits of pixels whose values are used; those with any other are replaced by the mean of the circle. A hot
        pixel is good once its dark is subtracted, and its variance knows of it.
    """
    circles = [np.asarray(radius, float) for radius in radii]
    return _sum_circles(image, variance, (x, y), circles, annulus=annulus, mask=mask, tolerate=tolerate)


def measure_trails(
    image: Array,
    variance: Array,
    x: ArrayLike,
    y: ArrayLike,
    *,
    radius: float,
    length: ArrayLike | None = None,
    theta: ArrayLike | None = None,
    annulus: tuple[float, float] | None = None,
    mask: Array | None = None,
    tolerate: int = TOLERATED,
) -> AperturePhotometry:
    """Sum ellipses with half axes of `radius` + `length` / 2 and `radius` around positions: circles without a trail.

    Parameters
    ----------
    radius
        Pixels.
    length, theta : array_like, shape (n,)
        Of the trails, pixels, and degrees from the x axis towards the y axis.
    annulus, mask, tolerate
        As in `measure_apertures`.
    """
    long = np.zeros(np.size(x)) if length is None else np.asarray(length, float)
    angle = np.zeros(np.size(x)) if theta is None else np.asarray(theta, float)
    radii = [np.full(np.size(x), float(radius))]
    (found,) = _sum_circles(
        image, variance, (x, y), radii, annulus=annulus, mask=mask, tolerate=tolerate, trails=(long, angle)
    )
    return found


# --- inside -----------------------------------------------------------------------------------------------


def _sum_circles(
    image: Array,
    variance: Array,
    places: tuple[ArrayLike, ArrayLike],
    radii: Sequence[FloatArray],
    *,
    annulus: tuple[float, float] | None,
    mask: Array | None,
    tolerate: int,
    trails: tuple[FloatArray, FloatArray] | None = None,
) -> list[AperturePhotometry]:
    from virtualobserver.maths.images.aperture_kernel import circle_bits

    sep = import_module("sep")
    data = np.require(image, np.float32, ["C", "W"])  # sep takes no read-only buffers
    bits = None if mask is None or not np.any(mask) else np.ascontiguousarray(mask, np.int32)
    bad = ~np.isfinite(data)
    if bits is not None:
        bad |= (bits & ~np.int32(tolerate)) != 0
    noise = np.maximum(np.ascontiguousarray(variance, np.float32), 0)
    np.sqrt(noise, out=noise)
    px, py = (np.atleast_1d(np.asarray(values, float)) for values in places)
    inside = (px > -0.5) & (px < data.shape[1] - 0.5) & (py > -0.5) & (py < data.shape[0] - 0.5)
    level, level_error = np.zeros(len(px)), np.zeros(len(px))
    if annulus is not None:
        level, level_error = _ring_sky(data, bad, px, py, annulus)
    found = []
    for radius in radii:
        r = np.broadcast_to(radius, px.shape).astype(float)
        if trails is None:
            flux, error, kinds = sep.sum_circle(data, px, py, r, err=noise, mask=bad, subpix=_EXACT)
            area = np.pi * r**2
        else:
            long, angle = r + trails[0] / 2, np.radians((trails[1] + 90) % 180 - 90)
            flux, error, kinds = sep.sum_ellipse(
                data, px, py, long, r, angle, r=1.0, err=noise, mask=bad, subpix=_EXACT
            )
            area = np.pi * r * long
        broken = ~inside | ((kinds & _TRUNCATED) != 0)
        flux = np.where(broken, np.nan, flux - level * area)
        error = np.where(broken, np.nan, np.hypot(error, level_error * area))
        flags = np.zeros(len(px), np.int64) if bits is None else circle_bits(bits, px, py, r)
        found.append(AperturePhotometry(flux, error, level, flags, area))
    return found


def _ring_sky(
    data: Array, bad: NDArray[np.bool_], x: FloatArray, y: FloatArray, annulus: tuple[float, float]
) -> tuple[FloatArray, FloatArray]:
    """Return the clipped median of a ring about each place and its error.

    Neighbours in the ring are clipped, not modelled.
    """
    from virtualobserver.maths.images.aperture_kernel import clipped_level, ring_values

    inner, outer = (float(radius) for radius in annulus)
    level, error = np.empty(len(x)), np.empty(len(x))
    room = math.ceil(np.pi * ((outer + _HALF_DIAGONAL) ** 2 - max(inner - _HALF_DIAGONAL, 0.0) ** 2))
    values = np.empty((min(len(x), _PLACES), room), np.float32)
    for first in range(0, len(x), _PLACES):
        some = slice(first, first + _PLACES)
        rows = values[: len(x[some])]
        number = ring_values(data, bad, x[some], y[some], inner, outer, rows)
        used = rows[:, : max(number.max(), 1)]
        used.sort(axis=1)
        level[some], error[some] = clipped_level(used, number)
    return level, error
