"""Continuum, noise and cosmic rays of spectra, measured from the spectra themselves.

The flux of a rebinned spectrum is in no unit from which a noise could be computed: √flux would give a star of
S/N 1.3 one of 14. What neighbouring pixels differ by tells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MAD_TO_SIGMA, SPECTRUM_MASK_NOT_FINITE, SPECTRUM_MASK_SPIKE

__all__ = [
    "column_medians",
    "continuum_fit",
    "find_cosmics",
    "noise_from_differences",
    "noise_share",
    "pixel_correlation",
    "spike_mask",
]

_ABSURD = 1e15
"""Far above any flux in counts; broken files hold 1e21."""
_ABSURD_TIMES = 1e4
"""No line and no cosmic ray is as much brighter than a spectrum's typical value."""

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def spike_mask(flux: FloatArray) -> NDArray[np.uint16]:
    """Mask bits of pixels that are no numbers, or absurd ones (broken files hold values of ±10²¹).

    Absurd is whatever exceeds 10¹⁵, or 10⁴ times the median absolute value of the others.
    """
    finite = np.isfinite(flux)
    sane = finite & (np.abs(flux) < _ABSURD)
    bits = np.where(finite, np.where(sane, 0, SPECTRUM_MASK_SPIKE), SPECTRUM_MASK_NOT_FINITE).astype(
        np.uint16
    )
    typical = float(np.median(np.abs(flux[sane]))) if sane.any() else 0.0
    if typical > 0:
        bits[sane & (np.abs(flux) > _ABSURD_TIMES * typical)] = SPECTRUM_MASK_SPIKE
    return bits


def continuum_fit(
    x: FloatArray, flux: FloatArray, *, degree: int = 2, rounds: int = 20, cut: float = 4.685
) -> FloatArray:
    """Coefficients, lowest order first, of a polynomial that outliers do not move.

    Iteratively reweighted least squares with Tukey's biweight on residuals in units of their MAD, begun at
    the median. At a `cut` of 4.685, Tukey's usual one, normal noise is fitted with 95 % of the efficiency of least
    squares; `rounds` is a bound, chosen.

    Parameters
    ----------
    x, flux : ndarray, shape (n,)
        Good pixels only.
    degree : int
        0 to 2.

    Returns
    -------
    ndarray, shape (3,)
        NaN if there are fewer than ten pixels for each coefficient.
    """
    result = np.full(3, np.nan)
    if x.size < 10 * (degree + 1):
        return result
    scale = float(np.median(np.abs(flux))) or 1.0
    y = flux / scale
    basis = np.vander(x, degree + 1, increasing=True)
    fit: FloatArray = np.zeros(degree + 1)
    fit[0] = np.median(y)
    for _ in range(rounds):
        residual = y - basis @ fit
        spread = MAD_TO_SIGMA * float(np.median(np.abs(residual)))
        if not spread > 0:
            break
        ratio = residual / (cut * spread)
        weight = np.where(np.abs(ratio) < 1, (1 - ratio**2) ** 2, 0.0)
        normal = basis.T @ (basis * weight[:, None])
        new: FloatArray = np.asarray(
            np.linalg.lstsq(normal, basis.T @ (y * weight), rcond=None)[0], dtype=np.float64
        )
        # far below the error of a continuum
        done = bool(np.abs(new - fit).max() < 1e-5 * max(1.0, float(np.abs(new).max())))
        fit = new
        if done:
            break
    result[: degree + 1] = scale * fit
    result[degree + 1 :] = 0.0
    return result


def noise_from_differences(flux: FloatArray, good: BoolArray, *, correlation: float = 0.0) -> float:
    """Noise of one pixel from the differences of neighbours, which know no continuum.

    MAD of the first differences, over √(2(1−ρ)), where ρ is the correlation of neighbouring pixels.

    Parameters
    ----------
    flux : ndarray, shape (n,)
    good : ndarray of bool, shape (n,)
        A difference is used where both its pixels are good.
    correlation : float
        ρ: about 0.22 in the rebinned spectra of HARPS.

    Returns
    -------
    float
        NaN with fewer than twenty differences.
    """
    both = good[1:] & good[:-1]
    steps = np.diff(flux)[both]
    if steps.size < 20:
        return float("nan")
    spread = MAD_TO_SIGMA * float(np.median(np.abs(steps - np.median(steps))))
    return spread / float(np.sqrt(2.0 * (1.0 - correlation)))


