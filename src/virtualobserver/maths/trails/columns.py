"""Columns of trails: each the linear fit of a profile to the pixels of one pixel's length of a track."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from virtualobserver.conventions import (
    FLAG_ARCHIVE,
    FLAG_BACKGROUND,
    FLAG_COSMIC_RAY,
    FLAG_EDGE,
    FLAG_NOT_FINITE,
    FLAG_SATURATED,
    MASK_COSMIC_RAY,
    MASK_NO_DATA,
    MASK_SATURATED,
)
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.profile import TransverseProfile
from virtualobserver.maths.trails.samples import TrailSamples, TrailTotals
from virtualobserver.maths.trails.sky import TrailSky
from virtualobserver.maths.trails.track import TrackModel, line_spread

__all__ = ["BEYOND", "COVERED", "HALF", "Columns", "Frame", "direction", "grid_of", "isolation"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
COVERED: Final = 0.7
"""Of the profile's weight that must lie on good pixels: with less, a column rests on the wings of its star."""
BEYOND: Final = 2.0
"""FWHM beyond the ends of a trail that are sampled: all of the rise and the fall."""
FLAT: Final = 1.5
"""FWHM from an end, from which on a trail has 0.9998 of its light."""
HALF: Final = 1.5
"""FWHM across to each side that are fitted: 0.9996 of a Gaussian's light."""
_BAND: Final = 512
"""Rows of which the model of all trails is made at once: 4 MB on a chip of 2046 columns."""
_CLEAR: Final = 0.3
"""Of a trail, from which on its own columns make a better total than all with those shared with another star."""
_LEAST: Final = 0.1
"""Of a trail's light that must be measured, or it has no total: a pulse would be all of it."""


@dataclass(frozen=True, eq=False)
class Frame:
    """A chip as it is measured: electrons, which pixels are good, bits of the mask, where all stars begin."""

    image: Array
    good: NDArray[np.bool_]
    codes: Array
    track: TrackModel
    x: FloatArray
    y: FloatArray
    scintillation: float


def direction(track: TrackModel) -> tuple[float, float]:
    """Return the unit vector of a track in pixels."""
    vx, vy = track.vector
    return vx / track.speed, vy / track.speed


def grid_of(track: TrackModel, x: FloatArray, y: FloatArray, fwhm: float) -> tuple[FloatArray, FloatArray]:
    """Return where the samples are along trails, shape (n, m), and the first: at the middle of columns of pixels."""
    ux, uy = direction(track)
    start, step = (x, ux) if abs(ux) >= abs(uy) else (y, uy)
    middle = (np.rint(start + step * track.length / 2) - start) / step
    first = middle - np.floor(middle + BEYOND * fwhm)
    count = int(track.length + 2 * BEYOND * fwhm)
    return first[:, None] + np.arange(count), first


