"""Spectra around one line of one star: cut to velocities, brought to a common continuum, with their noise.

The spectra become ratios ``S_i / R``: a robust polynomial of low order in the side bands takes slope and blaze
out. The noise comes from the data, ``sigma_ij^2 = s_i^2 (a + b R_j)``: flux units of extracted spectra are
arbitrary, so their square root says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.errors import DataError

__all__ = [
    "LIGHT_SPEED",
    "LineSpectra",
    "NoiseModel",
    "fit_continuum",
    "line_spectra",
    "mask_spikes",
    "noise_model",
    "velocity_of",
]

FloatArray = NDArray[np.float64]
SingleArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

LIGHT_SPEED: Final = 299_792.458
"""km/s."""

_CHUNK: Final = 256
"""Spectra at a time; bounds the memory of stars with thousands of them."""
_SANE: Final = 50.0
"""Multiples of the continuum beyond which a value is a defect of the file."""
_LEAST_GOOD: Final = 0.5
"""Part of the pixels of a spectrum; with less than half a polynomial of the continuum has gaps to invent."""
_ROUNDS: Final = 4
"""Rounds of clipping; chosen, not tuned."""
_CLIP: Final = 4.0
"""Robust standard deviations; of a thousand good pixels it takes none."""
_SPIKE: Final = 5.0
"""Standard deviations; of a star's million pixels noise alone makes less than one such."""
_NEIGHBOUR: Final = 0.2
"""Of a spike's height: less than the line spread leaves beside a real feature, which is two pixels wide or more."""
_MEDIAN_ROWS: Final = 301
"""Spectra that give a median; its error is then 7 % of the noise of one of them."""


@dataclass(frozen=True, slots=True)
class LineSpectra:
    """Spectra of one star around one line, in the star's frame.

    Parameters
    ----------
    velocity
        km/s, shape (m,), rising; 0 is the star.
    flux
        In units of the continuum, shape (n, m); 0 where `good` is False.
    good
        Pixels that may be used, shape (n, m).
    usable
        Spectra with enough good pixels and a positive continuum, shape (n,).
    rest
        Wavelength of the line, Angstrom.
    """

    velocity: FloatArray
    flux: SingleArray
    good: BoolArray
    usable: BoolArray
    rest: float

    @property
    def step(self) -> float:
        """Width of a pixel, km/s."""
        return float(self.velocity[1] - self.velocity[0])


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """``sigma_ij^2 = sigma_i^2 (constant + slope R_j)``; neighbouring pixels correlate with `lag1`.

    ``sigma`` has the shape (n,), is the noise at a continuum of 1, and infinite where it is unknown.
    """

    sigma: FloatArray
    constant: float
    slope: float
    lag1: float


def velocity_of(wave: ArrayLike, rest: float, v_star: float = 0.0) -> FloatArray:
    """Return the velocity (km/s) of each wavelength in the frame of a star that moves with `v_star`.

    The two frames differ by (1 + v*/c), which matters by 0.1 km/s at 300 km/s for a star of 100 km/s.
    """
    ratio = np.asarray(wave, dtype=np.float64) / rest
    return np.asarray(LIGHT_SPEED * (ratio / (1.0 + v_star / LIGHT_SPEED) - 1.0))


