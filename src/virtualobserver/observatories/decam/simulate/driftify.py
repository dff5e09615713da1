"""Drifting images made of pointed ones: real stars, real detectors, and a motion that is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import shift

from virtualobserver.conventions import MASK_NO_DATA
from virtualobserver.data.image import Image
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.background import Background, background
from virtualobserver.maths.trails.track import TrackModel

__all__ = ["driftify"]

FloatArray = NDArray[np.float64]
SPOILED = 0.1
"""Part of a pixel's light from bad pixels of the pointed image from which it is bad itself."""


def driftify(
    image: Image,
    track: TrackModel,
    weights: ArrayLike,
    *,
    part: Array | None = None,
    rng: np.random.Generator | None = None,
    sky: float | None = None,
) -> Image:
    """Draw out a pointed image as if the telescope had moved.

    The image without its sky is moved along the track in as many steps as there are weights, and added up: a star
    has in all the light it had, times the mean of its weights. Noise is added until it is again that of the image,
    which the adding up had smoothed.

    Parameters
    ----------
    image
        With variance (else from its sky) and mask bits; its world coordinates stay, and name where stars are when
        the shutter opens.
    track
        Of the drift.
    weights : array_like, shape (T,)
        Light curve over the exposure, 1 = unchanged.
    part : ndarray of bool, optional
        Pixels of the pointed image that the light curve is of, such as those of one star; others stay constant.
    rng
        Of the noise; None = none is added.
    sky
        Level of the result, unit of the image; None = that of the image.

    Raises
    ------
    DataError
        If there are no weights, one is not finite, or `part` is not of the image's shape.
    """
    curve = _weights(weights, image, part)
    bad = ~np.isfinite(image.data) if image.mask is None else (image.mask != 0) | ~np.isfinite(image.data)
    data = np.where(bad, 0, image.data).astype(float)
    level = background(data, mask=bad)
    light = np.where(bad, 0.0, data - level.level)
    variance = _variance(image, level)
    changing = np.ones(light.shape, bool) if part is None else np.asarray(part, bool)
    (vx, vy), n = track.vector, len(curve)
    out, spoiled = np.zeros(light.shape), np.zeros(light.shape)
    for number, weight in enumerate(curve):
        time = (number + 0.5) / n * track.exptime
        move = vy * time, vx * time
        now = np.where(changing, weight * light, light) / n
        out += shift(now, move, order=3, mode="constant")
        spoiled += shift(bad.astype(float), move, order=1, mode="constant", cval=1.0) / n
    # n steps of one pixel or less: neighbours in time share pixels, so that of the noise this much is left
    smoothed = _left(track, n)
    total = _drawn(variance, track, n)
    if rng is not None:
        out += rng.normal(0, 1, out.shape) * np.sqrt(np.maximum(total * (1 - smoothed), 0))
    mask = np.where(spoiled > SPOILED, MASK_NO_DATA, 0).astype(np.uint16)
    out += level.median_level if sky is None else sky
    return Image(out.astype(np.float32), total.astype(np.float32), mask, image.header, image.unit)


# --- inside -----------------------------------------------------------------------------------------------


def _weights(weights: ArrayLike, image: Image, part: Array | None) -> FloatArray:
    """Return the light curve, shape (T,), if it and the pixels it is of are such as can be drawn out."""
    curve = np.atleast_1d(np.asarray(weights, float))
    if curve.ndim != 1 or not curve.size or not np.isfinite(curve).all():
        msg = f"an image is drawn out with finite weights of shape (T,), not {curve.shape}"
        raise DataError(msg)
    if part is not None and np.shape(part) != image.data.shape:
        msg = f"part has shape {np.shape(part)}, the image {image.data.shape}"
        raise DataError(msg)
    return curve


def _variance(image: Image, sky: Background) -> FloatArray:
    """Return the variance of the pixels, that of the sky where the image has none."""
    own = sky.scatter.astype(float) ** 2 if image.variance is None else np.asarray(image.variance, float)
    return np.where(np.isfinite(own) & (own > 0), own, sky.median_scatter**2)


def _left(track: TrackModel, n: int) -> float:
    """Return the part of white noise that is left after it was drawn out, measured on noise."""
    (vx, vy) = track.vector
    size = int(np.ceil(track.length)) + 40
    noise = np.random.default_rng(0).normal(0, 1, (64, size) if abs(vx) >= abs(vy) else (size, 64))
    out = np.zeros(noise.shape)
    for number in range(n):
        time = (number + 0.5) / n * track.exptime
        out += shift(noise, (vy * time, vx * time), order=3, mode="wrap") / n
    return float(out.var())


def _drawn(variance: FloatArray, track: TrackModel, n: int) -> FloatArray:
    """Return the variance of the drawn-out image: the photons of a star lie along its trail as its light does."""
    base = float(np.median(variance))
    extra = np.maximum(variance - base, 0)
    (vx, vy) = track.vector
    out = np.zeros(variance.shape)
    for number in range(n):
        time = (number + 0.5) / n * track.exptime
        out += shift(extra, (vy * time, vx * time), order=1, mode="constant") / n
    return np.asarray(base + out)
