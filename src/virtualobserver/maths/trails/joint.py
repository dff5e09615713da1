"""Trails that overlap, fitted together: every pixel is shared out among the stars that reach it.

Where two lie on one another the pixels tell only the sum of both. There each is held to what it is elsewhere, or to the
catalogue: what changes is then taken for the brighter star's, and the fainter one is marked as not measured.

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
"""Rows whose pixels are listed at once: 10 MB of them among 5000 trails."""
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


def _equations(
    frame: Frame, sky: TrailSky, columns: Columns
) -> tuple[NDArray[np.int64], csr_array, FloatArray]:
    """Return the numbers of the samples that have pixels, and the normal equations of their light.

    They are sums over pixels: of a few rows at a time, for the list of which light is in which pixel of 5000 trails
    takes 150 MB.
    """
    from virtualobserver.maths.trails.extract_kernel import add_trails, design

    track, half = frame.track, columns.half
    ux, uy = (v / track.speed for v in track.vector)
    model = np.zeros(frame.image.shape, np.float32)
    grid = columns.first, columns.shift, columns.width, columns.table
    add_trails(model, frame.x, frame.y, ux, uy, *grid, 0.0, half, np.maximum(columns.flux, 0.0))
    usable = np.isfinite(columns.flux)
    (ny, nx), size = frame.image.shape, usable.size
    sums, right = csr_array((size, size)), np.zeros(size)
    room = 1 << 16
    for top in range(0, ny, _BAND):
        bottom = min(top + _BAND, ny)
        while True:
            pixel, unknown = np.empty(room, np.int32), np.empty(room, np.int32)
            value, data = np.empty(room), np.empty(room)
            count = design(
                frame.image, frame.good, model, columns.ground, sky.split, frame.x, frame.y, ux, uy, *grid, half,
                usable, (top, bottom), pixel, unknown, value, data,
            )  # fmt: skip
            if count <= room:
                break
            room = count + count // 4
        seen = np.zeros((bottom - top) * nx)
        seen[pixel[:count][::-1]] = data[:count][
            ::-1
        ]  # of a pixel of several stars, as the first of them has it
        matrix = coo_array((value[:count], (pixel[:count], unknown[:count])), shape=(len(seen), size)).tocsr()
        sums = sums + matrix.T @ matrix
        right += matrix.T @ seen
    names = np.flatnonzero(sums.diagonal() > 0)
    return names, csr_array(sums[names][:, names]), right[names]


class _Names:
    """What the unknowns are: star and share of a column that a steady star fills, by the number of the sample."""

    def __init__(self, names: NDArray[np.int64], response: FloatArray, samples: int) -> None:
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
