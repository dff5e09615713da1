"""Flashes that were never there: what a frame would show of them, by its own errors, image of a star and trails.

A search for flashes sees a table of spots and no pixels. So that such a table can be given flashes, the frame leaves a
coarse map: at places spread evenly, the error of a point's flux, the mask, and the trail they lie on. A flash is drawn
there into pixels of that noise, and these are searched and measured as those of a frame are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from virtualobserver.conventions import FWHM_TO_SIGMA
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.stars import Moffat
from virtualobserver.maths.trails.spots import Hosts, find_spots, hosted, point_errors
from virtualobserver.maths.trails.track import TrackModel
from virtualobserver.typing import Value

__all__ = ["PLACES", "flash_map", "flash_spot", "point_image"]

FloatArray = NDArray[np.float64]
PLACES: Final = 256
"""Of the map, a square: the share of a frame under trails or masks is then known to 3 %, as well as a few hundred
flashes tell it."""
_FINE: Final = 5
"""Parts of a pixel's side over which the image of a star is averaged: true to 1e-3 for a star of 2 pixels."""
_NEAR: Final = 2.0
"""Standard deviations of the image of a star within which a spot is the flash: by noise it moves by a third of one."""
_TILE: Final = 8.0
"""Half side of the pixels drawn, standard deviations: the box of a spot, and as much about it."""


def flash_map(
    variance: Array,
    mask: Array | None,
    *,
    sigma: float,
    track: TrackModel,
    hosts: Hosts | None = None,
    number: int = PLACES,
) -> dict[str, Array]:
    """Return what decides about flashes at places spread over a frame; arguments are those of `find_spots`.

    There is one at random in each of `number` cells, a square number.

    Returns
    -------
    dict
        Columns of shape (n,): ``x, y`` (pixels), ``flux_error`` (NaN where nothing could be found), ``n_pixels,
        n_masked, n_cosmic_ray``, and ``host, host_time, host_offset, host_share, n_hosts`` as of spots; the share is
        that of a flux of one error.
    """
    side = round(np.sqrt(number))
    # one in each cell, anywhere in it: many at once on a grid, or on an even sequence, would be told as streaks
    cells = np.indices((side, side)).reshape(2, -1) + np.random.default_rng(0).random((2, side**2))
    y, x = (part * size / side - 0.5 for part, size in zip(cells, np.shape(variance), strict=True))
    told = point_errors(variance, mask, x, y, sigma=sigma)
    return {"x": x, "y": y, **told, **hosted((x, y), told["flux_error"], track, sigma, hosts)}


def point_image(
    x: float, y: float, *, fwhm: float, beta: float = np.inf, shape: tuple[int, int] = (33, 33)
) -> FloatArray:
    """Return the light of a star of 1 in the pixels of an image, its middle at x, y (pixels from 0).

    A Moffat profile of an index beta, infinite for a Gaussian; `fwhm` in pixels, without the pixel.
    """
    axes = [np.arange(size) - middle for size, middle in zip(shape, (y, x), strict=True)]
    if np.isinf(beta):
        sigma = fwhm * FWHM_TO_SIGMA
        rows, cols = (ndtr((axis + 0.5) / sigma) - ndtr((axis - 0.5) / sigma) for axis in axes)
        return np.asarray(np.outer(rows, cols))
    width = 4 * (2 ** (1 / beta) - 1) / fwhm**2
    fine = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    dy, dx = ((axis[:, None] + fine).ravel() for axis in axes)
    light = Moffat(width, width, 0.0, beta).at(dx[None, :], dy[:, None])
    return np.asarray(light.reshape(shape[0], _FINE, shape[1], _FINE).mean(axis=(1, 3)))


def flash_spot(
    place: Mapping[str, float],
    fluence: float,
    rng: np.random.Generator,
    *,
    sigma: float,
    beta: float = np.inf,
    track: TrackModel,
    threshold: float,
) -> dict[str, Value] | None:
    """Return the row that a table of spots has of a flash, None where it is not found.

    Parameters
    ----------
    place
        One of `flash_map`.
    fluence
        Electrons, all of the flash.
    sigma, beta
        Of the image of a star, pixels, and the index of its wings.
    track, threshold
        As for `find_spots`.
    """
    error = place["flux_error"]
    if not np.isfinite(error):
        return None
    half = int(np.ceil(_TILE * sigma))
    side, corner = (2 * half + 1,) * 2, [round(place[axis]) - half for axis in "xy"]
    x, y = (place[axis] - low for axis, low in zip("xy", corner, strict=True))
    seen = point_image(x, y, fwhm=sigma / FWHM_TO_SIGMA, shape=side)
    variance = np.full(side, error**2 * float((seen**2).sum()))  # so that its flux has the error of the map
    light = rng.poisson(fluence * point_image(x, y, fwhm=sigma / FWHM_TO_SIGMA, beta=beta, shape=side))
    image = light + np.sqrt(variance) * rng.normal(size=side)
    spots = find_spots(image, variance, sigma=sigma, track=track, threshold=threshold)
    away = np.hypot(spots.x - x, spots.y - y)
    if not (away < _NEAR * sigma).any():
        return None
    row = int(np.argmin(away))
    found: dict[str, Value] = {name: values[row].item() for name, values in spots.columns().items()}
    for axis, low in zip("xy", corner, strict=True):
        for name in (axis, f"segment_{axis}"):
            found[name] = float(getattr(spots, name)[row]) + low
    there = ("n_pixels", "n_masked", "n_cosmic_ray", "host", "host_time", "host_offset", "n_hosts")
    share = place["host_share"] * float(spots.flux[row]) / error
    return found | {name: place[name] for name in there} | {"host_share": share}
