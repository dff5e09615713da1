"""From source lists to tracks of movers, and why the rest is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.maths.linking.lists import SourceLists
from virtualobserver.maths.linking.settings import LinkSettings
from virtualobserver.maths.linking.static import find_static
from virtualobserver.maths.linking.track import Track, fit_track
from virtualobserver.maths.linking.vetoes import objection, twins

__all__ = ["Links", "link"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_UNLIKE: Final = 3.0
"""Standard scatters by which the magnitudes of two sources of a mover differ at most."""


_ROOM: Final = 10_000
"""Pairs for which there is room at first; with more, all are followed again."""


@dataclass(frozen=True, eq=False)
class Links:
    """What linking found.

    Parameters
    ----------
    tracks
        Movers, the ones with most detections first.
    rejected
        Number of candidates that are no movers, by reason (see `virtualobserver.maths.linking.vetoes.REASONS`).
    static, ghosts, vague
        Number of sources that stay (or lie on one that does), that lie too near a bright star, and whose errors are
        larger than the radius within which sources are one.
    left
        Number of sources that belong to nothing.
    pairs
        Number of pairs of sources that were followed.
    """

    tracks: Sequence[Track]
    rejected: Mapping[str, int]
    static: int
    ghosts: int
    vague: int
    left: int
    pairs: int


def link(lists: SourceLists, settings: LinkSettings, *, ghosts: NDArray[np.bool_] | None = None) -> Links:
    """Find the sources that move evenly from image to image.

    Parameters
    ----------
    lists
        Sources of all images.
    settings
        See `LinkSettings`.
    ghosts
        Sources that are not to be linked, shape (n,), see `near_bright`.

    Notes
    -----
    1. Sources that stay are taken away, see `find_static`.
    2. Two sources of images near in time that are less than the fastest rate apart say where to look in all others.
    3. Candidates with most detections come first. Each is fitted, takes what lies on the fit, loses what does not, and
       is accelerated if that is better. Its sources are taken by no other.
    4. It is a mover unless there is an objection: the fit is bad, it does not move for sure, too slow or too fast, its
       light changes too much, sources scattered at random would align as well, its sources are not stretched as
       a trail is, it stays on the detector while the field does not, or another track goes along with it.
    """
    loose = np.ones(len(lists), bool) if ghosts is None else ~ghosts
    sharp = (lists.error <= settings.static_radius).all(axis=1)
    kept = np.flatnonzero(loose & sharp)
    lost = int((~loose).sum()), int((loose & ~sharp).sum())
    still = find_static(_take(lists, kept), settings)
    rest = kept[~still.static]
    if len(rest) < settings.min_detections or len(lists.mjd) < settings.min_detections:
        return Links((), {}, int(still.static.sum()), *lost, len(rest), 0)
    search = _Search(lists, rest, settings)
    found = search.run([kept[rows] for rows in still.slow])
    tracks, rejected = twins(lists, found, settings), search.rejected
    rejected["twin"] += len(found) - len(tracks)
    used = sum(len(track.rows) for track in tracks)
    return Links(
        tuple(tracks), {key: n for key, n in sorted(rejected.items()) if n}, int(still.static.sum()),
        *lost, len(rest) - used, search.pairs,
    )  # fmt: skip


class _Search:
    """The sources that are left, sorted as the compiled loops want them."""

    def __init__(self, lists: SourceLists, rows: IntArray, settings: LinkSettings) -> None:
        order = np.lexsort((lists.place[rows, 1], lists.image[rows]))
        self.rows = rows[order]
        self.lists, self.settings = lists, settings
        self.place = np.ascontiguousarray(lists.place[self.rows])
        self.variance = lists.error[self.rows] ** 2 + settings.floor**2
        starts = np.searchsorted(lists.image[self.rows], np.arange(len(lists.mjd) + 1))
        self.free = np.ones(len(self.rows), bool)
        east, north = self.place.T.copy()
        self.index = (lists.hours, starts, east, north, self.free)
        self.rejected: Counter[str] = Counter()
        self.pairs = 0
        self.density = np.diff(starts) / max(lists.area, 1.0)

    def run(self, slow: Sequence[IntArray]) -> list[Track]:
        """Return the movers; groups of slow sources are candidates as they are."""
        sigma = np.sqrt(self.variance.mean(axis=1))
        pairs = self._pairs(sigma)
        where = np.full(len(self.lists), -1)
        where[self.rows] = np.arange(len(self.rows))
        groups = [where[group][where[group] >= 0] for group in slow]
        candidates = [(len(group), n, 0) for n, group in enumerate(groups)]
        candidates += [(int(count), n, 1) for n, count in enumerate(pairs[:, 0].tolist())]
        tracks = []
        refused = np.zeros(len(self.rows), np.int64)  # the last refused candidate of each source
        for number, (_, n, kind) in enumerate(
            sorted(candidates, key=lambda one: (-one[0], one[2], one[1])), 1
        ):
            members = self._of_pair(pairs[n], sigma) if kind else self._of_group(groups[n])
            if members is None:
                continue
            ends = members[members >= 0]
            again = bool(refused[ends[0]]) and len(set(refused[ends].tolist())) == 1
            reason, track = self._judge(members)
            if track is None:
                ends = members[members >= 0] if (members >= 0).any() else ends
                refused[ends] = number
                self.rejected[reason] += not again
            else:
                self.free[members[members >= 0]] = False
                tracks.append(track)
        return tracks

    def _pairs(self, sigma: FloatArray) -> IntArray:
        """Return the pairs that others lie in line with, see `seeds`."""
        from virtualobserver.maths.linking.kernel import seeds

        own = self.settings
        source = (sigma, self.lists.mag[self.rows], float(np.median(sigma)))
        limits = (own.rate[1], own.reach, own.min_detections, own.clip, _UNLIKE * own.mag_scatter)
        members, room = np.empty(len(self.lists.mjd), np.int64), _ROOM
        while True:
            found = np.empty((room, 5), np.int64)
            n, self.pairs = seeds(self.index, source, limits, members, found)
            if n <= room:
                return found[:n]
            room = n

    def _of_group(self, group: IntArray) -> IntArray | None:
        group = group[self.free[group]]
        if len(group) < self.settings.min_detections:
            return None
        members = np.full(len(self.lists.mjd), -1, np.int64)
        members[self.lists.image[self.rows[group]]] = group
        return members

    def _of_pair(self, pair: IntArray, sigma: FloatArray) -> IntArray | None:
        from virtualobserver.maths.linking.kernel import follow

        _, i, j, p, q = pair.tolist()
        if not (self.free[p] and self.free[q]):
            return None
        members = np.empty(len(self.lists.mjd), np.int64)
        limits = (self.settings.clip, self.settings.min_detections)
        source = (sigma, float(np.median(sigma)))
        count = follow(self.index, (i, j, p, q), source, limits, members)
        return members if count >= self.settings.min_detections else None

    def _judge(self, members: IntArray) -> tuple[str, Track | None]:
        """Let a candidate grow, and say what speaks against it."""
        from virtualobserver.maths.linking.kernel import grow

        own = self.settings
        sources = (self.place, self.variance, float(self.variance[:, 1].max()))
        limits = (own.min_detections, own.clip, own.acceleration)
        terms = grow(self.index, sources, members, limits)
        if not terms:
            return "few", None
        rows = self.rows[members[members >= 0]]
        track = fit_track(self.lists, rows, floor=own.floor, terms=terms)
        track = replace(track, chance=self._chance(track))
        reason = objection(self.lists, track, own)
        return reason, None if reason else track

    def _chance(self, track: Track) -> float:
        """Return how many tracks as long as this one are expected from as many sources scattered at random."""
        from scipy.stats import poisson

        own = self.settings
        near = np.pi * own.clip**2 * np.prod(track.errors_at(self.lists.hours) + self._usual(), axis=1)
        seen = np.zeros(len(self.lists.mjd), bool)
        seen[self.lists.image[track.rows[:2]]] = True  # the pair it began with
        expected = float((self.density * near)[~seen].sum())
        return float(max(self.pairs, 1) * poisson.sf(len(track.rows) - 3, expected))

    def _usual(self) -> FloatArray:
        usual: FloatArray = np.sqrt(np.median(self.variance, axis=0))
        return usual


def _take(lists: SourceLists, rows: IntArray) -> SourceLists:
    if len(rows) == len(lists):
        return lists
    return replace(
        lists, image=lists.image[rows], place=lists.place[rows], error=lists.error[rows], mag=lists.mag[rows],
        pixel=lists.pixel[rows], shape=lists.shape[rows],
    )  # fmt: skip
