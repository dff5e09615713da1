"""A search in parts that fit into memory: tiles of start pixels, and if need be the velocities in sectors.

The frames of a part are needed only where its start pixels may have moved to. The longer a night, the farther that
is for all velocities together, but not for neighbouring ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.errors import DataError
from virtualobserver.maths.shiftstack.grids import TwoLevelGrid, VelocityGrid
from virtualobserver.maths.shiftstack.search import Trajectories, positions

__all__ = ["Boxes", "Part", "Tiling", "best_of_each_pixel", "boxes_about", "fitting", "tiling"]

Grid = VelocityGrid | TwoLevelGrid
# psi and phi, their inverted copy, and what the search makes of them; of blocks the last is small
_BYTES_ONE: Final = 28
_BYTES_TWO: Final = 18
"""Bytes a pixel and frame of a search in two levels, see above."""
_MOST_SECTORS: Final = 64
"""Parts of the range of directions; with more the margins no longer shrink."""
_SMALLEST: Final = 16
"""Pixels; a part whose margins are many times larger than itself is not worth searching."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """First column and row of the box in each frame, shape (n, 2), and rows and columns of all."""

    origin: NDArray[np.int64]
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Part:
    """Start pixels and velocities that are searched at once."""

    cols: tuple[int, int]
    rows: tuple[int, int]
    grid: Grid

    def boxes(self, tau: NDArray[np.float64]) -> Boxes:
        """Return what is needed of each frame."""
        low, high = _reach(self.grid, tau)
        corner = np.array([self.cols[0], self.rows[0]])
        wide, tall = (int((high - low)[:, axis].max()) for axis in (0, 1))
        size = (self.rows[1] - self.rows[0] + tall, self.cols[1] - self.cols[0] + wide)
        return Boxes(corner + low, size)


@dataclass(frozen=True, eq=False)
class Tiling:
    """How a search is cut up: `whole` = not at all."""

    shape: tuple[int, int, int]
    side: int
    sectors: tuple[Grid, ...]
    whole: bool

    def tiles(self) -> Iterator[list[Part]]:
        """Yield the tiles, each as its sectors of velocities."""
        _, ny, nx = self.shape
        for y in range(0, ny, self.side):
            for x in range(0, nx, self.side):
                cols, rows = (x, min(x + self.side, nx)), (y, min(y + self.side, ny))
                yield [Part(cols, rows, grid) for grid in self.sectors]


def tiling(shape: tuple[int, int, int], tau: NDArray[np.float64], grid: Grid, *, memory: float) -> Tiling:
    """Cut a search so that the images of each part take no more than `memory` bytes, and little is read twice.

    Raises
    ------
    DataError
        If not even the smallest part fits.
    """
    n, ny, nx = shape
    each = float(n * (_BYTES_TWO if isinstance(grid, TwoLevelGrid) else _BYTES_ONE))
    if each * ny * nx <= memory:
        return Tiling(shape, max(ny, nx), (grid,), whole=True)
    side = np.sqrt(memory / each)
    best: tuple[float, int, int] | None = None
    for number in range(1, _MOST_SECTORS + 1):
        margin = _margin(grid, tau, number)
        core = int(min(side - margin, max(ny, nx)))
        if core < _SMALLEST:
            continue
        cost = (number * (core + margin) / core) ** 2
        if best is None or cost < best[0]:
            best = (cost, number, core)
    if best is None:
        least = each * (_SMALLEST + _margin(grid, tau, _MOST_SECTORS)) ** 2
        msg = f"{n} frames cannot be searched within {memory / 1e9:.3g} Gbyte; memory_limit has to be "
        msg += f"{least * 1.1 / 1e9:.2g} or more"
        raise DataError(msg)
    return Tiling(shape, best[2], tuple(_sectors(grid, best[1])), whole=False)


def best_of_each_pixel(found: Trajectories, top: int) -> Trajectories:
    """Keep the `top` strongest of each start pixel, strongest first."""
    if not len(found):
        return found
    order = np.lexsort((found.vx, found.vy, -found.likelihood, found.x, found.y))
    ranked = found.take(order)
    new = np.r_[True, (np.diff(ranked.x) != 0) | (np.diff(ranked.y) != 0)]
    first = np.maximum.accumulate(np.where(new, np.arange(len(ranked)), 0))
    return ranked.take(np.arange(len(ranked)) - first < top).sorted()


def boxes_about(found: Trajectories, tau: NDArray[np.float64], margin: int) -> Boxes:
    """Return the boxes that hold all the paths and so many pixels about them."""
    x, y = positions(found, tau)
    low = np.stack([x.min(axis=0), y.min(axis=0)], axis=1) - margin
    high = np.stack([x.max(axis=0), y.max(axis=0)], axis=1) + margin + 1
    wide, tall = (int((high - low)[:, axis].max()) for axis in (0, 1))
    return Boxes(low, (tall, wide))


def fitting(found: Trajectories, fits: Callable[[Trajectories], bool]) -> list[NDArray[np.int64]]:
    """Halve candidates by position until each part fits, and return the rows of the parts."""
    if not len(found):
        return []

    def cut(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        part = found.take(rows)
        if len(rows) == 1 or fits(part):
            return [rows]
        axis = part.x if np.ptp(part.x) >= np.ptp(part.y) else part.y
        order = rows[np.argsort(axis, kind="stable")]
        return cut(order[: len(rows) // 2]) + cut(order[len(rows) // 2 :])

    return cut(np.arange(len(found)))


def _reach(grid: Grid, tau: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the least and the largest shift of each frame in x and y, shape (n, 2); rounded up."""
    lows, highs = [], []
    for name in ("vx", "vy"):
        spare = 0
        if isinstance(grid, TwoLevelGrid):
            velocity = getattr(grid.coarse, name)
            # each frame of a block is shifted as its middle is
            spare = int(np.ceil(np.abs(getattr(grid.fine, name)).max() * float(tau.max()))) + 2
        else:
            velocity = getattr(grid, name)
        lows.append(np.floor(velocity.min() * tau + 0.5).astype(np.int64) - spare)
        highs.append(np.floor(velocity.max() * tau + 0.5).astype(np.int64) + spare)
    return np.stack(lows, axis=1), np.stack(highs, axis=1)


def _margin(grid: Grid, tau: NDArray[np.float64], number: int) -> float:
    """Pixels by which the box of a tile is wider than the tile, for one of `number` by `number` sectors."""
    low, high = _reach(grid, tau)
    if not isinstance(grid, TwoLevelGrid):
        return float((high - low).max()) / number + 2
    fine = max(float(np.abs(part).max()) for part in (grid.fine.vx, grid.fine.vy)) * float(tau.max())
    fixed = 2 * (int(np.ceil(fine)) + 2)
    return (float((high - low).max()) - fixed) / number + fixed + 2


def _sectors(grid: Grid, number: int) -> Iterator[Grid]:
    """Split velocities into squares; empty ones are left out."""
    velocities = grid.coarse if isinstance(grid, TwoLevelGrid) else grid
    cells = []
    for part in (velocities.vy, velocities.vx):
        low, span = float(part.min()), float(np.ptp(part))
        cells.append(np.minimum((part - low) * number // (span or 1.0), number - 1).astype(np.int64))
    label = cells[0] * number + cells[1]
    for one in np.unique(label):
        rows = label == one
        some = VelocityGrid(velocities.vx[rows], velocities.vy[rows], velocities.step)
        yield (
            TwoLevelGrid(some, grid.fine, grid.blocks, grid.v_max) if isinstance(grid, TwoLevelGrid) else some
        )
