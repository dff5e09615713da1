"""Which movers of a night are known bodies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.asteroids.settings import AsteroidsSettings
from virtualobserver.analyses.asteroids.tracks import Night
from virtualobserver.catalog.bodies import BodiesSeen, KnownBodies
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.errors import ConfigError
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.maths.linking.identify import FARTHEST, BodyTrack, Match, identify
from virtualobserver.maths.times import Site

__all__ = ["Identity", "Named", "body_name", "identified", "place_of"]

FloatArray = NDArray[np.float64]

_MARGIN: Final = 0.01
"""Degrees about the movers in which bodies are asked for, beside the largest distance of a match; whole hundredths of a
degree, so that the same night asks the same again."""


@dataclass(frozen=True, eq=False)
class Identity:
    """What a mover is: the match, and the body at each of its epochs.

    Parameters
    ----------
    name
        As it is catalogued, number first.
    match
        How well it fits.
    second
        Name of the next best, empty if none.
    ra, dec, mag
        Of the body at the epochs of the mover, degrees and magnitudes, shape (m,).
    heliocentric_distance, observer_distance, phase_angle
        au, au, degrees, shape (m,).
    """

    name: str
    match: Match
    second: str
    ra: FloatArray
    dec: FloatArray
    mag: FloatArray
    heliocentric_distance: FloatArray
    observer_distance: FloatArray
    phase_angle: FloatArray


@dataclass(frozen=True, eq=False)
class Named:
    """The identities of the movers of a night (None = no known body), and the bodies of the field that were not seen.

    `seconds` are the names of bodies that movers without identity could be had another mover not been a better match.
    """

    identities: tuple[Identity | None, ...]
    seconds: tuple[str, ...]
    bodies: int
    missed: tuple[tuple[str, float], ...]


def body_name(number: int, name: str) -> str:
    """Return a body's name as catalogues have it: ``(433) Eros``, ``2019 RB21``."""
    return f"({number}) {name}".strip() if number else name


def place_of(night: Night, settings: AsteroidsSettings) -> tuple[Site | None, str]:
    """Return where the telescope stood, and its code: as the settings say, else as the images do."""
    facts = night.table.meta
    site = None
    if settings.site is not None:
        site = Site(*settings.site)
    elif all(facts.get(key) is not None for key in ("OBS_LON", "OBS_LAT", "OBS_ELEV")):
        site = Site(float(facts["OBS_LON"]), float(facts["OBS_LAT"]), float(facts["OBS_ELEV"]))
    return site, settings.mpc_code or str(facts.get("MPCCODE") or "")


def identified(night: Night, bodies: KnownBodies, settings: AsteroidsSettings) -> Named:
    """Ask which bodies were in the field of a night's movers, and give each mover the one that it is.

    Raises
    ------
    ConfigError
        If neither the images nor the settings say where the telescope stood.
    ArchiveError
        If the service does not answer.
    """
    if not night.tracks:
        return Named((), (), 0, ())
    site, code = place_of(night, settings)
    mjd = np.unique(np.concatenate([one.rows["mjd"] for one in night.tracks]))
    ra, dec, radius = _cone(night)
    try:
        seen = bodies.seen(mjd, ra, dec, radius, site=site, code=code)
    except ConfigError as error:
        msg = f"{error}; the images of {night.name} do not say it: set mpc_code and site of asteroids, or of the survey"
        raise ConfigError(msg) from error
    columns = [np.searchsorted(mjd, one.rows["mjd"]) for one in night.tracks]
    where = [BodyTrack(mjd[c], seen.ra[:, c], seen.dec[:, c], seen.error) for c in columns]
    matches = identify([one.path for one in night.tracks], where)
    names = [body_name(int(n), str(name)) for n, name in zip(seen.number, seen.name, strict=True)]
    identities = tuple(
        None if match.body is None else _identity(match, names, seen, those)
        for match, those in zip(matches, columns, strict=True)
    )
    seconds = tuple("" if one.second is None else names[one.second] for one in matches)
    taken = {match.body for match in matches}
    mags = np.nanmean(np.where(np.isfinite(seen.mag), seen.mag, np.inf), axis=1) if len(seen) else np.zeros(0)
    missed = sorted(
        ((name, float(mags[k])) for k, name in enumerate(names) if k not in taken),
        key=lambda one: (one[1], one[0]),
    )
    return Named(identities, seconds, len(names), tuple(missed))


# --- inside -----------------------------------------------------------------------------------------------


def _cone(night: Night) -> tuple[float, float, float]:
    """Return the middle of the movers of a night and the radius that holds them, degrees."""
    ra = np.concatenate([one.rows["ra"] for one in night.tracks])
    dec = np.concatenate([one.rows["dec"] for one in night.tracks])
    good = np.isfinite(ra) & np.isfinite(dec)
    ra, dec = ra[good], dec[good]
    east = (ra - ra[0] + 180.0) % 360.0 - 180.0
    middle = float((ra[0] + (east.min() + east.max()) / 2) % 360.0), float((dec.min() + dec.max()) / 2)
    reach = float(separation(ra, dec, *middle).max()) + FARTHEST / ARCSEC_PER_DEGREE
    return *middle, _MARGIN * (np.ceil(reach / _MARGIN) + 1)


def _identity(match: Match, names: list[str], seen: BodiesSeen, columns: NDArray[np.int64]) -> Identity:
    row = match.body
    assert row is not None
    second = "" if match.second is None else names[match.second]
    planes = ("ra", "dec", "mag", "heliocentric_distance", "observer_distance", "phase_angle")
    return Identity(names[row], match, second, *(getattr(seen, one)[row, columns] for one in planes))
