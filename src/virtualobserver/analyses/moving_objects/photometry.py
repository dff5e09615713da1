"""The light of movers, measured along their paths and tied to the stars of each image."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.night import Night
from virtualobserver.analyses.moving_objects.own import OwnStack, without_own_light
from virtualobserver.conventions import SECONDS_PER_DAY
from virtualobserver.maths.shiftstack.boxes import open_likelihoods
from virtualobserver.maths.shiftstack.explain import Mover
from virtualobserver.maths.shiftstack.find import Harvest
from virtualobserver.maths.shiftstack.forced import Forced, Light, forced_sums, light_of
from virtualobserver.maths.shiftstack.images import Stack
from virtualobserver.maths.shiftstack.refine import EDGE, Refined, refine
from virtualobserver.maths.shiftstack.search import Trajectories
from virtualobserver.maths.shiftstack.tiles import boxes_about

__all__ = ["clearness", "measure", "measured", "star_parts", "sums_along"]

_CLEAR: Final = 0.9
"""Quantile of the zero points that stands for a clear sky: above it are errors of single images."""
_SHIFT: Final = 2
"""Pixels by which a path may move when the template is freed of it: less than a width of a star."""
_ROUNDS: Final = 3
"""Times that the template is freed of a mover: about a path that was wrong, some of its light stayed."""
_SETTLED: Final = 0.5
"""Pixels by which a path may still have moved: well within the disc that is left out."""
_HALF: Final = 0.4549
"""Median of the square of a number that is normally distributed."""


def measured(night: Night, harvest: Harvest, *, min_epochs: int) -> Harvest:
    """Return the harvest with the light of its movers, strongest first.

    What falls below the level, or has too few epochs left that agree, is no mover: cosmic rays and hot pixels of a few
    frames on one line.
    """
    movers = [_with_light(mover, *_measured(night, mover)) for mover in harvest.movers]
    kept = [one for one in movers if one.likelihood >= harvest.level and one.n_obs >= min_epochs]
    return replace(harvest, movers=tuple(sorted(kept, key=lambda mover: -mover.likelihood)))


def measure(night: Night, mover: Mover) -> Light:
    """Measure the light of a mover in each image, between the pixels and along its trail."""
    return mover.light if mover.light is not None else _measured(night, mover)[1]


def _measured(night: Night, mover: Mover) -> tuple[Refined, Light]:
    """Return the path of a mover and its light, both in frames less a template that is free of it."""
    sigma, path = night.sigma, mover.path
    trail = _trail(night, path.vx, path.vy)

    def along(stack: Stack, path: Refined) -> Forced:
        return _sums(night, stack, path.at(night.tau), trail)

    sums, own = along(night.stack, path), None
    for _ in range(_ROUNDS):
        without = without_own_light(night.stack, *path.at(night.tau), sigma=sigma, trail=np.hypot(*trail))
        if without is None:
            break
        better = _refined(without, path)
        free = along(without, better)
        # of a short path in few images some pixels are never without the mover
        if (free.phi > 0).sum() < (sums.phi > 0).sum():
            break
        moved = _apart(night, path, better)
        path, sums, own = better, free, without
        if moved < _SETTLED:
            break
    x, y = path.at(night.tau)
    held = None
    if own is not None:
        held = own.template.share(x - own.cols[0], y - own.rows[0])
    elif night.stack.template is not None:
        held = night.stack.template.share(x, y)
    part, part_error = star_parts(night)
    light = light_of(
        sums, (x, y), sigma=sigma, part=part, photons=_photons(night), held=held, free=own is not None,
        part_error=float(np.nan_to_num(part_error)), clear=clearness(night),
    )  # fmt: skip
    maps = np.array([one.error for one in night.stack.maps])
    return path.with_errors_of(maps, night.tau, light.phi * light.kept, sigma), light


def _apart(night: Night, one: Refined, other: Refined) -> float:
    """Return how far two paths are from each other at most, pixels."""
    ends = night.tau[[0, -1]]
    return float(np.abs(np.subtract(one.at(ends), other.at(ends))).max())


def sums_along(night: Night, x: NDArray[np.float64], y: NDArray[np.float64], vx: float, vy: float) -> Forced:
    """Return the sums of each image along a known path, in frames less a template that is free of what moves there."""
    trail = _trail(night, vx, vy)
    sums = _sums(night, night.stack, (x, y), trail)
    own = without_own_light(night.stack, x, y, sigma=night.sigma, trail=np.hypot(*trail))
    free = sums if own is None else _sums(night, own, (x, y), trail)
    return free if (free.phi > 0).sum() >= (sums.phi > 0).sum() else sums


def _trail(night: Night, vx: float, vy: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the motion during each exposure, pixels; `vx` and `vy` in pixels a day."""
    exposure = np.nan_to_num(night.exptime) / SECONDS_PER_DAY
    return vx * exposure, vy * exposure


