"""Orbits as elements and as states, and their motion about the Sun alone."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.errors import DataError

__all__ = ["GM_SUN", "OBLIQUITY", "Orbits", "States", "elements_of", "states_of", "two_body"]

FloatArray = NDArray[np.float64]

GM_SUN: Final = 0.01720209895**2
"""au^3 / d^2: the square of Gauss' constant, which defined the au until 2012 and still agrees to 1e-11."""
OBLIQUITY: Final = np.radians(84381.448 / 3600)
"""Of the ecliptic J2000 that the Minor Planet Center and Horizons give elements in (IAU 1976)."""


@dataclass(frozen=True, eq=False)
class Orbits:
    """Osculating elements of small bodies, heliocentric, ecliptic and equinox J2000, shape (n,) each.

    `q` perihelion distance (au), `e` eccentricity, `inclination`, `node`, `argument` (deg), `perihelion` time of
    perihelion (MJD, TDB), `epoch` of osculation (MJD, TDB). Perihelia serve ellipses, parabolas and hyperbolas alike.
    """

    q: FloatArray
    e: FloatArray
    inclination: FloatArray
    node: FloatArray
    argument: FloatArray
    perihelion: FloatArray
    epoch: FloatArray

    def __post_init__(self) -> None:
        for one in fields(self):
            object.__setattr__(
                self, one.name, np.atleast_1d(np.asarray(getattr(self, one.name), dtype=np.float64))
            )
        if not np.all((self.q > 0) & (self.e >= 0)):
            bad = int(np.argmin((self.q > 0) & (self.e >= 0)))
            msg = f"orbit number {bad} has q = {self.q[bad]:g} au and e = {self.e[bad]:g}; both must be positive"
            raise DataError(msg)

    def __len__(self) -> int:
        return self.q.size

    @classmethod
    def from_mean_anomaly(
        cls,
        a: ArrayLike,
        e: ArrayLike,
        inclination: ArrayLike,
        node: ArrayLike,
        argument: ArrayLike,
        *,
        mean_anomaly: ArrayLike,
        epoch: ArrayLike,
    ) -> Orbits:
        """Return ellipses given by semi-major axis (au) and mean anomaly (deg) at the epoch, as MPCORB has them.

        Raises
        ------
        DataError
            For an orbit that is no ellipse.
        """
        axis, ecc = np.asarray(a, dtype=np.float64), np.asarray(e, dtype=np.float64)
        if not np.all((axis > 0) & (ecc >= 0) & (ecc < 1)):
            msg = "a mean anomaly belongs to an ellipse: the semi-major axis must be above 0 and e below 1"
            raise DataError(msg)
        anomaly = (np.asarray(mean_anomaly, dtype=np.float64) + 180.0) % 360.0 - 180.0
        when = np.asarray(epoch, dtype=np.float64)
        time = when - np.radians(anomaly) * np.sqrt(axis**3 / GM_SUN)
        ends = np.broadcast_arrays(axis * (1 - ecc), ecc, inclination, node, argument, time, when)
        return cls(*(np.asarray(one, dtype=np.float64) for one in ends))


@dataclass(frozen=True, eq=False)
class States:
    """Positions and velocities, shape (n, 3), at one epoch each, (n,)."""

    position: FloatArray
    velocity: FloatArray
    epoch: FloatArray

    def __len__(self) -> int:
        return len(self.position)


def states_of(orbits: Orbits) -> States:
    """Return position and velocity of each body at its epoch, in the axes of the ICRS."""
    node, argument, tilt = (np.radians(one) for one in (orbits.node, orbits.argument, orbits.inclination))
    # directions of the perihelion and of motion there, in the ecliptic
    cn, sn, ca, sa, ci, si = (f(x) for x in (node, argument, tilt) for f in (np.cos, np.sin))
    inward = np.stack([cn * ca - sn * sa * ci, sn * ca + cn * sa * ci, sa * si], axis=1)
    along = np.stack([-cn * sa - sn * ca * ci, -sn * sa + cn * ca * ci, ca * si], axis=1)
    speed = np.sqrt(GM_SUN * (1 + orbits.e) / orbits.q)
    start = States(
        _equatorial(inward) * orbits.q[:, None], _equatorial(along) * speed[:, None], orbits.perihelion
    )
    return two_body(start, orbits.epoch)


