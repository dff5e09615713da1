"""What part of a star's light the profile of each image finds: from stars that the median of the night knows.

The median shows the stars of a night, their neighbours and what is no single star, far below the noise of an image;
each image then tells the light of these under its own seeing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from virtualobserver.analyses.moving_objects.sights import STAR, Sight, number_of
from virtualobserver.conventions import FWHM_TO_SIGMA, MASK_NO_DATA
from virtualobserver.maths.images.background import Background
from virtualobserver.maths.images.sources import SourceList, find_sources
from virtualobserver.maths.images.starprofile import StarProfile, star_profile
from virtualobserver.maths.shiftstack.forced import part_of_star
from virtualobserver.maths.shiftstack.template import StarTemplate
from virtualobserver.typing import Record

__all__ = ["NO_STARS", "StarLight", "no_stars", "star_light"]

NO_STARS: Final = (math.nan, math.inf, math.inf)
"""The light of stars where there are none to measure."""
_PROFILE: Final = 3.0
"""Widths of the profile, as far as stars and movers are weighed."""
_WHOLE_STAR: Final = 4.0
"""Radius of a circle that holds a star, in full widths at half maximum: all but 1 to 2 % of the widest wings."""
_BRIGHT: Final = 30.0
"""Signal-to-noise ratio in the median, from which a star tells in an image."""
_WEIGHED: Final = 40
"""Bright stars whose light is measured: together they are good to a fifth of the scatter of one."""
_OWN: Final = 3.0
"""Full widths at half maximum to the nearest star, whose light then ends where the core begins."""
_FAINT: Final = 0.01
"""Of a star's light: what a neighbour may add to it unseen."""
_ROUND: Final = 1.15
"""Elongation in that of the rounder quarter of the stars, from which one is two that were not told apart."""
_FAINTEST: Final = 0.05
"""Of the light of stars in the median, below which an image shows none of them."""

Read = Callable[[slice, slice], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class StarLight:
    """Light of the stars in each image.

    Parameters
    ----------
    parts
        What part of a star's light the profile finds, its error by noise, and by what stars differ by; shape (n, 3).
    deep
        The same of the median.
    air
        By what factor stars are brighter than in the median, shape (n,); 1 where that is not known.
    """

    parts: NDArray[np.float64]
    deep: tuple[float, float, float]
    air: NDArray[np.float64]


def no_stars(number: int) -> StarLight:
    """Return what is known of so many images without stars."""
    return StarLight(np.array([NO_STARS] * number), NO_STARS, np.ones(number))


def star_light(template: StarTemplate, sights: Sequence[Sight], images: Sequence[Read]) -> StarLight:
    """Measure the light of stars in each image, and in the median of them all.

    Parameters
    ----------
    template
        The median on the grid, with its error.
    sights
        What is known of each image.
    images
        Each returns a box of an image on the grid without sky.
    """
    made = no_stars(len(sights))
    light, error = template.light, template.error
    if error is None or not np.isfinite(light).any():
        return made
    noise = float(np.nanmedian(error))
    found = _found(light, error, noise)
    fwhm = float(np.median([one.fwhm for one in sights]))
    chosen = _single(found, fwhm)
    places, shape = (found.x, found.y, found.flux), light.shape
    deep = star_profile(
        lambda rows, cols: light[rows, cols], (shape[0], shape[1]), places, chosen=chosen, fwhm=fwhm,
        noise=noise, radius=float(np.median([_circle(one.header, one.fwhm) for one in sights])),
    )  # fmt: skip
    if deep is None:
        return made
    for number, (sight, read) in enumerate(zip(sights, images, strict=True)):
        width = sight.fwhm
        one = star_profile(
            read, (shape[0], shape[1]), places, chosen=chosen, fwhm=width, noise=sight.noise,
            radius=_circle(sight.header, width), start=deep,
        )  # fmt: skip
        if one is not None:
            made.parts[number] = _part(one, width)
            brighter = one.brighter(deep)
            made.air[number] = brighter if brighter > _FAINTEST else 1.0
    return replace(made, deep=_part(deep, fwhm))


# --- inside -----------------------------------------------------------------------------------------------


def _part(profile: StarProfile, fwhm: float) -> tuple[float, float, float]:
    sigma = fwhm * FWHM_TO_SIGMA
    return part_of_star(profile, sigma=sigma, reach=int(np.ceil(_PROFILE * sigma)))


def _circle(cards: Record, fwhm: float) -> float:
    """Return the radius of the circle that holds a star: that of the zero point if it is known, pixels."""
    radius = number_of(cards, "ZPRADIUS")
    return radius if radius > 0 else _WHOLE_STAR * fwhm


def _found(light: NDArray[np.float32], error: NDArray[np.float32], noise: float) -> SourceList:
    """Find stars in the median; the light of a star adds to its noise, but to that of a median of many little."""
    good = np.isfinite(light) & np.isfinite(error)
    bits = np.where(good, 0, MASK_NO_DATA).astype(np.uint16)
    flat = np.zeros(light.shape, np.float32)
    sky = Background(flat, np.full_like(flat, noise), 0.0, noise)
    return find_sources(
        np.where(good, light, np.float32(0)), np.where(good, error**2, np.float32(0)), mask=bits,
        threshold=STAR, sky=sky,
    )  # fmt: skip


def _single(found: SourceList, fwhm: float) -> list[int]:
    """Return the brightest stars whose core is their own."""
    good = ~found.blended & ~found.truncated & (found.flags == 0) & (found.snr > _BRIGHT)
    if good.any():
        good &= found.elongation < _ROUND * float(np.quantile(found.elongation[good], 0.25))
    if len(found) > 1:
        place = np.stack([found.x, found.y], axis=1)
        near, which = (np.atleast_2d(part) for part in cKDTree(place).query(place, k=2))
        # the core has to be its own; what shines into the wings is fitted with it
        good &= (near[:, 1] > _OWN * fwhm) | (found.flux[which[:, 1]] < _FAINT * found.flux)
    chosen: list[int] = np.flatnonzero(good)[:_WEIGHED].tolist()
    return chosen
