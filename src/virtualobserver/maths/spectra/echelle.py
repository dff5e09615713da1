"""Orders of an echelle spectrograph: their numbers, the blaze they carry, one spectrum made of several."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from virtualobserver.errors import DataError

__all__ = ["blaze", "join_orders", "merge_orders", "order_numbers"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_LEAST_BLAZE: Final = 0.05
"""An order is not used where less light than this of its middle falls on it."""

_SMOOTH: Final = 101
"""Pixels over which errors of an order are made smooth: the blaze varies over ten times as many."""


def order_numbers(centres: FloatArray) -> NDArray[np.int64]:
    """Return the physical number of each order from the wavelengths of their middles, in increasing order.

    The middles of an echelle are at a constant over the number, so that neighbours m and m − 1 have the ratio
    (m − 1)/m.

    Raises
    ------
    DataError
        If the middles do not belong to one grating.
    """
    if centres.size < 2 or not (np.diff(centres) > 0).all():
        msg = "orders cannot be numbered: their wavelengths do not increase"
        raise DataError(msg)
    pairs = np.round(centres[1:] / np.diff(centres))
    constant = float(np.median(pairs * centres[:-1]))
    numbers = np.round(constant / centres)
    # orders of HARPS (89 to 161) numbered wrongly by one are 6e-3 to 1e-2 off
    if not np.allclose(numbers * centres, constant, rtol=2e-3) or not (np.diff(numbers) < 0).all():
        msg = "orders cannot be numbered: number times wavelength is not the same for all"
        raise DataError(msg)
    return np.asarray(numbers, dtype=np.int64)


def blaze(wave: FloatArray, number: int, constant: float) -> FloatArray:
    """Return the share of light that goes into an order: sinc²(m − K/λ), 1 in its middle.

    `constant` K is number times wavelength of the middles. Reference: Schroeder, Astronomical Optics, ch. 13.
    """
    return np.asarray(np.sinc(number - constant / wave) ** 2)


def merge_orders(wave: FloatArray, flux: FloatArray, grid: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Return one spectrum, per unit of wavelength and without the blaze, and where there is none.

    Counts of a pixel are S(λ) B(λ) Δλ. Where orders overlap the sum of what they hold is divided by the sum of
    their blazes, which weighs each by its light.

    Parameters
    ----------
    wave, flux : ndarray, shape (orders, pixels)
        Wavelength (increasing along both axes) and counts of each pixel; not a number = not known.
    grid : ndarray, shape (m,)
        Wavelengths of the result.

    Returns
    -------
    flux : ndarray, shape (m,)
        0 where there is none.
    missing : ndarray of bool, shape (m,)
    """
    middles = wave[:, wave.shape[1] // 2]
    numbers = order_numbers(middles)
    constant = float(np.median(numbers * middles))
    light, share = np.zeros(grid.size), np.zeros(grid.size)
    for number, w, f in zip(numbers, wave, flux, strict=True):
        if w[-1] < grid[0] or w[0] > grid[-1]:
            continue
        own = blaze(grid, int(number), constant)
        known = np.isfinite(f)
        # a gap spoils its two neighbours on the grid
        # both neighbours good, up to rounding
        there = np.interp(grid, w, known.astype(np.float64), left=0.0, right=0.0) > 0.999
        use = there & (own > _LEAST_BLAZE)
        values = np.interp(grid, w, np.where(known, f, 0.0) / np.gradient(w))
        light[use] += values[use]
        share[use] += own[use]
    missing = share == 0
    return np.where(missing, 0.0, light / np.where(missing, 1.0, share)), missing


def join_orders(
    wave: FloatArray, flux: FloatArray, error: FloatArray, usable: BoolArray, grid: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Return one spectrum of orders that are free of the blaze already, and where there is none.

    Each order is interpolated linearly; where several reach a wavelength their mean is taken, weighted by inverse
    variance, of which a running median stands for that of a pixel: weights that follow the noise of a pixel bias
    the mean low.

    Parameters
    ----------
    wave, flux, error : ndarray, shape (orders, pixels)
        Wavelengths in increasing order along an order; flux per unit of wavelength and its error.
    usable : ndarray of bool, shape (orders, pixels)
        A pixel that is not leaves a gap that reaches to its neighbours.
    grid : ndarray, shape (m,)
        Wavelengths of the result.

    Returns
    -------
    flux : ndarray, shape (m,)
        0 where there is none.
    missing : ndarray of bool, shape (m,)
    """
    light, weight = np.zeros(grid.size), np.zeros(grid.size)
    for number, known in enumerate(np.isfinite(wave)):
        w = wave[number, known]
        if w.size < 2 or w[-1] < grid[0] or w[0] > grid[-1]:
            continue
        good, e = usable[number, known], error[number, known]
        there = np.interp(grid, w, good.astype(np.float64), left=0.0, right=0.0) > 0.999
        smooth = median_filter(np.where(good, e, np.nanmax(e[good], initial=1.0)), _SMOOTH, mode="nearest")
        own = np.where(there, 1.0 / np.interp(grid, w, smooth) ** 2, 0.0)
        light += own * np.interp(grid, w, np.where(good, flux[number, known], 0.0))
        weight += own
    missing = weight == 0
    return np.where(missing, 0.0, light / np.where(missing, 1.0, weight)), missing
