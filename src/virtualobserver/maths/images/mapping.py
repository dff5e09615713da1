"""Where pixels of one grid are in a frame that is drifted, turned or distorted against it, and its pixels there.

A frame is brought onto the grid once, by a windowed sinc over 6 x 6 pixels (Lanczos). That leaves what a star is
made of as it is: sums of pixels under a profile two pixels wide or more keep signal and noise to half a per cent,
wherever between the pixels a frame lies. What such a sum needs is therefore the noise per area, which resampling
keeps, and not that of a single resampled pixel, which falls as much as neighbours become alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.errors import DataError
from virtualobserver.maths.kernels import jit

__all__ = ["REACH", "PixelMap", "fit_map", "resample", "whole_map"]

REACH: Final = 3
"""Pixels about a position that its value is made of."""
_PHASES: Final = 1024
"""Fractions of a pixel whose weights are kept: a position is good to 0.0005."""
_STEP: Final = 16
"""Pixels between positions that are worked out; between them they lie on a line to 1e-4 pixels in any optics."""
_WHOLE: Final = 0.005
"""Pixels by which a shift may differ from a whole one and is taken as it."""

FloatArray = NDArray[np.float64]
Box = tuple[int, int]


@dataclass(frozen=True, eq=False)
class PixelMap:
    """From pixels of a grid to those of a frame, as a polynomial of the displacement.

    Parameters
    ----------
    shape
        Rows and columns of the grid.
    degree
        Of the polynomial in both coordinates together.
    dx, dy
        Its coefficients, in coordinates that run from -1 to 1 over the grid, shape (terms,).
    error
        Standard error of a place in the frame, pixels on each axis; 0 = the map is exact.
    """

    shape: tuple[int, int]
    degree: int
    dx: FloatArray
    dy: FloatArray
    error: float = 0.0

    def __call__(self, x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return where positions of the grid are in the frame."""
        column, row = (np.asarray(part, dtype=np.float64) for part in (x, y))
        terms = _terms(*_scaled(self.shape, column, row), self.degree)
        return column + terms @ self.dx, row + terms @ self.dy

    def motion(self, x: float, y: float, vx: float, vy: float) -> tuple[float, float]:
        """Return how a motion on the grid at a place looks in the frame."""
        before, after = (self(x + s * 0.5 * vx, y + s * 0.5 * vy) for s in (-1, 1))
        return float(after[0] - before[0]), float(after[1] - before[1])

    @property
    def scale(self) -> float:
        """Pixels of the frame for each of the grid, in its middle."""
        y, x = ((length - 1) / 2 for length in self.shape)
        (a, c), (b, d) = self.motion(x, y, 1.0, 0.0), self.motion(x, y, 0.0, 1.0)
        return float(np.sqrt(abs(a * d - b * c)))

    @property
    def whole(self) -> tuple[int, int] | None:
        """Columns and rows by which the frame is shifted, if that is all."""
        ny, nx = self.shape
        x, y = (part.ravel() for part in np.meshgrid(np.linspace(0, nx - 1, 5), np.linspace(0, ny - 1, 5)))
        moved = np.stack(self(x, y)) - np.stack([x, y])
        shift = np.rint(moved[:, 0])
        return (int(shift[0]), int(shift[1])) if np.abs(moved - shift[:, None]).max() < _WHOLE else None


def whole_map(shape: tuple[int, int], dx: int = 0, dy: int = 0) -> PixelMap:
    """Return the map to a frame that is shifted by whole pixels."""
    return PixelMap(shape, 0, np.array([float(dx)]), np.array([float(dy)]))


def fit_map(
    shape: tuple[int, int],
    grid: Sequence[ArrayLike],
    frame: Sequence[ArrayLike],
    *,
    degree: int,
) -> tuple[PixelMap, float]:
    """Fit a map to places known in both, and return it with the scatter of what is left, pixels.

    Parameters
    ----------
    grid, frame
        x and y of the places.

    Raises
    ------
    DataError
        If there are fewer places than the polynomial has terms.
    """
    x, y, u, v = (np.asarray(part, dtype=np.float64) for part in (*grid, *frame))
    terms = _terms(*_scaled(shape, x, y), degree)
    if len(terms) < terms.shape[1]:
        msg = f"{len(terms)} places do not tell the {terms.shape[1]} terms of a map of degree {degree}"
        raise DataError(msg)
    solved = np.asarray(
        np.linalg.lstsq(terms, np.stack([u - x, v - y], axis=1), rcond=None)[0], dtype=np.float64
    )
    left = np.stack([u - x, v - y], axis=1) - terms @ solved
    return PixelMap(shape, degree, solved[:, 0], solved[:, 1]), float(np.sqrt(np.mean(left**2)))


