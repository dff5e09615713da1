"""The stars of a pointed frame: found, and the profile of a point fitted to all of them at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from virtualobserver.conventions import MASK_COSMIC_RAY, MASK_SATURATED
from virtualobserver.data.image import Image
from virtualobserver.errors import BadKeyword, NotEnoughData
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.apertures import measure_apertures
from virtualobserver.maths.images.background import background, background_level
from virtualobserver.maths.images.sources import SourceList, find_sources
from virtualobserver.maths.images.stars import Moffat, StarFit, fit_moffat, fit_stars
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from virtualobserver.observatories.decam.reference import ReferenceSettings

__all__ = ["FrameStars", "measure_stars", "profile_share"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
PROFILE_ERROR: Final = 0.005
"""Of a flux, beside the noise of its pixels, from star to star; a scale that all have is the zero point's."""
EXTENDED: Final = 0.1
"""Light beyond that of a point, of the point's own, from which something is a galaxy: profiles fit to 2 %."""
SHARP: Final = -0.25
"""The same of cosmic rays, whose point is fitted twice too bright: -0.5 for one pixel."""
CERTAIN: Final = 4.0
"""Standard deviations for either: one in 16,000 stars by chance."""
LEAST_COVERED: Final = 0.02
"""Of the profile of a saturated star on good pixels, below which no fit can tell its light."""
CUT: Final = 0.5
"""Of the width of stars (FWHM), from the edge of the good pixels to the middle of a star: nearer ones do not show their
peak from both sides. The fit takes stars beyond the edge for fainter ones on it, 1.4 mag off in the simulation."""
BORDER: Final = 0.5
"""Of the good pixels of the best row (or column), with fewer of which one at the edge is no part of the picture."""
FIRST_STARS: Final = 10
"""Stars of the first profile, which only has to be good enough to take neighbours away for the second."""


@dataclass(frozen=True, eq=False)
class FrameStars:
    """What was found on a frame by falling flux, fluxes in ADU/s; `sky` in units of the data, `scale` of one ADU."""

    x: FloatArray
    y: FloatArray
    fluxes: RecordDict
    saturated: BoolArray
    galaxy: BoolArray
    cut: BoolArray
    covered: FloatArray
    elongation: FloatArray
    fwhm: float
    beta: float
    sky: float
    scale: float

    @property
    def spoiled(self) -> BoolArray:
        """Whether a star tells nothing of the zero point."""
        return self.saturated | self.galaxy | self.cut

    @property
    def kinds(self) -> RecordDict:
        """Columns of what each is."""
        flags = {"saturated": self.saturated, "galaxy": self.galaxy, "cut": self.cut}
        return {"elongation": self.elongation, **flags}


def measure_stars(frame: Image, facts: RecordDict, own: ReferenceSettings) -> FrameStars:
    """Measure the stars of a frame.

    Raises
    ------
    NotEnoughData
        If there are none.
    """
    data, variance, mask, scale = _planes(frame, facts, own)
    fit, found, light, sky, profile = _photometry(data, variance, mask, facts["fwhm"], own.threshold)
    residual, radius = np.subtract(light, fit.model, out=light), 1.5 * profile.fwhm
    (extra,) = measure_apertures(residual, _filled(variance), fit.x, fit.y, radii=[radius], mask=mask)
    saturated = ((extra.flags & MASK_SATURATED) != 0) | (_peaks(data, fit) >= facts["saturation"])
    galaxy, sharp = _extended(fit, extra.flux, extra.flux_error, saturated)
    fit, rows = _real(fit, found, saturated, sharp, own.threshold)
    if not len(rows):
        msg = f"CCD {facts['ccd']}: no star above {own.threshold} standard deviations"
        raise NotEnoughData(msg)
    rate, whole = 1 / (scale * facts["exptime"]), profile_share(profile, radius)
    x, y, flux = fit.x[rows], fit.y[rows], fit.flux[rows] * rate
    fluxes = {
        "flux": flux,
        "flux_error": np.hypot(fit.flux_error[rows] * rate, PROFILE_ERROR * flux),
        "aperture_flux": flux + extra.flux[rows] * rate / whole,
        "aperture_flux_error": extra.flux_error[rows] * rate / whole,
    }
    return FrameStars(
        x, y, fluxes, saturated[rows], galaxy[rows], _cut(x, y, mask, profile.fwhm), fit.covered[rows],
        found.elongation[rows], profile.fwhm, profile.beta, sky, scale,
    )  # fmt: skip


