"""The inner loop of shift-and-stack: compiled, or the same in NumPy with identical results.

Both sum the shifted frames one after another in the given precision, so every sum has the same rounding.
Planes are padded with zeros on the left and right, and row ``ny`` of every plane is zero: what lies outside
costs no test. Each pixel keeps its best velocities; of equals the first one tried stays in front.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["Padded", "State", "has_numba", "new_state", "pad_planes", "stack_numba", "stack_numpy"]

_CHUNK: Final = 512  # columns whose sums stay in the first-level cache
_UNROLLED: Final = 8
_SLACK: Final = 1.0 - 1e-5  # the quick test must never refuse what the exact one takes

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Padded:
    """psi and phi, shape (n, ny + 1, nx + 2 pad): zeros left, right and in the last row."""

    psi: Floats
    phi: Floats
    pad: int

    @property
    def rows(self) -> int:
        """Number of rows with data."""
        return int(self.psi.shape[1]) - 1


@dataclass(frozen=True, eq=False)
class State:
    """The best velocities of each start pixel, strongest first.

    ``likelihood`` (0 = none) and ``index`` of the velocity (-1 = none), shape (rows, columns, top).
    """

    likelihood: Floats
    index: NDArray[np.int64]


def new_state(rows: int, cols: int, top: int, dtype: Any) -> State:
    """Return a state in which nothing was found yet."""
    return State(np.zeros((rows, cols, top), dtype), np.full((rows, cols, top), -1, np.int64))


def pad_planes(psi: Floats, phi: Floats, pad: int, dtype: Any) -> Padded:
    """Copy planes of shape (n, ny, nx) into `Padded` ones."""
    n, ny, nx = psi.shape
    planes = []
    for plane in (psi, phi):
        wide = np.zeros((n, ny + 1, nx + 2 * pad), dtype)
        wide[:, :ny, pad : pad + nx] = plane
        planes.append(wide)
    return Padded(planes[0], planes[1], pad)


def has_numba() -> bool:
    """Whether the compiled loop can be used."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def stack_numba(
    planes: Padded,
    state: State,
    start: tuple[int, int],
    shifts: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    first: int,
    level: float,
    min_obs: int,
) -> None:
    """Try velocities for a box of start pixels and enter what beats the state.

    Parameters
    ----------
    start
        Row and column of the first start pixel on the unpadded planes.
    shifts
        dx and dy in whole pixels, shape (velocities, n).
    first
        Number of the first velocity.
    level
        Likelihoods below are not kept.
    min_obs
        Nor are sums over fewer frames with data.
    """
    n, height, width = planes.psi.shape
    columns = _columns(planes, start[1], state.likelihood.shape[1], shifts[0])
    geometry = np.array([n, height * width, width, planes.rows, start[0]], dtype=np.int64)
    _compiled()(
        planes.psi.reshape(-1),
        planes.phi.reshape(-1),
        geometry,
        np.ascontiguousarray(shifts[1], dtype=np.int64),
        columns,
        state.likelihood,
        state.index,
        first,
        planes.psi.dtype.type(level),
        min_obs,
    )


def stack_numpy(
    planes: Padded,
    state: State,
    start: tuple[int, int],
    shifts: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    first: int,
    level: float,
    min_obs: int,
) -> None:
    """Do as `stack_numba`, slower and without numba."""
    rows, cols, top = state.likelihood.shape
    columns = _columns(planes, start[1], cols, shifts[0])
    dtype = planes.psi.dtype
    for number in range(len(columns)):
        psi, phi = np.zeros((rows, cols), dtype), np.zeros((rows, cols), dtype)
        boxes = _boxes(planes, start[0], (rows, cols), shifts[1][number], columns[number])
        for frame, here, there, across in boxes:
            psi[here] += planes.psi[frame, there, across]
            phi[here] += planes.phi[frame, there, across]
        with np.errstate(all="ignore"):
            likelihood = np.where((psi > 0) & (phi > 0), psi / np.sqrt(phi), dtype.type(0))
        better = (likelihood > state.likelihood[..., top - 1]) & (likelihood >= dtype.type(level))
        if min_obs > 0 and better.any():
            seen = np.zeros((rows, cols), np.int64)
            for frame, here, there, across in boxes:
                seen[here] += planes.phi[frame, there, across] > 0
            better &= seen >= min_obs
        if better.any():
            _enter(state, np.nonzero(better), likelihood[better], first + number)


