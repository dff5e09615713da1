"""Matched filter for exocomets: Gaussians in velocity of many widths and centres, on Ca II K and H jointly.

A comet takes the fraction ``d G(v)`` of the star's light, so the template is ``R G``. For one line

    A = sum(t r / sigma^2) / sum(t^2 / sigma^2),   S/N = sum(t r / sigma^2) / sqrt(sum(t^2 / sigma^2)),

with ``r = R - S``. For two lines the depth in H is ``rho`` times that in K, 0.5 (optically thin) <= rho <= 1
(thick); S/N^2 is the gain in chi^2 at the best rho in that range, less what these bounds cost against depths that are
free: what no gas can do does not look like gas. Residuals of the continuum, which no average of pixels takes away, are
a variance of the depth: ``1 / D + f^2``, f measured on the star itself for each width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import FWHM_TO_SIGMA, MAD_TO_SIGMA

__all__ = [
    "Bank",
    "Filtered",
    "LineChunk",
    "emission_peaks",
    "excess_variance",
    "exclusion",
    "filter_chunk",
    "floor_share",
    "floor_shares",
    "gaussian_snr",
    "joint_snr",
    "make_bank",
    "measured_floor",
    "template_widths",
    "with_floor",
]

FloatArray = NDArray[np.float64]
SingleArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

THIN: Final = 0.5
"""Least depth in H over that in K: the ratio of the oscillator strengths, of gas that is optically thin."""
THICK: Final = 1.0
"""Largest depth in H over that in K: of gas that is optically thick."""
_CENTRES_PER_FWHM: Final = 4.0
"""A comet halfway between two templates is an eighth of its width away from one and loses 2 % of its S/N."""
_WIDE: Final = 50.0
"""km/s; templates as wide as this meet the ripples that the continuum leaves."""
_RARE: Final = 0.97
"""Part of all depths below the one that tells the floor: ripples of a fitting length are in a few spectra of a star."""
_RARE_SIGMA: Final = 2.17
"""Standard deviations that 3 % of Gaussian values exceed, either way."""
_LEAST_FREEDOM: Final = 20.0
"""Degrees of freedom however few the spectra: each tells the floor at several velocities. With half as many a comet in
one of two nights, whose floor is larger for want of a third, was missed more often than others."""
_FEW_PLACES: Final = 100.0
"""km/s; a template as wide finds room for itself only a few times beside the line, so that few values tell its floor.
The false candidates of stars without a comet fitted 150 km/s; comets of 10 to 40 km/s were lost with all doubted."""
_FAR: Final = 100.0
"""km/s; templates there see few comets, so their scatter is that of the noise. Chosen, not tuned."""


@dataclass(frozen=True, slots=True)
class Bank:
    """All templates; c = templates, and for each line one array of shape (pixels, c).

    ``inflation`` is the variance of each template's sum over that for independent pixels, shape (lines, c);
    ``floor`` the variance of the depth that more light would not lower, shape (lines, c).
    """

    v: FloatArray
    fwhm: FloatArray
    lines: tuple[SingleArray, ...]
    squares: tuple[SingleArray, ...]
    inflation: FloatArray
    width: IntArray
    floor: SingleArray


@dataclass(frozen=True, slots=True)
class LineChunk:
    """Some spectra of one line, ready to be filtered; shape (k, m) each.

    ``residual`` is ``R - S`` and ``weight`` the inverse variance, 0 where a pixel may not be used.
    """

    residual: SingleArray
    reference: SingleArray
    weight: SingleArray


@dataclass(frozen=True, slots=True)
class Filtered:
    """Amplitudes and S/N of every template in every spectrum.

    ``numerator`` and ``denominator`` have the shape (lines, k, c): their ratio is the depth, the numerator over
    the root of the denominator the S/N of that line. ``snr`` is the joint one, shape (k, c), negative for
    emission.
    """

    numerator: SingleArray
    denominator: SingleArray
    snr: SingleArray


def template_widths(lsf: float, widest: float) -> FloatArray:
    """Return full widths at half maximum from the instrument's resolution upwards in steps of sqrt(2)."""
    count = max(int(np.floor(2.0 * np.log2(widest / lsf))), 0)
    widths = lsf * np.sqrt(2.0) ** np.arange(count + 1)
    # chosen: a tenth changes no S/N that could be seen
    return np.append(widths, widest) if widest > 1.1 * widths[-1] else widths


