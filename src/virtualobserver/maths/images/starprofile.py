"""The profile of the stars of an image, measured on all of them at once with what their neighbours shine into it.

Profile and light of stars are found in turn: the light of each star and of its neighbours from the profile, the
profile from all stars (as in Anderson & King 2000, PASP 112, 1360, here as a function of the radius). A circle about
one star holds its neighbours too, and a median of few stars does not get rid of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline

__all__ = ["StarProfile", "star_profile"]

FloatArray = NDArray[np.float64]
_KNOTS: Final = (0.0, 0.3, 0.6, 0.9, 1.2, 1.6, 2.2, 3.0)
"""Radii between which the profile is one cubic, full widths at half maximum: close where it bends."""
_LEAST_REACH: Final = 4.0
"""Full widths, as far as light is looked for at least: all but 1 to 2 % of the widest wings."""
_RING: Final = 1.5
"""Radius of what is fitted about a star, in that of its light: outside of that there is only sky."""
_CORE: Final = 1.5
"""Full widths about a neighbour that are left out: of it only wings are needed, which its place does not change."""
_UNLIKE: Final = 0.1
"""Of its light, by which a pixel may differ from the profile: stars are no circles, and pixels no points."""
_ODD: Final = 4.0
"""Standard deviations beyond which a pixel is left out: cosmic rays, and neighbours that nobody found."""
_ROUNDS: Final = 6
"""The light of neighbours is settled to 1e-3 after four."""
_CALM: Final = 3
"""Rounds before pixels are left out: the first profiles have no wings."""
_ROUGH: Final = 0.3
"""Error of the light that was found of a source in the ellipse of its detection, as a part of it."""
_STEPS: Final = 64
"""Of a full width, in which the profile is tabulated: linear between, to 1e-4."""
_DIFFER: Final = 0.03
"""By which the parts of stars differ where there are too few to tell."""
_TELL: Final = 3
"""Stars that tell by how much they differ."""


@dataclass(frozen=True, eq=False)
class StarProfile:
    """Surface brightness of a star of light 1 by radius.

    Parameters
    ----------
    fwhm
        Unit of the radius, pixels.
    radius
        Of the circle that holds a light of 1, pixels.
    reach
        As far as there is light, full widths.
    value
        Coefficients of the cubics, shape (k,).
    matrices, vectors
        Normal equations of each star, shape (stars, k, k) and (stars, k).
    stars, light
        Numbers of the stars among the sources, and their light, shape (stars,).
    """

    fwhm: float
    radius: float
    reach: float
    value: FloatArray
    matrices: FloatArray
    vectors: FloatArray
    stars: NDArray[np.int64]
    light: FloatArray

    def brighter(self, other: StarProfile) -> float:
        """Return by what factor stars are brighter than in another image, by their weighted median; NaN = unknown."""
        _, here, there = np.intersect1d(self.stars, other.stars, return_indices=True)
        ratio, weight = self.light[here] / other.light[there], other.light[there]
        good = weight > 0
        if not good.any():
            return float("nan")
        order = np.argsort(ratio[good], kind="stable")
        summed = np.cumsum(weight[good][order])
        return float(ratio[good][order][np.searchsorted(summed, 0.5 * summed[-1])])

    def found_by(self, stamp: NDArray[np.floating], x: ArrayLike, y: ArrayLike) -> tuple[float, float, float]:
        """Return what part of a star's light a kernel finds that is laid over it.

        Parameters
        ----------
        stamp
            Kernels, shape (n, ny, nx), for as many places of the star between the pixels.
        x, y
            Place of the star on each, pixels.

        Returns
        -------
        tuple of float
            The part, its error by noise, and the error by what stars differ by beyond that.
        """
        _, ny, nx = stamp.shape
        rows, cols = np.mgrid[:ny, :nx]
        away = np.hypot(
            rows - np.asarray(y, np.float64)[:, None, None], cols - np.asarray(x, np.float64)[:, None, None]
        )
        seen = np.einsum("nyx,nyxk->nk", stamp, _basis(away / self.fwhm, self.reach))
        weights = (seen / (np.asarray(stamp, np.float64) ** 2).sum(axis=(1, 2))[:, None]).mean(axis=0)
        whole = _whole(self.fwhm, self.radius, self.reach)
        part = float(weights @ self.value / (whole @ self.value))
        slope = (weights - part * whole) / (whole @ self.value)
        total, vector = self.matrices.sum(axis=0), self.vectors.sum(axis=0)
        noise = float(np.sqrt(slope @ np.linalg.pinv(total) @ slope))
        n = len(self.matrices)
        if n < _TELL:
            return part, noise, _DIFFER * part / float(np.sqrt(n))
        others = [_solved(total - a, vector - b) for a, b in zip(self.matrices, self.vectors, strict=True)]
        without = np.array([weights @ one / (whole @ one) for one in others])
        spread = (n - 1) / n * float(((without - without.mean()) ** 2).sum())
        return part, noise, float(np.sqrt(max(spread - noise**2, 0.0)))


@dataclass(frozen=True, eq=False)
class _Field:
    """Pixels about one star: their values, and how far the star and its neighbours are, full widths."""

    value: FloatArray
    away: FloatArray
    which: NDArray[np.int64]


def star_profile(
    read: Callable[[slice, slice], NDArray[np.floating]],
    shape: tuple[int, int],
    sources: tuple[ArrayLike, ArrayLike, ArrayLike],
    *,
    chosen: Iterable[int],
    fwhm: float,
    noise: float,
    radius: float,
    start: StarProfile | None = None,
) -> StarProfile | None:
    """Measure the profile of stars; None if none can be.

    Parameters
    ----------
    read
        Returns a box of the image without sky; NaN = no data.
    shape
        Rows and columns of the image.
    sources
        x, y (pixels) and rough light of all sources.
    chosen
        Which of them to measure: bright, single stars.
    fwhm
        Full width at half maximum, pixels.
    noise
        Standard deviation of a pixel without light.
    radius
        Of the circle that holds a star's light, pixels.
    start
        A profile to begin with, which needs fewer rounds; its reach in full widths has to be the same.
    """
    x, y, light = (np.asarray(part, np.float64) for part in sources)
    reach = max(radius / fwhm, _LEAST_REACH) if start is None else start.reach
    places = np.stack([x, y], axis=1)
    found = (_field(read, shape, places, star, fwhm, reach) for star in chosen)
    fields = [one for one in found if one is not None]
    if not fields:
        return None
    rough = [np.maximum(light[one.which], noise) for one in fields]
    sizes = list(rough)
    whole = _whole(fwhm, radius, reach)
    value = _gaussian(reach) if start is None else start.value
    matrices, vectors = np.zeros((len(fields), value.size, value.size)), np.zeros((len(fields), value.size))
    for turn in range(0 if start is None else _CALM, _ROUNDS):
        value = value / (whole @ value)
        for number, one in enumerate(fields):
            basis = _basis(one.away, reach)
            weight = _weight(one, basis @ value, sizes[number], noise, odd=_ODD if turn >= _CALM else np.inf)
            if not weight.any():
                return None
            sizes[number] = _lights(one, basis @ value, weight, rough[number])
            model = np.einsum("pjk,j->pk", basis, sizes[number])
            # less the mean: the sky about each star is its own
            model -= weight @ model / weight.sum()
            matrices[number] = (model * weight[:, None]).T @ model
            vectors[number] = (model * weight[:, None]).T @ one.value
        value = _solved(matrices.sum(axis=0), vectors.sum(axis=0))
    stars, lights = np.array([one.which[0] for one in fields]), np.array([one[0] for one in sizes])
    if not whole @ value > 0:
        return None
    return StarProfile(fwhm, radius, reach, value, matrices, vectors, stars, lights * (whole @ value))


# --- inside -----------------------------------------------------------------------------------------------


def _field(  # noqa: PLR0917
    read: Callable[[slice, slice], NDArray[np.floating]],
    shape: tuple[int, int],
    places: FloatArray,
    star: int,
    fwhm: float,
    reach: float,
) -> _Field | None:
    """Cut out the pixels about a star; None if its core is not whole, or nothing tells of the sky."""
    x, y = places[star]
    far = _RING * reach * fwhm
    ny, nx = shape
    if min(x, y, nx - 1 - x, ny - 1 - y) < _CORE * fwhm:
        return None
    box = (
        slice(max(0, int(y - far)), min(ny, int(y + far) + 2)),
        slice(max(0, int(x - far)), min(nx, int(x + far) + 2)),
    )
    value = np.asarray(read(*box), np.float64)
    rows, cols = np.mgrid[box]
    own = np.hypot(rows - y, cols - x)
    if not np.isfinite(value[own < _CORE * fwhm]).all():
        return None
    near = np.flatnonzero(np.hypot(*(places - places[star]).T) < far + reach * fwhm)
    near = np.r_[star, near[near != star]]
    away = np.hypot(rows[..., None] - places[near, 1], cols[..., None] - places[near, 0])
    good = np.isfinite(value) & (own < far) & (away[..., 1:] > _CORE * fwhm).all(axis=-1)
    if not (good & (own > reach * fwhm)).any():
        return None
    return _Field(value[good], away[good] / fwhm, near)


def _weight(field: _Field, shape: FloatArray, sizes: FloatArray, noise: float, *, odd: float) -> FloatArray:
    """Return the weight of each pixel, 0 where it is far from the model of before."""
    model = shape @ sizes
    variance = noise**2 + (_UNLIKE * model) ** 2
    left = field.value - model
    return np.where((left - np.median(left)) ** 2 < odd**2 * variance, 1.0 / variance, 0.0)


def _lights(field: _Field, shape: FloatArray, weight: FloatArray, rough: FloatArray) -> FloatArray:
    """Return the light of a star and of its neighbours, which are held to what was found of them before."""
    design = np.column_stack([shape, np.ones(len(shape))])
    matrix = (design * weight[:, None]).T @ design
    vector = (design * weight[:, None]).T @ field.value
    held = 1.0 / (_ROUGH * rough[1:]) ** 2
    inner = np.arange(1, rough.size)
    matrix[inner, inner] += held
    vector[inner] += held * rough[1:]
    return np.asarray(_solved(matrix, vector)[:-1])


def _solved(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.lstsq(matrix, vector, rcond=1e-12)[0])


def _whole(fwhm: float, radius: float, reach: float) -> FloatArray:
    """Return the light of each cubic in a circle, pixels."""
    away = (np.arange(int(radius / fwhm * _STEPS)) + 0.5) / _STEPS
    return np.asarray(2 * np.pi * fwhm**2 / _STEPS * (away @ _basis(away, reach)))


def _gaussian(reach: float) -> FloatArray:
    away = np.arange(int(reach * _STEPS)) / _STEPS
    return np.asarray(np.linalg.lstsq(_basis(away, reach), np.exp2(-4 * away**2), rcond=None)[0])


def _basis(away: FloatArray, reach: float) -> FloatArray:
    """Return the cubics at radii in full widths, along a last axis; beyond the reach all are 0."""
    table = _table(reach)
    place = np.minimum(away * _STEPS, len(table) - 1.001)
    low = place.astype(np.int64)
    part = (place - low)[..., None]
    return np.asarray((1 - part) * table[low] + part * table[low + 1])


@lru_cache(maxsize=64)
def _table(reach: float) -> FloatArray:
    # the last one is the only one that is not 0 at the end
    knots = np.r_[[0.0] * 4, _KNOTS[1:], [reach] * 4]
    away = np.minimum(np.arange(int(reach * _STEPS) + 2) / _STEPS, reach)
    return np.asarray(BSpline.design_matrix(away, knots, 3).toarray()[:, :-1])
