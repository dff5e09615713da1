"""Background of an image on a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, maximum_filter, median_filter, zoom

from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array

__all__ = [
    "Background",
    "Mesh",
    "PlainBackground",
    "background",
    "background_level",
    "background_mesh",
    "source_free",
    "take_background",
]

FloatPlane = NDArray[np.float32]
ROUNDS = 5
"""Most rounds of clipping; chosen, not measured."""
CLIP = 3.0
"""Standard deviations; as in SExtractor, whose mode formula is fitted to it."""
SOURCE_SIGMA, SOURCE_PIXELS, SOURCE_REACH = 2.0, 5, 11
"""Of what is a source to `source_free`: standard deviations, pixels, and the side of the square it is widened by."""
CROWDED = 0.3
"""Where mean and median are apart by more than this part of the scatter, the mode is not trusted."""


@dataclass(frozen=True, eq=False)
class Background:
    """Level and robust scatter per pixel, shape of the image, and their medians over the frame."""

    level: FloatPlane
    scatter: FloatPlane
    median_level: float
    median_scatter: float


@dataclass(frozen=True, eq=False)
class Mesh:
    """Level and robust scatter of each box, shape (rows of boxes, columns of boxes), of an image of `shape`."""

    level: NDArray[np.float64]
    scatter: NDArray[np.float64]
    box: int
    shape: tuple[int, int]

    def at(self, rows: slice, cols: slice) -> FloatPlane:
        """Return the level of a box of pixels by cubic splines, without that of all others."""
        up, across = (
            _spline(count, self.box)[:size] for count, size in zip(self.level.shape, self.shape, strict=True)
        )
        return np.ascontiguousarray(up[rows] @ self.level @ across[cols].T, dtype=np.float32)


@dataclass(frozen=True)
class PlainBackground:
    """Mean, median and standard deviation of the pixels without sources, and the median distance of all from it."""

    mean: float
    median: float
    sd: float
    mad: float


def source_free(image: Array) -> PlainBackground:
    """Measure the background of a whole image by clipped statistics of the pixels that no source is near.

    A source is at least 5 connected pixels more than 2 standard deviations above the mean, and what lies within 5
    pixels of them. Everything is clipped at 3 standard deviations about the median, five times at most. The median
    of absolute deviations (`mad`, not scaled) is that of all pixels, sources too. NaN where nothing is left.
    """
    finite = np.isfinite(image)
    mean, _, sd = _clipped(image[finite])
    above = np.where(finite, image, -np.inf) > mean + SOURCE_SIGMA * sd
    marks, count = label(above, structure=np.ones((3, 3)))
    large = np.bincount(marks.ravel(), minlength=count + 1) >= SOURCE_PIXELS
    large[0] = False
    near = maximum_filter(large[marks], size=SOURCE_REACH, mode="constant", cval=0)
    mean, median, sd = _clipped(image[finite & ~near])
    mad = float(np.median(np.abs(image[finite] - median))) if finite.any() else float("nan")
    return PlainBackground(mean, median, sd, mad)


def _clipped(values: Array) -> tuple[float, float, float]:
    """Return mean, median and standard deviation after clipping; NaN of nothing."""
    kept = np.sort(values, axis=None).astype(np.float64)
    if not kept.size:
        return float("nan"), float("nan"), float("nan")
    for _ in range(ROUNDS):
        reach = CLIP * float(kept.std())
        middle = float(kept[(kept.size - 1) // 2 : kept.size // 2 + 1].mean())
        first, last = (
            np.searchsorted(kept, middle - reach),
            np.searchsorted(kept, middle + reach, side="right"),
        )
        if last - first == kept.size:
            break
        kept = kept[first:last]
    return (
        float(kept.mean()),
        float(kept[(kept.size - 1) // 2 : kept.size // 2 + 1].mean()),
        float(kept.std()),
    )


# box and smooth as sep and SExtractor have them
def background(image: Array, *, mask: Array | None = None, box: int = 64, smooth: int = 3) -> Background:
    """Measure the background in boxes, smooth over boxes and interpolate, as `sep` does.

    In each box values are clipped at 3 sigma about the median until nothing changes; the level is the mode
    2.5 median - 1.5 mean where the box is not crowded, else the median (Bertin & Arnouts 1996, A&AS 117, 393).

    Parameters
    ----------
    image
        Shape (ny, nx).
    mask
        Pixels to leave out, where not 0.
    box
        Side of a box, pixels; a box without good pixels takes the value of its neighbours.
    smooth
        Side of the median over boxes; odd.

    Raises
    ------
    DataError
        If it is no image, or there is no good pixel.
    """
    found = _measured(image, mask, box, smooth)
    level, scatter = found.back(dtype=np.float32), found.rms(dtype=np.float32)
    return Background(level, scatter, float(found.globalback), float(found.globalrms))


def background_level(
    image: Array, *, mask: Array | None = None, box: int = 64, smooth: int = 3
) -> FloatPlane:
    """Return the level of `background` alone: a plane less, of frames of which many are in memory at once.

    Parameters and errors are those of `background`. The plane is the caller's to write to.
    """
    return np.asarray(_measured(image, mask, box, smooth).back(dtype=np.float32))


def take_background(image: FloatPlane, *, mask: Array | None = None, box: int = 64, smooth: int = 3) -> None:
    """Take the level of `background` from an image in single precision, in its place: without a plane of its own.

    Parameters and errors are those of `background`.
    """
    if image.dtype != np.float32 or not image.flags.c_contiguous or not image.flags.writeable:
        msg = f"a background is taken from a whole, writeable plane of float32, not from one of {image.dtype}"
        raise DataError(msg)
    _measured(image, mask, box, smooth).subfrom(image)


def _measured(image: Array, mask: Array | None, box: int, smooth: int) -> Any:
    """Return the background as `sep` has it."""
    sep = import_module("sep")
    values = np.require(image, np.float32, ["C", "W"])  # sep takes no read-only buffers
    if values.ndim != 2 or box < 2:
        msg = f"a background in boxes of {box} pixels needs an image, not an array of shape {values.shape}"
        raise DataError(msg)
    bad = ~np.isfinite(values)
    if mask is not None:
        bad |= mask if np.asarray(mask).dtype == bool else np.asarray(mask) != 0
    if bad.all():  # sep answers 0, and a scatter of 0, without a word
        msg = "there is no good pixel to measure the background on"
        raise DataError(msg)
    return sep.Background(values, mask=bad, bw=box, bh=box, fw=smooth, fh=smooth)


def background_mesh(image: Array, *, mask: Array | None = None, box: int = 64, smooth: int = 3) -> Mesh:
    """Measure the background in boxes and keep the boxes, of which any part of the image can be made.

    `sep` gives whole planes only, and a night searched in tiles has no room for one of each frame. Parameters and
    errors are those of `background`.
    """
    values = np.array(image, dtype=np.float32)
    if values.ndim != 2 or box < 2:
        msg = f"a background in boxes of {box} pixels needs an image, not an array of shape {values.shape}"
        raise DataError(msg)
    if mask is not None:
        values[np.asarray(mask) != 0] = np.nan
    values[~np.isfinite(values)] = np.nan
    shape = values.shape
    ny, nx = -(-shape[0] // box), -(-shape[1] // box)
    padded = np.full((ny * box, nx * box), np.nan, np.float32)
    padded[: shape[0], : shape[1]] = values
    boxes = padded.reshape(ny, box, nx, box).swapaxes(1, 2).reshape(ny * nx, box * box)
    level, scatter = _boxes(boxes)
    if not np.isfinite(level).any():
        msg = "there is no good pixel to measure the background on"
        raise DataError(msg)
    level, scatter = (_fill(grid.reshape(ny, nx)) for grid in (level, scatter))
    if smooth > 1:
        level = median_filter(level, smooth, mode="nearest")
        scatter = median_filter(scatter, smooth, mode="nearest")
    return Mesh(level, scatter, box, (shape[0], shape[1]))


def _boxes(boxes: FloatPlane) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = np.sort(boxes, axis=1)  # NaN last
    count = np.isfinite(values).sum(axis=1)
    lo, hi = np.zeros_like(count), count.copy()
    row = np.arange(len(values))
    number = np.arange(values.shape[1])
    sums = np.cumsum(np.where(np.isfinite(values), values, 0).astype(np.float64), axis=1)
    squares = np.cumsum(np.where(np.isfinite(values), values, 0).astype(np.float64) ** 2, axis=1)
    last = values.shape[1] - 1

    def part(total: NDArray[np.float64]) -> NDArray[np.float64]:
        top = np.where(hi > 0, total[row, np.minimum(np.maximum(hi - 1, 0), last)], 0.0)
        return np.asarray(top - np.where(lo > 0, total[row, np.maximum(lo - 1, 0)], 0.0))

    median = mean = scatter = np.full(len(values), np.nan)
    for _ in range(ROUNDS):
        n = np.maximum(hi - lo, 1)
        below = values[row, np.minimum(lo + (n - 1) // 2, last)].astype(np.float64)
        above = values[row, np.minimum(lo + n // 2, last)].astype(np.float64)
        median = 0.5 * (below + above)
        mean = part(sums) / n
        scatter = np.sqrt(np.maximum(part(squares) / n - mean**2, 0.0))
        kept = (number >= lo[:, None]) & (number < hi[:, None])
        low = (values < (median - CLIP * scatter)[:, None]) & kept
        high = (values > (median + CLIP * scatter)[:, None]) & kept
        if not low.any() and not high.any():
            break
        lo, hi = lo + low.sum(axis=1), hi - high.sum(axis=1)
    calm = np.abs(mean - median) < CROWDED * scatter
    level = np.where(calm, 2.5 * median - 1.5 * mean, median)
    empty = count < 0.1 * values.shape[1]
    return np.where(empty, np.nan, level), np.where(empty, np.nan, scatter)


def _fill(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give boxes without value the mean of their neighbours', spreading outwards."""
    filled = grid.copy()
    while not (known := np.isfinite(filled)).all():
        around = np.pad(np.where(known, filled, 0.0), 1)
        number = np.pad(known.astype(float), 1)
        total, weight = np.zeros_like(filled), np.zeros_like(filled)
        for dy in range(3):
            for dx in range(3):
                cut = slice(dy, dy + filled.shape[0]), slice(dx, dx + filled.shape[1])
                total, weight = total + around[cut], weight + number[cut]
        filled = np.where(~known & (weight > 0), total / np.maximum(weight, 1), filled)
    return filled


@lru_cache(maxsize=16)
def _spline(count: int, box: int) -> NDArray[np.float64]:
    """Return the matrix, shape (count * box, count), from values of boxes to values of pixels."""
    if count == 1:
        return np.ones((box, 1))
    unit = np.eye(count)
    columns = [
        zoom(column, box, order=3 if count > 3 else 1, mode="nearest", grid_mode=True) for column in unit
    ]
    return np.stack(columns, axis=1)
