"""Light curves of all stars of a night, freed of what all of them do together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MAD_TO_SIGMA, MAG_TO_FLUX
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.arrays import Array

__all__ = ["Ensemble", "Transparency", "correct_ensemble", "magnitudes"]

FloatArray = NDArray[np.float64]
CLOUD = 0.5
"""Of the night's median light; thin clouds are corrected, behind thicker ones colours and sky are others. Not tuned."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Corrected light curves.

    Parameters
    ----------
    flux, flux_error
        Corrected, shape (stars, frames), in the unit of the input; the error holds that of the correction.
    correction
        Factor by which all stars of a frame were too bright (transparency), median 1, shape (frames,).
    correction_error
        Relative error of the correction.
    weights
        Share of each star in the correction, sum 1; 0 = not a comparison star.
    scatter
        Robust relative scatter of each star about its median after correction.
    excess
        Relative scatter each star has beyond its errors.
    clouded
        Frames in which most of the light is gone.
    """

    flux: FloatArray
    flux_error: FloatArray
    correction: FloatArray
    correction_error: FloatArray
    weights: FloatArray
    scatter: FloatArray
    excess: FloatArray
    clouded: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Transparency:
    """Factor per frame and its relative error."""

    factor: FloatArray
    error: FloatArray


def correct_ensemble(
    flux: Array,
    flux_error: Array,
    *,
    exclude: Array | None = None,
    most: int = 100,  # chosen: fainter ones add noise and little weight
    fewest: int = 3,  # with two nobody knows which of them varies
    rounds: int = 10,  # chosen: a bound on the time
    clip: float = 4.0,  # of 16,000 good values one is lost
) -> Ensemble:
    """Correct light curves by the mean behaviour of many stars of the same frames.

    Each star is divided by its median, and the weighted mean of the comparison stars in a frame is the frame's
    correction, where a star weighs by its errors and by the scatter it has beyond them, found in turn
    (Broeg et al. 2005, AN 326, 134). No star corrects itself: its own share is taken out of its correction.

    Parameters
    ----------
    flux, flux_error
        Shape (stars, frames), linear; NaN where there is none.
    exclude
        Stars (positions or bool) that may not be comparison stars: variables, saturated ones.
    most
        Comparison stars taken, those with the highest S/N.
    clip
        A star further than this many standard deviations from the others in a frame is left out there.

    Raises
    ------
    DataError
        If the shapes differ.
    NotEnoughData
        If fewer than `fewest` stars are measured in enough of the frames.
    """
    values, errors = np.array(flux, float), np.array(flux_error, float)
    if values.ndim != 2 or errors.shape != values.shape:
        msg = f"flux has shape {values.shape}, its error {errors.shape}; both have to be (stars, frames)"
        raise DataError(msg)
    values[~np.isfinite(values) | ~(errors > 0)] = np.nan
    median, relative, sigma = _relative(values, errors)
    chosen = _comparison(relative, sigma, exclude, most)
    if len(chosen) < fewest:
        msg = f"{len(chosen)} of {len(values)} stars can be compared with, at least {fewest} are needed"
        raise NotEnoughData(msg)
    common, weight, excess = _settle(relative, sigma, chosen, rounds=rounds, clip=clip)
    signal = np.where(weight > 0, relative * weight, 0.0)
    return _corrected((values, errors, median), signal, weight, common, excess)


def magnitudes(flux: FloatArray, flux_error: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return instrumental magnitudes -2.5 log10 flux and their errors; NaN where there is no light."""
    with np.errstate(divide="ignore", invalid="ignore"):
        good = flux > 0
        mag = np.where(good, -2.5 * np.log10(np.where(good, flux, 1.0)), np.nan)
        error = np.where(good, flux_error / np.where(good, flux, 1.0) / MAG_TO_FLUX, np.nan)
    return mag, error


# --- inside -----------------------------------------------------------------------------------------------


