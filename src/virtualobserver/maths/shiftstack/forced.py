"""Light along a known path: the profile laid between the pixels, drawn out along the motion, tied to whole stars.

A Gaussian finds another part of a star's light than an aperture does, the more so the wider the wings. What part is
measured on bright stars of the same frame, and divides what it finds of a mover.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.maths.images.starprofile import StarProfile
from virtualobserver.maths.shiftstack.images import Stack
from virtualobserver.maths.shiftstack.template import SMOOTH

__all__ = ["Forced", "Light", "forced_sums", "light_of", "overlaps", "part_of_star", "profile_stamp"]

FloatArray = NDArray[np.float64]
_SUB_STEP: Final = 0.25
"""Pixels of motion between the points a trail is made of: a quarter of any profile's width."""
_ODD: Final = 4.0
"""Standard deviations by which an epoch may differ from the mean light; of 15,000 good ones one does."""
_ROUNDS: Final = 3
"""The light that a mover leaves in the template depends on its flux, and the flux on that light, by a few per cent."""
_PHASES: Final = 4
"""Places of a star between the pixels along each axis; their mean is that of all to 1e-4."""
_LEAST: Final = 0.2
"""Of a mover, left by the template: one that hardly moves is not told from a star, and its light not known."""


@dataclass(frozen=True, eq=False)
class Forced:
    """Sums of each frame at one place: psi and phi, and ``sum p^3 / v^2``, all 0 without data, shape (n,)."""

    psi: FloatArray
    phi: FloatArray
    cube: FloatArray


@dataclass(frozen=True, eq=False)
class Light:
    """Light of one mover.

    Parameters
    ----------
    psi, phi
        Of each frame at the refined path, shape (n,); 0 without data.
    flux, flux_error
        Of each frame, as whole stars are measured, photons of the mover included in the error; NaN without data.
    kept
        Frames that agree with the mean.
    mean, mean_error
        Of these.
    likelihood
        Signal-to-noise ratio of these in the noise of the background.
    """

    psi: FloatArray
    phi: FloatArray
    flux: FloatArray
    flux_error: FloatArray
    kept: NDArray[np.bool_]
    mean: float
    mean_error: float
    likelihood: float


def profile_stamp(
    x: float, y: float, sigma: float, reach: int, trail: tuple[float, float] = (0.0, 0.0)
) -> tuple[FloatArray, int, int]:
    """Gaussian of sum 1 about a place between the pixels, drawn out along a motion, and its first column and row."""
    length = float(np.hypot(*trail))
    wide = reach + int(np.ceil(0.5 * length))
    number = int(np.ceil(length / _SUB_STEP)) + 1
    part = (np.arange(number) + 0.5) / number - 0.5
    left, low = int(np.floor(x + 0.5)) - wide, int(np.floor(y + 0.5)) - wide
    side = np.arange(2 * wide + 1)
    across, down = (
        np.exp(-0.5 * ((side + start - (centre + motion * part)[:, None]) / sigma) ** 2)
        for start, centre, motion in ((left, x, trail[0]), (low, y, trail[1]))
    )
    stamp = np.einsum("sy,sx->yx", down, across)
    return stamp / stamp.sum(), left, low


def forced_sums(
    stack: Stack,
    x: ArrayLike,
    y: ArrayLike,
    *,
    sigma: FloatArray,
    reach: int,
    trail: tuple[FloatArray, FloatArray],
) -> Forced:
    """Sum each frame under the profile at a place of its own.

    Parameters
    ----------
    x, y
        Place in each frame, pixels of the grid, shape (n,).
    sigma
        Width of each frame's profile, pixels.
    reach
        Half side of the profile, pixels.
    trail
        Motion during each exposure in x and y, pixels.
    """
    sums = np.zeros((3, len(sigma)))
    places = zip(*(np.asarray(part, np.float64).tolist() for part in (x, y, sigma, *trail)), strict=True)
    for frame, (column, row, width, right, up) in enumerate(places):
        stamp, left, low = profile_stamp(column, row, width, reach, (right, up))
        ny, nx = stamp.shape
        signal, noise = stack.planes(frame, (low, low + ny), (left, left + nx))
        with np.errstate(invalid="ignore"):
            good = np.isfinite(signal) & np.isfinite(noise) & (noise > 0)
        # as in the search, a frame counts where the pixel of the place itself has data
        if not good[int(np.floor(row + 0.5)) - low, int(np.floor(column + 0.5)) - left]:
            continue
        p, s, v = (part[good].astype(np.float64) for part in (stamp, signal, noise))
        sums[:, frame] = (p * s / v).sum(), (p * p / v).sum(), (p**3 / v**2).sum()
    return Forced(*sums)


