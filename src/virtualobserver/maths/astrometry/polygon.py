"""Polygons on the sphere whose sides are great circles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.errors import DataError

__all__ = ["inside_polygon"]


def inside_polygon(
    ra: ArrayLike, dec: ArrayLike, corners: Sequence[tuple[float, float]]
) -> NDArray[np.bool_]:
    """Return which positions lie in a polygon, convex or not, that is smaller than half of the sky.

    Seen from a point inside, the corners turn once around; seen from outside, they come back without a turn.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        Degrees.
    corners
        Of the polygon, (ra, dec) in degrees, in order; the last is joined to the first.

    Returns
    -------
    bool array, shape (n,)

    Raises
    ------
    DataError
        If there are fewer than three corners, one is not on the sky, or they do not lie in one half of it.
    """
    edge = np.asarray(corners, dtype=np.float64)
    if edge.ndim != 2 or edge.shape[0] < 3 or edge.shape[1] != 2:
        msg = f"a polygon needs three or more corners [ra, dec], not an array of shape {edge.shape}"
        raise DataError(msg)
    if not np.isfinite(edge).all() or np.any(np.abs(edge[:, 1]) > 90):
        msg = "a corner of the polygon is not on the sky: dec goes from -90 to 90 degrees"
        raise DataError(msg)
    vectors = _vectors(edge[:, 0], edge[:, 1])
    middle = vectors.sum(axis=0)
    if np.any(vectors @ middle <= 0):
        msg = "the corners do not lie in one half of the sky, so inside and outside are not told apart; give a MOC"
        raise DataError(msg)
    lon, lat = (np.deg2rad(np.asarray(each, dtype=np.float64)) for each in (ra, dec))
    east = np.stack((-np.sin(lon), np.cos(lon), np.zeros_like(lon)), axis=-1)
    north = np.stack((-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)), axis=-1)
    turned = np.zeros(lon.shape)
    before = np.arctan2(east @ vectors[-1], north @ vectors[-1])
    for corner in vectors:
        after = np.arctan2(east @ corner, north @ corner)
        turned += (after - before + np.pi) % (2 * np.pi) - np.pi
        before = after
    near = _vectors(np.rad2deg(lon), np.rad2deg(lat)) @ middle > 0  # the antipodes see the corners turn too
    return np.asarray(near & (np.abs(turned) > np.pi))


def _vectors(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    lon, lat = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack((np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)), axis=-1)