def _relative(values: FloatArray, errors: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the median of each star (NaN unless positive), and fluxes and errors over it."""
    with np.errstate(invalid="ignore"):
        median = np.array(
            [np.median(row[~np.isnan(row)]) if (~np.isnan(row)).any() else np.nan for row in values]
        )
        median[~(median > 0)] = np.nan
        return median, values / median[:, None], errors / np.abs(median)[:, None]


def _settle(
    relative: FloatArray, sigma: FloatArray, chosen: NDArray[np.int64], *, rounds: int, clip: float
) -> tuple[Transparency, FloatArray, FloatArray]:
    """Return what all stars do together, the weight of each in it, and the scatter each has beyond its errors."""
    common = _start(relative[chosen])
    excess = _excess(relative / common.factor, sigma)
    weight = np.zeros_like(relative)
    for _ in range(rounds):
        before = common.factor
        weight = _weights((relative, sigma, excess), chosen, common.factor, clip)
        common = _mean(relative, weight)
        excess = _excess(relative / common.factor, sigma)
        if np.nanmax(np.abs(common.factor - before)) < 1e-7:  # far below the error of any mean of stars
            break
    return common, weight, excess


def _comparison(
    relative: FloatArray, sigma: FloatArray, exclude: Array | None, most: int
) -> NDArray[np.int64]:
    allowed = np.isfinite(relative).mean(axis=1) >= 0.8  # chosen: a star that comes and goes moves the mean
    if exclude is not None and len(exclude):
        allowed[np.asarray(exclude)] = False
    noise = np.full(len(relative), np.inf)
    for star in np.flatnonzero(allowed):
        noise[star] = np.median(sigma[star][np.isfinite(relative[star])])
    order = np.argsort(noise, kind="stable")
    return np.asarray(order[np.isfinite(noise[order])][:most])


def _weights(
    stars: tuple[FloatArray, FloatArray, FloatArray],
    chosen: NDArray[np.int64],
    factor: FloatArray,
    clip: float,
) -> FloatArray:
    relative, sigma, excess = stars
    weight = np.zeros_like(relative)
    # 0.1 mmag: that no star weighs without bound
    spread = np.hypot(sigma[chosen], np.maximum(excess[chosen], 1e-4)[:, None])
    with np.errstate(invalid="ignore", divide="ignore"):
        part = 1.0 / spread**2
        away = np.abs(relative[chosen] / factor - 1.0)
    part[~np.isfinite(part) | ~np.isfinite(relative[chosen])] = 0.0
    part[away > clip * spread] = 0.0
    weight[chosen] = part
    return weight


def _start(relative: FloatArray) -> Transparency:
    """Return the median over stars, which no single star can pull."""
    factor = np.full(relative.shape[1], np.nan)
    for frame, column in enumerate(relative.T):
        good = column[np.isfinite(column)]
        if good.size:
            factor[frame] = np.median(good)
    return Transparency(factor / np.nanmedian(factor), np.zeros(len(factor)))


def _mean(relative: FloatArray, weight: FloatArray) -> Transparency:
    total = weight.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = np.where(weight > 0, relative * weight, 0.0).sum(axis=0) / total
        error = 1.0 / np.sqrt(total)
    level = np.nanmedian(factor) if np.isfinite(factor).any() else np.nan
    return Transparency(factor / level, error / level)


def _excess(relative: FloatArray, sigma: FloatArray) -> FloatArray:
    spread = _scatter(relative)
    with np.errstate(invalid="ignore"):
        expected = np.array([np.median(s[~np.isnan(s)]) if (~np.isnan(s)).any() else np.nan for s in sigma])
    found = np.sqrt(np.maximum(spread**2 - expected**2, 0.0))
    return np.asarray(np.nan_to_num(found))


def _scatter(relative: FloatArray) -> FloatArray:
    out = np.full(len(relative), np.nan)
    for number, row in enumerate(relative):
        good = row[np.isfinite(row)]
        if good.size > 1:
            out[number] = MAD_TO_SIGMA * np.median(np.abs(good - np.median(good)))
    return out


def _corrected(
    stars: tuple[FloatArray, FloatArray, FloatArray],
    signal: FloatArray,
    weight: FloatArray,
    common: Transparency,
    excess: FloatArray,
) -> Ensemble:
    """Correct each star by all others: with itself among them its own variation would be lessened."""
    total = weight.sum(axis=0)
    values, errors, median = stars
    level = signal.sum(axis=0) / np.where(total > 0, total, np.nan) / common.factor
    with np.errstate(invalid="ignore", divide="ignore"):
        others = np.where(total - weight > 0, total - weight, np.nan)
        factor = (signal.sum(axis=0) - signal) / others / level
        error = 1.0 / np.sqrt(others) / level
        flux = values / factor
        flux_error = np.hypot(errors / factor, flux * error / factor)
    share = weight.sum(axis=1) / max(weight.sum(), 1e-300)
    scatter = _scatter(flux / median[:, None])
    clouded = ~(common.factor > CLOUD * np.nanmedian(common.factor))
    return Ensemble(flux, flux_error, common.factor, common.error, share, scatter, excess, clouded)
