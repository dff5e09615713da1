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
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from virtualobserver.conventions import MINUTES_PER_DAY, SIGMA_TO_FWHM
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.shiftstack.boxes import Likelihoods, open_likelihoods
from virtualobserver.maths.shiftstack.explain import (
    TOUCH,
    Mover,
    Remote,
    View,
    explain_away,
    without_movers,
)
from virtualobserver.maths.shiftstack.filters import filter_sigma_g
from virtualobserver.maths.shiftstack.grids import (
    TwoLevelGrid,
    VelocityGrid,
    disc_grid,
    grid_step,
    two_level_grid,
)
from virtualobserver.maths.shiftstack.groups import groups_of
from virtualobserver.maths.shiftstack.images import LikelihoodImages, Masked, Stack, psf_sigma
from virtualobserver.maths.shiftstack.refine import EDGE, refine
from virtualobserver.maths.shiftstack.search import (
    Trajectories,
    curves,
    search,
    search_blocks,
)
from virtualobserver.maths.shiftstack.settings import StackSettings
from virtualobserver.maths.shiftstack.tiles import (
    Boxes,
    Part,
    best_of_each_pixel,
    boxes_about,
    fitting,
    tiling,
)
from virtualobserver.typing import RecordDict

__all__ = ["Harvest", "find_movers", "trials_level"]

_Read = Callable[[Boxes], LikelihoodImages]
_GROUP_BYTES: Final = 20  # of a pixel of the images of a group, with the copy that is changed
_CAP: Final = 5.0
"""Errors that one epoch counts for at most while paths are compared. Without it the few paths kept of each start pixel
are those through a cosmic ray, and the mover's own is lost before sigma-G could tell. A mover brighter than this in
every epoch still has 5 sqrt(n), 14 of eight, and what is kept is summed anew from what was measured."""
_BIN_FROM: Final = 4.0  # full width at half maximum, pixels, from which 2 x 2 binning loses little


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


