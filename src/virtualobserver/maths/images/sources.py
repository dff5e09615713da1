"""Sources of an image, found by `sep` (Barbary 2016, JOSS 1, 58; Bertin & Arnouts 1996)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import FWHM_TO_SIGMA, MASK_SATURATED
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.background import Background, background

__all__ = ["SourceList", "find_sources"]

FloatArray = NDArray[np.float64]
FloatPlane = NDArray[np.float32]
_FIRST_ROOM: Final = 300_000
"""Of pixels above the threshold at one time, as sep has it; it writes to all of the room, and has more only at need."""
LEAST_VARIANCE: Final = np.float32(1e-12)
"""Keeps a variance of 0 out of divisions; far below that of any detector."""
_LEAST_WINDOW: Final = 0.8
"""Standard deviation of the window of a centre, pixels: below it one pixel decides."""
_WINDOW: Final = 4.0
"""Half width of the window of a centre, in standard deviations of the source; beyond, its weight is below 1e-3."""
_LARGEST_WINDOW: Final = 30
"""Pixels, half width: a bound on the work for the widest things, which are no stars; a bleeding column has 180."""
_WIDEST_FILTERS: Final = 3.0
"""Filter widths a window may have at any rate: chosen, so that stars out of focus keep a window of their own width."""
_LEAST_SLOPE: Final = 0.1
"""Of the light in a window, below which its slope is noise or another source: the error is then a lower limit."""
_BLENDED: Final = 0x01 | 0x02
"""Bits of sep: result of deblending (1), object cut by the edge of the image (2)."""


@dataclass(frozen=True, eq=False)
class SourceList:
    """Sources by falling flux.

    Parameters
    ----------
    x, y
        Windowed centre, pixels from 0 at the middle of the first one.
    flux, flux_error
        In the ellipse of the detection, unit of the image.
    snr
        Flux over its error.
    fwhm
        Of the light's second moments, pixels.
    elongation
        Major over minor axis.
    flags
        Bits of the mask inside the detection.
    blended, truncated
        Whether it was split from another, or touches the edge.
    x_error, y_error
        Standard deviation of the centre, pixels, from the variance of the pixels.
    a, b
        Of the light's second moments along the major and minor axis (standard deviations), pixels.
    theta
        Of the major axis, degrees from the x axis towards the y axis, -90 to 90.
    """

    x: FloatArray
    y: FloatArray
    flux: FloatArray
    flux_error: FloatArray
    snr: FloatArray
    fwhm: FloatArray
    elongation: FloatArray
    flags: NDArray[np.int64]
    blended: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    x_error: FloatArray
    y_error: FloatArray
    a: FloatArray
    b: FloatArray
    theta: FloatArray

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: object) -> SourceList:
        """Return some of the sources: a slice, positions or a boolean array."""
        return SourceList(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def find_sources(
    image: Array,
    variance: Array | None = None,
    *,
    mask: Array | None = None,
    threshold: float = 5.0,  # of a million independent pixels a third of one by chance
    min_area: int = 5,  # as the default of SExtractor once was: a cosmic ray has fewer
    fwhm: float = 2.5,  # chosen: well sampled stars; wider ones lose little
    sky: Background | Array | None = None,
) -> SourceList:
    """Find sources above the background.

    Parameters
    ----------
    image
        Shape (ny, nx), background in it.
    variance
        Of the pixels; by default the scatter of the background.
    mask
        Bits; pixels that are not 0 are not detected on, except saturated ones, which stars have in their middle.
    threshold
        Of a filtered pixel, standard deviations of what the filter makes of the noise.
    min_area
        Least pixels above the threshold.
    fwhm
        Of the filter, pixels; the window of a centre is no narrower.
    sky
        Background, or its level alone if there is a variance, if it is known already.

    Raises
    ------
    DataError
        If there are more sources than can be, which a wrong background or noise makes.

    Notes
    -----
    A pixel counts where sum(k I) > t sqrt(sum(k^2 V)) with the filter k, the good pixels I and their variance V
    around it. Where V is even, this is what SExtractor does at DETECT_THRESH = t sqrt(sum(k^2)) with a filter of
    sum 1. Its noise is that of the pixel alone, which finds false sources beside noisier pixels. The matched filter of
    `sep` asks faint sources a second time, when it parts them, for t times the noise of an unfiltered pixel.
    """
    sep = import_module("sep")
    if isinstance(sky, np.ndarray) and variance is None:
        msg = "of a background's level alone the noise is not known: give the variance, or the background"
        raise DataError(msg)
    level = background(image, mask=mask) if sky is None else sky
    data = np.subtract(image, level if isinstance(level, np.ndarray) else level.level, dtype=np.float32)
    bits = np.zeros(data.shape, np.uint8) if mask is None else np.asarray(mask)
    bad = ~np.isfinite(data)
    if mask is not None:
        bad |= (bits & ~bits.dtype.type(MASK_SATURATED)) != 0
    spread = _spread(level, variance)
    bad |= ~np.isfinite(spread)
    data[bad] = 0  # sep leaves the mask of the first rows aside
    found, segments = _extract(sep, data, spread, bad, line=_line(fwhm), threshold=threshold, least=min_area)
    masked = bad if bad.any() else None  # without a mask sep does less
    return _source_list(sep, (data, spread, masked, bits), found, segments, least=fwhm * FWHM_TO_SIGMA)


# --- inside -----------------------------------------------------------------------------------------------


def _spread(level: Background | Array, variance: Array | None) -> FloatPlane:
    """Return the variance of pixels, above 0: that which is given, itself if it is so already."""
    if variance is None:
        assert not isinstance(level, np.ndarray)
        return np.asarray(level.scatter**2)
    given = np.asarray(variance)
    if given.dtype == np.float32 and given.size and float(np.min(given)) >= LEAST_VARIANCE:
        return given
    return np.asarray(np.maximum(given, LEAST_VARIANCE, dtype=np.float32))


def _extract(
    sep: ModuleType,
    data: FloatPlane,
    variance: FloatPlane,
    bad: NDArray[np.bool_],
    *,
    line: FloatPlane,
    threshold: float,
    least: int,
) -> tuple[Array, Array]:
    """Return the sources of a frame without background, and which pixels are whose, see `find_sources`."""
    from virtualobserver.maths.images.filter_kernel import filtered_noise

    squares = line**2
    noise = filtered_noise(np.ascontiguousarray(variance), bad, squares / squares.sum())
    rooms = _rooms(data.size)
    while True:
        sep.set_extract_pixstack(rooms.pop(0))
        try:
            # sep divides the filter by its sum, and compares with t times the noise: that of the filter is in t
            found: tuple[Array, Array] = sep.extract(
                data, threshold * float(squares.sum() / line.sum() ** 2), err=noise, minarea=least,
                filter_kernel=np.outer(line, line), filter_type="conv", segmentation_map=True,
            )  # fmt: skip
        except Exception as error:
            # anything with a class of its own is a bug of ours, not an overflow of its buffers
            if type(error) is not Exception:
                raise
            if rooms:
                continue
            msg = f"too many sources at {threshold} sigma: is the noise right? ({error})"
            raise DataError(msg) from error
        return found


def _rooms(size: int) -> list[int]:
    """Return how many pixels above the threshold there is room for: at first, and at need, which is for all."""
    return [min(_FIRST_ROOM, size), size]


def _line(fwhm: float) -> FloatPlane:
    """Return a Gaussian along one axis, to two standard deviations."""
    sigma = fwhm * FWHM_TO_SIGMA
    half = max(int(np.ceil(2 * sigma)), 1)
    offset = np.arange(-half, half + 1)
    return np.exp(-0.5 * (offset / sigma) ** 2).astype(np.float32)


def _source_list(
    sep: ModuleType,
    planes: tuple[FloatPlane, FloatPlane, NDArray[np.bool_] | None, Array],
    found: Array,
    segments: Array,
    *,
    least: float,
) -> SourceList:
    data, variance, bad, bits = planes
    order = np.argsort(-found["flux"], kind="stable")
    # pixels: the standard deviation of one pixel alone, 1 / sqrt(12)
    a, b = np.maximum(found["a"], 0.3), np.maximum(found["b"], 0.3)
    sigma = np.sqrt(0.5 * (a**2 + b**2))
    # of a faint source a few pixels are above the threshold; the window is no narrower than the filter that found it,
    # and a dozen things as wide as a saturated column took two thirds of the time of a frame's centres
    least = max(least, _LEAST_WINDOW)
    window = np.clip(sigma, least, max(_LARGEST_WINDOW / _WINDOW, _WIDEST_FILTERS * least))
    x, y, _ = sep.winpos(data, found["x"], found["y"], window, mask=bad)
    lost = ~(np.hypot(x - found["x"], y - found["y"]) < 3)
    x, y = np.where(lost, found["x"], x), np.where(lost, found["y"], y)
    flags = np.zeros(len(found) + 1, np.int64)
    inside = np.flatnonzero(segments != 0)  # a few per cent of the pixels: all that follows is about these
    owner, kinds = segments.ravel()[inside], bits.ravel()[inside]
    marked = kinds != 0
    np.bitwise_or.at(flags, owner[marked], kinds[marked].astype(np.int64))
    weights = variance.ravel()[inside].astype(float)
    error = np.sqrt(np.bincount(owner, weights, minlength=len(found) + 1)[1:])
    flux = found["flux"].astype(float)
    columns = (
        x, y, flux, error, flux / np.maximum(error, 1e-30), sigma / FWHM_TO_SIGMA, a / b, flags[1:],
        (found["flag"] & _BLENDED) != 0, _at_edge(found, data.shape),
        *_centre_errors(data, variance, x, y, window), a, b, np.degrees(found["theta"]),
    )  # fmt: skip
    return SourceList(*(np.asarray(column)[order] for column in columns))


def _centre_errors(
    data: Array, variance: Array, x: FloatArray, y: FloatArray, sigma: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the errors of windowed centres, sum (w n dx)^2 / (sum w I (1 - dx^2 / s^2))^2 with a window of width s.

    The centre is where sum w I dx is 0; the divisor is how quickly that changes with it. For a Gaussian under a
    window of its own width it is half of sum w I, as SExtractor's ERRX2WIN has it for all.
    """
    errors = np.full((2, len(x)), np.nan)
    half = np.clip(np.ceil(_WINDOW * np.nan_to_num(sigma, nan=1.0)), 2, _LARGEST_WINDOW).astype(int)
    known = np.isfinite(x) & np.isfinite(y)
    for size in np.unique(half):  # sources of one width together
        rows = np.flatnonzero((half == size) & known)
        steps = np.arange(-size, size + 1)
        across, down = (
            np.rint(x[rows]).astype(int)[:, None] + steps,
            np.rint(y[rows]).astype(int)[:, None] + steps,
        )
        there = ((across >= 0) & (across < data.shape[1]))[:, None, :] & (
            (down >= 0) & (down < data.shape[0])
        )[:, :, None]
        place = (
            np.clip(down, 0, data.shape[0] - 1)[:, :, None], np.clip(across, 0, data.shape[1] - 1)[:, None, :]
        )  # fmt: skip
        dx, dy = (across - x[rows, None])[:, None, :], (down - y[rows, None])[:, :, None]
        window = np.where(there, np.exp(-0.5 * (dx**2 + dy**2) / sigma[rows, None, None] ** 2), 0.0)
        light, spread = window * data[place], window**2 * variance[place]
        least = np.maximum(_LEAST_SLOPE * light.sum(axis=(1, 2)), 1e-30)
        for axis, away in enumerate((dx, dy)):
            slope = (light * (1 - (away / sigma[rows, None, None]) ** 2)).sum(axis=(1, 2))
            errors[axis, rows] = np.sqrt((spread * away**2).sum(axis=(1, 2))) / np.maximum(slope, least)
    return errors[0], errors[1]


def _at_edge(found: Array, shape: tuple[int, int]) -> NDArray[np.bool_]:
    low = (found["xmin"] <= 0) | (found["ymin"] <= 0)
    return np.asarray(low | (found["xmax"] >= shape[1] - 1) | (found["ymax"] >= shape[0] - 1))