def profile_share(profile: Moffat, radius: float) -> float:
    """Return the part of a point's light within a radius, pixels."""
    width = radius**2 * math.sqrt(profile.p * profile.q - profile.r**2)
    return 1 - math.pow(1 + width, 1 - profile.beta)


# --- inside -----------------------------------------------------------------------------------------------


def _planes(frame: Image, facts: RecordDict, own: ReferenceSettings) -> tuple[Array, Array, Array, float]:
    """Return data, variance and mask, and how many units of the data one ADU is."""
    data = np.asarray(frame.data)
    data = data if data.dtype == np.float32 else data.astype(np.float64)
    mask = np.zeros(data.shape, np.uint16) if frame.mask is None else np.asarray(frame.mask)
    mask = mask if mask.dtype == np.uint16 else mask.astype(np.int32)
    scale = 1.0
    if frame.unit == "electron":
        if facts["gain"] is None:
            msg = f"CCD {facts['ccd']}: electrons without GAINA or GAINB cannot be told in ADU"
            raise BadKeyword(msg)
        scale = float(facts["gain"])
    facts["saturation"] *= scale
    if not (np.isfinite(data) & (mask == 0)).any():
        msg = f"CCD {facts['ccd']}: there is no good pixel"
        raise NotEnoughData(msg)
    if frame.variance is None:
        level = background(data, mask=mask)
        gain = 1.0 if frame.unit == "electron" else facts["gain"] or 4.0
        variance = np.asarray(level.scatter**2 + np.maximum(data - level.level, 0) / gain, data.dtype)
    else:
        variance = np.asarray(frame.variance, data.dtype)
    bad = ~np.isfinite(data) | ~np.isfinite(variance) | (variance <= 0)
    # saturated pixels often have weight 0: the star is still there
    if np.any(new := bad & (mask == 0)):
        mask = np.where(new, mask.dtype.type(1), mask)
    if own.perform_cosmicray_removal:
        from virtualobserver.maths.ccd.cosmics import find_cosmic_rays

        rays = find_cosmic_rays(data, np.where(bad, np.nanmedian(variance), variance), bad=mask != 0)
        mask = np.where(rays.mask, mask | MASK_COSMIC_RAY, mask)
    if not (mask == 0).any():
        msg = f"CCD {facts['ccd']}: there is no good pixel"
        raise NotEnoughData(msg)
    finite = np.isfinite(data)
    return data if finite.all() else np.where(finite, data, 0.0), variance, mask, scale


def _filled(variance: Array) -> Array:
    """Return variances, with a common one where there is none: stars are looked for in their saturated middles."""
    known = np.isfinite(variance) & (variance > 0)
    return variance if known.all() else np.where(known, variance, np.median(variance[known]))


