"""Across a trail: the profile that bright trails show, and how the air moved all of them sideways."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import ndtr

from virtualobserver.conventions import FWHM_TO_SIGMA, MAD_TO_SIGMA
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.sky import TrailSky
from virtualobserver.maths.trails.track import TrackModel

__all__ = ["TransverseProfile", "measure_profile"]

FloatArray = NDArray[np.float64]
BETAS: Final = (np.inf, 10.0, 6.0, 4.5, 3.5, 3.0, 2.5)
"""Indices of Moffat profiles that are tried: a Gaussian, the 4.765 of turbulence (Trujillo et al. 2001, MNRAS 328, 977)
within a step, and the broad wings of telescopes."""
FEWEST: Final = 5
"""Trails whose median width still is one if two of them are blends."""
BRIGHTEST: Final = 60
"""Trails measured: their width is known to 1 % long before."""
_TABLE: Final = 20
"""Steps in a pixel."""
_BETTER: Final = 10.0
"""Of chi square, by which wings must be better than a Gaussian: by chance once in 600."""
_WIDER: Final = 0.3
"""Logarithm of the most by which a width may change in one round: more is a blend."""
_UNEVEN: Final = 0.02
"""Of the peak of a profile: image motion leaves that of a column's light, which no width should follow."""


@dataclass(frozen=True, eq=False)
class TransverseProfile:
    """Light of a star across its trail, the sum over all pixels of a column being 1.

    Parameters
    ----------
    fwhm
        Of the star, without the pixel, pixels.
    beta
        Index of the Moffat profile, infinite for a Gaussian.
    fwhm_error
        From the scatter of trails; NaN if not measured.
    n_trails
        That were measured; 0 if the width was given.
    shift, width
        Pixels sideways of all trails, and times the FWHM that they are wide, at `shift_along` pixels from their start:
        what the air and the focus do in the course of an exposure.
    """

    fwhm: float
    beta: float = np.inf
    fwhm_error: float = np.nan
    n_trails: int = 0
    shift_along: FloatArray = field(default_factory=lambda: np.zeros(1))
    shift: FloatArray = field(default_factory=lambda: np.zeros(1))
    width: FloatArray = field(default_factory=lambda: np.ones(1))

    def __post_init__(self) -> None:
        if not (np.isfinite(self.fwhm) and self.fwhm > 0 and self.beta > 1):
            msg = f"a profile needs a FWHM above 0 and an index above 1, not {self.fwhm} and {self.beta}"
            raise DataError(msg)

    @property
    def sigma(self) -> float:
        """Standard deviation of the Gaussian of this FWHM, pixels."""
        return self.fwhm * FWHM_TO_SIGMA

    def at(self, across: ArrayLike) -> FloatArray:
        """Return the share of a column's light in pixels whose middle is that far across."""
        half = 12 * self.fwhm
        if np.isinf(self.beta):
            q = np.asarray(across, float)
            return np.asarray(ndtr((q + 0.5) / self.sigma) - ndtr((q - 0.5) / self.sigma))
        alpha = self.fwhm / (2 * np.sqrt(2 ** (1 / self.beta) - 1))
        grid = np.linspace(-half, half, 2 * int(half * 4 * _TABLE) + 1)
        # a Moffat profile drawn out along a line is one of half an index less
        line = (1 + (grid / alpha) ** 2) ** (0.5 - self.beta)
        total = np.concatenate([[0.0], np.cumsum(0.5 * (line[1:] + line[:-1]))])
        total /= total[-1]
        upper, lower = (np.interp(np.asarray(across, float) + step, grid, total) for step in (0.5, -0.5))
        return np.asarray(upper - lower)

    def table(self, half: float, fine: int) -> FloatArray:
        """Return the profile from its middle to `half` pixels and a bit, `fine` values a pixel."""
        return self.at(np.arange(int((half + 2) * fine) + 2) / fine)

    def shift_at(self, along: ArrayLike) -> FloatArray:
        """Return pixels sideways at pixels from the start of a trail."""
        return self._at(along, self.shift)

    def width_at(self, along: ArrayLike) -> FloatArray:
        """Return times the FWHM that trails are wide at pixels from their start."""
        return self._at(along, self.width)

    def _at(self, along: ArrayLike, values: FloatArray) -> FloatArray:
        known = self.shift_along if len(values) > 1 else np.zeros(1)
        return np.asarray(np.interp(np.asarray(along, float), known, values))


