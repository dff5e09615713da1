"""What stands still taken out of aligned frames: temporal template, star masks, excess noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.errors import DataError

__all__ = [
    "Difference",
    "StarTemplate",
    "measure_template",
    "median_over_frames",
    "subtract_template",
]

_BAND: Final = 32  # rows sorted at once: bounds the memory


@dataclass(frozen=True, eq=False)
class Difference:
    """Frames without what stands still.

    Parameters
    ----------
    science, variance
        Shape (n, ny, nx); NaN in the signal where nothing can be said.
    template
        Median of the frames, shape (ny, nx).
    stars
        Pixels masked for the light of the template, or seen by too few frames, shape (ny, nx).
    """

    science: NDArray[np.float32]
    variance: NDArray[np.float32]
    template: NDArray[np.float32]
    stars: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class StarTemplate:
    """What stands still: its light, the least variance its left-overs ask for, and the pixels masked for it.

    All of shape (ny, nx).
    """

    light: NDArray[np.float32]
    floor: NDArray[np.float32]
    stars: NDArray[np.bool_]

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


def subtract_template(
    science: NDArray[np.floating],
    variance: NDArray[np.floating],
    *,
    threshold: float = 4.0,
    min_frames: int = 3,
    excess: float = 2.0,
) -> Difference:
    """Subtract the median of aligned frames and mask what it shines on.

    Parameters
    ----------
    science, variance : ndarray, shape (n, ny, nx)
        NaN = no data.
    threshold
        Pixels whose median exceeds this many of its errors, ``sqrt(2 V / n)`` for n frames of median variance
        V, are masked in all frames.
    min_frames
        Pixels that fewer frames see are masked.
    excess
        Where the scatter in time is beyond this times the variance, the variance becomes that scatter:
        left-overs of stars then weigh what they are worth.

    Raises
    ------
    DataError
        If the planes differ in shape.
    """
    template = measure_template(science, variance, threshold=threshold, min_frames=min_frames, excess=excess)
    signal = science.astype(np.float32) - template.light
    signal[:, template.stars] = np.nan
    noise = np.maximum(variance.astype(np.float32), template.floor)
    return Difference(signal, noise, template.light, template.stars)


def measure_template(
    science: NDArray[np.floating],
    variance: NDArray[np.floating],
    *,
    threshold: float = 4.0,
    min_frames: int = 3,
    excess: float = 2.0,
) -> StarTemplate:
    """Measure what `subtract_template` takes away; parameters and errors are the same.

    Every pixel is worked out from its own values only, so that a band of rows gives what the whole gives.
    """
    if science.shape != variance.shape or science.ndim != 3:
        msg = f"signal and variance need one shape (n, ny, nx), not {science.shape} and {variance.shape}"
        raise DataError(msg)
    signal, noise = science.astype(np.float32), variance.astype(np.float32)
    light, usual = median_over_frames(signal), median_over_frames(noise)
    count = np.isfinite(signal).sum(axis=0)
    with np.errstate(all="ignore"):
        stars = (light > threshold * np.sqrt(2.0 * usual / count)) | (count < min_frames)
        scatter = (MAD_TO_SIGMA * median_over_frames(np.abs(signal - light))) ** 2
        floor = np.where(scatter > excess * usual, scatter, np.float32(0)).astype(np.float32)
    return StarTemplate(light, floor, stars)
