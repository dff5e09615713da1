"""What speaks against a track."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import SIGMA_TO_FWHM
from virtualobserver.maths.linking.lists import SourceLists
from virtualobserver.maths.linking.settings import LinkSettings
from virtualobserver.maths.linking.track import Track

__all__ = ["REASONS", "near_bright", "objection", "twins"]

FloatArray = NDArray[np.float64]
REASONS: Final = {
    "few": "too few sources lie on one path",
    "chi2": "the sources do not lie on one path",
    "still": "the rate is not beyond its error",
    "rate": "slower or faster than what is searched",
    "magnitudes": "the light changes too much",
    "chance": "sources scattered at random would align as well",
    "shape": "the sources are not shaped as a star that is trailed at that rate",
    "detector": "it stays on the same pixels while the field moves",
    "twin": "another track with more sources goes along with it",
}
"""Why a candidate is no mover."""
_STAYS: Final = 2.0
"""Pixels; the existing chain's DELTA_PIXEL."""
_STUCK: Final = 0.5
"""Motion on the detector over that on the sky, below which it is the field that moves: a mover has 1, a defect 0."""
_WIDE: Final = 2.5
"""Widths of stars that a mover has across its motion at most: galaxies and spilt charge are wider. Chosen."""
_STRETCH: Final = 0.25
"""Of the stretching that a trail makes, what is seen at least: moments above a threshold are too small."""
_FAINTER: Final = 0.7
"""Radius about a star for each magnitude fainter."""
_BRIGHT, _FAINTEST = 6.0, 8.0
"""Magnitudes: of the star with the full radius, and of the faintest with ghosts."""


def objection(lists: SourceLists, track: Track, settings: LinkSettings) -> str:
    """Return the first reason why a track is no mover, one of `REASONS`; empty = none."""
    low, high = settings.rate
    mags = lists.mag[track.rows]
    tests: dict[str, Callable[[], object]] = {
        "chi2": lambda: track.reduced_chi2 > settings.max_chi2,
        "still": lambda: track.rate < settings.min_motion * track.rate_error,
        "rate": lambda: not low <= track.rate <= high,
        "magnitudes": lambda: np.isfinite(mags).sum() > 2 and np.nanstd(mags, ddof=1) > settings.mag_scatter,
        "chance": lambda: track.chance > settings.false_alarms,
        "detector": lambda: _on_detector(lists, track),
        "shape": lambda: _ill_shaped(lists, track, settings),
    }
    return next((name for name, fails in tests.items() if fails()), "")


def twins(lists: SourceLists, tracks: Sequence[Track], settings: LinkSettings) -> list[Track]:
    """Return the tracks without those that go along with another one that has more sources.

    A long trail is found in pieces; they lie within its length of each other at all times.
    """
    ends = lists.hours[[0, -1]]
    kept: list[Track] = []
    for track in sorted(tracks, key=lambda one: (-len(one.rows), one.reduced_chi2)):
        near = max(settings.static_radius, track.rate * _exposure(lists) / 2)
        away = [float(np.hypot(*(track.at(ends) - one.at(ends)).T).max()) for one in kept]
        if min(away, default=np.inf) > near:
            kept.append(track)
    return kept


def near_bright(lists: SourceLists, stars: FloatArray, radius: float) -> NDArray[np.bool_]:
    """Return which sources lie in the halo of a bright star.

    Parameters
    ----------
    stars
        East and north on the plane of the lists (arcsec) and magnitude, shape (n, 3).
    radius
        About a star of magnitude 6, arcsec; 0.7 times for each magnitude fainter, to magnitude 8.
    """
    near = np.zeros(len(lists), bool)
    for x, y, mag in stars[stars[:, 2] <= _FAINTEST]:
        reach = radius * _FAINTER ** (mag - _BRIGHT)
        near |= np.hypot(lists.place[:, 0] - x, lists.place[:, 1] - y) < reach
    return near


def _exposure(lists: SourceLists) -> float:
    """Return the usual exposure time, hours; 0 = not known."""
    known = lists.exptime[np.isfinite(lists.exptime)]
    return float(np.median(known)) / 3600.0 if len(known) else 0.0


def _on_detector(lists: SourceLists, track: Track) -> bool:
    """Whether the sources stay on the detector while the field moves over it."""
    pixels = lists.pixel[track.rows]
    if not np.isfinite(pixels).all() or (np.ptp(pixels, axis=0) >= _STAYS).any():
        return False
    there, above = (float(np.hypot(*one.std(axis=0))) for one in (pixels, lists.place[track.rows]))
    return there * _pixel_scale(lists) < _STUCK * above


def _pixel_scale(lists: SourceLists) -> float:
    """Return arcsec per pixel, from the size of the first image's box in both; NaN = not known."""
    rows = np.flatnonzero((lists.image == lists.image[0]) & np.isfinite(lists.pixel).all(axis=1))
    if len(rows) < 2:
        return float("nan")
    return float(np.hypot(*np.ptp(lists.place[rows], axis=0)) / np.hypot(*np.ptp(lists.pixel[rows], axis=0)))


def _ill_shaped(lists: SourceLists, track: Track, settings: LinkSettings) -> bool:
    """Whether the sources are too wide, or, where a trail is longer than stars are wide, not stretched along it."""
    moments = lists.shape[track.rows]
    stars = lists.shape[np.isfinite(lists.shape).all(axis=1)]
    if not np.isfinite(moments).all() or not len(stars) or not track.rate > 0:
        return False
    width = float(np.sqrt(np.median(stars[:, [0, 2]])))
    east, north = track.velocity / track.rate
    along = float(np.median(moments @ np.array([east**2, 2 * east * north, north**2])))
    across = float(np.median(moments @ np.array([north**2, -2 * east * north, east**2])))
    if across > (_WIDE * width) ** 2:
        return True
    length = track.rate * _exposure(lists)
    if length < settings.trail * width * SIGMA_TO_FWHM:
        return False
    expected = np.sqrt(1 + (length / width) ** 2 / 12)
    seen = np.sqrt(along / max(across, 1e-12))
    return bool(seen < 1 + _STRETCH * (expected - 1))
