"""Search all start pixels and velocities for sources that move evenly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.errors import DataError
from virtualobserver.maths.shiftstack.grids import TwoLevelGrid, VelocityGrid
from virtualobserver.maths.shiftstack.images import LikelihoodImages
from virtualobserver.maths.shiftstack.kernel import (
    Padded,
    State,
    new_state,
    pad_planes,
    stack,
)

__all__ = ["Trajectories", "curves", "evaluate", "positions", "search", "search_blocks"]

Precision = Literal["single", "double"]
_BAND: Final = 16  # rows at once: with the frames' reach they fit in the second-level cache
_VELOCITIES: Final = 4096  # whose shifts are worked out at once
_TILE: Final = 256  # start pixels along a side of a tile of the two-level search
_CURVES: Final = 2_000_000  # samples gathered at once


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Straight paths and what was summed along them, strongest first; all arrays of shape (n,).

    At a time tau (days since the first frame) a source is at ``x + vx tau``, ``y + vy tau``; its pixel is
    that rounded to the nearest, halves up.

    Parameters
    ----------
    x, y
        Position at the first frame, pixels counted from 0.
    vx, vy
        Velocity, pixels per day.
    likelihood
        Signal-to-noise ratio ``psi / sqrt(phi)``.
    flux
        Most likely flux, in the unit of the frames.
    n_obs
        Frames with data along the path.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    vx: NDArray[np.float64]
    vy: NDArray[np.float64]
    likelihood: NDArray[np.float64]
    flux: NDArray[np.float64]
    n_obs: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: object) -> Trajectories:
        """Return the given rows (index, boolean mask or slice)."""
        return replace(self, **{one.name: getattr(self, one.name)[rows] for one in fields(self)})

    def sorted(self) -> Trajectories:
        """Return the same, strongest first; equals by position and velocity."""
        return self.take(np.lexsort((self.vx, self.vy, self.x, self.y, -self.likelihood)))

    @classmethod
    def joined(cls, parts: Iterable[Trajectories]) -> Trajectories:
        """Return all rows of several, in their order."""
        whole = [part for part in parts if len(part)]
        if not whole:
            return cls.of(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0))
        columns = {
            one.name: np.concatenate([getattr(part, one.name) for part in whole]) for one in fields(cls)
        }
        return replace(whole[0], **columns)

    @classmethod
    def of(cls, x: ArrayLike, y: ArrayLike, vx: ArrayLike, vy: ArrayLike) -> Trajectories:
        """Return paths along which nothing was summed yet."""
        a, b, c, d = (np.atleast_1d(np.asarray(part, dtype=np.float64)) for part in (x, y, vx, vy))
        zero = np.zeros(len(a))
        return cls(a, b, c, d, zero, zero, zero.astype(np.int64))


@dataclass(frozen=True)
class _Plan:
    """How to search: common to all tiles."""

    level: float
    min_obs: int
    top: int
    dtype: type[np.floating]


def search(
    images: LikelihoodImages,
    grid: VelocityGrid,
    *,
    level: float = 7.0,  # chosen: of 1e12 normal trials one
    min_obs: int = 1,
    top: int = 8,  # as results_per_pixel of KBMOD
    x_range: tuple[int, int] | None = None,
    y_range: tuple[int, int] | None = None,
    threads: int = 1,
    precision: Precision = "single",
) -> Trajectories:
    """Find the best velocities of every start pixel.

    Parameters
    ----------
    images
        Likelihood images.
    grid
        Velocities to try.
    level
        Least likelihood; not negative.
    min_obs
        Least number of frames with data along the path.
    top
        Velocities kept for each start pixel.
    x_range, y_range
        First start pixel and the one after the last; by default the image. Both may lie outside.
    threads
        Threads to use: cores / workers.
    precision
        Of the sums: ``single`` as in KBMOD, or ``double``.

    Returns
    -------
    Trajectories
        Strongest first; likelihood, flux and number are those of the search.

    Raises
    ------
    DataError
        If the level is negative, a range is empty.
    """
    plan = _plan(level, min_obs, top, precision)
    _, ny, nx = images.shape
    (x0, x1), (y0, y1) = x_range or (0, nx), y_range or (0, ny)
    if x1 <= x0 or y1 <= y0:
        msg = f"no start pixels: x from {x0} to {x1}, y from {y0} to {y1}"
        raise DataError(msg)
    if not len(grid) or not len(images.tau):
        return Trajectories.joined([])
    planes = _padded(images, grid, (x0, x1), plan.dtype)

    def band(row: int) -> Trajectories:
        return _search_rows(planes, images, grid, plan, (row, min(row + _BAND, y1)), (x0, x1))

    found = Trajectories.joined(_each(band, range(y0, y1, _BAND), threads))
    return evaluate(images, found, dtype=plan.dtype).sorted()


def _search_rows(  # noqa: PLR0917 - of one search
    planes: Padded,
    images: LikelihoodImages,
    grid: VelocityGrid,
    plan: _Plan,
    rows: tuple[int, int],
    columns: tuple[int, int],
) -> Trajectories:
    """Return the best velocities of the start pixels in rows and columns, each the first and one after the last."""
    (y0, y1), (x0, x1) = rows, columns
    left, low = images.origin.T
    state = new_state(y1 - y0, x1 - x0, plan.top, plan.dtype)
    for first in range(0, len(grid), _VELOCITIES):
        part = slice(first, first + _VELOCITIES)
        shifts = (_shifts(grid.vx[part], images.tau) - left, _shifts(grid.vy[part], images.tau) - low)
        stack(planes, state, (y0, x0), shifts, first=first, level=plan.level, min_obs=plan.min_obs)
    return _found(state, y0, x0, grid)


def _padded(
    images: LikelihoodImages, grid: VelocityGrid, columns: tuple[int, int], dtype: type[np.floating]
) -> Padded:
    """Return the planes with as many empty columns as paths from the start pixels run out of the image."""
    x0, x1 = columns
    dx = _shifts(grid.vx[[np.argmin(grid.vx), np.argmax(grid.vx)]], images.tau) - images.origin[:, 0]
    needed = max(-(x0 + int(dx.min())), x1 + int(dx.max()) - images.shape[2], 0)
    return pad_planes(images.psi, images.phi, min(needed, x1 - x0), dtype)


def search_blocks(
    images: LikelihoodImages,
    grid: TwoLevelGrid,
    *,
    level: float = 7.0,  # chosen: of 1e12 normal trials one
    min_obs: int = 1,
    top: int = 8,  # as results_per_pixel of KBMOD
    x_range: tuple[int, int] | None = None,
    y_range: tuple[int, int] | None = None,
    threads: int = 1,
    precision: Precision = "single",
    tile: int = _TILE,
) -> Trajectories:
    """Search many frames at two levels: sum blocks of them at coarse velocities, then try fine ones.

    Rounding twice moves a sample by up to one pixel more than in `search`; what is found is therefore summed
    anew over all frames, and only what still reaches the level is returned. Memory is that of the tiles in
    hand, one for each thread. Parameters and errors are those of `search`; `tile` is the number of start
    pixels along a side of a tile.
    """
    plan = _plan(level, min_obs, top, precision)
    _, ny, nx = images.shape
    if not len(grid.coarse) or not len(images.tau):
        return Trajectories.joined([])
    (x0, x1), (y0, y1) = x_range or (0, nx), y_range or (0, ny)
    margin_x, margin_y = (int(np.abs(part).max()) for part in _fine_shifts(images, grid))
    tiles = [
        _Tile(y, x, min(tile, y1 - y), min(tile, x1 - x), margin_y, margin_x)
        for y in range(y0, y1, tile)
        for x in range(x0, x1, tile)
    ]

    def one(part: _Tile) -> Trajectories:
        return _search_tile(images, grid, plan, part)

    found = evaluate(images, Trajectories.joined(_each(one, tiles, threads)), dtype=plan.dtype)
    return found.take((found.likelihood >= level) & (found.n_obs >= min_obs)).sorted()


def positions(found: Trajectories, tau: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixel columns and rows of every path at every time, shape (n, times)."""
    x = np.floor(found.x[:, None] + found.vx[:, None] * tau + 0.5).astype(np.int64)
    y = np.floor(found.y[:, None] + found.vy[:, None] * tau + 0.5).astype(np.int64)
    return x, y


