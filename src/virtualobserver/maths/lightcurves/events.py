"""Find brightenings and dips in light curves.

A light curve becomes a signed signal-to-noise ratio against its robust mean, and an event is a run of rows
around a peak that stay on the same side. Quality cuts and templates live beside this module and are named
here too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.errors import DataError
from virtualobserver.maths.lightcurves.blocks import RobustMomentsBlock, robust_mean_rms_block
from virtualobserver.maths.lightcurves.cadence import sort_times
from virtualobserver.maths.lightcurves.quality import Quality, QualityThresholds, quality_flags
from virtualobserver.maths.lightcurves.statistics import RobustMoments, robust_mean_rms
from virtualobserver.maths.lightcurves.templates import MatchedFilter, event_templates, matched_filter

__all__ = [
    "EventSpan",
    "MatchedFilter",
    "Quality",
    "QualityThresholds",
    "SignalToNoise",
    "SignalToNoiseBlock",
    "event_templates",
    "find_events",
    "find_events_block",
    "matched_filter",
    "quality_flags",
    "signal_to_noise",
    "signal_to_noise_block",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SignalToNoise:
    """Signed S/N of every row and the robust moments it was measured against."""

    snr: FloatArray
    moments: RobustMoments


@dataclass(frozen=True, slots=True)
class SignalToNoiseBlock:
    """Signed S/N of every row of many curves and the robust moments of each curve."""

    snr: FloatArray
    moments: RobustMomentsBlock


@dataclass(frozen=True, slots=True)
class EventSpan:
    """One event.

    ``first``, ``last`` and ``peak`` are row numbers of the arrays given in; ``rows`` all its rows in time
    order; ``snr`` the signed S/N at the peak; ``sign`` +1 for a brightening and -1 for a dip.
    """

    first: int
    last: int
    peak: int
    snr: float
    sign: int
    rows: tuple[int, ...]


def _noise(error: FloatArray | None, rms: FloatArray | float, shape: tuple[int, ...]) -> FloatArray:
    scatter = np.broadcast_to(np.asarray(rms, dtype=np.float64), shape)
    if error is None:
        return np.array(scatter)
    return np.fmax(np.where(np.isfinite(error) & (error > 0), error, np.nan), scatter)


def _ratio(flux: FloatArray, mean: FloatArray | float, noise: FloatArray) -> FloatArray:
    difference = flux - mean
    snr = difference / noise
    # without any noise nothing can be said: such rows score 0, never infinity
    snr[noise == 0] = 0.0
    snr[~np.isfinite(flux)] = np.nan
    return snr


def signal_to_noise(
    flux: ArrayLike, flux_error: ArrayLike | None = None, good: ArrayLike | None = None
) -> SignalToNoise:
    """Signed S/N of every row, ``(flux - mean) / max(error, rms)``, with the robust mean and rms.

    Parameters
    ----------
    flux : array_like, shape (n,)
        Fluxes in any unit.
    flux_error : array_like, shape (n,), optional
        Errors in that unit; one that is not positive and finite counts as unknown and the rms is used.
    good : array_like of bool, shape (n,), optional
        Rows the moments are taken from.

    Returns
    -------
    SignalToNoise
        S/N of all rows, good or not: NaN only where the flux is not finite or no row is good.

    Raises
    ------
    DataError
        The columns differ in length.
    """
    value, error, chosen = _columns(flux, flux_error, good)
    with np.errstate(all="ignore"):
        moments = robust_mean_rms(value if chosen is None else value[chosen])
        return SignalToNoise(_ratio(value, moments.mean, _noise(error, moments.rms, value.shape)), moments)


def signal_to_noise_block(
    flux: ArrayLike, offsets: ArrayLike, flux_error: ArrayLike | None = None, good: ArrayLike | None = None
) -> SignalToNoiseBlock:
    """`signal_to_noise` of many curves at once; curve i is ``flux[offsets[i]:offsets[i + 1]]``."""
    value, error, chosen = _columns(flux, flux_error, good)
    with np.errstate(all="ignore"):
        used = value if chosen is None else np.where(chosen, value, np.nan)
        moments = robust_mean_rms_block(used, offsets)
        lengths = np.diff(np.asarray(offsets, dtype=np.int64).ravel())
        noise = _noise(error, np.repeat(moments.rms, lengths), value.shape)
        return SignalToNoiseBlock(_ratio(value, np.repeat(moments.mean, lengths), noise), moments)


def find_events(
    mjd: ArrayLike,
    snr: ArrayLike,
    good: ArrayLike | None = None,
    *,
    threshold: float = 5.0,
    sidebands: float = -2.0,
    max_events: int | None = None,
    max_gap: float = np.inf,
    both_signs: bool = True,
) -> list[EventSpan]:
    """Find the events of one light curve, the strongest first.

    Rows that are not good, or whose time or S/N is not finite, are stepped over: they neither start, end nor
    belong to an event. The order of the rows does not matter.

    Parameters
    ----------
    mjd, snr : array_like, shape (n,)
        Times in days and signed S/N.
    good : array_like of bool, shape (n,), optional
        Rows to look at.
    threshold : float
        An event's peak exceeds this.
    sidebands : float
        All rows of an event exceed ``threshold + sidebands`` if this is negative, else this itself.
    max_events : int, optional
        Keep this many, the strongest.
    max_gap : float
        A longer pause between good rows, in days, ends an event.
    both_signs : bool
        Look for dips as well as brightenings.

    Raises
    ------
    DataError
        The columns differ in length, or the threshold is not positive.
    """
    score = np.asarray(snr, dtype=np.float64).ravel()
    time = np.asarray(mjd, dtype=np.float64).ravel()
    use = np.isfinite(score)
    chosen = None if good is None else np.asarray(good, dtype=bool).ravel()
    _same_length(mjd=time, snr=score, good=chosen)
    if not threshold > 0:
        msg = f"the event threshold must be positive, not {threshold}"
        raise DataError(msg)
    if chosen is not None:
        use &= chosen
    peaks = np.abs(score) if both_signs else score
    if not (peaks[use] > threshold).any():
        return []
    rows = np.flatnonzero(use)
    rows = rows[sort_times(time[rows], score[rows])]
    side = max(threshold + sidebands if sidebands < 0 else min(sidebands, threshold), 0.0)
    events = _runs(time[rows], score[rows], rows, (threshold, side, max_gap), both_signs=both_signs)
    events.sort(key=lambda event: (-abs(event.snr), time[event.first]))
    return events if max_events is None else events[:max_events]


def _runs(
    time: FloatArray,
    score: FloatArray,
    rows: NDArray[np.int64],
    limits: tuple[float, float, float],
    *,
    both_signs: bool,
) -> list[EventSpan]:
    """Return runs of epochs on one side of `side` that somewhere exceed the threshold; a gap in time ends a run."""
    threshold, side, max_gap = limits
    level = (score > side).astype(np.int8)
    if both_signs:
        level -= score < -side
    breaks = (np.diff(level) != 0) | (np.diff(time) > max_gap)
    starts = np.concatenate(([0], np.flatnonzero(breaks) + 1))
    stops = np.append(starts[1:], level.size)
    strongest = np.maximum.reduceat(np.abs(score), starts)
    events = []
    for number in np.flatnonzero((level[starts] != 0) & (strongest > threshold)).tolist():
        start, stop = int(starts[number]), int(stops[number])
        peak = start + int(np.argmax(np.abs(score[start:stop])))
        span = tuple(rows[start:stop].tolist())
        events.append(
            EventSpan(
                first=span[0],
                last=span[-1],
                peak=int(rows[peak]),
                snr=float(score[peak]),
                sign=int(level[start]),
                rows=span,
            )
        )
    return events


def find_events_block(
    mjd: ArrayLike,
    snr: ArrayLike,
    offsets: ArrayLike,
    good: ArrayLike | None = None,
    *,
    threshold: float = 5.0,
    sidebands: float = -2.0,
    max_events: int | None = None,
    max_gap: float = np.inf,
    both_signs: bool = True,
) -> dict[int, list[EventSpan]]:
    """`find_events` of many curves at once: curve number to events, curves without any left out.

    Row numbers of the events count within their curve. Only curves with a peak above the threshold cost
    more than a comparison per row.
    """
    score, time = (np.asarray(column, dtype=np.float64).ravel() for column in (snr, mjd))
    chosen = None if good is None else np.asarray(good, dtype=bool).ravel()
    _same_length(mjd=time, snr=score, good=chosen)
    edges = np.asarray(offsets, dtype=np.int64).ravel()
    above = (np.abs(score) if both_signs else score) > threshold
    above &= np.isfinite(score)
    if chosen is not None:
        above &= chosen
    curves = np.unique(np.searchsorted(edges, np.flatnonzero(above), side="right") - 1)
    found = {}
    for curve in curves.tolist():
        part = slice(int(edges[curve]), int(edges[curve + 1]))
        events = find_events(
            time[part],
            score[part],
            None if chosen is None else chosen[part],
            threshold=threshold,
            sidebands=sidebands,
            max_events=max_events,
            max_gap=max_gap,
            both_signs=both_signs,
        )
        if events:
            found[curve] = events
    return found


def _columns(
    flux: ArrayLike, flux_error: ArrayLike | None, good: ArrayLike | None
) -> tuple[FloatArray, FloatArray | None, NDArray[np.bool_] | None]:
    value = np.asarray(flux, dtype=np.float64).ravel()
    error = None if flux_error is None else np.asarray(flux_error, dtype=np.float64).ravel()
    chosen = None if good is None else np.asarray(good, dtype=bool).ravel()
    _same_length(flux=value, flux_error=error, good=chosen)
    return value, error, chosen


def _same_length(**columns: NDArray[np.generic] | None) -> None:
    sizes = {name: column.size for name, column in columns.items() if column is not None}
    if len(set(sizes.values())) > 1:
        msg = f"light-curve columns differ in length: {sizes}; give one value per epoch in each"
        raise DataError(msg)
