"""Offsets of the images of a night against the first: from world coordinates, or from the stars in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.errors import DataError
from virtualobserver.maths.alignment import Transform, align_series
from virtualobserver.maths.sources import find_sources
from virtualobserver.maths.tansip import replace_world

__all__ = ["offsets", "solutions", "with_world"]

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
_MOST_TURN: Final = 1.5  # pixels by which corners may shift differently before whole pixels do not do
_FEWEST_STARS: Final = 6
_MOST_STARS: Final = 200
_CARDS: Final = {"wcs": "wcs", "zeropoint": "cards"}  # where in a table of a role its header cards are


def solutions(products: Sequence[Handle]) -> dict[str, Mapping[str, Any]]:
    """Return header cards by unit: solved world coordinates (tables ``wcs``) and zero points (``zeropoint``)."""
    found: dict[str, dict[str, Any]] = {}
    for one in products:
        key = _CARDS.get(one.info.role) if one.info.kind == "table" else None
        if key is not None and (cards := one.load().meta.get(key)):
            found.setdefault(one.info.unit, {}).update(cards)
    return dict(found)


def with_world(image: Image, cards: Mapping[str, Any] | None) -> Image:
    """Return the image with other world coordinates, or further cards; without any as it is."""
    if not cards:
        return image
    if "CTYPE1" not in cards:
        return replace(image, header={**image.header, **cards})
    return replace(image, header=replace_world(image.header, cards))


def offsets(
    images: Sequence[Image], *, how: Literal["auto", "wcs", "stars", "none"] = "auto"
) -> tuple[IntArray, IntArray, BoolArray]:
    """Return whole-pixel offsets of each image against the first one aligned, and which images are aligned.

    Parameters
    ----------
    how
        ``wcs``, ``stars``, ``none`` (they lie on one grid already), or ``auto``: by world coordinates where all
        images have them, else by stars where the images show enough, else they lie on one grid.

    Raises
    ------
    DataError
        If images are turned or scaled against each other, or lack the world coordinates asked for.
    """
    zero = np.zeros(len(images), dtype=np.int64)
    lacking = sum("CTYPE1" not in one.header for one in images)
    if how == "wcs" and lacking:
        msg = f"align: wcs, but {lacking} of {len(images)} images have no world coordinates; set align: stars"
        raise DataError(msg)
    if how == "wcs" or (how == "auto" and not lacking):
        return _by_world(images)
    if how != "none":
        lists = [_stars(one) for one in images]
        enough = sum(len(stars) >= _FEWEST_STARS for stars in lists)
        if how == "stars" or 2 * enough > len(images):
            return _by_stars(lists, images[0].data.shape)
    return zero, zero.copy(), np.ones(len(images), dtype=bool)


def _by_world(images: Sequence[Image]) -> tuple[IntArray, IntArray, BoolArray]:
    x, y = _spots(images[0].data.shape)
    sky = images[0].wcs.all_pix2world(x, y, 0)
    moved = np.array([one.wcs.all_world2pix(*sky, 0, quiet=True) for one in images]) - np.array([x, y])
    shift = _whole(moved)
    return shift[:, 0], shift[:, 1], np.ones(len(images), dtype=bool)


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


def _stars(image: Image) -> NDArray[np.float64]:
    """Return positions of stars, brightest first, shape (n, 2)."""
    if not np.isfinite(image.data).any():
        return np.zeros((0, 2))
    found = find_sources(image.data, image.variance, mask=image.mask, threshold=8.0)
    found = found.take(np.flatnonzero(~found.truncated & (found.elongation < 2))[:_MOST_STARS])
    return np.stack([found.x, found.y], axis=1)
