"""Which star drew which trail, and how far the telescope pointed beside where its plate says.

All pairs of bright trails and bright stars vote for their displacement; the true one gets a vote of nearly every
trail, a wrong one those of chance. Votes of several chips of one exposure may be added before they are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import uniform_filter
from scipy.spatial import cKDTree

from virtualobserver.errors import DataError
from virtualobserver.maths.images.mapping import PixelMap, fit_map
from virtualobserver.maths.trails.detect import TrailList
from virtualobserver.maths.trails.track import TrackModel

__all__ = ["StarMatch", "best_offset", "match_trails", "offset_votes"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
REACH: Final = 60
"""Pixels to each side: 16 arcsec, more than large telescopes point amiss by."""
BRIGHTEST: Final = 400
"""Trails and stars of a chip that vote: enough for a peak, few enough for pairs of all with all."""
RADII: Final = (5.0, 3.0, 2.0)
"""Pixels within which a trail and a star are one, each round with the map of the one before: the first forgives the
bin of the votes and the turn of the field, the last is a few errors of a faint trail's middle."""
AFFINE: Final = 30
"""Matches from which on the map may turn and stretch; before, it shifts: the errors of six terms would be larger
than what they mend."""
_STRANGE: Final = 1.5
"""Magnitudes by which a trail may differ from its star: several times what events, colours and blends add."""


@dataclass(frozen=True, eq=False)
class StarMatch:
    """Trails and their stars, one to one.

    Parameters
    ----------
    trail, star
        Rows of both lists, shape (n,).
    to_frame
        From pixels where the plate has a star to those where it was when the shutter opened.
    offset
        Of the middle of the frame, pixels along x and y.
    rms
        Of one coordinate of the matched trails about the map, pixels.
    """

    trail: IntArray
    star: IntArray
    to_frame: PixelMap
    offset: tuple[float, float]
    rms: float

    def __len__(self) -> int:
        return len(self.trail)


def offset_votes(
    trails: TrailList,
    x: ArrayLike,
    y: ArrayLike,
    mag: ArrayLike,
    track: TrackModel,
    *,
    reach: int = REACH,
    brightest: int = BRIGHTEST,
) -> IntArray:
    """Count the displacements of trails from stars.

    Parameters
    ----------
    trails
        What was found, by falling flux.
    x, y
        Where the plate has the stars of the catalogue, pixels.
    mag
        Of the stars.
    track
        Of the chip: a star at its place is compared with the start of a trail.
    reach
        Largest displacement, pixels.
    brightest
        Of both that vote.

    Returns
    -------
    ndarray of int, shape (2 reach + 1, 2 reach + 1)
        Pairs with a displacement in x (columns) and y (rows) that rounds to -`reach` to `reach` pixels.
    """
    sx, sy, brightness = _stars(x, y, mag)
    order = np.argsort(brightness, kind="stable")[:brightest]
    tx, ty = _starts(trails.take(slice(brightest)), track)
    dx = np.rint(tx[:, None] - sx[order]).astype(np.int64) + reach
    dy = np.rint(ty[:, None] - sy[order]).astype(np.int64) + reach
    side = 2 * reach + 1
    near = (dx >= 0) & (dx < side) & (dy >= 0) & (dy < side)
    return np.bincount(dy[near] * side + dx[near], minlength=side * side).reshape(side, side)


def best_offset(votes: IntArray) -> tuple[float, float, float]:
    """Return the displacement that most pairs have, in x and y (pixels), and how far it stands out.

    The third value is the excess of the votes in 3 x 3 pixels over what is there elsewhere, in the scatter of chance
    (the square root of the count, not less than 1).

    Raises
    ------
    DataError
        If there are no votes.
    """
    counts = np.asarray(votes)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.any():
        msg = f"no pair of a trail and a star within the reach of votes of shape {counts.shape}"
        raise DataError(msg)
    boxes = 9 * uniform_filter(counts.astype(float), 3, mode="constant")
    row, col = np.unravel_index(int(np.argmax(boxes)), boxes.shape)
    around = slice(max(row - 1, 0), row + 2), slice(max(col - 1, 0), col + 2)
    rows, cols = np.mgrid[around]
    inside, reach = counts[around], counts.shape[0] // 2
    chance = float(counts.sum() - inside.sum()) / max(counts.size - inside.size, 1) * 9
    strength = float((boxes[row, col] - chance) / np.sqrt(max(chance, 1.0)))
    x, y = (float((part * inside).sum() / inside.sum()) - reach for part in (cols, rows))
    return x, y, strength


