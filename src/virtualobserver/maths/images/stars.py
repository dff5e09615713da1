"""Stars of an image by fitting the profile of a point to all of them at once.

P. B. Stetson, 1987, PASP 99, 191: neighbours share their pixels in one linear fit, and positions are improved with
the slopes of the profile. The profile is R. C. Moffat's (1969, A&A 3, 455), elliptical, one for the whole image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import cg

from virtualobserver.conventions import MASK_COSMIC_RAY, MASK_SATURATED
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.sources import SourceList

__all__ = ["Moffat", "StarFit", "fit_moffat", "fit_stars"]

FloatArray = NDArray[np.float64]
BETAS: Final = (2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 6.0, 10.0, 30.0)
"""Slopes of the wings that are tried; 30 is a Gaussian down to a thousandth of its peak."""
MOST_STARS: Final = 30
"""The median of 30 stars is good to a quarter of the scatter of one; more only take time."""
LEAST_SNR: Final = 30.0
"""Of stars that show the profile: each tells its width to about the inverse of it, 3 %."""
MOVED_SNR: Final = 10.0
"""Below, a fitted position is worse than where the detection has it, which would bias the flux upwards."""
LONGEST_STEP: Final = 0.5
"""Pixels a star may move in one round: beyond, the slope of the profile says nothing."""
_LEAST_BASE: Final = 0.05
"""Where a trial profile has no width in some direction, its power is kept finite; no fit ends there."""
_TOGETHER: Final = 500
"""Stars added to an image at once."""
_SETTLED: Final = 1e-8
"""Relative residual at which the fluxes are solved."""


@dataclass(frozen=True)
class Moffat:
    """Profile (1 + p x^2 + q y^2 + 2 r x y)^-beta of a point, whose sum over all pixels is 1.

    Parameters
    ----------
    p, q, r
        Inverse squares of its widths, pixels^-2.
    beta
        Slope of the wings, above 1.
    n
        Stars it was measured with.
    """

    p: float
    q: float
    r: float
    beta: float
    n: int = 0

    @property
    def fwhm(self) -> float:
        """Geometric mean of the full widths at half maximum, pixels."""
        return 2 * math.sqrt(2 ** (1 / self.beta) - 1) / math.sqrt(math.sqrt(self.p * self.q - self.r**2))

    @property
    def norm(self) -> float:
        """Value at the middle."""
        return float((self.beta - 1) / np.pi * np.sqrt(self.p * self.q - self.r**2))

    @property
    def half(self) -> int:
        """Half side of the box in which a star is fitted, pixels: two and a half widths."""
        return max(int(np.ceil(2.5 * self.fwhm)), 3)

    def at(self, dx: FloatArray, dy: FloatArray) -> FloatArray:
        """Return the profile at so many pixels from its middle."""
        return np.asarray(self.norm * self._base(dx, dy) ** -self.beta)

    def slopes(self, dx: FloatArray, dy: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the profile and how it changes when its middle moves along x and along y."""
        base = self._base(dx, dy)
        value = self.norm * base**-self.beta
        steep = 2 * self.beta * value / base
        return value, steep * (self.p * dx + self.r * dy), steep * (self.q * dy + self.r * dx)

    def _base(self, dx: FloatArray, dy: FloatArray) -> FloatArray:
        return np.asarray(1 + self.p * dx**2 + self.q * dy**2 + 2 * self.r * dx * dy)


@dataclass(frozen=True, eq=False)
class StarFit:
    """Stars as they were fitted, shape (n,).

    Parameters
    ----------
    x, y
        Pixels from 0 at the middle of the first one.
    flux, flux_error
        Of all light under the profile, unit of the image; the error knows of neighbours. NaN where a star has no
        good pixel near its middle.
    covered
        Share of the profile's weight that lies on good pixels, 0 to 1.
    chi2
        Of the pixels within one width of the middle, for each of them.
    model
        Image of all stars together.
    """

    x: FloatArray
    y: FloatArray
    flux: FloatArray
    flux_error: FloatArray
    covered: FloatArray
    chi2: FloatArray
    model: Array


