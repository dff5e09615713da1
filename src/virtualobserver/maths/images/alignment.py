"""Alignment of frames that have no world coordinates: by triangles of stars, or by cross-correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.arrays import Array

__all__ = [
    "Transform",
    "align_series",
    "match_stars",
]

FloatArray = NDArray[np.float64]
NEIGHBOURS = 6
"""Stars about each one of which triangles are made: 15 triangles. Chosen, not tuned."""
RATIO_TOLERANCE = 0.01
"""Of sides; a tenth of a pixel in triangles of ten."""
TRIALS = 400
"""Maps tried, those with most votes first; bounds the time of frames that do not overlap."""


@dataclass(frozen=True, eq=False)
class Transform:
    """From pixels of a reference to those of a frame: (x, y) -> matrix @ (x, y) + offset.

    Parameters
    ----------
    matrix
        Shape (2, 2): rotation and scale (and reflection).
    offset
        Shape (2,), pixels.
    rms
        Of the residuals per axis, pixels.
    n
        Stars matched.
    pairs
        Positions of the matched stars in reference and frame, shape (n, 2).
    """

    matrix: FloatArray
    offset: FloatArray
    rms: float
    n: int
    pairs: NDArray[np.int64]

    def __call__(self, x: object, y: object) -> tuple[FloatArray, FloatArray]:
        """Return where positions of the reference are in the frame."""
        points = np.stack([np.asarray(x, float), np.asarray(y, float)], axis=-1) @ self.matrix.T + self.offset
        return points[..., 0], points[..., 1]

    @property
    def scale(self) -> float:
        """Pixels of the frame per pixel of the reference."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    @property
    def rotation(self) -> float:
        """Angle from the x axis towards y, degrees."""
        return float(np.degrees(np.arctan2(self.matrix[1, 0], self.matrix[0, 0])))


def match_stars(
    reference: Array,
    stars: Array,
    *,
    brightest: int = 50,  # chosen: fainter stars are often in one list only
    radius: float = 2.0,  # chosen: about the FWHM of well sampled stars
    scale: tuple[float, float] = (0.9, 1.1),  # chosen: far more than focus and filters change it
    fewest: int = 6,  # chosen: two fix the transformation, and four more agree with it
    reflected: bool = False,
) -> Transform:
    """Match two lists of stars by the shapes of triangles they form, and fit shift, rotation and scale.

    Each bright star makes triangles with its nearest neighbours; shapes, two ratios of sides, that agree vote for
    pairs of triangles, each of which is tried as the transformation, and that under which most stars fall on
    each other is refined by least squares (after Valdes et al. 1995, PASP 107, 1119).

    Parameters
    ----------
    reference, stars
        Positions x, y, brightest first, shape (n, 2).
    brightest
        How many of each list make triangles; all are matched.
    radius
        Within which stars are the same, pixels of the frame.
    scale
        Allowed range of the scale.
    fewest
        Least matched stars.
    reflected
        Whether one of the two may be a mirror image.

    Raises
    ------
    NotEnoughData
        If no transformation matches `fewest` stars.
    """
    one, two = (np.asarray(points, float).reshape(-1, 2) for points in (reference, stars))
    best: tuple[int, FloatArray, FloatArray] | None = None
    if min(len(one), len(two)) >= 3:
        tree = cKDTree(two)
        bright = one[: 4 * brightest]
        for corners, others in _triangle_pairs(one[:brightest], two[:brightest], reflected):
            matrix, offset = _similarity(corners, others, reflected)
            if not scale[0] <= np.sqrt(abs(np.linalg.det(matrix))) <= scale[1]:
                continue
            distance, _ = tree.query(bright @ matrix.T + offset, distance_upper_bound=radius)
            count = int(np.isfinite(distance).sum())
            if best is None or count > best[0]:
                best = count, matrix, offset
                # chosen: no wrong transformation brings most stars onto each other
                if count > 0.6 * min(len(bright), len(two)):
                    break
    if best is None or best[0] < fewest:
        found = 0 if best is None else best[0]
        msg = (
            f"{len(one)} and {len(two)} stars do not match: the best transformation fits {found},"
            f" at least {fewest} are needed"
        )
        raise NotEnoughData(msg)
    return _refine(one, two, best[1:], radius, reflected)


def align_series(
    lists: Sequence[Array], *, reference: int = 0, radius: float = 2.0, **options: Any
) -> list[Transform | None]:
    """Match the stars of many frames with those of one; frames that do not match give None.

    A frame that has drifted too far for the reference is matched through the nearest frame that does match.

    Parameters
    ----------
    lists
        Positions x, y of the stars of each frame, brightest first.
    options
        Of `match_stars`.
    """
    found: list[Transform | None] = [None] * len(lists)
    for number in sorted(range(len(lists)), key=lambda n: (abs(n - reference), n)):
        try:
            found[number] = match_stars(lists[reference], lists[number], radius=radius, **options)
            continue
        except NotEnoughData:
            done = [n for n in range(len(lists)) if found[n] is not None]
        if not done:
            return found
        near = min(done, key=lambda n: abs(n - number))
        through = found[near]
        try:
            step = match_stars(lists[near], lists[number], radius=radius, **options)
        except NotEnoughData:
            continue
        assert through is not None
        matrix, offset = step.matrix @ through.matrix, step.matrix @ through.offset + step.offset
        found[number] = Transform(matrix, offset, float(np.hypot(step.rms, through.rms)), step.n, step.pairs)
    return found


