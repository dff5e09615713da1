"""The chain of filters of ssos 1.3.5 on source lists, in the order in which it runs them.

Mahlke et al. (2019), Astronomy and Computing 28, 100289. Sources of consecutive images within a radius are one object;
what moves too little, too fast, not along a line, or near a bright star, is taken out. Its angles are true ones, also
across RA 0, where ssos leaves out the cosine of the declination.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from virtualobserver.conventions import MAD_TO_SIGMA
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.maths.linking.chain_settings import SsosSettings
from virtualobserver.maths.linking.lists import SourceLists
from virtualobserver.maths.linking.track import Track, fit_track

__all__ = ["ChainLinks", "Extra", "cross_identify", "run_chain", "weighted_r2"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_OBLIQUITY: Final = np.radians(23.4392911)
"""Of the ecliptic of J2000 (IAU 1976)."""
_REJECTED: Final = (64, 96)
"""Flags of SCAMP that ssos looks for: rejected from the fit of the motion, without or with a colour missing."""
_BEST: Final = 1e-3
"""Arcsec that no source is known better than; none that is identified is worse than the radius. Some lists have errors
near 0 and of many degrees, whose weights no fit bears."""
EPOCH_OUTLIER: Final = 1
"""Bit that ssos gives a source whose epoch was left out of the line."""


@dataclass(frozen=True, eq=False)
class Extra:
    """What some of the filters need besides the lists, if it is known; each of shape (n,).

    Parameters
    ----------
    a, b, a_error, b_error
        Axes of the light's second moments, pixels.
    flags_scamp
        Flags of SCAMP.
    stars
        Right ascension, declination (deg) and magnitude of bright stars, shape (m, 3).
    """

    a: FloatArray | None = None
    b: FloatArray | None = None
    a_error: FloatArray | None = None
    b_error: FloatArray | None = None
    flags_scamp: IntArray | None = None
    stars: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))


@dataclass(frozen=True, eq=False)
class ChainLinks:
    """What the chain found.

    Parameters
    ----------
    tracks
        Objects that pass all filters, with a straight line fitted to each.
    left_out
        Bits of each source (1 = its epoch was left out of the line), shape (n,).
    rejected
        Number of objects that each filter took out, in the order of the filters.
    """

    tracks: tuple[Track, ...]
    left_out: IntArray
    rejected: Mapping[str, int]


def run_chain(lists: SourceLists, settings: SsosSettings, extra: Extra | None = None) -> ChainLinks:
    """Identify sources with each other and filter: detections, motion, line, pixels, trail, bright stars.

    Filters that need what is not known pass all. Objects with two sources only have no line and are taken out with
    those that have one.
    """
    known = extra or Extra()
    lists = replace(lists, error=np.clip(lists.error, _BEST, settings.crossid_radius))
    bits = np.zeros(len(lists), np.int64)
    objects = cross_identify(lists, settings.crossid_radius)
    tracks = [Track(rows, 0.0, np.zeros((2, 2)), np.zeros((2, 2, 2)), 0.0, 0) for rows in objects]
    rejected: dict[str, int] = {}

    def keep(name: str, passes: Callable[[Track], bool]) -> None:
        nonlocal tracks
        before = len(tracks)
        tracks = [one for one in tracks if passes(one)]
        rejected[name] = before - len(tracks)

    # a rate needs two images
    dropped = set(settings.detections) if settings.filter_detec else set()
    keep("detections", lambda one: len(one.rows) not in dropped and len(one.rows) > 1)
    tracks = [fit_track(lists, one.rows, floor=0.0) for one in tracks]
    if settings.filter_pm:
        keep("motion", lambda one: _moves(one, settings))
    if settings.filter_motion:
        keep("line", lambda one: _on_a_line(lists, one.rows, bits, known, settings))
    if settings.filter_pixel:
        pixel = lists.pixel
        keep("pixels", lambda one: not (np.ptp(pixel[one.rows], axis=0) < settings.delta_pixel).all())
    if settings.filter_trail:
        keep("trail", lambda one: _constant_shape(one.rows, known, settings))
    if settings.filter_bright_sources and len(known.stars):
        keep("bright", lambda one: not _near_bright(lists, one.rows, known.stars, settings))
    return ChainLinks(tuple(tracks), bits, rejected)


def cross_identify(lists: SourceLists, radius: float) -> list[IntArray]:
    """Return the rows of each object: each source goes to the object whose last one is nearest, and that to it.

    Parameters
    ----------
    radius
        Arcsec between consecutive sources of an object, at most.
    """
    objects: list[list[int]] = []
    last: list[int] = []
    for image in range(len(lists.mjd)):
        rows = np.flatnonzero(lists.image == image)
        mine = np.full(len(rows), -1)
        if last and len(rows):
            away, nearest = cKDTree(lists.place[last]).query(lists.place[rows])
            back = np.asarray(cKDTree(lists.place[rows]).query(lists.place[last])[1])
            mutual = back[nearest] == np.arange(len(rows))
            mine = np.where(mutual & (away <= radius), nearest, -1)
        for row, one in zip(rows.tolist(), mine.tolist(), strict=True):
            if one >= 0:
                objects[one].append(row)
                last[one] = row
            else:
                objects.append([row])
                last.append(row)
    return [np.array(rows, dtype=np.int64) for rows in objects]


def weighted_r2(t: FloatArray, y: FloatArray, weight: FloatArray) -> float:
    """Return 1 - sum w (y - line)^2 / sum w (y - mean)^2 of a weighted straight line; NaN where all y are equal."""
    t, y = t - np.average(t, weights=weight), y - np.average(y, weights=weight)
    slope = (weight * t * y).sum() / (weight * t * t).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(1 - (weight * (y - slope * t) ** 2).sum() / (weight * y * y).sum())


def _moves(track: Track, settings: SsosSettings) -> bool:
    """PM_LOW <= PM <= PM_UP and PM / PMERR >= PM_SNR, with the errors of both axes added in quadrature."""
    error = float(np.sqrt(track.covariance[:, 1, 1].sum()))
    return settings.pm_low <= track.rate <= settings.pm_up and track.rate >= settings.pm_snr * error


def _on_a_line(
    lists: SourceLists, rows: IntArray, bits: IntArray, known: Extra, settings: SsosSettings
) -> bool:
    if known.flags_scamp is not None:
        refused = int(np.isin(known.flags_scamp[rows], _REJECTED).sum())
        if refused >= 2 or refused >= 0.2 * len(rows):
            return False
    groups = [rows]
    if settings.identify_outlier:
        groups = _epochs(lists, rows, settings.outlier_threshold)
    good = [group for group in groups if len(group) >= 3 and _linear(lists, group, settings.r_squ_m)]
    inside = np.isin(rows, np.concatenate(good)) if good else np.zeros(len(rows), bool)
    bits[rows[~inside]] |= EPOCH_OUTLIER
    return bool(inside.any())


def _epochs(lists: SourceLists, rows: IntArray, threshold: float) -> list[IntArray]:
    """Part the sources of an object at larger gaps in time than usual; without one, try it without the last."""
    t = lists.hours[lists.image[rows]]
    for end in (len(t), len(t) - 1):
        spread = float(np.median(np.abs(t[:end] - np.median(t[:end])))) * MAD_TO_SIGMA
        gaps = np.flatnonzero(np.diff(t) > threshold * spread)
        if len(gaps) and spread > 0:
            return np.split(rows, gaps + 1)
    return [rows]


def _linear(lists: SourceLists, rows: IntArray, least: float) -> bool:
    """Whether both equatorial coordinates are straight lines, or RA and both ecliptic ones."""
    t = lists.hours[lists.image[rows]]
    if not np.ptp(t) > 0:
        return False
    ra, dec = lists.sky(lists.place[rows])
    ra = (ra - ra[0] + 180.0) % 360.0 - 180.0
    long, short = lists.error[rows].max(axis=1), lists.error[rows].min(axis=1)
    if not weighted_r2(t, ra, 1 / long**2) >= least:
        return False
    if weighted_r2(t, dec, 1 / short**2) >= least:
        return True
    even = np.ones(len(rows))
    return all(weighted_r2(t, part, even) >= least for part in _ecliptic(*lists.sky(lists.place[rows])))


def _ecliptic(ra: FloatArray, dec: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return longitude (from the first one) and latitude, degrees."""
    a, d = np.radians(ra), np.radians(dec)
    x, y, z = np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)
    y, z = y * np.cos(_OBLIQUITY) + z * np.sin(_OBLIQUITY), z * np.cos(_OBLIQUITY) - y * np.sin(_OBLIQUITY)
    longitude = np.degrees(np.arctan2(y, x))
    return (longitude - longitude[0] + 180.0) % 360.0 - 180.0, np.degrees(np.arcsin(z))


def _constant_shape(rows: IntArray, known: Extra, settings: SsosSettings) -> bool:
    """Whether the error of the mean axes is not far below their scatter: (sum 1/sigma^2)^-1/2 over it."""
    for axis, error in ((known.a, known.a_error), (known.b, known.b_error)):
        if axis is None or error is None:
            continue
        scatter = float(np.std(axis[rows]))
        if scatter > 0 and float((error[rows] ** -2.0).sum()) ** -0.5 / scatter < settings.ratio:
            return False
    return True


def _near_bright(lists: SourceLists, rows: IntArray, stars: FloatArray, settings: SsosSettings) -> bool:
    brightest, faintest = settings.mag_limits
    bright = stars[(stars[:, 2] >= brightest) & (stars[:, 2] <= faintest)]
    ra, dec = lists.sky(lists.place[rows].mean(axis=0, keepdims=True))
    return bool((separation(ra, dec, bright[:, 0], bright[:, 1]) * 3600.0 < settings.distance).any())
