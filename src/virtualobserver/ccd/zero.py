"""The zero point of a frame, and how good the frame is: depth, seeing, sky."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.ccd.settings import PhotometrySettings
from virtualobserver.ccd.stars import SEEING, FrameStars, width_of
from virtualobserver.data.cards import place_in, zero_cards
from virtualobserver.data.image import Image
from virtualobserver.data.product import Product
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.sources import SourceList
from virtualobserver.maths.images.zeropoint import ZeroPoint, limiting_magnitude, sky_brightness
from virtualobserver.maths.images.zerorule import NOT_FOUND, ZeroRule, poor_fit
from virtualobserver.typing import Record, RecordDict

__all__ = [
    "NOT_FOUND",
    "aperture_of",
    "fit_stars",
    "measure_zero_point",
    "poor_fit",
    "radius_of",
    "rule_of",
    "why_left_out",
    "zero_point_product",
]

_UNITS: Final = {
    "mjd": "d", "exptime": "s", "zero_point": "mag", "zero_point_error": "mag", "zero_point_rms": "mag",
    "zero_point_scatter": "mag", "colour_pivot": "mag", "limiting_magnitude": "mag", "fwhm": "pix",
    "seeing": "arcsec", "sky": "electron", "sky_brightness": "mag / arcsec2",
}  # fmt: skip


def measure_zero_point(
    image: Image, found: SourceList, stars: FrameStars, light: Record, own: PhotometrySettings
) -> ZeroPoint:
    """Fit the zero point of a frame (electrons per second) with stars that are alone, seen and not spoiled.

    Parameters
    ----------
    light
        Columns of the stars, see `measure_stars`.

    Raises
    ------
    NotEnoughData
        If there are too few such stars.
    """
    merged = np.zeros(len(stars), dtype=bool)
    if len(found):
        merged = (found.blended | found.truncated)[stars.source]
    good = why_left_out(light, merged, own) == ""
    return fit_stars(light, good, float(image.header["EXPTIME"]), own)


def why_left_out(stars: Record, merged: NDArray[np.bool_], own: PhotometrySettings) -> NDArray[np.str_]:
    """Return why each star is left out of the zero point before any fit, see `ZeroRule.left_out`."""
    return rule_of(own).left_out(stars, merged)


def fit_stars(stars: Record, good: NDArray[np.bool_], exptime: float, own: PhotometrySettings) -> ZeroPoint:
    """Fit the zero point with some stars of a frame, see `ZeroRule.fit`."""
    return rule_of(own).fit(stars, good, exptime)


def rule_of(own: PhotometrySettings) -> ZeroRule:
    """Return how zero points are fitted, as the facts of the tables of sources have it."""
    return ZeroRule(
        aperture=aperture_of(own), snr=own.zero_snr, fewest=own.zero_fewest, clip=own.zero_clip,
        max_mag_error=own.max_mag_error, brightest=own.brightest, faintest=own.faintest, colour_term=own.colour_term,
        ab_offset=own.ab_offset, match_radius=own.match_radius, r2=own.r2,
    )  # fmt: skip


def aperture_of(own: PhotometrySettings) -> str:
    """Return what the aperture of the zero point is called in columns: ``seeing``, or its radius in pixels."""
    if own.fwhm_radius is not None:
        return SEEING
    if own.zero_radius is None:
        return f"{max(own.radii):g}"
    wanted = float(own.zero_radius)
    return f"{min(own.radii, key=lambda radius: abs(radius - wanted)):g}"


def radius_of(image: Image, own: PhotometrySettings) -> float:
    """Return the radius of that aperture on a frame, pixels."""
    return float(aperture_of(own)) if own.fwhm_radius is None else own.fwhm_radius * width_of(image)


def zero_point_product(
    image: Image,
    zero: ZeroPoint | DataError,
    band: str,
    scale: float,
    *,
    refcat: str,
    radius: float,
    r2: float | None = None,
) -> Product[Table]:
    """Return the zero point and quality of a frame as a table of one row, role ``zeropoint``.

    Its facts hold ``cards``, the header cards that go with the frame: ``MAGZP`` (magnitude of one electron in
    this frame), ``MAGZPERR, MAGZPRMS, COLTERM, COLPIVOT, MAGLIM`` (5 sigma, point source), ``NMATCH, SEEING``
    (arcsec), ``SKYMAG`` (mag/arcsec2), ``ZPRADIUS`` (pixels) and ``REFCAT``. Where there is none, only the reason.
    ``flagged`` says what is wrong with one that is there.

    Parameters
    ----------
    zero
        The zero point, or why there is none.
    scale
        Arcsec per pixel.
    refcat
        Name of the reference catalogue.
    radius
        Of the aperture whose light the zero point is that of, pixels.
    r2
        Least part of the stars' magnitudes that it explains.
    """
    numbers = _quality(image, scale)
    reason = str(zero) if isinstance(zero, DataError) else ""
    cards: RecordDict = {}
    if isinstance(zero, ZeroPoint):
        numbers |= zero.statistics() | _depth(image, zero, numbers, scale)
        cards = zero_cards(numbers) | {"REFCAT": refcat, "ZPRADIUS": radius}
    flagged = poor_fit(zero, r2)
    plain = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    columns: dict[str, Array] = {name: np.array([value]) for name, value in numbers.items()}
    units = {name: unit for name, unit in _UNITS.items() if name in columns}
    said = {"reason": reason, "flagged": flagged}
    table = Table(columns, units, {"cards": cards, **said, **place_in(image.header)})
    return Product(table, role="zeropoint", band=band, statistics=plain | said)


# --- inside -----------------------------------------------------------------------------------------------


def _quality(image: Image, scale: float) -> dict[str, float]:
    """Return what is known without a catalogue; NaN for what is not."""
    header = image.header
    width = float(header.get("FWHM") or math.nan)
    sky = header.get("SKY")
    return {
        "mjd": float(header["MJD-MID"]), "exptime": float(header["EXPTIME"]), "fwhm": width,
        "seeing": width * scale, "sky": math.nan if sky is None else float(sky),
    }  # fmt: skip


def _depth(image: Image, zero: ZeroPoint, numbers: Mapping[str, float], scale: float) -> dict[str, float]:
    assert image.variance is not None
    good = image.variance if image.mask is None else image.variance[image.mask == 0]
    exptime = numbers["exptime"]
    faintest = limiting_magnitude(zero.zero_point, good, fwhm=numbers["fwhm"], exptime=exptime)
    sky = sky_brightness(zero.zero_point, numbers["sky"], exptime=exptime, scale=scale)
    return {"colour_pivot": zero.colour_pivot, "limiting_magnitude": faintest, "sky_brightness": sky}
