"""How bodies look from a telescope: astrometric places, rates, distances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import ARCSEC_PER_DEGREE, HOURS_PER_DAY
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.maths.ephemeris.orbits import GM_SUN, States, two_body
from virtualobserver.maths.ephemeris.perturbed import LIGHT_AU_PER_DAY, Planets, perturbed
from virtualobserver.maths.times import Site, offline_astropy

__all__ = ["Ephemeris", "Observer", "ephemeris", "in_field", "parallax_at"]

FloatArray = NDArray[np.float64]

_PIECE: Final = 100_000
"""Bodies worked out at once: 100 Mbyte."""
_NEAR: Final = 0.5
"""Degrees by which motion about the Sun alone may be wrong: 71 arcsec after 200 days in the main belt."""


@dataclass(frozen=True, eq=False)
class Observer:
    """Where the telescope is: times (MJD, UTC and TDB), and places from the barycentre in au, shape (m, 3).

    `velocity` is au/d.
    """

    mjd: FloatArray
    tdb: FloatArray
    position: FloatArray
    velocity: FloatArray

    @classmethod
    def at(cls, mjd: ArrayLike, site: Site | None) -> Observer:
        """Return the places of a telescope at times (MJD, UTC); without a site those of the Earth's centre."""
        from astropy.coordinates import get_body_barycentric_posvel

        utc = np.atleast_1d(np.asarray(mjd, dtype=np.float64))
        with offline_astropy() as (coordinates, time_class, _):
            when = time_class(utc, format="mjd", scale="utc")
            place, speed = get_body_barycentric_posvel("earth", when, ephemeris="builtin")
            position, velocity = place.xyz.to_value("au").T, speed.xyz.to_value("au/d").T
            if site is not None:
                where = coordinates.EarthLocation.from_geodetic(site.lon, site.lat, site.height)
                place, speed = where.get_gcrs_posvel(when)
                position = position + place.xyz.to_value("au").T
                velocity = velocity + speed.xyz.to_value("au/d").T
            return cls(utc, np.asarray(when.tdb.mjd), np.asarray(position), np.asarray(velocity))


@dataclass(frozen=True, eq=False)
class Ephemeris:
    """Places of n bodies at m times, shape (n, m) each.

    Astrometric right ascension and declination (deg, ICRS; light time taken off, no aberration), `rate_ra` (times
    cos dec) and `rate_dec` (arcsec/h), heliocentric distance `r` and that from the observer `delta` (au), phase angle
    `alpha` and elongation from the Sun (deg).
    """

    ra: FloatArray
    dec: FloatArray
    rate_ra: FloatArray
    rate_dec: FloatArray
    r: FloatArray
    delta: FloatArray
    alpha: FloatArray
    elongation: FloatArray


def parallax_at(mjd: ArrayLike, ra: ArrayLike, dec: ArrayLike, site: Site) -> tuple[FloatArray, FloatArray]:
    """Return by how much a telescope's place on the Earth moves bodies at 1 au, and how fast.

    Parameters
    ----------
    mjd, ra, dec
        Times (MJD, UTC) and places (ICRS degrees), shape (n,).
    site
        Of the telescope.

    Returns
    -------
    place, rate
        arcsec and arcsec/h towards east and north, shape (n, 2); for other distances divided by these, in au.
    """
    here, centre = Observer.at(mjd, site), Observer.at(mjd, None)
    a, d = (np.radians(np.atleast_1d(np.asarray(one, dtype=np.float64))) for one in (ra, dec))
    east = np.stack([-np.sin(a), np.cos(a), np.zeros_like(a)], axis=1)
    north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=1)
    arcsec = np.degrees(1.0) * ARCSEC_PER_DEGREE
    off, speed = here.position - centre.position, here.velocity - centre.velocity
    place, rate = (
        -np.stack([(each * axis).sum(axis=1) for axis in (east, north)], axis=1) * arcsec
        for each in (off, speed)
    )
    return place, rate / HOURS_PER_DAY


def ephemeris(
    states: States, observer: Observer, *, planets: Planets | None = None, perturbations: bool = True
) -> Ephemeris:
    """Return where bodies are seen.

    Parameters
    ----------
    states
        Of the bodies: at one epoch with `perturbations`, at any without.
    observer
        Times and places of the telescope.
    planets
        For several calls, from the epochs to the times; by default these are made here.
    perturbations
        Move the bodies among the planets; else by the Sun alone (see `two_body` for what that costs).
    """
    times = np.concatenate([observer.tdb, states.epoch if perturbations else observer.tdb[:1]])
    planets = planets or Planets.between(float(times.min()), float(times.max()))
    if perturbations:
        moved = perturbed(states, observer.tdb, planets=planets)
        return _seen(lambda k: moved[:, k], observer, planets)

    def moved_by_sun(k: int) -> FloatArray:
        there = two_body(states, observer.tdb[k])
        return np.concatenate([there.position, there.velocity], axis=1)

    return _seen(moved_by_sun, observer, planets)