# --- inside -----------------------------------------------------------------------------------------------


def _triangles(points: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return shapes (middle and short over long side) and corners, ordered by the opposite side."""
    near = min(NEIGHBOURS + 1, len(points))
    index = np.asarray(cKDTree(points).query(points, k=near)[1])
    corners = set()
    for row in np.atleast_2d(index).tolist():
        for i in range(1, len(row)):
            for j in range(i + 1, len(row)):
                corners.add(tuple(sorted((row[0], row[i], row[j]))))
    triples = np.array(sorted(corners), dtype=np.int64).reshape(-1, 3)
    places = points[triples]
    sides = np.linalg.norm(places[:, [1, 2, 0]] - places[:, [2, 0, 1]], axis=2)  # opposite to each corner
    order = np.argsort(-sides, axis=1)
    sides = np.take_along_axis(sides, order, axis=1)
    triples = np.take_along_axis(triples, order, axis=1)
    shapes = sides[:, 1:] / np.maximum(sides[:, :1], 1e-9)
    # chosen: flat triangles, and those of two sides alike, are told apart by their noise
    good = (shapes[:, 1] > 0.1) & (shapes[:, 0] < 0.97) & (shapes[:, 0] - shapes[:, 1] > 0.03)
    return shapes[good], triples[good]


def _triangle_pairs(one: FloatArray, two: FloatArray, reflected: bool) -> list[tuple[FloatArray, FloatArray]]:
    shapes1, corners1 = _triangles(one)
    shapes2, corners2 = _triangles(two)
    if not len(shapes1) or not len(shapes2):
        return []
    distance, index = cKDTree(shapes2).query(
        shapes1, k=min(4, len(shapes2)), distance_upper_bound=RATIO_TOLERANCE
    )
    distance, index = (np.asarray(v).reshape(len(shapes1), -1) for v in (distance, index))
    rows, cols = np.nonzero(np.isfinite(distance))
    chosen = [
        (one[corners1[row]], two[corners2[index[row, col]]]) for row, col in zip(rows, cols, strict=True)
    ]
    if not reflected:
        chosen = [(a, b) for a, b in chosen if _handed(a) == _handed(b)]
    votes = _votes(chosen)
    order = np.argsort(-votes, kind="stable")[:TRIALS]
    return [chosen[number] for number in order]


def _votes(pairs: list[tuple[FloatArray, FloatArray]]) -> NDArray[np.int64]:
    """Count for each pair how many others imply about the same scale and turn: true ones agree."""
    if not pairs:
        return np.zeros(0, np.int64)
    values = []
    for a, b in pairs:
        u, v = a[1] - a[0], b[1] - b[0]
        length = np.log(np.hypot(*v) / np.hypot(*u))
        turn = np.arctan2(v[1], v[0]) - np.arctan2(u[1], u[0])
        # chosen: 2 % of scale and 0.03 rad agree; wrong pairs are spread over all
        values.append((length / 0.02, np.cos(turn) / 0.03, np.sin(turn) / 0.03))
    points = np.array(values)
    near = cKDTree(points).query_pairs(1.0, output_type="ndarray")
    return np.bincount(near.ravel(), minlength=len(points))


def _handed(corners: FloatArray) -> bool:
    u, v = corners[1] - corners[0], corners[2] - corners[0]
    return bool(u[0] * v[1] - u[1] * v[0] > 0)


def _similarity(one: FloatArray, two: FloatArray, reflected: bool) -> tuple[FloatArray, FloatArray]:
    """Fit shift, rotation and scale (and reflection) by least squares (Umeyama 1991)."""
    centre1, centre2 = one.mean(axis=0), two.mean(axis=0)
    a, b = one - centre1, two - centre2
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0 if reflected else np.sign(np.linalg.det(u @ vt)) or 1.0])
    matrix = (u * sign) @ vt * float((s * sign).sum() / max((a**2).sum(), 1e-12))
    return matrix, centre2 - matrix @ centre1


def _refine(
    one: FloatArray, two: FloatArray, start: tuple[FloatArray, FloatArray], radius: float, reflected: bool
) -> Transform:
    matrix, offset = start
    tree = cKDTree(two)
    first = second = np.zeros(0, np.int64)
    limit, residual = radius, np.zeros((0, 2))
    for _ in range(5):
        distance, index = tree.query(one @ matrix.T + offset, distance_upper_bound=limit)
        first = np.flatnonzero(np.isfinite(distance))
        second = np.asarray(index)[first]
        _, unique = np.unique(second, return_index=True)
        first, second = first[unique], second[unique]
        matrix, offset = _similarity(one[first], two[second], reflected)
        residual = two[second] - (one[first] @ matrix.T + offset)
        spread = MAD_TO_SIGMA * float(np.median(np.abs(residual)))
        limit = min(radius, max(5 * spread, 0.1))
    rms = float(np.sqrt(np.mean(residual**2)))
    return Transform(matrix, offset, rms, len(first), np.stack([first, second], axis=1))
