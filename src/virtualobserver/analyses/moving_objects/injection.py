"""Movers put into the images of a night, and how many are found again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.night import Night, load_night, options_of
from virtualobserver.analyses.moving_objects.settings import MovingObjectsSettings
from virtualobserver.conventions import SECONDS_PER_DAY
from virtualobserver.data.handles import Handle, MemoryHandle
from virtualobserver.data.table import Table
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.movers import add_movers, expected_likelihood, match_movers
from virtualobserver.maths.shiftstack import Harvest, find_movers
from virtualobserver.maths.shiftstack_grids import grid_step, pixels_per_day
from virtualobserver.maths.shiftstack_images import LikelihoodImages, likelihood_images

__all__ = ["Recall", "draw_movers", "inject_movers", "measure_recall"]

_TRIES: Final = 400
_SEEN: Final = 0.75  # part of the epochs at which a path must meet pixels with data


@dataclass(frozen=True, eq=False)
class Recall:
    """Injected movers with what became of them, one row each, and false alarms of the same search.

    ``truth`` has ``x, y, vx, vy, rate, pa, flux, mag, likelihood, found, likelihood_found``; ``false`` counts
    rows that are no injected mover, ``duplicates`` second rows of one.
    """

    truth: Table
    harvest: Harvest
    false: int
    duplicates: int
    area: float


def draw_movers(
    rng: np.random.Generator,
    night: Night,
    images: LikelihoodImages,
    settings: MovingObjectsSettings,
    *,
    number: int = 1,
) -> list[dict[str, Any]]:
    """Draw movers whose paths meet data at three of four epochs.

    Raises
    ------
    NotEnoughData
        If no such path is found.
    """
    own = settings.simulate
    slow = max(own.rate[0], settings.stack.rate[0], 1e-3)
    fast = min(own.rate[1], settings.stack.rate[1])
    movers: list[dict[str, Any]] = []
    for _ in range(number):
        for _ in range(_TRIES):
            rate = float(np.exp(rng.uniform(np.log(min(slow, fast)), np.log(fast))))
            mover = _one(rng, night, images, settings, rate)
            if mover is not None:
                movers.append(mover)
                break
        else:
            msg = "no path of a mover stays on unmasked pixels of these images"
            raise NotEnoughData(msg)
    return movers


def _one(
    rng: np.random.Generator,
    night: Night,
    images: LikelihoodImages,
    settings: MovingObjectsSettings,
    rate: float,
) -> dict[str, Any] | None:
    """Draw one path and its light; None if it leaves the data."""
    n, ny, nx = images.shape
    angle = float(rng.uniform(0, 2 * np.pi))
    speed = float(pixels_per_day(rate, night.pixel_scale))
    vx, vy = speed * np.cos(angle), speed * np.sin(angle)
    x, y = float(rng.uniform(0, nx)), float(rng.uniform(0, ny))
    own = settings.simulate
    strength = float(rng.uniform(*(own.likelihood if own.strength == "likelihood" else own.mag)))
    tau = night.frames.tau
    at_x, at_y = x + vx * tau, y + vy * tau
    column, row = (np.floor(part + 0.5).astype(np.int64) for part in (at_x, at_y))
    inside = (column >= 0) & (column < nx) & (row >= 0) & (row < ny)
    seen = inside & (images.phi[np.arange(n), np.where(inside, row, 0), np.where(inside, column, 0)] > 0)
    if seen.sum() < max(_SEEN * n, settings.stack.min_epochs):
        return None
    if own.strength == "mag":
        if not np.isfinite(night.zero_point).all():
            msg = "magnitudes are injected into images with a zero point only; inject by likelihood"
            raise NotEnoughData(msg)
        flux = 10.0 ** (-0.4 * (strength - night.zero_point))
    else:
        unit = float(expected_likelihood(images, at_x, at_y, np.ones(n))[0])
        flux = np.full(n, strength / unit)
    likelihood = float(expected_likelihood(images, at_x, at_y, flux)[0])
    mjd = night.frames.mjd
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


def _binning(night: Night, settings: MovingObjectsSettings) -> int:
    if settings.stack.binning != "auto":
        return settings.stack.binning
    return 2 if float(np.median(night.fwhm)) > 4.0 else 1


def inject_movers(
    products: Sequence[Handle],
    params: Sequence[Mapping[str, Any]],
    night: Night,
    rng: np.random.Generator,
) -> list[Handle]:
    """Return handles to copies of the images with movers added, each at its own pixels and with its noise.

    Profiles are integrated over pixels and along the motion within the exposure. Images in electrons get the
    photon noise of the movers as well.
    """
    tau = night.frames.tau
    place = {int(number): frame for frame, number in enumerate(night.order)}
    seconds = np.nan_to_num(night.exptime) / SECONDS_PER_DAY
    result: list[Handle] = []
    for number, handle in enumerate(products):
        if number not in place:
            result.append(handle)
            continue
        frame = place[number]
        image = handle.load()
        x = np.array([[one["x"] + one["vx"] * tau[frame] + night.dx[frame]] for one in params])
        y = np.array([[one["y"] + one["vy"] * tau[frame] + night.dy[frame]] for one in params])
        trail = tuple(np.array([[one[key] * seconds[frame]] for one in params]) for key in ("vx", "vy"))
        data = add_movers(
            image.data[None], x, y, np.array([[one["flux"][frame]] for one in params]),
            sigma=night.sigma[frame : frame + 1], trail=(trail[0], trail[1]),
            gain=1.0 if image.unit == "electron" else None, rng=rng,
        )  # fmt: skip
        result.append(MemoryHandle(replace(image, data=data[0]), replace(handle.info, simulated=True)))
    return result


def measure_recall(
    products: Sequence[Handle],
    settings: MovingObjectsSettings,
    *,
    number: int = 200,
    seed: int = 0,
) -> Recall:
    """Inject many movers at once and search once: far apart enough not to disturb each other.

    Raises
    ------
    NotEnoughData
        If there are too few images, or no room for movers.
    """
    night = load_night(products, settings)
    if night is None:
        msg = f"{len(products)} images are too few to search for movers"
        raise NotEnoughData(msg)
    images = likelihood_images(night.frames, masked=settings.stack.masked)
    room = int((images.phi > 0).any(axis=0).sum() / settings.simulate.pixels_per_mover)
    rng = np.random.default_rng(seed)
    drawn = draw_movers(rng, night, images, settings, number=max(1, min(number, room)))
    injected = load_night(inject_movers(products, drawn, night, rng), settings)
    assert injected is not None
    harvest = find_movers(injected.frames, options_of(injected, settings))
    return _compare(night, drawn, harvest)


def _compare(night: Night, drawn: Sequence[Mapping[str, Any]], harvest: Harvest) -> Recall:
    truth = {
        name: np.array([np.nan if one[name] is None else one[name] for one in drawn], dtype=np.float64)
        for name in ("x", "y", "vx", "vy", "rate", "direction", "mag", "likelihood")
    }
    truth["flux"] = np.array([one["amplitude"] for one in drawn])
    path = [np.array([getattr(m.path, name) for m in harvest.movers]) for name in ("x", "y", "vx", "vy")]
    tau = night.frames.tau
    matched = match_movers(
        (truth["x"], truth["y"], truth["vx"], truth["vy"]),
        (path[0], path[1], path[2], path[3]),
        first=float(tau[0]),
        last=float(tau[-1]),
        radius=max(2.0, float(np.median(night.fwhm))),
        v_tolerance=2.0 * harvest.step,
    )
    strength: NDArray[np.float64] = np.array([*(m.likelihood for m in harvest.movers), np.nan])
    columns = {**truth, "found": matched.found >= 0, "likelihood_found": strength[matched.found]}
    units = {
        "x": "pix",
        "y": "pix",
        "vx": "pix/d",
        "vy": "pix/d",
        "rate": "arcsec/h",
        "direction": "deg",
        "mag": "mag",
    }
    return Recall(Table(columns, units), harvest, len(matched.false), len(matched.duplicates), night.area)
