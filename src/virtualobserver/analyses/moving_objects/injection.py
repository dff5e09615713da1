"""Movers put into the images of a night."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.light import Light, LitHandle
from virtualobserver.analyses.moving_objects.night import Night
from virtualobserver.analyses.moving_objects.settings import MovingObjectsSettings
from virtualobserver.conventions import SECONDS_PER_DAY
from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.data.table import Table
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.draws import log_uniform
from virtualobserver.maths.images.mapping import PixelMap
from virtualobserver.maths.shiftstack.boxes import Likelihoods, open_likelihoods, phi_along
from virtualobserver.maths.shiftstack.grids import grid_step, pixels_per_day
from virtualobserver.typing import Record, RecordDict

__all__ = ["draw_movers", "inject_movers", "room"]

_TRIES: Final = 400
"""Draws before it is said that no mover fits into the frames."""
_SLOWEST: Final = 1e-3  # arcsec/h: rates are drawn in the logarithm, which has no zero
_SEEN: Final = 0.75  # chosen: part of the epochs at which a path must meet pixels with data


def draw_movers(
    rngs: Sequence[np.random.Generator], night: Night, settings: MovingObjectsSettings
) -> list[RecordDict]:
    """Draw one mover from each generator, whose path meets data at three of four epochs.

    Raises
    ------
    NotEnoughData
        If no such path is found.
    """
    likelihoods = open_likelihoods(night.stack, masked=settings.stack.masked)
    return [_draw(rng, night, likelihoods, settings) for rng in rngs]


def room(night: Night, settings: MovingObjectsSettings) -> int:
    """Return how many movers one search of a night bears."""
    return max(1, int(night.stack.covered().sum() / settings.simulate.pixels_per_mover))


def _draw(
    rng: np.random.Generator, night: Night, likelihoods: Likelihoods, settings: MovingObjectsSettings
) -> RecordDict:
    own = settings.simulate
    slow = max(own.rate[0], settings.stack.rate[0], _SLOWEST)
    fast = min(own.rate[1], settings.stack.rate[1])
    for _ in range(_TRIES):
        rate = log_uniform(rng, (min(slow, fast), fast))
        mover = _one(rng, night, likelihoods, settings, rate)
        if mover is not None:
            # noise of its own: a mover is the same alone and among others
            return mover | {"noise_seed": int(rng.integers(2**53))}
    msg = "no path of a mover stays on unmasked pixels of these images"
    raise NotEnoughData(msg)


def _one(
    rng: np.random.Generator,
    night: Night,
    likelihoods: Likelihoods,
    settings: MovingObjectsSettings,
    rate: float,
) -> RecordDict | None:
    """Draw one path and its light; None if it leaves the data."""
    n, ny, nx = night.stack.shape
    angle = float(rng.uniform(0, 2 * np.pi))
    speed = float(pixels_per_day(rate, night.pixel_scale))
    vx, vy = speed * np.cos(angle), speed * np.sin(angle)
    x, y = float(rng.uniform(0, nx)), float(rng.uniform(0, ny))
    own = settings.simulate
    strength = float(rng.uniform(*(own.likelihood if own.strength == "likelihood" else own.mag)))
    tau = night.tau
    at_x, at_y = x + vx * tau, y + vy * tau
    # most paths that leave are seen to leave before anything is read
    inside = (at_x >= -0.5) & (at_x < nx - 0.5) & (at_y >= -0.5) & (at_y < ny - 0.5)
    if inside.sum() < max(_SEEN * n, settings.stack.min_epochs):
        return None
    phi = phi_along(likelihoods, at_x, at_y)
    seen = phi > 0
    if seen.sum() < max(_SEEN * n, settings.stack.min_epochs):
        return None
    flux = _flux(night, settings, strength, phi)
    likelihood = float(np.sqrt((flux**2 * phi).sum(dtype=np.float64)))
    mjd = night.mjd
    usual = float(np.median(flux))
    mag = float(np.median(night.zero_point - 2.5 * np.log10(flux)))
    return {
        "kind": "mover", "x": x, "y": y, "vx": vx, "vy": vy, "rate": rate, "direction": float(np.degrees(angle)),
        "flux": [float(value) for value in flux], "amplitude": usual,
        "mag": mag if np.isfinite(mag) else None, "likelihood": likelihood,
        "t_peak": float(mjd[n // 2]), "start_mjd": float(mjd[seen][0]), "end_mjd": float(mjd[seen][-1]),
        "mjd0": float(mjd[0]), "radius": max(2.0, float(np.median(night.fwhm))),
        "v_tolerance": 2.0 * grid_step(tau, settings.stack.drift) * _binning(night, settings),
    }  # fmt: skip


def _flux(
    night: Night, settings: MovingObjectsSettings, strength: float, phi: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the flux in each image of a mover of some magnitude or expected likelihood."""
    if settings.simulate.strength == "likelihood":
        return np.full(len(phi), strength / float(np.sqrt(phi.sum(dtype=np.float64))))
    if not np.isfinite(night.zero_point).all():
        msg = "magnitudes are injected into images with a zero point only; inject by likelihood"
        raise NotEnoughData(msg)
    return np.asarray(10.0 ** (-0.4 * (strength - night.zero_point)))


def _binning(night: Night, settings: MovingObjectsSettings) -> int:
    if settings.stack.binning != "auto":
        return settings.stack.binning
    return 2 if float(np.median(night.fwhm)) > 4.0 else 1


def inject_movers(
    products: Sequence[Handle[Image | Table]], params: Sequence[Record], night: Night
) -> list[Handle[Image | Table]]:
    """Return handles to copies of the images with movers added, each at its own pixels and with its noise.

    Profiles are integrated over pixels and along the motion within the exposure. Images in electrons get the
    photon noise of the movers as well. Nothing is read before the copies are.
    """
    tau = night.tau
    seconds = np.nan_to_num(night.exptime) / SECONDS_PER_DAY
    result = list(products)
    for frame, number in enumerate(night.order.tolist()):
        light = [
            _light(one, night.stack.maps[frame], float(tau[frame]), float(seconds[frame]), frame)
            for one in params
        ]
        result[number] = LitHandle(
            cast(Handle[Image], products[number]), tuple(light), float(night.sigma[frame])
        )
    return result


def _light(one: Record, mapping: PixelMap, tau: float, exposure: float, frame: int) -> Light:
    """Return the light of a mover in the pixels of an image."""
    at = one["x"] + one["vx"] * tau, one["y"] + one["vy"] * tau
    x, y = mapping(*at)
    return Light(
        x=float(x), y=float(y), flux=one["flux"][frame],
        trail=mapping.motion(*at, one["vx"] * exposure, one["vy"] * exposure), seed=(one["noise_seed"], frame),
    )  # fmt: skip