def make_bank(
    velocities: Sequence[FloatArray],
    *,
    v_range: tuple[float, float],
    widths: FloatArray,
    lag1: Sequence[float] = (),
) -> Bank:
    """Build the templates on the pixels of each line.

    Parameters
    ----------
    velocities
        For each line the velocities of its pixels, km/s, shape (m,).
    v_range
        First and last centre, km/s.
    widths
        Full widths at half maximum, km/s. Centres lie a quarter of the width apart, at least a pixel, which
        costs at most 2 % of the S/N.
    lag1
        Correlation of neighbouring pixels, for each line.
    """
    step = float(np.median(np.diff(velocities[0])))
    centres, fwhm, number = [], [], []
    for index, width in enumerate(widths):
        spacing = max(step, width / _CENTRES_PER_FWHM)
        count = max(round((v_range[1] - v_range[0]) / spacing), 1) + 1
        centres.append(np.linspace(v_range[0], v_range[1], count))
        fwhm.append(np.full(count, width))
        number.append(np.full(count, index))
    v, w = np.concatenate(centres), np.concatenate(fwhm)
    sigma = (w * FWHM_TO_SIGMA).astype(np.float32)
    lines, squares, inflation = [], [], []
    for position, velocity in enumerate(velocities):
        phase = (velocity.astype(np.float32)[:, None] - v.astype(np.float32)) / sigma
        template = np.exp(np.float32(-0.5) * phase * phase)
        lines.append(template)
        squares.append(template * template)
        rho = lag1[position] if len(lag1) > position else 0.0
        pixel = float(np.median(np.diff(velocity)))
        inflation.append(1.0 + 2.0 * rho * np.exp(-0.25 * (pixel / sigma) ** 2))
    return Bank(
        v,
        w,
        tuple(lines),
        tuple(squares),
        np.asarray(inflation, dtype=np.float64),
        np.concatenate(number),
        np.zeros((len(lines), v.size), np.float32),
    )


def filter_chunk(bank: Bank, chunks: Sequence[LineChunk]) -> Filtered:
    """Run all templates over some spectra (the same ones in each line)."""
    numerators, denominators = [], []
    for position, chunk in enumerate(chunks):
        scale = (1.0 / bank.inflation[position]).astype(np.float32)
        weighted = chunk.reference * chunk.weight
        information = (weighted * chunk.reference) @ bank.squares[position] * scale
        shrink = 1.0 / (1.0 + bank.floor[position] * information)
        numerators.append((weighted * chunk.residual) @ bank.lines[position] * scale * shrink)
        denominators.append(information * shrink)
    numerator, denominator = np.stack(numerators), np.stack(denominators)
    return Filtered(numerator, denominator, joint_snr(numerator, denominator))


def joint_snr(numerator: SingleArray, denominator: SingleArray) -> SingleArray:
    """Return the S/N of each template, signed: the larger of an absorption's and an emission's.

    S/N^2 is the gain in chi^2 less the `misfit` of depths that no gas has, and 0 where that is more.

    Parameters
    ----------
    numerator, denominator : ndarray, shape (1 or 2, k, c)
        K first, then H.
    """
    tiny = np.float32(1e-30)
    if len(numerator) == 1:
        return np.asarray(numerator[0] / np.sqrt(np.maximum(denominator[0], tiny)))
    n_k, n_h = numerator
    d_k, d_h = np.maximum(denominator, tiny)
    ratio = bounded_ratio(n_k, n_h, d_k, d_h)
    best = (n_k + ratio * n_h) / np.sqrt(d_k + ratio * ratio * d_h)
    # Free depths gain n^2/d in each line; what the bounds cost of it is the misfit.
    with np.errstate(over="ignore", invalid="ignore"):
        left = 2.0 * best * best - (n_k / np.sqrt(d_k)) ** 2 - (n_h / np.sqrt(d_h)) ** 2
    return np.asarray(np.copysign(np.sqrt(np.maximum(left, 0.0)), best))


def bounded_ratio(n_k: SingleArray, n_h: SingleArray, d_k: SingleArray, d_h: SingleArray) -> SingleArray:
    """Return the ratio in [0.5, 1] at which S/N is farthest from zero."""
    with np.errstate(all="ignore"):
        best = np.clip((n_h * d_k) / (n_k * d_h), THIN, THICK)
    best = np.nan_to_num(np.where(n_k == 0, np.float32(THICK), best), nan=THIN)
    # K and H disagree in sign: the end nearer to the line that carries more.
    opposite = (n_k < 0) != (n_h < 0)
    if opposite.any():
        low = np.abs(n_k + THIN * n_h) / np.sqrt(d_k + THIN**2 * d_h)
        high = np.abs(n_k + THICK * n_h) / np.sqrt(d_k + THICK**2 * d_h)
        best = np.where(opposite, np.where(low >= high, THIN, THICK), best)
    return np.asarray(best, dtype=np.float32)