def in_field(
    states: States, observer: Observer, ra: float, dec: float, radius: float
) -> tuple[NDArray[np.int64], Ephemeris]:
    """Return which of many bodies come within a field, and their ephemeris.

    All are moved about the Sun alone to the middle of the times, a piece at a time; those that may come near are moved
    among the planets.

    Parameters
    ----------
    states
        Of n bodies, at any epochs.
    observer
        Times (of a night or so) and places of the telescope.
    ra, dec, radius
        The field, deg.

    Returns
    -------
    tuple of ndarray and Ephemeris
        Numbers of the k bodies, and where they are at all m times, shape (k, m).
    """
    middle = observer.mjd.size // 2
    days = float(np.ptp(observer.mjd))
    once = Observer(*(getattr(observer, one)[[middle]] for one in ("mjd", "tdb", "position", "velocity")))
    near: list[NDArray[np.int64]] = []
    for first in range(0, len(states), _PIECE):
        piece = _part(states, slice(first, first + _PIECE))
        seen = ephemeris(piece, once, perturbations=False)
        rate = np.hypot(seen.rate_ra, seen.rate_dec)[:, 0] * HOURS_PER_DAY / ARCSEC_PER_DEGREE
        away = separation(seen.ra[:, 0], seen.dec[:, 0], ra, dec)
        near.append(first + np.flatnonzero(away < radius + _NEAR + 2 * days * rate))
    found = np.concatenate([np.zeros(0, np.int64), *near])
    parts, order = [], []
    for epoch in np.unique(states.epoch[found]):
        rows = found[states.epoch[found] == epoch]
        parts.append(ephemeris(_part(states, rows), observer))
        order.append(rows)
    if not parts:
        return found, Ephemeris(*(np.zeros((0, observer.mjd.size)) for _ in fields(Ephemeris)))
    whole = Ephemeris(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Ephemeris)))
    inside = np.any(separation(whole.ra, whole.dec, ra, dec) <= radius, axis=1)
    return np.concatenate(order)[inside], Ephemeris(
        *(getattr(whole, f.name)[inside] for f in fields(Ephemeris))
    )


def _seen(state_at: Callable[[int], FloatArray], observer: Observer, planets: Planets) -> Ephemeris:
    """Return the ephemeris, one time after the other so that memory stays small."""
    sun, columns = planets.sun(observer.tdb), []
    for k in range(observer.mjd.size):
        state = state_at(k)
        columns.append(_at_once(state[:, :3], state[:, 3:], observer, k, sun[k]))
    return Ephemeris(*(np.stack(one, axis=1) for one in zip(*columns, strict=True)))


def _at_once(
    position: FloatArray, velocity: FloatArray, observer: Observer, k: int, sun: FloatArray
) -> tuple[FloatArray, ...]:
    """Return all columns of one time. In light time a body is moved along its parabola, right to 1e-9 au."""
    seen_from = observer.position[k] - sun
    r3 = np.einsum("ni,ni->n", position, position) ** 1.5
    pull = -GM_SUN * position / r3[:, None]
    travel = np.linalg.norm(position - seen_from, axis=1) / LIGHT_AU_PER_DAY
    for _ in range(3):  # each pass takes off a factor of v / c, 1e-4
        back = travel[:, None]
        there = position - velocity * back + 0.5 * pull * back**2
        # the Sun's own motion in light time, below 1e-6 au, is left out
        line = there - seen_from
        travel = np.linalg.norm(line, axis=1) / LIGHT_AU_PER_DAY
    delta, r = travel * LIGHT_AU_PER_DAY, np.linalg.norm(there, axis=1)
    unit = line / delta[:, None]
    moving = velocity - pull * travel[:, None] - observer.velocity[k]
    across = (moving - np.einsum("ni,ni->n", moving, unit)[:, None] * unit) / delta[:, None]
    ra = np.arctan2(unit[:, 1], unit[:, 0])
    dec = np.arcsin(np.clip(unit[:, 2], -1, 1))
    east = np.stack([-np.sin(ra), np.cos(ra), np.zeros_like(ra)], axis=1)
    north = np.stack([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)], axis=1)
    rates = (
        np.degrees(np.einsum("ni,ni->n", across, one)) * ARCSEC_PER_DEGREE / HOURS_PER_DAY
        for one in (east, north)
    )
    to_sun = -seen_from / np.linalg.norm(seen_from)
    alpha = np.arccos(np.clip(np.einsum("ni,ni->n", unit, there / r[:, None]), -1, 1))
    elongation = np.arccos(np.clip(unit @ to_sun, -1, 1))
    return (
        np.degrees(ra) % 360.0,
        np.degrees(dec),
        *rates,
        r,
        delta,
        np.degrees(alpha),
        np.degrees(elongation),
    )


def _part(states: States, rows: slice | NDArray[np.int64]) -> States:
    return States(states.position[rows], states.velocity[rows], states.epoch[rows])
