"""The images of one night on one grid, ready to be searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.align import offsets, solutions, with_world
from virtualobserver.analyses.moving_objects.settings import MovingObjectsSettings
from virtualobserver.conventions import FWHM_TO_SIGMA, MAD_TO_SIGMA, SECONDS_PER_DAY
from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.errors import BadKeyword, DataError
from virtualobserver.maths.shiftstack import StackOptions
from virtualobserver.maths.shiftstack_grids import pixels_per_day
from virtualobserver.maths.shiftstack_images import Frames, gaussian_psf
from virtualobserver.maths.shiftstack_template import shift_frames, subtract_template

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["Night", "load_night", "middle_mjd", "options_of"]

_MIDDLE: Final = ("MJD-MID", "MJD_MID", "MJDMID", "MJD-AVG")
_MJD_UNIX: Final = 40587.0


@dataclass(frozen=True, eq=False)
class Night:
    """Frames of one night on the grid of the first.

    Parameters
    ----------
    frames
        Ready to be searched.
    order
        Which of the handles each frame is, shape (n,).
    dx, dy
        A source at (x, y) of the grid is at (x + dx, y + dy) of the image, shape (n,).
    fwhm
        Full width at half maximum, pixels, shape (n,).
    wcs
        World coordinates of the grid, or None.
    pixel_scale
        Arcsec per pixel.
    zero_point
        AB magnitude of one unit of flux in each image; NaN = not known, shape (n,).
    exptime
        Exposure times, s; NaN = not known, shape (n,).
    unit, band
        Of the images.
    """

    frames: Frames
    order: NDArray[np.int64]
    dx: NDArray[np.int64]
    dy: NDArray[np.int64]
    fwhm: NDArray[np.float64]
    wcs: WCS | None
    pixel_scale: float
    zero_point: NDArray[np.float64]
    exptime: NDArray[np.float64]
    unit: str
    band: str

    @property
    def sigma(self) -> NDArray[np.float64]:
        """Width of the profile of each frame, pixels."""
        return self.fwhm * FWHM_TO_SIGMA

    @property
    def area(self) -> float:
        """Area with data in any frame, square degrees."""
        pixels = float(self.frames.valid.any(axis=0).sum())
        return pixels * (self.pixel_scale / 3600.0) ** 2

    def sky(self, x: Any, y: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return ICRS degrees of pixels of the grid, counted from 0; None without world coordinates."""
        if self.wcs is None:
            return None
        ra, dec = self.wcs.all_pix2world(np.asarray(x), np.asarray(y), 0)
        return np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)


def usable(products: Sequence[Handle]) -> list[int]:
    """Return the numbers of the handles to search: the differences, or else all images."""
    images = [number for number, one in enumerate(products) if one.info.kind == "image"]
    differences = [number for number in images if products[number].info.role == "difference"]
    return differences or images


def load_night(products: Sequence[Handle], settings: MovingObjectsSettings) -> Night | None:
    """Load, sort and align the images; None if there are too few.

    Raises
    ------
    BadKeyword
        If an image does not say when it was taken or how wide its stars are, and no setting does.
    DataError
        If the images differ in size, or are turned against each other.

    Notes
    -----
    Images without world coordinates are aligned by their stars; those that match no other, and those without
    any star, are left out.
    """
    chosen = usable(products)
    if len(chosen) < settings.stack.min_epochs:
        return None
    solved = solutions(products)
    images = [with_world(products[n].load(), solved.get(products[n].info.unit)) for n in chosen]
    if settings.psf_fwhm is None:
        chosen, images = _with_stars(chosen, images, settings)
    mjd = np.array([middle_mjd(one) for one in images])
    order = np.argsort(mjd, kind="stable")
    images = [images[place] for place in order]
    if len({one.data.shape for one in images}) > 1:
        msg = f"the images of one night differ in size: {sorted({one.data.shape for one in images})}"
        raise DataError(msg)
    dx, dy, aligned = offsets(images, how=settings.align)
    if aligned.sum() < settings.stack.min_epochs:
        return None
    order, dx, dy = order[aligned], dx[aligned], dy[aligned]
    images = [one for one, good in zip(images, aligned, strict=True) if good]
    first = images[0]
    fwhm = np.array([_fwhm(one, settings) for one in images])
    science, variance = _planes(images, dx, dy)
    raw = products[chosen[0]].info.role != "difference"
    if settings.template == "median" or (settings.template == "auto" and raw):
        cleaned = subtract_template(
            science,
            variance,
            threshold=settings.star_threshold,
            min_frames=settings.stack.min_epochs,
            excess=settings.excess_noise,
        )
        science, variance = cleaned.science, cleaned.variance
    # one size for all, and wide enough for the widest
    radius = int(np.ceil(3 * fwhm.max() * FWHM_TO_SIGMA))
    psf = tuple(gaussian_psf(width * FWHM_TO_SIGMA, radius) for width in fwhm)
    zero_point = [_number(one, settings.zero_point_keyword) for one in images]
    exptime = np.array([_number(one, "EXPTIME") for one in images])
    wcs = first.wcs if "CTYPE1" in first.header else None
    return Night(
        frames=Frames(mjd[order], science, variance, psf, exptime),
        order=np.array(chosen, dtype=np.int64)[order],
        dx=dx,
        dy=dy,
        fwhm=fwhm,
        wcs=wcs,
        pixel_scale=_scale(wcs, settings),
        zero_point=np.array(zero_point),
        exptime=exptime,
        unit=first.unit,
        band=products[chosen[0]].info.band or str(first.header.get("FILTER") or ""),
    )


