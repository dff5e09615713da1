"""One mover, one row: accept the strongest candidate, take its light away, judge the others anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from virtualobserver.maths.shiftstack.filters import sigma_g
from virtualobserver.maths.shiftstack.forced import Light
from virtualobserver.maths.shiftstack.images import LikelihoodImages
from virtualobserver.maths.shiftstack.refine import Refined, refine
from virtualobserver.maths.shiftstack.search import Trajectories, curves, evaluate

__all__ = ["TOUCH", "Hole", "Mover", "Remote", "View", "explain_away", "without_movers"]

_LEFT_OVER: Final = 1.0  # sigma of the whole path that the light outside the removed disc may still make up
_LEAST: Final = 2.5  # radius of that disc in widths of the point spread function, at least
_MOST: Final = 6.0
"""Radius of that disc in widths, at most: beyond, a profile is below 1e-7 of its peak."""
TOUCH: Final = _MOST
"""Widths of the profile within which the light of a mover, taken away, changes what others have."""

_STANDS_OUT: Final = 4.0  # signal-to-noise ratio of one epoch that a refused candidate takes with it


@dataclass(frozen=True, eq=False)
class Mover:
    """One mover: its path between the pixels, and psi and phi of each frame there, shape (frames,).

    ``likelihood`` and ``n_obs`` are those of the search, with the epochs that do not belong left out if
    asked for. ``light`` is measured at the end, between the pixels.
    """

    path: Refined
    likelihood: float
    n_obs: int
    psi: NDArray[np.float32]
    phi: NDArray[np.float32]
    kept: NDArray[np.bool_]
    light: Light | None = None


class View(Protocol):
    """The likelihood images as candidates see them: without the light that was taken away."""

    def near(self, path: Trajectories) -> LikelihoodImages:
        """Return images that hold one path and its surroundings."""
        ...

    def take_away(self, hole: Hole) -> None:
        """Let discs about a path count as without data from now on."""
        ...

    def judged(self, found: Trajectories, since: Sequence[Hole] | None) -> Trajectories:
        """Sum along the paths anew after some holes were made; None = for the first time."""
        ...


@dataclass(frozen=True, eq=False)
class Hole:
    """Discs about a path in some frames: centres and radii, pixels, shape (n,), and which frames."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    radius: NDArray[np.float64]
    epochs: NDArray[np.bool_]

    def meets(self, found: Trajectories, tau: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which paths come so near that their sums may change, shape (n,)."""
        result = np.zeros(len(found), bool)
        for frame in np.flatnonzero(self.epochs):
            apart = np.hypot(
                found.x + found.vx * tau[frame] - self.x[frame],
                found.y + found.vy * tau[frame] - self.y[frame],
            )
            result |= apart <= self.radius[frame] + 1.0
        return result


@dataclass(frozen=True, eq=False)
class _Whole:
    """Images in memory, changed in place."""

    images: LikelihoodImages

    def near(self, path: Trajectories) -> LikelihoodImages:  # noqa: ARG002 - all are here
        return self.images

    def take_away(self, hole: Hole) -> None:
        _punch(self.images, hole)

    def judged(self, found: Trajectories, since: Sequence[Hole] | None) -> Trajectories:  # noqa: ARG002
        return evaluate(self.images, found)


@dataclass(frozen=True, eq=False)
class Remote:
    """Images read again for every candidate, for groups too large to be in memory.

    Parameters
    ----------
    tau
        Days since the first frame, shape (n,).
    read
        Returns images that hold the given paths and so many pixels about them.
    pieces
        Cuts candidates into parts whose images fit into memory.
    holes
        What was taken away so far.
    """

    tau: NDArray[np.float64]
    read: Callable[[Trajectories], LikelihoodImages]
    pieces: Callable[[Trajectories], Sequence[NDArray[np.int64]]]
    holes: list[Hole] = field(default_factory=list)

    def near(self, path: Trajectories) -> LikelihoodImages:
        """Return images that hold one path and its surroundings."""
        images = self.read(path)
        for hole in self.holes:
            _punch(images, hole)
        return images

    def take_away(self, hole: Hole) -> None:
        """Let discs about a path count as without data from now on."""
        self.holes.append(hole)

    def judged(self, found: Trajectories, since: Sequence[Hole] | None) -> Trajectories:
        """Sum along those paths anew that meet a new hole; the others stay as they are."""
        changed = np.ones(len(found), bool)
        if since is not None:
            changed = np.zeros(len(found), bool)
            for hole in since:
                changed |= hole.meets(found, self.tau)
        touched = found.take(changed)
        parts = [touched.take(rows) for rows in self.pieces(touched)]
        return Trajectories.joined(
            [found.take(~changed), *(evaluate(self.near(part), part) for part in parts)]
        )


def explain_away(
    images: LikelihoodImages | View,
    found: Trajectories,
    *,
    level: float,
    min_obs: int = 1,
    most: int = 10_000,  # chosen: a bound on time that no real night reaches
    clip: bool = True,
    single: float = 0.7,  # chosen: of two equal epochs one has 0.5; what is seen once has 1
    max_shift: float = 3.0,  # chosen: a path a little beside the best one of the grid is reached
) -> list[Mover]:
    """Reduce candidates to movers.

    The strongest is refined and accepted; within 2.5 widths of the point spread function, more for bright
    ones, its pixels then count as without data in every frame; all other candidates are summed anew, and what
    falls below the level is gone. This goes on until none is left.

    Parameters
    ----------
    images
        In memory, of which a copy is made, or a view of them.
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
    view: View = _Whole(_copied(images)) if isinstance(images, LikelihoodImages) else images
    movers: list[Mover] = []
    left = view.judged(found, None).sorted()
    while len(left) and len(movers) < most:
        first = left.take(slice(0, 1))
        work = view.near(first)
        path = refine(work, first, max_shift=max_shift, clip=clip)
        mover = _judge(work, path, clip=clip)
        if mover is not None and _good(mover, level, min_obs, single):
            movers.append(mover)
            holes = [
                _hole(work, path.at(work.tau), max(float(first.likelihood[0]), path.likelihood), path.epochs)
            ]
            rest = left.take(slice(1, None))
        else:
            holes, rest = _refuse(work, left)
        for hole in holes:
            view.take_away(hole)
        left = view.judged(rest, holes)
        left = left.take((left.likelihood >= level) & (left.n_obs >= min_obs)).sorted()
    return sorted(movers, key=lambda mover: -mover.likelihood)


def without_movers(
    images: LikelihoodImages, movers: Iterable[Mover], order: NDArray[np.int64] | None = None
) -> LikelihoodImages:
    """Return images in which the light of some movers counts as without data.

    Parameters
    ----------
    order
        Which frame each image really is, where they are not in order of time.
    """
    work = _copied(images)
    places = np.arange(len(images.tau)) if order is None else order
    for mover in movers:
        path = mover.path
        x, y = path.at(work.tau)
        strength = max(mover.likelihood, path.likelihood)
        _punch(work, _hole(work, (x[places], y[places]), strength, path.epochs[places]))
    return work


def _copied(images: LikelihoodImages) -> LikelihoodImages:
    return replace(images, psi=images.psi.copy(), phi=images.phi.copy())


def _refuse(images: LikelihoodImages, left: Trajectories) -> tuple[list[Hole], Trajectories]:
    """Take away the epochs that stand out alone, and drop the paths that are all but the same."""
    first = left.take(slice(0, 1))
    psi, phi = curves(images, first)
    with np.errstate(all="ignore"):
        guilty = np.where(phi[0] > 0, psi[0] / np.sqrt(phi[0]), 0.0) > _STANDS_OUT
    at = (first.x + first.vx * images.tau, first.y + first.vy * images.tau)
    holes = [_hole(images, at, float(first.likelihood[0]), guilty)] if guilty.any() else []
    ends = [
        np.hypot(
            left.x - left.x[0] + (left.vx - left.vx[0]) * t, left.y - left.y[0] + (left.vy - left.vy[0]) * t
        )
        for t in (images.tau[0], images.tau[-1])
    ]
    same = np.maximum(ends[0], ends[1]) <= float(np.median(images.sigma))
    same[0] = True
    return holes, left.take(~same)


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


def _hole(
    images: LikelihoodImages,
    at: tuple[NDArray[np.float64], NDArray[np.float64]],
    strength: float,
    epochs: NDArray[np.bool_],
) -> Hole:
    """Return discs about a path, wide enough that what is left of its light makes up no candidate."""
    # psi of a Gaussian source falls as exp(-d^2 / 4 sigma^2)
    factor = min(max(_LEAST, 2.0 * np.sqrt(np.log(max(strength / _LEFT_OVER, 1.0)))), _MOST)
    return Hole(at[0], at[1], factor * images.sigma, epochs)


def _punch(images: LikelihoodImages, hole: Hole) -> None:
    """Empty the discs of a hole."""
    _, ny, nx = images.shape
    for frame in np.flatnonzero(hole.epochs):
        left, low = images.origin[frame]
        x, y, radius = float(hole.x[frame]), float(hole.y[frame]), float(hole.radius[frame])
        x0, x1 = max(0, int(x - radius) - left), min(nx, int(x + radius) + 2 - left)
        y0, y1 = max(0, int(y - radius) - low), min(ny, int(y + radius) + 2 - low)
        if x0 >= x1 or y0 >= y1:
            continue
        rows, cols = np.ogrid[y0 + low : y1 + low, x0 + left : x1 + left]
        disc = (rows - y) ** 2 + (cols - x) ** 2 <= radius**2
        for plane in (images.psi, images.phi):
            plane[frame, y0:y1, x0:x1][disc] = 0.0