def line_spectra(
    wave: ArrayLike,
    flux: ArrayLike,
    mask: ArrayLike,
    *,
    rest: float,
    v_star: float = 0.0,
    side_bands: tuple[float, float] = (200.0, 700.0),
    continuum: ArrayLike | None = None,
) -> LineSpectra:
    """Cut spectra to the outer edge of the side bands and divide them by their continuum.

    Parameters
    ----------
    wave : array_like, shape (m,)
        Uniform or not, rising, Angstrom.
    flux, mask : array_like, shape (n, m)
        In any unit; mask 0 = good.
    continuum : array_like, shape (n, 3), optional
        Polynomial in v / (1000 km/s), v counted from `rest` in the frame of `wave`. Where it is missing or not
        positive the median of the side bands serves.

    Raises
    ------
    DataError
        If fewer than 50 pixels lie in the side bands.
    """
    all_v = velocity_of(wave, rest, v_star)
    inside = np.flatnonzero(np.abs(all_v) <= side_bands[1])
    cut = slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0)
    v = all_v[cut]
    side = np.abs(v) >= side_bands[0]
    if np.count_nonzero(side) < 50:
        msg = (
            f"only {np.count_nonzero(side)} pixels lie in the side bands {side_bands} km/s around {rest} "
            f"Angstrom: widen the window of the reduction"
        )
        raise DataError(msg)
    raw, bad = np.asarray(flux), np.asarray(mask)
    n, x = len(raw), velocity_of(wave, rest)[cut] / 1000.0
    poly = None if continuum is None else np.asarray(continuum, dtype=np.float64)
    scaled, good = np.zeros((n, v.size), np.float32), np.zeros((n, v.size), dtype=bool)
    usable = np.zeros(n, dtype=bool)
    for start in range(0, n, _CHUNK):
        rows = slice(start, min(start + _CHUNK, n))
        part = None if poly is None else poly[rows]
        scaled[rows], good[rows], usable[rows] = _scaled(raw[rows, cut], bad[rows, cut], x, side, part)
    return LineSpectra(v, scaled, good, usable, rest)


def _scaled(
    raw: NDArray[np.generic],
    bad: NDArray[np.generic],
    x: FloatArray,
    side: BoolArray,
    poly: FloatArray | None,
) -> tuple[SingleArray, BoolArray, BoolArray]:
    values = raw.astype(np.float64)
    good = np.isfinite(values) & (bad == 0)
    with np.errstate(all="ignore"):
        level = _masked_median(np.where(good, values, np.nan)[:, side])
        shape = np.ones_like(values)
        if poly is not None:
            fitted = poly[:, :1] + poly[:, 1:2] * x + poly[:, 2:3] * x**2
            fits = np.isfinite(fitted).all(axis=1) & (fitted > 0).all(axis=1)
            # The polynomial gives the form; its height is checked against the median of the spectrum.
            fits &= np.abs(np.median(fitted[:, side], axis=1) / level - 1.0) < 0.5
            shape[fits] = fitted[fits] / level[fits, None]
        values /= level[:, None] * shape
        good &= np.isfinite(values) & (np.abs(values) < _SANE)
    usable = np.isfinite(level) & (level > 0) & (good.mean(axis=1) >= _LEAST_GOOD)
    good &= usable[:, None]
    return np.where(good, values, 0.0).astype(np.float32), good, usable


def _masked_median(values: FloatArray) -> FloatArray:
    """Return the median of each row without its NaN, NaN for a row of nothing else."""
    ordered = np.sort(values, axis=1)
    count = np.count_nonzero(np.isfinite(ordered), axis=1)
    rows = np.arange(len(ordered))
    low, high = np.maximum(count - 1, 0) // 2, np.maximum(count, 1) // 2
    middle = 0.5 * (ordered[rows, low] + ordered[rows, np.minimum(high, ordered.shape[1] - 1)])
    return np.where(count > 0, middle, np.nan)


def median_spectrum(lines: LineSpectra) -> FloatArray:
    """Return the median of up to 301 usable spectra, spread over the history; 1 where there is no pixel."""
    rows = np.flatnonzero(lines.usable)
    if rows.size == 0:
        return np.ones(lines.velocity.size)
    rows = rows[np.linspace(0, rows.size - 1, min(rows.size, _MEDIAN_ROWS)).astype(int)]
    values = np.where(lines.good[rows], lines.flux[rows], np.nan).astype(np.float64)
    return np.nan_to_num(_masked_median(values.T), nan=1.0)