def _photometry(
    data: Array, variance: Array, mask: Array, fwhm: float, threshold: float
) -> tuple[StarFit, SourceList, Array, float, Moffat]:
    """Find and fit stars, then once more on what is left: what the first fit took for sky or one star.

    Returned are the fit, what was found, the light above the sky, the median of the sky and the profile.
    """
    level = background_level(data, mask=mask)
    filled = _filled(variance)
    found = find_sources(data, filled, mask=mask, threshold=threshold, fwhm=fwhm, sky=level)
    light = data - level
    del level  # here and below: each plane of a chip is 33 MB
    try:
        profile = fit_moffat(light, filled, found, most=FIRST_STARS)
    except NotEnoughData:
        # a few faint stars: a round profile of the header's width does
        narrow = 4 * (2 ** (1 / 3.5) - 1) / fwhm**2
        profile = Moffat(narrow, narrow, 0.0, 3.5)
    del filled
    fit = fit_stars(light, variance, found.x, found.y, profile, mask=mask)
    try:
        profile = fit_moffat(light, _filled(variance), found, fitted=(fit, profile))
    except NotEnoughData:
        pass
    else:
        x, y = fit.x, fit.y
        del fit
        fit = fit_stars(light, variance, x, y, profile, mask=mask, rounds=1)
    del light
    x, y, left = fit.x, fit.y, np.asarray(data - fit.model)
    del fit
    sky = background_level(left, mask=mask)
    more = find_sources(left, _filled(variance), mask=mask, threshold=threshold, fwhm=profile.fwhm, sky=sky)
    # the middle of what is cut by the edge may lie beyond it
    rows, columns = _pixels(more.x, more.y, data.shape)
    own = data[rows, columns] - left[rows, columns]
    del left
    # beside a bright star what is left is the fault of the profile, up to a tenth of its light
    fresh = (more.flux * profile.norm > 0.2 * own) & (more.snr > threshold)
    more = more.take(np.flatnonzero(fresh))
    everything = SourceList(
        *(
            np.concatenate([getattr(part, name) for part in (found, more)])
            for name in found.__dataclass_fields__
        )
    )
    start = np.concatenate([x, more.x]), np.concatenate([y, more.y])
    light, middle = data - sky, float(np.median(sky))
    del sky
    return fit_stars(light, variance, *start, profile, mask=mask), everything, light, middle, profile


def _real(
    fit: StarFit, found: SourceList, saturated: BoolArray, sharp: BoolArray, threshold: float
) -> tuple[StarFit, IntArray]:
    """Return the fit, and the rows of what are stars on the frame, by falling flux."""
    keep = np.isfinite(fit.flux) & (fit.flux > threshold * fit.flux_error) & ~sharp
    keep &= fit.covered > 0.3
    # of a star whose middle is lost there is what lies around it: less than it has, but there it is
    lost = saturated & ~(fit.covered > LEAST_COVERED) & (found.flux > 0)
    fit = replace(
        fit,
        flux=np.where(lost, found.flux, fit.flux),
        flux_error=np.where(lost, found.flux_error, fit.flux_error),
    )
    keep |= lost | (saturated & (fit.covered > LEAST_COVERED) & (fit.flux > threshold * fit.flux_error))
    ny, nx = fit.model.shape
    keep &= (fit.x > -0.5) & (fit.x < nx - 0.5) & (fit.y > -0.5) & (fit.y < ny - 0.5)
    return fit, np.flatnonzero(keep)[np.argsort(-fit.flux[keep], kind="stable")]


def _pixels(x: FloatArray, y: FloatArray, shape: tuple[int, ...]) -> tuple[IntArray, IntArray]:
    """Return row and column of the pixel that a place is in, or that of the edge next to it."""
    rows, columns = (
        np.clip(np.rint(part).astype(np.int64), 0, size - 1) for part, size in zip((y, x), shape, strict=True)
    )
    return rows, columns


def _cut(x: FloatArray, y: FloatArray, mask: Array, fwhm: float) -> BoolArray:
    """Return which stars stand too near the edge of the frame, or of its good part where the mask has a border."""
    away = []
    for axis, place in ((0, x), (1, y)):
        share = np.mean(mask == 0, axis=axis)
        inside = np.flatnonzero(share > BORDER * share.max())
        away += [place - inside[0], inside[-1] - place]
    return np.asarray(np.minimum.reduce(away) + 0.5 < CUT * fwhm)


def _peaks(data: Array, fit: StarFit) -> FloatArray:
    return np.asarray(uniform_filter(data, 2)[_pixels(fit.x, fit.y, data.shape)])


def _extended(
    fit: StarFit, extra: FloatArray, error: FloatArray, saturated: BoolArray
) -> tuple[BoolArray, BoolArray]:
    """Return what has more light around it than a point, and what has less."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share, noise = extra / fit.flux, np.hypot(error, fit.flux_error) / fit.flux
        wide = (share > EXTENDED) & (share > CERTAIN * noise)
        sharp = (share < SHARP) & (share < -CERTAIN * noise)
    return wide & ~saturated, sharp & ~saturated
