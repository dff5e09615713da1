"""Images with the light of movers added when they are read, so that no copy of a night is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.handles import Handle, ProductInfo
from virtualobserver.data.image import Image
from virtualobserver.maths.shiftstack.movers import mover_stamp

__all__ = ["Light", "LitHandle"]


@dataclass(frozen=True)
class Light:
    """One mover in one image: position at the middle of the exposure and motion within it, pixels, and flux.

    ``seed`` is that of its photon noise, which images that are not in electrons get none of.
    """

    x: float
    y: float
    flux: float
    trail: tuple[float, float]
    seed: tuple[int, int]


@dataclass(frozen=True, eq=False)
class LitHandle:
    """An image with movers; a box of it is what the box of the whole would be.

    Parameters
    ----------
    base
        The image without them.
    light
        The movers.
    sigma
        Width of the Gaussian profile, pixels.
    """

    base: Handle[Image]
    light: tuple[Light, ...]
    sigma: float

    @property
    def info(self) -> ProductInfo:
        """What is known of the image; it is simulated."""
        return replace(self.base.info, simulated=True)

    def load(self) -> Image:
        """Return the whole image with the movers."""
        image: Image = self.base.load()
        return self._lit(image, 0, 0)

    def section(self, rows: slice, cols: slice | None = None) -> Image:
        """Return a box with the movers in it; it has to begin at a pixel that is named."""
        image: Image = self.base.section(rows, cols)
        return self._lit(image, rows.start or 0, (cols.start or 0) if cols is not None else 0)

    def _lit(self, image: Image, row: int, column: int) -> Image:
        data = np.array(image.data, dtype=np.float32)
        for one in self.light:
            self._add(data, one, (row, column), noisy=image.unit == "electron")
        return replace(image, data=data)

    def _add(self, data: NDArray[np.float32], one: Light, corner: tuple[int, int], *, noisy: bool) -> None:
        ny, nx = data.shape
        far = 8 * self.sigma + float(np.hypot(*one.trail)) + 3
        x, y = one.x - corner[1], one.y - corner[0]
        if not (-far < x < nx + far and -far < y < ny + far):
            return
        stamp, left, low = mover_stamp(one.x, one.y, self.sigma, one.trail)
        stamp = stamp * one.flux
        if noisy:
            stamp = np.random.default_rng(one.seed).poisson(np.maximum(stamp, 0.0)).astype(np.float64)
        left, low = left - corner[1], low - corner[0]
        x0, x1, y0, y1 = (
            max(0, left),
            min(nx, left + stamp.shape[1]),
            max(0, low),
            min(ny, low + stamp.shape[0]),
        )
        if x0 < x1 and y0 < y1:
            data[y0:y1, x0:x1] += stamp[y0 - low : y1 - low, x0 - left : x1 - left]
