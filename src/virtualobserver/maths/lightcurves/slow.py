"""Slow variability beside noise: a damped random walk, and what an event is worth before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["SlowModel", "Weighed", "fit_slow", "weigh"]

FloatArray = NDArray[np.float64]

NIGHT: Final = 0.3
"""Days over which the noise of one night is alike; chosen between an hour and the next night."""
_POWERS: Final = 12
"""Variances that are tried, a factor of three apart for what is known of variable stars; ln L has a broad top."""
_SCALES: Final = 8
"""Time scales that are tried from a day to three spans, a factor of three apart."""


@dataclass(frozen=True, slots=True)
class SlowModel:
    """A damped random walk of a variance and a time scale (d) beside white noise and that of a night.

    ``gain`` is by how much ln L exceeds that of the best model without the walk; ``scale`` multiplies all variances
    given in, ``power`` and ``night`` have been multiplied already.
    """

    power: float
    time_scale: float
    scale: float
    night: float
    gain: float

    @property
    def covers(self) -> FloatArray:
        """Powers of the two kernels."""
        return np.array([self.power, self.night])

    @property
    def rates(self) -> FloatArray:
        """Rates of the two kernels, 1/d."""
        return np.array([1.0 / self.time_scale, 1.0 / NIGHT])


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """Statistic of an event as in `windows.screen`, its amplitudes and their errors, one for each template."""

    statistic: float
    amplitude: FloatArray
    error: FloatArray


def fit_slow(
    t: FloatArray, flux: FloatArray, base: FloatArray, variance: FloatArray, *, night: float = 0.0
) -> SlowModel:
    """Fit the walk by restricted maximum likelihood.

    Parameters
    ----------
    t, flux, variance
        Rows in order of time, shape (n,); `variance` is the white part.
    base
        Columns of the quiet level, shape (n, k); they are fitted freely.
    night
        Variance that epochs of one night share.
    """
    from virtualobserver.maths.lightcurves.slow_kernel import likelihood

    columns = np.column_stack([flux, base])
    usual = float(np.median(variance))
    highest = max(4.0 * float(np.var(flux)), 10.0 * usual)
    powers = np.geomspace(0.03 * usual, highest, _POWERS)
    span = max(float(t[-1] - t[0]), 1.0)
    scales = np.geomspace(1.0, 3.0 * span, _SCALES)
    kernel = np.array([night, 1.0 / NIGHT])
    none, alone = likelihood(t, columns, variance, np.zeros(1), np.ones(1), kernel)
    value, noise = likelihood(t, columns, variance, powers, 1.0 / scales, kernel)
    i, j = np.unravel_index(int(np.argmax(value)), value.shape)
    gain = float(value[i, j] - none[0, 0])
    if gain <= 0:
        return SlowModel(0.0, span, float(alone[0, 0]), night * float(alone[0, 0]), 0.0)
    scale = float(noise[i, j])
    return SlowModel(float(powers[i]) * scale, float(scales[j]), scale, night * scale, gain)


def weigh(
    model: SlowModel,
    t: FloatArray,
    flux: FloatArray,
    base: FloatArray,
    variance: FloatArray,
    *,
    templates: FloatArray,
    sign: int,
) -> Weighed:
    """Weigh an event before slow variability: templates (n, bands) of height one, amplitudes of one sign."""
    from virtualobserver.maths.lightcurves.slow_kernel import whitened

    columns = np.column_stack([flux, base, templates])
    white, _ = whitened(t, columns, variance * model.scale, model.covers, model.rates)
    count = base.shape[1]
    quiet, _ = np.linalg.qr(white[:, 1 : 1 + count])
    rest = white - quiet @ (quiet.T @ white)
    target, forms = rest[:, 0], rest[:, 1 + count :]
    return _signed(target, forms, np.linalg.norm(white[:, 1 + count :], axis=0), sign)


def _signed(target: FloatArray, forms: FloatArray, gross: FloatArray, sign: int) -> Weighed:
    """Fit amplitudes; a band that goes the other way, or is the same as its quiet level, is left out."""
    bands = forms.shape[1]
    amplitude, error = np.zeros(bands), np.full(bands, np.inf)
    used = [b for b in range(bands) if gross[b] > 0 and np.linalg.norm(forms[:, b]) > 0.2 * gross[b]]
    while used:
        normal = forms[:, used].T @ forms[:, used]
        inverse = np.linalg.pinv(normal, hermitian=True)
        fitted = inverse @ (forms[:, used].T @ target)
        wrong = [b for b, value in zip(used, fitted, strict=True) if value * sign <= 0]
        if not wrong:
            amplitude[used], error[used] = fitted, np.sqrt(np.maximum(np.diag(inverse), 0.0))
            return Weighed(float(fitted @ normal @ fitted), amplitude, error)
        used = [b for b in used if b not in wrong]
    return Weighed(0.0, amplitude, error)
