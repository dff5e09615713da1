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
    FLAG_BACKGROUND,
    FLAG_COSMIC_RAY,
    FLAG_SATURATED,
    MAD_TO_SIGMA,
)
from virtualobserver.errors import DataError
from virtualobserver.maths.trails.align import PHASES, resampled
from virtualobserver.maths.trails.components import fit_components, weighted_components
from virtualobserver.maths.trails.planes import LEAST, plane_over
from virtualobserver.maths.trails.published import best_partners
from virtualobserver.maths.trails.samples import TrailSamples

__all__ = ["DETREND_MODES", "Detrended", "detrend", "reference_trails"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
DETREND_MODES: Final = ("median", "pca", "published")
FEWEST: Final = 15
"""References whose median is better than a third of one of them, and which no event of one star moves."""
LEAST_AT_ONCE: Final = 3
"""References at a time, of which one with an event of its own is not the median; else half of those asked for."""
BRIGHT: Final = 20.0
"""S/N of a column of a reference: its own noise is a twentieth, and that of the median of 15 about a fiftieth."""
ALONE: Final = 0.05
"""Light of neighbours over its own that a reference may have: it dilutes what the air does by as much."""
WHOLE: Final = 0.98
"""Of a reference's light whose columns were measured."""
HEAVIEST: Final = 0.2
"""Of all weights that one reference may have, so that no single star is the trend."""
RADII: Final = (500.0, 1000.0, 2000.0, 4000.0, np.inf)
"""Pixels that are tried for the radius: 2 to 17 arcmin, about the 1 to 2 arcmin in which image motion by the air is
alike, and the whole chip, if it is the telescope that moves."""
RISEN: Final = 0.2
"""Share of a column that a steady star must fill: below, a tenth of a pixel of image motion is a trend of 1.4."""
EVENT: Final = 5.0
"""S/N under the image of a star, from which on samples of a reference are its own affair: one in 2e6 by chance."""
_NEAR: Final = 0.1
"""Of the smoothed mark of an event: what lies within 1.3 widths of its edge goes as well."""
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
    spoilt = (samples.flags & (FLAG_SATURATED | FLAG_COSMIC_RAY | FLAG_ARCHIVE | FLAG_BACKGROUND)) != 0
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.where(samples.flat & np.isfinite(samples.flux), samples.flux / samples.flux_error, np.nan)
        good = _median(snr) > BRIGHT
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
    n = len(samples)
    trend, spread = np.ones(samples.flux.shape), np.zeros(samples.flux.shape)
    count = np.full(n, len(chosen))
    count[chosen] -= 1
    done = (count >= fewest) & np.isfinite(samples.totals.x_start)
    best, rank = np.inf if radius is None else float(radius), 0
    wrong, calm = np.zeros(samples.flux.shape), samples.flux[chosen]
    if done.any():
        common = _Common(samples, chosen, fewest)
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


# --- inside -----------------------------------------------------------------------------------------------


def _median(values: FloatArray) -> FloatArray:
    """Return the medians of rows, NaN of those that have no value."""
    out = np.full(len(values), np.nan)
    some = np.isfinite(values).any(axis=1)
    out[some] = np.nanmedian(values[some], axis=1)
    return out


def _bins(samples: TrailSamples) -> IntArray:
    """Return the phase of each trail in steps; the samples of one begin half a step from it at most."""
    start = samples.along[:, samples.along.shape[1] // 2]
    phase = np.where(np.isfinite(start), start - np.floor(start), 0.0)
    return np.asarray(np.floor(phase * PHASES).astype(int) % PHASES)


def _by_the_likest(samples: TrailSamples) -> Detrended:
    """Divide each star by the one with the highest correlation, pixel by pixel and not by time, as published.

    The errors, of which the published program has none, are those of the photons of both stars.
    """
    n = len(samples)
    middle = samples.flat.mean(axis=0) > _MOST if n else np.zeros(samples.flux.shape[1], np.bool_)
    light = np.where(middle & (samples.flux != 0), samples.flux, np.nan)
    mean = _median(light)
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


class _Common:
    """References on the grids of all phases."""

    def __init__(self, samples: TrailSamples, chosen: IntArray, fewest: int) -> None:
        self.samples, self.chosen = samples, chosen
        self.least = max(min(fewest, FEWEST) // 2, LEAST_AT_ONCE)
        totals = samples.totals
        self.x, self.y = 0.5 * (totals.x_start + totals.x_end), 0.5 * (totals.y_start + totals.y_end)
        light = samples.flux[chosen]
        with np.errstate(divide="ignore", invalid="ignore"):
            self.relative = light / totals.flux[chosen][:, None]
            noise = samples.flux_error[chosen] / totals.flux[chosen][:, None]
        self.noise = np.where(np.isfinite(noise), noise, np.inf)
        flat = np.where(samples.flat[chosen], noise, np.nan)
        self.sigma = np.nan_to_num(_median(flat), nan=np.inf)
        self.bins = _bins(samples)
        middle = samples.along.shape[1] // 2
        self.begin = samples.along[:, middle] - middle
        self._grids: dict[int, tuple[FloatArray, FloatArray]] = {}

    def settle(self, radius: float) -> None:
        """Scale references to their trends, and take from them the samples that differ: they have events, too."""
        from scipy.ndimage import gaussian_filter1d

        samples, chosen = self.samples, self.chosen
        trend, spread = self.medians(chosen, radius)
        with np.errstate(divide="ignore", invalid="ignore"):
            level = samples.flux[chosen] / np.where(
                samples.response[chosen] > RISEN, samples.response[chosen] * trend, np.nan
            )
            scale = _median(np.where(samples.flat[chosen], level, np.nan))[:, None]
            noise = samples.flux_error[chosen] / (scale * samples.response[chosen] * trend)
            pull = (level / scale - 1) / np.hypot(noise, spread)
            known = np.isfinite(pull)
            # what the air leaves in all of them is no event of one
            pull /= np.maximum(MAD_TO_SIGMA * np.nanmedian(np.abs(pull[known])) if known.any() else 1.0, 1.0)
        width = samples.profile.sigma
        top = gaussian_filter1d(np.where(known, pull, 0.0), width, axis=1, mode="constant")
        base = gaussian_filter1d(known * 1.0, width, axis=1, mode="constant")
        # of a sum under a Gaussian, the noise of one over the square root of 2 sqrt(pi) widths
        strength = np.abs(top) * np.sqrt(2 * np.sqrt(np.pi) * width) / np.maximum(base, 0.2)
        event = gaussian_filter1d((strength > EVENT) * 1.0, width, axis=1, mode="constant") > _NEAR
        with np.errstate(divide="ignore", invalid="ignore"):
            self.relative = np.where(event, np.nan, samples.flux[chosen] / scale)
        self._grids.clear()

    def grid(self, bin_: int) -> tuple[FloatArray, FloatArray]:
        """Return references at the samples of trails of a phase, over a steady star, and where those samples are."""
        if bin_ not in self._grids:
            # where the samples of such a trail begin: as those of any, at 2 FWHM before the start and up to 1 pixel on
            first = (bin_ + 0.5) / PHASES
            lowest = np.floor(np.nanmin(self.begin))
            start = lowest + first
            move = start - self.begin[self.chosen]
            moved = resampled(self.relative, move)
            along = start + np.arange(moved.shape[1])
            response = self.response(along)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(response > RISEN, moved / response, np.nan)
            self._grids[bin_] = ratio, along
        return self._grids[bin_]

    def response(self, along: FloatArray) -> FloatArray:
        from virtualobserver.maths.trails.track import line_spread

        length = self.samples.track.length
        return np.asarray(length * line_spread(along, length, self.samples.profile.sigma))

    def on_grid(self, rows: IntArray, bin_: int) -> IntArray:
        """Return by how many whole samples trails of a phase begin after the grid of that phase."""
        _, along = self.grid(bin_)
        return np.asarray(np.rint(self.begin[rows] - along[0]).astype(int))

    def weights(self, rows: IntArray, radius: float) -> FloatArray:
        """Return the weights of references for stars, none of them of the star itself, none more than its share."""
        near = np.ones((len(rows), len(self.chosen)))
        if np.isfinite(radius):
            r2 = (self.x[rows][:, None] - self.x[self.chosen]) ** 2
            r2 += (self.y[rows][:, None] - self.y[self.chosen]) ** 2
            near = np.exp(-r2 / radius**2)
        weight = near / self.sigma**2
        weight[rows[:, None] == self.chosen] = 0.0
        for _ in range(4):
            weight = np.minimum(weight, HEAVIEST * weight.sum(axis=1, keepdims=True))
        total = weight.sum(axis=1, keepdims=True)
        return np.asarray(weight / np.where(total > 0, total, 1.0))

    def medians(self, rows: IntArray, radius: float) -> tuple[FloatArray, FloatArray]:
        """Return the weighted medians of the references, and their errors, at the samples of stars."""
        from virtualobserver.maths.trails.detrend_kernel import weighted_medians

        m = self.samples.flux.shape[1]
        trend, spread = np.full((len(rows), m), np.nan), np.full((len(rows), m), np.nan)
        for bin_ in np.unique(self.bins[rows]):
            here = np.flatnonzero(self.bins[rows] == bin_)
            ratio, _ = self.grid(int(bin_))
            weight = self.weights(rows[here], radius)
            order = np.argsort(ratio, axis=0, kind="stable").T.copy()  # NaN last
            value = np.full((len(here), m), np.nan)
            weighted_medians(ratio, order, weight, self.least, value)
            noise = np.sqrt(0.5 * np.pi * np.sum(weight**2 * np.minimum(self.sigma, 1.0) ** 2, axis=1))
            shift = self.on_grid(rows[here], int(bin_))
            trend[here] = _shifted(value, shift)
            spread[here] = np.where(np.isfinite(trend[here]), noise[:, None], np.nan)
        return trend, spread

    def radius(self) -> float:
        """Return the radius under which references are predicted best."""
        best, least = np.inf, np.inf
        samples = self.samples
        light = samples.flux[self.chosen] / samples.totals.flux[self.chosen][:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            light = np.where(samples.flat[self.chosen], light / samples.response[self.chosen], np.nan)
        for radius in RADII[::-1]:
            if np.isfinite(radius) and radius > 4 * max(
                np.ptp(self.x[self.chosen]), np.ptp(self.y[self.chosen])
            ):
                continue
            weight = self.weights(self.chosen, radius)
            if np.min(1 / np.sum(weight**2, axis=1)) < 4:  # next to nobody is near
                continue
            trend, _ = self.medians(self.chosen, radius)
            off = (light - trend) / self.sigma[:, None]
            score = float(np.nanmean(np.minimum(off**2, 25.0)))
            if score < 0.99 * least:
                best, least = radius, score
        return best

    def add_components(self, trend: FloatArray, rows: IntArray, kept: BoolArray) -> int:
        """Multiply trends by the components that the star itself shows; return how many there are."""
        ratio, along = self.grid(PHASES // 2)
        inner = (along > 0) & (along < self.samples.track.length)
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(np.where(ratio > 0, ratio, np.nan))[:, inner]
            weight = np.where(np.isfinite(logs), 1 / self.sigma[:, None] ** 2, 0.0)
        components = weighted_components(np.nan_to_num(logs), weight)
        if not len(components.vectors):
            return 0
        for row in rows:
            at = self.samples.along[row]
            own = np.flatnonzero(self.chosen == row)
            vectors = components.without(int(own[0])) if len(own) else components.vectors
            basis = np.stack([np.interp(at, along[inner], one, left=np.nan, right=np.nan) for one in vectors])
            with np.errstate(divide="ignore", invalid="ignore"):
                level = self.samples.flux[row] / (self.samples.response[row] * trend[row])
                scale = (
                    np.nanmedian(level[self.samples.flat[row]])
                    if np.isfinite(level[self.samples.flat[row]]).any()
                    else np.nan
                )
                error = self.samples.flux_error[row] / (scale * self.samples.response[row] * trend[row])
                rest = level / scale - 1
            use = kept[row] & self.samples.flat[row] & np.isfinite(rest) & np.isfinite(basis).all(axis=0)
            if not scale > 0 or use.sum() < 2 * len(vectors) + 2:
                continue
            factors = fit_components(basis[:, use], rest[use], error[use])
            gain = np.exp(factors @ np.nan_to_num(basis))
            trend[row] *= gain
        return len(components.vectors)


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
        scale = _median(np.where(samples.flat[chosen], level, np.nan))[:, None]
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


def _shifted(values: FloatArray, shift: IntArray) -> FloatArray:
    """Return rows moved by whole samples, NaN where there is nothing."""
    m = values.shape[1]
    at = np.arange(m)[None, :] + shift[:, None]
    inside = (at >= 0) & (at < m)
    return np.where(inside, np.take_along_axis(values, np.clip(at, 0, m - 1), axis=1), np.nan)


def _divided(  # noqa: PLR0917
    samples: TrailSamples, kept: BoolArray, trend: FloatArray, spread: FloatArray, count: IntArray, done: BoolArray,
    chosen: IntArray, rank: int, radius: float, mode: str,
) -> Detrended:  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        steady = np.where(samples.response > RISEN, samples.response, np.nan) * trend
        level, error = samples.flux / steady, samples.flux_error / steady
        mean = _median(np.where(samples.flat & kept, level, np.nan))
        typical = _median(np.where(samples.flat & kept, error, np.nan))
        faint = ~(mean > _FAINT * typical)
        scale = np.where(faint, np.nan, mean)[:, None]
        relative = level / scale
        relative_error = np.hypot(error / scale, relative * spread / trend)
    return Detrended(
        trend, relative, relative_error, mean, count, done, chosen, rank, radius, mode
    )  # fmt: skip