def pixel_correlation(residual: FloatArray, good: BoolArray) -> float:
    """Correlation ρ of neighbouring pixels of pure noise, from that of its first differences.

    With no correlation beyond neighbours, corr(d_i, d_i+1) = (2ρ−1)/(2−2ρ). NaN with fewer than a hundred.
    """
    steps = np.diff(np.where(good, residual, np.nan))
    pair = np.isfinite(steps[1:]) & np.isfinite(steps[:-1])
    if pair.sum() < 100:
        return float("nan")
    limit = 5 * MAD_TO_SIGMA * float(np.median(np.abs(steps[np.isfinite(steps)])))
    pair &= (np.abs(steps[1:]) < limit) & (np.abs(steps[:-1]) < limit)
    r = float(np.corrcoef(steps[1:][pair], steps[:-1][pair])[0, 1])
    return (1 + 2 * r) / (2 + 2 * r)


def noise_share(steps_variance: FloatArray, reference: FloatArray) -> float:
    """Share a of the noise variance that does not depend on flux: σ² = s²(a + (1−a)·R).

    Parameters
    ----------
    steps_variance : ndarray, shape (n,)
        Variance over spectra of the differences of neighbouring pixels, each spectrum in units of its s.
    reference : ndarray, shape (n,)
        Mean normalised flux R of the two pixels.

    Returns
    -------
    float
        Between 0 and 1; 1 (noise the same everywhere) where R has too little range to tell.
    """
    good = np.isfinite(steps_variance) & np.isfinite(reference) & (steps_variance > 0) & (reference > 0)
    if good.sum() < 100 or np.ptp(np.quantile(reference[good], [0.02, 0.98])) < 0.2:
        return 1.0
    edges = np.quantile(reference[good], np.linspace(0, 1, 21))
    number = np.clip(np.searchsorted(edges, reference[good], side="right") - 1, 0, 19)
    filled = [n for n in range(20) if (number == n).any()]
    r = np.array([np.median(reference[good][number == n]) for n in filled])
    variance = np.array([np.median(steps_variance[good][number == n]) for n in filled])
    slope, level = np.polyfit(r, variance, 1)
    total = slope + level
    return float(np.clip(level / total, 0.0, 1.0)) if total > 0 else 1.0


def column_medians(stack: NDArray[np.floating]) -> tuple[FloatArray, FloatArray]:
    """Median and scatter (MAD in units of σ) of each column over its finite values.

    Parameters
    ----------
    stack : ndarray, shape (n, m)
        Not changed. Columns without a finite value give NaN, never a warning.

    Returns
    -------
    median, scatter : ndarray, shape (m,)
    """

    def middle(values: NDArray[np.floating]) -> FloatArray:
        # sorting puts NaN last
        ordered = np.sort(values, axis=0)
        low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(values) - 1)
        column = np.arange(values.shape[1])
        return np.asarray(0.5 * (ordered[low, column].astype(np.float64) + ordered[high, column]))

    finite = np.isfinite(stack)
    count = finite.sum(axis=0)
    clean = np.where(finite, stack, np.nan)
    median = middle(clean)
    return median, MAD_TO_SIGMA * middle(np.abs(clean - median))


def find_cosmics(
    # chosen: no normal pixel is at 6; hits are 1 to 3 pixels wide; the median spans 5 hits
    residual: FloatArray,
    *,
    threshold: float = 6.0,
    longest: int = 3,
    window: int = 15,
) -> BoolArray:
    """Pixels of narrow positive spikes in residuals given in units of their error.

    A run of at most `longest` pixels more than `threshold` above the running median counts; wider ones are
    no cosmic rays but lines. NaN ends a run.
    """
    from scipy.ndimage import median_filter

    finite = np.isfinite(residual)
    around = median_filter(np.where(finite, residual, 0.0), size=window, mode="nearest")
    above = np.concatenate(([False], finite & (np.nan_to_num(residual) - around > threshold), [False]))
    edge = np.flatnonzero(above[1:] != above[:-1])
    found = np.zeros(residual.size, dtype=bool)
    for first, last in zip(edge[::2], edge[1::2], strict=True):
        if last - first <= longest:
            found[first:last] = True
    return found
