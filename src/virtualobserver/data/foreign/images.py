"""Images as objects of astropy, and back: nothing is lost without a word."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from virtualobserver.data.foreign.seen import Planes
from virtualobserver.data.units import same_unit, unit_of
from virtualobserver.data.world import has_world
from virtualobserver.errors import DataError, LostFact
from virtualobserver.hooks import fits_header, plain_header
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.astrometry.tan_sip import replace_world
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from astropy.nddata import CCDData, NDData, NDUncertainty

__all__ = ["HIDDEN", "as_variance", "bits_of", "image_from_ccddata", "image_to_ccddata", "variance_of"]

HIDDEN = 1
"""Bit of a pixel that another package hides without saying why (``FLAG_ARCHIVE``, in spectra ``not a number``)."""

_LOOKUPS = ("cpdis1", "cpdis2", "det2im1", "det2im2")
"""Distortions of astropy that stand in extensions of a file, not in its header."""


def image_to_ccddata(image: Planes) -> CCDData:
    """Return an image as `CCDData`; see `Image.to_ccddata`."""
    from astropy.nddata import CCDData, VarianceUncertainty
    from astropy.units import UnitBase

    unit = unit_of(image.unit)
    if image.variance is not None and not isinstance(unit, UnitBase):
        msg = f"a variance has no unit where pixels are in {image.unit}; convert them to a flux first"
        raise DataError(msg)
    world = has_world(image.header)
    # astropy's rule: what a WCS holds is in no other place
    cards = replace_world(image.header, {}) if world else dict(image.header)
    return CCDData(
        image.data.copy(),
        unit=unit,
        mask=None if image.mask is None else image.mask != 0,
        flags=None if image.mask is None else image.mask.copy(),
        uncertainty=None if image.variance is None else VarianceUncertainty(image.variance.copy()),
        wcs=image.wcs if world else None,
        meta=fits_header(cards | {"BUNIT": image.unit}),
    )


def image_from_ccddata(ccd: NDData, *, unit: str | None = None) -> RecordDict:
    """Return the fields of an `Image` of `CCDData` or `NDData`; see `Image.from_ccddata`."""
    data = np.asarray(ccd.data)
    if data.ndim != 2:
        msg = f"an image has two axes, this object {data.ndim}; take the planes one by one"
        raise DataError(msg)
    header = plain_header(ccd.meta)
    bunit = str(header.pop("BUNIT", None) or header.pop("bunit", None) or "")
    if ccd.unit is None and unit is None:
        msg = "the object says no unit of its pixels; give one, such as unit='adu'"
        raise DataError(msg)
    if unit is None:
        unit = bunit if same_unit(bunit, str(ccd.unit)) else str(ccd.unit)
    elif ccd.unit is not None and unit_of(unit) != ccd.unit:
        msg = f"the pixels are in {ccd.unit}, not in {unit}; convert them first"
        raise DataError(msg)
    if getattr(ccd, "psf", None) is not None:
        warnings.warn("an image holds no PSF; the one of this object is left out", LostFact, stacklevel=3)
    return {
        "data": data.copy(),
        "variance": variance_of(ccd.uncertainty, unit),
        "mask": bits_of(ccd.mask, getattr(ccd, "flags", None), data.shape),
        "header": _with_world(header, ccd.wcs),
        "unit": unit,
    }


def _with_world(header: RecordDict, wcs: object) -> RecordDict:
    if wcs is None:
        return header
    low = getattr(wcs, "low_level_wcs", wcs)
    if not hasattr(low, "to_header"):
        msg = (
            f"the world coordinates ({type(wcs).__name__}) have no form in a FITS header; set wcs=None first"
        )
        raise DataError(msg)
    if tables := [name for name in _LOOKUPS if getattr(low, name, None) is not None]:
        msg = f"a header has no place for look-up tables of distortion ({', '.join(tables)}); set them to None first"
        raise DataError(msg)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            cards = plain_header(low.to_header(relax=True))
        except ValueError as error:
            msg = f"these world coordinates have no form in a FITS header ({error}); set wcs=None first"
            raise DataError(msg) from error
    if not has_world(cards):
        return header
    if cards.get("MJDREF") == 0:
        del cards["MJDREF"]  # astropy always writes it
    return cards | replace_world(header, {})


def variance_of(uncertainty: NDUncertainty | None, unit: str) -> Array | None:
    """Return the variance, in `unit` squared, of any known kind of uncertainty of astropy.

    Raises
    ------
    DataError
        If the kind is unknown.
    """
    from astropy.nddata import InverseVariance, StdDevUncertainty, VarianceUncertainty

    if uncertainty is None or uncertainty.array is None:
        return None
    values = np.array(uncertainty.array)
    powers = {StdDevUncertainty: 1, VarianceUncertainty: 2, InverseVariance: -2}
    power = next((power for kind, power in powers.items() if isinstance(uncertainty, kind)), None)
    if power is None:
        msg = f"uncertainties of the kind {type(uncertainty).__name__} say no variance; convert them first"
        raise DataError(msg)
    return as_variance(values, power, str(uncertainty.unit or ""), unit)


def as_variance(values: Array, power: int, given: str, unit: str) -> Array:
    """Return uncertainties as variances in `unit` squared; no weight is no knowledge, an infinite variance.

    Parameters
    ----------
    values
        Uncertainties of any shape, whole numbers too.
    power
        1 for standard deviations, 2 for variances, -2 for inverse variances.
    given
        Unit of `values`; empty for that of the image to its power.
    unit
        Unit of the image.

    Raises
    ------
    DataError
        If the units cannot be converted.
    """
    from astropy.units import UnitsError

    if given:
        try:
            factor = (1.0 * unit_of(given)).to_value(unit_of(unit) ** power)
        except UnitsError as error:
            msg = f"uncertainties in {given} are none of pixels in {unit or 'no unit'} ({error}); convert the one"
            raise DataError(msg) from error
        values = values if factor == 1.0 else values * factor
    if power == 2:
        return values
    # squares of whole numbers do not fit where those did
    numbers = values if values.dtype.kind == "f" else values.astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.square(numbers) if power == 1 else 1.0 / numbers


def bits_of(mask: object, flags: object, shape: tuple[int, ...]) -> Array | None:
    """Return quality bits from a mask (True = hidden) and flags; what is hidden is never 0."""
    if mask is None and flags is None:
        return None
    bits: Array
    if flags is not None and not isinstance(flags, Mapping) and np.asarray(flags).dtype.kind in "iub":
        bits = np.broadcast_to(np.asarray(flags), shape).copy()
    else:
        if flags is not None:
            warnings.warn("only flags of whole numbers are kept; others are left out", LostFact, stacklevel=4)
        bits = np.zeros(shape, np.uint8)
    if mask is None:
        return bits
    values = np.asarray(mask)
    if values.dtype.kind in "iu" and flags is None:
        return np.broadcast_to(values, shape).copy()
    hidden = np.broadcast_to(values != 0, shape)
    bits[hidden & (bits == 0)] = HIDDEN
    return bits