def measure_profile(  # noqa: PLR0917 - all of one chip
    image: Array,
    good: NDArray[np.bool_],
    track: TrackModel,
    sky: TrailSky,
    places: tuple[FloatArray, FloatArray],
    flux: FloatArray,
    *,
    chosen: NDArray[np.int64],
    fwhm: float,
) -> TransverseProfile:
    """Measure the profile across trails that are bright and alone.

    Parameters
    ----------
    image, good
        Shape (ny, nx), sky not subtracted, electrons, and which pixels are measurements.
    track, sky, places
        Of all trails of the chip; `places` are x and y at the opening.
    flux
        Of all trails, electrons in a column.
    chosen
        Rows of the trails to measure, the brightest first.
    fwhm
        What is expected, pixels: it bounds what is looked at, and is the answer if fewer than five trails are chosen.
    """
    half = max(2.0 * fwhm, 4.0)
    taken = [
        (*_strip(image, good, track, sky, places, int(k), half), float(flux[k]), float(sky.variance[k]))
        for k in chosen[:BRIGHTEST]
    ]
    taken = [one for one in taken if len(one[0]) > 10 * track.length**0.5]
    if len(taken) < FEWEST:
        return TransverseProfile(fwhm)
    shift_along = np.arange(0.0, track.length + 1)
    shift, width = np.zeros(len(shift_along)), np.ones(len(shift_along))
    best = TransverseProfile(fwhm)
    for _ in range(3):
        moved = [_centred(one, shift_along, shift, width) for one in taken]
        best = _fitted(moved, fwhm, best)
        aside, wider = _differences(taken, best, shift_along, (shift, width))
        shift = shift + aside
        width = width * np.exp(np.clip(wider - wider.mean(), -_WIDER, _WIDER))
    widths = np.array([_width(one, best, fwhm) for one in moved])
    error = (
        # sqrt(pi / 2): the error of a median of normal values, in that of their mean
        1.2533 * MAD_TO_SIGMA * float(np.median(np.abs(widths - np.median(widths)))) / np.sqrt(len(widths))
    )
    return TransverseProfile(best.fwhm, best.beta, error, len(taken), shift_along, shift, width)


# --- inside -----------------------------------------------------------------------------------------------

Strip = tuple[FloatArray, FloatArray, float, FloatArray]
"""Pixels across, their light, light of a column of the trail, variance of the sky of each."""


