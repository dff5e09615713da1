"""Stamps along a path: of every frame, and combined."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.errors import DataError
from virtualobserver.maths.shiftstack.images import Stack

__all__ = ["Coadd", "coadd"]

Coadd = Literal["sum", "mean", "median", "weighted"]


def coadd(
    stack: Stack,
    x: ArrayLike,
    y: ArrayLike,
    *,
    kind: Coadd = "sum",
    radius: int = 10,  # as stamp_radius of KBMOD
    epochs: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Combine the stamps along a path; pixels without any data become 0.

    Parameters
    ----------
    kind
        ``sum``, ``mean``, ``median`` or ``weighted`` (by the inverse variance).
    epochs
        Frames to use, shape (n,); by default all.

    Raises
    ------
    DataError
        If there is no such kind.
    """
    use = np.arange(len(stack.mjd)) if epochs is None else np.flatnonzero(epochs)
    at = zip(
        *(np.floor(np.asarray(part, np.float64)[use] + 0.5).astype(int).tolist() for part in (x, y)),
        strict=True,
    )
    boxes, noise = np.full((2, len(use), 2 * radius + 1, 2 * radius + 1), np.nan)
    for place, (frame, (column, row)) in enumerate(zip(use.tolist(), at, strict=True)):
        rows, cols = ((middle - radius, middle + radius + 1) for middle in (row, column))
        boxes[place], noise[place] = stack.planes(frame, rows, cols)
    with np.errstate(invalid="ignore"):
        boxes[~(np.isfinite(noise) & (noise > 0))] = np.nan
    good = np.isfinite(boxes)
    filled = np.where(good, boxes, 0.0)
    with np.errstate(all="ignore"):
        if kind == "sum":
            result = filled.sum(axis=0)
        elif kind == "mean":
            result = filled.sum(axis=0) / good.sum(axis=0)
        elif kind == "weighted":
            weight = np.where(good, 1.0 / noise, 0.0)
            result = (filled * weight).sum(axis=0) / weight.sum(axis=0)
        elif kind == "median":
            result = _median(boxes, good)
        else:
            msg = f"no coadd {kind!r}: sum, mean, median or weighted"
            raise DataError(msg)
    clean: NDArray[np.float32] = np.nan_to_num(result, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    return clean


def _median(boxes: NDArray[np.float64], good: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows = np.sort(np.where(good, boxes, np.nan), axis=0)  # NaN at the end
    count = good.sum(axis=0)[None]
    low, high = (
        np.take_along_axis(rows, np.maximum(part, 0), axis=0)[0] for part in ((count - 1) // 2, count // 2)
    )
    # of none there are two NaN; an even number has two middle ones
    return np.asarray(0.5 * (low + np.where(count[0] == 0, np.nan, high)))
