"""Masks of bad pixels: hot and unstable ones from darks, dead ones from flats, lasting ones from the sky."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import (
    MAD_TO_SIGMA,
    MASK_BAD,
    MASK_HALO,
    MASK_HOT,
    MASK_LOW_FLAT,
    MASK_NAMES,
    MASK_UNSTABLE,
)
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.ccd.combine import Sections
from virtualobserver.maths.ccd.masters import Master
from virtualobserver.maths.ccd.windows import grid_scatter, window_median, window_scatter

__all__ = [
    "HotPixels",
    "count_bits",
    "flat_mask",
    "halo_mask",
    "hot_pixels",
    "lasting_pixels",
    "ratio_flat",
    "unstable_pixels",
]

FloatPlane = NDArray[np.float32]
MaskPlane = NDArray[np.uint16]
SAFETY = 0.5
"""Part of the limit from the grid above which a pixel is measured exactly: the windows of a pixel and of its point of
the grid share most of their pixels, so no scatter is expected to be less than half the other. Chosen, not tuned."""
GRID = 4
"""Pixels from one point of the grid to the next: windows of 15 x 15 pixels, at most 3 off along each axis, share 64 %
or more. Chosen, not tuned."""
BAND_CELLS = 1 << 22
"""Most values of a band of darks: 100 MB at `UNSTABLE_BYTES` each. Chosen, not tuned."""
UNSTABLE_BYTES = 24
"""Values, distances, their sorted copy and indices, per value of a band of darks."""


@dataclass(frozen=True, eq=False)
class HotPixels:
    """Hot pixels of a dark.

    Parameters
    ----------
    mask
        ``MASK_HOT`` where hot, and ``MASK_BAD`` where far below, uint16.
    median, sigma
        Median of the dark and 1.4826 MAD (ADU).
    """

    mask: MaskPlane
    median: float
    sigma: float


def hot_pixels(dark: Array, *, sigma: float = 5.0, minimum: float = 0.5) -> HotPixels:
    """Find pixels of a master dark above its median by `sigma` robust standard deviations.

    Those as far below it are dead or badly read, and get ``MASK_BAD``.

    Five deviations pass about one of 4 million pixels by chance.

    Parameters
    ----------
    dark
        ADU, shape (ny, nx).
    minimum
        Least standard deviation (ADU): that of whole numbers may be 0.
    """
    values = np.asarray(dark)
    finite = np.isfinite(values)
    median = float(np.median(values[finite])) if finite.any() else 0.0
    spread = MAD_TO_SIGMA * float(np.median(np.abs(values[finite] - median))) if finite.any() else 0.0
    spread = max(spread, minimum)
    mask = np.where(values > median + sigma * spread, MASK_HOT, 0)
    mask |= np.where(~finite | (values < median - sigma * spread), MASK_BAD, 0)
    return HotPixels(mask.astype(np.uint16), median, spread)


def unstable_pixels(
    # chosen: far above what the scatter of a few normal values scatters by
    frames: Sequence[Sections],
    *,
    factor: float = 5.0,
    memory_limit: float = 1e9,
) -> MaskPlane:
    """Find pixels whose scatter over darks is more than `factor` times the median scatter.

    One outlier (a cosmic ray) does not make a pixel unstable: the value furthest from the median is left out.
    Frames are first taken to one level. With fewer than 4 frames nothing can be said, and nothing is flagged.

    Parameters
    ----------
    memory_limit
        Bytes that may be in use, whatever the number of frames.

    Raises
    ------
    DataError
        If `memory_limit` does not hold the result and one row of the frames.
    """
    shape = tuple(frames[0].shape) if frames else (0, 0)
    if len(frames) < 4:
        return np.zeros(shape, np.uint16)
    row = len(frames) * shape[1] * UNSTABLE_BYTES
    height = int((memory_limit - shape[0] * shape[1] * 8) // row)
    if height < 1:
        msg = (
            f"memory_limit of {memory_limit:.3g} bytes does not hold the scatter of {shape[0]} x {shape[1]} pixels"
            f" and one row of {len(frames)} darks: at least {shape[0] * shape[1] * 8 + row:.3g} are needed"
        )
        raise DataError(msg)
    height = min(height, max(BAND_CELLS // (len(frames) * shape[1]), 1))
    levels = [_level(frame, height) for frame in frames]
    scatter = np.empty(shape, np.float32)
    for start in range(0, shape[0], height):
        rows = slice(start, start + height)
        block = np.stack(
            [np.asarray(f.section(rows), np.float32) - level for f, level in zip(frames, levels, strict=True)]
        )
        away = np.abs(block - np.median(block, axis=0))
        furthest = away.argmax(axis=0)[None]
        total = block.sum(axis=0) - np.take_along_axis(block, furthest, axis=0)[0]
        block -= total / np.float32(len(frames) - 1)
        np.put_along_axis(block, furthest, 0, axis=0)
        scatter[rows] = np.sqrt(np.einsum("fyx,fyx->yx", block, block) / np.float32(len(frames) - 2))
    return np.where(scatter > factor * np.median(scatter), MASK_UNSTABLE, 0).astype(np.uint16)


def _level(frame: Sections, height: int) -> np.float32:
    """Return the median of some rows in the middle of a frame."""
    first = frame.shape[0] // 2
    rows = slice(first, first + max(min(height, frame.shape[0] // 8), 1))
    return np.float32(np.median(frame.section(rows)))


def flat_mask(
    flat: Array,
    *,
    sigma: float = 9.0,  # chosen above the 6 of ccdmask: dust and fringes stay
    median_size: int = 7,  # as ccdmask
    scatter_size: int = 15,  # as ccdmask
    lowest: float = 0.2,  # chosen: a fifth of the light has more than twice the noise
) -> MaskPlane:
    """Find pixels unlike their neighbours in a flat, or in the ratio of two flats.

    A pixel is bad where it differs from the median of `median_size` squared pixels by more than `sigma`
    standard deviations, half the distance of the percentiles 69.1 and 30.9 of these differences in
    `scatter_size` squared pixels: the test of IRAF's ``ccdmask`` (F. Valdes). The scatter is first measured
    on a grid, and exactly only where a pixel may be bad.

    Parameters
    ----------
    flat
        Shape (ny, nx), median about 1.
    lowest
        Pixels below are vignetted (``MASK_LOW_FLAT``); 0 for a ratio.
    """
    values = np.asarray(flat)
    finite = np.isfinite(values)
    if values.ndim != 2 or not finite.any():
        msg = f"a flat of shape {values.shape} with {int(finite.sum())} finite pixels cannot be tested"
        raise DataError(msg)
    plane = np.where(finite, values, np.median(values[finite])).astype(np.float32)
    residual = plane - window_median(plane, median_size)
    coarse = grid_scatter(residual, scatter_size, GRID)
    limit = (SAFETY * sigma * 0.5 * coarse).astype(np.float32)
    near = np.repeat(np.repeat(limit, GRID, axis=0), GRID, axis=1)[: plane.shape[0], : plane.shape[1]]
    rows, cols = np.nonzero(np.abs(residual) > near)
    scatter = 0.5 * window_scatter(residual, rows, cols, scatter_size)
    mask = np.where(finite, 0, MASK_BAD).astype(np.uint16)
    bad = np.abs(residual[rows, cols]) > sigma * scatter
    mask[rows[bad], cols[bad]] |= MASK_BAD
    mask[values < lowest] |= MASK_LOW_FLAT
    return mask


def ratio_flat(bright: Master, faint: Master) -> FloatPlane:
    """Return the ratio of two flats of different level, which holds pixels that do not respond linearly.

    Everything both have in common (vignetting, dust) is gone; use it with `flat_mask(..., lowest=0)`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = bright.data / faint.data
    return np.asarray(ratio / np.float32(np.nanmedian(ratio)), dtype=np.float32)


