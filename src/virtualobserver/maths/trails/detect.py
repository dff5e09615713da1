"""Trails of one length and direction in an image: where their middles are, how bright they are, what is none.

The filter is a line along the track times a Gaussian across it, each weighed by the variance of the pixels, so that
what lies on dead pixels is measured on the others. Columns are first moved by whole pixels until trails lie along
the rows; no pixel is mixed with another, and the noise stays what it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from virtualobserver.conventions import FWHM_TO_SIGMA
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.background import background_level
from virtualobserver.maths.trails.track import TrackModel

__all__ = ["TrailList", "find_trails"]

FloatArray = NDArray[np.float64]
FloatPlane = NDArray[np.float32]
_BAND: Final = 256
"""Rows filtered at once: with a dozen planes of them 25 MB on a chip of 2046 columns."""
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
    planes = np.asarray(image), _weights(image, variance, mask)
    vx, vy = track.vector
    turned = abs(vy) > abs(vx)
    if turned:
        planes, vx, vy = (planes[0].T, planes[1].T), vy, vx
    slope = vy / vx
    cosine = 1 / float(np.hypot(1, slope))
    form = _Form(track.length * cosine, fwhm * FWHM_TO_SIGMA / cosine)
    columns = np.concatenate(_found(_Sheared(*planes, slope), form, threshold), axis=1)
    places = columns[1::-1] if turned else columns[:2]
    order = np.argsort(-columns[2], kind="stable")
    return TrailList(*(column[order] for column in (*places, *columns[2:], columns[2] / columns[3])))


# --- inside -----------------------------------------------------------------------------------------------


def _weights(image: Array, variance: Array, mask: Array | None) -> FloatPlane:
    """Return one over the variance of the sky in each pixel, 0 where there is nothing.

    With the light of the stars in their own variance the middle of a bright trail would count least, and its
    halo as much as itself.
    """
    good = np.isfinite(image) & np.isfinite(variance) & (np.asarray(variance) > 0)
    if mask is not None:
        good &= np.asarray(mask) == 0
    if not good.any():
        return np.zeros(np.shape(image), np.float32)
    out = background_level(np.asarray(variance), mask=~good)
    np.divide(1, out, out=out, where=good)
    out[~good] = 0
    return out


class _Form(NamedTuple):
    """Length of a trail along the rows, and standard deviation across it, pixels."""

    length: float
    sigma: float

    @property
    def half(self) -> int:
        """Rows to each side that the filter reaches."""
        return len(_profile(self.sigma)) // 2

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns of the box of which a peak is the highest pixel."""
        return 2 * max(round(1.5 * self.sigma), 1) + 1, 2 * max(round(self.length / 3), 1) + 1


class _Sheared:
    """An image and its weights, columns moved by whole pixels so that lines of a slope lie along rows."""

    def __init__(self, image: Array, weight: FloatPlane, slope: float) -> None:
        self.image, self.weight, self.slope = image, weight, slope
        self.shift = np.rint(slope * np.arange(image.shape[1])).astype(int)
        self.low, high = -int(self.shift.max()), -int(self.shift.min())
        self.rows = image.shape[0] + high - self.low
        edges = np.flatnonzero(np.diff(self.shift)) + 1
        self.parts = list(
            zip([0, *edges], [*edges, image.shape[1]], strict=True)
        )  # columns of one shift together

    def band(self, first: int, last: int) -> tuple[FloatPlane, FloatPlane]:
        """Return image times weight, and weight, of some rows; 0 where there is nothing."""
        ny, nx = self.image.shape
        signal, weight = (np.zeros((last - first, nx), np.float32) for _ in range(2))
        for start, stop in self.parts:
            top = -int(self.shift[start]) - self.low  # the row on which the first of the image lies
            begin, end = max(first, top), max(min(last, top + ny), first, top)
            here, there = (
                np.s_[begin - first : end - first, start:stop],
                np.s_[begin - top : end - top, start:stop],
            )
            weight[here] = self.weight[there]
            known = weight[here] != 0
            np.multiply(
                np.asarray(self.image[there], np.float32), weight[here], out=signal[here], where=known
            )
        return signal, weight