def resample(
    read: Callable[[slice, slice], tuple[NDArray[np.float32], NDArray[np.float32]]],
    frame: tuple[int, int],
    mapping: PixelMap,
    rows: Box,
    cols: Box,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return signal and noise per area of a frame on a box of the grid; NaN where it has no data.

    Parameters
    ----------
    read
        Returns signal and variance of a box of the frame; NaN in the signal = no data.
    frame
        Rows and columns of the frame.
    mapping
        From the grid to the frame.
    rows, cols
        First row and column of the box on the grid, and those after the last.

    Notes
    -----
    A pixel without data leaves a hole where it is the nearest one, and no weight elsewhere.
    """
    height, width = rows[1] - rows[0], cols[1] - cols[0]
    out, noise = np.full((2, height, width), np.nan, np.float32)
    x, y = mapping(
        *np.meshgrid(
            cols[0] + _STEP * np.arange(width // _STEP + 2), rows[0] + _STEP * np.arange(height // _STEP + 2)
        )
    )
    x0, x1 = max(0, int(x.min()) - REACH), min(frame[1], int(x.max()) + REACH + 2)
    y0, y1 = max(0, int(y.min()) - REACH), min(frame[0], int(y.max()) + REACH + 2)
    if x0 < x1 and y0 < y1:
        signal, variance = (
            np.ascontiguousarray(part, np.float32) for part in read(slice(y0, y1), slice(x0, x1))
        )
        _compiled()(signal, variance, x - x0, y - y0, _weights(), out, noise)
    return out, noise


# --- inside -----------------------------------------------------------------------------------------------


def _scaled(shape: tuple[int, int], x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    ny, nx = shape
    half = max(nx, ny) / 2
    return (x - (nx - 1) / 2) / half, (y - (ny - 1) / 2) / half


def _terms(x: FloatArray, y: FloatArray, degree: int) -> FloatArray:
    """Return the products of powers up to a degree, along a last axis."""
    return np.stack(
        [x**i * y**j for n in range(degree + 1) for i, j in zip(range(n, -1, -1), range(n + 1), strict=True)],
        axis=-1,
    )


@cache
def _weights() -> NDArray[np.float32]:
    """Return the six weights for each fraction of a pixel, sum 1: Lanczos' window (1964) of three lobes."""
    fraction = np.arange(_PHASES + 1)[:, None] / _PHASES
    away = np.arange(1 - REACH, REACH + 1) - fraction
    weights = np.sinc(away) * np.sinc(away / REACH)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _resample(signal, variance, x, y, weights, out, noise):  # type: ignore[no-untyped-def]  # noqa: PLR0917
    height, width = out.shape
    ny, nx = signal.shape
    for r in range(height):
        i = r // _STEP
        b = (r - i * _STEP) / _STEP
        for c in range(width):
            j = c // _STEP
            a = (c - j * _STEP) / _STEP
            px = (1 - b) * ((1 - a) * x[i, j] + a * x[i, j + 1]) + b * (
                (1 - a) * x[i + 1, j] + a * x[i + 1, j + 1]
            )
            py = (1 - b) * ((1 - a) * y[i, j] + a * y[i, j + 1]) + b * (
                (1 - a) * y[i + 1, j] + a * y[i + 1, j + 1]
            )
            near_x, near_y = int(np.floor(px + 0.5)), int(np.floor(py + 0.5))
            if (
                near_x < 0
                or near_y < 0
                or near_x >= nx
                or near_y >= ny
                or not np.isfinite(signal[near_y, near_x])
            ):
                continue
            left, low = int(np.floor(px)), int(np.floor(py))
            wx = weights[int((px - left) * _PHASES + 0.5)]
            wy = weights[int((py - low) * _PHASES + 0.5)]
            total = light = squares = spread = np.float32(0)
            for k in range(2 * REACH):
                row = low + 1 - REACH + k
                if row < 0 or row >= ny:
                    continue
                for m in range(2 * REACH):
                    column = left + 1 - REACH + m
                    if column < 0 or column >= nx:
                        continue
                    value = signal[row, column]
                    if np.isfinite(value):
                        w = wy[k] * wx[m]
                        total += w
                        light += w * value
                        squares += w * w
                        spread += w * w * variance[row, column]
            if total > 0.5:
                out[r, c] = light / total
                noise[r, c] = spread / squares


@cache
def _compiled() -> Callable[..., None]:
    return cast("Callable[..., Any]", jit(_resample))
