"""How much of what was injected was found, and what that says about rates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.errors import DataError

__all__ = [
    "ONE_SIGMA",
    "Interval",
    "Rate",
    "clopper_pearson_interval",
    "rate_and_limit",
    "wilson_interval",
]

FloatArray = NDArray[np.float64]

ONE_SIGMA = 0.6826894921370859
"""Probability within one standard deviation of the mean of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Lower and upper ends."""

    low: FloatArray
    high: FloatArray


@dataclass(frozen=True, slots=True)
class Rate:
    """Events per unit of exposure: the estimate, its interval and the one-sided upper limit."""

    rate: float
    low: float
    high: float
    upper_limit: float
    confidence: float


def _counts(found: ArrayLike, tried: ArrayLike, confidence: float) -> tuple[FloatArray, FloatArray]:
    k, n = (np.asarray(number, dtype=np.float64) for number in (found, tried))
    if bool(((k < 0) | (k > n) | ~np.isfinite(n)).any()) or not bool(np.isfinite(k).all()):
        msg = f"found must lie between 0 and the number tried; got found={found!r}, tried={tried!r}"
        raise DataError(msg)
    _check_confidence(confidence)
    return k, n


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        msg = f"a confidence must lie between 0 and 1, not {confidence}"
        raise DataError(msg)


def wilson_interval(found: ArrayLike, tried: ArrayLike, *, confidence: float = ONE_SIGMA) -> Interval:
    """Wilson's interval of a binomial proportion; 0 to 1 where nothing was tried.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22, 209.

    Raises
    ------
    DataError
        More found than tried, negative counts, or a confidence outside (0, 1).
    """
    k, n = _counts(found, tried, confidence)
    from astropy.stats import binom_conf_interval  # loaded by those who need it: workers start faster

    low, high = binom_conf_interval(
        k, np.where(n > 0, n, 1.0), confidence_level=confidence, interval="wilson"
    )
    # at the ends rounding leaves 1e-17 of what is exactly 0 or 1
    return Interval(
        np.where((n > 0) & (k > 0), low, 0.0),
        np.where((n > 0) & (k < n), high, 1.0),
    )


def clopper_pearson_interval(
    found: ArrayLike, tried: ArrayLike, *, confidence: float = ONE_SIGMA
) -> Interval:
    """Exact (never too narrow) interval of a binomial proportion; 0 to 1 where nothing was tried.

    Source: Clopper & Pearson 1934, Biometrika 26, 404.

    Raises
    ------
    DataError
        More found than tried, negative counts, or a confidence outside (0, 1).
    """
    k, n = _counts(found, tried, confidence)
    tail = 0.5 * (1.0 - confidence)
    from scipy.special import betaincinv

    low = betaincinv(np.maximum(k, 1e-300), n - k + 1.0, tail)
    high = betaincinv(k + 1.0, np.maximum(n - k, 1e-300), 1.0 - tail)
    return Interval(np.where(k > 0, low, 0.0), np.where(k < n, high, 1.0))


def rate_and_limit(
    n_found: int, efficiency: float, exposure_time: float, *, coverage: float = 1.0, confidence: float = 0.95
) -> Rate:
    """Rate of events from a count, with the exact Poisson interval and upper limit.

    The interval has the probability of one standard deviation on either side (15.87% in each tail); the
    upper limit is one-sided at ``confidence``. Source: Gehrels 1986, ApJ 303, 336.

    Parameters
    ----------
    n_found : int
        Events found.
    efficiency : float
        Fraction of events a search of this kind finds, above 0 up to 1: of those that the data cover, if `coverage`
        is given, else of all.
    exposure_time : float
        Time over which events could have happened, any unit: rates are per that unit.
    coverage : float
        Fraction of the events of that time of which the data have anything, above 0 up to 1.
    confidence : float
        Probability of the one-sided upper limit.

    Raises
    ------
    DataError
        The count is negative, or another number is outside its range.
    """
    _check_confidence(confidence)
    shares = 0.0 < efficiency <= 1.0 and 0.0 < coverage <= 1.0
    if n_found < 0 or not shares or not (0.0 < exposure_time < np.inf):
        msg = (
            f"a rate needs n_found >= 0, efficiency and coverage in (0, 1] and a positive exposure time; got "
            f"n_found={n_found}, efficiency={efficiency}, coverage={coverage}, exposure_time={exposure_time}"
        )
        raise DataError(msg)
    exposure = coverage * efficiency * exposure_time
    from astropy.stats import poisson_conf_interval
    from scipy.special import ndtri

    low, high = (float(end) for end in poisson_conf_interval(n_found, "frequentist-confidence", sigma=1))
    # one-sided: the upper end of the interval that leaves out as much above
    sigma = float(ndtri(confidence))
    limit = float(poisson_conf_interval(n_found, "frequentist-confidence", sigma=sigma)[1])
    return Rate(n_found / exposure, low / exposure, high / exposure, limit / exposure, confidence)
