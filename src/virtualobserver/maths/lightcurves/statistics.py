"""Robust moments and the summary numbers of a light curve.

All functions take arrays, never change them, and give NaN (never a warning) where there is nothing to
compute from. Results do not depend on the order of the rows: values are sorted before they are summed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.errors import DataError
from virtualobserver.maths.lightcurves.cadence import cadence
from virtualobserver.maths.photometry import luptitude, mag_from_flux
from virtualobserver.typing import RecordDict

__all__ = [
    "LightcurveStatistics",
    "RobustMoments",
    "light_curve_statistics",
    "mad",
    "robust_mean_rms",
]

FloatArray = NDArray[np.float64]

CLIP_SIGMA = 3.0
"""With CLIP_ROUNDS the documented rule of the statistics; parity with stored values depends on it."""
CLIP_ROUNDS = 3
"""See CLIP_SIGMA."""
FEWEST_TO_CLIP = 5
"""Of fewer values, none can be 3 standard deviations away from the mean of all."""
LARGE = 1e150
"""Above this, squares of values do not fit into float64."""


@dataclass(frozen=True, slots=True)
class RobustMoments:
    """Clipped mean and scatter of one set of values; NaN and 0 when there are none."""

    mean: float
    rms: float
    n: int


def _median_sorted(values: FloatArray) -> float:
    middle = values.size // 2
    if values.size % 2:
        return float(values[middle])
    return float(0.5 * values[middle - 1] + 0.5 * values[middle])


def _moments(values: FloatArray, center: float | None = None) -> tuple[float, float]:
    """Mean (or the given center) and standard deviation of sorted values."""
    largest = max(abs(float(values[0])), abs(float(values[-1])))
    scale = largest if largest > LARGE else 1.0
    scaled = values / scale if scale > 1.0 else values
    mean = float(scaled.sum()) / values.size
    deviation = scaled - mean
    rms = float(np.sqrt(deviation @ deviation / values.size))
    return (mean * scale if center is None else center), rms * scale


def robust_mean_rms(values: ArrayLike) -> RobustMoments:
    """Mean and scatter after at most three rounds of 3-sigma clipping.

    The first round is centred on the median with the standard deviation (``ddof=0``) of all values, later
    rounds on mean and standard deviation of what was left. Clipping stops when nothing was removed, or when
    fewer than five values would be left, which keeps the numbers of the round before. Fewer than five
    values give their median and standard deviation.

    Parameters
    ----------
    values : array_like
        Values of any shape; those that are not finite are left out.

    Returns
    -------
    RobustMoments
        Mean, rms (unit of the values) and the number of values kept.
    """
    with np.errstate(all="ignore"):
        kept = np.asarray(values, dtype=np.float64).ravel()
        kept = np.sort(kept[np.isfinite(kept)])
        if kept.size == 0:
            return RobustMoments(float("nan"), float("nan"), 0)
        mean, rms = _moments(kept, _median_sorted(kept))
        if kept.size < FEWEST_TO_CLIP or rms == 0.0:
            return RobustMoments(mean, rms, kept.size)
        for _ in range(CLIP_ROUNDS):
            # sorted, so only the ends need a look to know that nothing goes
            if (kept[-1] - mean) / rms <= CLIP_SIGMA and (mean - kept[0]) / rms <= CLIP_SIGMA:
                break
            inside = kept[np.abs(kept - mean) / rms <= CLIP_SIGMA]
            if inside.size < FEWEST_TO_CLIP:
                break
            kept = inside
            mean, rms = _moments(kept)
            if rms == 0.0:
                break
        return RobustMoments(mean, rms, kept.size)


def mad(values: ArrayLike, *, scaled: bool = False) -> float:
    """Median absolute deviation from the median of the finite values; NaN when there are none.

    Parameters
    ----------
    values : array_like
        Values of any shape.
    scaled : bool
        Multiply by 1.4826, which makes it the standard deviation of normally distributed values.
    """
    finite = np.asarray(values, dtype=np.float64).ravel()
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return float("nan")
    deviation = float(np.median(np.abs(finite - np.median(finite))))
    return deviation * MAD_TO_SIGMA if scaled else deviation


@dataclass(frozen=True, slots=True)
class LightcurveStatistics:
    """Summary numbers of one light curve; NaN where a number cannot be had.

    Fluxes in uJy, magnitudes AB, times MJD, ``exptime`` and ``cadence`` (median step) in seconds. ``snr_*``
    are flux over noise, ``dsnr_*`` (flux - robust mean) over noise, with noise = max(error, robust rms).
    ``dmag_*`` are luptitude differences from the robust mean, positive when brighter.
    """

    n: int
    n_good: int
    flux_mean: float
    flux_rms: float
    flux_mean_robust: float
    flux_rms_robust: float
    flux_min: float
    flux_max: float
    flux_median: float
    snr_max: float
    snr_min: float
    snr_median: float
    dsnr_max: float
    dsnr_min: float
    dmag_brightest: float
    dmag_faintest: float
    mag_mean: float
    mag_mean_robust: float
    mag_brightest: float
    mag_faintest: float
    exptime: float
    cadence: float
    is_uniform: bool
    t_min: float
    t_max: float

    def as_columns(self) -> RecordDict:
        """Names and values as a database takes them: numbers that are not finite become None."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }


