"""The template about one mover, without the mover: each frame gives it only what the mover does not shine on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.moving_objects.stack import NightStack, grown
from virtualobserver.maths.shiftstack.forced import overlaps
from virtualobserver.maths.shiftstack.template import SMOOTH, StarTemplate, measure_template, quieted

__all__ = ["OwnStack", "without_own_light"]

FloatArray = NDArray[np.float64]
Box = tuple[int, int]
_DISC: Final = 3.5
"""Widths of the profile, beyond which a Gaussian is below 0.3 % of its peak."""
_MOST: Final = 0.5
"""Of a mover that a mean of the frames has: of one that moves less, too few frames are without its light."""
_LEAST: Final = 0.04
"""Of a mover that a mean of the frames has: below, what it took is told well enough. It bounds the box that is read to
paths of a hundred pixels."""
_NEAR: Final = 8
"""Pixels about a path that are looked at when it is refined."""
_BYTES: Final = 64e6
"""Of the rows of a box that are worked on at a time."""
_PER_PIXEL: Final = 30.0
"""Bytes for each pixel of an image: signal, variance, and what the medians make of them."""


@dataclass(frozen=True, eq=False)
class OwnStack:
    """A night in which the template of one box is that without a mover; outside of the box there is nothing.

    Parameters
    ----------
    base
        The night.
    template
        Of the box.
    rows, cols
        Where the box is on the grid.
    """

    base: NightStack
    template: StarTemplate
    rows: Box
    cols: Box

    @property
    def mjd(self) -> FloatArray:
        """Middle of each exposure, MJD (UTC), shape (n,)."""
        return self.base.mjd

    @property
    def psf(self) -> tuple[NDArray[np.float32], ...]:
        """One kernel per image."""
        return self.base.psf

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of images, rows, columns of the grid."""
        return self.base.shape

    def covered(self) -> NDArray[np.bool_]:
        """Return the pixels with data in any image, shape (ny, nx)."""
        return self.base.covered()

    def planes(self, frame: int, rows: Box, cols: Box) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return signal and variance of a box of an image, NaN outside and where masked."""
        signal, variance = (
            np.full((rows[1] - rows[0], cols[1] - cols[0]), np.nan, np.float32) for _ in range(2)
        )
        y0, y1 = max(rows[0], self.rows[0]), min(rows[1], self.rows[1])
        x0, x1 = max(cols[0], self.cols[0]), min(cols[1], self.cols[1])
        if y0 < y1 and x0 < x1:
            here = (slice(y0 - rows[0], y1 - rows[0]), slice(x0 - cols[0], x1 - cols[0]))
            there = (slice(y0 - self.rows[0], y1 - self.rows[0]), slice(x0 - self.cols[0], x1 - self.cols[0]))
            raw = self.base.raw(frame, (y0, y1), (x0, x1))
            known = self.base.light.air
            signal[here], variance[here] = self.template.clean(
                # it is a mean
                *raw, there, photons=self.base.sights[frame].per_light, air=float(known[frame] / known.mean())
            )  # fmt: skip
        return signal, variance


def without_own_light(
    stack: NightStack, x: FloatArray, y: FloatArray, *, sigma: FloatArray, trail: FloatArray
) -> OwnStack | None:
    """Measure the template about a path from what each frame shows away from the mover; None where that is no better.

    Parameters
    ----------
    x, y
        Place in each frame, pixels of the grid, shape (n,).
    sigma
        Widths of the profiles, pixels.
    trail
        Length of the motion during each exposure, pixels.
    """
    share = float(
        overlaps(x, y, sigma).mean()
    )  # of the mover, that a mean of the frames has where it is in each
    if stack.options is None or stack.template is None or not _LEAST < share < _MOST:
        return None
    width = float(np.median(sigma))
    # smoothing needs its surroundings, and the search for the path the pixels as far as profile and splines reach
    margin = int(np.ceil(2 * SMOOTH * width + float(trail.max()))) + stack.psf[0].shape[0] // 2 + _NEAR
    _, ny, nx = stack.shape
    rows, cols = (
        (max(int(part.min()) - margin, 0), min(int(part.max()) + margin + 1, size))
        for part, size in ((y, ny), (x, nx))
    )
    if rows[0] >= rows[1] or cols[0] >= cols[1]:
        return None
    radius = _DISC * sigma + 0.5 * trail
    parts = []
    height = max(1, int(_BYTES / (_PER_PIXEL * len(x) * (cols[1] - cols[0]))))
    for first in range(rows[0], rows[1], height):
        band = (first, min(first + height, rows[1]))
        planes = [stack.raw(frame, band, cols) for frame in range(len(x))]
        for frame, (signal, _) in enumerate(planes):
            r, c = np.ogrid[band[0] : band[1], cols[0] : cols[1]]
            signal[(r - y[frame]) ** 2 + (c - x[frame]) ** 2 <= radius[frame] ** 2] = np.nan
        science, variance = (np.array([one[k] for one in planes]) for k in (0, 1))
        parts.append(measure_template(science, variance, **stack.options, mean=True))
    light, floor, stars, error = (
        np.concatenate([getattr(one, name) for one in parts]) for name in ("light", "floor", "stars", "error")
    )
    stars = grown(stars, light, stack.grow)
    made = quieted(StarTemplate(light, floor, stars, error=error), width, least=stack.template.least)
    return OwnStack(stack, made, rows, cols)
