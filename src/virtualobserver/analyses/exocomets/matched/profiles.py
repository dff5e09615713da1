"""What a comet does to a spectrum: Gaussians in velocity, or a cloud of optical depth over part of the star."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import FWHM_TO_SIGMA, HOURS_PER_DAY
from virtualobserver.maths.spectra.lines import C_KM_S

__all__ = ["Comet", "doublet_ratio", "equivalent_width", "gaussian_profile", "transmission"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comet:
    """One comet in front of the star.

    Parameters
    ----------
    velocity
        In the star's frame at `mjd`, km/s.
    fwhm
        Full width at half maximum, km/s: of what is observed for a Gaussian, of the cloud's own absorption
        coefficient for an optical depth.
    depth
        Fraction of the star's light that is missing in the middle of K.
    ratio
        Depth in H over that in K (Gaussian).
    tau
        Optical depth in the middle of K; ``None`` for a Gaussian. The covered part of the star follows.
    acceleration
        km/s/h.
    """

    velocity: float
    fwhm: float
    depth: float
    mjd: float
    ratio: float = 0.8  # chosen: 0.5 where thin (oscillator strengths 0.33 and 0.68), 1 where opaque
    tau: float | None = None
    acceleration: float = 0.0

    def velocity_at(self, mjd: FloatArray) -> FloatArray:
        """Return the velocity (km/s) at the given times."""
        return self.velocity + self.acceleration * HOURS_PER_DAY * (mjd - self.mjd)


def doublet_ratio(tau_k: float) -> float:
    """Return the depth in H over that in K of gas whose optical depth in K is `tau_k`: 0.5 thin, 1 thick.

    K has twice the oscillator strength of H (0.68 and 0.33), thus ``1 / (1 + exp(-tau_K / 2))``.
    """
    return float(1.0 / (1.0 + np.exp(-0.5 * tau_k)))


def gaussian_profile(velocity: FloatArray, centre: FloatArray | float, fwhm: float) -> FloatArray:
    """Return a Gaussian of height 1."""
    phase = (velocity - centre) / (fwhm * FWHM_TO_SIGMA)
    return np.asarray(np.exp(-0.5 * phase**2))


def transmission(
    velocity: FloatArray,
    mjd: FloatArray,
    comet: Comet,
    *,
    line: Literal["K", "H"],
    lsf: float = 2.61,  # c / 115,000, the resolving power of HARPS
) -> FloatArray:
    """Return the fraction of the star's light that passes, shape (times, pixels).

    Parameters
    ----------
    velocity
        Of the pixels in the star's frame, km/s, shape (m,), uniform steps.
    mjd
        shape (n,).
    lsf
        Resolution the cloud's profile is smeared with, km/s; a Gaussian's width already holds it.
    """
    profile = gaussian_profile(velocity[None, :], comet.velocity_at(mjd)[:, None], comet.fwhm)
    if comet.tau is None:
        depth = comet.depth * (1.0 if line == "K" else comet.ratio)
        return 1.0 - depth * profile
    covered = min(comet.depth / -np.expm1(-comet.tau), 1.0)
    optical = comet.tau * (1.0 if line == "K" else 0.5)
    absorbed = -covered * np.expm1(-optical * profile)
    return np.asarray(1.0 - _smeared(absorbed, lsf * FWHM_TO_SIGMA / abs(velocity[1] - velocity[0])))


def _smeared(values: FloatArray, sigma_pixels: float) -> FloatArray:
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(values, sigma_pixels, axis=1, mode="nearest"))


def equivalent_width(
    velocity: FloatArray, reference: FloatArray, *, v: float, fwhm: float, depth: float, rest: float
) -> float:
    """Return the equivalent width (mÅ) of a Gaussian that takes `depth` of the light of `reference`.

    Light that the star's own line has already taken does not count: the width is that of the missing flux in
    units of the continuum.
    """
    step = np.gradient(velocity) * rest / C_KM_S
    return float(1000.0 * depth * (gaussian_profile(velocity, v, fwhm) * reference * step).sum())
