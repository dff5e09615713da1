"""Offsets of the images of a night against the first: from world coordinates, or from the stars in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.sights import Sight
from virtualobserver.errors import DataError
from virtualobserver.maths.images.alignment import Transform, align_series
from virtualobserver.typing import Record

__all__ = ["How", "needs_stars", "offsets"]

How = Literal["auto", "wcs", "stars", "none"]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
_MOST_TURN: Final = 1.5  # pixels by which corners may shift differently before whole pixels do not do
_FEWEST_STARS: Final = 6
"""Twice the three that a linear map needs, so that a wrong one is noticed. Chosen, not tuned."""


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


def offsets(sights: Sequence[Sight], *, how: How = "auto") -> tuple[IntArray, IntArray, BoolArray]:
    """Return whole-pixel offsets of each image against the first one aligned, and which images are aligned.

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
        If images are turned or scaled against each other, or lack the world coordinates asked for.
    """
    zero = np.zeros(len(sights), dtype=np.int64)
    everyone = np.ones(len(sights), dtype=bool)
    if needs_stars([one.header for one in sights], how):
        lists = [np.zeros((0, 2)) if one.stars is None else one.stars for one in sights]
        enough = sum(len(stars) >= _FEWEST_STARS for stars in lists)
        if how == "stars" or 2 * enough > len(sights):
            return _by_stars(lists, sights[0].shape)
    elif how != "none":
        return _by_world(sights)
    return zero, zero.copy(), everyone


def _by_world(sights: Sequence[Sight]) -> tuple[IntArray, IntArray, BoolArray]:
    x, y = _spots(sights[0].shape)
    sky = sights[0].wcs.all_pix2world(x, y, 0)
    moved = np.array([one.wcs.all_world2pix(*sky, 0, quiet=True) for one in sights]) - np.array([x, y])
    shift = _whole(moved)
    return shift[:, 0], shift[:, 1], np.ones(len(sights), dtype=bool)


def _by_stars(
    lists: Sequence[NDArray[np.float64]], shape: tuple[int, ...]
) -> tuple[IntArray, IntArray, BoolArray]:
    """Match the stars with those of the image in the middle of the night, the least far from all others."""
    order = sorted(
        range(len(lists)), key=lambda n: (len(lists[n]) < _FEWEST_STARS, abs(2 * n - len(lists)), n)
    )
    found = align_series(lists, reference=order[0], fewest=_FEWEST_STARS)
    aligned = np.array([one is not None for one in found])
    matched: list[Transform] = [one for one in found if one is not None]
    shift = np.zeros((len(lists), 2), dtype=np.int64)
    if matched:
        x, y = _spots(shape)
        placed = np.array([one(x, y) for one in matched])
        shift[aligned] = _whole(placed - placed[0])  # rounded once
    return shift[:, 0], shift[:, 1], aligned


def _spots(shape: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    ny, nx = shape
    x = np.array([(nx - 1) / 2, nx / 4, 3 * nx / 4, nx / 4, 3 * nx / 4])
    y = np.array([(ny - 1) / 2, ny / 4, ny / 4, 3 * ny / 4, 3 * ny / 4])
    return x, y


def _whole(moved: NDArray[np.float64]) -> IntArray:
    """Return whole-pixel shifts, shape (n, 2), of spots that moved by `moved`, shape (n, 2, spots)."""
    turn = float(np.abs(moved - moved[:, :, :1]).max())
    if turn > _MOST_TURN:
        msg = (
            f"images are turned or scaled against each other by {turn:.1f} px across a quarter of the field; "
        )
        msg += "bring them onto one grid first"
        raise DataError(msg)
    return np.floor(np.median(moved, axis=2) + 0.5).astype(np.int64)
