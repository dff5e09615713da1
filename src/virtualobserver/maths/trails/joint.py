"""Trails that overlap, fitted together: every pixel is shared out among the stars that reach it.

The light of each star is a step function of time with a knot a pixel (0.53 s of 20 s over 38 pixels). Finer knots have
no answer: there are not more columns than that. Columns that share no pixel are solved apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

if TYPE_CHECKING:
    from virtualobserver.maths.trails.columns import Columns, Frame
    from virtualobserver.maths.trails.profile import TransverseProfile
    from virtualobserver.maths.trails.sky import TrailSky

__all__ = ["fit_together"]

FloatArray = NDArray[np.float64]
DENSE: Final = 200
"""Unknowns solved as a full matrix, with exact errors; more are solved sparsely, each error from those it touches."""
SPOILT: Final = 5.0
"""Times the error of a lone star, from which on two stars are too near each other to be told apart."""
_RIDGE: Final = 1e-9
"""Of the diagonal, so that two stars in one place have large errors and not none."""


def fit_together(
    frame: Frame,
    sky: TrailSky,
    profile: TransverseProfile,
    columns: Columns,
    *,
    known: FloatArray | None = None,
) -> None:
    """Replace flux and variance of columns by those of the joint fit; mark those that cannot be told apart.

    Parameters
    ----------
    frame, sky, profile
        As extracted.
    columns
        Fitted trail by trail.
    known
        Electrons of a column of each trail by a catalogue, shape (n,), NaN if unknown. A star that overlaps another and
        is fainter than the noise of a column is held to that, give or take as much: else it, or what the catalogue took
        for a star, and the other share the light as the noise has it.
    """
    del profile
    from virtualobserver.maths.trails.extract_kernel import add_trails, design

    track, half = frame.track, columns.half
    ux, uy = (v / track.speed for v in track.vector)
    model = np.zeros(frame.image.shape, np.float32)
    grid = columns.first, columns.shift, columns.width, columns.table
    add_trails(model, frame.x, frame.y, ux, uy, *grid, 0.0, half, np.maximum(columns.flux, 0.0))
    usable = np.isfinite(columns.flux)
    room = int(usable.sum() * (2 * half + 3) * 1.5) + 64
    pixel, unknown = np.empty(room, np.int64), np.empty(room, np.int64)
    value, data = np.empty(room), np.empty(room)
    count = design(
        frame.image, frame.good, model, columns.ground, sky.split, frame.x, frame.y, ux, uy, *grid, half, usable,
        pixel, unknown, value, data,
    )  # fmt: skip
    pixel, unknown, value, data = pixel[:count], unknown[:count], value[:count], data[:count]
    if not count:
        return
    names, column = np.unique(unknown, return_inverse=True)
    places, first, row = np.unique(pixel, return_index=True, return_inverse=True)
    shape = len(places), len(names)
    matrix = coo_array((value, (row, column)), shape=shape).tocsc()
    normal = csr_array(matrix.T @ matrix)
    right = np.asarray(matrix.T @ data[first])
    alone = 1 / normal.diagonal()
    if known is not None:
        normal, right = _held(
            normal, right, (known[names // columns.flux.shape[1]], columns.response.ravel()[names])
        )
    flux, variance = _solved(normal, right)
    columns.flux.ravel()[names] = flux
    columns.variance.ravel()[names] = variance
    columns.spoilt.ravel()[names] = variance > SPOILT**2 * alone


# --- inside -----------------------------------------------------------------------------------------------


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
    """Return the solution and its variances, one group of unknowns that touch each other after the other."""
    flux, variance = np.empty(len(right)), np.empty(len(right))
    n_groups, group = connected_components(normal, directed=False)
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group, minlength=n_groups)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place = np.empty(len(right), np.int64)
    place[order] = np.arange(len(right)) - np.repeat(starts, sizes)
    entries = normal.tocoo()
    size_of = sizes[group[entries.coords[0]]]
    for size in np.unique(sizes):
        groups = np.flatnonzero(sizes == size)
        members = order[starts[groups][:, None] + np.arange(size)]
        if size > DENSE:
            for one in members:
                _sparse(normal, right, one, flux, variance)
            continue
        index = np.empty(n_groups, np.int64)
        index[groups] = np.arange(len(groups))
        here = size_of == size
        i, j, v = entries.coords[0][here], entries.coords[1][here], entries.data[here]
        block = np.zeros((len(groups), size, size))
        block[index[group[i]], place[i], place[j]] = v
        diagonal = np.arange(size)
        block[:, diagonal, diagonal] *= 1 + _RIDGE
        inverse = np.linalg.inv(block)
        flux[members] = np.einsum("gij,gj->gi", inverse, right[members])
        variance[members] = inverse[:, diagonal, diagonal]
    return flux, variance


def _sparse(
    normal: csr_array, right: FloatArray, members: NDArray[np.int64], flux: FloatArray, variance: FloatArray
) -> None:
    part = normal[members][:, members].tocsc()
    part.setdiag(part.diagonal() * (1 + _RIDGE))
    flux[members] = splu(part).solve(right[members])
    rows = part.tocsr()
    for at, name in enumerate(members):
        near = rows.indices[rows.indptr[at] : rows.indptr[at + 1]]
        near = np.concatenate([[at], near[near != at]])
        unit = np.zeros(len(near))
        unit[0] = 1.0
        variance[name] = np.linalg.solve(part[near][:, near].toarray(), unit)[0]
