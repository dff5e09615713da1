"""Filters and clustering of candidates as KBMOD has them, each a function of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.special import ndtri

from virtualobserver.errors import DataError
from virtualobserver.maths.shiftstack.images import LikelihoodImages
from virtualobserver.maths.shiftstack.search import Trajectories, curves

__all__ = ["ClusterBy", "SigmaG", "cluster", "filter_sigma_g", "sigma_g"]

ClusterBy = Literal[
    "all",
    "position",
    "mid_position",
    "start_end_position",
    "nn_start",
    "nn_start_end",
    "grid_start",
    "grid_start_end",
]
_FLOOR: Final = 1e-5
"""Least distance of the percentiles: a path of equal values keeps them all."""
_CURVES: Final = 2_000_000
"""Values of curves held at a time; bounds the memory."""


@dataclass(frozen=True, eq=False)
class SigmaG:
    """What sigma-G keeps, shape (n, frames), and its lower and upper edge for each curve, shape (n,)."""

    keep: NDArray[np.bool_]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def sigma_g(
    psi: ArrayLike,
    phi: ArrayLike,
    *,
    limits: tuple[float, float] = (25.0, 75.0),
    n_sigma: float = 2.0,  # as KBMOD has it
    edges: Literal["open", "closed"] = "open",
) -> SigmaG:
    """Mark the epochs of each curve that agree with its median.

    ``open``: on ``psi / sqrt(phi)`` with interpolated percentiles, and values *at* an edge are dropped, as
    KBMOD does on a processor. ``closed``: on ``psi / phi`` with order statistics ``ceil(n q) - 1``, and
    values at an edge stay, as it does on a graphics card.

    Parameters
    ----------
    psi, phi : array_like, shape (n, frames)
        Curves; phi = 0 means no data and is never kept.
    limits
        Two percentiles; their distance, scaled to a normal distribution, is the width.
    n_sigma
        Distance of the edges from the median in widths.

    Raises
    ------
    DataError
        If the percentiles do not rise within (0, 100).
    """
    if not 0 < limits[0] < limits[1] < 100:
        msg = f"sigma-G needs two rising percentiles between 0 and 100, not {limits}"
        raise DataError(msg)
    a, b = (np.atleast_2d(np.asarray(curve, dtype=np.float64)) for curve in (psi, phi))
    good = b > 0
    with np.errstate(all="ignore"):
        value = np.where(good, a / np.sqrt(b) if edges == "open" else a / b, np.nan)
    q_low, q_mid, q_high = _percentiles(value, (limits[0], 50.0, limits[1]), edges)
    coefficient = 1.0 / (ndtri(limits[1] / 100) - ndtri(limits[0] / 100))
    width = coefficient * np.maximum(q_high - q_low, _FLOOR)
    low, high = q_mid - n_sigma * width, q_mid + n_sigma * width
    with np.errstate(invalid="ignore"):
        if edges == "open":
            keep = (value > low[:, None]) & (value < high[:, None])
        else:
            keep = (value >= low[:, None]) & (value <= high[:, None])
    return SigmaG(keep & good, low, high)


def filter_sigma_g(
    images: LikelihoodImages,
    found: Trajectories,
    *,
    level: float,
    min_obs: int,
    limits: tuple[float, float] = (25.0, 75.0),
    n_sigma: float = 2.0,  # as KBMOD has it
    edges: Literal["open", "closed"] = "open",
) -> Trajectories:
    """Sum each path anew over the epochs that `sigma_g` keeps; drop what then misses level or number."""
    parts = []
    size = max(1, _CURVES // max(1, len(images.tau)))
    for first in range(0, len(found), size):
        part = found.take(slice(first, first + size))
        psi, phi = curves(images, part)
        keep = sigma_g(psi, phi, limits=limits, n_sigma=n_sigma, edges=edges).keep
        total, weight = ((curve * keep).sum(axis=1, dtype=np.float64) for curve in (psi, phi))
        with np.errstate(all="ignore"):
            likelihood = np.where(weight > 0, total / np.sqrt(weight), -1.0)
            flux = np.where(weight > 0, total / weight, -1.0)
        n_obs = keep.sum(axis=1)
        new = replace(part, likelihood=likelihood, flux=flux, n_obs=n_obs)
        parts.append(new.take((likelihood >= level) & (n_obs >= min_obs)))
    return Trajectories.joined(parts).sorted()


def cluster(
    found: Trajectories,
    tau: NDArray[np.float64],
    *,
    by: ClusterBy = "nn_start_end",
    radius: float = 20.0,  # as cluster_eps of KBMOD
    v_scale: float = 1.0,
) -> Trajectories:
    """Keep the strongest of each group.

    Parameters
    ----------
    by
        What is compared: ``all`` = start and velocity times `v_scale`; start, middle, or start and end
        position. Points within `radius` are linked into groups (DBSCAN of one point); ``nn_...`` keeps the
        strongest, drops what is within `radius` of it, and goes on; ``grid_...`` compares cells.
    radius
        Pixels; of ``all``, in the mixed space.
    """
    if len(found) < 2:
        return found
    ordered = found.sorted()
    ends = _ends(ordered, tau)
    if by == "all":
        points = np.column_stack([ordered.x, ordered.y, ordered.vx * v_scale, ordered.vy * v_scale])
    elif by == "mid_position":
        points = 0.5 * (ends[:, :2] + ends[:, 2:])
    elif by.endswith("_end") or by == "start_end_position":
        points = ends
    else:
        points = ends[:, :2]
    if by.startswith("grid"):
        _, first = np.unique(np.floor(points / radius).astype(np.int64), axis=0, return_index=True)
        return ordered.take(np.sort(first))
    if by.startswith("nn"):
        return ordered.take(_greedy(points, radius))
    return ordered.take(_linked(points, radius))


def _percentiles(
    value: NDArray[np.float64], wanted: tuple[float, ...], edges: str
) -> list[NDArray[np.float64]]:
    counts = np.isfinite(value).sum(axis=1)
    rows = np.sort(value, axis=1)  # NaN at the end
    result = []
    for percent in wanted:
        if edges == "closed":
            place = np.clip(np.ceil(counts * percent / 100).astype(np.int64) - 1, 0, None)
            result.append(np.take_along_axis(rows, place[:, None], axis=1)[:, 0])
            continue
        where = (np.maximum(counts, 1) - 1) * percent / 100
        low = np.floor(where).astype(np.int64)
        high = np.minimum(low + 1, np.maximum(counts, 1) - 1)
        a, b = (np.take_along_axis(rows, place[:, None], axis=1)[:, 0] for place in (low, high))
        result.append(a + (b - a) * (where - low))
    return result


def _ends(found: Trajectories, tau: NDArray[np.float64]) -> NDArray[np.float64]:
    span = float(tau.max()) if len(tau) else 0.0
    return np.column_stack([found.x, found.y, found.x + found.vx * span, found.y + found.vy * span])


def _greedy(points: NDArray[np.float64], radius: float) -> list[int]:
    tree = cKDTree(points)
    gone = np.zeros(len(points), dtype=bool)
    kept = []
    for number in range(len(points)):
        if not gone[number]:
            kept.append(number)
            gone[tree.query_ball_point(points[number], radius)] = True
    return kept


def _linked(points: NDArray[np.float64], radius: float) -> NDArray[np.int64]:
    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    n = len(points)
    links = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, label = connected_components(links, directed=False)
    _, first = np.unique(label, return_index=True)
    return np.sort(first)
