"""Which rows of a light curve can be trusted: one bit per reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import (
    FLAG_ARCHIVE,
    FLAG_ASTROMETRY,
    FLAG_BAD_ERROR,
    FLAG_DUPLICATE_TIME,
    FLAG_NOT_FINITE,
    FLAG_PSF,
    MAD_TO_SIGMA,
)
from virtualobserver.errors import DataError
from virtualobserver.maths.timeseries import circular_mean, tangent_offsets

__all__ = ["Quality", "QualityThresholds", "quality_flags"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class QualityThresholds:
    """Limits of the quality cuts.

    ``chi_floor`` and ``chi_ratio``: a row is bad when chi exceeds both the floor and that many medians.
    ``sharp_floor`` and ``sharp_mad``: the same for the distance of sharp from its median, in its unit and in
    median absolute deviations. ``offset_sigma``: astrometric offset above the usual one, in sigma.
    """

    chi_floor: float = 3.0
    chi_ratio: float = 4.0
    sharp_floor: float = 0.3
    sharp_mad: float = 8.0
    offset_sigma: float = 3.5


@dataclass(frozen=True, slots=True)
class Quality:
    """Bits (see `virtualobserver.conventions`) and astrometric offset in sigma, one per row."""

    mask: NDArray[np.int32]
    offset_sigma: FloatArray

    @property
    def good(self) -> BoolArray:
        """Rows without any bit."""
        return np.equal(self.mask, 0)


def quality_flags(
    flux: ArrayLike,
    flux_error: ArrayLike | None = None,
    *,
    mjd: ArrayLike | None = None,
    flags: ArrayLike | None = None,
    chi: ArrayLike | None = None,
    sharp: ArrayLike | None = None,
    ra: ArrayLike | None = None,
    dec: ArrayLike | None = None,
    group: ArrayLike | None = None,
    thresholds: QualityThresholds | None = None,
) -> Quality:
    """Judge every row of a light curve; a column that is not given is not judged.

    Parameters
    ----------
    flux, flux_error : array_like, shape (n,)
        Flux and error in one unit.
    mjd : array_like, shape (n,), optional
        Times; of rows with equal times only the one with the smallest error stays unflagged.
    flags : array_like of int, shape (n,), optional
        Flags of the archive; anything but 0 is bad.
    chi, sharp : array_like, shape (n,), optional
        Goodness and sharpness of the profile fit.
    ra, dec : array_like, shape (n,), optional
        Measured positions in degrees; offsets are taken on the tangent plane about their median.
    group : array_like, shape (n,), optional
        Series of each row: medians of chi and sharp are taken per series.
    thresholds : QualityThresholds, optional
        Limits of the cuts.

    Raises
    ------
    DataError
        A column differs in length from the flux.
    """
    limit = thresholds or QualityThresholds()
    value = np.asarray(flux, dtype=np.float64).ravel()
    mask = np.where(np.isfinite(value), 0, FLAG_NOT_FINITE).astype(np.int32)
    error = None if flux_error is None else _column(flux_error, value.size, "flux_error")
    if flags is not None:
        mask[_column(flags, value.size, "flags") != 0] |= FLAG_ARCHIVE
    if error is not None:
        mask[~(np.isfinite(error) & (error > 0))] |= FLAG_BAD_ERROR
    if mjd is not None:
        time = _column(mjd, value.size, "mjd")
        mask[~np.isfinite(time)] |= FLAG_NOT_FINITE
        mask[_repeated(time, mask != 0, error, value)] |= FLAG_DUPLICATE_TIME
    trusted = mask == 0
    member = _series(group, value.size)
    bad_profile = np.zeros(value.size, dtype=bool)
    if chi is not None:
        bad_profile |= _bad_chi(_column(chi, value.size, "chi"), trusted, member, limit)
    if sharp is not None:
        bad_profile |= _bad_sharp(_column(sharp, value.size, "sharp"), trusted, member, limit)
    mask[bad_profile] |= FLAG_PSF
    offset = np.full(value.size, np.nan)
    if ra is not None and dec is not None:
        offset = _offset_sigma(_column(ra, value.size, "ra"), _column(dec, value.size, "dec"), trusted)
        mask[~(offset <= limit.offset_sigma)] |= FLAG_ASTROMETRY
    return Quality(mask, offset)


def _check_length(found: int, expected: int, name: str) -> None:
    if found != expected:
        msg = f"column {name} has {found} rows, flux has {expected}: give one value per epoch"
        raise DataError(msg)


def _column(values: ArrayLike, expected: int, name: str) -> FloatArray:
    column = np.asarray(values, dtype=np.float64).ravel()
    _check_length(column.size, expected, name)
    return column


def _series(group: ArrayLike | None, n: int) -> NDArray[np.int64]:
    if group is None:
        return np.zeros(n, dtype=np.int64)
    labels = np.asarray(group).ravel()
    _check_length(labels.size, n, "group")
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _repeated(time: FloatArray, bad: BoolArray, error: FloatArray | None, value: FloatArray) -> BoolArray:
    repeated = np.zeros(time.size, dtype=bool)
    # the rows of one time are ranked by what they hold, so shuffled input keeps the same one
    order = np.lexsort((value, value if error is None else error, bad, time))
    ordered = time[order]
    repeated[order[1:]] = ordered[1:] == ordered[:-1]
    return repeated


def _medians(values: FloatArray, trusted: BoolArray, member: NDArray[np.int64]) -> FloatArray:
    """Per row, the median of the finite trusted values of its series (of all finite ones if none)."""
    result = np.full(values.size, np.nan)
    finite = np.isfinite(values)
    for number in range(int(member.max()) + 1 if member.size else 0):
        mine = member == number
        chosen = values[mine & finite & trusted]
        if chosen.size == 0:
            chosen = values[mine & finite]
        if chosen.size:
            result[mine] = np.median(chosen)
    return result


def _bad_chi(
    chi: FloatArray, trusted: BoolArray, member: NDArray[np.int64], limit: QualityThresholds
) -> BoolArray:
    top = np.fmax(limit.chi_floor, limit.chi_ratio * _medians(chi, trusted, member))
    return np.isposinf(chi) | (chi > top)


def _bad_sharp(
    sharp: FloatArray, trusted: BoolArray, member: NDArray[np.int64], limit: QualityThresholds
) -> BoolArray:
    finite = np.where(np.isfinite(sharp), sharp, np.nan)
    distance = np.abs(finite - _medians(finite, trusted, member))
    top = np.fmax(limit.sharp_floor, limit.sharp_mad * _medians(distance, trusted, member))
    return np.isinf(sharp) | (distance > top)


def _offset_sigma(ra: FloatArray, dec: FloatArray, trusted: BoolArray) -> FloatArray:
    """Distance from the median position above the usual distance, in sigma; NaN without a position."""
    known = np.isfinite(ra) & np.isfinite(dec)
    use = known & trusted if (known & trusted).any() else known
    result = np.full(ra.size, np.nan)
    if not use.any():
        return result
    middle_ra, middle_dec = circular_mean(ra[use]), float(np.median(dec[use]))
    east, north = tangent_offsets(ra, dec, middle_ra, middle_dec)
    if not np.isfinite(east[use]).any():
        return result
    offset = np.hypot(east - np.nanmedian(east[use]), north - np.nanmedian(north[use]))
    usual = float(np.nanmedian(offset[use]))
    spread = MAD_TO_SIGMA * float(np.nanmedian(np.abs(offset[use] - usual)))
    # no spread is no yardstick: every known position then counts as the usual one
    return (offset - usual) / spread if spread > 0 else np.where(known, 0.0, np.nan)
