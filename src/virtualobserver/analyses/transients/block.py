"""Many light curves as one block of rows: quality, signal to noise, and what is summed over each curve."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.transients.settings import TransientsSettings
from virtualobserver.conventions import FLAG_ASTROMETRY, OBJECT_ID
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.lightcurves.events import (
    QualityThresholds,
    matched_filter,
    quality_flags,
    signal_to_noise_block,
)
from virtualobserver.typing import RecordDict

__all__ = ["Block", "search_block"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Light curves, one after the other, and all that was worked out for them.

    Curve i is rows ``edges[i]`` to ``edges[i + 1]``. Of shape (n_rows,): ``good`` rows carry no flag of the
    archive and are searched; ``clean`` rows have no quality bit at all; ``score`` is the S/N, or the matched
    filter's score where that is higher, with its width in ``width`` (d). Of shape (n_curves,): ``mean`` and
    ``rms``, ``n_good`` and ``n_clean`` rows.
    """

    curves: Sequence[TimeSeries]
    edges: NDArray[np.int64]
    mjd: FloatArray
    flux: FloatArray
    exptime: FloatArray
    snr: FloatArray
    score: FloatArray
    width: FloatArray | None
    quality: NDArray[np.int32]
    offset: FloatArray
    good: BoolArray
    clean: BoolArray
    mean: FloatArray
    rms: FloatArray
    n_good: NDArray[np.int64]
    n_clean: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of rows of each curve."""
        return np.diff(self.edges)

    def rows(self, number: int) -> slice:
        """Rows of one curve."""
        return slice(int(self.edges[number]), int(self.edges[number + 1]))

    def per_curve(self, values: Array, function: np.ufunc = np.add) -> Array:
        """Sum the values of each curve's rows, or reduce them by another function."""
        return np.asarray(function.reduceat(values, self.edges[:-1]))


def search_block(curves: Sequence[TimeSeries], settings: TransientsSettings) -> Block:
    """Work out quality and S/N of every row of one or more light curves, none of them empty."""
    edges = np.concatenate(([0], np.cumsum([len(curve) for curve in curves])))
    lengths = np.diff(edges)
    mjd, flux, error, flags = (
        _joined([curve.columns[name] for curve in curves]) for name in ("mjd", "flux", "flux_error", "flags")
    )
    mask, offset = _judged(curves, edges, (mjd, flux, error, flags), settings)
    clean = mask == 0
    good = (flags == 0) & np.isfinite(flux) & np.isfinite(mjd)
    n_good, n_clean = (np.add.reduceat(rows, edges[:-1], dtype=np.int64) for rows in (good, clean))
    base = np.where(np.repeat(n_clean >= settings.min_points, lengths), clean, good)
    measured = signal_to_noise_block(flux, edges, error, base)
    snr, mean, rms = _about_zero(curves, edges, (flux, error), measured)
    score, width = _filtered((edges, mjd, flux, error), snr, good, settings)
    return Block(
        curves=curves,
        edges=edges,
        mjd=mjd,
        flux=flux,
        exptime=_joined([_exptime(curve) for curve in curves]),
        snr=snr,
        score=score,
        width=width,
        quality=mask,
        offset=offset,
        good=good,
        clean=clean,
        mean=mean,
        rms=rms,
        n_good=n_good,
        n_clean=n_clean,
    )


def _about_zero(
    curves: Sequence[TimeSeries],
    edges: NDArray[np.int64],
    columns: tuple[FloatArray, FloatArray],
    measured: Any,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return S/N of every row, mean and scatter of every curve, with zero as the quiet level of difference fluxes.

    An event that fills the window of a difference curve would else be its own quiet level, and what was before
    it a dip.
    """
    mean, rms = measured.moments.mean, measured.moments.rms
    differs = np.array([curve.meta.get("flux") == "difference" for curve in curves])
    if not differs.any():
        return measured.snr, mean, rms
    flux, error = columns
    noise = np.array([_median(error[a:b]) for a, b in itertools.pairwise(edges)])
    with np.errstate(divide="ignore", invalid="ignore"):
        direct = np.where(np.isfinite(measured.snr) & (error > 0), flux / error, np.nan)
    snr = np.where(np.repeat(differs, np.diff(edges)), direct, measured.snr)
    return snr, np.where(differs, 0.0, mean), np.where(differs, noise, rms)


def _median(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def _judged(
    curves: Sequence[TimeSeries],
    edges: NDArray[np.int64],
    columns: tuple[Array, ...],
    settings: TransientsSettings,
) -> tuple[NDArray[np.int32], FloatArray]:
    """Return quality bits and astrometric offset (sigma) of every row."""
    mjd, flux, error, flags = columns
    lengths = np.diff(edges)
    quality = quality_flags(
        flux,
        error,
        offsets=edges,
        mjd=mjd,
        flags=flags,
        ra=_optional(curves, "ra"),
        dec=_optional(curves, "dec"),
        thresholds=QualityThresholds(offset_sigma=settings.offset_threshold),
        **(_profile(curves) if settings.psf_outliers else {}),
    )
    mask = quality.mask
    # A curve whose positions say nothing, as one without positions, is not judged by them.
    located = np.logical_or.reduceat(np.isfinite(quality.offset_sigma), edges[:-1])
    if not located.all():
        mask = np.where(np.repeat(located, lengths), mask, mask & ~np.int32(FLAG_ASTROMETRY))
    return mask, quality.offset_sigma


def _joined(columns: Sequence[Array]) -> Array:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _optional(curves: Sequence[TimeSeries], name: str) -> Array | None:
    """Return a column of all curves, NaN for those that have none; None if none of them has it."""
    if not any(name in curve.columns for curve in curves):
        return None
    return _joined(
        [curve.columns[name] if name in curve.columns else np.full(len(curve), np.nan) for curve in curves]
    )


def _profile(curves: Sequence[TimeSeries]) -> RecordDict:
    columns = {name: _optional(curves, name) for name in ("chi", "sharp")}
    if all(column is None for column in columns.values()):
        return {}
    if any(OBJECT_ID in curve.columns for curve in curves):
        columns["group"] = _joined(
            [np.asarray(curve.columns.get(OBJECT_ID, np.zeros(len(curve), np.int64))) for curve in curves]
        )
    return columns


def _exptime(curve: TimeSeries) -> FloatArray:
    column = curve.columns.get("exptime")
    if column is None:
        value = curve.meta.get("exptime")
        return np.full(len(curve), np.nan if value is None else float(value))
    return np.asarray(column, dtype=np.float64)


def _filtered(
    columns: tuple[NDArray[np.int64], FloatArray, FloatArray, FloatArray],
    snr: FloatArray,
    good: BoolArray,
    settings: TransientsSettings,
) -> tuple[FloatArray, FloatArray | None]:
    """Return the S/N of each epoch, or that of the best template where it is higher, and the template's width."""
    widths = settings.matched_filter_widths
    if not widths:
        return snr, None
    edges, mjd, flux, error = columns
    score, width = snr.copy(), np.full(snr.size, np.nan)
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = slice(start, stop)
        if np.count_nonzero(good[part]) < settings.min_points:
            continue
        fit = matched_filter(
            mjd[part], flux[part], error[part], good[part], widths=widths, shape=settings.shape
        )
        best = np.argmax(np.abs(fit.score), axis=0)
        filtered = np.take_along_axis(fit.score, best[None], axis=0)[0]
        higher = np.abs(filtered) > np.nan_to_num(np.abs(snr[part]))
        score[part] = np.where(higher, filtered, snr[part])
        width[part] = np.where(higher, np.asarray(widths)[best], np.nan)
    return score, width
