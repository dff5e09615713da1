"""Which movers of different nights are one: each predicts where the other has to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import ARCSEC_PER_DEGREE, HOURS_PER_DAY
from virtualobserver.maths.astrometry.tan_sip import deproject
from virtualobserver.maths.linking.paths import NightPath

__all__ = ["RATE_CHANGE", "RATE_SCATTER", "SIGMA", "join_nights"]

FloatArray = NDArray[np.float64]

SIGMA: Final = 3.0
"""Standard deviations within which a prediction has to hold."""
RATE_SCATTER: Final = 0.8
"""arcsec/h by which the mean motion from one night to the next differs from what the nights themselves show, one
standard deviation: at 1 au the turning Earth makes up to 2.3 arcsec/h of the motion seen at the meridian, and nothing
of that between the same hours of two nights."""
FOLLOWED: Final = 0.15
"""arcsec/h that stays of it at 1 au, in the measure of the nearness, once the turn of the Earth is taken out: what
the distance changes by, and rates that do not change evenly."""
NEAR: Final = 3.0
"""One over au; one standard deviation of how near bodies are thought to be before they are compared."""
RATE_CHANGE: Final = (2.0, 0.2)
"""arcsec/h, and part of the rate, by which velocities of two nights differ at most: those by which a mover and an
ephemeris of it are compared."""


@dataclass(frozen=True)
class _Bond:
    """Two paths that may be one: how badly they fit, and which they are."""

    chi2: float
    keys: tuple[tuple[float, float, float], tuple[float, float, float]]
    pair: tuple[int, int]


def join_nights(
    paths: Sequence[NightPath], nights: Sequence[str | int], *, longest: float, scatter: float = RATE_SCATTER
) -> list[list[int]]:
    """Group movers of several nights that are one body.

    From one night to another the mean of both velocities has to lead from place to place, within the errors and
    `scatter`; the velocities have to be alike. The best pairs are joined first, and no body is twice in a night, so the
    groups do not depend on the order of `paths`.

    Parameters
    ----------
    paths
        Of all nights.
    nights
        Of each path; those of one night are never joined.
    longest
        Days between two paths that are compared, at most.
    scatter
        arcsec/h; see `RATE_SCATTER`.

    Returns
    -------
    list of list of int
        Numbers of the paths of each body in order of time; the bodies by their first path.
    """
    bonds = sorted(_bonds(paths, nights, longest, scatter), key=lambda one: (one.chi2, one.keys))
    group = list(range(len(paths)))
    members = [[number] for number in group]
    for bond in bonds:
        one, other = (group[number] for number in bond.pair)
        seen = {nights[number] for number in members[one]}
        if one == other or any(nights[number] in seen for number in members[other]):
            continue
        for number in members[other]:
            group[number] = one
        members[one] += members[other]
        members[other] = []
    found = [sorted(some, key=lambda number: paths[number].key) for some in members if some]
    return sorted(found, key=lambda some: paths[some[0]].key)


# --- inside -----------------------------------------------------------------------------------------------


def _bonds(
    paths: Sequence[NightPath], nights: Sequence[str | int], longest: float, scatter: float
) -> Iterator[_Bond]:
    order = sorted(range(len(paths)), key=lambda number: paths[number].key)
    some = _Paths.of([paths[number] for number in order])
    for n, first in enumerate(order):
        # those that begin after this one's last epoch, as far on as is compared
        end = int(np.searchsorted(some.mjd, some.mjd[n] + longest, side="right"))
        later = n + 1 + np.flatnonzero(some.first[n + 1 : end] > paths[first].last)
        later = later[[nights[order[k]] != nights[first] for k in later.tolist()]]
        if not later.size:
            continue
        chi2 = _misfit(paths[first], some.take(later), scatter)
        for k in np.flatnonzero(chi2 <= SIGMA**2).tolist():
            second = order[int(later[k])]
            yield _Bond(float(chi2[k]), (paths[first].key, paths[second].key), (first, second))


@dataclass(frozen=True, eq=False)
class _Paths:
    """Many paths in order of time: times and first epochs, shape (k,), the rest (k, 2).

    These are places, and places an hour later, degrees; errors as `NightPath` has them; its parallax in one row of
    four, NaN where it is not known.
    """

    mjd: FloatArray
    first: FloatArray
    place: FloatArray
    later: FloatArray
    error: FloatArray
    velocity_error: FloatArray
    parallax: FloatArray

    @classmethod
    def of(cls, paths: Sequence[NightPath]) -> _Paths:
        place = np.array([(one.ra, one.dec) for one in paths]).reshape(-1, 2)
        east, north = np.array([one.velocity for one in paths]).reshape(-1, 2).T / ARCSEC_PER_DEGREE
        later = [deproject(*one) for one in zip(east, north, *place.T, strict=True)]
        pairs = [
            np.array([getattr(one, name) for one in paths]).reshape(-1, 2)
            for name in ("error", "velocity_error")
        ]
        mjd, first = (np.array([getattr(one, name) for one in paths]) for name in ("mjd", "first"))
        parallax = [np.full(4, np.nan) if one.parallax is None else np.ravel(one.parallax) for one in paths]
        return cls(
            mjd,
            first,
            place,
            np.array(later).reshape(-1, 2),
            pairs[0],
            pairs[1],
            np.array(parallax).reshape(-1, 4),
        )

    def take(self, rows: NDArray[np.int64]) -> _Paths:
        return _Paths(*(getattr(self, one.name)[rows] for one in fields(self)))


def _turned(one: NightPath, others: _Paths, vectors: FloatArray) -> FloatArray:
    """Return vectors at other places (arcsec east and north, shape (k, 2)) in the axes of the plane of a path."""
    small = vectors.T / ARCSEC_PER_DEGREE
    ends = [deproject(*pair) for pair in zip(*small, *others.place.T, strict=True)]
    return one.plane(*np.array(ends).reshape(-1, 2).T) - one.plane(*others.place.T)


def _misfit(one: NightPath, others: _Paths, scatter: float) -> FloatArray:
    """Return chi squared of the way from a path to later ones, infinite where the velocities are not alike.

    Where the telescope's place is known, the nearness (one over the distance) that fits best is found first: it says
    how much of the motion seen is the turn of the Earth. What has to be very near to fit counts less.
    """
    hours = (others.mjd[:, None] - one.mjd) * HOURS_PER_DAY
    away = one.plane(*others.place.T)
    # an hour further on, which tells the other velocities in the axes of the first plane
    velocity = one.plane(*others.later.T) - away
    miss = away - 0.5 * (one.velocity + velocity) * hours
    variance = one.error**2 + others.error**2
    variance = variance + 0.25 * hours**2 * (one.velocity_error**2 + others.velocity_error**2)
    nearness, turn, swing = _nearness(one, others, (miss, variance, hours))
    known = np.isfinite(nearness)
    near = np.where(known, nearness, 0.0)
    left = np.where(known, FOLLOWED * np.maximum(near, 1.0), scatter)
    variance = variance + (left[:, None] * hours) ** 2
    change = np.hypot(*(velocity - one.velocity - near[:, None] * swing).T)
    unsure = SIGMA * np.hypot(*np.hypot(one.velocity_error, others.velocity_error).T)
    limit = np.maximum(RATE_CHANGE[0], RATE_CHANGE[1] * np.maximum(one.rate, np.hypot(*velocity.T))) + unsure
    chi2 = ((miss - near[:, None] * turn) ** 2 / variance).sum(axis=1) + (near / NEAR) ** 2
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(chi2) & (change <= limit), chi2, np.inf)


def _nearness(
    one: NightPath, others: _Paths, fit: tuple[FloatArray, FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the nearness (1/au) at which the way fits best, NaN where it cannot be told, shape (k,).

    And by how much a body at 1 au would miss, and its rates differ, because the Earth turns (arcsec, arcsec/h), shape
    (k, 2); `fit` has what is missed, its variance and the hours between.
    """
    miss, variance, hours = fit
    if one.parallax is None:
        nothing = np.zeros_like(miss)
        return np.full(len(miss), np.nan), nothing, nothing
    place, rate = (_turned(one, others, each) for each in (others.parallax[:, :2], others.parallax[:, 2:]))
    turn = place - one.parallax[0] - 0.5 * (rate + one.parallax[1]) * hours
    weight = 1 / (variance + (FOLLOWED * hours) ** 2)
    best = (miss * turn * weight).sum(axis=1) / ((turn**2 * weight).sum(axis=1) + 1 / NEAR**2)
    return np.maximum(best, 0.0), np.nan_to_num(turn), np.nan_to_num(rate - one.parallax[1])