def _found(planes: _Sheared, form: _Form, threshold: float) -> list[FloatArray]:
    """Return x, y, flux and its error of trails, shape (4, n), of one band of rows after the other.

    Whole planes of what is filtered would be half a dozen frames.
    """
    beyond, found = form.half + form.reach[0] // 2, [np.zeros((4, 0))]
    bands = [(start, min(start + _BAND, planes.rows)) for start in range(0, planes.rows, _BAND)]
    around = [(max(start - beyond, 0), min(stop + beyond, planes.rows)) for start, stop in bands]
    least = _COVERED * _typical(planes, form, bands, around)
    for (start, stop), (first, last) in zip(bands, around, strict=True):
        signal, weight = planes.band(first, last)
        flux, info = _filtered(signal, weight, form, least)
        rows, cols = _peaks(flux, info, form, threshold)
        own = (rows + first >= start) & (rows + first < stop)
        rows, cols = rows[own], cols[own]
        good = _even((signal, weight), (rows, cols), form)
        rows, cols = rows[good], cols[good]
        x, aside = _centres(flux, rows, cols, form.length)
        y = rows + first + aside
        y += planes.low + np.rint(planes.slope * cols) + planes.slope * (x - cols)
        error = 1 / np.sqrt(info[rows, cols].astype(float))
        found.append(np.stack([x, y, flux[rows, cols].astype(float), error]))
    return found


def _typical(
    planes: _Sheared, form: _Form, bands: list[tuple[int, int]], around: list[tuple[int, int]]
) -> float:
    """Return the median inverse variance of trails, of every eighth row and column."""
    some = []
    for (start, stop), (first, last) in zip(bands, around, strict=True):
        info = _information(planes.band(first, last)[1], form)[
            -(-start // 8) * 8 - first : stop - first : 8, ::8
        ]
        some.append(info[info > 0])
    values = np.concatenate(some)
    return float(np.median(values)) if len(values) else 1.0


def _odd(length: float) -> int:
    """Return the nearest odd number: an even line has its middle between two pixels."""
    return 2 * max(round((length - 1) / 2), 0) + 1


def _profile(sigma: float) -> FloatArray:
    half = max(int(np.ceil(3 * sigma)), 1)
    line = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return np.asarray(line / line.sum())


def _across(plane: FloatPlane, line: FloatArray) -> FloatPlane:
    from virtualobserver.maths.images.filter_kernel import down_columns

    return down_columns(np.ascontiguousarray(plane), line.astype(np.float32))


def _along(plane: FloatPlane, size: int) -> FloatPlane:
    return np.asarray(uniform_filter1d(plane, size, axis=1, mode="constant"), np.float32)


def _information(weight: FloatPlane, form: _Form) -> FloatPlane:
    """Return the inverse variance of the flux of a trail about each pixel: the sum of squares under the line."""
    size = _odd(form.length)
    return _along(_across(weight, _profile(form.sigma) ** 2), size) / np.float32(size)


def _filtered(
    signal: FloatPlane, weight: FloatPlane, form: _Form, least: float
) -> tuple[FloatPlane, FloatPlane]:
    """Return the flux of a trail about each pixel and its inverse variance, 0 where too little of it is good."""
    # the mean over the line is the sum under a line of light 1
    top, info = _along(_across(signal, _profile(form.sigma)), _odd(form.length)), _information(weight, form)
    info[info < least] = 0
    flux = np.zeros_like(top)
    np.divide(top, info, out=flux, where=info > 0)
    return flux, info


def _peaks(
    flux: FloatPlane, info: FloatPlane, form: _Form, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the highest pixels of their surroundings that are above the threshold."""
    ratio = flux * np.sqrt(info)
    down, right = form.reach
    highest = maximum_filter1d(maximum_filter1d(ratio, right, axis=1), down, axis=0)
    rows, cols = np.nonzero((ratio == highest) & (ratio > threshold))
    return rows, cols


def _even(
    planes: tuple[FloatPlane, FloatPlane],
    peaks: tuple[NDArray[np.int64], NDArray[np.int64]],
    form: _Form,
) -> NDArray[np.bool_]:
    """Return whether each third of a trail has its share of the light."""
    rows, cols = peaks
    size, half, line = _odd(form.length / 3), form.half, _profile(form.sigma)
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
    """Return the vertex of parabolas through a peak: column by where it has come down, rows aside by next pixels."""
    step = max(round(length / 8), 1)
    return cols + step * _vertex(flux, rows, cols, (0, step)), _vertex(flux, rows, cols, (1, 0))


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