def elements_of(states: States) -> Orbits:
    """Return the osculating elements of bodies, the inverse of `states_of`.

    Of an orbit in the ecliptic the node, and of a circle the perihelion, are anywhere.
    """
    c, s = np.cos(OBLIQUITY), np.sin(OBLIQUITY)

    def ecliptic(vector: FloatArray) -> FloatArray:
        x, y, z = vector.T
        return np.stack([x, c * y + s * z, c * z - s * y], axis=1)

    position, velocity = ecliptic(states.position), ecliptic(states.velocity)
    r = np.linalg.norm(position, axis=1)
    momentum = np.cross(position, velocity)
    h = np.linalg.norm(momentum, axis=1)
    inward = np.cross(velocity, momentum) / GM_SUN - position / r[:, None]
    e = np.linalg.norm(inward, axis=1)
    q = h**2 / GM_SUN / (1 + e)
    inclination = np.arccos(np.clip(momentum[:, 2] / h, -1, 1))
    node = np.arctan2(momentum[:, 0], -momentum[:, 1])
    ahead = np.stack([np.cos(node), np.sin(node), np.zeros_like(node)], axis=1)
    up = np.cross(momentum / h[:, None], ahead)
    argument = np.arctan2(np.einsum("ni,ni->n", inward, up), np.einsum("ni,ni->n", inward, ahead))
    since = _since_perihelion(position, velocity, r, e, q)
    return Orbits(
        q, e, np.degrees(inclination), np.degrees(node) % 360, np.degrees(argument) % 360, states.epoch - since,
        states.epoch,
    )  # fmt: skip


def two_body(states: States, times: ArrayLike) -> States:
    """Return the states at other times (MJD, TDB), one for each body, moved by the Sun alone.

    Universal variables (Danby 1988, section 6.9), for any eccentricity. Perturbations make 0.2 arcsec in 10 days and
    20 arcsec in 100 for a body of the main belt.
    """
    from virtualobserver.maths.ephemeris.kepler_kernel import propagate

    when = np.broadcast_to(np.asarray(times, dtype=np.float64), states.epoch.shape)
    moved = propagate(
        np.ascontiguousarray(states.position),
        np.ascontiguousarray(states.velocity),
        when - states.epoch,
        GM_SUN,
    )
    return States(moved[:, :3], moved[:, 3:], when.copy())


def _equatorial(vector: FloatArray) -> FloatArray:
    """Turn vectors of the ecliptic, shape (n, 3), into the axes of the ICRS."""
    c, s = np.cos(OBLIQUITY), np.sin(OBLIQUITY)
    x, y, z = vector.T
    return np.stack([x, c * y - s * z, s * y + c * z], axis=1)


def _since_perihelion(
    position: FloatArray, velocity: FloatArray, r: FloatArray, e: FloatArray, q: FloatArray
) -> FloatArray:
    """Return days since the perihelion: Kepler's equation, or that of a hyperbola or parabola."""
    outward = np.einsum("ni,ni->n", position, velocity) / np.sqrt(GM_SUN)
    found = np.empty_like(r)
    for n in range(r.size):
        if abs(1 - e[n]) < 1e-9:  # Barker
            d = outward[n] / np.sqrt(2 * q[n])
            found[n] = np.sqrt(2 * q[n] ** 3 / GM_SUN) * (d + d**3 / 3)
            continue
        a = q[n] / (1 - e[n])
        mean = np.sqrt(abs(a) ** 3 / GM_SUN)
        if a > 0:
            anomaly = np.arctan2(outward[n] / np.sqrt(a), 1 - r[n] / a)
            found[n] = mean * (anomaly - outward[n] / np.sqrt(a))
        else:
            sinh = outward[n] / np.sqrt(-a)
            found[n] = mean * (sinh - np.arcsinh(sinh / e[n]))
    return found
