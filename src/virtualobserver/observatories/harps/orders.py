"""Files of the DRS whose orders are not merged yet (``e2ds``): wavelengths by the polynomials of their headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.errors import BadKeyword, DataError, InvalidFile
from virtualobserver.io.fits.keywords import Keyword, read_keywords
from virtualobserver.maths.spectra.echelle import merge_orders
from virtualobserver.typing import Record

if TYPE_CHECKING:
    from astropy.io import fits as afits

__all__ = ["are_orders", "merged_spectrum"]

FloatArray = NDArray[np.float64]

_DEGREE: Final = "ESO DRS CAL TH DEG LL"
_COEFFICIENT: Final = "ESO DRS CAL TH COEFF LL"
_STEP: Final = 0.01
"""Angstrom; the step of the archive's merged spectra."""
_MARGIN: Final = 4.0
"""Angstrom around the windows: the motion of the Earth shifts lines by 0.4."""
_HIGHEST: Final = 9
"""Degree; the pipeline uses 3, and a larger number is a header that is wrong."""


def are_orders(unit: afits.ImageHDU) -> bool:
    """Say whether an image holds orders: two axes, and the polynomials of their wavelengths."""
    return unit.data is not None and unit.data.ndim == 2 and _DEGREE in unit.header


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


def _wavelengths(header: Record, shape: tuple[int, ...], name: str) -> FloatArray:
    """Return λ = Σ_k LL[(degree + 1) · order + k] x^k, x the pixel from 0."""
    try:
        degree = read_keywords(header, [Keyword(_DEGREE, int)], name)[_DEGREE]
        if not 1 <= degree <= _HIGHEST:
            msg = f"{name}: {_DEGREE} is {degree}, so there is no wavelength scale"
            raise InvalidFile(msg)
        keys = [f"{_COEFFICIENT}{n}" for n in range(shape[0] * (degree + 1))]
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
