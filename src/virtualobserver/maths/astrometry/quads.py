"""Match stars of a frame with stars of a catalogue by the shapes of quadruples they form.

The shape of four stars, as two of them see the other two, does not depend on scale, shift or rotation (Lang et
al. 2010, AJ 139, 1782). Each star is joined with stars near it only, so distortion of the frame does not matter,
and all pairs of quadruples that look alike are tried as the transformation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import bdtrc

__all__ = ["Candidate", "chance", "find_candidates"]

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

NEIGHBOURS: Final = 7
"""Stars about each one of which figures are made; chosen, not measured."""
TOLERANCE: Final = 0.02
"""Largest distance of two shapes, in units of the longest side."""
ALIKE: Final = 3
"""Catalogue figures tried for each of the frame; the nearest may be one by chance. Chosen, not tuned."""
PACKED: Final = 55_000
"""Stars of which four numbers fit into one of 63 bits."""
MOST: Final = 6000
"""Candidates tested; bounds the time of a frame that is nowhere in the catalogue."""
NEAR: Final = 0.08
"""Within which stars are the same, in units of their mean distance; a chance of 2 % a star."""


@dataclass(frozen=True)
class Candidate:
    """A transformation z -> factor * z + offset, of conj(z) if `mirrored`, and how many stars it matches.

    `radius` is that within which they were counted, on the plane of the catalogue.
    """

    factor: complex
    offset: complex
    mirrored: bool
    n: int
    radius: float

    def __call__(self, points: ComplexArray) -> ComplexArray:
        """Return points of the frame on the plane of the catalogue."""
        return np.asarray(self.factor * (np.conj(points) if self.mirrored else points) + self.offset)


def chance(n: int, of: int, probability: float) -> float:
    """Return the natural logarithm of the chance that `n` or more of `of` stars match by accident.

    The four stars that proposed the transformation match by construction and count for nothing.
    """
    if n <= 4:
        return 0.0
    with np.errstate(divide="ignore"):  # a chance that underflows is 0
        return float(np.log(bdtrc(n - 5, max(of - 4, n - 4), min(max(probability, 1e-12), 1.0))))


def find_candidates(
    frame: ComplexArray,
    catalogue: ComplexArray,
    *,
    scale: tuple[float, float],
    parities: tuple[bool, ...] = (False, True),
    best: int = 5,  # chosen; each costs a fit
) -> list[Candidate]:
    """Return the transformations that match most stars, best first.

    Parameters
    ----------
    frame, catalogue : shape (n,)
        Positions x + iy, of about as many stars per area, brightest first.
    scale
        Allowed range of units of the catalogue per pixel.
    parities
        Whether to try the frame as it is (False), mirrored (True), or both.
    best
        How many to return.
    """
    if min(len(frame), len(catalogue)) < 4:
        return []
    ours, our_shapes = _quads(frame)
    theirs, their_shapes = _quads(catalogue)
    tree, stars = cKDTree(their_shapes), cKDTree(_plane(catalogue))
    spacing = 2 * float(np.median(np.asarray(stars.query(_plane(catalogue), k=2)[0])[:, 1]))
    found: list[Candidate] = []
    for mirrored in parities:
        shapes = our_shapes * np.array([1, -1, 1, -1]) if mirrored else our_shapes
        points = np.conj(frame) if mirrored else frame
        for order, variant in _variants(ours, shapes):
            away, which = tree.query(variant, k=min(ALIKE, len(theirs)), distance_upper_bound=TOLERANCE)
            away, which = (np.asarray(each).reshape(len(variant), -1) for each in (away, which))
            rows, places = np.nonzero(np.isfinite(away))
            if not len(rows):
                continue
            pairs = order[rows], theirs[which[rows, places]]
            found += _tried(points, catalogue, pairs, scale, (stars, spacing * NEAR, mirrored), best=best)
    return sorted(found, key=lambda each: -each.n)[:best]


# --- inside -----------------------------------------------------------------------------------------------


def _plane(points: ComplexArray) -> FloatArray:
    return np.stack([points.real, points.imag], axis=-1)


def _quads(points: ComplexArray) -> tuple[NDArray[np.int64], FloatArray]:
    """Return quadruples (A, B, C, D), A and B the farthest apart, and the places of C and D seen from A and B."""
    near = min(NEIGHBOURS, len(points) - 1)
    neighbours = np.asarray(cKDTree(_plane(points)).query(_plane(points), k=near + 1)[1])
    triples = np.array(list(combinations(range(1, near + 1), 3)))
    sets = np.concatenate(
        [np.repeat(neighbours[:, :1, None], len(triples), axis=1), neighbours[:, triples]], axis=2
    ).reshape(-1, 4)
    sets = _distinct(np.sort(sets, axis=1).astype(np.int64), len(points))
    corners = points[sets]
    sides = np.array(list(combinations(range(4), 2)))
    longest = np.abs(corners[:, sides[:, 0]] - corners[:, sides[:, 1]]).argmax(axis=1)
    rest = np.array([[n for n in range(4) if n not in side] for side in sides.tolist()])
    order = np.concatenate([sides[longest], rest[longest]], axis=1)
    quads = np.take_along_axis(sets, order, axis=1)
    a, b, c, d = points[quads].T
    fine = np.abs(b - a) > 0
    quads, a, b, c, d = quads[fine], a[fine], b[fine], c[fine], d[fine]
    first, second = (c - a) / (b - a), (d - a) / (b - a)
    return quads, np.stack([first.real, first.imag, second.real, second.imag], axis=1)


def _distinct(sets: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return each set of four different stars of `n` once, rising; rows rise already."""
    sets = sets[(np.diff(sets, axis=1) > 0).all(axis=1)]
    if n > PACKED:
        return np.unique(sets, axis=0)
    # a set as one number: these are sorted ten times as fast as rows
    powers = n ** np.arange(3, -1, -1, dtype=np.int64)
    return np.unique(sets @ powers)[:, None] // powers % n


