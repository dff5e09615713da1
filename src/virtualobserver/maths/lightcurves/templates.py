"""Shapes of flares and dips, and a matched filter for irregular sampling."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import FWHM_TO_SIGMA
from virtualobserver.errors import DataError
from virtualobserver.maths.lightcurves.statistics import robust_mean_rms

__all__ = ["SHAPES", "MatchedFilter", "Shape", "event_templates", "matched_filter"]

FloatArray = NDArray[np.float64]
Shape = Literal["box", "gaussian", "fred"]

SHAPES: tuple[Shape, ...] = ("box", "gaussian", "fred")
RISE_FRACTION = 0.1
"""Rise time over decay time of the fast-rise-exponential-decay shape."""
SUPPORT = {"box": (0.5, 0.5), "gaussian": (2.0, 2.0), "fred": (10.0 * RISE_FRACTION, 10.0)}
"""Widths before and after the centre beyond which a shape is below 1/10000 (Gaussian: 2e-5)."""
PAIRS_AT_ONCE = 1 << 20
"""Pairs of epoch and template, 8 MB a column; bounds the memory of long light curves."""


def event_templates(
    t: ArrayLike,
    t0: ArrayLike,
    width: ArrayLike,
    amplitude: ArrayLike = 1.0,
    *,
    shape: Shape = "gaussian",
) -> FloatArray:
    """Flux of an event over the quiet level; negative amplitudes are dips.

    Arguments broadcast: times of shape (n,) with centres and widths of shape (m, 1) give (m, n).

    Parameters
    ----------
    t : array_like
        Times, days.
    t0 : array_like
        Time of the peak; for a box its middle.
    width : array_like
        Days: full width of the ``box``, full width at half maximum of the ``gaussian``, e-folding time of
        the decay of ``fred`` (fast rise, exponential decay), which rises ten times faster.
    amplitude : array_like
        Value at the peak.
    shape : {"box", "gaussian", "fred"}
        The form.

    Raises
    ------
    DataError
        The shape is unknown, or a width is not positive and finite.
    """
    scale = np.asarray(width, dtype=np.float64)
    if not bool((np.isfinite(scale) & (scale > 0)).all()):
        msg = f"widths of event templates must be positive numbers of days, not {width!r}"
        raise DataError(msg)
    with np.errstate(all="ignore"):
        phase = (np.asarray(t, dtype=np.float64) - np.asarray(t0, dtype=np.float64)) / scale
        return np.asarray(np.asarray(amplitude, dtype=np.float64) * _profile(phase, shape))


def _profile(phase: FloatArray, shape: Shape) -> FloatArray:
    if shape == "box":
        return (np.abs(phase) <= 0.5).astype(np.float64)
    if shape == "gaussian":
        return np.asarray(np.exp(-0.5 * (phase / FWHM_TO_SIGMA) ** 2))
    if shape == "fred":
        return np.asarray(np.exp(np.where(phase < 0, phase / RISE_FRACTION, -phase)))
    msg = f"unknown event shape {shape!r}; choose one of {', '.join(SHAPES)}"
    raise DataError(msg)


@dataclass(frozen=True, slots=True)
class MatchedFilter:
    """Scores of templates centred on every row.

    ``score`` and ``amplitude`` have shape (n_widths, n_rows): fitted amplitude over its error, and the
    amplitude. Rows that are no trial centre, or where the fit is not determined, hold 0. ``best_width`` and
    ``best_row`` point at the largest absolute score, -1 when there is none.
    """

    widths: FloatArray
    score: FloatArray
    amplitude: FloatArray
    best_width: int
    best_row: int

    @property
    def best_score(self) -> float:
        """The signed score at the best width and row; 0 when there is none."""
        return float(self.score[self.best_width, self.best_row]) if self.best_row >= 0 else 0.0


def matched_filter(
    mjd: ArrayLike,
    flux: ArrayLike,
    flux_error: ArrayLike | None,
    good: ArrayLike | None = None,
    *,
    widths: ArrayLike,
    shape: Shape = "gaussian",
) -> MatchedFilter:
    """Fit amplitude and baseline of a template, centred on every good row in turn, by least squares.

    Weights are ``1 / max(error, robust rms)**2``, so the score of one lone row is its S/N. Sampling may be
    irregular. Work is proportional to the number of pairs of rows within one template.

    Parameters
    ----------
    mjd, flux : array_like, shape (n,)
        Times (days) and fluxes.
    flux_error : array_like, shape (n,), or None
        Errors; those not positive and finite count as unknown.
    good : array_like of bool, shape (n,), optional
        Rows to use.
    widths : array_like, shape (n_widths,)
        Template widths in days, as `event_templates` defines them.
    shape : {"box", "gaussian", "fred"}
        The form.

    Raises
    ------
    DataError
        Columns differ in length, a width is not positive, or the shape is unknown.
    """
    time, value = (np.asarray(column, dtype=np.float64).ravel() for column in (mjd, flux))
    error = np.full(value.size, np.nan) if flux_error is None else np.asarray(flux_error, np.float64).ravel()
    use = np.ones(value.size, dtype=bool) if good is None else np.asarray(good, dtype=bool).ravel()
    if not time.size == value.size == error.size == use.size:
        msg = f"light-curve columns differ in length: {time.size}, {value.size}, {error.size}, {use.size}"
        raise DataError(msg)
    bank = np.asarray(widths, dtype=np.float64).ravel()
    event_templates(0.0, 0.0, bank, shape=shape)  # refuses wrong widths and shapes before any work
    score, amplitude = np.zeros((2, bank.size, value.size))
    with np.errstate(all="ignore"):
        rows = np.flatnonzero(use & np.isfinite(time) & np.isfinite(value))
        rows = rows[np.lexsort((value[rows], time[rows]))]
        moments = robust_mean_rms(value[rows])
        noise = np.fmax(np.where(error[rows] > 0, error[rows], np.nan), moments.rms)
        weight = np.where(np.isfinite(noise) & (noise > 0), noise**-2.0, 0.0)
        for number, width in enumerate(bank.tolist()):
            fit = _fit_all(time[rows], value[rows] - moments.mean, weight, width, shape)
            score[number, rows], amplitude[number, rows] = fit
    if not score.any():
        return MatchedFilter(bank, score, amplitude, -1, -1)
    best_width, best_row = np.unravel_index(int(np.argmax(np.abs(score))), score.shape)
    return MatchedFilter(bank, score, amplitude, int(best_width), int(best_row))


def _fit_all(
    time: FloatArray, value: FloatArray, weight: FloatArray, width: float, shape: Shape
) -> tuple[FloatArray, FloatArray]:
    before, after = SUPPORT[shape]
    low = np.searchsorted(time, time - before * width, side="left")
    high = np.searchsorted(time, time + after * width, side="right")
    total, total_value = weight.sum(), weight @ value
    score, amplitude = np.zeros((2, time.size))
    cuts = np.searchsorted(np.cumsum(high - low), np.arange(0, int((high - low).sum()), PAIRS_AT_ONCE))
    bounds = np.unique(np.concatenate((cuts, [time.size]))).tolist()
    for first, last in pairwise(bounds):
        count = high[first:last] - low[first:last]
        starts = np.concatenate(([0], np.cumsum(count)[:-1]))
        center = np.repeat(np.arange(first, last), count)
        row = np.arange(count.sum()) - np.repeat(starts - low[first:last], count)
        profile = _profile((time[row] - time[center]) / width, shape)
        weighted = weight[row] * profile
        one = np.add.reduceat(weighted, starts)
        two = np.add.reduceat(weighted * profile, starts)
        data = np.add.reduceat(weighted * value[row], starts)
        power = two - one**2 / total
        # a template that looks constant on these rows cannot be told from the baseline
        known = power > 1e-9 * two
        signal = data - one * total_value / total
        amplitude[first:last] = np.where(known, signal / power, 0.0)
        score[first:last] = np.where(known, signal / np.sqrt(power), 0.0)
    return score, amplitude