def fit_continuum(
    lines: LineSpectra,
    reference: FloatArray,
    *,
    degree: int = 2,  # chosen: over 1400 km/s a blaze has no more; higher ones bend into broad lines
    side_bands: tuple[float, float] = (200.0, 700.0),
    excluded: Sequence[tuple[float, float]] = (),
) -> LineSpectra:
    """Divide each spectrum by the polynomial that fits its ratio to `reference` in the side bands.

    Weighted least squares with clipping at 4 sigma, four rounds; ``excluded`` are velocity ranges (km/s) of
    known lines. A spectrum whose fit fails is no longer usable.
    """
    v = lines.velocity
    side = (np.abs(v) >= side_bands[0]) & (np.abs(v) <= side_bands[1]) & (reference > 0.1)
    for low, high in excluded:
        side &= ~((v >= low) & (v <= high))
    basis = (v[:, None] / side_bands[1]) ** np.arange(degree + 1)
    flux, good, usable = np.empty_like(lines.flux), lines.good.copy(), lines.usable.copy()
    for start in range(0, len(flux), _CHUNK):
        rows = slice(start, min(start + _CHUNK, len(flux)))
        coefficients = _polynomials(
            lines.flux[rows][:, side] / reference[side], good[rows][:, side], basis[side], reference[side]
        )
        fitted = coefficients @ basis.T
        # of the reference: below a twentieth there is no light to divide by
        fine = np.asarray((fitted > 0.05).all(axis=1))
        flux[rows] = lines.flux[rows] / np.where(fine[:, None], fitted, 1.0)
        usable[rows] &= fine
    good &= usable[:, None]
    return LineSpectra(v, np.where(good, flux, np.float32(0)), good, usable, lines.rest)


def _polynomials(ratio: FloatArray, good: BoolArray, basis: FloatArray, reference: FloatArray) -> FloatArray:
    k = basis.shape[1]
    products = (basis[:, :, None] * basis[:, None, :]).reshape(-1, k * k)
    weight = np.asarray(good * reference, dtype=np.float64)
    coefficients: FloatArray = np.zeros((len(ratio), k))
    for turn in range(_ROUNDS):
        normal = (weight @ products).reshape(-1, k, k) + 1e-9 * np.eye(k)
        solved = np.linalg.solve(normal, ((weight * ratio) @ basis)[:, :, None])
        coefficients = np.asarray(solved[:, :, 0], dtype=np.float64)
        if turn == _ROUNDS - 1:
            break
        size = np.abs(ratio - coefficients @ basis.T) * np.sqrt(reference)
        spread = MAD_TO_SIGMA * _masked_median(np.where(good, size, np.nan))
        with np.errstate(invalid="ignore"):
            kept = good & (size <= _CLIP * spread[:, None])
        weight = np.asarray(np.where(kept, reference, 0.0), dtype=np.float64)
    return np.nan_to_num(coefficients)


