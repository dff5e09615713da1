"""Movers put into the images of a night, and how many are found again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.light import Light, LitHandle
from virtualobserver.analyses.moving_objects.night import Night, load_night, options_of
from virtualobserver.analyses.moving_objects.settings import MovingObjectsSettings
from virtualobserver.conventions import SECONDS_PER_DAY
from virtualobserver.data.handles import Handle
from virtualobserver.data.table import Table
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.movers import match_movers
from virtualobserver.maths.shiftstack import Harvest, find_movers
from virtualobserver.maths.shiftstack_boxes import Likelihoods, open_likelihoods, phi_along
from virtualobserver.maths.shiftstack_explain import Mover
from virtualobserver.maths.shiftstack_grids import grid_step, pixels_per_day

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
    likelihoods = open_likelihoods(night.stack, masked=settings.stack.masked)
    movers: list[dict[str, Any]] = []
    for _ in range(number):
        for _ in range(_TRIES):
            rate = float(np.exp(rng.uniform(np.log(min(slow, fast)), np.log(fast))))
            mover = _one(rng, night, likelihoods, settings, rate)
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
    likelihoods: Likelihoods,
    settings: MovingObjectsSettings,
    rate: float,
) -> dict[str, Any] | None:
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
    products: Sequence[Handle],
    params: Sequence[Mapping[str, Any]],
    night: Night,
    rng: np.random.Generator,
) -> list[Handle]:
    """Return handles to copies of the images with movers added, each at its own pixels and with its noise.

    Profiles are integrated over pixels and along the motion within the exposure. Images in electrons get the
    photon noise of the movers as well. Nothing is read before the copies are.
    """
    tau = night.tau
    seconds = np.nan_to_num(night.exptime) / SECONDS_PER_DAY
    seed = int(rng.integers(2**62))
    result = list(products)
    for frame, number in enumerate(night.order.tolist()):
        light = [
            Light(
                x=one["x"] + one["vx"] * float(tau[frame]) + int(night.stack.dx[frame]),
                y=one["y"] + one["vy"] * float(tau[frame]) + int(night.stack.dy[frame]),
                flux=one["flux"][frame],
                trail=(one["vx"] * float(seconds[frame]), one["vy"] * float(seconds[frame])),
            )
            for one in params
        ]
        result[number] = LitHandle(products[number], tuple(light), float(night.sigma[frame]), (seed, frame))
    return result


def measure_recall(
    products: Sequence[Handle],
    settings: MovingObjectsSettings,
    *,
    number: int = 200,
    seed: int = 0,
    rounds: int = 1,
    known: Sequence[Mover] = (),
) -> Recall:
    """Inject many movers at once and search once: far apart enough not to disturb each other.

    Parameters
    ----------
    number
        Movers wanted; no more than there is room for in a round.
    rounds
        Search so often at most, each time with others, until there were as many as wanted.
    known
        Movers found without any injected: to find them again is no false alarm.

    Raises
    ------
    NotEnoughData
        If there are too few images, or no room for movers.
    """
    night = load_night(products, settings)
    if night is None:
        msg = f"{len(products)} images are too few to search for movers"
        raise NotEnoughData(msg)
    room = max(1, int(night.stack.covered().sum() / settings.simulate.pixels_per_mover))
    made: list[Recall] = []
    while len(made) < rounds and sum(len(one.truth) for one in made) < number:
        rng = np.random.default_rng([seed, len(made)] if made else seed)
        left = number - sum(len(one.truth) for one in made)
        drawn = draw_movers(rng, night, settings, number=min(left, room))
        injected = load_night(inject_movers(products, drawn, night, rng), settings)
        assert injected is not None
        harvest = find_movers(injected.stack, options_of(injected, settings))
        made.append(_compare(night, drawn, harvest, known))
    columns = {name: np.concatenate([one.truth[name] for one in made]) for name in made[0].truth.columns}
    truth = Table(columns, made[0].truth.units)
    harvest, area = made[0].harvest, sum(one.area for one in made)
    return Recall(truth, harvest, sum(one.false for one in made), sum(one.duplicates for one in made), area)


def _compare(
    night: Night, drawn: Sequence[Mapping[str, Any]], harvest: Harvest, known: Sequence[Mover]
) -> Recall:
    truth = {
        name: np.array([np.nan if one[name] is None else one[name] for one in drawn], dtype=np.float64)
        for name in ("x", "y", "vx", "vy", "rate", "direction", "mag", "likelihood")
    }
    truth["flux"] = np.array([one["amplitude"] for one in drawn])
    tau = night.tau
    limits = {
        "first": float(tau[0]), "last": float(tau[-1]), "radius": max(2.0, float(np.median(night.fwhm))),
        "v_tolerance": 2.0 * harvest.step,
    }  # fmt: skip
    matched = match_movers(
        (truth["x"], truth["y"], truth["vx"], truth["vy"]), _paths(harvest.movers), **limits
    )
    strangers = [harvest.movers[row] for row in matched.false]
    false = len(match_movers(_paths(known), _paths(strangers), **limits).false) if strangers else 0
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
    return Recall(
        Table(columns, units),
        harvest,
        false,
        len(matched.duplicates),
        night.area(harvest.pixels),
    )


_Paths = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _paths(movers: Sequence[Mover]) -> _Paths:
    """Return x, y, vx and vy of movers."""
    rows = [(one.path.x, one.path.y, one.path.vx, one.path.vy) for one in movers]
    x, y, vx, vy = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return x, y, vx, vy
