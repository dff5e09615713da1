"""Positions of stars at another epoch, in two accuracies."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import MAS_PER_DEGREE
from virtualobserver.maths.arrays import Array

__all__ = ["move", "move_linear"]

FloatArray = NDArray[np.float64]

_FALLBACK_PC: Final = 10.0
"""Distance of a star whose own is not known: without radial velocity the direction does not depend on it."""
_KM_S_PER_MAS_YR_KPC: Final = 4.740470
"""One astronomical unit a Julian year, km/s."""
_FASTEST_KM_S: Final = 3000.0
"""Above the speed of any star but a few about the Galactic centre: such a parallax is noise."""


def move_linear(
    ra: ArrayLike, dec: ArrayLike, pmra: ArrayLike, pmdec: ArrayLike, years: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Positions after some years of proper motion, along straight lines tangent to the sphere.

    The quick one of two: without distance and radial velocity, so without perspective, which is 0.25 arcsec for
    Barnard's star over 20 years and less for all others. The rigorous one is `move`.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        Degrees.
    pmra, pmdec : array_like, shape (n,)
        mas/yr, the first times cos(dec); NaN = none.
    years : array_like, shape (n,)
    """
    a, d = np.deg2rad(np.asarray(ra, dtype=np.float64)), np.deg2rad(np.asarray(dec, dtype=np.float64))
    factor = np.deg2rad(np.asarray(years, dtype=np.float64) / MAS_PER_DEGREE)
    east = np.nan_to_num(np.asarray(pmra, dtype=np.float64)) * factor
    north = np.nan_to_num(np.asarray(pmdec, dtype=np.float64)) * factor
    x = np.cos(d) * np.cos(a) - east * np.sin(a) - north * np.sin(d) * np.cos(a)
    y = np.cos(d) * np.sin(a) + east * np.cos(a) - north * np.sin(d) * np.sin(a)
    z = np.sin(d) + north * np.cos(d)
    return np.rad2deg(np.arctan2(y, x)) % 360.0, np.rad2deg(np.arctan2(z, np.hypot(x, y)))


def move(
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    *,
    pmra: NDArray[np.float64],
    pmdec: NDArray[np.float64],
    parallax: NDArray[np.float64],
    radial_velocity: NDArray[np.float64],
    epochs: NDArray[np.float64],
    to: float,
) -> dict[str, Array]:
    """Carry positions along straight lines in space to another epoch.

    The rigorous one of two; `move_linear` is quick and leaves out perspective.

    Parameters
    ----------
    ra, dec
        ICRS degrees at `epochs` (Julian years), shape (n,).
    pmra, pmdec
        Proper motion in mas/yr, the first times cos(dec); NaN = not known, then the star stays.
    parallax
        In mas. Where it is missing, not positive, or would mean a star faster than 3000 km/s, it says
        nothing about the distance: the direction of motion is then followed without perspective.
    radial_velocity
        In km/s, used only together with a usable parallax; NaN = 0.
    to
        Julian year.

    Returns
    -------
    dict
        ``ra`` (0 to 360), ``dec`` in degrees, ``pmra``, ``pmdec`` in mas/yr at the new epoch (NaN where not
        known), ``pm_missing`` (bool).
    """
    missing = ~(np.isfinite(pmra) & np.isfinite(pmdec))
    result = {
        "ra": ra.copy(),
        "dec": dec.copy(),
        "pmra": pmra.copy(),
        "pmdec": pmdec.copy(),
        "pm_missing": missing,
    }
    go = np.flatnonzero(~missing & (epochs != to))
    if len(go) == 0:
        return result
    distance, velocity = _distances(pmra[go], pmdec[go], parallax[go], radial_velocity[go])
    moved = _moved(
        ra[go],
        dec[go],
        pmra=pmra[go],
        pmdec=pmdec[go],
        distance=distance,
        velocity=velocity,
        epochs=epochs[go],
        to=to,
    )
    for name, values in moved.items():
        result[name][go] = values
    return result


def _distances(
    pmra: NDArray[np.float64],
    pmdec: NDArray[np.float64],
    parallax: NDArray[np.float64],
    radial_velocity: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return distances (pc) and radial velocities (km/s); without a usable parallax 10 pc and 0."""
    usable = parallax > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        speed = _KM_S_PER_MAS_YR_KPC * np.hypot(pmra, pmdec) / parallax
        usable &= speed < _FASTEST_KM_S
        distance = np.where(usable, 1000.0 / parallax, _FALLBACK_PC)
    velocity = np.where(usable & np.isfinite(radial_velocity), radial_velocity, 0.0)
    return distance, velocity


def _moved(
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    *,
    pmra: NDArray[np.float64],
    pmdec: NDArray[np.float64],
    distance: NDArray[np.float64],
    velocity: NDArray[np.float64],
    epochs: NDArray[np.float64],
    to: float,
) -> dict[str, NDArray[np.float64]]:
    from astropy import units as u
    from astropy.coordinates import SkyCoord
    from astropy.time import Time

    stars = SkyCoord(
        ra=ra * u.deg,
        dec=dec * u.deg,
        distance=distance * u.pc,
        pm_ra_cosdec=pmra * (u.mas / u.yr),
        pm_dec=pmdec * (u.mas / u.yr),
        radial_velocity=velocity * (u.km / u.s),
        frame="icrs",
        # TDB: an epoch is a Julian year of uniform seconds, and UTC would warn about far dates.
        obstime=Time(epochs, format="jyear", scale="tdb"),
    )
    moved = stars.apply_space_motion(new_obstime=Time(to, format="jyear", scale="tdb"))
    unit = u.mas / u.yr
    return {
        "ra": moved.ra.deg % 360.0,
        "dec": moved.dec.deg,
        "pmra": moved.pm_ra_cosdec.to_value(unit),
        "pmdec": moved.pm_dec.to_value(unit),
    }
