"""One mover, one row: accept the strongest candidate, take its light away, judge the others anew."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.maths.shiftstack_filters import sigma_g
from virtualobserver.maths.shiftstack_images import LikelihoodImages
from virtualobserver.maths.shiftstack_refine import Refined, refine
from virtualobserver.maths.shiftstack_search import Trajectories, curves, evaluate

__all__ = ["Mover", "explain_away", "without_movers"]

_LEFT_OVER: Final = 1.0  # sigma of the whole path that the light outside the removed disc may still make up
_LEAST: Final = 2.5  # radius of that disc in widths of the point spread function, at least
_MOST: Final = 6.0
_STANDS_OUT: Final = 4.0  # signal-to-noise ratio of one epoch that a refused candidate takes with it


@dataclass(frozen=True, eq=False)
class Mover:
    """One mover: its path between the pixels, and psi and phi of each frame there, shape (frames,).

    ``likelihood`` and ``n_obs`` are those of the search, with the epochs that do not belong left out if
    asked for.
    """

    path: Refined
    likelihood: float
    n_obs: int
    psi: NDArray[np.float32]
    phi: NDArray[np.float32]
    kept: NDArray[np.bool_]


def explain_away(
    images: LikelihoodImages,
    found: Trajectories,
    *,
    level: float,
    min_obs: int = 1,
    most: int = 10_000,
    clip: bool = True,
    single: float = 0.7,
    max_shift: float = 3.0,
) -> list[Mover]:
    """Reduce candidates to movers.

    The strongest is refined and accepted; within 2.5 widths of the point spread function, more for bright
    ones, its pixels then count as without data in every frame; all other candidates are summed anew, and what
    falls below the level is gone. This goes on until none is left.

    Parameters
    ----------
    level, min_obs
        What a mover needs, before and after the epochs that do not agree are left out.
    most
        Stop after so many.
    clip
        Leave out epochs by sigma-G before judging.
    single
        Refuse a mover of whose likelihood one epoch makes up more than this: a flash, a cosmic ray, a star.
    max_shift
        Farthest shift of an epoch by the refinement, pixels.

    Returns
    -------
    list of Mover
        Strongest first.
    """
    work = replace(images, psi=images.psi.copy(), phi=images.phi.copy())
    movers: list[Mover] = []
    left = found.sorted()
    while len(left) and len(movers) < most:
        path = refine(work, left, max_shift=max_shift)
        mover = _judge(work, path, clip=clip)
        if mover is not None and _good(mover, level, min_obs, single):
            movers.append(mover)
            _take_away(work, path.at(work.tau), max(float(left.likelihood[0]), path.likelihood), path.epochs)
            rest = left.take(slice(1, None))
        else:
            rest = _refuse(work, left)
        left = evaluate(work, rest)
        left = left.take((left.likelihood >= level) & (left.n_obs >= min_obs)).sorted()
    return sorted(movers, key=lambda mover: -mover.likelihood)


def without_movers(images: LikelihoodImages, movers: Iterable[Mover]) -> LikelihoodImages:
    """Return images in which the light of some movers counts as without data."""
    work = replace(images, psi=images.psi.copy(), phi=images.phi.copy())
    for mover in movers:
        path = mover.path
        _take_away(work, path.at(work.tau), max(mover.likelihood, path.likelihood), path.epochs)
    return work


def _refuse(images: LikelihoodImages, left: Trajectories) -> Trajectories:
    """Take away the epochs that stand out alone, and drop the paths that are all but the same."""
    first = left.take(slice(0, 1))
    psi, phi = curves(images, first)
    with np.errstate(all="ignore"):
        guilty = np.where(phi[0] > 0, psi[0] / np.sqrt(phi[0]), 0.0) > _STANDS_OUT
    if guilty.any():
        at = (first.x + first.vx * images.tau, first.y + first.vy * images.tau)
        _take_away(images, at, float(first.likelihood[0]), guilty)
    ends = [
        np.hypot(
            left.x - left.x[0] + (left.vx - left.vx[0]) * t, left.y - left.y[0] + (left.vy - left.vy[0]) * t
        )
        for t in (images.tau[0], images.tau[-1])
    ]
    same = np.maximum(ends[0], ends[1]) <= float(np.median(images.sigma))
    same[0] = True
    return left.take(~same)


def _judge(images: LikelihoodImages, path: Refined, *, clip: bool) -> Mover | None:
    psi, phi = curves(images, Trajectories.of(path.x, path.y, path.vx, path.vy))
    keep = phi > 0
    if clip:
        keep = keep & sigma_g(psi, phi).keep
    if not keep.any():
        return None
    total, weight = float(psi[keep].sum(dtype=np.float64)), float(phi[keep].sum(dtype=np.float64))
    return Mover(path, total / float(np.sqrt(weight)), int(keep.sum()), psi[0], phi[0], keep[0])


def _good(mover: Mover, level: float, min_obs: int, single: float) -> bool:
    if mover.likelihood < level or mover.n_obs < min_obs or mover.path.likelihood < level:
        return False
    share = mover.psi[mover.kept] / max(float(mover.psi[mover.kept].sum()), 1e-30)
    return bool(share.max() <= single)


def _take_away(
    images: LikelihoodImages,
    at: tuple[NDArray[np.float64], NDArray[np.float64]],
    strength: float,
    epochs: NDArray[np.bool_],
) -> None:
    """Empty the discs about a path in some frames, wide enough that what is left makes up no candidate."""
    _, ny, nx = images.shape
    # psi of a Gaussian source falls as exp(-d^2 / 4 sigma^2)
    factor = min(max(_LEAST, 2.0 * np.sqrt(np.log(max(strength / _LEFT_OVER, 1.0)))), _MOST)
    x, y = at
    for frame in np.flatnonzero(epochs):
        radius = factor * images.sigma[frame]
        x0, x1 = max(0, int(x[frame] - radius)), min(nx, int(x[frame] + radius) + 2)
        y0, y1 = max(0, int(y[frame] - radius)), min(ny, int(y[frame] + radius) + 2)
        if x0 >= x1 or y0 >= y1:
            continue
        rows, cols = np.ogrid[y0:y1, x0:x1]
        disc = (rows - y[frame]) ** 2 + (cols - x[frame]) ** 2 <= radius**2
        for plane in (images.psi, images.phi):
            plane[frame, y0:y1, x0:x1][disc] = 0.0
