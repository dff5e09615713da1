"""Trails that overlap, fitted together: every pixel is shared out among the stars that reach it.

Where two lie on one another the pixels tell only the sum of both. There each is held to what it is elsewhere, or to the
catalogue: what changes is then taken for the brighter star's, and the fainter one is marked as not measured.

The light of each star is a step function of time with a knot a pixel (0.53 s of 20 s over 38 pixels). Finer knots have
no answer: there are not more columns than that. Columns that share no pixel are solved apart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import reverse_cuthill_mckee
from scipy.spatial import cKDTree

from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.columns import direction

if TYPE_CHECKING:
    from virtualobserver.maths.trails.columns import Columns, Frame
    from virtualobserver.maths.trails.sky import TrailSky

__all__ = ["fit_together"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
IndexArray = NDArray[np.int32]
SPOILT: Final = 5.0
"""Times the error of a lone star, from which on two stars are too near each other to be told apart."""
NEAR: Final = 2.0
"""The same, from which on what they are elsewhere helps."""
_STEADY: Final = 0.2
"""Of its mean light, by which a column of a star may differ: four times what image motion of 0.1 arcsec makes."""
_DOUBTED: Final = 0.4
"""The same of light that a catalogue has in another band."""
_SEEN: Final = 1.0
"""Full columns that must be told apart for a mean of their own: image motion in so few is within `_STEADY`."""
_SURE: Final = 3.0
"""S/N of such a mean."""
_TOLD: Final = 0.5
"""Of what is known of a column, from which on it is what the star was held to and no measurement."""
_BAND: Final = 256
"""Rows whose pixels are looked at once: their model and their data are 6 MB on a chip of 2046 columns."""
_RIDGE: Final = 1e-9
"""Of the diagonal, so that two stars in one place have large errors and not none."""


def fit_together(
    frame: Frame,
    sky: TrailSky,
    columns: Columns,
    *,
    known: FloatArray | None = None,
) -> None:
    """Replace flux and variance of columns by those of the joint fit; mark those that cannot be told apart.

    Parameters
    ----------
    frame, sky
        As extracted.
    columns
        Fitted trail by trail.
    known
        Electrons of a column of each trail by a catalogue, shape (n,), NaN if unknown. A star that overlaps another and
        is fainter than the noise of a column is held to that, give or take as much: else it, or what the catalogue took
        for a star, and the other share the light as the noise has it.
    """
    names, normal, right = _equations(frame, sky, columns)
    if not len(names):
        return
    told = _Names(names, columns.response, columns.flux.shape[1])
    alone = 1 / normal.data[normal.indptr[:-1]]
    if known is not None:
        right = _held(normal, right, (known[told.star], told.response))
    order = _ordered(normal)
    flux, variance = np.empty(len(names)), np.empty(len(names))
    begins = _solve(normal, right, order, (flux, variance))
    spoilt = variance > SPOILT**2 * alone
    if np.any(variance > NEAR**2 * alone):
        _settle((normal, right, order, begins), told, known, (flux, variance, spoilt), alone)
    columns.flux.ravel()[names] = flux
    columns.variance.ravel()[names] = variance
    columns.spoilt.ravel()[names] = spoilt


# --- inside -----------------------------------------------------------------------------------------------


def _equations(frame: Frame, sky: TrailSky, columns: Columns) -> tuple[IntArray, csr_array, FloatArray]:
    """Return the numbers of the samples that have pixels, and the normal equations of their light.

    They are sums over pixels, of some rows at a time, in which alone the model of all trails is needed.
    """
    from virtualobserver.maths.trails.extract_kernel import add_trails
    from virtualobserver.maths.trails.joint_kernel import own_sums, pair_sums, seen_data

    way = frame.x, frame.y, *direction(frame.track), columns.first
    grid, light = (columns.shift, columns.width, columns.table), np.maximum(columns.flux, 0.0)
    usable = np.isfinite(columns.flux) & np.isfinite(columns.ground[:, :1])
    square, right = np.zeros(usable.shape), np.zeros(usable.shape)
    (ny, nx), products = frame.image.shape, []
    (low, high), pairs = columns.rows(), _neighbours(columns)
    for top in range(0, ny, _BAND):
        bottom = min(top + _BAND, ny)
        model, seen = np.zeros((bottom - top, nx), np.float32), np.zeros((bottom - top, nx))
        add_trails(model, top, *way, *grid, 0.0, columns.half, light)
        within = (low >= 0) & (low < bottom) & (high > top)
        which = np.flatnonzero(within)
        seen_data(
            frame.image,
            frame.good,
            model,
            top,
            which,
            columns.ground,
            sky.split,
            *way,
            columns.half,
            usable,
            seen,
        )
        own_sums(
            frame.good,
            model,
            top,
            which,
            columns.ground,
            seen,
            *way,
            *grid,
            columns.half,
            usable,
            square,
            right,
        )
        both = pairs[within[pairs].all(axis=1)]
        listed = partial(
            pair_sums, frame.good, model, top, both, columns.ground, *way, *grid, columns.half, usable
        )
        products.append(_listed(listed, 64 * (len(both) + 1)))
    # trails that touch are near each other in memory as well: rows of the matrix are then found in the cache
    order = np.argsort(np.nan_to_num(frame.y), kind="stable")
    trail, sample = np.nonzero(square[order] > 0)
    names = order[trail] * square.shape[1] + sample
    number = np.zeros(square.size, np.int32)
    number[names] = np.arange(len(names))
    return names, _symmetric(products, number, square.ravel()[names]), right.ravel()[names]


def _symmetric(
    products: list[tuple[IndexArray, IndexArray, FloatArray]], number: IndexArray, diagonal: FloatArray
) -> csr_array:
    """Return the matrix with a diagonal, first in each row, and with products on either side; the list is emptied.

    Two bands of rows that share a trail have a product each: entries of one place are to be added.
    """
    from virtualobserver.maths.trails.joint_kernel import count_entries, fill_entries

    size = len(diagonal)
    count = np.ones(size, np.int64)
    for one, other, _ in products:
        count_entries(one, other, number, count)
    begin = np.concatenate([[0], np.cumsum(count)])
    indptr = begin.astype(np.int32 if begin[-1] < np.iinfo(np.int32).max else np.int64)
    indices, data, free = np.empty(begin[-1], indptr.dtype), np.empty(begin[-1]), begin[:-1] + 1
    indices[begin[:-1]], data[begin[:-1]] = np.arange(size), diagonal
    while products:
        fill_entries(*products.pop(), number, free, indices, data)
    return csr_array((data, indices, indptr), shape=(size, size))


def _neighbours(columns: Columns) -> IntArray:
    """Return pairs of trails whose columns may share pixels, the first of the frame before the other."""
    track, frame = columns.track, columns.frame
    known = np.flatnonzero(np.isfinite(frame.x) & np.isfinite(frame.y))
    if not len(known):
        return np.zeros((0, 2), np.int64)
    x, y = frame.x[known], frame.y[known]
    long, wide = columns.along.shape[1] + 2.0, 2 * columns.half + 2.0
    places = np.stack([(track.along(x, y) + columns.first[known]) / long, track.across(x, y) / wide], axis=1)
    found = cKDTree(places).query_pairs(1.0, p=np.inf, output_type="ndarray")
    found = found[np.argsort(y[found[:, 0]], kind="stable")]  # as the rows of the equations are
    return np.asarray(known[found], np.int64).reshape(-1, 2)


def _listed(
    products: Callable[[Array, Array, Array], int], room: int
) -> tuple[IndexArray, IndexArray, FloatArray]:
    """Return the two numbers and the sum of each product; `products` counts what has no room."""
    while True:
        one, other, value = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room)
        count = products(one, other, value)
        if count <= room:
            return one[:count], other[:count], value[:count]
        room = count


class _Names:
    """What the unknowns are: star and share of a column that a steady star fills, by the number of the sample."""

    def __init__(self, names: IntArray, response: FloatArray, samples: int) -> None:
        self.star, self.stars = names // samples, len(response)
        self.response = response.ravel()[names]

    def means(
        self, flux: FloatArray, variance: FloatArray, clear: NDArray[np.bool_]
    ) -> tuple[FloatArray, FloatArray]:
        """Return electrons of a full column of each star by its clear ones, and their error; NaN where not known."""
        weight = np.where(clear, self.response / variance, 0.0)
        top, norm, seen = (
            np.bincount(self.star, values, self.stars)
            for values in (weight * flux, weight * self.response, clear * self.response**2)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            light, error = top / norm, 1 / np.sqrt(norm)
            sure = (seen > _SEEN) & (light > _SURE * error)
        return np.where(sure, light, np.nan), np.where(sure, error, np.nan)


def _settle(
    held: tuple[csr_array, FloatArray, IntArray, NDArray[np.bool_]],
    names: _Names,
    known: FloatArray | None,
    found: tuple[FloatArray, FloatArray, NDArray[np.bool_]],
    alone: FloatArray,
) -> None:
    """Solve once more where columns could not be told apart, each held to its star's mean.

    `held` are the equations, their order, and which of it begin a group; they and `found` are changed.
    """
    (normal, right, order, begins), (flux, variance, spoilt) = held, found
    light, error = names.means(flux, variance, ~spoilt)
    if known is not None:
        light, error = np.where(np.isfinite(light), (light, error), (known, _DOUBTED * known))
    full, width = light[names.star], np.hypot(_STEADY * light, error)[names.star]
    with np.errstate(invalid="ignore"):
        prior = np.where(
            (variance > NEAR**2 * alone) & (full > 0), 1 / np.where(width > 0, width, 1.0) ** 2, 0.0
        )
    if not prior.any():
        return
    group = np.cumsum(begins)
    rows = order[np.isin(group, group[prior[order] > 0])]
    _add_diagonal(normal, prior)
    expected = np.where(prior > 0, full * names.response, 0.0)
    _solve(normal, right + prior * expected, rows, (flux, variance))
    spoilt[rows] = (variance > SPOILT**2 * alone)[rows] | (variance * prior > _TOLD)[rows]


def _add_diagonal(normal: csr_array, weight: FloatArray) -> None:
    """Add to the diagonal, which is the first entry of each row."""
    normal.data[normal.indptr[:-1]] += weight


def _held(normal: csr_array, right: FloatArray, light: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Add to the equations what a catalogue says of faint unknowns that others touch, and return their right side.

    It says the light of a full column, of which an unknown has the share `response`; the matrix is changed.
    """
    full, response = light
    diagonal = normal.data[normal.indptr[:-1]]
    touched = np.add.reduceat(np.abs(normal.data), normal.indptr[:-1]) > diagonal * (1 + _RIDGE)
    with np.errstate(invalid="ignore"):
        faint = touched & (full > 0) & (full**2 * diagonal < 1)
    weight = np.where(faint, 1 / np.where(faint, full, 1.0) ** 2, 0.0)
    _add_diagonal(normal, weight)
    return np.asarray(right + weight * np.where(faint, full * response, 0.0))


def _ordered(normal: csr_array) -> IntArray:
    """Return the unknowns in an order in which those that touch each other are near.

    On a track along the rows each column of pixels is a chain of its own, in which a star touches a few others however
    crowded the field is.
    """
    return np.asarray(reverse_cuthill_mckee(normal, symmetric_mode=True), np.int64)


def _solve(
    normal: csr_array, right: FloatArray, order: IntArray, found: tuple[FloatArray, FloatArray]
) -> NDArray[np.bool_]:
    """Write the solution and its variances, one group of unknowns that touch each other after the other.

    `order` holds whole groups, which alone are solved. Returned is, in it, which unknowns begin one.
    """
    from virtualobserver.maths.trails.joint_kernel import envelope, solve_groups

    rank = np.empty(len(right), np.int64)
    rank[order] = np.arange(len(order))
    low, begins = np.empty(len(order), np.int64), np.empty(len(order), np.bool_)
    room = envelope(normal.indptr, normal.indices, order, rank, low, begins)
    matrix = normal.indptr, normal.indices, normal.data
    solve_groups(*matrix, right, order, rank, low, begins, room, _RIDGE, *found)
    return begins