def _columns(planes: Padded, x_start: int, cols: int, dx: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the padded column of the first start pixel; windows beyond the padding see only zeros."""
    width = planes.psi.shape[2]
    return np.clip(np.ascontiguousarray(dx, dtype=np.int64) + (x_start + planes.pad), 0, width - cols)


def _boxes(
    planes: Padded, y_start: int, size: tuple[int, int], dy: NDArray[np.int64], columns: NDArray[np.int64]
) -> list[tuple[int, slice, slice, slice]]:
    rows, cols = size
    boxes = []
    for frame, (shift, column) in enumerate(zip(dy.tolist(), columns.tolist(), strict=True)):
        low, high = max(0, y_start + shift), min(planes.rows, y_start + shift + rows)
        if low < high:
            own = slice(low - y_start - shift, high - y_start - shift)
            boxes.append((frame, own, slice(low, high), slice(column, column + cols)))
    return boxes


def _enter(state: State, where: tuple[NDArray[np.int64], ...], likelihood: Floats, number: int) -> None:
    """Insert one velocity into the sorted lists of the given pixels, behind equals."""
    best, index = state.likelihood[where], state.index[where]
    top = best.shape[1]
    place = (best >= likelihood[:, None]).sum(axis=1)
    slots = np.arange(top)
    source = np.clip(slots - (slots > place[:, None]), 0, top - 1)
    best = np.take_along_axis(best, source, axis=1)
    index = np.take_along_axis(index, source, axis=1)
    rows = np.arange(len(place))
    best[rows, place], index[rows, place] = likelihood, number
    state.likelihood[where], state.index[where] = best, index


# One loop nest: calls inside it would cost more than they tidy.
# Unsigned positions spare the test for negative ones, without which the loops would not be vectorised.
def _stack(psi, phi, geometry, dy, columns, best, index, first, level, min_obs):  # type: ignore[no-untyped-def]  # noqa: C901, PLR0912, PLR0917
    frames, plane, stride, height, y0 = geometry
    rows, cols, top = best.shape
    groups = (frames + _UNROLLED - 1) // _UNROLLED
    a = np.empty(_CHUNK, psi.dtype)
    b = np.empty(_CHUNK, psi.dtype)
    bar = np.empty((rows, cols), psi.dtype)
    less = psi.dtype.type(_SLACK)
    for r in range(rows):
        for c in range(cols):
            k = max(best[r, c, top - 1], level)
            bar[r, c] = k * k * less
    zeros = np.uint64(height * stride)
    at = np.empty(groups * _UNROLLED, np.uint64)
    for v in range(dy.shape[0]):
        for r in range(rows):
            at[:] = zeros
            for i in range(frames):
                y = y0 + r + dy[v, i]
                if 0 <= y < height:
                    at[i] = i * plane + y * stride + columns[v, i]
            t = bar[r]
            for c0 in range(0, cols, _CHUNK):
                n = min(_CHUNK, cols - c0)
                u = np.uint64(c0)
                a[:n] = 0
                b[:n] = 0
                for g in range(groups):
                    q = at[_UNROLLED * g : _UNROLLED * (g + 1)]
                    o0, o1, o2, o3 = q[0] + u, q[1] + u, q[2] + u, q[3] + u
                    o4, o5, o6, o7 = q[4] + u, q[5] + u, q[6] + u, q[7] + u
                    for j in range(np.uint64(n)):
                        s = (((a[j] + psi[o0 + j]) + psi[o1 + j]) + psi[o2 + j]) + psi[o3 + j]
                        a[j] = (((s + psi[o4 + j]) + psi[o5 + j]) + psi[o6 + j]) + psi[o7 + j]
                    for j in range(np.uint64(n)):
                        s = (((b[j] + phi[o0 + j]) + phi[o1 + j]) + phi[o2 + j]) + phi[o3 + j]
                        b[j] = (((s + phi[o4 + j]) + phi[o5 + j]) + phi[o6 + j]) + phi[o7 + j]
                hits = 0
                for j in range(n):
                    hits += (a[j] * a[j] >= t[c0 + j] * b[j]) & (a[j] > 0)
                if hits == 0:
                    continue
                for j in range(n):
                    c = c0 + j
                    if not (a[j] > 0 and b[j] > 0 and a[j] * a[j] >= t[c] * b[j]):
                        continue
                    found = a[j] / np.sqrt(b[j])
                    if found < level or not found > best[r, c, top - 1]:
                        continue
                    seen = 0
                    for i in range(frames):
                        seen += phi[at[i] + np.uint64(c)] > 0
                    if seen < min_obs:
                        continue
                    p = top - 1
                    while p > 0 and best[r, c, p - 1] < found:
                        best[r, c, p] = best[r, c, p - 1]
                        index[r, c, p] = index[r, c, p - 1]
                        p -= 1
                    best[r, c, p] = found
                    index[r, c, p] = first + v
                    k = max(best[r, c, top - 1], level)
                    t[c] = k * k * less


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., None]:
    import numba

    try:
        result: Callable[..., None] = numba.njit(nogil=True, cache=True)(_stack)
    except RuntimeError:  # no folder to keep the compiled code in
        result = numba.njit(nogil=True)(_stack)
    return result
