"""Whether calibrated frames scatter as their variance planes say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, uniform_filter

from virtualobserver.conventions import MAD_TO_SIGMA, MASK_HOT, MASK_UNSTABLE
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.arrays import Array

__all__ = ["NoiseCheck", "Planes", "check_noise"]

FloatArray = NDArray[np.float64]
Planes = tuple[Array, Array, Array]
LEAST_PIXELS = 50
"""Fewest differences of which a robust scatter is told: good to 16 %."""
MOST_PIXELS = 1_000_000
"""Of a pair of frames, taken in equal steps: so many tell a variance to 0.14 %, the root of two over their number."""
SMOOTH = 5
"""Side of the box (pixels) that brings out stars; chosen, not measured."""
STAR_SIGMA = 4.0
"""Of the smoothed frame; chance takes one pixel in 30,000 for a star."""
REACH = 15
"""Width of the box (pixels) around a star that is left out: its wings, and where it drifts to."""


@dataclass(frozen=True, eq=False)
class NoiseCheck:
    """Scatter between frames beside that of their variance planes.

    Parameters
    ----------
    expected, measured, error
        For pixels sorted into bins of expected noise: mean of the expected, robust scatter measured, and the
        statistical error of it; e- of one frame.
    ratio
        Robust variance of difference / expected noise over all good pixels; 1 if the variances are right.
    pulls
        Counts of difference / expected noise from -5 to 5 in equal steps.
    pixels, pairs
        Differences used, and pairs of frames.
    """

    expected: FloatArray
    measured: FloatArray
    error: FloatArray
    ratio: float
    pulls: NDArray[np.int64]
    pixels: int
    pairs: int


def check_noise(frames: Iterable[Planes], *, bins: int = 12, steps: int = 100) -> NoiseCheck:
    """Compare each frame with the next, pixel by pixel of the detector, where there are no stars.

    Hot pixels are used as well: their dark current is noise that the variance has to know.

    Parameters
    ----------
    frames
        ``(data, variance, mask)`` of each, shape (ny, nx), e- and e- squared; two at a time are held.
    bins
        Bins of expected noise, of equal width in its logarithm.
    steps
        Steps of `NoiseCheck.pulls`.

    Raises
    ------
    NotEnoughData
        If there are not two frames, or too few pixels without stars.
    DataError
        If the frames differ in shape.
    """
    difference, noise, pairs = [], [], 0
    for one, other in pairwise(frames):
        if len({np.shape(plane) for plane in (*one, *other)}) != 1:
            msg = f"frames of shapes {np.shape(one[0])} and {np.shape(other[0])} cannot be compared"
            raise DataError(msg)
        good = np.flatnonzero(_usable(one) & _usable(other))
        good = good[:: len(good) // MOST_PIXELS + 1]
        change = (np.ravel(one[0])[good] - np.ravel(other[0])[good]).astype(np.float64)
        difference.append(change - (np.median(change) if change.size else 0.0))
        noise.append(np.sqrt((np.ravel(one[1])[good] + np.ravel(other[1])[good]).astype(np.float64)))
        pairs += 1
    if not pairs:
        msg = "a single frame shows no scatter; two are needed"
        raise NotEnoughData(msg)
    changes, expected = np.concatenate(difference), np.concatenate(noise)
    if changes.size < LEAST_PIXELS:
        msg = f"{changes.size} pixels without stars are too few to measure the noise"
        raise NotEnoughData(msg)
    pulls = changes / expected
    counts, _ = np.histogram(pulls, bins=steps, range=(-5, 5))
    middle, measured, error = _binned(changes / np.sqrt(2), expected / np.sqrt(2), bins)
    return NoiseCheck(middle, measured, error, _spread(pulls) ** 2, counts, changes.size, pairs)


def _usable(frame: Planes) -> NDArray[np.bool_]:
    """Return the pixels that are good or only hot, and away from stars."""
    data, variance, mask = frame
    allowed = ~(np.asarray(mask) & ~np.asarray(MASK_HOT | MASK_UNSTABLE, np.asarray(mask).dtype)).astype(bool)
    clean = (np.asarray(mask) == 0) & np.isfinite(data) & (np.asarray(variance) > 0)
    # in units of the noise: in noisy parts of the frame chance must not look like stars
    snr = np.zeros(np.shape(data))
    snr[clean] = (data[clean] - np.median(data[clean])) / np.sqrt(variance[clean]) if clean.any() else 0.0
    smooth = uniform_filter(snr, SMOOTH)
    level = np.median(smooth)
    spread = MAD_TO_SIGMA * np.median(np.abs(smooth - level))
    star = maximum_filter(smooth > level + STAR_SIGMA * spread, REACH)
    return np.asarray(allowed & ~star & np.isfinite(data) & (np.asarray(variance) > 0))


def _binned(
    changes: FloatArray, expected: FloatArray, bins: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    edges = np.geomspace(expected.min(), expected.max() * (1 + 1e-9), bins + 1)
    number = np.clip(np.searchsorted(edges, expected, side="right") - 1, 0, bins - 1)
    rows = []
    for one in range(bins):
        here = number == one
        count = int(here.sum())
        if count >= LEAST_PIXELS:
            spread = _spread(changes[here])
            # the MAD of normal values has 37 % of the efficiency of the standard deviation
            rows.append(
                (float(np.sqrt(np.mean(expected[here] ** 2))), spread, spread / np.sqrt(2 * 0.37 * count))
            )
    found = np.array(rows).reshape(-1, 3)
    return found[:, 0], found[:, 1], found[:, 2]


def _spread(values: FloatArray) -> float:
    return float(MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))
