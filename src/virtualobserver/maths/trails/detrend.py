"""What the air and the telescope did to all stars alike, and light curves without it.

Image motion along a trail squeezes and stretches its light: 5 % a column in 0.1 arcsec, many times the photon noise of
a bright star. It is the same for all, at the same time; where each trail has its pixels differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import (
    FLAG_ARCHIVE,
    FLAG_ASTROMETRY,
    FLAG_BACKGROUND,
    FLAG_COSMIC_RAY,
    FLAG_SATURATED,
)
from virtualobserver.errors import DataError
from virtualobserver.maths.trails.planes import LEAST, plane_over
from virtualobserver.maths.trails.published import best_partners
from virtualobserver.maths.trails.references import FEWEST, RISEN, References, median_of_rows
from virtualobserver.maths.trails.samples import TrailSamples

__all__ = ["DETREND_MODES", "Detrended", "detrend", "reference_trails"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
DETREND_MODES: Final = ("median", "pca", "published")
BRIGHT: Final = 20.0
"""S/N of a column of a reference: its own noise is a twentieth, and that of the median of 15 about a fiftieth."""
ALONE: Final = 0.05
"""Light of neighbours over its own that a reference may have: it dilutes what the air does by as much."""
WHOLE: Final = 0.98
"""Of a reference's light whose columns were measured."""
_SPOILT: Final = FLAG_SATURATED | FLAG_COSMIC_RAY | FLAG_ARCHIVE | FLAG_BACKGROUND | FLAG_ASTROMETRY
"""Flags of a sample that is not the light of its star alone, or not all of it."""
_ROUNDS: Final = 2
"""Of scaling and clipping: the second sees what events of others had hidden."""
JUDGES: Final = 4
"""References from which on their scatter about the trend is measured: of fewer, one event is all of it."""
_MOST: Final = 0.5
"""Of trails that must be flat in a column that `published` takes."""
_TOGETHER: Final = float(np.sqrt(2 * np.pi))
"""Widths of a star (sigma) that count as one sample of what it does by itself: the sum of a correlation that both the
image of a star and an event as short have blurred."""
_SUDDEN: Final = 2.0
"""Of its error, by which what stars do by themselves is larger at a time than in all of the exposure, if it counts."""
_FAINT: Final = 1.0
"""S/N of a column, below which no median of a star's light is a scale to divide by."""


@dataclass(frozen=True, eq=False)
class Detrended:
    """Light curves without what is common to all, shape (n, m) as the samples.

    Parameters
    ----------
    trend
        What all stars did at the time and place of each sample, 1 if nothing; NaN where it is unknown.
    relative, relative_error
        Flux over mean, response and trend; NaN where one of them is unknown or the star is too faint for a mean. The
        error holds that of the trend, and by how much references differ from theirs at the time: where nothing was
        divided by, from 1.
    mean
        Electrons/s, shape (n,): the median of what is left of the flat samples.
    n_references
        Of each star, itself not among them, shape (n,).
    detrended
        Whether there were enough; else the trend is 1 and `relative` is the flux over its mean.
    references
        Rows of the reference stars.
    rank
        Components of `pca`, 0 for the median alone.
    radius
        Pixels within which references count most.
    mode
        `median`, `pca`, `published`.
    """

    trend: FloatArray
    relative: FloatArray
    relative_error: FloatArray
    mean: FloatArray
    n_references: IntArray
    detrended: BoolArray
    references: IntArray
    rank: int
    radius: float
    mode: str


def reference_trails(samples: TrailSamples, *, excluded: ArrayLike | None = None) -> IntArray:
    """Return rows of the trails that show what the air did: not saturated, clean, alone, S/N of a column above 20.

    Parameters
    ----------
    samples
        Of a chip.
    excluded
        Shape (n,), True for stars not to be taken, such as variable ones.
    """
    totals = samples.totals
    spoilt = (samples.flags & _SPOILT) != 0
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.where(samples.flat & np.isfinite(samples.flux), samples.flux / samples.flux_error, np.nan)
        good = median_of_rows(snr) > BRIGHT
        good &= (totals.isolation < ALONE) & (totals.covered > WHOLE)
    good &= ~np.any(spoilt & (samples.response > RISEN), axis=1)
    if excluded is not None:
        good &= ~np.asarray(excluded, bool)
    return np.flatnonzero(good)


