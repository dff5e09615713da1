"""What stands still taken out of aligned frames: temporal template, star masks, excess noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.errors import DataError

__all__ = [
    "StarTemplate",
    "measure_template",
    "median_over_frames",
]

_BAND: Final = 32  # rows sorted at once: bounds the memory
_DEEPEST: Final = 32
"""Frames, beyond which the template shows wings that are fainter than the noise of a frame."""
_CLIP: Final = 4.0
"""Standard deviations about the median, within which frames make up their mean: no cosmic ray, all of the noise."""


@dataclass(frozen=True, eq=False)
class StarTemplate:
    """What stands still: its light, the least variance its left-overs ask for, and the pixels masked for it.

    All of shape (ny, nx). ``lift`` is by how much the mean of the frames lies above their median where there are no
    stars, and ``number`` of how many pixels it is the mean.
    """

    light: NDArray[np.float32]
    floor: NDArray[np.float32]
    stars: NDArray[np.bool_]
    lift: float = 0.0
    number: int = 0

    def clean(
        self, science: NDArray[np.float32], variance: NDArray[np.float32], box: tuple[slice, slice]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Take it out of a box of a frame."""
        signal = np.where(self.stars[box], np.float32(np.nan), science - self.light[box])
        return signal, np.maximum(variance, self.floor[box])


def median_over_frames(planes: NDArray[np.floating]) -> NDArray[np.float32]:
    """Median along the first axis of what is not NaN; NaN where nothing is."""
    result = np.empty(planes.shape[1:], dtype=np.float32)
    for first in range(0, planes.shape[1], _BAND):
        rows = np.sort(planes[:, first : first + _BAND].astype(np.float32), axis=0)  # NaN at the end
        count = np.isfinite(rows).sum(axis=0)[None]
        low, high = (
            np.take_along_axis(rows, np.maximum(place, 0), axis=0)[0]
            for place in ((count - 1) // 2, np.minimum(count // 2, len(planes) - 1))
        )
        middle = np.where(count[0] % 2 == 0, 0.5 * (low + high), low)
        result[first : first + _BAND] = np.where(count[0] > 0, middle, np.nan)
    return result


def measure_template(
    science: NDArray[np.floating],
    variance: NDArray[np.floating],
    *,
    threshold: float = 4.0,
    min_frames: int = 3,  # the median of two is their mean, which a mover is part of
    excess: float = 2.0,
) -> StarTemplate:
    """Measure what stands still in aligned frames: their median, and what it shines on.

    The noise of photons is skew, so that frames less their median have a mean above zero, which adds up over many:
    ``lift``, the same for all pixels under one sky. A mean in place of the median would take more of a slow mover.

    Parameters
    ----------
    science, variance : ndarray, shape (n, ny, nx)
        NaN = no data.
    threshold
        Pixels whose light exceeds this many errors of a median, ``sqrt(2 V / n)`` for n frames of median variance
        V, are masked in all frames. More than 32 frames count as 32: wings that are fainter than the noise of a
        frame do not change with the seeing by what a search would see, and there are many of them.
    min_frames
        Pixels that fewer frames see are masked.
    excess
        Where the scatter in time is beyond this times the variance, the variance becomes that scatter:
        left-overs of stars then weigh what they are worth.

    Raises
    ------
    DataError
        If the planes differ in shape.

    Notes
    -----
    Every pixel is worked out from its own values only, so that a band of rows gives what the whole gives.
    """
    if science.shape != variance.shape or science.ndim != 3:
        msg = f"signal and variance need one shape (n, ny, nx), not {science.shape} and {variance.shape}"
        raise DataError(msg)
    signal, noise = science.astype(np.float32), variance.astype(np.float32)
    middle, usual = median_over_frames(signal), median_over_frames(noise)
    count = np.isfinite(signal).sum(axis=0)
    with np.errstate(all="ignore"):
        scatter = (MAD_TO_SIGMA * median_over_frames(np.abs(signal - middle))) ** 2
        stars = (middle > threshold * np.sqrt(2.0 * usual / np.minimum(count, _DEEPEST))) | (
            count < min_frames
        )
        floor = np.where(scatter > excess * usual, scatter, np.float32(0)).astype(np.float32)
        lift = _clipped_mean(signal, middle, _CLIP * np.sqrt(np.maximum(scatter, usual))) - middle
    open_sky = lift[~stars & np.isfinite(lift)]
    total = float(open_sky.sum(dtype=np.float64))
    return StarTemplate(middle, floor, stars, total / max(open_sky.size, 1), open_sky.size)


def _clipped_mean(
    signal: NDArray[np.float32], middle: NDArray[np.float32], reach: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the mean of what lies within `reach` of the median; NaN where nothing is."""
    total = np.zeros(middle.shape)
    number = np.zeros(middle.shape)
    for plane in signal:
        near = np.abs(plane - middle) <= reach
        total += np.where(near, plane, np.float32(0))
        number += near
    return np.where(number > 0, total / number, np.nan).astype(np.float32)
