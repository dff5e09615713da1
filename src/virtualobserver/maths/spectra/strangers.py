"""Spectra that do not belong among the others of a star: of another star, wrongly shifted, saturated.

Each is compared with the median of all after the shift that suits it best, so that a star that moves, as one of a
binary does, is no stranger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from scipy.ndimage import uniform_filter1d

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.maths.spectra.noise import column_medians

__all__ = ["Compared", "compare", "of_another_star", "saturated_pixels", "wrongly_shifted"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_LEAST: Final = 5
"""Spectra; of fewer the median is no star that one of them could be unlike."""
_MINORITY: Final = 1 / 3
"""Share of the spectra that may be strangers; were it more, nobody knew who is at home."""
_REACH: Final = 90.0
"""km/s of shift that is tried: three times the speed of the Earth, so that twice that stands clear of the border."""
_SMOOTH: Final = 25
"""Pixels over which differences are averaged: wider than lines of cool stars, narrower than the lines of hot ones."""
_UNLIKE: Final = 0.025
"""Share of the continuum by which most pixels of another star differ; waves of pulsation and ripples make 0.01."""
_CORE: Final = 100.0
"""km/s: half of the stretch around the line whose mean is compared."""
_CORE_UNLIKE: Final = 0.15
"""Share of the continuum by which that mean differs; gas that hides 0.6 of the star over 40 km/s makes 0.13."""
_SIGMAS: Final = 6.0
"""By how much of its own noise, and of what is usual among the others, a stranger differs."""
_SURE: Final = 8.0
"""Errors by which a shift, and the speed of the Earth, must stand out before they are compared."""
_LEAST_SPEED: Final = 5.0
"""km/s of the Earth below which nothing is compared: the error would be of the size of the resolution, and a comet in
the line moves its middle as far."""
_NEAR: Final = 0.6
"""km/s within which a shift counts as the speed of the Earth: the size of a pixel."""
_PLATEAU: Final = 20
"""Pixels at exactly the highest value: noise makes a few where fluxes are whole numbers."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What spectra are against the median of all; shape (n,) each, NaN where nothing can be said.

    ``shift`` and ``shift_error`` are km/s, positive away from us; ``unlike`` is the robust spread of the differences
    that remain, ``core`` their mean around the line, ``noise`` what noise alone makes of ``unlike``.
    """

    shift: FloatArray
    shift_error: FloatArray
    unlike: FloatArray
    core: FloatArray
    noise: FloatArray


def compare(normal: NDArray[np.floating], v: FloatArray) -> Compared:
    """Compare spectra of one star with their median.

    Parameters
    ----------
    normal : ndarray, shape (n, m)
        Flux over continuum; NaN where not known.
    v : ndarray, shape (m,)
        Velocity of each pixel about the star, km/s, in even steps.
    """
    n = len(normal)
    empty = [np.full(n, np.nan) for _ in range(5)]
    if n < _LEAST or v.size < 10 * _SMOOTH:
        return Compared(*empty)
    reference = _filled(column_medians(normal)[0])
    step = float(np.median(np.diff(v)))
    lags = np.arange(-int(_REACH / step), int(_REACH / step) + 1)
    inner = slice(lags[-1], v.size - lags[-1])
    slope = np.gradient(reference)
    size = next_fast_len(v.size + lags.size)
    ahead, squared = (np.conj(np.fft.rfft(one, size)) for one in (reference, reference**2))
    for row in range(n):
        use = np.zeros(v.size, dtype=bool)
        use[inner] = np.isfinite(normal[row, inner])
        if use.sum() < 10 * _SMOOTH:
            continue
        flux = np.where(use, normal[row], 0.0).astype(np.float64)
        power = np.fft.irfft(np.fft.rfft(use.astype(float), size) * squared, size)
        cross = np.fft.irfft(np.fft.rfft(flux, size) * ahead, size)
        misfit = (flux**2).sum() - 2 * cross[lags] + power[lags]
        best = int(np.argmin(misfit))
        at = lags[best] + _vertex(misfit, best)
        difference = flux - np.interp(np.arange(v.size) - at, np.arange(v.size), reference)
        steps = np.diff(difference)[use[1:] & use[:-1]]
        noise = MAD_TO_SIGMA * float(np.median(np.abs(steps))) / np.sqrt(2.0)
        strength = float((slope[use] ** 2).sum())
        # neighbouring pixels share noise, which the differences of neighbours do not show
        sigma = 1.5 * noise
        difference[use] -= np.polyval(np.polyfit(v[use], difference[use], 1), v[use])
        values = _smoothed(np.where(use, difference, 0.0), use)
        near = np.abs(v[use]) < _CORE
        middle = float(np.median(values))
        empty[0][row] = at * step
        empty[1][row] = step * sigma / np.sqrt(strength) if strength > 0 else np.nan
        empty[2][row] = MAD_TO_SIGMA * float(np.median(np.abs(values - middle)))
        empty[3][row] = float(difference[use][near].mean() - middle) if near.sum() > _SMOOTH else 0.0
        empty[4][row] = sigma / np.sqrt(_SMOOTH)
    return Compared(*empty)


def of_another_star(found: Compared) -> BoolArray:
    """Say which spectra are not of the star that most of them are of, shape (n,)."""
    strange = np.zeros(found.unlike.shape, dtype=bool)
    for size, least in ((found.unlike, _UNLIKE), (np.abs(found.core), _CORE_UNLIKE)):
        if not np.isfinite(size).any():
            continue
        usual = float(np.nanmedian(size))
        with np.errstate(invalid="ignore"):
            strange |= size > np.maximum(np.maximum(_SIGMAS * usual, _SIGMAS * found.noise), least)
    return strange if strange.sum() <= _MINORITY * strange.size else np.zeros_like(strange)


def wrongly_shifted(found: Compared, berv: FloatArray) -> BoolArray:
    """Say which spectra stand off the others by the speed of the Earth: corrected for it twice, or not at all.

    Parameters
    ----------
    berv : ndarray, shape (n,)
        Velocity of the telescope towards the star, km/s.
    """
    with np.errstate(invalid="ignore"):
        sure = (found.shift_error < np.abs(berv) / _SURE) & (np.abs(berv) > _LEAST_SPEED)
        off = np.abs(np.abs(found.shift) - np.abs(berv)) < np.maximum(_NEAR, 2 * found.shift_error)
        strange = sure & off & (np.abs(found.shift) > _SURE * found.shift_error)
    if not strange.any() or strange.sum() > _MINORITY * strange.size:
        return np.zeros(strange.shape, dtype=bool)
    usual = float(np.nanmedian(np.abs(found.shift[~strange])))
    # a star that moves by itself meets the speed of the Earth by chance
    return np.asarray(strange & (np.abs(found.shift) > _SIGMAS * max(usual, 0.1)))


def saturated_pixels(flux: NDArray[np.floating]) -> BoolArray:
    """Say which pixels stand at the ceiling of a spectrum, shape (m,): none, unless many are exactly as high."""
    finite = np.isfinite(flux)
    highest = float(flux[finite].max()) if finite.any() else 0.0
    at = finite & (flux == highest)
    return at if highest > 0 and at.sum() >= _PLATEAU and at.sum() < finite.sum() else np.zeros_like(at)


def _filled(values: FloatArray) -> FloatArray:
    known = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(values.size), known, values[known]) if known.size else np.ones_like(values)


def _vertex(values: FloatArray, best: int) -> float:
    """Return where between its neighbours a lowest value lies, in steps from it."""
    if not 0 < best < values.size - 1:
        return 0.0
    left, middle, right = values[best - 1 : best + 2]
    bend = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend > 0 else 0.0


def _smoothed(difference: FloatArray, use: BoolArray) -> FloatArray:
    share = uniform_filter1d(use.astype(np.float64), _SMOOTH)
    return np.asarray(uniform_filter1d(difference, _SMOOTH)[use] / share[use])