def light_of(
    found: Forced,
    place: tuple[FloatArray, FloatArray],
    *,
    sigma: FloatArray,
    part: FloatArray,
    photons: FloatArray,
    held: FloatArray | None,
    free: bool = False,
    part_error: float = 0.0,
    clear: FloatArray | None = None,
) -> Light:
    """Return the light of a mover from the sums along its path.

    Parameters
    ----------
    place
        Columns and rows, pixels.
    sigma
        Widths of the profiles, pixels.
    part
        What part of a star's light the profile of each frame finds.
    photons
        Variance that a unit of light brings with it, in each frame.
    held
        What part of the median of the frames was taken away pixel by pixel at the place in each frame, and with it a
        part of the mover; the rest was smoothed before. None = nothing was taken.
    free
        Whether that median was free of the mover: it took nothing of it, and brought its own noise.
    part_error
        Relative error of `part` that all frames share; it enters the error of the mean.
    clear
        What each frame would show of a steady light, 1 in a clear sky: the mean is that in a clear frame, and clouded
        ones count less. By default all are alike.
    """
    air = np.ones_like(found.phi) if clear is None else clear
    psi, phi = found.psi, found.phi
    here = phi > 0
    mean, kept, left = 0.0, here, np.ones_like(phi)
    for _ in range(_ROUNDS):
        if held is not None and not free:
            # a path crosses wings along one axis only, of whose light the profile has the root of its part
            lost = _lost(found, place, sigma, mean * air * part, held)
            left = np.maximum(1.0 - lost / np.sqrt(part), _LEAST)
        flux = np.divide(psi, phi * left * part, out=np.full_like(psi, np.nan), where=here)
        kept = _agree(flux / air, phi, left * part * air)
        weight = float((phi * left * part * air**2)[kept].sum())
        mean = float((psi * air)[kept].sum()) / weight if weight > 0 else 0.0
    noise = phi + photons * max(mean, 0.0) * air * part * found.cube
    error = np.divide(np.sqrt(noise), phi * left * part, out=np.full_like(psi, np.nan), where=here)
    # what the template took of the mover it took of the noise along the path as well
    calm = phi * left if held is None or not free else phi * _louder(_shares(found, place, sigma, held))
    quiet = float((calm * air**2)[kept].sum())
    spread = float((air**2 * (noise - phi + calm))[kept].sum())
    # what stars leave where the seeing jumps is no noise of a pixel, but scatters the light of a mover
    spread *= _scatter((flux / air - mean)[kept], (error / air)[kept]) ** 2
    return Light(
        psi=psi, phi=phi, flux=flux, flux_error=error, kept=kept, mean=mean,
        mean_error=float(np.hypot(np.sqrt(spread) / weight, mean * part_error)) if weight > 0 else float("inf"),
        likelihood=float((psi * air)[kept].sum() / np.sqrt(quiet)) if quiet > 0 else -1.0,
    )  # fmt: skip


def overlaps(x: FloatArray, y: FloatArray, sigma: FloatArray, *, blur: float = 0.0) -> FloatArray:
    """Return what part of a light in one frame (column) the profile in another (row) finds at its own place.

    Parameters
    ----------
    x, y, sigma
        Place and width of the profile in each frame, pixels, shape (n,).
    blur
        Width with which the light was smoothed besides, pixels.

    Returns
    -------
    array, shape (n, n)
    """
    wide = sigma[:, None] ** 2 + sigma**2 + blur**2
    apart = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    return np.asarray(np.exp(-0.5 * apart / wide) * (2.0 * sigma[:, None] ** 2 / wide))


