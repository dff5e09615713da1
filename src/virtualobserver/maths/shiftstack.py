"""Shift and stack: from frames on one grid to movers, with the false alarms of the same search beside them.

The steps, each a function of its own module: likelihood images, search of all start pixels and velocities,
sigma-G on the curves, explaining away, refinement. Controls run the same steps on the frames with inverted
sign and on the frames, without the movers found, at each other's times: what is found there is false.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.shiftstack_explain import Mover, explain_away, without_movers
from virtualobserver.maths.shiftstack_filters import filter_sigma_g
from virtualobserver.maths.shiftstack_grids import (
    TwoLevelGrid,
    VelocityGrid,
    disc_grid,
    grid_step,
    two_level_grid,
)
from virtualobserver.maths.shiftstack_images import (
    Frames,
    LikelihoodImages,
    Masked,
    bin_frames,
    likelihood_images,
)
from virtualobserver.maths.shiftstack_refine import refine
from virtualobserver.maths.shiftstack_search import (
    Engine,
    Precision,
    Trajectories,
    curves,
    search,
    search_blocks,
)

__all__ = ["Harvest", "StackOptions", "find_movers", "search_images", "trials_level"]

_FWHM: Final = 2.3548200450309493
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
    threads, engine, precision
        See `shiftstack_search.search`.
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
    engine: Engine = "auto"
    precision: Precision = "single"


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
    images
        Likelihood images of the frames as given.
    """

    movers: tuple[Mover, ...]
    inverted: tuple[Mover, ...] | None
    shuffled: tuple[Mover, ...] | None
    level: float
    trials: float
    velocities: int
    step: float
    binning: int
    images: LikelihoodImages


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


def find_movers(frames: Frames, options: StackOptions) -> Harvest:
    """Search frames on one grid for movers.

    Raises
    ------
    NotEnoughData
        If there are fewer frames than `min_obs`, or all of one time.
    """
    if len(frames.mjd) < max(2, options.min_obs) or not np.ptp(frames.mjd) > 0:
        msg = f"{len(frames.mjd)} frames are too few to stack; {max(2, options.min_obs)} of different times"
        raise NotEnoughData(msg)
    images = likelihood_images(frames, masked=options.masked)
    binning = options.binning or (2 if _FWHM * float(np.median(images.sigma)) > _BIN_FROM else 1)
    coarse = likelihood_images(bin_frames(frames), masked=options.masked) if binning == 2 else images
    grid = _grid(coarse, options, binning)
    number = len(grid.flat()) if isinstance(grid, TwoLevelGrid) else len(grid)
    trials = float((coarse.phi > 0).any(axis=0).sum()) * number
    if trials == 0:
        msg = "no pixel of the frames has data"
        raise NotEnoughData(msg)
    level = (
        trials_level(trials, false_alarms=options.false_alarms) if options.level is None else options.level
    )
    options = replace(options, level=level)

    def run(these: LikelihoodImages) -> tuple[Mover, ...]:
        return tuple(search_images(these, grid, options))

    movers = run(coarse)
    inverted = run(coarse.inverted()) if options.controls else None
    shuffled = None
    if options.controls:
        # bright movers are seen at single epochs, which line up by chance: they are taken away first
        shuffled = run(without_movers(coarse, movers).shuffled(options.seed))
    if binning == 2:
        movers = tuple(_unbinned(images, mover) for mover in movers)
    step = (grid.fine.step if isinstance(grid, TwoLevelGrid) else grid.step) * binning
    return Harvest(movers, inverted, shuffled, level, trials, number, step, binning, images)


def search_images(
    images: LikelihoodImages, grid: VelocityGrid | TwoLevelGrid, options: StackOptions
) -> list[Mover]:
    """Search, filter and explain away; `options.level` must be set."""
    level = options.level if options.level is not None else 0.0
    if isinstance(grid, TwoLevelGrid):
        found = search_blocks(
            images, grid, level=level, min_obs=options.min_obs, top=options.top,
            threads=options.threads, engine=options.engine, precision=options.precision,
        )  # fmt: skip
    else:
        found = search(
            images, grid, level=level, min_obs=options.min_obs, top=options.top,
            threads=options.threads, engine=options.engine, precision=options.precision,
        )  # fmt: skip
    if options.clip:
        found = filter_sigma_g(images, found, level=level, min_obs=options.min_obs)
    shift = max(3.0, options.drift)
    return explain_away(
        images, found, level=level, min_obs=options.min_obs, clip=options.clip, max_shift=shift
    )


def _grid(images: LikelihoodImages, options: StackOptions, binning: int) -> VelocityGrid | TwoLevelGrid:
    fast, slow = options.v_max / binning, options.v_min / binning
    if len(images.tau) >= options.two_level_from:
        return two_level_grid(images.tau, fast, drift=options.drift, block=options.block)
    return disc_grid(fast, grid_step(images.tau, options.drift), v_min=slow)


def _unbinned(images: LikelihoodImages, mover: Mover) -> Mover:
    """Refine a mover of binned frames on the frames themselves."""
    path = mover.path
    one = Trajectories.of(2 * path.x + 0.5, 2 * path.y + 0.5, 2 * path.vx, 2 * path.vy)
    better = refine(images, one)
    psi, phi = curves(images, Trajectories.of(better.x, better.y, better.vx, better.vy))
    kept: NDArray[np.bool_] = mover.kept & (phi[0] > 0)
    return Mover(better, mover.likelihood, mover.n_obs, psi[0], phi[0], kept)
