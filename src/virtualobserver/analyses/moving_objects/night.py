"""The images of one night on one grid, ready to be searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.align import maps_of, needs_stars
from virtualobserver.analyses.moving_objects.cuts import judge_images
from virtualobserver.analyses.moving_objects.settings import MovingObjectsSettings
from virtualobserver.analyses.moving_objects.sights import (
    Sight,
    header_of,
    middle_mjd,
    number_of,
    sight_of,
)
from virtualobserver.analyses.moving_objects.stack import NightStack, open_stack
from virtualobserver.conventions import ARCSEC_PER_DEGREE, FWHM_TO_SIGMA
from virtualobserver.data.cards import cards_by_unit
from virtualobserver.data.dropped import dropped_units
from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.errors import BadKeyword, DataError
from virtualobserver.maths.astrometry.tan_sip import replace_world, world_cards
from virtualobserver.maths.images.mapping import PixelMap
from virtualobserver.maths.shiftstack.grids import pixels_per_day
from virtualobserver.maths.shiftstack.images import gaussian_psf
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["Night", "aligned_images", "load_night", "usable"]


@dataclass(frozen=True, eq=False)
class Night:
    """Images of one night on the grid of the first.

    Parameters
    ----------
    stack
        The images, read box by box.
    order
        Which of the handles each image is, shape (n,).
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
    left_out
        How many images were too bad to be searched, by reason.
    """

    stack: NightStack
    order: NDArray[np.int64]
    fwhm: NDArray[np.float64]
    wcs: WCS | None
    pixel_scale: float
    zero_point: NDArray[np.float64]
    exptime: NDArray[np.float64]
    unit: str
    band: str
    left_out: Mapping[str, int]

    @property
    def mjd(self) -> NDArray[np.float64]:
        """Middle of each exposure, MJD (UTC), shape (n,)."""
        return self.stack.mjd

    @property
    def tau(self) -> NDArray[np.float64]:
        """Days since the first image, shape (n,)."""
        return self.stack.tau

    @property
    def sigma(self) -> NDArray[np.float64]:
        """Width of the profile of each image, pixels."""
        return self.fwhm * FWHM_TO_SIGMA

    def speed(self, rate: tuple[float, float]) -> tuple[float, float]:
        """Return slowest and fastest speed, pixels per day, for a range of rates in arcsec per hour."""
        slow, fast = (float(one) for one in pixels_per_day(rate, self.pixel_scale))
        return slow, fast

    def area(self, pixels: int) -> float:
        """Return square degrees of so many pixels."""
        return pixels * (self.pixel_scale / ARCSEC_PER_DEGREE) ** 2

    def sky(self, x: object, y: object) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return ICRS degrees of pixels of the grid, counted from 0; None without world coordinates."""
        if self.wcs is None:
            return None
        ra, dec = self.wcs.all_pix2world(np.asarray(x), np.asarray(y), 0)
        return np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)


def usable(products: Sequence[Handle]) -> list[int]:
    """Return the numbers of the handles to search: the differences, or else all images that are not dropped."""
    bad = dropped_units(products)
    images = [
        number
        for number, one in enumerate(products)
        if one.info.kind == "image" and not (one.info.unit and one.info.unit in bad)
    ]
    differences = [number for number in images if products[number].info.role == "difference"]
    return differences or images