def measured_floor(bank: Bank, filtered: Filtered) -> FloatArray:
    """Return the variance of depths beyond that of noise, for each line and width; shape (lines, widths).

    Slope, blaze and ripple that the continuum left show in wide templates. It is measured away from the core, where
    comets are few, on the size that 3 % of all depths there exceed: ripples of a fitting length are in few spectra,
    which the median would not know.
    """
    floor = np.zeros((len(filtered.numerator), int(bank.width.max()) + 1))
    far = np.abs(bank.v) > _FAR
    for index in range(floor.shape[1]):
        columns = np.flatnonzero((bank.width == index) & far)
        columns = columns if columns.size else np.flatnonzero(bank.width == index)
        for position in range(len(floor)):
            information = filtered.denominator[position][:, columns].astype(np.float64)
            used = information > 0.25 * information.max(initial=0.0)
            if used.any():
                depth = filtered.numerator[position][:, columns][used] / information[used]
                size = np.abs(depth)
                scatter = MAD_TO_SIGMA * float(np.median(size))
                if bank.fwhm[columns[0]] >= _WIDE:
                    scatter = max(scatter, float(np.quantile(size, _RARE)) / _RARE_SIGMA)
                span = float(np.ptp(bank.v[columns])) - (2.0 * _FAR if far[columns].all() else 0.0)
                number = len(used) * max(span / float(bank.fwhm[columns[0]]), 1.0)
                floor[position, index] = excess_variance(
                    scatter, float(np.median(1.0 / information[used])), number
                )
    return floor


def excess_variance(scatter: float, expected: float, number: float) -> float:
    """Return the variance by which a robust scatter of so many values exceeds the one expected and its error."""
    # The median absolute deviation of n Gaussian values scatters by 1.17/sqrt(n), its square by twice that.
    error = expected * 2.34 / math.sqrt(max(number, 1.0))
    return max(scatter * scatter - expected - error, 0.0)


def with_floor(bank: Bank, floor: FloatArray) -> Bank:
    """Return the bank with a variance of the depth that noise does not explain, shape (lines, c)."""
    return replace(bank, floor=floor.astype(np.float32))


def floor_share(bank: Bank, filtered: Filtered, rows: IntArray, template: IntArray) -> FloatArray:
    """Return which part of the variance of a depth is a floor that few values tell, for one template of each row."""
    information = filtered.denominator[:, rows, template].astype(np.float64)
    return _doubtful(information, bank.floor[:, template], bank.fwhm[template])


def floor_shares(bank: Bank, filtered: Filtered) -> FloatArray:
    """Return the same for all templates in all rows, shape (rows, templates)."""
    return _doubtful(filtered.denominator.astype(np.float64), bank.floor[:, None, :], bank.fwhm)


def _doubtful(information: FloatArray, floor: SingleArray, fwhm: FloatArray) -> FloatArray:
    total = information.sum(axis=0)
    share = (floor * information * information).sum(axis=0) / np.where(total > 0, total, 1.0)
    return np.asarray(np.where(fwhm >= _FEW_PLACES, np.clip(share, 0.0, 1.0), 0.0), dtype=np.float64)


def gaussian_snr(snr: FloatArray, share: FloatArray, spectra: int) -> FloatArray:
    """Return S/N as rare in a Gaussian as the given one is where part of the variance was told by few spectra.

    Student's distribution, whose degrees of freedom are half the spectra (slopes, ripples and zero levels differ from
    one to the next, and the floor is told by order statistics) and more where noise contributes (Welch 1947). The
    transformation is that of Wallace 1959, Ann. Math. Stat. 30, 1121, without its small last factor.

    Parameters
    ----------
    snr, share : ndarray, shape (n,)
        Positive S/N, and `floor_share`.
    spectra : int
        Of the star.
    """
    freedom = max(0.5 * spectra, _LEAST_FREEDOM) / np.maximum(share, 1e-3) ** 2
    return np.asarray(np.sqrt(freedom * np.log1p(snr * snr / freedom)))


def exclusion(bank: Bank, template: IntArray, *, reach: float = 0.6) -> BoolArray:
    """Return for some templates which others look at the same place; shape (k, c).

    Centres nearer than `reach` times the wider of the two widths.
    """
    wide = np.maximum(bank.fwhm[template][:, None], bank.fwhm)
    return np.asarray(np.abs(bank.v - bank.v[template][:, None]) < reach * wide)


def emission_peaks(
    bank: Bank, filtered: Filtered, *, least: float, most: int
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return row, template and S/N (positive) of features that go up: what noise alone makes, as no comet emits.

    They are the peaks of the sign-flipped residuals, and cost nothing.
    """
    flipped = -filtered.snr
    rows = np.arange(len(flipped))
    found_rows, templates, found = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for _ in range(most):
        best = np.argmax(flipped[rows], axis=1)
        height = flipped[rows, best]
        keep = height >= least
        rows, best = rows[keep], best[keep]
        if rows.size == 0:
            break
        found_rows.append(rows)
        templates.append(best)
        found.append(height[keep].astype(np.float64))
        flipped[rows] = np.where(exclusion(bank, best), -np.inf, flipped[rows])
    return np.concatenate(found_rows), np.concatenate(templates), np.concatenate(found)
