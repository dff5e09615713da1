"""Exposure times and light travel: mid-exposure, heliocentric UTC and barycentric TDB.

Positions of Earth and Sun come from the analytic ephemeris inside astropy, Earth orientation from the table
that astropy ships: nothing is fetched. Good to a few milliseconds, the size of the solar-system terms the
analytic ephemeris leaves out.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import DAYS_PER_YEAR, MJD_J2000, MJD_ZERO_JD, SECONDS_PER_DAY
from virtualobserver.errors import DataError

__all__ = [
    "GEOCENTRE",
    "Site",
    "barycentric_velocity",
    "bjd_tdb",
    "geocentric_velocity",
    "hjd_utc",
    "julian_year",
    "light_travel_days",
    "mid_exposure",
    "mjd_at_telescope",
    "offline_astropy",
]

FloatArray = NDArray[np.float64]
Days = TypeVar("Days", float, FloatArray)


def julian_year(mjd: Days) -> Days:
    """Return the Julian year of a time (MJD), such as 2016.0, the epoch of Gaia DR3.

    Motions need no better: UTC stands for TDB, which is 4e-6 years off at most.
    """
    return 2000.0 + (mjd - MJD_J2000) / DAYS_PER_YEAR


@dataclass(frozen=True, slots=True)
class Site:
    """Where a telescope stands: geodetic longitude (east) and latitude in degrees, height in metres."""

    lon: float
    lat: float
    height: float


def mid_exposure(mjd_start: ArrayLike, exptime: ArrayLike) -> FloatArray:
    """Middle of an exposure (days) from its start (days) and its length (seconds)."""
    half = np.asarray(exptime, dtype=np.float64) / (2.0 * SECONDS_PER_DAY)
    return np.asarray(np.asarray(mjd_start, dtype=np.float64) + half)


def light_travel_days(
    mjd_utc: ArrayLike,
    ra: ArrayLike,
    dec: ArrayLike,
    site: Site,
    *,
    kind: Literal["barycentric", "heliocentric"] = "barycentric",
) -> FloatArray:
    """Light travel time to the barycentre of the solar system or to the Sun, in days.

    Parameters
    ----------
    mjd_utc : array_like, shape (n,)
        Times (MJD, UTC) at the telescope.
    ra, dec : array_like, scalar or shape (n,)
        Position of the star, degrees (ICRS).
    site : Site
        The telescope.
    kind : str
        ``barycentric`` or ``heliocentric``.

    Returns
    -------
    ndarray, shape (n,)
        Positive when the telescope is nearer to the star; NaN where an input is not finite.
    """
    return _corrections(mjd_utc, ra, dec, site, kind)[1]


def bjd_tdb(mjd_utc: ArrayLike, ra: ArrayLike, dec: ArrayLike, site: Site) -> FloatArray:
    """Barycentric Julian date in TDB of times (MJD, UTC) at a telescope; see `light_travel_days`."""
    tdb, travel = _corrections(mjd_utc, ra, dec, site, "barycentric")
    return tdb + MJD_ZERO_JD + travel


def hjd_utc(mjd_utc: ArrayLike, ra: ArrayLike, dec: ArrayLike, site: Site) -> FloatArray:
    """Heliocentric Julian date in UTC of times (MJD, UTC) at a telescope; see `light_travel_days`."""
    travel = light_travel_days(mjd_utc, ra, dec, site, kind="heliocentric")
    return np.asarray(mjd_utc, dtype=np.float64) + MJD_ZERO_JD + travel


GEOCENTRE = Site(0.0, 0.0, -6_378_137.0)
"""The centre of the Earth: a point of the equator, less the radius of the ellipsoid WGS 84. It stands for a telescope
on the ground whose place nobody knows, at most 21 ms of light away."""

_ROUNDS = 3
"""The light travel time changes by 1e-4 of the step in time: 500 s are 5e-10 s after three."""


def mjd_at_telescope(
    mjd: ArrayLike,
    *,
    scale: str,
    place: Literal["telescope", "heliocentre", "barycentre"] = "telescope",
    position: tuple[float, float] | None = None,
    site: Site = GEOCENTRE,
) -> FloatArray:
    """Return times (MJD, UTC) at a telescope: the way back from `bjd_tdb` and `hjd_utc`.

    Parameters
    ----------
    mjd : array_like, shape (n,)
        Times (MJD) as they came.
    scale
        Their scale: ``utc``, ``tai``, ``tt`` or ``tdb``.
    place
        Where a clock would have shown them.
    position
        Of the star, degrees (ICRS); without it the light travel time stays in.
    site
        The telescope.

    Returns
    -------
    ndarray, shape (n,)
        NaN where an input is not finite.
    """
    given = np.asarray(mjd, dtype=np.float64)
    at = _to_utc(given, scale)
    if place == "telescope" or position is None:
        return at
    kind: Literal["barycentric", "heliocentric"] = "barycentric" if place == "barycentre" else "heliocentric"
    for _ in range(_ROUNDS):
        at = _to_utc(given - light_travel_days(at, *position, site, kind=kind), scale)
    return at


def _to_utc(mjd: FloatArray, scale: str) -> FloatArray:
    found = np.full(mjd.shape, np.nan)
    use = np.isfinite(mjd)
    if use.any():
        with offline_astropy() as (_, time_class, _):
            found[use] = time_class(mjd[use], format="mjd", scale=scale).utc.mjd
    return found


def barycentric_velocity(mjd_utc: ArrayLike, ra: ArrayLike, dec: ArrayLike, site: Site) -> FloatArray:
    """Velocity of a telescope towards a star as seen from the barycentre of the solar system, in km/s.

    Added to a velocity measured at the telescope it gives the barycentric one, to first order; parameters as
    for `light_travel_days`, whose ephemeris it shares (good to about 1 m/s).
    """
    mjd, lon, lat = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (mjd_utc, ra, dec)))
    found = np.full(mjd.shape, np.nan)
    use = np.isfinite(mjd) & np.isfinite(lon) & (np.abs(lat) <= 90.0)
    if use.any():
        with offline_astropy() as (coordinates, time_class, unit):
            where = coordinates.EarthLocation.from_geodetic(site.lon, site.lat, site.height)
            star = coordinates.SkyCoord(lon[use] * unit.deg, lat[use] * unit.deg, frame="icrs")
            time = time_class(mjd[use], format="mjd", scale="utc", location=where)
            with coordinates.solar_system_ephemeris.set("builtin"):
                correction = star.radial_velocity_correction("barycentric", obstime=time)
            found[use] = correction.to_value("km/s")
    return found


def geocentric_velocity(mjd_utc: float, ra: float, dec: float) -> float:
    """Velocity of the centre of the Earth towards a star as seen from the barycentre, in km/s; NaN if not known.

    What `barycentric_velocity` is without the turning of the Earth (0.46 km/s at the equator).
    """
    if not (np.isfinite(mjd_utc + ra) and abs(dec) <= 90.0):
        return float("nan")
    with offline_astropy() as (coordinates, time_class, unit):
        star = coordinates.SkyCoord(ra * unit.deg, dec * unit.deg, frame="icrs").cartesian.xyz.value
        time = time_class(mjd_utc, format="mjd", scale="utc")
        earth = coordinates.get_body_barycentric_posvel("earth", time, ephemeris="builtin")[1]
        return float(earth.xyz.to_value("km/s") @ star)


def _corrections(
    mjd_utc: ArrayLike, ra: ArrayLike, dec: ArrayLike, site: Site, kind: str
) -> tuple[FloatArray, FloatArray]:
    """Give MJD in TDB at the telescope, and the light travel time in days."""
    try:
        mjd, lon, lat = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (mjd_utc, ra, dec)))
    except ValueError as exc:
        msg = "times and positions differ in length: give one position, or one for each time"
        raise DataError(msg) from exc
    tdb, travel = np.full(mjd.shape, np.nan), np.full(mjd.shape, np.nan)
    use = np.isfinite(mjd) & np.isfinite(lon) & (np.abs(lat) <= 90.0)
    if use.any():
        with offline_astropy() as (coordinates, time_class, unit):
            where = coordinates.EarthLocation.from_geodetic(site.lon, site.lat, site.height)
            star = coordinates.SkyCoord(lon[use] * unit.deg, lat[use] * unit.deg, frame="icrs")
            time = time_class(mjd[use], format="mjd", scale="utc", location=where)
            travel[use] = time.light_travel_time(star, kind=kind, ephemeris="builtin").to_value("day")
            tdb[use] = time.tdb.mjd
    return tdb, travel


@contextmanager
def offline_astropy() -> Iterator[tuple[Any, Any, Any]]:
    """Astropy's coordinates, Time and units, held to the tables it was installed with."""
    from astropy import coordinates, units
    from astropy.time import Time
    from astropy.utils import iers

    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("auto_max_age", None),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield coordinates, Time, units