def lasting_pixels(
    frames: Iterable[Array],
    *,
    sigma: float = 5.0,  # chosen: of a million normal pixels a third of one, in each frame
    fraction: float = 0.7,  # chosen: a drifting star is in a pixel for fewer frames
    size: int = 7,  # chosen: wider than the core of a star
) -> MaskPlane:
    """Find hot pixels from the sky alone: high in detector coordinates while the stars drift away.

    Parameters
    ----------
    frames
        Frames that are shifted against each other by more than a star is wide, as they lie on the detector; one
        at a time is held.
    fraction
        Part of the frames in which a pixel has to exceed the local median by `sigma`.

    Raises
    ------
    DataError
        If there are no frames, or they differ in shape.
    """
    count: NDArray[np.int32] | None = None
    number = 0
    for number, frame in enumerate(frames, start=1):
        count = np.zeros(np.shape(frame), np.int32) if count is None else count
        if np.shape(frame) != count.shape:
            msg = f"frame {number - 1} has shape {np.shape(frame)}, the first one {count.shape}"
            raise DataError(msg)
        residual = np.asarray(frame, np.float32) - window_median(frame, size)
        spread = MAD_TO_SIGMA * float(np.median(np.abs(residual)))
        count += residual > sigma * max(spread, 0.5)
    if count is None:
        msg = "there are no frames in which hot pixels could last"
        raise DataError(msg)
    return np.where(count >= fraction * number, MASK_HOT, 0).astype(np.uint16)


def halo_mask(shape: tuple[int, int], x: Array, y: Array, radius: Array) -> MaskPlane:
    """Return discs of ``MASK_HALO`` around bright stars at `x`, `y` (pixels from 0) of given radii (pixels)."""
    mask = np.zeros(shape, np.uint16)
    for x0, y0, r in zip(x, y, radius, strict=True):
        top, left = max(int(y0 - r), 0), max(int(x0 - r), 0)
        box = mask[top : max(int(y0 + r) + 2, 0), left : max(int(x0 + r) + 2, 0)]
        if box.size:
            rows, cols = np.ogrid[top : top + box.shape[0], left : left + box.shape[1]]
            box[(rows - y0) ** 2 + (cols - x0) ** 2 <= r * r] |= MASK_HALO
    return mask


def count_bits(mask: Array) -> dict[str, int]:
    """Return how many pixels have each bit, by the bit's meaning."""
    marked = mask[mask != 0]  # few
    return {name: int(np.count_nonzero(marked & bit)) for bit, name in MASK_NAMES.items()}
