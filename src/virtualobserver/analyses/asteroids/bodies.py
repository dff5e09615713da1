"""The bodies of a field: movers of one or more nights, with what they are and are called."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from virtualobserver.analyses.asteroids.known import Identity, Named
from virtualobserver.analyses.asteroids.settings import AsteroidsSettings
from virtualobserver.analyses.asteroids.tracks import Night, Track
from virtualobserver.maths.linking.nights import join_nights

__all__ = ["Body", "Part", "bodies_of", "label_of"]

_SHARE: Final = 1_000_000
"""Numbers of one night: two of two hundred bodies would share one in one night of fifty, and then get others."""


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
        The n of ``AST_n`` and ``UNK_n``: of the day and the place it was first seen at, so that it is the same
        whatever else was found.
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


def bodies_of(nights: Sequence[Night], named: Sequence[Named], settings: AsteroidsSettings) -> list[Body]:
    """Put the movers of all nights together.

    Movers that were found to be one known body are one; of the others those are that predict each other.
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
            [part.track.path for part in rest],
            [part.night.name for part in rest],
            longest=settings.longest_gap,
        )
        groups = [*known.values(), *([rest[number] for number in some] for some in joined)]
        groups.sort(key=lambda some: some[0].key)
    return _numbered([tuple(some) for some in groups])


# --- inside -----------------------------------------------------------------------------------------------


def _numbered(groups: Sequence[tuple[Part, ...]]) -> list[Body]:
    """Give each body its number; of two that would have the same the later one takes the next."""
    taken: set[int] = set()
    bodies = []
    for parts in groups:
        day = int(parts[0].track.rows["mjd"][0]) * _SHARE
        place = zlib.crc32(Body(parts, 0).name.encode()) % _SHARE
        while day + place in taken:
            place = (place + 1) % _SHARE
        taken.add(day + place)
        bodies.append(Body(parts, day + place))
    return bodies
