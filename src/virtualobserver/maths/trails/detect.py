"""Trails of one length and direction in an image: where their middles are, how bright they are, what is none.

The filter is a line along the track times a Gaussian across it, each weighed by the variance of the pixels, so that
what lies on dead pixels is measured on the others. Columns are first moved by whole pixels until trails lie along
the rows; no pixel is mixed with another, and the noise stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d, maximum_filter1d, uniform_filter1d

from virtualobserver.conventions import FWHM_TO_SIGMA
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.background import background
from virtualobserver.maths.trails.track import TrackModel

__all__ = ["TrailList", "find_trails"]

FloatArray = NDArray[np.float64]
FloatPlane = NDArray[np.float32]
_COVERED: Final = 0.5
"""Of the filter's weight that must lie on good pixels: with less, a trail is a guess."""
_EVEN: Final = 0.3
"""Least light of each third of a trail, of the mean of all: a flash or a cosmic ray is in one of them alone.
A star that goes out for a seventh of the exposure keeps 0.57."""


@dataclass(frozen=True, eq=False)
class TrailList:
    """Trails by falling flux.

    Parameters
    ----------
    x, y
        Middle of the trail, pixels from 0 at the middle of the first one.
    flux, flux_error
        Of all of the trail, unit of the image.
    snr
        Flux over its error.
    """

    x: FloatArray
    y: FloatArray
    flux: FloatArray
    flux_error: FloatArray
    snr: FloatArray

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: object) -> TrailList:
        """Return some of the trails: a slice, positions or a boolean array."""
        return TrailList(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def find_trails(
    image: Array,
    variance: Array,
    track: TrackModel,
    *,
    fwhm: float,
    mask: Array | None = None,
    threshold: float = 7.0,
) -> TrailList:
    """Find trails.

    Parameters
    ----------
    image
        Shape (ny, nx), sky subtracted.
    variance
        Of its pixels; the light of stars may be in it, and is not made use of.
    track
        Length and direction of trails.
    fwhm
        Of the image of a star across its trail, pixels.
    mask
        Pixels to leave out, where not 0; those that are not finite or have no variance are left out as well.
    threshold
        Least signal over noise of a whole trail.

    Raises
    ------
    DataError
        If image and variance are not of one shape, or the FWHM is not above 0.
    """
    if np.ndim(image) != 2 or np.shape(image) != np.shape(variance) or not fwhm > 0:
        msg = (
            f"trails are found in an image with a variance of its shape and a FWHM above 0, "
            f"not in {np.shape(image)}, {np.shape(variance)} and {fwhm}"
        )
        raise DataError(msg)
    signal, weight = _weighed(image, variance, mask)
    vx, vy = track.vector
    turned = abs(vy) > abs(vx)
    if turned:
        signal, weight, vx, vy = signal.T, weight.T, vy, vx
    slope = vy / vx
    signal, weight, low = _sheared(signal, weight, slope)
    cosine = 1 / float(np.hypot(1, slope))
    length, sigma = track.length * cosine, fwhm * FWHM_TO_SIGMA / cosine
    flux, info = _filtered(signal, weight, length, sigma)
    rows, cols = _peaks(flux, info, length, sigma, threshold)
    good = _even((signal, weight), (rows, cols), length, sigma)
    rows, cols = rows[good], cols[good]
    x, y = _centres(flux, rows, cols, length)
    y += low + np.rint(slope * cols) + slope * (x - cols)
    value, error = flux[rows, cols].astype(float), 1 / np.sqrt(info[rows, cols].astype(float))
    places = (y, x) if turned else (x, y)
    order = np.argsort(-value, kind="stable")
    return TrailList(*(column[order] for column in (*places, value, error, value / error)))


# --- inside -----------------------------------------------------------------------------------------------


def _weighed(image: Array, variance: Array, mask: Array | None) -> tuple[FloatPlane, FloatPlane]:
    """Return the image over the variance of its sky, and one over that variance; both 0 where there is nothing.

    With the light of the stars in their own variance the middle of a bright trail would count least, and its
    halo as much as itself.
    """
    good = np.isfinite(image) & np.isfinite(variance) & (np.asarray(variance) > 0)
    if mask is not None:
        good &= np.asarray(mask) == 0
    weight = np.zeros(np.shape(image), np.float32)
    if good.any():
        np.divide(1, background(np.asarray(variance), mask=~good).level, out=weight, where=good)
    return np.where(good, image, 0).astype(np.float32) * weight, weight


def _sheared(signal: FloatPlane, weight: FloatPlane, slope: float) -> tuple[FloatPlane, FloatPlane, int]:
    """Move columns by whole pixels so that lines of a slope lie along rows; the rows begin at the third value."""
    ny, nx = signal.shape
    shift = np.rint(slope * np.arange(nx)).astype(int)
    low, high = -int(shift.max()), -int(shift.min())
    if low == high == 0:
        return signal, weight, 0
    out = np.zeros((2, ny + high - low, nx), np.float32)
    edges = np.flatnonzero(np.diff(shift)) + 1
    for start, stop in zip([0, *edges], [*edges, nx], strict=True):  # columns of one shift together
        top = -int(shift[start]) - low
        out[0, top : top + ny, start:stop] = signal[:, start:stop]
        out[1, top : top + ny, start:stop] = weight[:, start:stop]
    return out[0], out[1], low


def _odd(length: float) -> int:
    """Return the nearest odd number: an even line has its middle between two pixels."""
    return 2 * max(round((length - 1) / 2), 0) + 1


def _profile(sigma: float) -> FloatArray:
    half = max(int(np.ceil(3 * sigma)), 1)
    line = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return np.asarray(line / line.sum())


def _across(plane: FloatPlane, line: FloatArray) -> FloatPlane:
    return np.asarray(correlate1d(plane, line, axis=0, mode="constant"), np.float32)


def _along(plane: FloatPlane, size: int) -> FloatPlane:
    return np.asarray(uniform_filter1d(plane, size, axis=1, mode="constant"), np.float32)


def _filtered(
    signal: FloatPlane, weight: FloatPlane, length: float, sigma: float
) -> tuple[FloatPlane, FloatPlane]:
    """Return the flux of a trail about each pixel and its inverse variance, 0 where too little of it is good."""
    line, size = _profile(sigma), _odd(length)
    # the mean over the line is the sum under a line of light 1; squared once more for the information
    top, info = _along(_across(signal, line), size), _along(_across(weight, line**2), size) / np.float32(size)
    typical = np.median(info[::8, ::8][info[::8, ::8] > 0]) if np.any(info[::8, ::8] > 0) else 1.0
    info[info < _COVERED * typical] = 0
    flux = np.zeros_like(top)
    np.divide(top, info, out=flux, where=info > 0)
    return flux, info


def _peaks(
    flux: FloatPlane, info: FloatPlane, length: float, sigma: float, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the highest pixels of their surroundings that are above the threshold."""
    ratio = flux * np.sqrt(info)
    reach = 2 * max(round(1.5 * sigma), 1) + 1, 2 * max(round(length / 3), 1) + 1
    highest = maximum_filter1d(maximum_filter1d(ratio, reach[1], axis=1), reach[0], axis=0)
    rows, cols = np.nonzero((ratio == highest) & (ratio > threshold))
    order = np.argsort(-flux[rows, cols], kind="stable")
    return rows[order], cols[order]


def _even(
    planes: tuple[FloatPlane, FloatPlane],
    peaks: tuple[NDArray[np.int64], NDArray[np.int64]],
    length: float,
    sigma: float,
) -> NDArray[np.bool_]:
    """Return whether each third of a trail has its share of the light."""
    rows, cols = peaks
    size = _odd(length / 3)
    half, line = len(_profile(sigma)) // 2, _profile(sigma)
    steps = np.arange(-half, half + 1)
    padded = [np.pad(plane, ((half, half), (2 * size, 2 * size))) for plane in planes]
    thirds = []
    for middle in (-size, 0, size):
        span = middle + np.arange(size) - size // 2
        place: Any = (
            (rows + half)[:, None, None] + steps[:, None],
            (cols + 2 * size)[:, None, None] + span,
        )
        light = np.einsum("nij,i->n", padded[0][place].astype(float), line)
        known = np.einsum("nij,i->n", padded[1][place].astype(float), line**2)
        thirds.append(np.where(known > 0, light / np.maximum(known, 1e-30), np.nan))
    share = np.array(thirds)
    known = np.isfinite(share)
    mean = np.where(known, share, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.asarray(np.where(known, share, np.inf).min(axis=0) > _EVEN * mean)


def _centres(
    flux: FloatPlane, rows: NDArray[np.int64], cols: NDArray[np.int64], length: float
) -> tuple[FloatArray, FloatArray]:
    """Return the vertex of parabolas through a peak: across from next pixels, along from where it has come down."""
    step = max(round(length / 8), 1)
    y = rows + _vertex(flux, rows, cols, (1, 0))
    return cols + step * _vertex(flux, rows, cols, (0, step)), y


def _vertex(
    flux: FloatPlane, rows: NDArray[np.int64], cols: NDArray[np.int64], step: tuple[int, int]
) -> FloatArray:
    ny, nx = flux.shape
    down, right = step
    inside = (rows >= down) & (rows < ny - down) & (cols >= right) & (cols < nx - right)
    before, after = (
        flux[np.clip(rows + s * down, 0, ny - 1), np.clip(cols + s * right, 0, nx - 1)].astype(float)
        for s in (-1, 1)
    )
    bend = before - 2 * flux[rows, cols] + after
    move = np.zeros(len(rows))
    np.divide(0.5 * (before - after), bend, out=move, where=inside & (bend < 0))
    return np.clip(move, -1, 1)
