"""The bodies of a field: movers of one or more nights, with what they are and are called."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from virtualobserver.analyses.asteroids.known import Identity, Named, place_of
from virtualobserver.analyses.asteroids.settings import AsteroidsSettings
from virtualobserver.analyses.asteroids.tracks import Night, Track
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.maths.ephemeris.seen import parallax_at
from virtualobserver.maths.linking.nights import join_nights
from virtualobserver.maths.linking.paths import NightPath

if TYPE_CHECKING:
    from virtualobserver.data.product import Target

__all__ = ["SAME_SKY", "SAME_TIME", "Body", "Numbers", "Part", "bodies_of", "label_of"]

SAME_TIME: Final = 1e-5
"""Days; the times of images, written with five digits."""
SAME_SKY: Final = 5.0
"""arcsec within which two detections at one time are of one body, as movers are compared."""

_SHARE: Final = 1_000_000
"""Numbers of one night: two of two hundred bodies would share one in one night of fifty, and then get others."""


class Numbers(Protocol):
    """Something that knows which numbers were given before."""

    def before(self, target: Target) -> Sequence[tuple[float, float, float, int]]:
        """Return time (MJD), place (deg) and number of what was found in a field, the oldest number first."""
        ...


@dataclass(frozen=True, eq=False)
class Part:
    """A body in one night."""

    night: Night
    track: Track
    identity: Identity | None
    second: str

    @property
    def key(self) -> tuple[float, float, float]:
        """What sorts parts the same way whatever the order in which nights came."""
        return self.track.path.key


@dataclass(frozen=True, eq=False)
class Body:
    """One body.

    Parameters
    ----------
    parts
        In order of time.
    number
        The n of ``AST_n`` and ``UNK_n``: that it was given before, else of the day and the place it was first seen at,
        so that it is the same whatever else was found.
    """

    parts: tuple[Part, ...]
    number: int

    @property
    def name(self) -> str:
        """Name of the source: that of its first mover, which says when and where, with another letter."""
        return f"A{self.parts[0].track.name.removeprefix('M')}"

    @property
    def known_as(self) -> str | None:
        """What it is called in catalogues, None if it is not known."""
        identity = self.parts[0].identity
        return None if identity is None else identity.name

    @property
    def epochs(self) -> int:
        """Number of detections."""
        return sum(len(part.track.rows) for part in self.parts)

    def kind(self, settings: AsteroidsSettings) -> str:
        """Return ``known``, ``asteroid`` or ``unknown``, as long as nobody has judged."""
        if self.known_as is not None:
            return "known"
        sure = self.epochs >= settings.certain or len(self.parts) > 1
        return "asteroid" if sure else "unknown"


def label_of(number: int, kind: str) -> str:
    """Return what a body that is not known is called: ``AST_n`` where it is an asteroid, else ``UNK_n``."""
    return f"{'AST' if kind == 'asteroid' else 'UNK'}_{number}"


def bodies_of(
    nights: Sequence[Night],
    named: Sequence[Named],
    settings: AsteroidsSettings,
    before: Sequence[tuple[float, float, float, int]] = (),
) -> list[Body]:
    """Put the movers of all nights together.

    Movers that were found to be one known body are one; of the others those are that predict each other. What was
    numbered `before` (see `Numbers`) keeps its number; one body of several numbers has the oldest.
    """
    parts = [
        Part(night, track, identity, second)
        for night, those in zip(nights, named, strict=True)
        for track, identity, second in zip(night.tracks, those.identities, those.seconds, strict=True)
    ]
    parts.sort(key=lambda part: part.key)
    groups: list[list[Part]] = []
    if settings.nights == "separate":
        groups = [[part] for part in parts]
    else:
        known: dict[str, list[Part]] = {}
        for part in parts:
            if part.identity is not None:
                known.setdefault(part.identity.name, []).append(part)
        rest = [part for part in parts if part.identity is None]
        joined = join_nights(
            _seen_from(rest, settings),
            [part.night.name for part in rest],
            longest=settings.longest_gap,
        )
        groups = [*known.values(), *([rest[number] for number in some] for some in joined)]
        groups.sort(key=lambda some: some[0].key)
    return _numbered([tuple(some) for some in groups], before)


# --- inside -----------------------------------------------------------------------------------------------


def _seen_from(parts: Sequence[Part], settings: AsteroidsSettings) -> list[NightPath]:
    """Return the paths of movers with what the turn of the Earth does to them, where the telescope's place is known."""
    paths = [part.track.path for part in parts]
    sites = [place_of(part.night, settings)[0] for part in parts]
    for site in {one for one in sites if one is not None}:
        own = [number for number, one in enumerate(sites) if one == site]
        spots = np.array([(paths[number].mjd, paths[number].ra, paths[number].dec) for number in own])
        for number, *moved in zip(
            own, *parallax_at(spots[:, 0], spots[:, 1], spots[:, 2], site), strict=True
        ):
            paths[number] = replace(paths[number], parallax=(moved[0], moved[1]))
    return paths


def _kept(
    groups: Sequence[tuple[Part, ...]], before: Sequence[tuple[float, float, float, int]]
) -> Mapping[int, int]:
    """Return the numbers that groups had, by place in the list; no number is given twice."""
    if not before or not groups:
        return {}
    rows = [(place, part.track.rows) for place, parts in enumerate(groups) for part in parts]
    owner = np.concatenate([np.full(len(table), place) for place, table in rows])
    mjd, ra, dec = (np.concatenate([table[name] for _, table in rows]) for name in ("mjd", "ra", "dec"))
    order = np.argsort(mjd, kind="stable")
    kept: dict[int, int] = {}
    given: set[int] = set()
    for time, east, north, number in before:
        ends = np.searchsorted(mjd[order], (time - SAME_TIME, time + SAME_TIME))
        now = order[slice(*ends.tolist())]
        if number in given or not now.size:
            continue
        away = separation(ra[now], dec[now], east, north) * ARCSEC_PER_DEGREE
        place = int(owner[now[int(np.argmin(away))]])
        if away.min() <= SAME_SKY and place not in kept:
            kept[place] = number
            given.add(number)
    return kept


def _numbered(
    groups: Sequence[tuple[Part, ...]], before: Sequence[tuple[float, float, float, int]]
) -> list[Body]:
    """Give each body its number; of two that would have the same the later one takes the next."""
    kept = _kept(groups, before)
    taken = {number for *_, number in before}  # a number that was given once means nothing else
    bodies = []
    for index, parts in enumerate(groups):
        if index in kept:
            bodies.append(Body(parts, kept[index]))
            continue
        day = int(parts[0].track.rows["mjd"][0]) * _SHARE
        place = zlib.crc32(Body(parts, 0).name.encode()) % _SHARE
        while day + place in taken:
            place = (place + 1) % _SHARE
        taken.add(day + place)
        bodies.append(Body(parts, day + place))
    return bodies
