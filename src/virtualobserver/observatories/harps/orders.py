"""Files of the DRS whose orders are not merged yet.

``e2ds`` have wavelengths by the polynomials of their headers, and carry the blaze; ``S2D_A`` of the pipeline that
HARPS (from version 3), ESPRESSO and HARPS-N share have them pixel by pixel, barycentric, and are free of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.errors import BadKeyword, DataError, InvalidFile
from virtualobserver.io.fits.keywords import Keyword, read_keywords
from virtualobserver.maths.spectra.echelle import join_orders, merge_orders
from virtualobserver.typing import Record

if TYPE_CHECKING:
    from astropy.io import fits as afits

__all__ = ["are_orders", "merged_s2d", "merged_spectrum", "s2d_medium"]

FloatArray = NDArray[np.float64]

_DEGREE: Final = " DRS CAL TH DEG LL"
_COEFFICIENT: Final = " DRS CAL TH COEFF LL"
_OWNERS: Final = ("ESO", "TNG")
"""Who wrote the header: HARPS-N has the keywords of the TNG."""
_STEP: Final = 0.01
"""Angstrom; the step of the archive's merged spectra."""
_MARGIN: Final = 4.0
"""Angstrom around the windows: the motion of the Earth shifts lines by 0.4."""
_MEDIA: Final = MappingProxyType({"air": "AIR", "vacuum": "VAC"})
_HIGHEST: Final = 9
"""Degree; the pipeline uses 3, and a larger number is a header that is wrong."""


def are_orders(unit: afits.ImageHDU) -> bool:
    """Say whether an image holds orders: two axes, and the polynomials of their wavelengths."""
    return unit.data is not None and unit.data.ndim == 2 and _owner(unit.header) is not None


def _owner(header: Record) -> str | None:
    return next((owner for owner in _OWNERS if f"{owner}{_DEGREE}" in header), None)


def merged_spectrum(
    unit: afits.ImageHDU, name: str, windows: Sequence[tuple[float, float]] | None
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Return wavelengths (Å, air, as observed from the ground), flux per Å and unusable pixels.

    Raises
    ------
    InvalidFile
        If a polynomial is missing, or the orders are not those of an echelle.
    """
    flux = np.asarray(unit.data, dtype=np.float64)
    wave = _wavelengths(unit.header, flux.shape, name)
    parts = [(low - _MARGIN, high + _MARGIN) for low, high in windows or [(wave.min(), wave.max())]]
    grid = _grid(parts)
    try:
        merged, missing = merge_orders(wave, flux, grid)
    except DataError as error:
        msg = f"{name}: {error}"
        raise InvalidFile(msg) from error
    return grid[~missing], merged[~missing], np.zeros(int((~missing).sum()), dtype=bool)


def s2d_medium(units: afits.HDUList) -> str:
    """Return in which medium an ``S2D_A`` has its wavelengths, ``air`` where it has both; empty if it is none."""
    names = {unit.name for unit in units}
    if "SCIDATA" not in names:
        return ""
    return next((medium for medium, short in _MEDIA.items() if f"WAVEDATA_{short}_BARY" in names), "")


def merged_s2d(
    units: afits.HDUList, name: str, windows: Sequence[tuple[float, float]] | None
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Return wavelengths (Å, barycentric, in `s2d_medium`), flux per Å and unusable pixels of an ``S2D_A``.

    Slices of one order, and orders where they overlap, are averaged with the weights of their errors; pixels whose
    QUALDATA is not 0 are left out.

    Raises
    ------
    InvalidFile
        If a part is missing or of another shape, or no order reaches the windows.
    """
    short = _MEDIA[s2d_medium(units)]
    names = ["SCIDATA", f"WAVEDATA_{short}_BARY", "ERRDATA", "QUALDATA", f"DLLDATA_{short}_BARY"]
    found = {unit.name: unit.data for unit in units if unit.name in names and unit.data is not None}
    parts = [np.asarray(found[part], dtype=np.float64) if part in found else None for part in names]
    flux, wave, error, quality, width = parts
    if flux is None or wave is None or flux.ndim != 2:
        msg = f"{name}: SCIDATA and {names[1]} are no images with two axes, as those of an S2D are"
        raise InvalidFile(msg)
    for part, values in zip(names, parts, strict=True):
        if values is not None and values.shape != flux.shape:
            msg = f"{name}: {part} has the shape {values.shape}, SCIDATA {flux.shape}"
            raise InvalidFile(msg)
    reach = [(low - _MARGIN, high + _MARGIN) for low, high in windows or [(np.nanmin(wave), np.nanmax(wave))]]
    grid = _grid(reach)
    width = np.gradient(wave, axis=1) if width is None else width
    error = np.ones_like(flux) if error is None else error
    usable = np.isfinite(flux + wave) & (width > 0) & (error > 0)
    usable &= True if quality is None else quality == 0
    safe = np.where(width > 0, width, 1.0)
    joined, missing = join_orders(wave, flux / safe, error / safe, usable, grid)
    if missing.all():
        msg = f"{name}: no order has a pixel that can be used in the windows of the lines"
        raise InvalidFile(msg)
    return grid[~missing], joined[~missing], np.zeros(int((~missing).sum()), dtype=bool)


def _wavelengths(header: Record, shape: tuple[int, ...], name: str) -> FloatArray:
    """Return λ = Σ_k LL[(degree + 1) · order + k] x^k, x the pixel from 0."""
    owner = _owner(header) or _OWNERS[0]
    asked = f"{owner}{_DEGREE}"
    try:
        degree = read_keywords(header, [Keyword(asked, int)], name)[asked]
        if not 1 <= degree <= _HIGHEST:
            msg = f"{name}: {asked} is {degree}, so there is no wavelength scale"
            raise InvalidFile(msg)
        keys = [f"{owner}{_COEFFICIENT}{n}" for n in range(shape[0] * (degree + 1))]
        known = read_keywords(header, [Keyword(key, float) for key in keys], name)
    except BadKeyword as error:
        msg = f"{error}: there is no wavelength scale"
        raise InvalidFile(msg) from error
    coefficients = np.array([known[key] for key in keys]).reshape(shape[0], degree + 1)
    return np.asarray(np.polynomial.polynomial.polyval(np.arange(shape[1], dtype=np.float64), coefficients.T))


def _grid(parts: Sequence[tuple[float, float]]) -> FloatArray:
    """Return the multiples of 0.01 Å within the parts, each once."""
    pieces = [np.arange(round(low / _STEP), round(high / _STEP) + 1) for low, high in parts]
    return np.asarray(np.unique(np.concatenate(pieces)) * _STEP, dtype=np.float64)
