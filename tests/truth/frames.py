"""Nights of frames, from photons: own profiles, own motions of telescope and movers, own dirt.

A frame is what a detector counts: photons of a sky, of stars and of movers, drawn by Poisson's law, and the noise of
reading. Profiles are Gaussian or Moffat, averaged over the pixels, and movers are drawn out along their way while the
shutter is open. Telescopes drift, dither and turn. None of this is shared with what the analysis injects.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from astropy.wcs import WCS

from virtualobserver.data import Image, as_handle
from virtualobserver.data.handles import Handle
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.images.psf import measure_psf
from virtualobserver.maths.images.sources import find_sources

__all__ = ["Mover", "Night", "NightPlan", "draw_movers", "make_night"]

OVER = 3  # points along each side of a pixel
READ_NOISE = 8.0
ZERO_POINT = 25.0  # magnitude of one electron of a whole star


@dataclass(frozen=True)
class NightPlan:
    """What a night is like.

    Parameters
    ----------
    frames, side
        Number and size in pixels.
    hours
        From first to last frame.
    exposure
        s.
    scale
        Arcsec per pixel.
    sky
        Electrons per pixel.
    fwhm
        Pixels; from the first frame to the last.
    beta
        Of Moffat's profile; None = Gaussian.
    drift
        Pixels in x and y over the night.
    dither
        Scatter of the pointing of each frame about it, pixels.
    turn
        Rotation over the night, degrees.
    stars
        Number; their magnitudes are those of a power law.
    dirty
        Clouds, jumps of the seeing, a sky with a slope, hot pixels that no dark knew of, cosmic rays that nobody
        masked, and satellites.
    world
        Whether headers hold world coordinates.
    star_light
        Faintest and brightest star, electrons, drawn evenly in the logarithm; None = many faint and few bright.
    scintillation
        Relative scatter of each star from frame to frame.
    """

    frames: int = 30
    side: int = 200
    hours: float = 4.0
    exposure: float = 90.0
    scale: float = 2.0
    sky: float = 700.0
    fwhm: tuple[float, float] = (3.0, 3.0)
    beta: float | None = None
    drift: tuple[float, float] = (0.0, 0.0)
    dither: float = 0.0
    turn: float = 0.0
    stars: int = 60
    dirty: bool = False
    world: bool = True
    star_light: tuple[float, float] | None = None
    scintillation: float = 0.0


@dataclass(frozen=True)
class Mover:
    """Start (pixels of the first frame), velocity (px/h), electrons in a clear frame, and what was seen of it.

    ``ideal`` is the signal-to-noise ratio of a filter that knows profile, trail and noise of every pixel.
    """

    x: float
    y: float
    vx: float
    vy: float
    flux: float
    ideal: float = 0.0

    def at(self, hours: float) -> tuple[float, float]:
        """Return where it is, pixels of the first frame."""
        return self.x + self.vx * hours, self.y + self.vy * hours


@dataclass(frozen=True)
class Night:
    """The frames, and the truth."""

    plan: NightPlan
    handles: list[Handle]
    movers: list[Mover]
    hours: np.ndarray
    worlds: list[WCS] = field(default_factory=list)
    stars: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))  # x, y of the first frame, electrons


def make_night(plan: NightPlan, movers: list[Mover], seed: int = 0) -> Night:
    """Expose all frames of a night."""
    rng = np.random.default_rng(seed)
    hours = np.sort(
        np.linspace(0, plan.hours, plan.frames)
        + rng.uniform(-0.2, 0.2, plan.frames) * plan.hours / plan.frames
    )
    hours -= hours[0]
    wide = 0.3 * plan.side
    places = rng.uniform(-wide, plan.side + wide, (plan.stars, 2))
    light = 2e3 * (1 - rng.uniform(0, 0.999, plan.stars)) ** -0.9
    if plan.star_light is not None:
        light = np.exp(rng.uniform(*np.log(plan.star_light), plan.stars))
    hot = np.flatnonzero(rng.uniform(size=plan.side**2) < 3e-4) if plan.dirty else np.zeros(0, int)
    handles, worlds, total = [], [], np.zeros(len(movers))
    for number, hour in enumerate(hours.tolist()):
        pose = _pose(plan, hour, rng, first=number == 0)
        fwhm = plan.fwhm[0] + (plan.fwhm[1] - plan.fwhm[0]) * hour / plan.hours
        clear, sky = 1.0, np.full((plan.side, plan.side), float(plan.sky))
        if plan.dirty:
            clear = float(rng.choice([1.0, 0.97, 0.85, 0.6]))
            fwhm *= float(rng.uniform(0.9, 1.3))
            sky = sky * (1 + 0.1 * np.linspace(-1, 1, plan.side)) * rng.uniform(0.8, 1.5)
        still = sky.copy()
        for (x, y), electrons in zip(places, light, strict=True):
            twinkle = 1 + plan.scintillation * rng.normal() if plan.scintillation else 1.0
            _add(still, pose(x, y), clear * twinkle * electrons, fwhm, plan.beta, half=25)
        bright = still.copy()
        open_for = plan.exposure / 3600
        for which, one in enumerate(movers):
            ends = [pose(*one.at(hour + part * open_for)) for part in (-0.5, 0.5)]
            shape = np.zeros_like(still)
            _add(shape, ends[0], 1.0, fwhm, plan.beta, half=14, end=ends[1])
            bright += clear * one.flux * shape
            total[which] += (clear * one.flux) ** 2 * (shape**2 / (still + READ_NOISE**2)).sum()
        handles.append(_frame(plan, bright, hot, number, hour, (fwhm, clear), rng, pose))
        worlds.append(_world(plan, pose))
    seen = [replace(one, ideal=float(np.sqrt(square))) for one, square in zip(movers, total, strict=True)]
    return Night(plan, handles, seen, hours, worlds, np.column_stack([places, light]))


def draw_movers(
    plan: NightPlan, number: int, seed: int, *, ideal: tuple[float, float], rate: tuple[float, float]
) -> list[Mover]:
    """Draw movers that stay on the frames, of about the wanted ideal likelihood, rates in arcsec/h."""
    rng = np.random.default_rng([seed, 77])
    sigma = 0.5 * sum(plan.fwhm) / 2.3548
    noise = np.sqrt(4 * np.pi * sigma**2 * (plan.sky + READ_NOISE**2) / plan.frames)
    made: list[Mover] = []
    inner = 12 + 0.6 * np.radians(abs(plan.turn)) * plan.side + max(map(abs, plan.drift))
    while len(made) < number:
        speed = np.exp(rng.uniform(*np.log(rate))) / plan.scale
        angle = rng.uniform(0, 2 * np.pi)
        vx, vy = speed * np.cos(angle), speed * np.sin(angle)
        x, y = rng.uniform(inner, plan.side - inner, 2)
        one = Mover(x, y, vx, vy, float(rng.uniform(*ideal) * noise))
        end = np.array(one.at(plan.hours))
        apart = all(
            np.hypot(*np.subtract(one.at(t), other.at(t))) > 20
            for other in made
            for t in np.linspace(0, plan.hours, 9)
        )
        if (end > inner).all() and (end < plan.side - inner).all() and apart:
            made.append(one)
    return made


# --- inside -----------------------------------------------------------------------------------------------


class _Pose:
    """Where pixels of the first frame are in another one: turned about the middle, then shifted."""

    def __init__(self, side: int, angle: float, shift: tuple[float, float]):
        self.middle, self.angle, self.shift = (side - 1) / 2, angle, shift

    def __call__(self, x: float, y: float) -> tuple[float, float]:
        c, s, m = np.cos(self.angle), np.sin(self.angle), self.middle
        return (
            m + c * (x - m) - s * (y - m) + self.shift[0],
            m + s * (x - m) + c * (y - m) + self.shift[1],
        )


def _pose(plan: NightPlan, hour: float, rng: np.random.Generator, *, first: bool) -> _Pose:
    part = hour / plan.hours
    jump = np.zeros(2) if first else rng.normal(0, plan.dither, 2) if plan.dither else np.zeros(2)
    shift = tuple(float(d * part + j) for d, j in zip(plan.drift, jump, strict=True))
    return _Pose(plan.side, np.radians(plan.turn * part), shift)  # type: ignore[arg-type]


def _world(plan: NightPlan, pose: _Pose) -> WCS:
    world = WCS(naxis=2)
    world.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    world.wcs.cunit = ["deg", "deg"]
    world.wcs.crval = [75.0, -65.0]
    world.wcs.crpix = [value + 1 for value in pose(pose.middle, pose.middle)]
    c, s = np.cos(pose.angle), np.sin(pose.angle)
    step = plan.scale / 3600
    # from the frame back to the grid, whose x runs to the west
    world.wcs.cd = np.diag([-step, step]) @ np.array([[c, s], [-s, c]])
    world.wcs.set()
    return world


def _profile(dx: np.ndarray, dy: np.ndarray, fwhm: float, beta: float | None) -> np.ndarray:
    square = dx**2 + dy**2
    if beta is None:
        variance = (fwhm / 2.3548) ** 2
        return np.exp(-0.5 * square / variance) / (2 * np.pi * variance)
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    return (beta - 1) / (np.pi * alpha**2) * (1 + square / alpha**2) ** -beta


def _add(
    plane: np.ndarray,
    at: tuple[float, float],
    electrons: float,
    fwhm: float,
    beta: float | None,
    *,
    half: int,
    end: tuple[float, float] | None = None,
) -> None:
    """Add a source, which moves to `end` in equal steps if that is given."""
    ends = np.array([at, at if end is None else end])
    number = max(1, int(np.ceil(np.hypot(*(ends[1] - ends[0])) / 0.2)))
    parts = ends[0] + (np.arange(number)[:, None] + 0.5) / number * (ends[1] - ends[0])
    x, y = np.rint(parts.mean(axis=0)).astype(int)
    ny, nx = plane.shape
    x0, x1, y0, y1 = max(0, x - half), min(nx, x + half + 1), max(0, y - half), min(ny, y + half + 1)
    if x0 >= x1 or y0 >= y1:
        return
    fine = (np.arange(OVER) + 0.5) / OVER - 0.5
    across = (np.arange(x0, x1)[:, None] + fine).ravel()
    down = (np.arange(y0, y1)[:, None] + fine).ravel()
    light = sum(_profile(across - px, (down - py)[:, None], fwhm, beta) for px, py in parts) / number
    plane[y0:y1, x0:x1] += electrons * light.reshape(y1 - y0, OVER, x1 - x0, OVER).mean(axis=(1, 3))


def _frame(
    plan: NightPlan,
    bright: np.ndarray,
    hot: np.ndarray,
    number: int,
    hour: float,
    air: tuple[float, float],
    rng: Any,
    pose: _Pose,
) -> Handle:
    if plan.dirty:
        bright = bright + _dirt(bright.shape, hot, rng)
    counts = rng.poisson(bright).astype(float)
    data = (counts + rng.normal(0, READ_NOISE, bright.shape)).astype(np.float32)
    variance = (np.maximum(data, 0) + READ_NOISE**2).astype(np.float32)
    mask = np.where(data > 2e5, 4, 0).astype(np.uint16)
    header = {
        "MJD-MID": 60100.0 + hour / 24, "EXPTIME": plan.exposure, "FILTER": "R",
        "MAGZP": ZERO_POINT + 2.5 * np.log10(air[1]),
    }  # fmt: skip
    if plan.world:
        header |= dict(_world(plan, pose).to_header())
    sources = find_sources(data, variance, mask=mask, threshold=10.0)
    try:
        header["FWHM"] = measure_psf(data, sources, sky=float(np.median(data))).fwhm
    except NotEnoughData:
        header["FWHM"] = air[0]
    handle = as_handle(Image(data, variance, mask, header, "electron"), role="calibrated")
    return replace(handle, info=replace(handle.info, unit=f"n/{number}"))


def _dirt(shape: tuple[int, int], hot: np.ndarray, rng: Any) -> np.ndarray:
    """Return hot pixels, cosmic rays and now and then a satellite, electrons."""
    extra = np.zeros(shape)
    extra.flat[hot] = 300.0 + 40.0 * (hot % 50)
    for y, x in rng.integers(0, shape[0], (6, 2)):
        length, angle = rng.integers(1, 8), rng.uniform(0, 2 * np.pi)
        for step in range(length):
            row, column = int(y + step * np.sin(angle)), int(x + step * np.cos(angle))
            if 0 <= row < shape[0] and 0 <= column < shape[1]:
                extra[row, column] += rng.exponential(2000)
    if rng.uniform() < 0.15:
        y, x = np.mgrid[: shape[0], : shape[1]]
        angle, offset = rng.uniform(0, np.pi), rng.uniform(0, shape[0])
        away = (x - offset) * np.sin(angle) - (y - offset) * np.cos(angle)
        extra += 400 * np.exp(-0.5 * (away / 1.5) ** 2)
    return extra
