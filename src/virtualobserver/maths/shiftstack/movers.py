"""Movers put into frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

__all__ = ["add_movers", "mover_stamp"]

_SUB_STEP = 0.2  # pixels of motion between the points a trail is made of
_REACH = 6.0  # half side of a stamp in widths of the profile


def mover_stamp(
    x: float, y: float, sigma: float, trail: tuple[float, float] = (0.0, 0.0)
) -> tuple[NDArray[np.float64], int, int]:
    """Image of a source of flux 1 that moves during the exposure, integrated over the pixels.

    Parameters
    ----------
    x, y
        Position at the middle of the exposure, pixels.
    sigma
        Width of the Gaussian profile, pixels.
    trail
        Motion during the exposure, pixels.

    Returns
    -------
    tuple
        The stamp, and column and row of its first pixel.
    """
    length = float(np.hypot(*trail))
    number = int(np.ceil(length / _SUB_STEP)) + 1
    part = (np.arange(number) + 0.5) / number - 0.5
    reach = int(np.ceil(_REACH * sigma + 0.5 * length)) + 1
    column, row = int(np.floor(x + 0.5)) - reach, int(np.floor(y + 0.5)) - reach
    edges = np.arange(2 * reach + 2) - 0.5
    lines = []
    for start, centre, motion in ((column, x, trail[0]), (row, y, trail[1])):
        at = (edges + start - (centre + motion * part)[:, None]) / (np.sqrt(2.0) * sigma)
        lines.append(0.5 * np.diff(erf(at), axis=1))
    return np.einsum("sy,sx->yx", lines[1], lines[0]) / number, column, row


def add_movers(
    science: NDArray[np.floating],
    x: ArrayLike,
    y: ArrayLike,
    flux: ArrayLike,
    *,
    sigma: ArrayLike,
    trail: tuple[ArrayLike, ArrayLike] | None = None,
    gain: float | None = None,
    rng: np.random.Generator | None = None,
) -> NDArray[np.float32]:
    """Return frames with movers added.

    Parameters
    ----------
    science : ndarray, shape (n, ny, nx)
        Never changed; NaN stays NaN.
    x, y, flux : array_like, shape (movers, n)
        Positions at the middle of each exposure, pixels, and fluxes in the unit of the frames.
    sigma : array_like, shape (n,)
        Width of the Gaussian profile in each frame, pixels.
    trail : pair of array_like, shape (movers, n), optional
        Motion in x and y during each exposure, pixels.
    gain
        Electrons per unit: adds the photon noise of the movers, drawn from `rng`.
    """
    result = np.array(science, dtype=np.float32)
    columns, rows, light = (np.atleast_2d(np.asarray(part, dtype=np.float64)) for part in (x, y, flux))
    widths = np.broadcast_to(np.asarray(sigma, dtype=np.float64), len(result))
    motion = [np.broadcast_to(np.asarray(part, np.float64), columns.shape) for part in trail or (0.0, 0.0)]
    _, ny, nx = result.shape
    for number, frame in np.ndindex(*columns.shape):
        stamp, left, low = mover_stamp(
            float(columns[number, frame]),
            float(rows[number, frame]),
            float(widths[frame]),
            (float(motion[0][number, frame]), float(motion[1][number, frame])),
        )
        stamp = stamp * light[number, frame]
        if gain is not None and rng is not None:
            stamp = rng.poisson(np.maximum(stamp, 0.0) * gain) / gain
        x0, x1 = max(0, left), min(nx, left + stamp.shape[1])
        y0, y1 = max(0, low), min(ny, low + stamp.shape[0])
        if x0 < x1 and y0 < y1:
            result[frame, y0:y1, x0:x1] += stamp[y0 - low : y1 - low, x0 - left : x1 - left]
    return result
