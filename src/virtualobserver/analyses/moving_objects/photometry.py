"""The light of movers, measured along their paths and tied to the stars of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.night import Night
from virtualobserver.conventions import SECONDS_PER_DAY
from virtualobserver.maths.shiftstack.explain import Mover
from virtualobserver.maths.shiftstack.find import Harvest
from virtualobserver.maths.shiftstack.forced import Light, forced_sums, light_of

__all__ = ["clearness", "measure", "measured", "star_parts"]

_CLEAR: Final = 0.9
"""Quantile of the zero points that stands for a clear sky: above it are errors of single images."""
_HALF: Final = 0.4549
"""Median of the square of a number that is normally distributed."""


def measured(night: Night, harvest: Harvest, *, min_epochs: int) -> Harvest:
    """Return the harvest with the light of its movers, strongest first.

    What falls below the level, or has too few epochs left that agree, is no mover: cosmic rays and hot pixels of a few
    frames on one line.
    """
    movers = [_with_light(mover, measure(night, mover)) for mover in harvest.movers]
    kept = [one for one in movers if one.likelihood >= harvest.level and one.n_obs >= min_epochs]
    return replace(harvest, movers=tuple(sorted(kept, key=lambda mover: -mover.likelihood)))


def measure(night: Night, mover: Mover) -> Light:
    """Measure the light of a mover in each image, between the pixels and along its trail."""
    if mover.light is not None:
        return mover.light
    x, y = mover.path.at(night.tau)
    exposure = np.nan_to_num(night.exptime) / SECONDS_PER_DAY
    sigma = night.sigma
    sums = forced_sums(
        night.stack, x, y, sigma=sigma, reach=night.stack.psf[0].shape[0] // 2,
        trail=(mover.path.vx * exposure, mover.path.vy * exposure),
    )  # fmt: skip
    part, part_error = star_parts(night)
    return light_of(
        sums, (x, y), sigma=sigma, part=part, photons=_photons(night),
        template=night.stack.template is not None, part_error=float(np.nan_to_num(part_error)),
        clear=clearness(night),
    )  # fmt: skip


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
    found, error, common = np.array([one.light for one in night.stack.sights]).T
    known = np.isfinite(found)
    if not known.any():
        return np.ones(len(found)), float("nan")
    weight = np.where(known, error**-2.0, 0.0)
    value = np.where(known, found, 0.0)
    mean = float((weight * value).sum() / weight.sum())
    # what images differ by beyond their errors is the seeing
    excess = float(np.median((value[known] - mean) ** 2)) / _HALF - float(np.median(error[known] ** 2))
    share = excess / (excess + np.where(known, error, 1.0) ** 2) if excess > 0 else np.zeros(len(found))
    shared = float(np.hypot(1.0 / np.sqrt(weight.sum()), np.median(common[known]))) / mean
    return mean + np.where(known, share * (value - mean), 0.0), shared


def _photons(night: Night) -> NDArray[np.float64]:
    """Return the variance that one unit of light brings with it in each image."""
    maps: Sequence[float] = [
        0.0 if one.photons is None else float(np.median(one.photons.level)) for one in night.stack.sights
    ]
    return np.array(maps)


def _with_light(mover: Mover, light: Light) -> Mover:
    return replace(
        mover, psi=light.psi.astype(np.float32), phi=light.phi.astype(np.float32), kept=light.kept, light=light,
        likelihood=light.likelihood, n_obs=int(light.kept.sum()),
    )  # fmt: skip
