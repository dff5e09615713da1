"""Velocities to try, in pixels per day, and their conversion to arcsec per hour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import HOURS_PER_DAY
from virtualobserver.errors import DataError
from virtualobserver.typing import Record

__all__ = [
    "TwoLevelGrid",
    "VelocityGrid",
    "arcsec_per_hour",
    "disc_grid",
    "ecliptic_grid",
    "grid_from_kbmod",
    "grid_step",
    "kbmod_v1_config_grid",
    "kbmod_v1_grid",
    "pencil_grid",
    "pixels_per_day",
    "random_grid",
    "rectangle_grid",
    "single_velocity",
    "two_level_grid",
]


@dataclass(frozen=True, eq=False)
class VelocityGrid:
    """Velocities in pixels per day.

    Parameters
    ----------
    vx, vy
        Shape (n,).
    step
        Distance between neighbours, pixels per day; 0 = not known.
    """

    vx: NDArray[np.float64]
    vy: NDArray[np.float64]
    step: float = 0.0

    def __len__(self) -> int:
        return len(self.vx)


@dataclass(frozen=True, eq=False)
class TwoLevelGrid:
    """Coarse velocities, fine ones about each, and the blocks of frames summed at the coarse ones.

    Parameters
    ----------
    coarse, fine
        The velocities tried are all sums of one coarse and one fine one.
    blocks
        Number of the block of each frame, rising from 0, shape (n,).
    v_max
        Faster sums are left out, pixels per day.
    """

    coarse: VelocityGrid
    fine: VelocityGrid
    blocks: NDArray[np.int64]
    v_max: float

    def flat(self) -> VelocityGrid:
        """Return all velocities tried, cell by cell."""
        vx = (self.coarse.vx[:, None] + self.fine.vx).ravel()
        vy = (self.coarse.vy[:, None] + self.fine.vy).ravel()
        keep = np.hypot(vx, vy) <= self.v_max
        return VelocityGrid(vx[keep], vy[keep], self.fine.step)


def pixels_per_day(rate: ArrayLike, pixel_scale: float) -> NDArray[np.float64]:
    """Convert arcsec/h to pixels/d; `pixel_scale` in arcsec per pixel."""
    return np.asarray(rate, dtype=np.float64) * HOURS_PER_DAY / pixel_scale


def arcsec_per_hour(velocity: ArrayLike, pixel_scale: float) -> NDArray[np.float64]:
    """Convert pixels/d to arcsec/h; `pixel_scale` in arcsec per pixel."""
    return np.asarray(velocity, dtype=np.float64) * pixel_scale / HOURS_PER_DAY


def grid_step(tau: ArrayLike, drift: float = 2.0) -> float:
    """Step at which neighbouring velocities part by `drift` pixels over the whole time.

    The largest error then is half of it per axis: 2 px lose at most 8 % of the likelihood at sigma 1.4 px.

    Raises
    ------
    DataError
        If all frames are of one time.
    """
    times = np.asarray(tau, dtype=np.float64)
    span = float(np.ptp(times)) if times.size else 0.0
    if not span > 0:
        msg = "velocities need frames of at least two different times"
        raise DataError(msg)
    return drift / span


def disc_grid(v_max: float, step: float, *, v_min: float = 0.0) -> VelocityGrid:
    """All velocities on a square lattice through 0 with ``v_min <= |v| <= v_max``, by rising vy, then vx.

    Raises
    ------
    DataError
        If the step is not positive.
    """
    _positive(step)
    reach = int(np.floor(v_max / step + 1e-9))
    line = np.arange(-reach, reach + 1) * step
    vy, vx = (part.ravel() for part in np.meshgrid(line, line, indexing="ij"))
    speed = np.hypot(vx, vy)
    keep = (speed <= v_max * (1 + 1e-12)) & (speed >= v_min * (1 - 1e-12))
    return VelocityGrid(vx[keep], vy[keep], step)


def rectangle_grid(x: tuple[int, float, float], y: tuple[int, float, float]) -> VelocityGrid:
    """Return (number, least, largest) velocities in x by those in y, vx running fastest.

    Both ends are in it (KBMOD's ``VelocityGridSearch``).
    """
    line_x, line_y = _inclusive(x[1], x[2], int(x[0])), _inclusive(y[1], y[2], int(y[0]))
    vy, vx = (part.ravel() for part in np.meshgrid(line_y, line_x, indexing="ij"))
    steps = [float(line[1] - line[0]) for line in (line_x, line_y) if len(line) > 1]
    return VelocityGrid(vx, vy, max(steps, default=0.0))


def single_velocity(vx: float, vy: float) -> VelocityGrid:
    """One velocity (KBMOD's ``SingleVelocitySearch``)."""
    return VelocityGrid(np.array([float(vx)]), np.array([float(vy)]))


def kbmod_v1_grid(speeds: tuple[int, float, float], angles: tuple[int, float, float]) -> VelocityGrid:
    """Return (number, least, end) speeds (px/d) by angles (rad from +x to +y), without the ends; angle slowest.

    KBMOD's ``KBMODV1Search``.
    """
    speed, angle = (
        low + np.arange(int(number)) * (end - low) / max(int(number), 1)
        for number, low, end in (speeds, angles)
    )
    return _polar(speed, angle)


def kbmod_v1_config_grid(
    v_arr: Sequence[float], ang_arr: Sequence[float], average_angle: float
) -> VelocityGrid:
    """`kbmod_v1_grid` with ``v_arr = (min, max, n)`` and angles from -a0 to +a1 about an average (rad).

    KBMOD's ``KBMODV1SearchConfig``; it takes the angle from the first frame, here it is given.
    """
    return kbmod_v1_grid(
        (int(v_arr[2]), v_arr[0], v_arr[1]),
        (int(ang_arr[2]), average_angle - ang_arr[0], average_angle + ang_arr[1]),
    )


def ecliptic_grid(
    velocities: Sequence[float],
    angles: Sequence[float],
    ecliptic_angle: float,
    *,
    velocity_unit: str = "pix / d",
    angle_unit: str = "rad",
    pixel_scale: float | None = None,
) -> VelocityGrid:
    """Speeds by angles about the ecliptic, both with their ends (KBMOD's ``EclipticCenteredSearch``).

    Parameters
    ----------
    velocities, angles
        Least, largest, number.
    ecliptic_angle
        Angle of the ecliptic on the pixel grid, in `angle_unit`.
    velocity_unit, angle_unit
        As astropy reads them; angular speeds need `pixel_scale` (arcsec per pixel). Limits are converted
        first and divided into steps then.

    Raises
    ------
    DataError
        If the speeds are angular and there is no pixel scale.
    """
    from astropy import units

    unit = units.Unit(velocity_unit)
    if unit.is_equivalent("deg / d"):
        if pixel_scale is None:
            msg = f"velocities in {velocity_unit} need pixel_scale, arcsec per pixel"
            raise DataError(msg)
        factor = unit.to("arcsec / d") / pixel_scale
    else:
        factor = unit.to("pix / d")
    turn = units.Unit(angle_unit).to("rad")
    speed = _inclusive(velocities[0] * factor, velocities[1] * factor, int(velocities[2]))
    angle = _inclusive(angles[0] * turn, angles[1] * turn, int(angles[2])) + ecliptic_angle * turn
    return _polar(speed, angle)


def pencil_grid(
    vx: float,
    vy: float,
    *,
    max_ang_offset: float = 0.2618,  # 15 degrees; this and the next as PencilSearch has them
    ang_step: float = 0.035,
    max_vel_offset: float = 10.0,
    vel_step: float = 0.5,
) -> VelocityGrid:
    """Velocities near a known one: angles in rad, speeds in px/d (KBMOD's ``PencilSearch``)."""
    _positive(ang_step)
    _positive(vel_step)
    speed, angle = float(np.hypot(vx, vy)), float(np.arctan2(vy, vx))
    angles = angle + np.arange(-max_ang_offset, max_ang_offset + ang_step / 10, ang_step)
    speeds = np.arange(max(0.0, speed - max_vel_offset), speed + max_vel_offset + vel_step / 10, vel_step)
    grid = _polar(speeds, angles)
    return VelocityGrid(grid.vx, grid.vy, vel_step)


def random_grid(
    number: int, vx: tuple[float, float], vy: tuple[float, float], *, seed: int = 0
) -> VelocityGrid:
    """Velocities drawn evenly from a rectangle (KBMOD's ``RandomVelocitySearch``)."""
    rng = np.random.default_rng(seed)
    return VelocityGrid(rng.uniform(*vx, number), rng.uniform(*vy, number))


def grid_from_kbmod(
    config: Record, *, pixel_scale: float | None = None, ecliptic_angle: float = 0.0
) -> VelocityGrid:
    """Build the grid that a ``generator_config`` of KBMOD describes.

    Raises
    ------
    DataError
        If the generator is not known or lacks a parameter.
    """
    name = str(config.get("name", ""))
    given = {key: value for key, value in config.items() if key != "name" and value is not None}
    angle = float(given.get("force_ecliptic", given.get("given_ecliptic", ecliptic_angle)))
    if name not in _GENERATORS:
        msg = f"no generator {name!r} is known; there are {', '.join(_GENERATORS)}"
        raise DataError(msg)
    try:
        return _GENERATORS[name](given, angle, pixel_scale)
    except KeyError as error:
        msg = f"generator {name} lacks the parameter {error.args[0]!r}"
        raise DataError(msg) from error


def _ecliptic(given: Record, angle: float, pixel_scale: float | None) -> VelocityGrid:
    return ecliptic_grid(
        given["velocities"],
        given["angles"],
        angle,
        velocity_unit=given.get("velocity_units", "pix / d"),
        angle_unit=given.get("angle_units", "radian"),
        pixel_scale=pixel_scale,
    )


def _pencil(given: Record) -> VelocityGrid:
    options = ("max_ang_offset", "ang_step", "max_vel_offset", "vel_step")
    return pencil_grid(given["vx"], given["vy"], **{key: given[key] for key in options if key in given})


_GENERATORS: Final[Mapping[str, Callable[[Record, float, float | None], VelocityGrid]]] = {
    "SingleVelocitySearch": lambda g, _a, _s: single_velocity(g["vx"], g["vy"]),
    "VelocityGridSearch": lambda g, _a, _s: rectangle_grid(
        (g["vx_steps"], g["min_vx"], g["max_vx"]), (g["vy_steps"], g["min_vy"], g["max_vy"])
    ),
    "KBMODV1Search": lambda g, _a, _s: kbmod_v1_grid(
        (g["vel_steps"], g["min_vel"], g["max_vel"]), (g["ang_steps"], g["min_ang"], g["max_ang"])
    ),
    "KBMODV1SearchConfig": lambda g, a, _s: kbmod_v1_config_grid(
        g["v_arr"], g["ang_arr"], float(g.get("average_angle", a))
    ),
    "EclipticCenteredSearch": _ecliptic,
    "PencilSearch": lambda g, _a, _s: _pencil(g),
    "RandomVelocitySearch": lambda g, _a, _s: random_grid(
        int(g.get("max_samples", 1000)), (g["min_vx"], g["max_vx"]), (g["min_vy"], g["max_vy"])
    ),
}


def two_level_grid(
    tau: ArrayLike, v_max: float, *, drift: float = 2.0, block: float = 0.4 / HOURS_PER_DAY
) -> TwoLevelGrid:
    """Grid for many frames: blocks of time summed at coarse velocities, fine ones tried on the blocks.

    Parameters
    ----------
    tau : array_like, shape (n,)
        Days since the first frame.
    v_max
        Fastest speed, px/d.
    drift
        Pixels by which neighbours part: fine ones over the whole time, coarse ones over one block.
    block
        Length of a block, d (24 min).

    Raises
    ------
    DataError
        If all frames are of one time or the block has no length.
    """
    times = np.asarray(tau, dtype=np.float64)
    _positive(block)
    fine_step = grid_step(times, drift)
    number = max(1, int(np.ceil(np.ptp(times) / block - 1e-9)))
    blocks = np.minimum(((times - times.min()) / np.ptp(times) * number).astype(np.int64), number - 1)
    _, blocks = np.unique(blocks, return_inverse=True)
    # an odd number of fine steps in a coarse one: cells then tile the lattice of fine velocities
    inside = max(1, round(drift / (np.ptp(times) / number) / fine_step))
    inside += 1 - inside % 2
    half = inside // 2
    line = np.arange(-half, half + 1) * fine_step
    fine_y, fine_x = (part.ravel() for part in np.meshgrid(line, line, indexing="ij"))
    coarse = disc_grid(v_max + np.hypot(half, half) * fine_step, inside * fine_step)
    return TwoLevelGrid(coarse, VelocityGrid(fine_x, fine_y, fine_step), blocks, v_max)


def _polar(speed: NDArray[np.float64], angle: NDArray[np.float64]) -> VelocityGrid:
    angles, speeds = (part.ravel() for part in np.meshgrid(angle, speed, indexing="ij"))
    step = float(speed[1] - speed[0]) if len(speed) > 1 else 0.0
    return VelocityGrid(speeds * np.cos(angles), speeds * np.sin(angles), step)


def _inclusive(low: float, high: float, number: int) -> NDArray[np.float64]:
    if number < 1:
        msg = f"a grid needs at least one step, not {number}"
        raise DataError(msg)
    return np.linspace(low, high, number) if number > 1 else np.array([float(low)])


def _positive(step: float) -> None:
    if not 0 < step < np.inf:
        msg = f"steps are positive numbers, not {step}"
        raise DataError(msg)