def _strip(  # noqa: PLR0917
    image: Array, good: NDArray[np.bool_], track: TrackModel, sky: TrailSky,
    places: tuple[FloatArray, FloatArray], k: int, half: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:  # fmt: skip
    """Return pixels from the start, pixels across and light of the good pixels of the inner part of a trail."""
    x, y = places[0][k], places[1][k]
    x0, y0, x1, y1 = (float(v) for v in track.ends(x, y))
    ny, nx = image.shape
    rows = np.arange(max(int(min(y0, y1) - half), 0), min(int(max(y0, y1) + half) + 2, ny))
    cols = np.arange(max(int(min(x0, x1) - half), 0), min(int(max(x0, x1) + half) + 2, nx))
    row, col = (plane.ravel() for plane in np.meshgrid(rows, cols, indexing="ij"))
    s, q = track.along(col - x, row - y), track.across(col - x, row - y)
    use = (s > half / 2) & (s < track.length - half / 2) & (np.abs(q) <= half)  # without the ends
    use[use] = good[row[use], col[use]]
    row, col = row[use], col[use]
    return s[use], q[use], image[row, col].astype(float) - sky.at(k, col, row)


def _chi2(strips: list[Strip], profile: TransverseProfile, noise: TransverseProfile) -> float:
    total = 0.0
    grid = np.linspace(0.0, max(float(np.abs(one[0]).max()) for one in strips) + 1, 400)
    # the noise is that of a given profile: of the one that is tried, it would grow with its peak
    line, known = profile.at(grid), noise.at(grid)
    for q, d, light, var in strips:
        p = np.interp(np.abs(q), grid, line)
        w = 1 / (
            var + max(light, 0.0) * np.interp(np.abs(q), grid, known) + (_UNEVEN * light * known[0]) ** 2
        )
        use = np.isfinite(d)
        scale = np.sum((w * p * d)[use]) / np.sum((w * p * p)[use])
        pull = (d - scale * p)[use] * np.sqrt(w[use])
        total += float(np.sum(np.minimum(pull**2, 25.0)))  # a neighbour has its pixels, not the fit
    return total


def _fitted(strips: list[Strip], fwhm: float, noise: TransverseProfile) -> TransverseProfile:
    best, least = TransverseProfile(fwhm), np.inf
    for beta in BETAS:
        found = minimize_scalar(
            lambda width, beta=beta: _chi2(strips, TransverseProfile(width, beta), noise),
            bounds=(0.4 * fwhm, 2.5 * fwhm), method="bounded", options={"xatol": 2e-3},
        )  # fmt: skip
        if found.fun < least - _BETTER:
            best, least = TransverseProfile(float(found.x), beta), float(found.fun)
    return best


def _width(strip: Strip, best: TransverseProfile, fwhm: float) -> float:
    found = minimize_scalar(
        lambda width: _chi2([strip], TransverseProfile(width, best.beta), best),
        bounds=(0.4 * fwhm, 2.5 * fwhm), method="bounded", options={"xatol": 5e-3},
    )  # fmt: skip
    return float(found.x)


def _centred(
    strip: tuple[FloatArray, FloatArray, FloatArray, float, float],
    along: FloatArray,
    shift: FloatArray,
    width: FloatArray,
) -> Strip:
    """Return a strip as it would be if the trail did not move sideways, and were as wide all along."""
    s, q, d, light, var = strip
    wide = np.interp(s, along, width)
    return (q - np.interp(s, along, shift)) / wide, d * wide, light, var * wide**2


def _differences(
    strips: list[tuple[FloatArray, FloatArray, FloatArray, float, float]],
    profile: TransverseProfile,
    along: FloatArray,
    known: tuple[FloatArray, FloatArray],
) -> tuple[FloatArray, FloatArray]:
    """Return how much each column is beside the profile (pixels) and wider (logarithm): the medians over trails."""
    found = np.full((2, len(strips), len(along)), np.nan)
    for row, strip in enumerate(strips):
        q, d, light, var = _centred(strip, along, *known)
        p = profile.at(q)
        slope = (profile.at(q - 0.1) - profile.at(q + 0.1)) / 0.2
        w = 1 / (var + max(light, 0.0) * p)
        column = np.clip(np.rint(strip[0]).astype(int), 0, len(along) - 1)
        wide = known[1]
        for which, form in enumerate((slope, q * slope - p)):
            sums = [
                np.bincount(column, part, len(along))
                for part in (w * p * p, w * p * form, w * form * form, w * p * d, w * form * d)
            ]
            pp, ps, ss, pd, sd = sums
            with np.errstate(divide="ignore", invalid="ignore"):
                det = pp * ss - ps**2
                level, tilt = (ss * pd - ps * sd) / det, (pp * sd - ps * pd) / det
                found[which, row] = np.where(level > 0, tilt / level, np.nan) * (wide if which == 0 else 1.0)
    found[0][np.abs(found[0]) > 1.5] = np.nan
    found[1][np.abs(found[1]) > 2 * _WIDER] = np.nan
    out = np.zeros((2, len(along)))
    for which in (0, 1):
        enough = np.isfinite(found[which]).sum(axis=0) >= FEWEST
        if enough.any():
            out[which] = np.interp(along, along[enough], np.nanmedian(found[which][:, enough], axis=0))
    return out[0], _smooth(out[1], profile.sigma)


def _smooth(values: FloatArray, sigma: float) -> FloatArray:
    """Smooth as the image of a star does: no width changes faster than that along a trail."""
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(values, sigma, mode="nearest"))
