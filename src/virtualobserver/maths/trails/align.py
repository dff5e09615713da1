"""Trails on one grid of time: band-limited interpolation by the phase of their samples, never beyond what was seen."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["PHASES", "resampled"]

FloatArray = NDArray[np.float64]
PHASES: Final = 16
"""Steps of the phase in a pixel: a 32nd of a pixel is the most a trail is off, and moves a light curve that the image
of a star has smoothed over 1.7 pixels by 1 % of its slope."""
_HALF: Final = 4
"""Samples to each side that an interpolated one is made of."""


def resampled(values: FloatArray, move: FloatArray) -> FloatArray:
    """Return rows at places `move` samples further on, by a Lanczos kernel of four lobes.

    Parameters
    ----------
    values
        Shape (n, m), NaN where unknown.
    move
        Shape (n,), between -1 and 1.

    Returns
    -------
    array, shape (n, m)
        NaN where the sample itself or one beside it is unknown. Of samples further off, those that are unknown are left
        out of the kernel, which is then scaled to a sum of 1.
    """
    n, m = values.shape
    whole = np.floor(move).astype(int)
    part = move - whole
    index = np.arange(m)[None, :] + whole[:, None]
    known = np.isfinite(values)
    top, base = np.zeros((n, m)), np.zeros((n, m))
    rows = np.arange(n)[:, None]
    sound = np.ones((n, m), np.bool_)
    for step in range(1 - _HALF, _HALF + 1):
        at = index + step
        inside = (at >= 0) & (at < m)
        at = np.clip(at, 0, m - 1)
        seen = inside & known[rows, at]
        t = step - part
        weight = (np.sinc(t) * np.sinc(t / _HALF))[:, None]
        top += weight * np.where(seen, values[rows, at], 0.0)
        base += weight * seen
        needed = np.abs(t) < 1 - 1e-9  # the two beside the place, or the one it falls on
        sound &= seen | ~needed[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sound & (base > 0.5), top / base, np.nan)
