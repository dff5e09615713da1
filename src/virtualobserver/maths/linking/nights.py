"""Which movers of different nights are one: each predicts where the other has to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    for n, first in enumerate(order):
        for second in order[n + 1 :]:
            one, other = paths[first], paths[second]
            if other.mjd - one.mjd > longest:
                break
            if nights[first] == nights[second] or other.first <= one.last:
                continue
            chi2 = _misfit(one, other, scatter)
            if chi2 <= SIGMA**2:
                yield _Bond(chi2, (one.key, other.key), (first, second))


def _misfit(one: NightPath, other: NightPath, scatter: float) -> float:
    """Return chi squared of the way from one path to a later one, infinite where the velocities are not alike."""
    hours = (other.mjd - one.mjd) * HOURS_PER_DAY
    away = one.plane(other.ra, other.dec)
    # an hour further on, which tells the other velocity in the axes of the first plane
    east, north = other.velocity / ARCSEC_PER_DEGREE
    later = one.plane(*deproject(east, north, other.ra, other.dec))
    velocity = later - away
    if not np.isfinite(away).all():
        return float("inf")
    change = float(np.hypot(*(velocity - one.velocity)))
    unsure = SIGMA * float(np.hypot(*np.hypot(one.velocity_error, other.velocity_error)))
    if change > max(RATE_CHANGE[0], RATE_CHANGE[1] * max(one.rate, other.rate)) + unsure:
        return float("inf")
    miss = away - 0.5 * (one.velocity + velocity) * hours
    variance = one.error**2 + other.error**2 + (scatter * hours) ** 2
    variance = variance + 0.25 * hours**2 * (one.velocity_error**2 + other.velocity_error**2)
    return float((miss**2 / variance).sum())