def curves(images: LikelihoodImages, found: Trajectories) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return psi and phi along every path, shape (n, frames); both 0 where there is no data."""
    n, ny, nx = images.shape
    x, y = positions(found, images.tau)
    x, y = x - images.origin[:, 0], y - images.origin[:, 1]
    inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
    frame = np.broadcast_to(np.arange(n), x.shape)
    at = (frame, np.where(inside, y, 0), np.where(inside, x, 0))
    return (
        np.where(inside, images.psi[at], np.float32(0)),
        np.where(inside, images.phi[at], np.float32(0)),
    )


def evaluate(
    images: LikelihoodImages, found: Trajectories, *, dtype: type[np.floating] = np.float32
) -> Trajectories:
    """Sum along the given paths anew; likelihood and flux are -1 where there is no data at all."""
    parts = []
    size = max(1, _CURVES // max(1, len(images.tau)))
    for first in range(0, len(found), size):
        part = found.take(slice(first, first + size))
        psi, phi = curves(images, part)
        # one after the other, as the search does
        total, weight = np.zeros(len(part), dtype), np.zeros(len(part), dtype)
        for frame in range(psi.shape[1]):
            total += psi[:, frame]
            weight += phi[:, frame]
        with np.errstate(all="ignore"):
            likelihood = np.where(weight > 0, total / np.sqrt(weight), dtype(-1)).astype(np.float64)
            flux = np.where(weight > 0, total / weight, dtype(-1)).astype(np.float64)
        n_obs = (phi > 0).sum(axis=1)
        parts.append(replace(part, likelihood=likelihood, flux=flux, n_obs=n_obs))
    return Trajectories.joined(parts)


def _plan(level: float, min_obs: int, top: int, precision: Precision) -> _Plan:
    if not level >= 0 or top < 1:
        msg = f"a search needs a level of at least 0 and one place per pixel, not {level} and {top}"
        raise DataError(msg)
    dtype = np.float32 if precision == "single" else np.float64
    return _Plan(level, min_obs, top, dtype)


def _shifts(velocity: NDArray[np.float64], tau: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.floor(np.asarray(velocity, np.float64)[:, None] * tau + 0.5).astype(np.int64)


def _each(work: Callable[[Any], Trajectories], parts: Iterable[Any], threads: int) -> Iterator[Trajectories]:
    if threads <= 1:
        yield from map(work, parts)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, parts)


def _found(state: State, row: int, column: int, grid: VelocityGrid) -> Trajectories:
    y, x, place = np.nonzero(state.index >= 0)
    number = state.index[y, x, place]
    likelihood = state.likelihood[y, x, place].astype(np.float64)
    found = Trajectories.of(x + float(column), y + float(row), grid.vx[number], grid.vy[number])
    return replace(found, likelihood=likelihood)


@dataclass(frozen=True)
class _Tile:
    """Start pixels [y, y + height) by [x, x + width), and the margin that fine velocities need about them."""

    y: int
    x: int
    height: int
    width: int
    margin_y: int
    margin_x: int


def _search_tile(images: LikelihoodImages, grid: TwoLevelGrid, plan: _Plan, tile: _Tile) -> Trajectories:
    """Search one tile: a state that lives through all coarse velocities."""
    state = new_state(tile.height, tile.width, plan.top, plan.dtype)
    fine = _fine_shifts(images, grid)
    for cell, (vx, vy) in enumerate(zip(grid.coarse.vx, grid.coarse.vy, strict=True)):
        keep = np.hypot(vx + grid.fine.vx, vy + grid.fine.vy) <= grid.v_max
        if not keep.any():
            continue
        planes = _blocks(images, grid.blocks, (vx, vy), tile, plan.dtype)
        # velocities of a cell that are too fast are pushed out of the tile and so see no data
        dx, dy = (np.where(keep[:, None], part, planes.psi.shape[1] + tile.height) for part in fine)
        stack(
            planes, state, (tile.margin_y, tile.margin_x), (dx, dy),
            first=cell * len(grid.fine), level=plan.level, min_obs=1,
        )  # fmt: skip
    vx, vy = (
        (a[:, None] + b).ravel() for a, b in ((grid.coarse.vx, grid.fine.vx), (grid.coarse.vy, grid.fine.vy))
    )
    return _found(state, tile.y, tile.x, VelocityGrid(vx, vy, grid.fine.step))


def _fine_shifts(images: LikelihoodImages, grid: TwoLevelGrid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    middles = np.array([images.tau[grid.blocks == block].mean() for block in range(grid.blocks.max() + 1)])
    return _shifts(grid.fine.vx, middles), _shifts(grid.fine.vy, middles)


def _blocks(
    images: LikelihoodImages,
    blocks: NDArray[np.int64],
    velocity: tuple[float, float],
    tile: _Tile,
    dtype: object,
) -> Padded:
    """Sum the frames of each block as seen from the coarse velocity, for a tile and its margin."""
    n, ny, nx = images.shape
    height, width = tile.height + 2 * tile.margin_y, tile.width + 2 * tile.margin_x
    psi, phi = (np.zeros((int(blocks.max()) + 1, height + 1, width), dtype) for _ in range(2))
    dx, dy = (_shifts(np.array([v]), images.tau)[0] for v in velocity)
    left, low = images.origin.T
    for frame in range(n):
        y, x = (
            tile.y - tile.margin_y + int(dy[frame] - low[frame]),
            tile.x - tile.margin_x + int(dx[frame] - left[frame]),
        )
        low_y, high_y, low_x, high_x = max(0, y), min(ny, y + height), max(0, x), min(nx, x + width)
        if low_y >= high_y or low_x >= high_x:
            continue
        here = (blocks[frame], slice(low_y - y, high_y - y), slice(low_x - x, high_x - x))
        there = (frame, slice(low_y, high_y), slice(low_x, high_x))
        psi[here] += images.psi[there]
        phi[here] += images.phi[there]
    return Padded(psi, phi, 0)
