"""Which candidates have to be judged together, because the light of one may be that of another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from virtualobserver.maths.shiftstack.search import Trajectories, positions

__all__ = ["groups_of"]

_NEIGHBOURS: Final = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Half of the eight cells about one: each pair of neighbours is looked at once."""


def groups_of(found: Trajectories, tau: NDArray[np.float64], distance: float) -> Iterator[Trajectories]:
    """Yield candidates in groups; no two of different groups come closer than `distance` pixels in any frame.

    Within a group each is near another one, by cells of that size.
    """
    if not len(found):
        return
    label = _labels(found, tau, max(distance, 1.0))
    order = np.argsort(label, kind="stable")
    borders = np.flatnonzero(np.diff(label[order])) + 1
    for rows in np.split(order, borders):
        yield found.take(rows)


def _labels(found: Trajectories, tau: NDArray[np.float64], distance: float) -> NDArray[np.int64]:
    """Link each candidate with its cell in every frame, and cells with their neighbours."""
    count, label = len(found), np.arange(len(found))
    for number in range(len(tau)):
        x, y = (
            np.floor_divide(part[:, 0], distance).astype(np.int64) for part in positions(found, tau[[number]])
        )
        cells, cell = np.unique(np.stack([x, y], axis=1), axis=0, return_inverse=True)
        place = {(int(one), int(two)): k for k, (one, two) in enumerate(cells.tolist())}
        pairs = [
            (k, place[one + right, two + up])
            for (one, two), k in place.items()
            for right, up in _NEIGHBOURS
            if (one + right, two + up) in place
        ]
        # groups so far, and the cells of this frame behind them
        link = np.array(pairs, np.int64).reshape(-1, 2) + count
        rows = np.concatenate([label, link[:, 0]])
        columns = np.concatenate([cell.ravel() + count, link[:, 1]])
        size = count + len(cells)
        graph = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(size, size))
        _, joined = connected_components(graph, directed=False)
        label = np.unique(joined[:count][label], return_inverse=True)[1].ravel()
    return label
