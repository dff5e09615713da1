"""The compiled inner loop of shift-and-stack.

Shifted frames are summed one after another in the given precision, so every sum has the rounding of a plain loop.
Planes are padded with zeros on the left and right, and row ``ny`` of every plane is zero: what lies outside
costs no test. Each pixel keeps its best velocities; of equals the first one tried stays in front.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from virtualobserver.maths.kernels import jit

__all__ = ["Padded", "State", "new_state", "pad_planes", "stack"]

_CHUNK: Final = 512  # columns whose sums stay in the first-level cache
_UNROLLED: Final = 8
"""Frames added in one go, so that their sums stay in registers. Chosen, not tuned."""
_SLACK: Final = 1.0 - 1e-5  # the quick test must never refuse what the exact one takes

Floats = NDArray[np.floating]


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


def new_state(rows: int, cols: int, top: int, dtype: DTypeLike) -> State:
    """Return a state in which nothing was found yet."""
    return State(np.zeros((rows, cols, top), dtype), np.full((rows, cols, top), -1, np.int64))


def pad_planes(psi: Floats, phi: Floats, pad: int, dtype: DTypeLike) -> Padded:
    """Copy planes of shape (n, ny, nx) into `Padded` ones."""
    n, ny, nx = psi.shape
    planes = []
    for plane in (psi, phi):
        wide = np.zeros((n, ny + 1, nx + 2 * pad), dtype)
        wide[:, :ny, pad : pad + nx] = plane
        planes.append(wide)
    return Padded(planes[0], planes[1], pad)


def stack(
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


def _columns(planes: Padded, x_start: int, cols: int, dx: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the padded column of the first start pixel; windows beyond the padding see only zeros."""
    width = planes.psi.shape[2]
    return np.clip(np.ascontiguousarray(dx, dtype=np.int64) + (x_start + planes.pad), 0, width - cols)


# Psi and phi are summed along each velocity, a chunk of a row at a time; a root and a division are taken only where
# the sums may exceed what the pixel has already.
# One loop nest: calls inside it would cost more than they tidy.
# Unsigned positions spare the test for negative ones, without which the loops would not be vectorised.
def _stack(psi, phi, geometry, dy, columns, best, index, first, level, min_obs):  # type: ignore[no-untyped-def]  # noqa: C901, PLR0912, PLR0917
    frames, plane, stride, height, y0 = geometry
    rows, cols, top = best.shape
    groups = (frames + _UNROLLED - 1) // _UNROLLED
    a = np.empty(_CHUNK, psi.dtype)
    b = np.empty(_CHUNK, psi.dtype)
    less = psi.dtype.type(_SLACK)
    bar = np.maximum(best[:, :, top - 1], level)
    bar = bar * bar * less
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


@cache
def _compiled() -> Callable[..., None]:
    return cast("Callable[..., None]", jit(_stack))