def match_trails(
    trails: TrailList,
    x: ArrayLike,
    y: ArrayLike,
    mag: ArrayLike,
    track: TrackModel,
    *,
    offset: tuple[float, float],
    shape: tuple[int, int],
) -> StarMatch:
    """Give each trail its star, and refine the offset to a map of at most six terms.

    Parameters
    ----------
    trails, x, y, mag, track
        As `offset_votes` takes them; all stars of the catalogue, not the brightest alone.
    offset
        Of the votes, pixels.
    shape
        Rows and columns of the frame.

    Raises
    ------
    DataError
        If no trail has a star there.
    """
    sx, sy, brightness = _stars(x, y, mag)
    tx, ty = _starts(trails, track)
    to_frame, rms = fit_map(shape, ([0.0], [0.0]), ([offset[0]], [offset[1]]), degree=0)
    pairs = _pairs((tx, ty), to_frame(sx, sy), _differences(trails, brightness, None), RADII[0])
    for radius in RADII:
        strange = _differences(trails, brightness, pairs)
        pairs = _pairs((tx, ty), to_frame(sx, sy), strange, radius)
        trail, star = pairs
        if not len(trail):
            msg = (
                f"no trail of {len(trails)} has a star of {len(sx)} within {radius} pixels at offset {offset}"
            )
            raise DataError(msg)
        to_frame, rms = fit_map(
            shape, (sx[star], sy[star]), (tx[trail], ty[trail]), degree=1 if len(trail) >= AFFINE else 0
        )
    ny, nx = shape
    middle = (nx - 1) / 2, (ny - 1) / 2
    px, py = to_frame(*middle)
    return StarMatch(*pairs, to_frame, (float(px - middle[0]), float(py - middle[1])), rms)


# --- inside -----------------------------------------------------------------------------------------------

Zero = tuple[FloatArray, FloatArray, float] | None
"""Magnitudes of trails and stars and what lies between them."""


def _stars(x: ArrayLike, y: ArrayLike, mag: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    columns = tuple(np.atleast_1d(np.asarray(part, float)) for part in (x, y, mag))
    if len({part.shape for part in columns}) != 1 or columns[0].ndim != 1:
        msg = f"x, y and mag of the stars differ in shape: {[part.shape for part in columns]}"
        raise DataError(msg)
    return columns[0], columns[1], columns[2]


def _starts(trails: TrailList, track: TrackModel) -> tuple[FloatArray, FloatArray]:
    (vx, vy), half = track.vector, track.exptime / 2
    return trails.x - vx * half, trails.y - vy * half


def _differences(trails: TrailList, mag: FloatArray, pairs: tuple[IntArray, IntArray] | None) -> Zero:
    if pairs is None or not len(pairs[0]):
        return None
    light = -2.5 * np.log10(np.maximum(trails.flux, 1e-30))
    return light, mag, float(np.nanmedian(light[pairs[0]] - mag[pairs[1]]))


def _pairs(
    trails: tuple[FloatArray, FloatArray], stars: tuple[FloatArray, FloatArray], zero: Zero, radius: float
) -> tuple[IntArray, IntArray]:
    """Return pairs within a radius, one to one: the nearest in place, and in brightness where it is known, first."""
    known = np.flatnonzero(np.isfinite(stars[0]) & np.isfinite(stars[1]))
    if not len(known) or not len(trails[0]):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    near = cKDTree(np.stack(trails, axis=1)).query_ball_tree(
        cKDTree(np.stack([part[known] for part in stars], axis=1)), radius
    )
    trail = np.repeat(np.arange(len(near)), [len(row) for row in near])
    star = known[np.array([one for row in near for one in row], np.int64)]
    cost = ((trails[0][trail] - stars[0][star]) ** 2 + (trails[1][trail] - stars[1][star]) ** 2) / radius**2
    if zero is not None:
        light, mag, point = zero
        away = np.abs(light[trail] - mag[star] - point) / _STRANGE
        away = np.where(np.isfinite(away), away, 0.0)  # a star without a magnitude is not strange
        cost = np.where(away < 1, cost + away**2, np.inf)
    taken: tuple[set[int], set[int]] = (set(), set())
    kept = []
    for row in np.argsort(cost, kind="stable"):
        one, other = int(trail[row]), int(star[row])
        if np.isfinite(cost[row]) and one not in taken[0] and other not in taken[1]:
            taken[0].add(one)
            taken[1].add(other)
            kept.append((one, other))
    found = np.array(sorted(kept), np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]
