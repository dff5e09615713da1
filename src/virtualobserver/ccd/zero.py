"""The zero point of a frame, and how good the frame is: depth, seeing, sky."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.ccd.settings import PhotometrySettings
from virtualobserver.ccd.stars import SEEING, FrameStars, width_of
from virtualobserver.conventions import (
    MAG_TO_FLUX,
    MASK_BAD,
    MASK_COSMIC_RAY,
    MASK_NO_DATA,
    MASK_NONLINEAR,
    MASK_SATURATED,
)
from virtualobserver.data.cards import place_in
from virtualobserver.data.image import Image
from virtualobserver.data.product import Product
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.sources import SourceList
from virtualobserver.maths.images.zeropoint import (
    ZeroPoint,
    fit_zero_point,
    limiting_magnitude,
    sky_brightness,
)
from virtualobserver.typing import Record, RecordDict

__all__ = [
    "NOT_FOUND",
    "aperture_of",
    "fit_stars",
    "measure_zero_point",
    "poor_fit",
    "radius_of",
    "why_left_out",
    "zero_point_product",
]

NOT_FOUND: Final = "not found in the image"
"""What is said of a star of the catalogue that is none of the sources."""

_SPOILED: Final = MASK_BAD | MASK_SATURATED | MASK_COSMIC_RAY | MASK_NO_DATA | MASK_NONLINEAR
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
    """Return why each star is left out of the zero point before any fit, empty where it is not; shape (n,).

    Parameters
    ----------
    stars
        Columns of `measure_stars`, shape (n,).
    merged
        Whether the source that the star is runs into another or off the frame; False where it is none.
    """
    name = aperture_of(own)
    flux, error = stars[f"flux_{name}"], stars[f"flux_error_{name}"]
    most = math.inf if own.max_mag_error is None else own.max_mag_error
    with np.errstate(invalid="ignore", divide="ignore"):
        # an error that the catalogue does not give is not too large
        unsure = (stars["mag_error"] >= most) | ~(error / flux < most * MAG_TO_FLUX)
        faint = ~(flux / error >= own.zero_snr)
    reasons = {
        NOT_FOUND: ~stars["detected"], "crowded": stars["crowded"], "spoiled pixels": (stars["flags"] & _SPOILED) != 0,
        "blended or cut off": merged, f"S/N below {own.zero_snr:g}": faint,
        f"error of {most:g} mag or more": unsure & math.isfinite(most),
    }  # fmt: skip
    return np.select(list(reasons.values()), list(reasons), default="")


def fit_stars(stars: Record, good: NDArray[np.bool_], exptime: float, own: PhotometrySettings) -> ZeroPoint:
    """Fit the zero point with some stars of a frame, within the range of magnitudes of the settings.

    Parameters
    ----------
    stars
        Columns of `measure_stars`, shape (n,).
    good
        Which of them.
    exptime
        Seconds.

    Raises
    ------
    NotEnoughData
        If there are too few of them.
    """
    name = aperture_of(own)
    return fit_zero_point(
        stars[f"flux_{name}"][good], stars[f"flux_error_{name}"][good], stars["mag"][good] + own.ab_offset,
        exptime=exptime, colour=stars["colour"][good], colour_term=own.colour_term, fewest=own.zero_fewest,
        clip=own.zero_clip, mag_error=stars["mag_error"][good],
        mag_range=(_or(own.brightest, -math.inf), _or(own.faintest, math.inf)),
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
        cards = _cards(numbers) | {"REFCAT": refcat, "ZPRADIUS": radius}
    flagged = poor_fit(zero, r2)
    plain = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    columns: dict[str, Array] = {name: np.array([value]) for name, value in numbers.items()}
    units = {name: unit for name, unit in _UNITS.items() if name in columns}
    said = {"reason": reason, "flagged": flagged}
    table = Table(columns, units, {"cards": cards, **said, **place_in(image.header)})
    return Product(table, role="zeropoint", band=band, statistics=plain | said)


def poor_fit(zero: ZeroPoint | DataError, r2: float | None) -> str:
    """Return why a zero point is not to be trusted, empty if it is."""
    if r2 is None or isinstance(zero, DataError) or zero.r2 >= r2:
        return ""
    return f"the zero point explains {zero.r2:.4f} of the variance of the stars' magnitudes, less than {r2:g}"


# --- inside -----------------------------------------------------------------------------------------------


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


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


def _cards(numbers: Mapping[str, float]) -> RecordDict:
    found = {
        "MAGZP": numbers["zero_point"] + 2.5 * math.log10(numbers["exptime"]),
        "MAGZPERR": numbers["zero_point_error"], "MAGZPRMS": numbers["zero_point_rms"],
        "COLTERM": numbers["colour_term"], "COLPIVOT": numbers["colour_pivot"],
        "MAGLIM": numbers["limiting_magnitude"], "SEEING": numbers["seeing"], "SKYMAG": numbers["sky_brightness"],
    }  # fmt: skip
    cards: RecordDict = {key: value for key, value in found.items() if math.isfinite(value)}
    return cards | {"NMATCH": int(numbers["zero_point_n"])}
