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
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee
from scipy.spatial import cKDTree

from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.columns import direction

if TYPE_CHECKING:
    from virtualobserver.maths.trails.columns import Columns, Frame
    from virtualobserver.maths.trails.sky import TrailSky

__all__ = ["fit_together"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
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
    alone = 1 / normal.diagonal()
    held = (normal, right)
    if known is not None:
        held = _held(normal, right, (known[told.star], told.response))
    flux, variance = _solved(*held)
    spoilt = variance > SPOILT**2 * alone
    if np.any(variance > NEAR**2 * alone):
        _settle(held, told, known, (flux, variance, spoilt), alone)
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
    names = np.flatnonzero(square > 0)
    number = np.zeros(square.size, np.int64)
    number[names] = np.arange(len(names))
    one, other, value = (np.concatenate(part) for part in zip(*products, strict=True))
    size = len(names)
    upper = coo_array((value, (number[one], number[other])), shape=(size, size)).tocsr()
    return names, csr_array(upper + upper.T + diags_array(square.ravel()[names])), right.ravel()[names]


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
    return np.asarray(known[found], np.int64).reshape(-1, 2)


def _listed(
    products: Callable[[Array, Array, Array], int], room: int
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the two numbers and the sum of each product; `products` counts what has no room."""
    while True:
        one, other, value = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room)
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
    held: tuple[csr_array, FloatArray],
    names: _Names,
    known: FloatArray | None,
    found: tuple[FloatArray, FloatArray, NDArray[np.bool_]],
    alone: FloatArray,
) -> None:
    """Solve once more where columns could not be told apart, each held to its star's mean; `found` is changed."""
    flux, variance, spoilt = found
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
    _, group = connected_components(held[0], directed=False)
    rows = np.flatnonzero(np.isin(group, group[prior > 0]))
    normal = csr_array(held[0][rows][:, rows] + diags_array(prior[rows]))
    expected = np.where(prior > 0, full * names.response, 0.0)
    flux[rows], variance[rows] = _solved(normal, (held[1] + prior * expected)[rows])
    spoilt[rows] = (variance > SPOILT**2 * alone)[rows] | (variance * prior > _TOLD)[rows]


def _held(
    normal: csr_array, right: FloatArray, light: tuple[FloatArray, FloatArray]
) -> tuple[csr_array, FloatArray]:
    """Return the equations with what a catalogue says of faint unknowns that others touch: its light, and response."""
    full, response = light
    diagonal = normal.diagonal()
    touched = np.asarray(abs(normal).sum(axis=1)).ravel() > diagonal * (1 + _RIDGE)
    with np.errstate(invalid="ignore"):
        faint = touched & (full > 0) & (full**2 * diagonal < 1)
    weight = np.where(faint, 1 / np.where(faint, full, 1.0) ** 2, 0.0)
    return csr_array(normal + diags_array(weight)), right + weight * np.where(faint, full * response, 0.0)


def _solved(normal: csr_array, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the solution and its variances, one group of unknowns that touch each other after the other.

    Unknowns are put in an order in which those that touch each other are near: on a track along the rows each column
    of pixels is a chain of its own, in which a star touches a few others however crowded the field is.
    """
    from virtualobserver.maths.trails.joint_kernel import envelope, solve_groups

    size = len(right)
    order = np.asarray(reverse_cuthill_mckee(normal, symmetric_mode=True), np.int64)
    rank = np.empty(size, np.int64)
    rank[order] = np.arange(size)
    low, block = np.empty(size, np.int64), np.empty(size, np.bool_)
    room = envelope(normal.indptr, normal.indices, order, rank, low, block)
    flux, variance = np.empty(size), np.empty(size)
    solve_groups(
        normal.indptr,
        normal.indices,
        normal.data,
        right,
        order,
        rank,
        low,
        block,
        room,
        _RIDGE,
        flux,
        variance,
    )
    return flux, variance