def _sums(
    night: Night,
    stack: Stack,
    place: tuple[NDArray[np.float64], NDArray[np.float64]],
    trail: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Forced:
    return forced_sums(stack, *place, sigma=night.sigma, reach=stack.psf[0].shape[0] // 2, trail=trail)


def _refined(stack: OwnStack, path: Refined) -> Refined:
    """Climb to the most likely path anew."""
    likelihoods = open_likelihoods(stack)
    one = Trajectories.of(path.x, path.y, path.vx, path.vy)
    boxes = boxes_about(one, likelihoods.tau, _SHIFT + EDGE + 2)
    return refine(likelihoods.boxes(boxes.origin, boxes.size), one, max_shift=_SHIFT)


def clearness(night: Night) -> NDArray[np.float64]:
    """Return what part of a light each image shows, by the zero points: 1 in the clearest ones of the night.

    An image without a zero point is taken to be as its neighbours in time are, and all as clear where most have none.
    """
    known = np.isfinite(night.zero_point)
    if 2 * known.sum() <= known.size:
        return np.ones(known.size)
    zero_point = np.interp(night.mjd, night.mjd[known], night.zero_point[known])
    return np.asarray(10.0 ** (0.4 * (zero_point - np.quantile(zero_point, _CLEAR))))


def star_parts(night: Night) -> tuple[NDArray[np.float64], float]:
    """Return what part of a star's light the profile of each image finds, and the relative error of all of them.

    An image with few stars is drawn towards the mean of the night, as far as its stars leave it open. Without any it
    is 1, as for differences, whose stars are gone, and the error is not known: NaN.
    """
    found, error, common = night.stack.light.parts.T
    known = np.isfinite(found)
    if not known.any():
        return np.ones(len(found)), float("nan")
    weight = np.where(known, error**-2.0, 0.0)
    value = np.where(known, found, 0.0)
    mean = float((weight * value).sum() / weight.sum())
    # what images differ by beyond their errors is the seeing; each sees other stars, and one or two do not tell how
    # much these differ
    spread = np.hypot(np.where(known, error, 1.0), np.maximum(common, np.median(common[known])))
    excess = float(np.median((value[known] - mean) ** 2)) / _HALF - float(np.median(spread[known] ** 2))
    share = excess / (excess + spread**2) if excess > 0 else np.zeros(len(found))
    shared = float(np.hypot(1.0 / np.sqrt(weight.sum()), np.median(common[known]))) / mean
    parts = 1.0 + np.where(known, share * (value - mean), 0.0) / mean
    # the median of the night shows more stars, and neighbours that images do not: what the two differ by is an error
    deep, noise, differ = night.stack.light.deep
    if np.isfinite(deep):
        stated = float(np.hypot(shared, np.hypot(noise, differ) / deep)) / 2
        mean, apart = (mean + deep) / 2, abs(mean - deep) / 2
        shared = max(stated, apart / mean / float(np.sqrt(2)))
    return mean * parts, shared


def _photons(night: Night) -> NDArray[np.float64]:
    """Return the variance that one unit of light brings with it in each image."""
    return np.array([one.per_light for one in night.stack.sights])


def _with_light(mover: Mover, path: Refined, light: Light) -> Mover:
    return replace(
        mover, path=path, psi=light.psi.astype(np.float32), phi=light.phi.astype(np.float32), kept=light.kept,
        light=light, likelihood=light.likelihood, n_obs=int(light.kept.sum()),
    )  # fmt: skip
