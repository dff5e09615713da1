"""The generalised Lomb-Scargle periodogram (Zechmeister & Kürster 2009, A&A 496, 577), and its peak.

Times may be in any unit; frequencies are cycles per that unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from virtualobserver.errors import DataError, NotEnoughData

__all__ = ["Norm", "Peak", "Periodogram", "frequency_grid", "gls", "prewhiten"]

FloatArray = NDArray[np.float64]

Norm = Literal["ZK", "HorneBaliunas", "Cumming", "wrms", "chisq", "lnL", "dlnL"]

OVERSAMPLING: Final = 10.0
"""Frequencies per 1 / span: the power of a peak is then met to 1 % of its height."""

_LEAST: Final = 4
"""A sine with a mean has three parameters; one more value has something to say about the fit."""
_FEW: Final = 0.01
"""False-alarm probabilities below are the number of trials times that of one: 1 - (1 - p)^M loses its digits."""
_LARGE: Final = 200_000_000
"""Values times frequencies from which the fast transform is used first; the formula takes 0.2 s up to there."""


@dataclass(frozen=True)
class Peak:
    """A sine ``amplitude * sin(2 pi (t - t0) frequency) + offset``, with errors of one standard deviation.

    `period_error` and all that follows from the curvature of the peak are NaN at the ends of the grid.
    """

    frequency: float
    frequency_error: float
    period: float
    period_error: float
    power: float
    amplitude: float
    amplitude_error: float
    t0: float
    t0_error: float
    offset: float
    offset_error: float
    rms: float
    fap: float

    def model(self, t: ArrayLike) -> FloatArray:
        """Return the sine at the times `t`."""
        phase = (np.asarray(t, dtype=np.float64) - self.t0) * self.frequency
        return np.asarray(self.amplitude * np.sin(2 * np.pi * phase) + self.offset)


@dataclass(frozen=True, eq=False)
class Periodogram:
    """Power (0 to 1) at frequencies, shape (m,) both, and the sine at the highest.

    `n` is the number of values, `trials` that of independent frequencies (band times span), `width` that band times
    the effective span of Baluev, `variance` the weighted variance of the values, `weight` the sum of 1 / sigma^2 and
    `log_errors` that of ln(2 pi sigma^2).
    """

    frequency: FloatArray
    power: FloatArray
    peak: Peak
    n: int
    trials: float
    width: float
    variance: float
    weight: float
    log_errors: float

    def norm(self, name: Norm) -> FloatArray:
        """Return the power in another normalisation, shape (m,).

        ``ZK`` is the power itself; ``HorneBaliunas`` p (N - 1) / 2; ``Cumming`` (N - 3) / 2 · p / (1 - p_max);
        ``wrms`` the weighted scatter about the sine; ``chisq`` its chi squared; ``lnL`` its log-likelihood and
        ``dlnL`` how much that is above the one of a constant. Without errors the last three take them as 1.

        Raises
        ------
        DataError
            For another name.
        """
        p, n, chisq = self.power, self.n, self.variance * (1 - self.power) * self.weight
        norms: dict[str, FloatArray] = {
            "ZK": p,
            "HorneBaliunas": p * (n - 1) / 2,
            "Cumming": (n - 3) / 2 * p / (1 - p.max()),
            "wrms": np.sqrt(chisq / self.weight),
            "chisq": chisq,
            "lnL": -0.5 * (chisq + self.log_errors),
            "dlnL": 0.5 * self.variance * self.weight * p,
        }
        if name not in norms:
            msg = f"a periodogram has no normalisation {name!r}; there are {', '.join(norms)}"
            raise DataError(msg)
        return norms[name]

    def fap(self, power: float) -> float:
        """Return the probability that white noise has a peak of this power, as GLS programs count trials.

        Their number is the band times the span, which is two to three times too small: see `bound`.
        """
        return _false_alarm(power, self.n, self.trials)

    def bound(self, power: float) -> float:
        """Return an upper limit to the probability that white noise has a peak of this power.

        It is close to the probability where that is small, unless aliases are strong (Baluev 2008, MNRAS 385, 1279).
        """
        n = self.n
        gamma = np.sqrt(2 / (n - 1)) * np.exp(gammaln((n - 1) / 2) - gammaln((n - 2) / 2))
        left = max(1 - power, 0.0)
        tau = gamma * self.width * left ** (0.5 * (n - 4)) * np.sqrt(0.5 * (n - 1) * power)
        one = left ** ((n - 3) / 2)
        return float(one - (1 - one) * np.expm1(-tau))

    def level(self, fap: float) -> float:
        """Return the power that white noise passes with the probability `fap`."""
        one = 1 - (1 - fap) ** (1 / self.trials)
        return float(1 - one ** (2 / (self.n - 3)))


def frequency_grid(
    t: ArrayLike,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    oversampling: float = OVERSAMPLING,
    nyquist: float = 1.0,
) -> tuple[float, float, int]:
    """Return first frequency, step and number of frequencies for times `t`, the end left out.

    Parameters
    ----------
    minimum, maximum
        Frequencies; by default 1 / (oversampling · span) and `nyquist` times N / (2 span).

    Raises
    ------
    NotEnoughData
        If all times are one.
    DataError
        If no frequency lies between the ends.
    """
    time = np.asarray(t, dtype=np.float64)
    span = float(np.ptp(time)) if time.size else 0.0
    if not span > 0:
        msg = "a periodogram needs values at different times"
        raise NotEnoughData(msg)
    step = 1 / (span * oversampling)
    first = step if minimum is None else minimum
    last = nyquist * time.size / (2 * span) if maximum is None else maximum
    number = int(np.ceil((last - first) / step - 1e-9))  # as many as numpy.arange would give
    if number < 1 or not first > 0:
        msg = f"no frequency lies between {first:g} and {last:g}; give a minimum above 0 and a larger maximum"
        raise DataError(msg)
    return first, step, number


def gls(
    t: ArrayLike,
    y: ArrayLike,
    error: ArrayLike | None = None,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    oversampling: float = OVERSAMPLING,
    nyquist: float = 1.0,
    floating_mean: bool = True,
    refine: bool = False,
) -> Periodogram:
    """Return the periodogram of values at uneven times.

    Large ones are screened by a fast transform (nifty-ls if the extra ``fast`` is installed, else astropy), and
    worked out by the formula around the highest peaks.

    Parameters
    ----------
    t, y, error
        Times, values and their errors, shape (n,); without errors all weigh the same.
    minimum, maximum, oversampling, nyquist
        See `frequency_grid`.
    floating_mean
        Fit the mean along at each frequency; False is the Lomb-Scargle periodogram.
    refine
        Look for the top of the peak between the frequencies of the grid too.

    Raises
    ------
    NotEnoughData
        For fewer than four values, or values at one time.
    DataError
        If values are not finite, errors not positive, or all values are equal.
    """
    data = _Data.of(t, y, error)
    grid = frequency_grid(
        data.t, minimum=minimum, maximum=maximum, oversampling=oversampling, nyquist=nyquist
    )
    first, step, number = grid
    power = data.power(grid, floating_mean)
    # a part of the variance; what the transform says where the sine is the same at all times is any number
    power = np.where(np.abs(power - 0.5) <= 0.5 + _ROUNDED, power, np.nan)
    trials = number * step * float(np.ptp(data.t))
    frequency = np.asarray(first + step * np.arange(number), dtype=np.float64)
    return Periodogram(
        frequency=frequency, power=power, n=data.t.size, trials=trials, width=(first + number * step) * data.span,
        variance=data.variance, weight=data.total, log_errors=data.log_errors,
        peak=_peak(data, frequency, power, trials, floating=floating_mean, refine=refine),
    )  # fmt: skip


def prewhiten(
    t: ArrayLike,
    y: ArrayLike,
    error: ArrayLike | None = None,
    *,
    iterations: int = 1,
    minimum: float | None = None,
    maximum: float | None = None,
    oversampling: float = OVERSAMPLING,
    nyquist: float = 1.0,
    refine: bool = False,
) -> list[Periodogram]:
    """Return the periodograms of the values, then of what each sine leaves; see `gls`."""
    left = np.asarray(y, dtype=np.float64)
    found: list[Periodogram] = []
    for _ in range(iterations):
        one = gls(
            t, left, error, minimum=minimum, maximum=maximum, oversampling=oversampling, nyquist=nyquist, refine=refine
        )  # fmt: skip
        found.append(one)
        left = left - one.peak.model(t)
    return found


# --- inside -----------------------------------------------------------------------------------------------

_TOPS: Final = 20
"""Peaks worked out by the formula after screening: the transform is right to 1e-5 or better, which seldom changes
the order of more than a few."""
_ROUNDED: Final = 0.01
"""By which a power may lie outside of 0 to 1 and still be one: far more than the transform misses."""
_FINER, _ZOOMS = 20, 3
"""A step is divided by 20 three times: to 1e-4 of it, far below any error of a frequency."""
_AROUND: Final = 12
"""Frequencies to either side, a little more than one resolution element."""


@dataclass(frozen=True, eq=False)
class _Data:
    """Times since the first, values less their mean, and weights of sum 1."""

    t: FloatArray
    y: FloatArray
    w: FloatArray
    start: float
    mean: float
    total: float
    log_errors: float

    @classmethod
    def of(cls, t: ArrayLike, y: ArrayLike, error: ArrayLike | None) -> _Data:
        time, value = (np.asarray(a, dtype=np.float64).ravel() for a in (t, y))
        sigma = np.ones_like(value) if error is None else np.asarray(error, dtype=np.float64).ravel()
        _check(time, value, sigma)
        weight = sigma**-2
        total = float(weight.sum())
        weight = weight / total
        start, mean = float(time.min()), float(weight @ value)
        data = cls(
            time - start,
            value - mean,
            weight,
            start,
            mean,
            total,
            float(np.sum(np.log(2 * np.pi * sigma**2))),
        )
        if not data.variance > 0:
            msg = "all values are equal: they have no period"
            raise DataError(msg)
        return data

    @property
    def variance(self) -> float:
        return float(self.w @ self.y**2)

    @property
    def span(self) -> float:
        """Effective span of the times (Baluev 2008, equation 5)."""
        return float(np.sqrt(4 * np.pi * (self.w @ self.t**2 - (self.w @ self.t) ** 2)))

    def power(self, grid: tuple[float, float, int], floating: bool) -> FloatArray:
        """Return the power at all frequencies, by the formula at least around the highest peaks."""
        from virtualobserver.maths.periods.gls_kernel import gls_power

        first, step, number = grid
        if number * self.t.size <= _LARGE:
            return np.asarray(gls_power(self.t, self.y, self.w, grid, floating)[0])
        power = self.screened(grid, floating)
        inner = power[1:-1]
        tops = np.flatnonzero((inner >= power[:-2]) & (inner >= power[2:])) + 1
        for top in tops[np.argsort(power[tops])[-_TOPS:]].tolist():
            low, high = max(0, top - _AROUND), min(number, top + _AROUND + 1)
            near = (first + low * step, step, high - low)
            power[low:high] = gls_power(self.t, self.y, self.w, near, floating)[0]
        return power

    def screened(self, grid: tuple[float, float, int], floating: bool) -> FloatArray:
        """Return the power by a fast transform."""
        from astropy.timeseries import LombScargle

        try:
            import nifty_ls  # noqa: F401 - it announces itself to astropy
        except ImportError:
            method = "fast"
        else:
            method = "fastnifty"
        first, step, number = grid
        search = LombScargle(self.t, self.y, self.w**-0.5, fit_mean=floating, center_data=False)
        frequency = first + step * np.arange(number)
        power = search.power(frequency, method=method, assume_regular_frequency=True)
        return np.array(power, dtype=np.float64)


def _check(time: FloatArray, value: FloatArray, sigma: FloatArray) -> None:
    """Refuse what has no periodogram."""
    if not time.size == value.size == sigma.size:
        msg = f"{time.size} times, {value.size} values and {sigma.size} errors; there must be as many of each"
        raise DataError(msg)
    if time.size < _LEAST:
        msg = f"{time.size} values are too few for a periodogram; at least {_LEAST} are needed"
        raise NotEnoughData(msg)
    bad = ~(np.isfinite(time) & np.isfinite(value) & np.isfinite(sigma) & (sigma > 0))
    if bad.any():
        msg = (
            f"{int(bad.sum())} of {time.size} values cannot be used, the first is number {int(np.argmax(bad))}: "
            "times and values must be finite, errors above 0; leave the others out"
        )
        raise DataError(msg)


def _peak(
    data: _Data, grid: FloatArray, power: FloatArray, trials: float, *, floating: bool, refine: bool
) -> Peak:
    """Return the sine at the highest power, with its errors as Zechmeister & Kürster give them."""
    from virtualobserver.maths.periods.gls_kernel import gls_power

    best, n = int(np.nanargmax(power)), data.t.size
    frequency = _top(data, grid, best, floating) if refine and grid.size > 1 else float(grid[best])
    highest, a, b = (
        float(one) for one in gls_power(data.t, data.y, data.w, (frequency, 1.0, 1), floating)[:, 0]
    )
    angle = 2 * np.pi * frequency * data.t
    mean = data.mean - float(data.w @ (a * np.cos(angle) + b * np.sin(angle))) if floating else data.mean
    amplitude, phase = float(np.hypot(a, b)), float(np.arctan2(a, b)) / (2 * np.pi)
    rms = float(np.sqrt(data.variance * max(1 - highest, 0.0)))
    amplitude_error = float(np.sqrt(2 / n) * rms)
    phase_error = amplitude_error / amplitude / (2 * np.pi) if amplitude > 0 else float("nan")
    frequency_error = _width(grid, power, best, n)
    return Peak(
        frequency=frequency, frequency_error=frequency_error, period=1 / frequency,
        period_error=frequency_error / frequency**2, power=highest, amplitude=amplitude,
        amplitude_error=amplitude_error, t0=data.start - phase / frequency, t0_error=phase_error / frequency,
        offset=mean, offset_error=float(rms / np.sqrt(n)), rms=rms, fap=_false_alarm(highest, n, trials),
    )  # fmt: skip


def _top(data: _Data, grid: FloatArray, best: int, floating: bool) -> float:
    """Return the frequency of the highest power within a step of the grid."""
    from virtualobserver.maths.periods.gls_kernel import gls_power

    frequency, step = float(grid[best]), float(grid[1] - grid[0])
    for _ in range(_ZOOMS):
        step /= _FINER
        first = max(frequency - _FINER * step, step)
        power = gls_power(data.t, data.y, data.w, (first, step, 2 * _FINER + 1), floating)[0]
        frequency = first + int(np.nanargmax(power)) * step
    return frequency


def _width(grid: FloatArray, power: FloatArray, best: int, n: int) -> float:
    """Return the error of the frequency from the curvature of the peak, NaN at the ends of the grid."""
    if not 1 < best < grid.size - 2:
        return float("nan")
    x, drop = grid[best - 1 : best + 2] - grid[best], power[best - 1 : best + 2] - power[best]
    curvature = float(np.sum(x**2 * drop) / np.sum(x**4))
    return float(np.sqrt(-2 / n * (1 - power[best]) / curvature)) if curvature < 0 else float("nan")


def _false_alarm(power: float, n: int, trials: float) -> float:
    """Return the probability that white noise passes `power` in `trials` independent trials."""
    one = max(1 - power, 0.0) ** ((n - 3) / 2)
    many = trials * one
    return float(many if many <= _FEW else 1 - (1 - one) ** trials)