def fit_moffat(
    image: Array,
    variance: Array,
    sources: SourceList,
    *,
    most: int = MOST_STARS,
    fitted: tuple[StarFit, Moffat] | None = None,
) -> Moffat:
    """Measure the profile of points with bright, unsaturated stars that are alone.

    Parameters
    ----------
    image
        Shape (ny, nx), sky subtracted.
    variance
        Of its pixels.
    sources
        Found in it.
    most
        Stars used.
    fitted
        The same sources as they were fitted, and the profile they were fitted with: their neighbours are taken
        away, whose light would be wings of the profile.

    Raises
    ------
    NotEnoughData
        If fewer than 3 stars can be fitted.
    """
    usable = ~sources.blended & ~sources.truncated & (sources.snr > LEAST_SNR)
    usable &= (sources.flags & (MASK_SATURATED | MASK_COSMIC_RAY)) == 0
    rows = np.flatnonzero(usable)
    # what is much wider or sharper than the others is a galaxy or a cosmic ray
    middle = float(np.median(sources.fwhm[rows])) if len(rows) else 0.0
    rows = rows[np.abs(sources.fwhm[rows] - middle) < 0.4 * middle][: 2 * most]
    half = max(int(np.ceil(2.0 * middle)), 4)
    light = image if fitted is None else image - fitted[0].model
    stamps = _stamps(light, variance, sources, rows.tolist(), half=half, most=most, fitted=fitted)
    if len(stamps) < 3:
        msg = f"only {len(stamps)} of {len(sources)} sources show the profile of a point; 3 are needed"
        raise NotEnoughData(msg)
    best: tuple[float, Moffat] | None = None
    for beta in BETAS:
        fits = [fit for stamp in stamps if (fit := _fit_one(stamp, half, middle, beta)) is not None]
        if len(fits) < 3:
            continue
        cost = float(np.median([fit[0] for fit in fits]))
        p, q, r = np.median([fit[1] for fit in fits], axis=0)
        if best is None or cost < best[0]:
            best = cost, Moffat(float(p), float(q), float(r), beta, len(fits))
    if best is None:
        msg = f"no profile of a point fits the {len(stamps)} brightest stars that are alone"
        raise NotEnoughData(msg)
    return best[1]


def fit_stars(
    image: Array,
    variance: Array,
    x: ArrayLike,
    y: ArrayLike,
    profile: Moffat,
    *,
    mask: Array | None = None,
    rounds: int = 2,  # chosen: they are given to half a pixel
) -> StarFit:
    """Fit the fluxes of all stars at once, and their positions.

    Parameters
    ----------
    image
        Shape (ny, nx), sky subtracted.
    variance
        Of its pixels, above 0; others are left out.
    x, y : array_like, shape (n,)
        Pixels from 0, to half a pixel.
    profile
        Of a point.
    mask
        Pixels to leave out, where not 0.
    rounds
        How often the positions are improved; 0 = they are kept.

    Raises
    ------
    DataError
        If the planes or the columns differ in shape.
    """
    px, py = _places((image, variance, mask), x, y)
    frame = _Pixels(image, variance, mask)
    start, flux = (px.copy(), py.copy()), np.zeros(len(px))
    for _ in range(rounds):
        patch = _patches(px, py, profile, frame.shape)
        flux, error, _ = _solve(frame, patch, len(px), profile)
        steps = _steps(frame, patch, flux, profile, (px, py))
        sure = flux > MOVED_SNR * np.where(np.isfinite(error), error, np.inf)
        for place, step, first in zip((px, py), steps, start, strict=True):
            place[sure] += np.clip(step[sure], -LONGEST_STEP, LONGEST_STEP)
            lost = np.abs(place - first) > 2 * LONGEST_STEP
            place[lost] = first[lost]
    patch = _patches(px, py, profile, frame.shape)
    flux, error, covered = _solve(frame, patch, len(px), profile)
    model = _model(patch, flux, frame.shape)
    return StarFit(px, py, flux, error, covered, _misfits(frame, patch, model, profile, len(px)), model)


# --- inside -----------------------------------------------------------------------------------------------