def find_movers(
    stack: Stack, settings: StackSettings, speed: tuple[float, float], *, memory: float = 2e9
) -> Harvest:
    """Search frames on one grid for movers.

    Parameters
    ----------
    settings
        How to search; the range of rates, which is one on the sky, is given by `speed`.
    speed
        Slowest and fastest speed, pixels per day.
    memory
        Bytes that the images of the search may take; a night that needs more is searched in tiles.

    Raises
    ------
    NotEnoughData
        If there are fewer frames than ``settings.min_epochs``, or all of one time.
    DataError
        If `memory` does not hold the smallest part of the search.
    """
    if len(stack.mjd) < settings.min_epochs or not np.ptp(stack.mjd) > 0:
        msg = f"{len(stack.mjd)} frames are too few to stack; {settings.min_epochs} of different times"
        raise NotEnoughData(msg)
    tau = stack.mjd - stack.mjd[0]
    width = float(np.median([psf_sigma(kernel) for kernel in stack.psf]))
    binning = settings.binning
    if binning == "auto":
        binning = 2 if SIGMA_TO_FWHM * width > _BIN_FROM else 1
    grid = _grid(tau, settings, speed, binning)
    number = len(grid.flat()) if isinstance(grid, TwoLevelGrid) else len(grid)
    _, ny, nx = stack.shape
    parts = tiling((len(tau), ny // binning, nx // binning), tau, grid, memory=memory)
    images = open_likelihoods(stack, masked=settings.masked, binning=binning, keep=parts.whole)
    trials = float(images.covered()) * number
    if trials == 0:
        msg = "no pixel of the frames has data"
        raise NotEnoughData(msg)
    level = settings.level
    if level is None:
        level = trials_level(trials, false_alarms=settings.false_alarms)
    hunt = _Hunt(images, settings, level, memory, list(parts.tiles()))
    movers = hunt.run()
    inverted = hunt.run(sign=-1) if settings.controls else None
    shuffled = None
    if settings.controls:
        # bright movers are seen at single epochs, which line up by chance: they are taken away first
        order = np.random.default_rng(settings.seed).permutation(len(tau))
        shuffled = hunt.run(order=order, known=movers)
    if binning == 2:
        movers = tuple(_unbinned(stack, mover, settings.masked) for mover in movers)
    step = (grid.fine.step if isinstance(grid, TwoLevelGrid) else grid.step) * binning
    pixels = int(stack.covered().sum())
    return Harvest(movers, inverted, shuffled, level, trials, number, step, binning, pixels, len(hunt.tiles))


@dataclass(frozen=True, eq=False)
class _Hunt:
    """One search, done for the frames as they are and for the controls."""

    images: Likelihoods
    settings: StackSettings
    level: float
    memory: float
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
            found.append(best_of_each_pixel(best, self.settings.top) if len(tile) > 1 else best)
        movers = self._judge(Trajectories.joined(found), read)
        return tuple(sorted(movers, key=lambda mover: -mover.likelihood))

    def _search(self, part: Part, read: _Read) -> Trajectories:
        n, ny, nx = self.images.shape
        boxes = part.boxes(self.images.tau)
        if len(self.tiles) == 1 and self.images.kept is not None:
            boxes = Boxes(np.zeros((n, 2), np.int64), (ny, nx))
        images = read(boxes)
        if self.settings.clip:
            images = images.capped(_CAP)
        return _searched(images, part, self.settings, self.level)

    def _judge(self, found: Trajectories, read: _Read) -> list[Mover]:
        """Reduce candidates to movers, group by group."""
        shift = max(3.0, self.settings.drift)
        margin = int(np.ceil(shift)) + EDGE + 1
        tau = self.images.tau
        distance = TOUCH * float(self.images.sigma.max()) + shift + margin + 1

        def near(some: Trajectories) -> LikelihoodImages:
            return read(boxes_about(some, tau, margin))

        def pieces(some: Trajectories) -> list[NDArray[np.int64]]:
            limit = self.memory / (_GROUP_BYTES * self.images.shape[0])
            return fitting(some, lambda part: math.prod(boxes_about(part, tau, margin).size) <= limit)

        movers: list[Mover] = []
        for group in groups_of(found, tau, distance):
            parts = pieces(group)
            whole = near(group) if len(parts) == 1 else None
            left = group
            if self.settings.clip:
                left = Trajectories.joined(
                    _clipped(near(some) if whole is None else whole, some, self.settings, self.level)
                    for some in (group.take(rows) for rows in parts)
                )
            view = Remote(tau, near, pieces) if whole is None else whole
            movers += _explained(view, left, self.settings, self.level, shift)
        return movers


def _searched(images: LikelihoodImages, part: Part, own: StackSettings, level: float) -> Trajectories:
    common: RecordDict = {
        "level": level, "min_obs": own.min_epochs, "top": own.top, "x_range": part.cols, "y_range": part.rows,
        "threads": own.threads, "precision": own.precision,
    }  # fmt: skip
    if isinstance(part.grid, TwoLevelGrid):
        return search_blocks(images, part.grid, **common)
    return search(images, part.grid, **common)


def _clipped(images: LikelihoodImages, found: Trajectories, own: StackSettings, level: float) -> Trajectories:
    return filter_sigma_g(images, found, level=level, min_obs=own.min_epochs)


def _explained(
    images: LikelihoodImages | View, found: Trajectories, own: StackSettings, level: float, max_shift: float
) -> list[Mover]:
    return explain_away(
        images, found, level=level, min_obs=own.min_epochs, clip=own.clip, max_shift=max_shift
    )


def _grid(
    tau: NDArray[np.float64], own: StackSettings, speed: tuple[float, float], binning: int
) -> VelocityGrid | TwoLevelGrid:
    slow, fast = speed[0] / binning, speed[1] / binning
    if len(tau) >= own.two_level_from:
        return two_level_grid(tau, fast, drift=own.drift, block=own.block / MINUTES_PER_DAY)
    return disc_grid(fast, grid_step(tau, own.drift), v_min=slow)


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
