"""Running medians and percentiles over windows of an image; at borders the image is mirrored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.kernels import sorting_network

__all__ = ["grid_scatter", "window_median", "window_scatter"]

FloatPlane = NDArray[np.float32]
LOW_RANK, HIGH_RANK = 30.9, 69.1
"""Percentiles half a standard deviation below and above the median of a normal distribution."""
CHUNK = 20_000
"""Windows sorted at once: 18 MB for windows of 15 x 15 pixels."""
LARGEST_NETWORK = 225
"""Largest window with a network of its own; chosen, not measured: the code asks for 7 x 7 and 15 x 15 pixels."""


def window_median(image: Array, size: int) -> FloatPlane:
    """Return the median in a window of `size` x `size` pixels around each pixel.

    Parameters
    ----------
    image
        Shape (ny, nx), finite; taken to float32.
    size
        Odd.
    """
    _check(image, size)
    plane = np.ascontiguousarray(image, dtype=np.float32)
    if size * size > LARGEST_NETWORK:
        return np.asarray(median_filter(plane, size, mode="reflect"), dtype=np.float32)
    from virtualobserver.maths.ccd.windows_kernel import network_median

    padded = np.pad(plane, size // 2, mode="symmetric")
    count = size * size
    out = np.empty_like(plane)
    network_median(padded, size, sorting_network(count, (count // 2,)), out)
    return out


def window_scatter(image: FloatPlane, rows: Array, cols: Array, size: int) -> NDArray[np.float64]:
    """Return the robust standard deviation in windows of `size` x `size` pixels around some pixels.

    It is the distance of the percentiles 69.1 and 30.9, one standard deviation of a normal distribution.
    """
    _check(image, size)
    padded = np.pad(image, size // 2, mode="symmetric")
    out = np.empty(len(rows))
    step = np.arange(size)
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        y = rows[part, None, None] + step[:, None]
        x = cols[part, None, None] + step
        values = np.sort(padded[y, x].reshape(len(y), -1), axis=1)
        out[part] = _percentile(values, HIGH_RANK) - _percentile(values, LOW_RANK)
    return out


def grid_scatter(image: FloatPlane, size: int, step: int) -> NDArray[np.float64]:
    """Return `window_scatter` at every `step`-th row and column, shape (ceil(ny/step), ceil(nx/step))."""
    _check(image, size)
    rows, cols = np.arange(0, image.shape[0], step), np.arange(0, image.shape[1], step)
    from virtualobserver.maths.ccd.windows_kernel import network_ranks

    count = size * size
    ranks, weights = [], []
    for percent in (LOW_RANK, HIGH_RANK):
        place = (count - 1) * percent / 100.0
        ranks += [int(place), min(int(place) + 1, count - 1)]
        weights.append(place - int(place))
    padded = np.pad(np.ascontiguousarray(image, np.float32), size // 2, mode="symmetric")
    out = np.empty((len(rows), len(cols)))
    network = sorting_network(count, tuple(ranks))
    network_ranks(padded, size, step, network, np.array(ranks), np.array(weights), out)
    return out


def _percentile(values: Array, percent: float) -> NDArray[np.float64]:
    place = (values.shape[1] - 1) * percent / 100.0
    low = values[:, int(place)].astype(np.float64)
    high = values[:, min(int(place) + 1, values.shape[1] - 1)].astype(np.float64)
    return np.asarray(low + (high - low) * (place - int(place)))


def _check(image: Array, size: int) -> None:
    if image.ndim != 2 or size < 1 or size % 2 == 0:
        msg = f"a window of {size} pixels, which has to be odd, on an array of {image.ndim} axes, not 2"
        raise DataError(msg)
