"""Which rows of a light curve can be trusted: one bit per reason."""

from __future__ import annotations

from collections.abc import Iterator
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
from virtualobserver.maths.lightcurves.blocks import median_block
from virtualobserver.maths.lightcurves.cadence import circular_mean_block, tangent_offsets

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
    offsets: ArrayLike | None = None,
    mjd: ArrayLike | None = None,
    flags: ArrayLike | None = None,
    chi: ArrayLike | None = None,
    sharp: ArrayLike | None = None,
    ra: ArrayLike | None = None,
    dec: ArrayLike | None = None,
    group: ArrayLike | None = None,
    thresholds: QualityThresholds | None = None,
) -> Quality:
    """Judge every row of one light curve or of many; a column that is not given is not judged.

    Parameters
    ----------
    flux, flux_error : array_like, shape (n,)
        Flux and error in one unit.
    offsets : array_like of int, shape (n_curves + 1,), optional
        Curve ``i`` is rows ``offsets[i]`` to ``offsets[i + 1]``; by default all rows are one curve.
    mjd : array_like, shape (n,), optional
        Times; of rows of a curve with equal times only the one with the smallest error stays unflagged.
    flags : array_like of int, shape (n,), optional
        Flags of the archive; anything but 0 is bad.
    chi, sharp : array_like, shape (n,), optional
        Goodness and sharpness of the profile fit; NaN in all rows of a curve where it has none.
    ra, dec : array_like, shape (n,), optional
        Measured positions in degrees; offsets are taken on the tangent plane about the median of the curve.
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
    edges = np.asarray([0, value.size] if offsets is None else offsets, dtype=np.int64).ravel()
    mask = _single_rows(value, flux_error, flags, mjd, edges)
    trusted = mask == 0
    if chi is not None or sharp is not None:
        mask[_bad_profile(chi, sharp, trusted, _Series.of(group, edges, value.size), limit)] |= FLAG_PSF
    elif group is not None:
        _check_length(np.asarray(group).size, value.size, "group")
    offset = np.full(value.size, np.nan)
    if ra is not None and dec is not None:
        position = _column(ra, value.size, "ra"), _column(dec, value.size, "dec")
        offset = _offset_sigma(*position, trusted, edges)
        mask[~(offset <= limit.offset_sigma)] |= FLAG_ASTROMETRY
    return Quality(mask, offset)


def _single_rows(
    value: FloatArray,
    flux_error: ArrayLike | None,
    flags: ArrayLike | None,
    mjd: ArrayLike | None,
    edges: NDArray[np.int64],
) -> NDArray[np.int32]:
    """Return the bits of what can be said without the rest of a curve, and of times that are there twice."""
    mask = np.where(np.isfinite(value), 0, FLAG_NOT_FINITE).astype(np.int32)
    error = None if flux_error is None else _column(flux_error, value.size, "flux_error")
    if flags is not None:
        mask[_column(flags, value.size, "flags") != 0] |= FLAG_ARCHIVE
    if error is not None:
        mask[~(np.isfinite(error) & (error > 0))] |= FLAG_BAD_ERROR
    if mjd is not None:
        time = _column(mjd, value.size, "mjd")
        mask[~np.isfinite(time)] |= FLAG_NOT_FINITE
        for part in _unordered(time, edges):
            worse = None if error is None else error[part]
            mask[part][_repeated(time[part], mask[part] != 0, worse, value[part])] |= FLAG_DUPLICATE_TIME
    return mask


def _check_length(found: int, expected: int, name: str) -> None:
    if found != expected:
        msg = f"column {name} has {found} rows, flux has {expected}: give one value per epoch"
        raise DataError(msg)


def _column(values: ArrayLike, expected: int, name: str) -> FloatArray:
    column = np.asarray(values, dtype=np.float64).ravel()
    _check_length(column.size, expected, name)
    return column


@dataclass(frozen=True, slots=True)
class _Series:
    """The series of each row: rows of one in a run, after `order`."""

    order: NDArray[np.int64] | None
    edges: NDArray[np.int64]

    @classmethod
    def of(cls, group: ArrayLike | None, edges: NDArray[np.int64], n: int) -> _Series:
        if group is None:
            return cls(None, edges)
        labels = np.asarray(group).ravel()
        _check_length(labels.size, n, "group")
        curve = np.repeat(np.arange(edges.size - 1), np.diff(edges))
        new = np.ones(n, dtype=bool)
        new[1:] = (labels[1:] != labels[:-1]) | (curve[1:] != curve[:-1])
        if np.count_nonzero(new) == np.count_nonzero(np.diff(edges)):  # one series in each curve
            return cls(None, edges)
        member = np.unique(labels, return_inverse=True)[1]
        order = np.lexsort((member, curve))
        change = (np.diff(member[order]) != 0) | (np.diff(curve[order]) != 0)
        return cls(order, np.concatenate(([0], np.flatnonzero(change) + 1, [n])))

    def medians(self, values: FloatArray, trusted: BoolArray) -> FloatArray:
        """Per row, the median of the finite trusted values of its series (of all finite ones if none)."""
        chosen = np.where(trusted, values, np.nan)
        if self.order is not None:
            chosen, values = chosen[self.order], values[self.order]
        median = median_block(chosen, self.edges)
        if np.isnan(median).any():
            median = np.where(np.isnan(median), median_block(values, self.edges), median)
        spread = np.repeat(median, np.diff(self.edges))
        if self.order is None:
            return spread
        result = np.empty_like(spread)
        result[self.order] = spread
        return result


def _unordered(time: FloatArray, edges: NDArray[np.int64]) -> Iterator[slice]:
    """Yield the curves whose times do not rise from row to row, the only ones where a time may come twice."""
    rises = np.ones(time.size, dtype=bool)
    rises[1:] = np.diff(time) > 0
    rises[edges[:-1][edges[:-1] < time.size]] = True
    odd = np.searchsorted(edges, np.flatnonzero(~rises), side="right") - 1
    for curve in np.unique(odd).tolist():
        yield slice(int(edges[curve]), int(edges[curve + 1]))


def _repeated(time: FloatArray, bad: BoolArray, error: FloatArray | None, value: FloatArray) -> BoolArray:
    repeated = np.zeros(time.size, dtype=bool)
    # the rows of one time are ranked by what they hold, so shuffled input keeps the same one
    order = np.lexsort((value, value if error is None else error, bad, time))
    ordered = time[order]
    repeated[order[1:]] = ordered[1:] == ordered[:-1]
    return repeated


def _bad_profile(
    chi: ArrayLike | None,
    sharp: ArrayLike | None,
    trusted: BoolArray,
    series: _Series,
    limit: QualityThresholds,
) -> BoolArray:
    bad = np.zeros(trusted.size, dtype=bool)
    if chi is not None:
        bad |= _bad_chi(_column(chi, trusted.size, "chi"), trusted, series, limit)
    if sharp is not None:
        bad |= _bad_sharp(_column(sharp, trusted.size, "sharp"), trusted, series, limit)
    return bad


def _bad_chi(chi: FloatArray, trusted: BoolArray, series: _Series, limit: QualityThresholds) -> BoolArray:
    top = np.fmax(limit.chi_floor, limit.chi_ratio * series.medians(chi, trusted))
    return np.isposinf(chi) | (chi > top)


def _bad_sharp(sharp: FloatArray, trusted: BoolArray, series: _Series, limit: QualityThresholds) -> BoolArray:
    finite = np.where(np.isfinite(sharp), sharp, np.nan)
    distance = np.abs(finite - series.medians(finite, trusted))
    top = np.fmax(limit.sharp_floor, limit.sharp_mad * series.medians(distance, trusted))
    return np.isinf(sharp) | (distance > top)


def _offset_sigma(
    ra: FloatArray, dec: FloatArray, trusted: BoolArray, edges: NDArray[np.int64]
) -> FloatArray:
    """Distance from the median position above the usual distance, in sigma; NaN without a position."""
    known = np.isfinite(ra) & np.isfinite(dec)
    if not known.any():
        return np.full(ra.size, np.nan)
    lengths = np.diff(edges)
    use = known & trusted
    number = np.concatenate(([0], np.cumsum(use)))
    no_trusted = np.repeat(number[edges[1:]] == number[edges[:-1]], lengths)
    use = np.where(no_trusted, known, use)

    def median(values: FloatArray) -> FloatArray:
        return np.repeat(median_block(np.where(use, values, np.nan), edges), lengths)

    middle = np.repeat(circular_mean_block(np.where(use, ra, np.nan), edges), lengths)
    east, north = tangent_offsets(ra, dec, middle, median(dec))
    with np.errstate(invalid="ignore", divide="ignore"):
        offset = np.hypot(east - median(east), north - median(north))
        usual = median(offset)
        spread = MAD_TO_SIGMA * median(np.abs(offset - usual))
        # no spread is no yardstick: every known position then counts as the usual one
        flat = np.where(known & np.isfinite(usual), 0.0, np.nan)
        return np.where(spread > 0, (offset - usual) / spread, flat)
