"""Width of the PSF, from Gaussians fitted to stars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from virtualobserver.conventions import FWHM_TO_SIGMA, MAD_TO_SIGMA, MASK_COSMIC_RAY, MASK_SATURATED
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.sources import SourceList

__all__ = ["Psf", "measure_psf"]

MOST_STARS: Final = 40
"""The median of 40 stars is good to a fifth of the scatter of one; more only take time."""
HALF: Final = 7
"""Half side (pixels) of the stamp fitted; wider stars than this are refused."""
ROWS, COLS = np.mgrid[-HALF : HALF + 1, -HALF : HALF + 1].astype(float)
"""Pixels of the stamp, from its middle."""


@dataclass(frozen=True)
class Psf:
    """Width of the PSF: median FWHM (pixels) over `n` stars, its scatter, and the median elongation."""

    fwhm: float
    scatter: float
    elongation: float
    n: int

    @property
    def sigma(self) -> float:
        """Standard deviation of the Gaussian of this FWHM, pixels."""
        return self.fwhm * FWHM_TO_SIGMA


def measure_psf(image: Array, sources: SourceList, *, sky: float = 0.0, most: int = MOST_STARS) -> Psf:
    """Fit Gaussians to bright, isolated, unsaturated stars and return the median FWHM.

    Parameters
    ----------
    image
        The image the sources were found in.
    sky
        Background under the stars; each fit has its own besides.

    Raises
    ------
    NotEnoughData
        If fewer than 3 stars can be fitted.
    """
    usable = ~sources.blended & ~sources.truncated & (sources.snr > 20)
    usable &= (sources.flags & (MASK_SATURATED | MASK_COSMIC_RAY)) == 0
    widths: list[float] = []
    ratios: list[float] = []
    for x, y in zip(sources.x[usable][: 3 * most], sources.y[usable][: 3 * most], strict=True):
        found = _fit(np.asarray(image), float(x), float(y), sky)
        if found is not None:
            widths.append(found[0])
            ratios.append(found[1])
        if len(widths) >= most:
            break
    if len(widths) < 3:
        msg = f"only {len(widths)} of {len(sources)} sources are stars that can be fitted; 3 are needed"
        raise NotEnoughData(msg)
    fwhm = float(np.median(widths))
    scatter = MAD_TO_SIGMA * float(np.median(np.abs(np.array(widths) - fwhm)))
    return Psf(fwhm, scatter, float(np.median(ratios)), len(widths))


def _fit(image: Array, x: float, y: float, sky: float) -> tuple[float, float] | None:
    """Return FWHM and axis ratio of one star, None if it is not one."""
    top, left = round(y) - HALF, round(x) - HALF
    if top < 0 or left < 0:
        return None
    stamp = image[top : top + 2 * HALF + 1, left : left + 2 * HALF + 1].astype(float) - sky
    if stamp.shape != ROWS.shape or not np.isfinite(stamp).all() or stamp[HALF, HALF] <= 0:
        return None
    stamp /= stamp[HALF, HALF]

    def shape(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        _, cx, cy, p, q, r, _ = values  # p, q, r: inverse covariance
        u, v = COLS - cx, ROWS - cy
        return u, v, np.exp(-0.5 * np.clip(p * u * u + q * v * v + 2 * r * u * v, -20.0, 200.0))

    def misfit(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((values[0] * shape(values)[2] + values[6] - stamp).ravel())

    def slopes(values: NDArray[np.float64]) -> NDArray[np.float64]:
        height, _, _, p, q, r, _ = values
        u, v, bell = shape(values)
        high = height * bell
        columns = [bell, high * (p * u + r * v), high * (q * v + r * u)]
        columns += [-0.5 * high * u * u, -0.5 * high * v * v, -high * u * v, np.ones_like(bell)]
        return np.stack([column.ravel() for column in columns], axis=1)

    start = np.array([1.0, x - left - HALF, y - top - HALF, 0.6, 0.6, 0.0, 0.0])
    found = least_squares(misfit, start, jac=slopes, method="lm", max_nfev=50)
    height, p, q, r = (float(found.x[n]) for n in (0, 3, 4, 5))
    minor, major = (value for value in np.linalg.eigvalsh(np.array([[p, r], [r, q]]))[::-1])
    if not found.success or height <= 0 or major <= 0:
        return None
    a, b = 1 / float(np.sqrt(major)), 1 / float(np.sqrt(minor))
    if not 0.3 < b <= a < HALF:  # pixels: narrower is one pixel, wider than the stamp no star
        return None
    return float(np.sqrt(a * b)) / FWHM_TO_SIGMA, a / b