def detrend(
    samples: TrailSamples,
    *,
    mode: str = "median",
    radius: float | None = None,
    window: ArrayLike | None = None,
    references: ArrayLike | None = None,
    fewest: int = FEWEST,
) -> Detrended:
    """Divide light curves by what all stars have in common.

    References are moved onto the grid of each star by the phase of its samples. The trend of a star is their median,
    weighed by exp(-(r / radius)²) / sigma², the star itself left out, or (`pca`) that of all references times up to
    three weighted principal components of its logarithm (Bailey 2012, PASP 124, 1015), of which the number is that
    which best predicts what was held back, and the coefficients are those of the star.

    Parameters
    ----------
    samples
        Of all stars of a chip.
    mode
        `median`, `pca`, or `published`: each star over the one star whose curve is most like its own, for comparison.
    radius
        Pixels; by default that of `RADII` under which references are predicted best.
    window
        Shape (n, m), True for samples that are kept out of means and coefficients, such as those of an event.
    references
        Rows of the references; `reference_trails` by default.
    fewest
        References without which a star is not detrended; at any time half as many must be there, 3 at least.

    Raises
    ------
    DataError
        If the mode is unknown, or the window has another shape than the samples.
    """
    if mode not in DETREND_MODES:
        msg = f"mode of a detrending must be one of {', '.join(DETREND_MODES)}, not {mode!r}"
        raise DataError(msg)
    kept = np.ones(samples.flux.shape, np.bool_)
    if window is not None:
        if np.shape(window) != kept.shape:
            msg = f"a window has the shape of the samples, {kept.shape}, not {np.shape(window)}"
            raise DataError(msg)
        kept = ~np.asarray(window, bool)
    if mode == "published":
        return _by_the_likest(samples)
    chosen = reference_trails(samples) if references is None else np.asarray(references, np.int64).ravel()
    return _by_what_all_do(samples, kept, mode, radius, chosen, fewest)


# --- inside -----------------------------------------------------------------------------------------------


def _by_what_all_do(  # noqa: PLR0917
    samples: TrailSamples, kept: BoolArray, mode: str, radius: float | None, chosen: IntArray, fewest: int
) -> Detrended:  # fmt: skip
    """Divide each star by what the references do at its times and place, as far as there are enough of them."""
    n = len(samples)
    trend, spread = np.ones(samples.flux.shape), np.zeros(samples.flux.shape)
    count = np.full(n, len(chosen))
    count[chosen] -= 1
    done = (count >= fewest) & np.isfinite(samples.totals.x_start)
    best, rank = np.inf if radius is None else float(radius), 0
    wrong, calm = np.zeros(samples.flux.shape), samples.flux[chosen]
    if done.any():
        common = References(samples, chosen, fewest)
        for _ in range(_ROUNDS):
            common.settle(np.inf if radius is None else best)
        best = common.radius() if radius is None else best
        trend[done], spread[done] = common.medians(np.flatnonzero(done), best)
        if mode == "pca":
            rank = common.add_components(trend, np.flatnonzero(done), kept)
        calm = np.where(np.isfinite(common.relative), calm, np.nan)  # events of references are no error
        base, noise = common.medians(chosen, best)
        base = np.where(done[chosen][:, None], trend[chosen], base)
        if mode == "median":
            tilted = _tilted(samples, chosen, calm, base, noise, np.flatnonzero(done))
            if tilted is not None:
                trend[done] *= 1 + tilted[0]
                spread[done] = np.hypot(spread[done], np.sqrt(tilted[1]) * trend[done])
                base = np.where(done[chosen][:, None], trend[chosen], base)
        wrong[done] = _scatter(samples, chosen, calm, base, noise)
    wrong[~done] = _scatter(samples, chosen, calm, 1.0, 0.0)
    spread = np.hypot(spread, wrong * trend)
    return _divided(samples, kept, trend, spread, count, done, chosen, rank, best, mode)


