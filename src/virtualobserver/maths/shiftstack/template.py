"""What stands still taken out of aligned frames: temporal template, star masks, excess noise.

A template of frames holds the light of what stands still, the noise of a median, and a part of every slow mover. Taken
away as it is, it takes a tenth of the likelihood of movers that go forty pixels. So it is taken away pixel by pixel
only where it shows that something stands there, and smoothed over many pixels elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.errors import DataError

__all__ = [
    "SMOOTH",
    "StarTemplate",
    "measure_template",
    "median_over_frames",
    "quieted",
]

_BAND: Final = 32  # rows sorted at once: bounds the memory
_DEEPEST: Final = 32
"""Frames, beyond which the template shows wings that are fainter than the noise of a frame."""
_CLIP: Final = 4.0
"""Standard deviations about the median, within which frames make up their mean: no cosmic ray, all of the noise."""
SMOOTH: Final = 6.0
"""Widths of a star (standard deviations) over which the template is smoothed where nothing stands: of a mover less than
a twentieth is left in it, and it follows what the sky in boxes does not."""
_SCALES: Final = (1.0, 2.0)
"""Widths of a star at which something is looked for that stands above what is smooth: stars, and what is about them."""
_STANDS: Final = 3.0
"""Standard deviations from which something stands there. A star that is just missed has the light of a mover with a
likelihood of 2, and a path is on it for a part of the night."""
_SPAN: Final = 4.0
"""Standard deviations as far as which is smoothed."""
_LEAST_SEEN: Final = 0.05
"""Of a Gaussian, the part that has to have data, so that something is said of its middle."""
_WHOLE: Final = 255
"""Of a share that is kept in a byte."""


@dataclass(frozen=True, eq=False)
class StarTemplate:
    """What stands still: its light, the least variance its left-overs ask for, and the pixels masked for it.

    All of shape (ny, nx). ``lift`` is by how much the mean of the frames lies above their median where there are no
    stars, and ``number`` of how many pixels it is the mean. ``error`` is that of the median, and ``held`` how much of
    it was taken pixel by pixel, from 0 to 255, nowhere less than ``least``; None = all of it.
    """

    light: NDArray[np.float32]
    floor: NDArray[np.float32]
    stars: NDArray[np.bool_]
    lift: float = 0.0
    number: int = 0
    least: float = 0.0
    error: NDArray[np.float32] | None = None
    held: NDArray[np.uint8] | None = None

    def share(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what part of the template was taken pixel by pixel at places on the grid, from 0 to 1."""
        if self.held is None:
            return np.ones(len(x))
        ny, nx = self.held.shape
        column, row = (
            np.clip(np.floor(part + 0.5).astype(np.int64), 0, size - 1) for part, size in ((x, nx), (y, ny))
        )
        return self.held[row, column] / _WHOLE

    def clean(
        self,
        science: NDArray[np.float32],
        variance: NDArray[np.float32],
        box: tuple[slice, slice],
        *,
        photons: float = 0.0,
        air: float = 1.0,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Take it out of a box of a frame.

        Parameters
        ----------
        photons
            Variance that a unit of light brings with it.
        air
            How much of its light the frame shows.
        """
        light = np.float32(air) * self.light[box]
        signal = np.where(self.stars[box], np.float32(np.nan), science - light)
        with np.errstate(invalid="ignore"):
            noise = variance + np.float32(photons) * np.maximum(light, np.float32(0))
        return signal, np.maximum(noise, self.floor[box])


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
    threshold: float = 4.0,  # chosen: of 30,000 normal pixels one
    min_frames: int = 3,  # the median of two is their mean, which a mover is part of
    excess: float = 2.0,  # chosen: the scatter of few frames alone seldom reaches it
    mean: bool = False,
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
    mean
        Take the mean of what lies within four standard deviations of the median: it has two thirds of the variance of
        a median, and is for frames in which no mover is left to be followed.

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
    # of a median of n normal values; the term of pi makes it good for few
    error = np.sqrt(0.5 * np.pi * usual / (np.maximum(count, 1) + 0.5 * np.pi - 1)).astype(np.float32)
    if mean:
        error = np.sqrt(usual / np.maximum(count, 1)).astype(np.float32)
        return StarTemplate(middle + lift, floor, stars, error=error)
    return StarTemplate(middle, floor, stars, total / max(open_sky.size, 1), open_sky.size, error=error)


def quieted(
    template: StarTemplate, width: float, *, least: float | None = None, rows: int = 256
) -> StarTemplate:
    """Return a template that is smooth where nothing stands, and as it was where something does.

    Where its scatter over the sky is more than that of a median, as by flats that do not fit, it keeps a part of itself
    everywhere: the part of that scatter which is no noise.

    Parameters
    ----------
    template
        With its ``error``.
    width
        Standard deviation of the profile of stars, pixels.
    least
        The part that is kept everywhere, where it is known from a larger field.
    rows
        Worked on at a time, which bounds the memory.
    """
    light, error, stars = template.light, template.error, template.stars
    if error is None:
        return template
    margin = int(np.ceil(_SPAN * width * (2 * SMOOTH + max(_SCALES)))) + 8
    ny = len(light)

    def bands() -> Iterator[tuple[slice, slice, slice]]:
        for first in range(0, ny, rows):
            low, high = max(first - margin, 0), min(first + rows + margin, ny)
            last = min(first + rows, ny)
            yield slice(low, high), slice(first, last), slice(first - low, last - low)

    if least is None:
        pulls = [
            _pull(_above(light[wide], stars[wide], width), error[wide], stars[wide], width)[inner]
            for wide, _, inner in bands()
        ]
        pull = np.concatenate([one[np.isfinite(one)] for one in pulls])
        scatter = (MAD_TO_SIGMA * float(np.median(np.abs(pull)))) ** 2 if pull.size else 1.0
        # two digits, however the rows were cut
        least = float(f"{1.0 - 1.0 / max(scatter, 1.0):.2f}")
    smooth, held = np.empty_like(light), np.empty(light.shape, np.uint8)
    for wide, here, inner in bands():
        kept, flat = _kept(light[wide], error[wide], stars[wide], width, least)
        held[here] = np.rint(_WHOLE * kept[inner])
        part = held[here] / np.float32(_WHOLE)
        with np.errstate(invalid="ignore"):
            smooth[here] = part * light[here] + (1 - part) * flat[inner]
    smooth[~np.isfinite(light)] = np.nan
    return replace(template, light=smooth, held=held, least=least, error=None)


def _kept(
    light: NDArray[np.float32],
    error: NDArray[np.float32],
    stars: NDArray[np.bool_],
    width: float,
    least: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how much of the template is taken pixel by pixel, and the smooth one of where nothing stands."""
    stands = stars.copy()
    above = _above(light, stars, width)
    for scale in _SCALES:
        pull = _pull(above, error, stars, width * scale)
        with np.errstate(invalid="ignore"):
            stands |= maximum_filter(np.abs(pull) > _STANDS, size=2 * int(np.ceil(width)) + 1)
    flat = _smoothed(light, ~stands & np.isfinite(light), SMOOTH * width)
    # where everything about stands, there is nothing to be smooth
    stands |= ~np.isfinite(flat)
    kept = np.maximum(
        gaussian_filter(stands.astype(np.float32), 0.5 * width, truncate=_SPAN, mode="nearest"), least
    )
    kept[stands] = 1.0
    return kept.astype(np.float32), np.nan_to_num(flat)


def _pull(
    light: NDArray[np.float32], error: NDArray[np.float32], stars: NDArray[np.bool_], width: float
) -> NDArray[np.float32]:
    """Return the light about each pixel over its error, smoothed by a Gaussian; NaN where there are only stars."""
    good = ~stars & np.isfinite(light) & np.isfinite(error)
    with np.errstate(all="ignore"):
        ratio = np.where(good, light / error, np.float32(0))
    share = gaussian_filter(good.astype(np.float32), width, truncate=_SPAN, mode="constant")
    total = gaussian_filter(ratio, width, truncate=_SPAN, mode="constant")
    with np.errstate(all="ignore"):
        # of the part of the Gaussian that has data
        pull = total / np.sqrt(share) * np.float32(2 * np.sqrt(np.pi) * width)
    return np.where(share > _LEAST_SEEN, pull, np.float32(np.nan)).astype(np.float32)


def _above(light: NDArray[np.float32], stars: NDArray[np.bool_], width: float) -> NDArray[np.float32]:
    """Return the light less what is smooth of it."""
    return np.asarray(light - _smoothed(light, ~stars & np.isfinite(light), SMOOTH * width))


def _smoothed(light: NDArray[np.float32], good: NDArray[np.bool_], width: float) -> NDArray[np.float32]:
    share = gaussian_filter(good.astype(np.float32), width, truncate=_SPAN, mode="constant")
    total = gaussian_filter(np.where(good, light, np.float32(0)), width, truncate=_SPAN, mode="constant")
    with np.errstate(all="ignore"):
        return np.where(share > _LEAST_SEEN, total / share, np.float32(np.nan)).astype(np.float32)


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
