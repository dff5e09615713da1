"""Sky beside each trail: a local plane on a ring around it, without the light of other trails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import FWHM_TO_SIGMA
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.track import TrackModel

__all__ = ["TrailSky", "good_pixels", "trail_sky"]

FloatArray = NDArray[np.float64]
INNER: Final = 2.5
"""FWHM from a trail to the inner edge of its ring: a Gaussian has 4e-9 of its light beyond, a Moffat profile of index
3.5 about 1 %."""
WIDTH: Final = 8.0
"""Pixels of the ring: 1300 of them around a trail of 38 pixels, which is an error of 0.035 of one pixel's noise."""
NEIGHBOUR: Final = 1.5
"""FWHM from other trails within which no pixel is sky: 4e-4 of a Gaussian's light is beyond."""
ROUGHLY: Final = 4
"""Of so many pixels of a ring a rough look takes one."""
FEWEST: Final = 30
"""Pixels of a ring with a median to a fifth of their scatter; with fewer there is no sky."""
_FAINT: Final = 0.1
"""Of the noise of a pixel: what a neighbour adds less than is not left out, or crowded fields had no sky."""
_SOME: Final = 40_000
"""Pixels by which the level of a frame is told, some on a grid: to a hundredth of its noise."""
_ZERO: Final = 5.0
"""Noise of a pixel from 0 to the level of the frame, from which on a pixel of exactly 0 is no measurement."""


@dataclass(frozen=True, eq=False)
class TrailSky:
    """Sky of n trails, in the unit of the image; NaN where a ring has too few pixels.

    Parameters
    ----------
    value, error
        At the middle of the trail, per pixel, shape (n,); 1.2533 sigma / sqrt(n_used), as of a median.
    gradient_x, gradient_y
        Per pixel.
    step
        From left to right at the column where the amplifiers meet, 0 if not in the ring or not measured.
    split
        That column, infinite if there is none.
    n_used, n_masked
        Pixels of the ring, and those left out: outside, masked, or near another trail.
    clipped
        Share of the good pixels that were clipped.
    variance
        Of a pixel of the sky by the variance plane, its median.
    x, y
        Middle of the trails.
    annulus
        Shape (pixels, 4): trail, x, y, value of each pixel used, if they were to be kept.
    """

    value: FloatArray
    error: FloatArray
    gradient_x: FloatArray
    gradient_y: FloatArray
    step: FloatArray
    split: float
    n_used: NDArray[np.int64]
    n_masked: NDArray[np.int64]
    clipped: FloatArray
    variance: FloatArray
    x: FloatArray
    y: FloatArray
    annulus: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.value)

    def at(self, trail: int, x: ArrayLike, y: ArrayLike) -> FloatArray:
        """Return the sky of one trail at pixels."""
        dx, dy = np.asarray(x, float) - self.x[trail], np.asarray(y, float) - self.y[trail]
        side = (np.asarray(x, float) >= self.split) * 1.0 - (self.x[trail] >= self.split)
        return np.asarray(
            self.value[trail]
            + self.gradient_x[trail] * dx
            + self.gradient_y[trail] * dy
            + self.step[trail] * side
        )


def good_pixels(image: Array, variance: Array, mask: Array | None = None) -> NDArray[np.bool_]:
    """Return which pixels are measurements: finite, of positive variance, not masked, and no zero of a dead pixel.

    A value of exactly 0 is one only in frames whose level is within five times the noise of 0.

    Raises
    ------
    DataError
        If the planes differ in shape.
    """
    shapes = {np.shape(image), np.shape(variance)} | ({np.shape(mask)} if mask is not None else set())
    if len(shapes) != 1 or np.ndim(image) != 2:
        msg = f"image, variance and mask must be planes of one shape, not {sorted(shapes)}"
        raise DataError(msg)
    good = np.isfinite(image) & np.isfinite(variance) & (np.asarray(variance) > 0)
    if mask is not None:
        good &= np.asarray(mask) == 0
    every = max(int(np.sqrt(good.size / _SOME)), 1)
    some = np.s_[::every, ::every]
    if good[some].any():
        level, noise = (float(np.median(np.asarray(plane)[some][good[some]])) for plane in (image, variance))
        if level > _ZERO * np.sqrt(noise):
            good &= np.asarray(image) != 0
    return np.asarray(good)


