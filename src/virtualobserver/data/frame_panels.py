"""What a screen shows of one image: the pixels in blocks, and each bit of its mask to be switched on."""

from __future__ import annotations

from typing import Final

import numpy as np

from virtualobserver.conventions import MASK_NAMES
from virtualobserver.data.image import Image
from virtualobserver.data.panels import Axis, ImageStack
from virtualobserver.maths.arrays import Array

__all__ = ["frame_stack"]

MOST_PIXELS: Final = 512
"""Blocks along the longer side of an image: a panel on a screen is no larger, and so is what a page has to hold."""
MOST_MASKS: Final = 8
"""Bits of a mask that are offered, those of most pixels: a longer legend would hide the image."""


def frame_stack(image: Image, title: str = "image", box: tuple[slice, slice] | None = None) -> ImageStack:
    """Return a panel of an image, large ones as means over blocks; a block has a bit if one of its pixels has it.

    Parameters
    ----------
    box
        The part that is shown; by default all.
    """
    rows, cols = box or (slice(0, image.data.shape[0]), slice(0, image.data.shape[1]))
    data = image.data[rows, cols]
    step = max(1, -(-max(data.shape) // MOST_PIXELS))
    blocks = _blocks(data, step)
    good = np.isfinite(blocks)
    count = good.sum(axis=(1, 3))
    total = np.where(good, blocks, 0).sum(axis=(1, 3), dtype=np.float64)
    seen = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    ny, nx = seen.shape
    x0, y0 = (cols.start or 0) - 0.5, (rows.start or 0) - 0.5
    note = f"each point is the mean of {step} x {step} pixels" if step > 1 else ""
    return ImageStack(
        title, seen[None], [title], masks=_masks(image.mask, rows, cols, step), note=note,
        extent=(x0, x0 + max(nx, 1) * step, y0, y0 + max(ny, 1) * step), value=Axis("flux", image.unit),
    )  # fmt: skip


def _masks(mask: Array | None, rows: slice, cols: slice, step: int) -> dict[str, Array]:
    """Return, by what it means and in how many pixels of the part it is, where each bit is set."""
    if mask is None:
        return {}
    part = mask[rows, cols]
    blocks = _blocks(part, step)
    counts = {bit: int(np.count_nonzero(part & bit)) for bit in MASK_NAMES}
    return {
        f"{MASK_NAMES[bit]}: {number}": ((blocks & bit) != 0).any(axis=(1, 3))
        for bit, number in sorted(counts.items(), key=lambda one: -one[1])[:MOST_MASKS]
        if number
    }


def _blocks(plane: Array, step: int) -> Array:
    """Return a plane as blocks, shape (rows, step, columns, step); pixels over at the ends are left out."""
    rows, cols = plane.shape[0] // step, plane.shape[1] // step
    return plane[: rows * step, : cols * step].reshape(rows, step, cols, step)