Patch = tuple[NDArray[np.int32], NDArray[np.int32], FloatArray]
"""Star, pixel (of the flat image) and value of the profile, of all pixels of all stars."""


class _Pixels:
    """A frame of which data and weights are asked for some pixels at a time: they have no planes of their own."""

    def __init__(self, image: Array, variance: Array, mask: Array | None) -> None:
        self.shape = np.shape(image)
        self._image, self._variance = (np.ravel(np.asarray(plane)) for plane in (image, variance))
        self._mask = None if mask is None else np.ravel(np.asarray(mask))

    def at(self, pixel: Array) -> tuple[Array, Array]:
        """Return light and weight of pixels by their place in the flat image, both 0 of those that are not good.

        They are in the precision of the planes: sums over pixels are in double precision all the same.
        """
        data, variance = self._image[pixel], self._variance[pixel]
        good = np.isfinite(data) & np.isfinite(variance) & (variance > 0)
        if self._mask is not None:
            good &= self._mask[pixel] == 0
        weight = np.zeros(data.shape, np.result_type(variance, np.float32))
        np.divide(1, variance, out=weight, where=good)
        return np.where(good, data, np.zeros((), data.dtype)), weight


def _places(
    planes: tuple[Array, Array, Array | None], x: ArrayLike, y: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Return own copies of the columns, if they and the planes are each of one shape."""
    px, py = (np.atleast_1d(np.array(values, float)) for values in (x, y))
    shapes = {np.shape(plane) for plane in planes if plane is not None}
    if len(shapes) > 1 or px.shape != py.shape or px.ndim != 1:
        msg = f"stars are fitted to planes and columns of one shape, not to {shapes}, {px.shape}, {py.shape}"
        raise DataError(msg)
    return px, py


def _misfits(frame: _Pixels, patch: Patch, model: Array, profile: Moffat, stars: int) -> FloatArray:
    """Return chi^2 for each pixel within about one width of the middle of each star."""
    star, pixel, value = patch
    core = value > profile.norm / 16
    place = pixel[core]
    data, weight = frame.at(place)
    used = np.bincount(star[core], weight > 0, minlength=stars)
    misfit = weight * (data - model.ravel()[place]) ** 2
    return np.asarray(np.bincount(star[core], misfit, minlength=stars) / np.maximum(used, 1))


def _stamps(
    light: Array,
    variance: Array,
    sources: SourceList,
    rows: list[int],
    *,
    half: int,
    most: int,
    fitted: tuple[StarFit, Moffat] | None,
) -> list[tuple[FloatArray, FloatArray, float, float]]:
    """Return the stamps of the first `most` sources that have a whole one, with their own light put back."""
    stamps = []
    for row in rows:
        stamp = _stamp(light, variance, float(sources.x[row]), float(sources.y[row]), half)
        if stamp is not None and fitted is not None:
            whole: FloatArray = np.add(stamp[0], _alone(fitted, row, sources, half))
            stamp = (whole, *stamp[1:])
        if stamp is not None:
            stamps.append(stamp)
        if len(stamps) == most:
            break
    return stamps


def _stamp(
    image: Array, variance: Array, x: float, y: float, half: int
) -> tuple[FloatArray, FloatArray, float, float] | None:
    top, left = round(y) - half, round(x) - half
    if top < 0 or left < 0:
        return None
    cut = slice(top, top + 2 * half + 1), slice(left, left + 2 * half + 1)
    stamp, noise = np.asarray(image[cut], float), np.sqrt(np.asarray(variance[cut], float))
    if stamp.shape != (2 * half + 1, 2 * half + 1) or not (np.isfinite(stamp) & (noise > 0)).all():
        return None
    return stamp, noise, x - left - half, y - top - half


def _alone(fitted: tuple[StarFit, Moffat], row: int, sources: SourceList, half: int) -> FloatArray:
    """Return the light of one star as it was fitted, in the stamp of its source."""
    fit, profile = fitted
    steps = np.arange(-half, half + 1)
    dx = round(float(sources.x[row])) + steps - fit.x[row]
    dy = round(float(sources.y[row])) + steps - fit.y[row]
    inside = (np.abs(np.rint(dx)) <= profile.half)[None, :] & (np.abs(np.rint(dy)) <= profile.half)[:, None]
    value = profile.at(dx[None, :], dy[:, None])
    return np.asarray(np.where(inside, np.nan_to_num(fit.flux[row]) * value, 0.0))


def _fit_one(
    stamp: tuple[FloatArray, FloatArray, float, float], half: int, width: float, beta: float
) -> tuple[float, FloatArray] | None:
    """Return chi^2 for each pixel, and p, q, r of one star; None if it is not one."""
    image, noise, x, y = stamp
    rows, cols = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    # a percent of the peak is how well any profile can fit: else the brightest star alone would decide
    sigma = np.hypot(noise, 0.01 * image.max())

    def misfit(values: FloatArray) -> FloatArray:
        height, cx, cy, p, q, r, sky = values
        u, v = cols - cx, rows - cy
        base = np.maximum(1 + p * u * u + q * v * v + 2 * r * u * v, _LEAST_BASE)
        return np.asarray(((height * base**-beta + sky - image) / sigma).ravel())

    def slopes(values: FloatArray) -> FloatArray:
        height, cx, cy, p, q, r, _ = values
        u, v = cols - cx, rows - cy
        whole = 1 + p * u * u + q * v * v + 2 * r * u * v
        base = np.maximum(whole, _LEAST_BASE)
        shape = base**-beta
        inner = np.where(whole > _LEAST_BASE, -beta * height * shape / base, 0.0)
        by_place = (-2 * inner * (p * u + r * v), -2 * inner * (q * v + r * u))
        by_width = (inner * u * u, inner * v * v, 2 * inner * u * v)
        by = (shape, *by_place, *by_width, np.ones_like(shape))
        return np.stack([(plane / sigma).ravel() for plane in by], axis=1)

    narrow = 4 * (2 ** (1 / beta) - 1) / width**2
    start = np.array([image.max(), x, y, narrow, narrow, 0.0, 0.0])
    scale = np.maximum(np.abs(start), 0.05)  # keeps parameters that start at 0 from a scale of 0; chosen
    found = least_squares(misfit, start, slopes, method="lm", x_scale=scale, max_nfev=200)
    height, cx, cy, p, q, r, _ = found.x
    if not found.success or height <= 0 or p <= 0 or p * q - r * r <= 0 or np.hypot(cx, cy) > half / 2:
        return None
    return 2 * float(found.cost) / image.size, np.array([p, q, r])


def _patches(x: FloatArray, y: FloatArray, profile: Moffat, shape: tuple[int, ...]) -> Patch:
    ny, nx = shape
    steps = np.arange(-profile.half, profile.half + 1, dtype=np.int32)
    cols = np.rint(x).astype(np.int32)[:, None] + steps
    rows = np.rint(y).astype(np.int32)[:, None] + steps
    there = ((rows >= 0) & (rows < ny))[:, :, None] & ((cols >= 0) & (cols < nx))[:, None, :]
    value = profile.at((cols - x[:, None])[:, None, :], (rows - y[:, None])[:, :, None])
    star = np.broadcast_to(np.arange(len(x), dtype=np.int32)[:, None, None], value.shape)[there]
    pixel = (rows[:, :, None] * nx + cols[:, None, :])[there]
    return star, pixel, value[there]


def _model(patch: Patch, flux: FloatArray, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the image of all stars: what single precision rounds is a millionth of the noise of their light."""
    star, pixel, value = patch
    light = np.nan_to_num(flux)
    plane = np.zeros(shape, np.float32)
    ends = np.searchsorted(star, np.arange(0, len(flux) + _TOGETHER, _TOGETHER))
    for first, last in pairwise(ends):
        np.add.at(
            plane.ravel(), pixel[first:last], (value[first:last] * light[star[first:last]]).astype(np.float32)
        )
    return plane


def _solve(
    frame: _Pixels, patch: Patch, n: int, profile: Moffat
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return fluxes of one linear fit, their errors, and the share of each profile on good pixels."""
    normal, right, whole, covered = _equations(frame, patch, n)
    own = normal.diagonal()
    covered = covered / np.maximum(whole, 1e-30)
    # off the image there is no pixel: compare with the square of a whole profile
    covered *= np.minimum(whole / (profile.norm * (profile.beta - 1) / (2 * profile.beta - 1)), 1.0)
    known = own > 0
    scale = np.where(known, 1 / np.sqrt(np.where(known, own, 1)), 0.0)
    scaled = diags(scale) @ normal @ diags(scale)
    ridge = diags(
        np.where(known, 1e-9, 1.0)
    )  # two stars at one place share the light, instead of +inf and -inf
    found, _ = cg(scaled + ridge, scale * right, rtol=_SETTLED, maxiter=500)
    flux = np.where(known, found * scale, np.nan)
    return flux, _errors(normal, known), covered


def _equations(frame: _Pixels, patch: Patch, n: int) -> tuple[csr_matrix, FloatArray, FloatArray, FloatArray]:
    """Return the normal equations and their right side, and the squares of each profile, whole and on good pixels."""
    star, pixel, value = patch
    # only pixels that a star reaches, each with the root of its weight: no matrix is as long as the frame
    reached, column = np.unique(pixel, return_inverse=True)
    column = column.astype(np.int32)
    data, weight = frame.at(reached)
    squares = value**2
    whole = np.asarray(np.bincount(star, squares, minlength=n), float)
    squares[weight[column] <= 0] = 0.0
    covered = np.asarray(np.bincount(star, squares, minlength=n), float)
    root = np.sqrt(weight.astype(float))
    light = np.multiply(value, root[column], out=squares)
    ends = np.searchsorted(star, np.arange(n + 1))  # stars come one after the other
    shape = csr_matrix((light, column, ends), shape=(n, len(reached)))
    return (shape @ shape.T).tocsr(), shape @ (root * data), whole, covered


def _errors(normal: csr_matrix, known: NDArray[np.bool_]) -> FloatArray:
    """Return errors from the inverse of each star with those neighbours that share a twentieth of its light."""
    own = normal.diagonal()
    error = np.full(len(own), np.nan)
    for row in np.flatnonzero(known):
        near = normal.indices[normal.indptr[row] : normal.indptr[row + 1]]
        shared = normal.data[normal.indptr[row] : normal.indptr[row + 1]]
        with np.errstate(divide="ignore", invalid="ignore"):
            close = (np.abs(shared) / np.sqrt(own[row] * own[near]) > 0.05) & (near != row)
        if not close.any():
            error[row] = 1 / np.sqrt(own[row])
            continue
        block = np.array([row, *near[close]])
        matrix = normal[block][:, block].toarray()
        matrix[np.diag_indices(len(block))] *= 1 + 1e-9
        error[row] = np.sqrt(max(float(np.linalg.pinv(matrix, hermitian=True)[0, 0]), 0.0))
    return error


def _steps(
    frame: _Pixels, patch: Patch, flux: FloatArray, profile: Moffat, places: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Return how far the middles of stars are from where they stand, each against the image without the others."""
    star, pixel, _ = patch
    light, nx = np.nan_to_num(flux), frame.shape[1]
    model = _model(patch, light, frame.shape).ravel()
    sums = np.zeros((5, len(flux)))
    ends = np.searchsorted(star, np.arange(0, len(flux) + _TOGETHER, _TOGETHER))
    for first, last in pairwise(ends):  # slopes are a dozen numbers a pixel
        own, place = star[first:last], pixel[first:last]
        dx, dy = place % nx - places[0][own], place // nx - places[1][own]
        _, along, up = profile.slopes(dx, dy)
        along, up = along * light[own], up * light[own]
        data, heavy = frame.at(place)
        rest = data - model[place]
        products = (along**2, up**2, along * up, along * rest, up * rest)
        sums += [np.bincount(own, heavy * values, minlength=len(flux)) for values in products]
    xx, yy, xy, bx, by = sums
    determinant = xx * yy - xy**2
    fine = determinant > 0
    safe = np.where(fine, determinant, 1.0)
    return np.where(fine, (yy * bx - xy * by) / safe, 0.0), np.where(fine, (xx * by - xy * bx) / safe, 0.0)
