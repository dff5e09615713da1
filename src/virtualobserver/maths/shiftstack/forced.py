"""Light along a known path: the profile laid between the pixels, drawn out along the motion, tied to whole stars.

A Gaussian finds another part of a star's light than an aperture does, the more so the wider the wings. What part is
measured on bright stars of the same frame, and divides what it finds of a mover.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.maths.shiftstack.images import Stack
from virtualobserver.maths.shiftstack.template import SMOOTH

__all__ = ["Forced", "Light", "forced_sums", "light_of", "overlaps", "profile_light", "profile_stamp"]

FloatArray = NDArray[np.float64]
_SUB_STEP: Final = 0.25
"""Pixels of motion between the points a trail is made of: a quarter of any profile's width."""
_ODD: Final = 4.0
"""Standard deviations by which an epoch may differ from the mean light; of 15,000 good ones one does."""
_ROUNDS: Final = 3
"""The light that a mover leaves in the template depends on its flux, and the flux on that light, by a few per cent."""
_LEAST: Final = 0.2
"""Of a mover, left by the template: one that hardly moves is not told from a star, and its light not known."""
_CORE: Final = 3.5
"""Radius of the core of a star in widths of its profile, one and a half of its full width at half maximum."""
_LEAST_RING: Final = 0.1
"""Part of such a box that has to tell of the sky."""
_RING: Final = 1.5
"""Half side of the box about a star, in radii of its circle: what lies outside the circle is its sky."""
_KNOWN: Final = 10.0
"""Standard deviations of the light in a circle: a star known worse than to 10 % tells little."""
_MEDIAN: Final = 1.25
"""Error of a median in that of a mean."""
_DIFFER: Final = 0.03
"""By which the light of stars differs beyond their noise, as neighbours make it; else the brightest counts alone."""
_MANY: Final = 8
"""Stars from which a median of deviations tells of their scatter, whatever one of them does."""
_DARK: Final = 0.3
"""Of a whole star's light: a profile that finds less, or three times as much, is not that of these stars."""


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


def profile_light(
    image: NDArray[np.floating], x: ArrayLike, y: ArrayLike, *, sigma: float, reach: int, radius: float
) -> tuple[float, float, float]:
    """Return what part of the light of stars in a circle their profile finds; NaN without stars.

    With it come its error by the noise of the frame, and the error by what stars differ by beyond that, as
    neighbours make them: it is the same in the next frame.

    Parameters
    ----------
    image
        Without sky; NaN = no data.
    x, y
        Places of bright, single stars, pixels.
    sigma, reach
        Width and half side of the profile, pixels.
    radius
        Of the circle, pixels.
    """
    ny, nx = image.shape
    half = int(np.ceil(_RING * radius)) + 1
    parts, errors = [], []
    for column, row in zip(np.asarray(x, float).tolist(), np.asarray(y, float).tolist(), strict=True):
        left, low = int(np.floor(column + 0.5)) - half, int(np.floor(row + 0.5)) - half
        y0, y1, x0, x1 = max(low, 0), min(low + 2 * half + 1, ny), max(left, 0), min(left + 2 * half + 1, nx)
        box = np.full((2 * half + 1, 2 * half + 1), np.nan)
        box[y0 - low : y1 - low, x0 - left : x1 - left] = image[y0:y1, x0:x1]
        rows, cols = np.ogrid[: len(box), : len(box)]
        away = np.hypot(rows + low - row, cols + left - column)
        ring = box[(away > radius + 0.5) & np.isfinite(box)]
        if not np.isfinite(box[away < _CORE * sigma + 1.0]).all() or ring.size < _LEAST_RING * box.size:
            continue
        # wings of bright stars lift a sky measured in wide boxes, and a circle has many pixels
        box -= np.median(ring)
        noise = MAD_TO_SIGMA * np.median(np.abs(ring - np.median(ring)))
        stamp, across, down = profile_stamp(column, row, sigma, reach)
        inner = box[down - low : down - low + len(stamp), across - left : across - left + len(stamp)]
        whole = _whole_light(box, away, radius, _CORE * sigma)
        spread = noise * np.sqrt(np.pi) * radius
        if whole > _KNOWN * spread:
            seen = np.isfinite(inner)  # corners of the profile lie outside the core
            parts.append((stamp * inner)[seen].sum() / (stamp**2)[seen].sum() / whole)
            errors.append(spread / whole)
    return _typical(np.array(parts), np.array(errors))


# --- inside -----------------------------------------------------------------------------------------------


def _typical(value: FloatArray, error: FloatArray) -> tuple[float, float, float]:
    """Return the weighted median of stars, its error by their noise, and that by what they differ by beyond it."""
    nothing = float("nan"), float("inf"), float("inf")
    if not value.size:
        return nothing
    weight = 1.0 / (error**2 + _DIFFER**2)
    middle = _weighted_median(value, weight)
    if not _DARK < middle < 1 / _DARK:
        return nothing
    away = (value / middle - 1) ** 2
    if value.size >= _MANY:
        excess = MAD_TO_SIGMA**2 * _weighted_median(away, weight) - _weighted_median(error**2, weight)
    else:
        excess = float(np.average(away - error**2, weights=weight))
    alike = float(weight.sum() ** 2 / (weight**2).sum())
    noise = _MEDIAN * middle * float(np.sqrt((weight**2 * error**2).sum()) / weight.sum())
    return middle, noise, _MEDIAN * middle * float(np.sqrt(max(excess, 0.0) / alike))


def _whole_light(box: FloatArray, away: FloatArray, radius: float, core: float) -> float:
    """Return the light in a circle: the sum of its core, and outside it of rings by their median.

    So a neighbour in the wings, which only the emptiest fields do without, adds nothing.
    """
    total = float((np.clip(core + 0.5 - away, 0.0, 1.0) * np.nan_to_num(box)).sum())
    edges = np.linspace(core, radius, max(int(np.ceil(radius - core)), 1) + 1)
    for inner, outer in itertools.pairwise(edges.tolist()):
        ring = box[(away >= inner) & (away < outer) & np.isfinite(box)]
        if ring.size:
            total += float(np.median(ring)) * np.pi * (outer**2 - inner**2)
    return total


def _weighted_median(values: FloatArray, weight: FloatArray) -> float:
    order = np.argsort(values, kind="stable")
    summed = np.cumsum(weight[order])
    return float(np.interp(0.5 * summed[-1], summed - 0.5 * weight[order], values[order]))


def _agree(flux: FloatArray, phi: FloatArray, part: FloatArray) -> NDArray[np.bool_]:
    """Return which frames agree with the median; a light that varies is no error, so what is usual is allowed."""
    here = phi > 0
    if not here.any():
        return here
    pull = np.abs(flux - float(np.median(flux[here]))) * np.sqrt(phi) * part
    return here & (pull <= _ODD * max(1.0, MAD_TO_SIGMA * float(np.median(pull[here]))))


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
    """Return by how much the median of the other frames adds to the variance of a sum along a path."""
    return 1.0 + 0.5 * np.pi * share / np.maximum(1.0 - share, _LEAST)


def _followed(peak: FloatArray) -> FloatArray:
    """Return the part of a light that a median follows, for its peak in standard deviations of a pixel."""
    # a pixel of a Gaussian, weighted by its square, has two thirds of the peak
    height = np.maximum(2.0 / 3.0 * peak, 1e-6)
    return np.asarray(np.sqrt(np.pi / 2) * erf(height / np.sqrt(2.0)) / height)