def part_of_star(profile: StarProfile, *, sigma: float, reach: int) -> tuple[float, float, float]:
    """Return what part of a star's light its Gaussian finds, wherever between the pixels it lies; see `StarProfile`.

    Parameters
    ----------
    sigma, reach
        Width and half side of the Gaussian, pixels.
    """
    side = (np.arange(_PHASES) + 0.5) / _PHASES - 0.5
    made = [(profile_stamp(x, y, sigma, reach), x, y) for x in side.tolist() for y in side.tolist()]
    stamps = np.array([stamp for (stamp, _, _), _, _ in made])
    return profile.found_by(
        stamps, [x - left for (_, left, _), x, _ in made], [y - low for (_, _, low), _, y in made]
    )


# --- inside -----------------------------------------------------------------------------------------------


def _agree(flux: FloatArray, phi: FloatArray, part: FloatArray) -> NDArray[np.bool_]:
    """Return which frames agree with the median; a light that varies is no error, so what is usual is allowed."""
    here = phi > 0
    if not here.any():
        return here
    pull = np.abs(flux - float(np.median(flux[here]))) * np.sqrt(phi) * part
    return here & (pull <= _ODD * max(1.0, MAD_TO_SIGMA * float(np.median(pull[here]))))


def _scatter(away: FloatArray, error: FloatArray) -> float:
    """Return by how much values scatter more than their errors; 1 as far as chance may have made it."""
    if away.size < 2:
        return 1.0
    chi2 = float(((away / error) ** 2).sum()) / (away.size - 1)
    return float(np.sqrt(chi2)) if chi2 > 1.0 + 2.0 * np.sqrt(2.0 / (away.size - 1)) else 1.0


def _lost(
    found: Forced, place: tuple[FloatArray, FloatArray], sigma: FloatArray, flux: FloatArray, held: FloatArray
) -> FloatArray:
    """Return what part of the mover the median of all frames takes away where it is in each, shape (n,).

    The template is a median, which follows what is faint against the noise of a pixel as a mean does, and what is
    bright no farther than to 1.25 standard deviations for each frame.
    """
    here = found.phi > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        noise = np.sqrt(1.0 / (4.0 * np.pi * sigma**2 * found.phi))
        peak = flux / (2.0 * np.pi * sigma**2) / noise
    return _shares(found, place, sigma, held, np.where(here, _followed(peak), 0.0))


def _shares(
    found: Forced,
    place: tuple[FloatArray, FloatArray],
    sigma: FloatArray,
    held: FloatArray,
    followed: FloatArray | float = 1.0,
) -> FloatArray:
    """Return what part of a mover a mean of all frames has where it is in each, as much of it as was followed."""
    here = found.phi > 0
    count = max(int(here.sum()), 1)
    smooth = SMOOTH * float(np.median(sigma))
    sharp, flat = (overlaps(*place, sigma, blur=blur) * here for blur in (0.0, smooth))
    share = held[:, None] * sharp + (1.0 - held[:, None]) * flat
    return np.asarray((share * followed).sum(axis=1) / count)


def _louder(share: FloatArray) -> FloatArray:
    """Return by how much the mean of the other frames adds to the variance of a sum along a path."""
    return 1.0 + share / np.maximum(1.0 - share, _LEAST)


def _followed(peak: FloatArray) -> FloatArray:
    """Return the part of a light that a median follows, for its peak in standard deviations of a pixel."""
    # a pixel of a Gaussian, weighted by its square, has two thirds of the peak
    height = np.maximum(2.0 / 3.0 * peak, 1e-6)
    return np.asarray(np.sqrt(np.pi / 2) * erf(height / np.sqrt(2.0)) / height)