def _by_the_likest(samples: TrailSamples) -> Detrended:
    """Divide each star by the one with the highest correlation, pixel by pixel and not by time, as published.

    The errors, of which the published program has none, are those of the photons of both stars.
    """
    n = len(samples)
    middle = samples.flat.mean(axis=0) > _MOST if n else np.zeros(samples.flux.shape[1], np.bool_)
    light = np.where(middle & (samples.flux != 0), samples.flux, np.nan)
    mean = median_of_rows(light)
    with np.errstate(divide="ignore", invalid="ignore"):
        curve = light / np.where(mean == 0, np.nan, mean)[:, None]
        own = samples.flux_error / samples.flux
    hit = np.any((samples.totals.mask_counts > 0), axis=1) | np.any(middle & (samples.flags != 0), axis=1)
    partner = best_partners(curve[:, middle], hit)
    found = partner >= 0
    trend = np.where(found[:, None], curve[partner], 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = curve / trend
        error = np.abs(relative) * np.hypot(own, np.where(found[:, None], own[partner], 0.0))
    count = np.full(n, max(int((~hit).sum()) - 1, 0))
    return Detrended(
        trend, relative, error, mean, count, found, np.flatnonzero(~hit), 0, float("inf"), "published"
    )


def _left(
    samples: TrailSamples,
    chosen: IntArray,
    light: FloatArray,
    trend: FloatArray | float,
    error: FloatArray | float,
) -> tuple[FloatArray, FloatArray]:
    """Return what references are off their trends, of 1, and the variance of their noise and that of the trend."""
    with np.errstate(divide="ignore", invalid="ignore"):
        steady = np.where(samples.response[chosen] > RISEN, samples.response[chosen], np.nan) * trend
        level, noise = light / steady, samples.flux_error[chosen] / steady
        scale = median_of_rows(np.where(samples.flat[chosen], level, np.nan))[:, None]
        return level / scale - 1, (noise / scale) ** 2 + (error / trend) ** 2


def _tilted(  # noqa: PLR0917
    samples: TrailSamples,
    chosen: IntArray,
    light: FloatArray,
    trend: FloatArray,
    error: FloatArray,
    rows: IntArray,
) -> tuple[FloatArray, FloatArray] | None:
    """Return how stars differ from the trend of all by where they are on the chip; None if that predicts nothing."""
    totals = samples.totals
    place = np.column_stack([0.5 * (totals.x_start + totals.x_end), 0.5 * (totals.y_start + totals.y_end)])
    if len(chosen) < LEAST:
        return None
    own = np.full(len(samples), -1)
    own[chosen] = np.arange(len(chosen))
    rest, variance = _left(samples, chosen, light, trend, error)
    inner = samples.flat[chosen]
    rest = np.where(inner, rest, np.nan)
    return plane_over(rest, variance, place[chosen], place[rows], own[rows])


def _scatter(
    samples: TrailSamples,
    chosen: IntArray,
    light: FloatArray,
    trend: FloatArray | float,
    error: FloatArray | float,
) -> FloatArray:
    """Return by how much references differ from their trends in each column, beyond their noise, shape (m,).

    Columns of all trails are of the same time to a pixel; image motion lasts as long as the image of a star is.
    """
    from scipy.ndimage import gaussian_filter1d

    if len(chosen) < JUDGES:
        return np.zeros(samples.flux.shape[1])
    off, variance = _left(samples, chosen, light, trend, error)
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = off**2 - variance
        known = np.isfinite(rest) & np.isfinite(variance)
        weight = np.where(known, 1 / variance, 0.0)
    width = samples.profile.sigma
    parts = [part.sum(axis=0) for part in (weight * np.where(known, rest, 0.0), weight, known * 1.0)]
    top, base, count = (gaussian_filter1d(part, width, mode="nearest") for part in parts)
    flat = samples.flat[chosen].any(axis=0)
    whole = parts[0][flat].sum() / parts[1][flat].sum() if parts[1][flat].sum() > 0 else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        now = np.where(base > 0, top / base, 0.0)
        # of squares, each known to its sqrt(2), as many as the smoothing takes together
        error = np.where(base > 0, count / base * np.sqrt(2 / (count * 2 * np.sqrt(np.pi) * width)), 0.0)
    variance = np.maximum(np.where(now > whole + _SUDDEN * error, now, whole), 0.0)
    # it lasts as long as the image of a star is wide, and so do events: samples of one do not average it
    return np.asarray(np.sqrt(variance * max(_TOGETHER * width, 1.0)))


def _divided(  # noqa: PLR0917
    samples: TrailSamples, kept: BoolArray, trend: FloatArray, spread: FloatArray, count: IntArray, done: BoolArray,
    chosen: IntArray, rank: int, radius: float, mode: str,
) -> Detrended:  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        steady = np.where(samples.response > RISEN, samples.response, np.nan) * trend
        level, error = samples.flux / steady, samples.flux_error / steady
        mean = median_of_rows(np.where(samples.flat & kept, level, np.nan))
        typical = median_of_rows(np.where(samples.flat & kept, error, np.nan))
        faint = ~(mean > _FAINT * typical)
        scale = np.where(faint, np.nan, mean)[:, None]
        relative = level / scale
        relative_error = np.hypot(error / scale, relative * spread / trend)
    return Detrended(
        trend, relative, relative_error, mean, count, done, chosen, rank, radius, mode
    )  # fmt: skip
