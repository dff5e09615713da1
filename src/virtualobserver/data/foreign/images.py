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

__all__ = ["HIDDEN", "bits_of", "image_from_ccddata", "image_to_ccddata", "variance_of"]

HIDDEN = 1
"""Bit of a pixel that another package hides without saying why (``FLAG_ARCHIVE``, in spectra ``not a number``)."""


def image_to_ccddata(image: Planes) -> CCDData:
    """Return an image as `CCDData`; see `Image.to_ccddata`."""
    from astropy.nddata import CCDData, VarianceUncertainty

    world = has_world(image.header)
    # astropy's rule: what a WCS holds is in no other place
    cards = replace_world(image.header, {}) if world else dict(image.header)
    return CCDData(
        image.data.copy(),
        unit=unit_of(image.unit),
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cards = plain_header(low.to_header(relax=True))
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
    if uncertainty.unit is not None:
        factor = (1.0 * uncertainty.unit).to_value(unit_of(unit) ** power)
        values = values if factor == 1.0 else values * factor
    if power == 2:
        return values
    with np.errstate(divide="ignore"):
        # no weight is no knowledge: an infinite variance
        return np.square(values) if power == 1 else 1.0 / values


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