def load_night(products: Sequence[Handle], settings: MovingObjectsSettings) -> Night | None:
    """Measure, sort and align the images, one at a time in memory; None if there are too few.

    Raises
    ------
    BadKeyword
        If an image does not say when it was taken or how wide its stars are, and no setting does.
    DataError
        If the images differ in size, or in the size of their pixels.

    Notes
    -----
    Images without world coordinates are aligned by their stars; those that match no other, and those without
    any star, are left out, as are those that the cuts name.
    """
    fewest = settings.stack.min_epochs
    chosen = usable(products)
    if len(chosen) < fewest:
        return None
    order, sights = _sights(products, chosen, settings)
    if len({one.shape for one in sights}) > 1:
        msg = f"the images of one night differ in size: {sorted({one.shape for one in sights})}"
        raise DataError(msg)
    good, left_out = judge_images(sights, settings)
    order, sights = order[good], [one for one, well in zip(sights, good, strict=True) if well]
    if len(sights) < fewest:
        return None
    maps, aligned = maps_of(sights, how=settings.align)
    if aligned.sum() < fewest:
        return None
    if lost := len(chosen) - good.size:
        left_out["starless"] = lost
    if not aligned.all():
        left_out["not aligned"] = int((~aligned).sum())
    order, maps = order[aligned], [one for one, well in zip(maps, aligned, strict=True) if well]
    sights = [one for one, well in zip(sights, aligned, strict=True) if well]
    fwhm = np.array([one.fwhm for one in sights])
    # one size for all, and wide enough for the widest
    radius = int(np.ceil(3 * fwhm.max() * FWHM_TO_SIGMA))
    first = products[chosen[0]].info
    stack = open_stack(
        [products[number] for number in order],
        sights,
        [gaussian_psf(width * FWHM_TO_SIGMA, radius) for width in fwhm],
        maps,
        template=_template(settings, difference=first.role == "difference"),
        grow=settings.star_grow,
        edge=0 if first.role == "difference" else settings.edge,
        memory=settings.memory_limit * 1e9,
    )
    header = sights[0].header
    wcs = sights[0].wcs if "CTYPE1" in header else None
    return Night(
        stack=stack, order=order, fwhm=fwhm, wcs=wcs, pixel_scale=_scale(wcs, settings),
        zero_point=np.array([_zero_point(one, settings) for one in sights]),
        exptime=np.array([number_of(one.header, "EXPTIME") for one in sights]),
        unit=sights[0].unit, band=first.band or str(header.get("FILTER") or ""), left_out=left_out,
    )  # fmt: skip


def _sights(
    products: Sequence[Handle], chosen: Sequence[int], settings: MovingObjectsSettings
) -> tuple[NDArray[np.int64], list[Sight]]:
    """Return the numbers of the images in order of time, and what is known of each."""
    known = cards_by_unit(products)
    images = cast("Sequence[Handle[Image]]", products)  # the chosen ones are
    headers = {n: header_of(images[n], known.get(products[n].info.unit)) for n in chosen}
    if settings.psf_fwhm is None:
        # images that say that no star could be measured are clouded: left out if enough others have stars
        clear = [n for n in chosen if headers[n].get("NOSTARS") is not True]
        chosen = clear if len(clear) >= settings.stack.min_epochs else chosen
    mjd = np.array([middle_mjd(headers[n]) for n in chosen])
    order = np.array(chosen, dtype=np.int64)[np.argsort(mjd, kind="stable")]
    stars = needs_stars([headers[n] for n in chosen], settings.align)
    sights = [
        sight_of(
            images[n].load(), settings, stars=stars, header=headers[n],
            difference=products[n].info.role == "difference",
        )
        for n in order.tolist()
    ]  # fmt: skip
    return order, sights


def _zero_point(sight: Sight, settings: MovingObjectsSettings) -> float:
    found = number_of(sight.header, settings.zero_point_keyword)
    return found if np.isfinite(found) or settings.zero_point is None else settings.zero_point


def _template(settings: MovingObjectsSettings, *, difference: bool) -> RecordDict | None:
    if settings.template == "none" or (settings.template == "auto" and difference):
        return None
    return {
        "threshold": settings.star_threshold,
        "min_frames": settings.stack.min_epochs,
        "excess": settings.excess_noise,
    }


def aligned_images(night: Night) -> list[Image]:
    """Return the images of a night as they are searched, each with world coordinates on the common grid."""
    _, ny, nx = night.stack.shape
    images = []
    for frame, sight in enumerate(night.stack.sights):
        science, variance = night.stack.planes(frame, (0, ny), (0, nx))
        with np.errstate(invalid="ignore"):
            lost = ~(np.isfinite(science) & np.isfinite(variance) & (variance > 0))
        header = _on_grid(sight, night.stack.maps[frame], night.stack.sights[0])
        header |= {"MJD-MID": sight.mjd, "FWHM": sight.fwhm}
        images.append(Image(science, variance, lost.astype(np.uint8), header, sight.unit))
    return images


def _on_grid(sight: Sight, mapping: PixelMap, first: Sight) -> RecordDict:
    """Return the header of an image with world coordinates of the grid: its own, where they are only shifted."""
    shift = mapping.whole
    if shift is not None:
        return Image.moved(sight.header, shift[1], shift[0])
    return replace_world(sight.header, world_cards(first.header))


def _scale(wcs: WCS | None, settings: MovingObjectsSettings) -> float:
    if settings.pixel_scale is not None:
        return settings.pixel_scale
    if wcs is None:
        msg = "images without world coordinates need the setting pixel_scale (arcsec per pixel)"
        raise BadKeyword(msg)
    from astropy.wcs.utils import proj_plane_pixel_scales

    return float(np.mean(proj_plane_pixel_scales(wcs.celestial)) * ARCSEC_PER_DEGREE)
