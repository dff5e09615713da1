"""Made-up bodies that are seen at a place."""

from __future__ import annotations

from typing import Final

import numpy as np

from virtualobserver.maths.ephemeris.orbits import GM_SUN, OBLIQUITY, States
from virtualobserver.maths.ephemeris.perturbed import Planets
from virtualobserver.maths.ephemeris.seen import Observer

__all__ = ["state_through"]

_TILT: Final = 8.0
"""Degrees that orbits are tilted by, one standard deviation; about that of the main belt."""
_SPEED: Final = 0.07
"""Part by which the speed differs from that of a circle, likewise: eccentricities of about 0.14."""


def state_through(
    spot: tuple[float, float], observer: Observer, distance: float, rng: np.random.Generator
) -> States:
    """Return a body that a telescope sees at a place of the sky, on an orbit round the Sun like those of the main belt.

    Parameters
    ----------
    spot
        Right ascension and declination, ICRS degrees; reached to within the motion in the light's travel time.
    observer
        One time and place.
    distance
        From the telescope, au.
    rng
        Draws the direction and the speed.
    """
    ra, dec = np.radians(spot)
    line = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    tdb = float(observer.tdb[0])
    position = observer.position[0] - Planets.between(tdb, tdb).sun(observer.tdb[:1])[0] + distance * line
    r = float(np.linalg.norm(position))
    outward = position / r
    pole = np.array([0.0, -np.sin(OBLIQUITY), np.cos(OBLIQUITY)])
    along = np.cross(pole, outward)
    along /= np.linalg.norm(along)
    up = np.cross(outward, along)
    tilt, faster, rising = np.radians(rng.normal(0, _TILT)), rng.normal(1, _SPEED), rng.normal(0, _SPEED)
    velocity = np.sqrt(GM_SUN / r) * (faster * (np.cos(tilt) * along + np.sin(tilt) * up) + rising * outward)
    return States(position[None], velocity[None], np.array([tdb]))