def trail_sky(
    image: Array, variance: Array, track: TrackModel, x: ArrayLike, y: ArrayLike, *, fwhm: float,
    mask: Array | None = None, expected: ArrayLike | None = None, inner: float | None = None, width: float = WIDTH,
    split: int | None = None, keep_annulus: bool = False, rough: bool = False, good: NDArray[np.bool_] | None = None,
) -> TrailSky:  # fmt: skip
    """Measure the sky around trails.

    The level is the median of the ring about its own slope, clipped at 3 sigma until nothing changes.

    Parameters
    ----------
    image, variance
        Shape (ny, nx), sky not subtracted; of any kind of number.
    track
        Of the chip.
    x, y
        Of all stars of the chip when the shutter opens, pixels, shape (n,); NaN gives NaN.
    fwhm
        Of the image of a star, pixels.
    mask
        Pixels to leave out, where not 0.
    expected
        Light of each trail in the unit of the image, shape (n,): with it, trails are left out as far as they add more
        than a tenth of the noise of a pixel; without, all within 1.5 FWHM.
    inner
        Pixels from a trail to the inner edge of the ring; 2.5 FWHM by default.
    width
        Of the ring, pixels.
    split
        First column of the second amplifier: each side has its own level.
    keep_annulus
        Keep the pixels used.
    rough
        Look at every fourth pixel: thrice as fast, and twice the error.
    good
        Which pixels are measurements, if `good_pixels` has been asked before; the mask has no part in it then.

    Raises
    ------
    DataError
        If planes or columns differ in shape, or the FWHM is not above 0.
    """
    px, py = (np.atleast_1d(np.asarray(part, float)) for part in (x, y))
    if px.shape != py.shape or px.ndim != 1 or not fwhm > 0:
        msg = f"trails need x and y of one shape and a FWHM above 0, not {px.shape}, {py.shape} and {fwhm}"
        raise DataError(msg)
    if good is None:
        good = good_pixels(image, variance, mask)
    near = INNER * fwhm if inner is None else float(inner)
    sky = np.zeros(good.shape, np.bool_)
    _light(sky, track, px, py, _reach(expected, len(px), variance, good, track, fwhm))
    np.greater(good, sky, out=sky)  # good, and not lit
    return _rings((image, variance, sky), track, (px, py), (near, near + width), split, keep_annulus, rough)


# --- inside -----------------------------------------------------------------------------------------------


def _light(
    lit: NDArray[np.bool_], track: TrackModel, x: FloatArray, y: FloatArray, reach: FloatArray
) -> None:
    """Mark what lies within reach of a trail."""
    from virtualobserver.maths.trails.sky_kernel import paint

    (vx, vy), speed = track.vector, track.speed
    paint(lit, x, y, vx / speed, vy / speed, track.length, reach)


def _rings(  # noqa: PLR0917
    planes: tuple[Array, Array, NDArray[np.bool_]], track: TrackModel,
    places: tuple[FloatArray, FloatArray], radii: tuple[float, float], split: int | None, keep: bool, rough: bool,
) -> TrailSky:  # fmt: skip
    """Return what rings tell; planes are image, variance, and which pixels are sky."""
    from virtualobserver.maths.trails.sky_kernel import ring_sky

    (image, variance, sky), (px, py) = planes, places
    (vx, vy), n = track.vector, len(px)
    ux, uy = vx / track.speed, vy / track.speed
    out, counts = np.full((n, 8), np.nan), np.zeros((n + 1, 2), np.int64)
    room = int(np.pi * radii[1] ** 2 + 2 * track.length * radii[1]) * n if keep else 0
    kept = np.empty((room, 4))
    edge = np.inf if split is None else float(split)
    order = np.arange(n) if keep else np.argsort(py, kind="stable")  # rows that were read lately are at hand
    ring_sky(
        _plain(image), _plain(variance), sky, px, py, ux, uy, track.length, *radii, edge,
        FEWEST, ROUGHLY if rough else 1, order, out, counts, kept, keep,
    )  # fmt: skip
    half = track.length / 2
    return TrailSky(
        out[:, 0], out[:, 1], out[:, 2], out[:, 3], out[:, 4], edge, counts[:n, 0], counts[:n, 1], out[:, 5],
        out[:, 6], px + ux * half, py + uy * half, kept[: counts[-1, 0]].copy() if keep else None,
    )  # fmt: skip


def _plain(plane: Array) -> Array:
    """Return a plane of floats in the byte order of the machine."""
    values = np.asarray(plane)
    single = values.dtype.kind == "f" and values.dtype.itemsize <= 4
    return np.ascontiguousarray(values, np.float32 if single else np.float64)


def _reach(  # noqa: PLR0917
    expected: ArrayLike | None,
    n: int,
    variance: Array,
    good: NDArray[np.bool_],
    track: TrackModel,
    fwhm: float,
) -> FloatArray:
    """Return the pixels to each side of trails that are no sky."""
    if expected is None:
        return np.full(n, NEIGHBOUR * fwhm)
    light = np.broadcast_to(np.asarray(expected, float), (n,))
    noise = np.sqrt(float(np.median(np.asarray(variance)[::4, ::4][good[::4, ::4]]))) if good.any() else 1.0
    sigma = fwhm * FWHM_TO_SIGMA
    peak = np.where(np.isfinite(light), light, 0.0) / (track.length * sigma * np.sqrt(2 * np.pi))
    ratio = np.maximum(peak / (_FAINT * noise), 1.0)
    return np.asarray(np.minimum(sigma * np.sqrt(2 * np.log(ratio)), 2 * NEIGHBOUR * fwhm))