class Columns:
    """Columns of all trails, fitted under one model of their light."""

    def __init__(self, frame: Frame, sky: TrailSky, profile: TransverseProfile, light: FloatArray) -> None:
        from virtualobserver.maths.trails.extract_kernel import FINE, fit_columns

        self.frame, self.track, self.profile = frame, frame.track, profile
        self.along, self.first = grid_of(frame.track, frame.x, frame.y, profile.fwhm)
        n, m = self.along.shape
        self.ground = np.stack(
            [sky.value, sky.gradient_x, sky.gradient_y, sky.step, sky.variance, sky.x, sky.y], axis=1
        )
        self.split, self.half = sky.split, max(HALF * profile.fwhm, 5.0)
        self.shift, self.width = profile.shift_at(self.along), profile.width_at(self.along)
        self.table = profile.table(self.half + 2, FINE)
        self.light = np.ascontiguousarray(np.broadcast_to(np.nan_to_num(light), (n, m)))
        self.planes = np.empty((8, n, m))
        self.bits = np.zeros((n, m), np.int64)
        self.counts = np.zeros((n, 32), np.int64)
        fit_columns(
            frame.image, frame.good, frame.codes, self.ground, self.split, frame.x, frame.y,
            *direction(frame.track), self.first, self.shift, self.width, self.table, self.half, self.light, COVERED,
            self.planes, self.bits, self.counts,
        )  # fmt: skip
        self.flux, self.variance, self.covered = self.planes[:3]
        self.spoilt = np.zeros((n, m), np.bool_)
        # where the light of a column is: at a slant its pixels are not spread evenly about its middle
        self.place = np.where(np.isfinite(self.planes[3]), self.planes[3], self.along)
        length = frame.track.length
        self.response = np.clip(np.nan_to_num(length * line_spread(self.place, length, profile.sigma)), 0, 1)
        lost = self.covered < COVERED
        self.flux[lost] = self.variance[lost] = np.nan

    def total(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return electrons/s of trails, their error, and the share of their light in measured columns.

        The weights are the shares of the columns: those of the photons would follow what the air does to them.
        """
        known = np.isfinite(self.flux)
        clear = (
            known & ~self.spoilt
        )  # a star beside another has its total from where the other is not, if it can
        enough = np.sum(clear * self.response, axis=1) > _CLEAR * self.track.length
        known &= ~self.spoilt | ~enough[:, None]
        weight = np.where(known, self.response, 0.0)
        norm, share = np.sum(weight**2, axis=1), np.sum(weight, axis=1) / self.track.length
        with np.errstate(divide="ignore", invalid="ignore"):
            flux = np.sum(weight * np.where(known, self.flux, 0), axis=1) / norm * self.track.speed
            error = np.sqrt(np.sum(weight**2 * np.where(known, self.variance, 0), axis=1)) / norm
        bad = share < _LEAST
        flux[bad] = np.nan
        error[bad] = np.nan
        return flux, error * self.track.speed, share

    def smooth(self, steady: FloatArray) -> FloatArray:
        """Return the light that columns have by their neighbours, as far as a star's image reaches."""
        reach = int(np.ceil(2 * self.profile.sigma))
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / self.profile.sigma) ** 2)
        known = np.isfinite(self.flux)
        top, base = np.zeros_like(steady), np.zeros_like(steady)
        value = np.pad(np.where(known, self.flux, 0), ((0, 0), (reach, reach)))
        weight = np.pad(known * 1.0, ((0, 0), (reach, reach)))
        m = steady.shape[1]
        for i, one in enumerate(kernel):
            top += one * value[:, i : i + m]
            base += one * weight[:, i : i + m]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.maximum(np.where(base > 0, top / base, np.nan_to_num(steady)), 0.0)

    def moments(self) -> FloatArray:
        """Return where columns lie across and how wide they are, each with its error, shape (4, n, m)."""
        from virtualobserver.maths.trails.extract_kernel import add_trails, column_moments

        frame, found = self.frame, np.full((4, *self.flux.shape), np.nan)
        ny, nx = frame.image.shape
        grid = (frame.x, frame.y, *direction(self.track), self.first, self.shift, self.width, self.table)
        light = np.where(np.isfinite(self.flux), self.flux, self.light)
        low, high = self.rows()
        for top in range(0, ny, _BAND):
            which = np.flatnonzero((low >= top) & (low < top + _BAND))
            if not len(which):
                continue
            model = np.zeros((int(high[which].max()) - top, nx), np.float32)
            add_trails(model, top, *grid, 0.0, self.half, light)
            column_moments(
                frame.image, frame.good, model, top, which, self.ground, self.split, *grid, self.half, self.light,
                found,
            )  # fmt: skip
        return found

    def rows(self) -> tuple[IntArray, IntArray]:
        """Return the first row of each trail on the frame, and the one after its last; -1 where it has no place."""
        uy, ny = direction(self.track)[1], len(self.frame.image)
        ends = np.stack(
            [self.frame.y + uy * self.first, self.frame.y + uy * (self.first + self.along.shape[1])]
        )
        known = np.isfinite(ends).all(axis=0)
        low, high = (
            np.nan_to_num(ends.min(axis=0)) - self.half - 2,
            np.nan_to_num(ends.max(axis=0)) + self.half + 2,
        )
        first, last = (np.clip(np.floor(part).astype(np.int64), 0, ny - 1) for part in (low, high))
        return np.where(known, first, -1), np.where(known, last + 1, -1)

    def samples(
        self, profile: TransverseProfile, sky: TrailSky, *, own: bool, box: bool, across: bool
    ) -> TrailSamples:
        """Return what was fitted."""
        moments = self.moments() if across else None
        if box:
            self.flux, self.variance = self.planes[5] / self.planes[6], self.planes[7] / self.planes[6] ** 2
        track, frame = self.track, self.frame
        flux, error, share = self.total()
        # an error of the sky is in all columns alike
        pixels = 11.0 if box else float(1 / np.sum(profile.at(np.arange(-30, 31)) ** 2))
        error = np.hypot(error, pixels * sky.error * _plateau(self.response) * track.speed)
        electrons = np.sqrt(self.variance + (frame.scintillation * np.nan_to_num(self.flux)) ** 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            snr = flux / error
        x0, y0, x1, y1 = track.ends(frame.x, frame.y)
        totals = TrailTotals(
            flux, error, snr, x0, y0, x1, y1, share, isolation(track, frame.x, frame.y, flux, profile.fwhm),
            self.counts[:, :30].copy(),
        )  # fmt: skip
        edge = FLAT * profile.fwhm
        return TrailSamples(
            track.time_of(self.place), self.place, self.flux * track.speed, electrons * track.speed,
            self.planes[4].copy(), self.response, self._flags(), self.along - np.rint(self.along),
            (self.along >= edge) & (self.along <= track.length - edge), totals, sky, profile, track, own, moments,
        )  # fmt: skip

    def _flags(self) -> IntArray:
        off, dead = 1 << 30, 1 << 31
        flags = np.zeros(self.bits.shape, np.int64)
        flags[self.bits & ~off & ~dead != 0] |= FLAG_ARCHIVE
        flags[self.bits & dead != 0] |= FLAG_ARCHIVE
        flags[self.bits & MASK_COSMIC_RAY != 0] |= FLAG_COSMIC_RAY
        flags[self.bits & MASK_SATURATED != 0] |= FLAG_SATURATED
        flags[self.bits & (off | MASK_NO_DATA) != 0] |= FLAG_EDGE
        flags[~np.isfinite(self.ground[:, 0])] |= FLAG_BACKGROUND
        flags[self.spoilt] |= FLAG_BACKGROUND
        flags[~np.isfinite(self.flux)] |= FLAG_NOT_FINITE
        return flags


def _plateau(response: FloatArray) -> FloatArray:
    """Return by how much a total is amiss if all columns are amiss by 1."""
    norm = np.sum(response**2, axis=1)
    return np.asarray(np.sum(response, axis=1) / np.where(norm > 0, norm, np.nan))


def isolation(track: TrackModel, x: FloatArray, y: FloatArray, flux: FloatArray, fwhm: float) -> FloatArray:
    """Return the light of all neighbours of trails over their own, infinite where that is not above 0."""
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    out = np.full(len(x), np.nan)
    if not len(known):
        return out
    places = np.stack(
        [
            track.along(x[known], y[known]) / (track.length + 2.5 * fwhm),
            track.across(x[known], y[known]) / (2.5 * fwhm),
        ],
        axis=1,
    )
    pairs = cKDTree(places).query_pairs(1.0, p=np.inf, output_type="ndarray")
    light = np.maximum(np.nan_to_num(flux[known]), 0.0)
    near = np.bincount(pairs[:, 0], light[pairs[:, 1]], len(known))
    near += np.bincount(pairs[:, 1], light[pairs[:, 0]], len(known))
    with np.errstate(divide="ignore", invalid="ignore"):
        out[known] = np.where(light > 0, near / light, np.inf)
    return out
