"""The zero point of a frame, and how good the frame is: depth, seeing, sky."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.ccd.header import place_in
from virtualobserver.ccd.settings import PhotometrySettings
from virtualobserver.ccd.stars import FrameStars
from virtualobserver.conventions import (
    MASK_BAD,
    MASK_COSMIC_RAY,
    MASK_NO_DATA,
    MASK_NONLINEAR,
    MASK_SATURATED,
)
from virtualobserver.data.image import Image
from virtualobserver.data.product import Product
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError
from virtualobserver.maths.images.sources import SourceList
from virtualobserver.maths.images.zeropoint import (
    ZeroPoint,
    fit_zero_point,
    limiting_magnitude,
    sky_brightness,
)

__all__ = ["aperture_of", "measure_zero_point", "zero_point_product"]

_SPOILED: Final = MASK_BAD | MASK_SATURATED | MASK_COSMIC_RAY | MASK_NO_DATA | MASK_NONLINEAR
_UNITS: Final = {
    "mjd": "d", "exptime": "s", "zero_point": "mag", "zero_point_error": "mag", "zero_point_rms": "mag",
    "zero_point_scatter": "mag", "colour_pivot": "mag", "limiting_magnitude": "mag", "fwhm": "pix",
    "seeing": "arcsec", "sky": "electron", "sky_brightness": "mag / arcsec2",
}  # fmt: skip


def measure_zero_point(
    image: Image, found: SourceList, stars: FrameStars, light: Mapping[str, Any], own: PhotometrySettings
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
    radius = aperture_of(own)
    flux, error = light[f"flux_{radius:g}"], light[f"flux_error_{radius:g}"]
    good = (stars.source >= 0) & ~stars.crowded & ((light["flags"] & _SPOILED) == 0)
    if len(found):
        good &= ~(found.blended | found.truncated)[stars.source]
    with np.errstate(invalid="ignore", divide="ignore"):
        good &= flux / error >= own.zero_snr
    return fit_zero_point(
        flux[good], error[good], stars.mag[good] + own.ab_offset, exptime=float(image.header["EXPTIME"]),
        colour=stars.colour[good], colour_term=own.colour_term, mag_range=own.mag_range, fewest=own.zero_fewest,
    )  # fmt: skip


def aperture_of(own: PhotometrySettings) -> float:
    """Return the radius of the aperture of the zero point, pixels."""
    if own.zero_radius is None:
        return max(own.radii)
    wanted = float(own.zero_radius)
    return min(own.radii, key=lambda radius: abs(radius - wanted))


def zero_point_product(
    image: Image, zero: ZeroPoint | DataError, band: str, scale: float, *, refcat: str, radius: float
) -> Product:
    """Return the zero point and quality of a frame as a table of one row, role ``zeropoint``.

    Its facts hold ``cards``, the header cards that go with the frame: ``MAGZP`` (magnitude of one electron in
    this frame), ``MAGZPERR, MAGZPRMS, COLTERM, COLPIVOT, MAGLIM`` (5 sigma, point source), ``NMATCH, SEEING``
    (arcsec), ``SKYMAG`` (mag/arcsec2), ``ZPRADIUS`` (pixels) and ``REFCAT``. Where there is none, only the reason.

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
    """
    numbers = _quality(image, scale)
    reason = str(zero) if isinstance(zero, DataError) else ""
    cards: dict[str, Any] = {}
    if isinstance(zero, ZeroPoint):
        numbers |= zero.statistics() | _depth(image, zero, numbers, scale)
        cards = _cards(numbers) | {"REFCAT": refcat, "ZPRADIUS": radius}
    plain = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    columns: dict[str, NDArray[Any]] = {name: np.array([value]) for name, value in numbers.items()}
    units = {name: unit for name, unit in _UNITS.items() if name in columns}
    table = Table(columns, units, {"cards": cards, "reason": reason, **place_in(image.header)})
    return Product(table, role="zeropoint", band=band, statistics=plain | {"reason": reason})


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


def _cards(numbers: Mapping[str, float]) -> dict[str, Any]:
    found = {
        "MAGZP": numbers["zero_point"] + 2.5 * math.log10(numbers["exptime"]),
        "MAGZPERR": numbers["zero_point_error"], "MAGZPRMS": numbers["zero_point_rms"],
        "COLTERM": numbers["colour_term"], "COLPIVOT": numbers["colour_pivot"],
        "MAGLIM": numbers["limiting_magnitude"], "SEEING": numbers["seeing"], "SKYMAG": numbers["sky_brightness"],
    }  # fmt: skip
    cards: dict[str, Any] = {key: value for key, value in found.items() if math.isfinite(value)}
    return cards | {"NMATCH": int(numbers["zero_point_n"])}
