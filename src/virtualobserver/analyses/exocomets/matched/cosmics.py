"""Hits of cosmic rays: they go up, and they are as narrow as a few pixels of the detector."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.lines import LineSpectra, NoiseModel

__all__ = ["without_hits"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_CHUNK: Final = 256
"""Spectra at a time; bounds the memory of stars with thousands of them."""
_WIDEST: Final = 5
"""Pixels of a hit: three of the detector, of 0.7 to 0.9 km/s, and what rebinning to 0.75 km/s adds on both sides."""
_AWAY: Final = (4, 8)
"""Pixels from the middle of a hit where there is nothing left of it: what is higher there than here by less than a
third belongs to something wider."""
_SIGMA: Final = 5.0
"""Standard deviations of the sum over a hit's pixels; noise makes one in a star's million pixels."""
_LEFT: Final = 0.35
"""Of the height, beside a hit."""
_MOST: Final = 5.0
"""Hits per spectrum; with more it is the star's narrow lines that move."""
_AGAIN: Final = 3
"""Hits on one pixel of a star's spectra; of 200 spectra with a hit each one pixel in a thousand has so many."""


def without_hits(lines: LineSpectra, noise: NoiseModel, middle: FloatArray) -> LineSpectra:
    """Return the spectra without the pixels that hits have lifted.

    No comet goes up, so what is lost is at most evidence for activity, which is never as narrow; absorption is left
    alone. Pixels that are high again and again are the star's, and a star of which that holds in most places is left
    as it is.

    Parameters
    ----------
    middle
        Spectrum that each is compared with, shape (m,).
    """
    root = np.sqrt(np.clip(noise.constant + noise.slope * np.clip(middle, 0.0, None), 1e-3, None))
    hit = np.zeros(lines.flux.shape, dtype=bool)
    for start in range(0, len(hit), _CHUNK):
        rows = slice(start, min(start + _CHUNK, len(hit)))
        sigma = noise.sigma[rows, None] * root
        height = np.where(lines.good[rows] & np.isfinite(sigma), (lines.flux[rows] - middle) / sigma, 0.0)
        hit[rows] = _lifted(height, noise.lag1)
    often = np.convolve(hit.sum(axis=0), np.ones(3, np.int64), mode="same") >= max(
        _AGAIN * _WIDEST, 0.2 * len(hit) * _WIDEST
    )
    hit &= ~often
    begins = np.count_nonzero(hit[:, 1:] & ~hit[:, :-1])
    if begins > _MOST * max(int(np.count_nonzero(lines.usable)), 1):
        return lines
    good = lines.good & ~hit
    return LineSpectra(
        lines.velocity, np.where(good, lines.flux, np.float32(0)), good, lines.usable, lines.rest
    )


def _lifted(height: FloatArray, lag1: float) -> BoolArray:
    """Return the pixels of narrow peaks; `height` is in standard deviations, shape (k, m)."""
    # Most spectra have none: only the few places with a high pixel are looked at.
    rows, pixels = np.nonzero(height > 0.5 * _SIGMA)
    hit = np.zeros(height.shape, dtype=bool)
    if rows.size == 0:
        return hit
    far = _AWAY[1]
    padded = np.pad(height, ((0, 0), (far, far)), mode="edge")
    around = padded[rows[:, None], pixels[:, None] + np.arange(2 * far + 1)]
    beside = [np.median(around[:, part], axis=1) for part in (slice(0, far - 3), slice(far + 4, None))]
    base = 0.5 * (beside[0] + beside[1])
    lifted = around - base[:, None]
    sums = np.concatenate([np.zeros((rows.size, 1)), np.cumsum(lifted, axis=1)], axis=1)
    narrow = np.zeros(rows.size, dtype=bool)
    for wide in range(1, _WIDEST + 1):
        # Boxes that hold the pixel in the middle of the window.
        for first in range(far - wide + 1, far + 1):
            mean = (sums[:, first + wide] - sums[:, first]) / wide
            error = np.sqrt((1.0 + 2.0 * lag1 * (wide - 1) / wide) / wide)
            flanks = np.maximum(beside[0], beside[1]) - base
            narrow |= (mean > _SIGMA * error) & (flanks < _LEFT * mean)
    rows, pixels = rows[narrow], pixels[narrow]
    for step in (-1, 0, 1):
        hit[rows, np.clip(pixels + step, 0, height.shape[1] - 1)] = True
    return hit
