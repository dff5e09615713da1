"""The images of a night as a stack that is read box by box: shifted, masked, without sky and stars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from virtualobserver.analyses.moving_objects.sights import Sight
from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.maths.shiftstack.template import StarTemplate, measure_template
from virtualobserver.typing import RecordDict

__all__ = ["NightStack", "open_stack"]

_BYTES: Final = 30  # for each pixel of a band: signal, variance, and what the medians make of them


@dataclass(frozen=True, eq=False)
class NightStack:
    """Aligned images, not in memory; see `virtualobserver.maths.shiftstack.images.Stack`.

    Parameters
    ----------
    handles, sights
        The images and what is known of each, in order of time.
    mjd
        Middle of each exposure, MJD (UTC), shape (n,).
    psf
        One kernel per image.
    dx, dy
        A source at (x, y) of the grid is at (x + dx, y + dy) of the image, shape (n,).
    template
        What stands still, on the grid; None = the images are differences.
    seen
        Pixels of the grid with data in any image, shape (ny, nx).
    edge
        Rows and columns left out at the edges of each image.
    """

    handles: tuple[Handle[Image], ...]
    sights: tuple[Sight, ...]
    mjd: NDArray[np.float64]
    psf: tuple[NDArray[np.float32], ...]
    dx: NDArray[np.int64]
    dy: NDArray[np.int64]
    template: StarTemplate | None
    seen: NDArray[np.bool_]
    edge: int = 0

    @property
    def tau(self) -> NDArray[np.float64]:
        """Days since the first image, shape (n,)."""
        return np.asarray(self.mjd - self.mjd[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of images, rows, columns."""
        ny, nx = self.sights[0].shape
        return len(self.handles), ny, nx

    def covered(self) -> NDArray[np.bool_]:
        """Return the pixels with data in any image, shape (ny, nx)."""
        return self.seen

    def planes(
        self, frame: int, rows: tuple[int, int], cols: tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return signal and variance of a box, NaN outside and where masked."""
        shift = (int(self.dx[frame]), int(self.dy[frame]))
        return _planes(self.handles[frame], self.sights[frame], shift, (rows, cols), self.template, self.edge)


def open_stack(
    handles: Sequence[Handle[Image]],
    sights: Sequence[Sight],
    psf: Sequence[NDArray[np.float32]],
    shifts: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    template: RecordDict | None,
    memory: float,
    grow: int = 0,
    edge: int = 0,
) -> NightStack:
    """Measure the template, a band of rows at a time, and what the images cover.

    Parameters
    ----------
    template
        Options of `measure_template`; None = subtract nothing.
    memory
        Bytes that the bands of all images may take.
    grow
        Pixels by which the masks of stars grow.
    edge
        Rows and columns left out at the edges of each image.
    """
    ny, nx = sights[0].shape
    light, floor = np.zeros((2, ny, nx), np.float32)
    stars, seen = np.zeros((2, ny, nx), bool)
    height = int(np.clip(memory / (_BYTES * len(handles) * nx), 1, ny))
    for first in range(0, ny, height):
        box = ((first, min(first + height, ny)), (0, nx))
        rows = slice(*box[0])
        moves = zip(shifts[0].tolist(), shifts[1].tolist(), strict=True)
        science, variance = _band(handles, sights, list(moves), box, edge)
        with np.errstate(invalid="ignore"):
            good = (np.isfinite(science) & np.isfinite(variance) & (variance > 0)).any(axis=0)
        if template is not None:
            one = measure_template(science, variance, **template)
            light[rows], floor[rows], stars[rows] = one.light, one.floor, one.stars
        seen[rows] = good
    if grow:
        stars |= binary_dilation(stars & np.isfinite(light) & (light > 0), iterations=grow)
    seen &= ~stars
    made = StarTemplate(light, floor, stars) if template is not None else None
    mjd = np.array([one.mjd for one in sights])
    return NightStack(tuple(handles), tuple(sights), mjd, tuple(psf), *shifts, made, seen, edge)


def _band(
    handles: Sequence[Handle[Image]],
    sights: Sequence[Sight],
    moves: Sequence[tuple[int, int]],
    box: tuple[tuple[int, int], tuple[int, int]],
    edge: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    (low, high), (left, right) = box
    science = np.empty((len(handles), high - low, right - left), np.float32)
    variance = np.empty_like(science)
    for number, (handle, sight, shift) in enumerate(zip(handles, sights, moves, strict=True)):
        science[number], variance[number] = _planes(handle, sight, shift, box, None, edge)
    return science, variance


def _planes(  # noqa: PLR0917
    handle: Handle[Image],
    sight: Sight,
    shift: tuple[int, int],
    box: tuple[tuple[int, int], tuple[int, int]],
    template: StarTemplate | None,
    edge: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    (low, high), (left, right) = box
    ny, nx = sight.shape
    dx, dy = shift
    science, variance = np.full((2, high - low, right - left), np.nan, np.float32)
    # what lies on the grid and within the image
    y0, y1 = max(low, 0, edge - dy), min(high, ny, ny - edge - dy)
    x0, x1 = max(left, 0, edge - dx), min(right, nx, nx - edge - dx)
    if y0 >= y1 or x0 >= x1:
        return science, variance
    image = handle.section(slice(y0 + dy, y1 + dy), slice(x0 + dx, x1 + dx))
    signal = image.data.astype(np.float32)
    if image.mask is not None:
        signal[image.mask != 0] = np.nan
    if sight.mesh is None:
        signal -= np.float32(sight.level)
    else:
        signal -= sight.mesh.at(slice(y0 + dy, y1 + dy), slice(x0 + dx, x1 + dx))
    noise = np.full(signal.shape, sight.noise**2, np.float32)
    if image.variance is not None:
        noise = image.variance.astype(np.float32)
    if template is not None:
        signal, noise = template.clean(signal, noise, (slice(y0, y1), slice(x0, x1)))
    here = (slice(y0 - low, y1 - low), slice(x0 - left, x1 - left))
    science[here], variance[here] = signal, noise
    return science, variance
