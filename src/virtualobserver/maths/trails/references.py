"""Reference stars of a chip on one grid of time: what they do together, at the samples of any other star."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.maths.trails.align import PHASES, resampled
from virtualobserver.maths.trails.components import fit_components, weighted_components
from virtualobserver.maths.trails.samples import TrailSamples

__all__ = ["FEWEST", "RISEN", "References", "median_of_rows"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
FEWEST: Final = 15
"""References whose median is better than a third of one of them, and which no event of one star moves."""
LEAST_AT_ONCE: Final = 3
"""References at a time, of which one with an event of its own is not the median; else half of those asked for."""
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


def median_of_rows(values: FloatArray) -> FloatArray:
    """Return the medians of rows, NaN of those that have no value."""
    out = np.full(len(values), np.nan)
    some = np.isfinite(values).any(axis=1)
    out[some] = np.nanmedian(values[some], axis=1)
    return out


class References:
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
        self.sigma = np.nan_to_num(median_of_rows(flat), nan=np.inf)
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
            scale = median_of_rows(np.where(samples.flat[chosen], level, np.nan))[:, None]
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
        """Return the share of a column that a steady star fills."""
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


# --- inside -----------------------------------------------------------------------------------------------


def _bins(samples: TrailSamples) -> IntArray:
    """Return the phase of each trail in steps; the samples of one begin half a step from it at most."""
    start = samples.along[:, samples.along.shape[1] // 2]
    phase = np.where(np.isfinite(start), start - np.floor(start), 0.0)
    return np.asarray(np.floor(phase * PHASES).astype(int) % PHASES)


def _shifted(values: FloatArray, shift: IntArray) -> FloatArray:
    """Return rows moved by whole samples, NaN where there is nothing."""
    m = values.shape[1]
    at = np.arange(m)[None, :] + shift[:, None]
    inside = (at >= 0) & (at < m)
    return np.where(inside, np.take_along_axis(values, np.clip(at, 0, m - 1), axis=1), np.nan)
