"""Which movers of a night are known bodies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.asteroids.settings import AsteroidsSettings
from virtualobserver.analyses.asteroids.tracks import Night
from virtualobserver.catalog.bodies import BodiesSeen, KnownBodies
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.errors import ConfigError
from virtualobserver.maths.astrometry.polygon import inside_polygon
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.maths.linking.identify import FARTHEST, BodyTrack, Match, identify
from virtualobserver.maths.times import Site

__all__ = ["Identity", "Missed", "Named", "body_name", "identified", "place_of"]

FloatArray = NDArray[np.float64]

_SURE: Final = 0.5
"""Magnitudes above the limit from which a body has to be seen: absolute magnitudes are off by 0.3, colours and rotation
change as much."""
_FEWEST: Final = 4
"""Images on which a body has to be, as many as linking asks for."""
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
    orbit_class
        Its dynamical class, such as ``MB>Middle``; empty where not known.
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
    orbit_class: str
    match: Match
    second: str
    ra: FloatArray
    dec: FloatArray
    mag: FloatArray
    heliocentric_distance: FloatArray
    observer_distance: FloatArray
    phase_angle: FloatArray


@dataclass(frozen=True)
class Missed:
    """A known body that should have been seen and was not.

    Parameters
    ----------
    name, mag
        As it is catalogued; mean magnitude in the night, NaN = not known.
    images
        On how many images it was, bright enough for each; None = nothing says where the images were.
    """

    name: str
    mag: float
    images: int | None


@dataclass(frozen=True, eq=False)
class Named:
    """The identities of the movers of a night (None = no known body), and the bodies that should have been seen.

    `bodies` is the number of known ones on at least one image, and `faint` that of those too faint for all but a few;
    where nothing says where the images were, all in the circle about the movers count. `seconds` are the names of
    bodies that movers without identity could be had another mover not been a better match.
    """

    identities: tuple[Identity | None, ...]
    seconds: tuple[str, ...]
    bodies: int
    missed: tuple[Missed, ...]
    faint: int = 0


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
    frames = _frames(night)
    if not night.tracks and not frames:
        return Named((), (), 0, ())
    site, code = place_of(night, settings)
    mjd = np.unique(np.concatenate([[one.mjd for one in frames], *(one.rows["mjd"] for one in night.tracks)]))
    ra, dec, radius = _cone(night, frames)
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
    taken = {match.body for match in matches if match.body is not None}
    at = [(int(np.searchsorted(mjd, one.mjd)), one) for one in frames]
    return Named(identities, seconds, *_missing(names, seen, taken, at))


# --- inside -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Frame:
    """When an image was taken, where its corners are, and the magnitude that is just seen (None = not known)."""

    mjd: float
    corners: tuple[tuple[float, float], ...]
    limit: float | None


def _frames(night: Night) -> list[_Frame]:
    """Return the images of a night of which is known where they were; none if that is not known of all."""
    facts = night.table.meta
    said = list(zip(facts.get("epochs") or (), facts.get("footprints") or (), strict=False))
    if not said or any(one is None for _, one in said):
        return []
    return [
        _Frame(float(mjd), tuple((float(a), float(d)) for a, d in one["corners"]), one.get("limit"))
        for mjd, one in said
    ]


def _missing(
    names: Sequence[str], seen: BodiesSeen, taken: set[int], frames: Sequence[tuple[int, _Frame]]
) -> tuple[int, tuple[Missed, ...], int]:
    """Return how many bodies were there, which should have been seen, and how many were too faint; see `Named`."""
    mags = [float(np.mean(row)) if np.isfinite(row).all() else math.nan for row in seen.mag]
    if not frames:
        missed = [Missed(name, mags[k], None) for k, name in enumerate(names) if k not in taken]
        bodies, faint = len(names), 0
    else:
        on = np.stack(
            [inside_polygon(seen.ra[:, n], seen.dec[:, n], one.corners) for n, one in frames], axis=1
        )
        limits = np.array([np.inf if one.limit is None else one.limit - _SURE for _, one in frames])
        bright = ~(seen.mag[:, [n for n, _ in frames]] > limits)  # what has no magnitude may be bright
        enough = min(_FEWEST, len(frames))
        there, shown = on.sum(axis=1), (on & bright).sum(axis=1)
        left = [k for k in range(len(names)) if k not in taken and there[k] >= enough]
        missed = [Missed(names[k], mags[k], int(shown[k])) for k in left if shown[k] >= enough]
        bodies, faint = len(set(np.flatnonzero(there).tolist()) | taken), len(left) - len(missed)
    missed.sort(key=lambda one: (math.inf if math.isnan(one.mag) else one.mag, one.name))
    return bodies, tuple(missed), faint


def _cone(night: Night, frames: Sequence[_Frame]) -> tuple[float, float, float]:
    """Return the middle of the movers and the images of a night and the radius that holds them, degrees."""
    corners = np.array([one.corners for one in frames]).reshape(-1, 2)
    ra = np.concatenate([corners[:, 0], *(one.rows["ra"] for one in night.tracks)])
    dec = np.concatenate([corners[:, 1], *(one.rows["dec"] for one in night.tracks)])
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
    return Identity(
        names[row],
        str(seen.orbit_class[row]),
        match,
        second,
        *(getattr(seen, one)[row, columns] for one in planes),
    )
