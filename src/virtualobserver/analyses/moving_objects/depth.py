"""How faint a sum of images reaches: the magnitude of a mover whose likelihood is the level of the search."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from virtualobserver.analyses.moving_objects.night import Night
from virtualobserver.analyses.moving_objects.rows import zero_points
from virtualobserver.analyses.moving_objects.settings import MovingObjectsSettings
from virtualobserver.maths.shiftstack.boxes import open_likelihoods, phi_along

__all__ = ["limiting_magnitude"]

_SPOTS: Final = 5
"""Places along each side of the frame at which the noise is looked up; the median of 25 is known to 3 %."""
_KEPT: Final = 0.95
"""Part of the likelihood of a filter that knows everything which the search gives: velocities and places between those
tried, and its templates, take the rest (0.93 to 0.97 in the mean of a night, `tests/truth/measure_stacks.py`)."""


def limiting_magnitude(night: Night, level: float, settings: MovingObjectsSettings) -> float | None:
    """Return the AB magnitude at which half of all slow movers are found; None without zero points or data.

    The likelihood of a mover of flux f_i in image i has the mean sum f_i phi_i / sqrt(sum phi_i) and a normal
    distribution of variance 1, so that half of those for which this is the level are above it. The frame's median
    counts; what is trailed by more than the width of a star, or crosses masked stars, has to be brighter.

    Parameters
    ----------
    level
        Least likelihood of a mover that is told.
    """
    zero_point = zero_points(night)
    if zero_point is None:
        return None
    likelihoods = open_likelihoods(night.stack, masked=settings.stack.masked)
    n, ny, nx = night.stack.shape
    steps = (np.arange(_SPOTS) + 0.5) / _SPOTS
    light = 10.0 ** (0.4 * (zero_point - zero_point.max()))
    found = []
    for x, y in np.stack(np.meshgrid(steps * nx, steps * ny), axis=-1).reshape(-1, 2):
        phi = phi_along(likelihoods, np.full(n, x), np.full(n, y)).astype(np.float64)
        if (phi > 0).sum() >= settings.stack.min_epochs:
            found.append(float((light * phi).sum() / np.sqrt(phi.sum())))
    if not found or not level > 0:
        return None
    return float(zero_point.max() + 2.5 * math.log10(_KEPT * float(np.median(found)) / level))
