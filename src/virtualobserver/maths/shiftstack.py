"""Shift and stack: from frames on one grid to movers, with the false alarms of the same search beside them.

The steps, each a function of its own module: likelihood images, search of all start pixels and velocities,
sigma-G on the curves, explaining away, refinement. Controls run the same steps on the frames with inverted
sign and on the frames, without the movers found, at each other's times: what is found there is false.

A night that does not fit into memory is searched in tiles. Every start pixel is searched once, by the frames as far
as its paths lead, and candidates are judged in groups whose light does not meet: the result is that of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from virtualobserver.conventions import SIGMA_TO_FWHM
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.shiftstack_boxes import Likelihoods, open_likelihoods
from virtualobserver.maths.shiftstack_explain import (
    TOUCH,
    Mover,
    Remote,
    View,
    explain_away,
    without_movers,
)
from virtualobserver.maths.shiftstack_filters import filter_sigma_g
from virtualobserver.maths.shiftstack_grids import (
    TwoLevelGrid,
    VelocityGrid,
    disc_grid,
    grid_step,
    two_level_grid,
)
from virtualobserver.maths.shiftstack_groups import groups_of
from virtualobserver.maths.shiftstack_images import LikelihoodImages, Masked, Stack, psf_sigma
from virtualobserver.maths.shiftstack_refine import EDGE, refine
from virtualobserver.maths.shiftstack_search import (
    Precision,
    Trajectories,
    curves,
    search,
    search_blocks,
)
from virtualobserver.maths.shiftstack_tiles import (
    Boxes,
    Part,
    best_of_each_pixel,
    boxes_about,
    fitting,
    tiling,
)

__all__ = ["Harvest", "StackOptions", "find_movers", "trials_level"]

_Read = Callable[[Boxes], LikelihoodImages]
_GROUP_BYTES: Final = 20  # of a pixel of the images of a group, with the copy that is changed
_BIN_FROM: Final = 4.0  # full width at half maximum, pixels, from which 2 x 2 binning loses little


@dataclass(frozen=True)
class StackOptions:
    """How to search.

    Parameters
    ----------
    v_max, v_min
        Fastest and slowest speed, pixels per day.
    drift
        Pixels by which neighbouring velocities part over the whole time.
    level
        Least likelihood; None = from the number of trials, see `trials_level`.
    false_alarms
        Expected number of false alarms of pure Gaussian noise in the whole search, for that.
    min_obs
        Least number of epochs.
    top
        Velocities kept for each start pixel.
    masked
        How masked pixels count; see `shiftstack_images.psi_phi`.
    binning
        1, 2, or 0 = 2 where the point spread function is wider than 4 px.
    two_level_from
        Number of frames from which blocks of them are summed first.
    block
        Length of such a block, d.
    clip
        Leave out epochs that do not agree (sigma-G).
    controls
        Search the inverted and the shuffled frames as well.
    seed
        Of the shuffling.
    threads, precision
        See `shiftstack_search.search`.
    memory
        Bytes that the images of the search may take; a night that needs more is searched in tiles.
    """

    v_max: float
    v_min: float = 0.0
    drift: float = 2.0
    level: float | None = None
    false_alarms: float = 0.05
    min_obs: int = 3
    top: int = 4
    masked: Masked = "ml"
    binning: int = 0
    two_level_from: int = 60
    block: float = 0.4 / 24
    clip: bool = True
    controls: bool = True
    seed: int = 0
    threads: int = 1
    precision: Precision = "single"
    memory: float = 2e9


@dataclass(frozen=True, eq=False)
class Harvest:
    """What a search found.

    Parameters
    ----------
    movers
        Strongest first; positions are those of the frames given.
    inverted, shuffled
        False alarms of the same search on the controls; None = not run.
    level
        Least likelihood.
    trials
        Start pixels with data times velocities.
    velocities
        Number of velocities tried.
    step
        Distance of neighbouring velocities, pixels per day.
    binning
        1 or 2.
    pixels
        Pixels of the frames given with data in any of them.
    tiles
        In how many parts the search was done.
    """

    movers: tuple[Mover, ...]
    inverted: tuple[Mover, ...] | None
    shuffled: tuple[Mover, ...] | None
    level: float
    trials: float
    velocities: int
    step: float
    binning: int
    pixels: int
    tiles: int


def trials_level(trials: float, *, false_alarms: float = 0.05) -> float:
    """Likelihood that Gaussian noise is expected to pass `false_alarms` times in so many trials.

    For 1e9 trials and one alarm 6.0, for 0.05 alarms 6.5: near the usual estimate ``sqrt(2 ln trials)`` of the
    largest of them, 6.4. Trials of overlapping pixels and velocities are not independent, so there are fewer
    alarms rather than more.

    Raises
    ------
    DataError
        If a number is not positive.
    """
    if not (0 < trials < np.inf and 0 < false_alarms < np.inf):
        msg = f"trials and expected false alarms must be positive, not {trials} and {false_alarms}"
        raise DataError(msg)
    return float(max(-ndtri(min(false_alarms / trials, 0.5)), 0.0))


def find_movers(stack: Stack, options: StackOptions) -> Harvest:
    """Search frames on one grid for movers.

    Raises
    ------
    NotEnoughData
        If there are fewer frames than `min_obs`, or all of one time.
    DataError
        If `options.memory` does not hold the smallest part of the search.
    """
    if len(stack.mjd) < max(2, options.min_obs) or not np.ptp(stack.mjd) > 0:
        msg = f"{len(stack.mjd)} frames are too few to stack; {max(2, options.min_obs)} of different times"
        raise NotEnoughData(msg)
    tau = stack.mjd - stack.mjd[0]
    width = float(np.median([psf_sigma(kernel) for kernel in stack.psf]))
    binning = options.binning or (2 if SIGMA_TO_FWHM * width > _BIN_FROM else 1)
    grid = _grid(tau, options, binning)
    number = len(grid.flat()) if isinstance(grid, TwoLevelGrid) else len(grid)
    _, ny, nx = stack.shape
    parts = tiling((len(tau), ny // binning, nx // binning), tau, grid, memory=options.memory)
    images = open_likelihoods(stack, masked=options.masked, binning=binning, keep=parts.whole)
    trials = float(images.covered()) * number
    if trials == 0:
        msg = "no pixel of the frames has data"
        raise NotEnoughData(msg)
    level = (
        trials_level(trials, false_alarms=options.false_alarms) if options.level is None else options.level
    )
    hunt = _Hunt(images, replace(options, level=level), list(parts.tiles()))
    movers = hunt.run()
    inverted = hunt.run(sign=-1) if options.controls else None
    shuffled = None
    if options.controls:
        # bright movers are seen at single epochs, which line up by chance: they are taken away first
        order = np.random.default_rng(options.seed).permutation(len(tau))
        shuffled = hunt.run(order=order, known=movers)
    if binning == 2:
        movers = tuple(_unbinned(stack, mover, options.masked) for mover in movers)
    step = (grid.fine.step if isinstance(grid, TwoLevelGrid) else grid.step) * binning
    pixels = int(stack.covered().sum())
    return Harvest(movers, inverted, shuffled, level, trials, number, step, binning, pixels, len(hunt.tiles))


@dataclass(frozen=True, eq=False)
class _Hunt:
    """One search, done for the frames as they are and for the controls."""

    images: Likelihoods
    options: StackOptions
    tiles: list[list[Part]]

    def run(
        self, *, sign: int = 1, order: NDArray[np.int64] | None = None, known: tuple[Mover, ...] = ()
    ) -> tuple[Mover, ...]:
        """Search all tiles, then judge what was found.

        Parameters
        ----------
        sign
            -1 = inverted.
        order
            Which frame stands at each place, see `Likelihoods.boxes`.
        known
            Movers whose light is taken away first, from the frames in which they were.
        """

        def read(boxes: Boxes) -> LikelihoodImages:
            made = self.images.boxes(boxes.origin, boxes.size, order=order)
            made = without_movers(made, known, order) if known else made
            return made.inverted() if sign < 0 else made

        found = []
        for tile in self.tiles:
            best = Trajectories.joined([self._search(part, read) for part in tile])
            found.append(best_of_each_pixel(best, self.options.top) if len(tile) > 1 else best)
        movers = self._judge(Trajectories.joined(found), read)
        return tuple(sorted(movers, key=lambda mover: -mover.likelihood))

    def _search(self, part: Part, read: _Read) -> Trajectories:
        n, ny, nx = self.images.shape
        boxes = part.boxes(self.images.tau)
        if len(self.tiles) == 1 and self.images.kept is not None:
            boxes = Boxes(np.zeros((n, 2), np.int64), (ny, nx))
        return _searched(read(boxes), part, self.options)

    def _judge(self, found: Trajectories, read: _Read) -> list[Mover]:
        """Reduce candidates to movers, group by group."""
        shift = max(3.0, self.options.drift)
        margin = int(np.ceil(shift)) + EDGE + 1
        tau = self.images.tau
        distance = TOUCH * float(self.images.sigma.max()) + shift + margin + 1

        def near(some: Trajectories) -> LikelihoodImages:
            return read(boxes_about(some, tau, margin))

        def pieces(some: Trajectories) -> list[NDArray[np.int64]]:
            limit = self.options.memory / (_GROUP_BYTES * self.images.shape[0])
            return fitting(some, lambda part: math.prod(boxes_about(part, tau, margin).size) <= limit)

        movers: list[Mover] = []
        for group in groups_of(found, tau, distance):
            parts = pieces(group)
            whole = near(group) if len(parts) == 1 else None
            left = group
            if self.options.clip:
                left = Trajectories.joined(
                    _clipped(near(some) if whole is None else whole, some, self.options)
                    for some in (group.take(rows) for rows in parts)
                )
            view = Remote(tau, near, pieces) if whole is None else whole
            movers += _explained(view, left, self.options, shift)
        return movers


def _searched(images: LikelihoodImages, part: Part, own: StackOptions) -> Trajectories:
    common: dict[str, Any] = {
        "level": own.level or 0.0, "min_obs": own.min_obs, "top": own.top, "x_range": part.cols, "y_range": part.rows,
        "threads": own.threads, "precision": own.precision,
    }  # fmt: skip
    if isinstance(part.grid, TwoLevelGrid):
        return search_blocks(images, part.grid, **common)
    return search(images, part.grid, **common)


def _clipped(images: LikelihoodImages, found: Trajectories, own: StackOptions) -> Trajectories:
    return filter_sigma_g(images, found, level=own.level or 0.0, min_obs=own.min_obs)


def _explained(
    images: LikelihoodImages | View, found: Trajectories, own: StackOptions, max_shift: float
) -> list[Mover]:
    return explain_away(
        images, found, level=own.level or 0.0, min_obs=own.min_obs, clip=own.clip, max_shift=max_shift
    )


def _grid(tau: NDArray[np.float64], options: StackOptions, binning: int) -> VelocityGrid | TwoLevelGrid:
    fast, slow = options.v_max / binning, options.v_min / binning
    if len(tau) >= options.two_level_from:
        return two_level_grid(tau, fast, drift=options.drift, block=options.block)
    return disc_grid(fast, grid_step(tau, options.drift), v_min=slow)


def _unbinned(stack: Stack, mover: Mover, masked: Masked) -> Mover:
    """Refine a mover of binned frames on the frames themselves."""
    path = mover.path
    one = Trajectories.of(2 * path.x + 0.5, 2 * path.y + 0.5, 2 * path.vx, 2 * path.vy)
    fine = open_likelihoods(stack, masked=masked)
    boxes = boxes_about(one, fine.tau, 2 * EDGE + 4)
    images = fine.boxes(boxes.origin, boxes.size)
    better = refine(images, one)
    psi, phi = curves(images, Trajectories.of(better.x, better.y, better.vx, better.vy))
    kept: NDArray[np.bool_] = mover.kept & (phi[0] > 0)
    return Mover(better, mover.likelihood, mover.n_obs, psi[0], phi[0], kept)
