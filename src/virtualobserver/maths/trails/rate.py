"""The motion that trails really show: their length over the exposure, and the direction they lie in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.optimize import least_squares

from virtualobserver.conventions import FWHM_TO_SIGMA, MAD_TO_SIGMA
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.detect import TrailList
from virtualobserver.maths.trails.track import TrackModel, line_spread

__all__ = ["MeasuredTrack", "fit_track"]

FloatArray = NDArray[np.float64]
_BEYOND: Final = 4.0
"""Standard deviations of a star beyond the ends of a trail, so that its edges are whole."""
_FEWEST: Final = 5
"""Trails whose median still is one if two of them are blends."""
_WRONG: Final = 0.2
"""Of the length expected: who differs by more is two stars, or cut."""


@dataclass(frozen=True)
class MeasuredTrack:
    """A track as its trails show it.

    Parameters
    ----------
    track
        With the measured motion.
    length_error
        Of the length of a trail, pixels.
    angle_error
        Of its direction, degrees.
    n_trails
        That were measured.
    """

    track: TrackModel
    length_error: float
    angle_error: float
    n_trails: int


def fit_track(
    # chosen: the median of 100 is good to an eighth of the scatter of one
    image: Array,
    trails: TrailList,
    track: TrackModel,
    *,
    fwhm: float,
    brightest: int = 100,
) -> MeasuredTrack:
    """Measure length and direction of the brightest trails, and take their medians.

    Which end is the first cannot be seen in a trail: the direction of the given track is kept. What the air moves
    all stars alike is in the motion and not in its errors: half a pixel of unrest turns one exposure by half a
    degree, so that the track of a telescope is a mean of several.

    Parameters
    ----------
    image
        Shape (ny, nx), sky subtracted.
    trails
        Found in it with the given track, by falling flux.
    track
        As it should be, to a tenth of its length.
    fwhm
        Of the image of a star, pixels.
    brightest
        Trails that are measured.

    Raises
    ------
    DataError
        If fewer than five trails are whole and alone.
    """
    sigma = fwhm * FWHM_TO_SIGMA
    found = [
        _measure(image, float(x), float(y), track, sigma)
        for x, y in zip(trails.x[:brightest], trails.y[:brightest], strict=True)
    ]
    values = np.array([one for one in found if one is not None]).reshape(-1, 2)
    if len(values) < _FEWEST:
        msg = f"{len(values)} of {len(trails)} trails are whole and alone: their motion needs {_FEWEST}"
        raise DataError(msg)
    length, slope = np.median(values, axis=0)
    spread = MAD_TO_SIGMA * np.median(np.abs(values - [length, slope]), axis=0)
    error = 1.2533 * spread / np.sqrt(len(values))  # of a median
    vx, vy = track.vector
    scale = length / track.length
    turned = track.with_vector((vx - slope * vy) * scale, (vy + slope * vx) * scale)
    return MeasuredTrack(turned, float(error[0]), float(np.degrees(error[1])), len(values))


# --- inside -----------------------------------------------------------------------------------------------


def _measure(image: Array, x: float, y: float, track: TrackModel, sigma: float) -> tuple[float, float] | None:
    """Return the length and slope of one trail against the track, None where it is cut, crossed or not alone."""
    (vx, vy), half = track.vector, track.length / 2
    ux, uy = vx / track.speed, vy / track.speed
    s = np.arange(-np.ceil(half + _BEYOND * sigma), np.ceil(half + _BEYOND * sigma) + 1)
    t = np.arange(-np.ceil(_BEYOND * sigma), np.ceil(_BEYOND * sigma) + 1)[:, None]
    px, py = x + s * ux - t * uy, y + s * uy + t * ux
    ny, nx = image.shape
    if px.min() < 0 or py.min() < 0 or px.max() > nx - 1 or py.max() > ny - 1:
        return None
    box = map_coordinates(
        image, [py, px], order=1, output=float
    )  # of a plane in single precision no copy is made
    window = np.exp(-0.5 * (t / sigma) ** 2)
    profile = (box * window).sum(axis=0)
    inner = np.abs(s) < half - sigma
    if not np.isfinite(box).all() or (profile[inner] <= 0).any():
        return None
    profile /= profile[inner].sum() / track.length

    def misfit(values: FloatArray) -> FloatArray:
        start, length, light, sky = values
        return np.asarray(light * length * line_spread(s - start, max(length, 1.0), sigma) + sky - profile)

    level = float(np.median(profile[inner]))
    fit = least_squares(misfit, [-half, track.length, level, 0.0], loss="soft_l1", f_scale=0.1 * level)
    length = float(fit.x[1])
    centre = (box * window * t).sum(axis=0)[inner] / (box * window).sum(axis=0)[inner]
    # a window as wide as the star halves the displacement of a centre
    slope = 2 * float(np.polyfit(s[inner], centre, 1)[0])
    return (length, slope) if fit.success and abs(length / track.length - 1) < _WRONG else None
