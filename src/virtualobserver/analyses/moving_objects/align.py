"""Where the pixels of a night's grid are in each image: from world coordinates, or from the stars in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from virtualobserver.analyses.moving_objects.sights import Sight
from virtualobserver.errors import DataError
from virtualobserver.maths.images.alignment import Transform, align_series
from virtualobserver.maths.images.mapping import PixelMap, fit_map, whole_map
from virtualobserver.typing import Record

__all__ = ["How", "maps_of", "needs_stars"]

How = Literal["auto", "wcs", "stars", "none"]
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
_FEWEST_STARS: Final = 6
"""Twice the three that a linear map needs, so that a wrong one is noticed. Chosen, not tuned."""
_SCALED: Final = 0.02
"""Beyond, one image has other pixels than another, and its surface brightness is another one."""
_DEGREES: Final = (1, 3, 5, 7)
"""Of polynomials that are tried: distortions of optics are odd."""
_EXACT: Final = 0.01
"""Pixels to which a polynomial has to follow the world coordinates; well below any error of a position."""
_LATTICE: Final = 13
"""Points along each axis where a polynomial is compared; more than its terms of the highest degree."""
_STARS_PER_TERM: Final = 6
"""Stars for each term of a map, so that the error of a star is shared by many."""
_NEAR: Final = 2.0
"""Pixels within which stars are the same, once a map of the whole is known."""


def needs_stars(headers: Sequence[Record], how: How) -> bool:
    """Whether stars have to be looked for to align images with these headers.

    Raises
    ------
    DataError
        If images lack the world coordinates asked for.
    """
    lacking = sum("CTYPE1" not in one for one in headers)
    if how == "wcs" and lacking:
        msg = (
            f"align: wcs, but {lacking} of {len(headers)} images have no world coordinates; set align: stars"
        )
        raise DataError(msg)
    return how == "stars" or (how == "auto" and lacking > 0)


def maps_of(sights: Sequence[Sight], *, how: How = "auto") -> tuple[list[PixelMap], BoolArray]:
    """Return the map from the first image aligned to each, and which images are aligned.

    Parameters
    ----------
    sights
        With stars where `needs_stars` says so.
    how
        ``wcs``, ``stars``, ``none`` (they lie on one grid already), or ``auto``: by world coordinates where all
        images have them, else by stars where the images show enough, else they lie on one grid.

    Raises
    ------
    DataError
        If images are scaled against each other, or lack the world coordinates asked for.
    """
    shape = sights[0].shape
    if needs_stars([one.header for one in sights], how):
        lists = [np.zeros((0, 2)) if one.stars is None else one.stars for one in sights]
        enough = sum(len(stars) >= _FEWEST_STARS for stars in lists)
        if how == "stars" or 2 * enough > len(sights):
            return _by_stars(lists, shape)
    elif how != "none":
        return [_checked(_by_world(sights[0], one), one.mjd) for one in sights], np.ones(len(sights), bool)
    return [whole_map(shape)] * len(sights), np.ones(len(sights), dtype=bool)


def _by_world(first: Sight, other: Sight) -> PixelMap:
    """Follow the world coordinates of both, distortion included, by as simple a polynomial as does."""
    ny, nx = first.shape
    x, y = (
        part.ravel()
        for part in np.meshgrid(np.linspace(0, nx - 1, _LATTICE), np.linspace(0, ny - 1, _LATTICE))
    )
    there = other.wcs.all_world2pix(*first.wcs.all_pix2world(x, y, 0), 0, quiet=True)
    for degree in _DEGREES:
        found, left = fit_map(first.shape, (x, y), there, degree=degree)
        if left < _EXACT:
            return found
    msg = f"the world coordinates of the image at MJD {other.mjd:.5f} differ from those of the first by more than "
    msg += f"optics can: no polynomial of degree {_DEGREES[-1]} follows them within {left:.2g} px; solve them anew"
    raise DataError(msg)


def _checked(found: PixelMap, mjd: float) -> PixelMap:
    if abs(found.scale - 1) > _SCALED:
        msg = f"the image at MJD {mjd:.5f} is scaled against the first by {found.scale:.3f}; bring the images of "
        msg += "a night to one size of pixels first"
        raise DataError(msg)
    return found


def _by_stars(lists: Sequence[FloatArray], shape: tuple[int, int]) -> tuple[list[PixelMap], BoolArray]:
    """Match the stars with those of the image in the middle of the night, the least far from all others."""
    order = sorted(
        range(len(lists)), key=lambda n: (len(lists[n]) < _FEWEST_STARS, abs(2 * n - len(lists)), n)
    )
    found = align_series(lists, reference=order[0], fewest=_FEWEST_STARS)
    aligned = np.array([one is not None for one in found])
    if not aligned.any():
        return [whole_map(shape)] * len(lists), aligned
    first = int(np.flatnonzero(aligned)[0])
    start = found[first]
    assert start is not None
    maps = [
        whole_map(shape)
        if one is None
        else _from_stars(
            lists[first], stars, _after(start, one), shape, error=0.0 if one is start else _error(start, one)
        )
        for stars, one in zip(lists, found, strict=True)
    ]
    return maps, aligned


def _after(first: Transform, other: Transform) -> tuple[FloatArray, FloatArray]:
    """Return matrix and offset from one frame to another, both known from a third."""
    matrix = other.matrix @ np.linalg.inv(first.matrix)
    return matrix, other.offset - matrix @ first.offset


def _from_stars(
    first: FloatArray,
    stars: FloatArray,
    linear: tuple[FloatArray, FloatArray],
    shape: tuple[int, int],
    *,
    error: float,
) -> PixelMap:
    """Fit shift, turn and, where there are stars enough, distortion to all stars of two frames.

    With too few in common, the map through the image in the middle of the night stays as it is, with its `error`.
    """
    matrix, offset = linear
    ny, nx = shape
    corners = np.array([[0, 0], [nx - 1, 0], [0, ny - 1], [nx - 1, ny - 1]], float)
    found, _ = fit_map(shape, _axes(corners), _axes(corners @ matrix.T + offset), degree=1)
    for degree in (1, 2, 3):
        places = np.stack(found(*first.T), axis=1)
        away, near = (np.asarray(part) for part in cKDTree(stars).query(places, distance_upper_bound=_NEAR))
        same = np.isfinite(away)
        # noise moves stars by a part of a pixel; blends and hot pixels by more
        same[same] = away[same] <= max(4.0 * float(np.median(away[same])), 0.1) if same.any() else False
        terms, number = (degree + 1) * (degree + 2) // 2, int(same.sum())
        if number < _STARS_PER_TERM * terms:
            break
        found, left = fit_map(shape, _axes(first[same]), _axes(stars[near[same]]), degree=degree)
        error = _mean_error(left, terms, number)
    return replace(found, error=error)


def _error(first: Transform, other: Transform) -> float:
    """Return the error of a place that is taken from one frame to another through the image in the middle."""
    # shift, turn and scale are two terms for each axis; the errors of the stars in the middle, half of both, cancel
    there, back = (_mean_error(one.rms, 2, one.n) for one in (first, other))
    return float(np.sqrt(0.5) * np.hypot(there, back))


def _mean_error(left: float, terms: int, number: int) -> float:
    """Return the error of a fit of so many terms, in the mean over its stars, from the scatter that it left."""
    return left * float(np.sqrt(terms / max(number - terms, 1)))


def _axes(places: FloatArray) -> tuple[FloatArray, FloatArray]:
    return places[:, 0], places[:, 1]
