"""Sources that stay: found first, since most sources do, and what is left is little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from virtualobserver.maths.linking.lists import SourceLists
from virtualobserver.maths.linking.settings import LinkSettings

__all__ = ["Still", "find_static"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_CLOSER: Final = (1.0, 0.5, 0.25)
"""Neighbours that were taken for one are told apart at smaller and smaller radii, in units of the first."""
_FEWEST: Final = 3
"""Images in which a source is seen at one place before it stays: two may be the beginning of a track."""


@dataclass(frozen=True, eq=False)
class Still:
    """What stays.

    Parameters
    ----------
    static
        Which sources stay, or lie on one that does, shape (n,).
    slow
        Groups of sources, one of an image, that move slowly: rows of each.
    """

    static: NDArray[np.bool_]
    slow: list[IntArray]


def find_static(lists: SourceLists, settings: LinkSettings) -> Still:
    """Tell the sources that stay from all others.

    Sources within a radius of each other form a group; a straight line is fitted to each. It stays where its rate is
    less than `min_motion` times its error (times the root of the reduced chi squared). Groups with two sources of one
    image are looked at again at smaller radii; where that does not part them either, they are stars that are not
    always told apart, and stay.
    """
    static = np.zeros(len(lists), dtype=bool)
    slow: list[IntArray] = []
    left = np.arange(len(lists))
    spots: list[FloatArray] = []
    for step, part in enumerate(_CLOSER):
        if len(left) < _FEWEST:
            break
        label = _groups(lists.place[left], settings.static_radius * part)
        groups = _Groups.of(lists, left, label, settings)
        stays = (groups.n >= _FEWEST) & ~groups.moving & (groups.single | (step == len(_CLOSER) - 1))
        static[left[stays[label]]] = True
        spots.append(groups.middle[stays])
        found = (groups.n >= settings.min_detections) & groups.moving & groups.single
        order = np.argsort(label, kind="stable")
        ends = np.cumsum(groups.n)
        slow += [left[order[end - n : end]] for end, n in zip(ends[found], groups.n[found], strict=True)]
        left = left[(~groups.single & ~stays & (groups.n >= _FEWEST))[label]]
    return Still(static | _near(lists, static, np.concatenate(spots or [np.zeros((0, 2))]), settings), slow)


@dataclass(frozen=True, eq=False)
class _Groups:
    """How many sources each group has, whether they are of different images and move, and where its middle is."""

    n: IntArray
    single: NDArray[np.bool_]
    moving: NDArray[np.bool_]
    middle: FloatArray

    @classmethod
    def of(cls, lists: SourceLists, rows: IntArray, label: IntArray, settings: LinkSettings) -> _Groups:
        size = int(label.max()) + 1
        n = np.bincount(label, minlength=size)
        seen = np.unique(label * len(lists.mjd) + lists.image[rows])
        images = np.bincount(seen // len(lists.mjd), minlength=size)
        t = lists.hours[lists.image[rows]]
        t = t - (np.bincount(label, t, size) / n)[label]
        squares = np.zeros((2, size))  # of the rate, and of the rate times its error
        chi2 = np.zeros(size)
        middle = np.empty((size, 2))
        for axis in range(2):
            mean = np.bincount(label, lists.place[rows, axis], size) / n
            middle[:, axis] = mean
            d = lists.place[rows, axis] - mean[label]
            w = 1.0 / (lists.error[rows, axis] ** 2 + settings.floor**2)
            s, st, stt, sd, std, sdd = (
                np.bincount(label, w * one, size) for one in (np.ones_like(t), t, t * t, d, t * d, d * d)
            )
            with np.errstate(divide="ignore", invalid="ignore"):
                determinant = s * stt - st**2
                speed = np.where(determinant > 0, (s * std - st * sd) / determinant, 0.0)
                start = (sd - speed * st) / s
                variance = np.where(determinant > 0, s / determinant, 0.0)
            chi2 += np.maximum(sdd - start * sd - speed * std, 0.0)
            squares += np.stack([speed**2, speed**2 * variance])
        worse = np.maximum(chi2 / np.maximum(2 * n - 4, 1), 1.0)
        moving = squares[0] ** 2 > settings.min_motion**2 * worse * squares[1]
        return cls(n, images == n, moving, middle)


def _groups(place: FloatArray, radius: float) -> IntArray:
    """Return the number of the group of each point; points within `radius` of each other share one."""
    pairs = cKDTree(place).query_pairs(radius, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(place),) * 2)
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _near(
    lists: SourceLists, static: NDArray[np.bool_], spots: FloatArray, settings: LinkSettings
) -> NDArray[np.bool_]:
    """Return which of the other sources lie on one that stays."""
    near = np.zeros(len(lists), dtype=bool)
    others = np.flatnonzero(~static)
    if len(spots) and len(others):
        away, _ = cKDTree(spots).query(lists.place[others], distance_upper_bound=settings.star_radius)
        near[others] = np.isfinite(away)
    return near