def _variants(quads: NDArray[np.int64], shapes: FloatArray) -> Iterator[tuple[NDArray[np.int64], FloatArray]]:
    """Yield quadruples and shapes under the four namings of their stars."""
    for a, b, c, d in ((0, 1, 2, 3), (0, 1, 3, 2), (1, 0, 2, 3), (1, 0, 3, 2)):
        seen = shapes if (c, d) == (2, 3) else shapes[:, [2, 3, 0, 1]]
        # Seen from B, a point p is at 1 - p.
        yield quads[:, [a, b, c, d]], (np.array([1.0, 0, 1, 0]) - seen if a else seen)


def _tried(
    points: ComplexArray,
    catalogue: ComplexArray,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    scale: tuple[float, float],
    search: tuple[Any, float, bool],
    *,
    best: int,
) -> list[Candidate]:
    """Fit a transformation to each pair of quadruples and count the stars of the frame it puts on others."""
    stars, radius, mirrored = search
    ours, theirs = points[pairs[0]], catalogue[pairs[1]]
    middle, there = ours.mean(axis=1), theirs.mean(axis=1)
    centred = ours - middle[:, None]
    factor = (np.conj(centred) * (theirs - there[:, None])).sum(axis=1) / (np.abs(centred) ** 2).sum(axis=1)
    keep = np.flatnonzero((np.abs(factor) >= scale[0]) & (np.abs(factor) <= scale[1]))[:MOST]
    if not len(keep):
        return []
    factor, offset = factor[keep], (there - factor * middle)[keep]
    brightest = points[:80]
    moved = factor[:, None] * brightest + offset[:, None]
    away = stars.query(_plane(moved), distance_upper_bound=radius)[0]
    counts = np.isfinite(away).sum(axis=1)
    top = np.argsort(-counts, kind="stable")[:best]
    return [
        Candidate(complex(factor[n]), complex(offset[n]), mirrored, int(counts[n]), radius)
        for n in top.tolist()
    ]
