"""Motion among the planets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import SECONDS_PER_DAY
from virtualobserver.errors import DataError
from virtualobserver.maths.ephemeris.orbits import GM_SUN, States
from virtualobserver.maths.times import offline_astropy

if TYPE_CHECKING:
    from scipy.interpolate import CubicSpline

__all__ = ["AU_KM", "LIGHT_AU_PER_DAY", "Planets", "perturbed"]

FloatArray = NDArray[np.float64]

AU_KM: Final = 149_597_870.7
"""Kilometres of an astronomical unit (IAU 2012)."""
LIGHT_AU_PER_DAY: Final = 299_792.458 * SECONDS_PER_DAY / AU_KM
"""Speed of light."""

# Mass of the Sun over that of the planet (IAU 2009 system; the Earth's and the Moon's apart).
_MASSES: Final = {
    "mercury": 6.0236e6, "venus": 4.08523719e5, "earth": 332946.0487, "moon": 27068703.2, "mars": 3.09870359e6,
    "jupiter": 1.047348644e3, "saturn": 3.4979018e3, "uranus": 2.290298e4, "neptune": 1.941226e4,
}  # fmt: skip
_STEP: Final = 1.0
"""Days between the places of the planets that are interpolated: the Moon, the fastest, is then right to 1e-8 au."""
_MARGIN: Final = 10.0
"""Days beyond the ends, so that splines and the last steps of an integration have something there."""
_RELATIVE: Final = 1e-11
"""Error of a step: 0.01 arcsec after some years."""
_ABSOLUTE: Final = 1e-13
"""The same in au and au/d."""


@dataclass(frozen=True, eq=False)
class Planets:
    """Where Sun, planets and Moon are between two times (MJD, TDB), from the theories inside astropy.

    The Earth is right to some kilometres, the others to a few arcseconds as seen from the Sun, which moves a small
    body by less than 0.01 arcsec in years unless it comes close.
    """

    start: float
    end: float
    spline: CubicSpline
    masses: FloatArray

    @classmethod
    def between(cls, start: float, end: float) -> Planets:
        """Return the places from `start` to `end`; the order does not matter."""
        from scipy.interpolate import CubicSpline

        low, high = min(start, end) - _MARGIN, max(start, end) + _MARGIN
        times = np.linspace(low, high, int(np.ceil((high - low) / _STEP)) + 1)
        with offline_astropy() as (coordinates, time_class, _):
            when = time_class(times, format="mjd", scale="tdb")
            sun, *places = (
                coordinates.get_body_barycentric(name, when, ephemeris="builtin").xyz.to_value("au").T
                for name in ("sun", *_MASSES)
            )
        spline = CubicSpline(times, np.stack([sun, *(place - sun for place in places)], axis=1))
        return cls(low, high, spline, GM_SUN / np.array(list(_MASSES.values())))

    def around_sun(self, mjd: float | FloatArray) -> FloatArray:
        """Return the planets' places from the Sun, shape (…, 9, 3), au."""
        return np.asarray(self.spline(mjd)[..., 1:, :])

    def sun(self, mjd: float | FloatArray) -> FloatArray:
        """Return the Sun's place from the barycentre, shape (…, 3), au."""
        return np.asarray(self.spline(mjd)[..., 0, :])

    def covers(self, start: float, end: float) -> bool:
        """Whether all times between are inside."""
        return self.start + _MARGIN <= min(start, end) and max(start, end) <= self.end - _MARGIN


def perturbed(states: States, times: ArrayLike, *, planets: Planets | None = None) -> FloatArray:
    """Return position and velocity of all bodies at all times, moved by Sun, planets and Moon.

    The equations from the Sun are integrated with all bodies side by side (Dormand-Prince of order 8), with the Sun's
    relativistic term of first order. Within 0.13 arcsec of Horizons over three years for bodies that are pulled by
    nothing else; close approaches to asteroids and non-gravitational forces are not in it.

    Parameters
    ----------
    states
        Of n bodies, at one epoch.
    times
        MJD (TDB), in any order, shape (m,).
    planets
        For several calls; by default those of the times.

    Returns
    -------
    ndarray
        Shape (n, m, 6).

    Raises
    ------
    DataError
        If the epochs differ, or the planets do not cover the times.
    """
    when = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if not len(states) or not when.size:
        return np.empty((len(states), when.size, 6))
    epoch = float(states.epoch[0])
    if np.any(states.epoch != epoch):
        msg = "bodies are moved side by side from one epoch; move those of each epoch apart"
        raise DataError(msg)
    ends = float(min(when.min(), epoch)), float(max(when.max(), epoch))
    planets = Planets.between(*ends) if planets is None else planets
    if not planets.covers(*ends):
        given = f"the planets are given from MJD {planets.start:.1f} to {planets.end:.1f}"
        msg = f"{given}, not for {ends[0]:.1f} to {ends[1]:.1f}"
        raise DataError(msg)
    found = np.empty((when.size, len(states), 6))
    for part in (when >= epoch, when < epoch):
        if part.any():
            found[part] = _integrated(states, epoch, when[part], planets)
    return np.moveaxis(found, 0, 1)


def _integrated(states: States, epoch: float, times: FloatArray, planets: Planets) -> FloatArray:
    """Return states at times on one side of the epoch, shape (m, n, 6)."""
    from scipy.integrate import solve_ivp

    n = len(states)
    unique, number = np.unique(times, return_inverse=True)
    order = unique if unique[-1] > epoch else unique[::-1]
    first = np.concatenate([states.position.ravel(), states.velocity.ravel()])

    def slope(mjd: float, y: FloatArray) -> FloatArray:
        position, velocity = y.reshape(2, n, 3)
        return np.concatenate([velocity.ravel(), _acceleration(position, velocity, mjd, planets).ravel()])

    if order[-1] == epoch:
        return np.broadcast_to(np.concatenate([states.position, states.velocity], axis=1), (times.size, n, 6))
    solved = solve_ivp(
        slope, (epoch, float(order[-1])), first, method="DOP853", t_eval=order, rtol=_RELATIVE, atol=_ABSOLUTE
    )
    if not solved.success:
        msg = f"the motion of {n} bodies from MJD {epoch:.1f} to {order[-1]:.1f} cannot be followed: {solved.message}"
        raise DataError(msg)
    rows = solved.y.T.reshape(order.size, 2, n, 3)
    rows = np.concatenate([rows[:, 0], rows[:, 1]], axis=2)
    return np.asarray((rows if unique[-1] > epoch else rows[::-1])[number.ravel()])


def _acceleration(position: FloatArray, velocity: FloatArray, mjd: float, planets: Planets) -> FloatArray:
    """Return the acceleration of each body as seen from the Sun, shape (n, 3)."""
    r2 = np.einsum("ni,ni->n", position, position)[:, None]
    r = np.sqrt(r2)
    pull = -GM_SUN * position / (r2 * r)
    places = planets.around_sun(mjd)
    away = places - position[:, None, :]
    near = planets.masses / np.einsum("npi,npi->np", away, away) ** 1.5
    far = planets.masses / np.einsum("pi,pi->p", places, places) ** 1.5
    pull += np.einsum("np,npi->ni", near, away) - far @ places
    # the Sun's term of first order of general relativity, beta = gamma = 1
    v2 = np.einsum("ni,ni->n", velocity, velocity)[:, None]
    rv = np.einsum("ni,ni->n", position, velocity)[:, None]
    factor = GM_SUN / (LIGHT_AU_PER_DAY**2 * r2 * r)
    pull += factor * ((4 * GM_SUN / r - v2) * position + 4 * rv * velocity)
    return np.asarray(pull)