def options_of(night: Night, settings: MovingObjectsSettings) -> StackOptions:
    """Turn settings into pixels and days."""
    own = settings.stack
    slow, fast = (float(rate) for rate in pixels_per_day(own.rate, night.pixel_scale))
    return StackOptions(
        v_max=fast, v_min=slow, drift=own.drift, level=own.level, false_alarms=own.false_alarms,
        min_obs=own.min_epochs, top=own.top, masked=own.masked,
        binning=0 if own.binning == "auto" else own.binning, two_level_from=own.two_level_from,
        block=own.block / 1440.0, clip=own.clip, controls=own.controls, seed=own.seed, threads=own.threads,
        engine=own.engine, precision=own.precision,
    )  # fmt: skip


def middle_mjd(image: Image) -> float:
    """Middle of the exposure, MJD (UTC), from ``MJD-MID`` or from the start and the exposure time.

    Raises
    ------
    BadKeyword
        If the header does not say.
    """
    header = image.header
    for key in _MIDDLE:
        if header.get(key) is not None:
            return float(header[key])
    half = _number(image, "EXPTIME") / 2 / SECONDS_PER_DAY
    if np.isfinite(half):
        if header.get("MJD-OBS") is not None:
            return float(header["MJD-OBS"]) + half
        if header.get("DATE-OBS"):
            text = str(header["DATE-OBS"]).strip().removesuffix("Z")
            try:
                start = datetime.fromisoformat(text).replace(tzinfo=UTC)
            except ValueError as error:
                msg = f"DATE-OBS {text!r} is not an ISO 8601 time"
                raise BadKeyword(msg) from error
            return _MJD_UNIX + start.timestamp() / SECONDS_PER_DAY + half
    msg = "an image needs MJD-MID, or MJD-OBS or DATE-OBS (start) with EXPTIME"
    raise BadKeyword(msg)


def _number(image: Image, key: str) -> float:
    value = image.header.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def _fwhm(image: Image, settings: MovingObjectsSettings) -> float:
    width = settings.psf_fwhm if settings.psf_fwhm is not None else _number(image, "FWHM")
    if not 0 < width < np.inf:
        msg = "an image needs the keyword FWHM (pixels), or the analysis the setting psf_fwhm"
        raise BadKeyword(msg)
    return width


def _with_stars(
    chosen: list[int], images: list[Image], settings: MovingObjectsSettings
) -> tuple[list[int], list[Image]]:
    """Leave out images that say that no star could be measured, clouded ones, if enough others have stars."""
    good = [n for n, one in enumerate(images) if one.header.get("NOSTARS") is not True]
    if len(good) < settings.stack.min_epochs:
        return chosen, images
    return [chosen[n] for n in good], [images[n] for n in good]


def _scale(wcs: WCS | None, settings: MovingObjectsSettings) -> float:
    if settings.pixel_scale is not None:
        return settings.pixel_scale
    if wcs is None:
        msg = "images without world coordinates need the setting pixel_scale (arcsec per pixel)"
        raise BadKeyword(msg)
    from astropy.wcs.utils import proj_plane_pixel_scales

    return float(np.mean(proj_plane_pixel_scales(wcs.celestial)) * 3600.0)


def _planes(
    images: Sequence[Image], dx: NDArray[np.int64], dy: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    science = np.empty((len(images), *images[0].data.shape), dtype=np.float32)
    variance = np.empty_like(science)
    for number, one in enumerate(images):
        data = one.data.astype(np.float32)
        if one.mask is not None:
            data[one.mask != 0] = np.nan
        middle = float(np.nanmedian(data)) if np.isfinite(data).any() else 0.0
        science[number] = data - middle
        spread = (
            MAD_TO_SIGMA * float(np.nanmedian(np.abs(science[number]))) if np.isfinite(data).any() else 1.0
        )
        variance[number] = spread**2 if one.variance is None else one.variance
    return shift_frames(science, dx, dy), shift_frames(variance, dx, dy)
