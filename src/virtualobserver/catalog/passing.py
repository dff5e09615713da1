"""Bodies of the orbits that come with the package where they cross a field: what simulators of surveys show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.catalog.orbits import simulated_orbits
from virtualobserver.conventions import HOURS_PER_DAY
from virtualobserver.maths.astrometry.tan_sip import project
from virtualobserver.maths.ephemeris.brightness import magnitude
from virtualobserver.maths.ephemeris.orbits import Orbits, states_of
from virtualobserver.maths.ephemeris.seen import Observer, in_field
from virtualobserver.maths.times import Site

__all__ = ["Passing", "passing"]

_PLACES: Final = 9
"""Times of a night at which bodies are worked out; between them they move as a polynomial says."""
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Passing:
    """Bodies that cross a field in a night.

    Parameters
    ----------
    paths
        Coefficients of 1, t, t^2 ... (hours from the middle of the night) of the offset east and north of the field's
        middle in the tangent plane, degrees, shape (k, 2, degree + 1).
    mag
        Visual magnitude, the mean of the night, shape (k,).
    names
        Of the k bodies.
    """

    paths: FloatArray
    mag: FloatArray
    names: tuple[str, ...]


def passing(
    middle: tuple[float, float], radius: float, mjd: float, *, span: float, site: Site | None, degree: int = 3
) -> Passing:
    """Return the bodies of `SIMULATED` within `radius` (degrees) of a place of the sky, at any time of a night.

    Parameters
    ----------
    middle
        Right ascension and declination, ICRS degrees.
    mjd, span
        Middle of the night, UTC, and how long it is, hours.
    site
        Of the telescope; None = the middle of the Earth.
    degree
        Of the polynomials.
    """
    table = simulated_orbits()
    columns = ("q", "e", "inclination", "node", "argument", "perihelion", "epoch")
    states = states_of(Orbits(*(table[name].to_numpy(float) for name in columns)))
    hours = np.linspace(-0.5, 0.5, _PLACES) * span
    rows, seen = in_field(states, Observer.at(mjd + hours / HOURS_PER_DAY, site), *middle, radius)
    known = table.iloc[rows]
    h, g = (known[name].to_numpy()[:, None] for name in ("h", "g"))
    mags = magnitude(h, g, r=seen.r, delta=seen.delta, alpha=seen.alpha).mean(axis=1)
    offsets = np.stack(project(seen.ra, seen.dec, *middle), axis=1)  # (k, 2, times)
    powers = hours[:, None] ** np.arange(degree + 1)
    paths = np.linalg.lstsq(powers, offsets.reshape(-1, _PLACES).T, rcond=None)[0].T
    return Passing(
        np.asarray(paths, np.float64).reshape(-1, 2, degree + 1),
        np.asarray(mags),
        tuple(known["name"].astype(str)),
    )
