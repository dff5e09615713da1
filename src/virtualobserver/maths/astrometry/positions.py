"""Who is who: pointings grouped into objects by position, never by name alone; stars in a catalogue."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.maths.astrometry.motion import move_linear

__all__ = [
    "Match",
    "absolute_magnitude",
    "group_positions",
    "match_star",
    "normal_name",
]

FloatArray = NDArray[np.float64]


def _vectors(ra: FloatArray, dec: FloatArray) -> FloatArray:
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def group_positions(
    ra: ArrayLike,
    dec: ArrayLike,
    *,
    years: ArrayLike | None = None,
    pmra: ArrayLike | None = None,
    pmdec: ArrayLike | None = None,
    epoch: float = 2016.0,  # that of Gaia DR3
    radius: float = 5.0,  # chosen: three times the scatter of pointings, `match_star`
    slack: float = 0.5,  # chosen: few stars move faster, and neighbours are to stay apart
    largest: float = 10.0,  # chosen: bounds `slack` after decades
) -> NDArray[np.int64]:
    """Return the number of the object of each pointing: those linked by position, also through others.

    Positions are carried to `epoch`. Two are linked within `radius`; where the motion of one of them is not
    known, the radius grows by `slack` for each year between them, up to `largest`.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        Degrees, where the object was at its time. NaN makes an object of its own.
    years : array_like, shape (n,)
        Julian year of each position; `epoch` if not given.
    pmra, pmdec : array_like, shape (n,)
        mas/yr, the first times cos(dec); NaN = not known.
    radius, largest : float
        arcsec.
    slack : float
        arcsec/yr.

    Returns
    -------
    ndarray of int, shape (n,)
        Objects numbered from 0 in the order of their first pointing.
    """
    lon, lat = np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)
    n = lon.size
    when = np.full(n, epoch) if years is None else np.asarray(years, dtype=np.float64)
    east = np.full(n, np.nan) if pmra is None else np.asarray(pmra, dtype=np.float64)
    north = np.full(n, np.nan) if pmdec is None else np.asarray(pmdec, dtype=np.float64)
    moves = np.isfinite(east) & np.isfinite(north)
    lon, lat = move_linear(lon, lat, east, north, np.where(moves, epoch - when, 0.0))
    there = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
    # many exposures of one pointing are one point of the tree
    key = np.stack([lon[there], lat[there], when[there], moves[there].astype(np.float64)], axis=1)
    points, back = np.unique(key, axis=0, return_inverse=True)
    label = np.full(n, -1, dtype=np.int64)
    if len(points):
        label[there] = _linked(points, radius, slack, largest)[back.reshape(-1)]
    alone = label < 0
    label[alone] = len(points) + np.arange(int(alone.sum()))
    _, first, number = np.unique(label, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[number.reshape(-1)], dtype=np.int64)


def _linked(points: FloatArray, radius: float, slack: float, largest: float) -> NDArray[np.int64]:
    """Return the number of the group of each point, rows of (ra, dec, year, whether its motion is known)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    vectors = _vectors(points[:, 0], points[:, 1])
    pairs: Any = cKDTree(vectors).query_pairs(_chord(largest), output_type="ndarray")
    linked = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    apart = np.linalg.norm(vectors[linked[:, 0]] - vectors[linked[:, 1]], axis=1)
    known = (points[linked[:, 0], 3] > 0) & (points[linked[:, 1], 3] > 0)
    time = np.nan_to_num(np.abs(points[linked[:, 0], 2] - points[linked[:, 1], 2]))
    reach = np.where(known, radius, np.minimum(radius + slack * time, largest))
    linked = linked[apart <= _chord(1.0) * reach]
    graph = coo_array((np.ones(len(linked)), (linked[:, 0], linked[:, 1])), shape=(len(points), len(points)))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _chord(arcsec: float) -> float:
    return float(2 * np.sin(np.deg2rad(arcsec / ARCSEC_PER_DEGREE) / 2))


def normal_name(name: str) -> str:
    """Name without spaces, underscores and hyphens, in lower case, numbers without leading zeros."""
    flat = re.sub(r"[\s_\-]+", "", name.strip().lower())
    return re.sub(r"(?<=[a-z])0+(?=\d)", "", flat)


@dataclass(frozen=True)
class Match:
    """The star of a catalogue that an object most likely is.

    ``row`` is its number, ``distance`` in arcsec, ``probability`` that of this star against all others of
    the field and against none of them.
    """

    row: int
    distance: float
    probability: float


def match_star(
    distance: ArrayLike,
    mag: ArrayLike,
    *,
    expected: float | None = None,
    mag_sigma: float = 0.7,  # chosen: of a header, in another band than that of the catalogue
    position_sigma: float = 1.5,  # chosen: pointings are rounded, or of another epoch
    missing: float = 0.02,  # chosen: that of a star 2.8 of these sigmas away
) -> Match | None:
    """Choose among stars near a position by distance and brightness.

    Each star's weight is exp(−d²/2σ²), times exp(−Δm²/2σ_m²) where the brightness is known; where it is not,
    brighter stars are preferred by the slope of star counts, 10^(−0.4 m), since spectra are taken of bright
    stars.

    Parameters
    ----------
    distance : array_like, shape (n,)
        arcsec, at the epoch of the observation.
    mag : array_like, shape (n,)
        NaN = not known.
    expected : float, optional
        Magnitude of the object.
    position_sigma : float
        Scatter of pointings, arcsec.
    missing : float
        Weight of the case that the star is not in the catalogue.

    Returns
    -------
    Match or None
        None if there is no star, or none is more likely than that it is missing.
    """
    away, bright = np.asarray(distance, dtype=np.float64), np.asarray(mag, dtype=np.float64)
    if not away.size:
        return None
    weight = np.exp(-0.5 * (away / position_sigma) ** 2)
    if expected is not None and np.isfinite(expected):
        weight = weight * np.where(
            np.isfinite(bright), np.exp(-0.5 * ((bright - expected) / mag_sigma) ** 2), 0.05
        )
    elif np.isfinite(bright).any():
        faint = np.where(np.isfinite(bright), bright, np.nanmax(bright) + 3.0)
        weight = weight * 10 ** (-0.4 * (faint - faint.min()))
    best = int(np.argmax(weight))
    probability = float(weight[best] / (weight.sum() + missing))
    return Match(best, float(away[best]), probability) if weight[best] > missing else None


def absolute_magnitude(mag: float, parallax: float) -> float:
    """M = m + 5 log10(ϖ/mas) − 10; NaN where the parallax is not positive."""
    return float(mag + 5 * np.log10(parallax) - 10) if parallax > 0 else float("nan")