def noise_model(
    lines: LineSpectra, reference: FloatArray, *, side_bands: tuple[float, float] = (200.0, 700.0)
) -> NoiseModel:
    """Measure the noise of each spectrum from differences of pixels, which no broad feature enters.

    With noise that correlates over one pixel only, differences over one pixel have the variance
    ``2 sigma^2 (1 - rho)`` and over two pixels ``2 sigma^2``: `lag1` follows from their ratio. The dependence on
    flux is the non-negative least-squares fit of the variance of differences in ten classes of the reference.
    """
    side = np.abs(lines.velocity) >= side_bands[0]
    # in the core of a line the noise is that of the detector, and does not fall on
    root = np.sqrt(np.clip(reference, 0.05, None))
    n = len(lines.flux)
    one, two = np.full(n, np.nan), np.full(n, np.nan)
    for start in range(0, n, _CHUNK):
        rows = slice(start, min(start + _CHUNK, n))
        residual = np.where(lines.good[rows], (lines.flux[rows] - reference) / root, np.nan)
        residual[:, ~side] = np.nan
        for lag, out in ((1, one), (2, two)):
            difference = np.abs(residual[:, lag:] - residual[:, :-lag])
            out[rows] = MAD_TO_SIGMA * _masked_median(difference) / np.sqrt(2.0)
    measured = np.isfinite(one) & np.isfinite(two) & (two > 0)
    lag1 = 0.0
    if measured.any():
        # two neighbours alone cannot correlate by more than 0.5
        lag1 = float(np.clip(1.0 - np.median((one[measured] / two[measured]) ** 2), 0.0, 0.45))
    sigma = np.where(measured & (one > 0) & lines.usable, one / np.sqrt(1.0 - lag1), np.inf)
    constant, slope = _flux_dependence(lines, reference, sigma, lag1)
    side_level = float(np.median(reference[side]))
    height = constant + slope * side_level
    # Side-band noise was measured in units of sqrt(R); the model is scaled to agree there.
    scale = side_level / height if height > 0 else 1.0
    return NoiseModel(sigma, constant * scale, slope * scale, lag1)


def _flux_dependence(
    lines: LineSpectra, reference: FloatArray, sigma: FloatArray, lag1: float
) -> tuple[float, float]:
    level = 0.5 * (reference[1:] + reference[:-1])
    edges = np.quantile(level, np.linspace(0, 1, 11))
    rows = np.flatnonzero(np.isfinite(sigma))
    if edges[-1] - edges[0] < 0.2 or rows.size == 0:  # chosen: over less range a slope with flux is noise
        return 0.0, 1.0
    rows = rows[np.linspace(0, rows.size - 1, min(rows.size, _MEDIAN_ROWS)).astype(int)]
    residual = np.where(lines.good[rows], lines.flux[rows] - reference, np.nan)
    change = np.abs(np.diff(residual, axis=1)) / (sigma[rows, None] * np.sqrt(2.0 * (1.0 - lag1)))
    bins = np.clip(np.searchsorted(edges, level, side="right") - 1, 0, 9)
    design, variance = [], []
    for number in np.unique(bins):
        values = change[:, bins == number]
        values = values[np.isfinite(values)]
        if values.size >= 20:
            design.append((1.0, float(level[bins == number].mean())))
            variance.append(float((MAD_TO_SIGMA * np.median(values)) ** 2))
    if len(design) < 3:
        return 0.0, 1.0
    from scipy.optimize import nnls

    # Relative weights: the scatter of a measured variance is proportional to the variance.
    matrix, target = np.asarray(design), np.asarray(variance)
    solution, _ = nnls(matrix / target[:, None], np.ones(target.size))
    if not solution.sum() > 0:
        return 0.0, 1.0
    return float(solution[0]), float(solution[1])


def mask_spikes(residual: FloatArray, sigma: FloatArray, good: BoolArray) -> BoolArray:
    """Return `good` without pixels that no line of the instrument's resolution can make.

    A pixel deviates by more than 5 sigma while both pixels two steps away show less than a fifth of that: the
    spectrograph spreads even the narrowest line wider. Cosmic rays (up) and dead columns (down) go alike.
    """
    with np.errstate(all="ignore"):
        significance = np.where(good, residual / sigma, 0.0)
    size = np.abs(significance)
    around = np.zeros_like(size)
    signed = np.sign(significance)
    around[:, 2:] = significance[:, :-2] * signed[:, 2:]
    around[:, :-2] = np.maximum(around[:, :-2], significance[:, 2:] * signed[:, :-2])
    spike = (size > _SPIKE) & (around < _NEIGHBOUR * size)
    # The flank of a wide cosmic ray goes with its peak.
    high = size > 3.0
    spike[:, 1:] |= spike[:, :-1] & high[:, 1:]
    spike[:, :-1] |= spike[:, 1:] & high[:, :-1]
    return good & ~spike