def light_curve_statistics(
    mjd: ArrayLike,
    flux: ArrayLike,
    flux_error: ArrayLike | None = None,
    *,
    flags: ArrayLike | None = None,
    exptime: ArrayLike | None = None,
) -> LightcurveStatistics:
    """Summarise a light curve.

    Parameters
    ----------
    mjd, flux : array_like, shape (n,)
        Times (MJD) and fluxes (uJy).
    flux_error : array_like, shape (n,), optional
        Errors (uJy); an error that is not positive and finite counts as unknown.
    flags : array_like of int, shape (n,), optional
        Rows with a flag other than 0 count in ``n`` and the times, in no other number.
    exptime : array_like, shape (n,) or scalar, optional
        Exposure times in seconds.

    Raises
    ------
    DataError
        The columns differ in length.
    """
    time, value = (np.asarray(column, dtype=np.float64).ravel() for column in (mjd, flux))
    error = np.full(value.size, np.nan) if flux_error is None else np.asarray(flux_error, np.float64).ravel()
    flag = np.zeros(value.size, dtype=np.int64) if flags is None else np.asarray(flags).ravel()
    if not time.size == value.size == error.size == flag.size:
        msg = (
            f"light-curve columns differ in length: mjd {time.size}, flux {value.size}, "
            f"flux_error {error.size}, flags {flag.size}; give one value per epoch in each"
        )
        raise DataError(msg)
    exposure = np.asarray(np.nan if exptime is None else exptime, dtype=np.float64).ravel()
    good = (flag == 0) & np.isfinite(value)
    step, uniform = cadence(time)
    known = time[np.isfinite(time)]
    with np.errstate(all="ignore"):
        numbers = _flux_numbers(np.sort(value[good]), value[good], error[good])
    return LightcurveStatistics(
        n=value.size,
        n_good=int(good.sum()),
        **numbers,
        exptime=_median(exposure),
        cadence=step,
        is_uniform=uniform,
        t_min=float(known.min()) if known.size else float("nan"),
        t_max=float(known.max()) if known.size else float("nan"),
    )


def _median(values: FloatArray) -> float:
    finite = np.sort(values[np.isfinite(values)])
    return _median_sorted(finite) if finite.size else float("nan")


def _flux_numbers(ordered: FloatArray, flux: FloatArray, error: FloatArray) -> dict[str, float]:
    moments = robust_mean_rms(ordered)
    mean, rms = _moments(ordered) if ordered.size else (float("nan"), float("nan"))
    noise = np.fmax(np.where(error > 0, error, np.nan), moments.rms)
    noise = np.where(np.isfinite(noise) & (noise > 0), noise, np.nan)
    softening = moments.rms if moments.rms > 0 else _median(np.where(error > 0, error, np.nan))
    dmag = luptitude(moments.mean, softening) - luptitude(ordered, softening)
    low, high = (ordered[0], ordered[-1]) if ordered.size else (np.nan, np.nan)
    flat = bool(low == high)
    snr, dsnr = flux / noise, (flux - moments.mean) / noise
    return {
        "flux_mean": mean,
        "flux_rms": rms,
        "flux_mean_robust": moments.mean,
        "flux_rms_robust": moments.rms,
        "flux_min": float(low),
        "flux_max": float(high),
        "flux_median": _median(ordered),
        "snr_max": _extreme(snr, np.fmax),
        "snr_min": _extreme(snr, np.fmin),
        "snr_median": _median(snr),
        "dsnr_max": _extreme(dsnr, np.fmax),
        "dsnr_min": _extreme(dsnr, np.fmin),
        # a flat curve has no scatter to soften with, yet its difference is known
        "dmag_brightest": 0.0 if flat else _extreme(dmag, np.fmax),
        "dmag_faintest": 0.0 if flat else _extreme(dmag, np.fmin),
        "mag_mean": float(mag_from_flux(mean)),
        "mag_mean_robust": float(mag_from_flux(moments.mean)),
        "mag_brightest": float(mag_from_flux(high)),
        "mag_faintest": float(mag_from_flux(low)),
    }


def _extreme(values: FloatArray, function: np.ufunc) -> float:
    return float(function.reduce(values)) if values.size else float("nan")
