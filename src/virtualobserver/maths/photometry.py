"""Magnitudes and fluxes: conversions, luptitudes, upper limits, and zero points of several series.

Fluxes are micro-jansky, magnitudes AB. No function warns or raises for numbers that cannot be converted:
the answer is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import MAD_TO_SIGMA, MAG_TO_FLUX, ZERO_POINT_AB_UJY
from virtualobserver.errors import DataError

__all__ = [
    "ZeroPointOffsets",
    "align_offsets",
    "flux_error_from_mag",
    "flux_from_mag",
    "luptitude",
    "mag_error_from_flux",
    "mag_from_flux",
    "upper_limit_mag",
]

FloatArray = NDArray[np.float64]

MEDIAN_ERROR_FACTOR = float(np.sqrt(np.pi / 2))
"""Error of the median over error of the mean, for normally distributed values."""
FEWEST_TO_ALIGN = 5
"""Epochs in the common time; the scatter of fewer does not tell the error of an offset. Chosen, not tuned."""


def flux_from_mag(mag: ArrayLike, *, zero_point: float = ZERO_POINT_AB_UJY) -> FloatArray:
    """Flux of a magnitude, ``10**(0.4 (zero_point - mag))``; uJy with the default zero point."""
    with np.errstate(all="ignore"):
        return np.asarray(10.0 ** (0.4 * (zero_point - np.asarray(mag, dtype=np.float64))))


def flux_error_from_mag(
    mag: ArrayLike, mag_error: ArrayLike, *, zero_point: float = ZERO_POINT_AB_UJY
) -> FloatArray:
    """Flux error of a magnitude error to first order, ``0.921034 F dm`` (good to 7% up to 0.15 mag)."""
    with np.errstate(all="ignore"):
        error = np.asarray(mag_error, dtype=np.float64)
        return np.asarray(flux_from_mag(mag, zero_point=zero_point) * error * MAG_TO_FLUX)


def mag_from_flux(flux: ArrayLike, *, zero_point: float = ZERO_POINT_AB_UJY) -> FloatArray:
    """Magnitude of a flux; NaN unless the flux is positive and finite."""
    value = np.asarray(flux, dtype=np.float64)
    with np.errstate(all="ignore"):
        positive = np.where(np.isfinite(value) & (value > 0), value, np.nan)
        return np.asarray(zero_point - 2.5 * np.log10(positive))


def mag_error_from_flux(flux: ArrayLike, flux_error: ArrayLike) -> FloatArray:
    """Magnitude error of a flux error to first order; NaN unless the flux is positive and finite."""
    value = np.asarray(flux, dtype=np.float64)
    with np.errstate(all="ignore"):
        positive = np.where(np.isfinite(value) & (value > 0), value, np.nan)
        return np.asarray(np.asarray(flux_error, dtype=np.float64) / positive / MAG_TO_FLUX)


def luptitude(flux: ArrayLike, softening: ArrayLike, *, zero_point: float = 0.0) -> FloatArray:
    """Asinh magnitude, defined for zero and negative fluxes too.

    ``zero_point - 2.5/ln 10 (asinh(F / 2s) + ln s)``: equal to the magnitude where F is many s.
    Source: Lupton, Gunn & Szalay 1999, AJ 118, 1406.

    Parameters
    ----------
    flux, softening : array_like
        Flux and softening s (its noise), in one unit; NaN where s is not positive.
    zero_point : float
        Magnitude of flux 1.
    """
    scale = np.asarray(softening, dtype=np.float64)
    with np.errstate(all="ignore"):
        scale = np.where(np.isfinite(scale) & (scale > 0), scale, np.nan)
        ratio = np.asarray(flux, dtype=np.float64) / (2.0 * scale)
        return np.asarray(zero_point - (np.arcsinh(ratio) + np.log(scale)) / MAG_TO_FLUX)


def upper_limit_mag(
    flux: ArrayLike,
    flux_error: ArrayLike,
    *,
    detection_sigma: float = 3.0,  # SNT and SNU of the forced photometry of ZTF (Masci et al. 2023, arXiv:2305.16279)
    limit_sigma: float = 5.0,  # likewise
    zero_point: float = ZERO_POINT_AB_UJY,
) -> FloatArray:
    """Limiting magnitude of epochs that are no detection; NaN where the flux is one.

    An epoch with ``flux / flux_error > detection_sigma`` is a detection. The limit is the magnitude of
    ``limit_sigma`` errors. Epochs without a finite flux or a positive error give NaN.
    """
    value = np.asarray(flux, dtype=np.float64)
    error = np.asarray(flux_error, dtype=np.float64)
    with np.errstate(all="ignore"):
        missed = np.isfinite(value) & (error > 0) & ~(value / error > detection_sigma)
        return mag_from_flux(np.where(missed, limit_sigma * error, np.nan), zero_point=zero_point)


@dataclass(frozen=True, slots=True)
class ZeroPointOffsets:
    """Offsets of series of one star from the longest of them.

    ``group`` holds the series, ``offset`` what to subtract from the magnitudes of each (0 when it cannot be
    measured well enough), ``error`` how well it is known (NaN without an overlap), ``aligned`` which
    series are on the scale of ``reference``.
    """

    group: NDArray[np.generic]
    offset: FloatArray
    error: FloatArray
    aligned: NDArray[np.bool_]
    reference: int

    def per_row(self, group: ArrayLike) -> FloatArray:
        """Offset of every row, given the series of each row; 0 for a series not seen before."""
        label = np.asarray(group)
        if self.group.size == 0:
            return np.zeros(label.shape)
        place = np.minimum(np.searchsorted(self.group, label), self.group.size - 1)
        return np.where(self.group[place] == label, self.offset[place], 0.0)


def align_offsets(
    group: ArrayLike,
    mjd: ArrayLike,
    mag: ArrayLike,
    *,
    good: ArrayLike | None = None,
    max_error: float = 0.005,  # chosen: half the 0.01 mag that bright stars repeat to
) -> ZeroPointOffsets:
    """Measure zero-point offsets between several series of one star in one filter.

    The series with most good epochs is the reference. Another is compared with it only in the time both
    cover: offset = difference of the medians there, error from the scatter there.

    Parameters
    ----------
    group : array_like, shape (n,)
        Series of each row, for instance the archive's object number.
    mjd, mag : array_like, shape (n,)
        Times (days) and magnitudes.
    good : array_like of bool, shape (n,), optional
        Rows to use; rows that are not finite are never used.
    max_error : float
        Largest error (mag) of an offset that is applied.

    Raises
    ------
    DataError
        The columns differ in length.
    """
    label, time, value = np.asarray(group).ravel(), _column(mjd), _column(mag)
    use = np.isfinite(time) & np.isfinite(value) if time.size == value.size else np.zeros(0, dtype=bool)
    wanted = np.ones(label.size, dtype=bool) if good is None else np.asarray(good, dtype=bool).ravel()
    if not label.size == time.size == value.size == wanted.size:
        sizes = (label.size, time.size, value.size, wanted.size)
        msg = f"group, mjd, mag and good differ in length: {sizes}; give one value per epoch in each"
        raise DataError(msg)
    use &= wanted
    names, member = np.unique(label, return_inverse=True)
    offset, error = np.zeros(names.size), np.full(names.size, np.nan)
    aligned = np.zeros(names.size, dtype=bool)
    if names.size == 0:
        return ZeroPointOffsets(names, offset, error, aligned, -1)
    reference = int(np.argmax(np.bincount(member[use], minlength=names.size)))
    error[reference], aligned[reference] = 0.0, True
    base = use & (member == reference)
    for number in np.flatnonzero(np.arange(names.size) != reference):
        rows = use & (member == number)
        measured, error[number] = _overlap_offset(time[base], value[base], time[rows], value[rows])
        aligned[number] = error[number] <= max_error
        offset[number] = measured if aligned[number] else 0.0
    return ZeroPointOffsets(names, offset, error, aligned, reference)


def _column(values: ArrayLike) -> FloatArray:
    return np.asarray(values, dtype=np.float64).ravel()


def _overlap_offset(
    time_a: FloatArray, mag_a: FloatArray, time_b: FloatArray, mag_b: FloatArray
) -> tuple[float, float]:
    if time_a.size == 0 or time_b.size == 0:
        return 0.0, float("nan")
    start, stop = max(time_a.min(), time_b.min()), min(time_a.max(), time_b.max())
    medians, variance = [], 0.0
    for time, mag in ((time_a, mag_a), (time_b, mag_b)):
        inside = mag[(time >= start) & (time <= stop)]
        if inside.size < FEWEST_TO_ALIGN:
            return 0.0, float("nan")
        medians.append(float(np.median(inside)))
        scatter = MAD_TO_SIGMA * float(np.median(np.abs(inside - medians[-1])))
        variance += (MEDIAN_ERROR_FACTOR * scatter) ** 2 / inside.size
    return medians[1] - medians[0], float(np.sqrt(variance))
