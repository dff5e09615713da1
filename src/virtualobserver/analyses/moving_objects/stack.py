"""The images of a night as a stack that is read box by box: on one grid, masked, without sky and stars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, median_filter

from virtualobserver.analyses.moving_objects.sights import Sight
from virtualobserver.analyses.moving_objects.starlight import StarLight, no_stars, star_light
from virtualobserver.conventions import FWHM_TO_SIGMA
from virtualobserver.data.handles import Handle
from virtualobserver.data.image import Image
from virtualobserver.maths.images.mapping import PixelMap, resample
from virtualobserver.maths.shiftstack.template import (
    StarTemplate,
    measure_template,
    median_over_frames,
    quieted,
)
from virtualobserver.typing import RecordDict

__all__ = ["NightStack", "grown", "open_stack"]

_BYTES: Final = 30  # for each pixel of a band: signal, variance, and what the medians make of them


_FEWEST: Final = 5
"""Frames from which a median says what lasts."""
_MOVED: Final = 2.0
"""Widths of a star (FWHM) by which the sky has to move, so that no star is at one pixel in half of the frames."""
_LASTING: Final = 6.0
"""Standard deviations of that median above its neighbours: one pixel in 1e9 by chance."""


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
    maps
        From the grid to each image.
    template
        What stands still, on the grid; None = the images are differences.
    seen
        Pixels of the grid with data in any image, shape (ny, nx).
    edge
        Rows and columns left out at the edges of each image.
    lasting
        Pixels of the detector that stay bright while the sky moves over them; None = it does not move enough.
    options
        How the template was measured; None = there is none.
    grow
        Pixels by which its masks of stars grew.
    light
        Light of the stars in each image.
    """

    handles: tuple[Handle[Image], ...]
    sights: tuple[Sight, ...]
    mjd: NDArray[np.float64]
    psf: tuple[NDArray[np.float32], ...]
    maps: tuple[PixelMap, ...]
    template: StarTemplate | None
    seen: NDArray[np.bool_]
    light: StarLight
    edge: int = 0
    lasting: NDArray[np.bool_] | None = None
    options: RecordDict | None = None
    grow: int = 0

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
        air = float(self.light.air[frame])
        return _planes(self._frame(frame), (rows, cols), self.template, air)

    def raw(
        self, frame: int, rows: tuple[int, int], cols: tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return signal and variance of a box with what stands still in it."""
        return _planes(self._frame(frame), (rows, cols), None)

    def _frame(self, frame: int) -> _Frame:
        return _Frame(self.handles[frame], self.sights[frame], self.maps[frame], self.edge, self.lasting)


def open_stack(
    handles: Sequence[Handle[Image]],
    sights: Sequence[Sight],
    psf: Sequence[NDArray[np.float32]],
    maps: Sequence[PixelMap],
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
    lasting = _lasting(handles, sights, maps, memory=memory, edge=edge) if template is not None else None
    frames = [
        _Frame(handle, sight, mapping, edge, lasting)
        for handle, sight, mapping in zip(handles, sights, maps, strict=True)
    ]
    light, floor, error = np.zeros((3, ny, nx), np.float32)
    stars, seen = np.zeros((2, ny, nx), bool)
    lift, number = 0.0, 0
    height = int(np.clip(memory / (_BYTES * len(handles) * nx), 1, ny))
    for first in range(0, ny, height):
        box = ((first, min(first + height, ny)), (0, nx))
        rows = slice(*box[0])
        science, variance = _band(frames, box)
        with np.errstate(invalid="ignore"):
            good = (np.isfinite(science) & np.isfinite(variance) & (variance > 0)).any(axis=0)
        if template is not None:
            one = measure_template(science, variance, **template)
            light[rows], floor[rows], stars[rows], error[rows] = one.light, one.floor, one.stars, one.error
            lift, number = lift + one.lift * one.number, number + one.number
        seen[rows] = good
    made, known = None, no_stars(len(handles))
    if template is not None:
        stars = grown(stars, light, grow)
        # three digits are those that it has, and are the same however the bands were cut
        mean = float(f"{lift / max(number, 1):.2e}")
        whole = StarTemplate(light, floor, stars, mean, number, error=error)
        known = star_light(whole, sights, [one.signal for one in frames])
        made = quieted(whole, FWHM_TO_SIGMA * float(np.median([one.fwhm for one in sights])))
        made.light[...] += np.float32(mean)
        seen &= ~stars
    return NightStack(
        tuple(handles), tuple(sights), np.array([one.mjd for one in sights]), tuple(psf), tuple(maps), made, seen,
        known, edge, lasting, template, grow,
    )  # fmt: skip


def grown(stars: NDArray[np.bool_], light: NDArray[np.float32], grow: int) -> NDArray[np.bool_]:
    """Return the mask of stars, grown by so many pixels where it is for light."""
    if not grow:
        return stars
    return stars | np.asarray(binary_dilation(stars & np.isfinite(light) & (light > 0), iterations=grow))


@dataclass(frozen=True, eq=False)
class _Frame:
    """One image, and what is needed to put it onto the grid."""

    handle: Handle[Image]
    sight: Sight
    mapping: PixelMap
    edge: int
    lasting: NDArray[np.bool_] | None

    def signal(self, rows: slice, cols: slice) -> NDArray[np.float32]:
        """Return a box of it on the grid, with what stands still in it."""
        return _planes(self, ((rows.start, rows.stop), (cols.start, cols.stop)), None)[0]


def _lasting(
    handles: Sequence[Handle[Image]],
    sights: Sequence[Sight],
    maps: Sequence[PixelMap],
    *,
    memory: float,
    edge: int,
) -> NDArray[np.bool_] | None:
    """Find pixels that stay bright while the sky moves over them: hot ones that no dark knew of.

    Where a field drifts or turns they move against the stars, as evenly as an asteroid. Stars that stay nearly where
    they are, about the pole of a turn, may be found too: no mover is seen there either.
    """
    ny, nx = maps[0].shape
    x, y = (part.ravel() for part in np.meshgrid([0, nx / 2, nx - 1], [0, ny / 2, ny - 1]))
    places = np.array([one(x, y) for one in maps])
    moved = float(np.hypot(*np.ptp(places, axis=0)).max())
    if len(handles) < _FEWEST or moved < _MOVED * float(np.median([one.fwhm for one in sights])):
        return None
    noise = float(np.median([one.noise for one in sights])) * np.sqrt(0.5 * np.pi / len(handles))
    found = np.zeros((ny, nx), bool)
    height = int(np.clip(memory / (_BYTES * len(handles) * nx), 1, ny))
    for first in range(0, ny, height):
        # a row more on either side, for the neighbours
        low, high = max(first - 1, 0), min(first + height + 1, ny)
        planes = np.array(
            [
                _read(handle, sight, slice(low, high), slice(0, nx), edge, None)[0]
                for handle, sight in zip(handles, sights, strict=True)
            ]
        )
        middle = np.nan_to_num(median_over_frames(planes))
        sharp = middle - median_filter(middle, 3, mode="nearest") > _LASTING * noise
        found[first : first + height] = sharp[first - low : first - low + height]
    return found


def _band(
    frames: Sequence[_Frame], box: tuple[tuple[int, int], tuple[int, int]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    (low, high), (left, right) = box
    science = np.empty((len(frames), high - low, right - left), np.float32)
    variance = np.empty_like(science)
    for number, frame in enumerate(frames):
        science[number], variance[number] = _planes(frame, box, None)
    return science, variance


def _planes(
    frame: _Frame,
    box: tuple[tuple[int, int], tuple[int, int]],
    template: StarTemplate | None,
    air: float = 1.0,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    sight, mapping = frame.sight, frame.mapping
    (low, high), (left, right) = box
    ny, nx = mapping.shape

    def read(rows: slice, cols: slice) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return _read(frame.handle, sight, rows, cols, frame.edge, frame.lasting)

    science, variance = np.full((2, high - low, right - left), np.nan, np.float32)
    # what lies on the grid
    y0, y1, x0, x1 = max(low, 0), min(high, ny), max(left, 0), min(right, nx)
    if y0 >= y1 or x0 >= x1:
        return science, variance
    here = (slice(y0 - low, y1 - low), slice(x0 - left, x1 - left))
    shift = mapping.whole
    if shift is None:
        science[here], variance[here] = resample(read, sight.shape, mapping, (y0, y1), (x0, x1))
    else:
        _shifted(read, sight.shape, shift, (y0, y1, x0, x1), (science[here], variance[here]))
    if template is not None:
        science[here], variance[here] = template.clean(
            science[here], variance[here], (slice(y0, y1), slice(x0, x1)), photons=sight.per_light, air=air
        )
    return science, variance


def _shifted(
    read: Callable[[slice, slice], tuple[NDArray[np.float32], NDArray[np.float32]]],
    shape: tuple[int, int],
    shift: tuple[int, int],
    box: tuple[int, int, int, int],
    out: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    """Fill in a box of the grid from an image that is shifted by whole pixels."""
    (ny, nx), (dx, dy) = shape, shift
    y0, y1, x0, x1 = max(box[0], -dy), min(box[1], ny - dy), max(box[2], -dx), min(box[3], nx - dx)
    if y0 < y1 and x0 < x1:
        here = (slice(y0 - box[0], y1 - box[0]), slice(x0 - box[2], x1 - box[2]))
        out[0][here], out[1][here] = read(slice(y0 + dy, y1 + dy), slice(x0 + dx, x1 + dx))


def _read(  # noqa: PLR0917
    handle: Handle[Image],
    sight: Sight,
    rows: slice,
    cols: slice,
    edge: int,
    lasting: NDArray[np.bool_] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return signal without sky, and variance without the photons of each pixel itself, of a box of an image."""
    image = handle.section(rows, cols)
    signal = image.data.astype(np.float32)
    if image.mask is not None:
        signal[image.mask != 0] = np.nan
    if lasting is not None:
        signal[lasting[rows, cols]] = np.nan
    if edge:
        ny, nx = sight.shape
        inside = np.zeros(signal.shape, bool)
        y0, x0 = (max(edge - axis.start, 0) for axis in (rows, cols))
        inside[y0 : max(ny - edge - rows.start, 0), x0 : max(nx - edge - cols.start, 0)] = True
        signal[~inside] = np.nan
    if sight.mesh is None:
        signal -= np.float32(sight.level)
    else:
        signal -= sight.mesh.at(rows, cols)
    noise = np.full(signal.shape, sight.noise**2, np.float32)
    if image.variance is not None:
        noise = image.variance.astype(np.float32)
        if sight.photons is not None:
            # half of the median: no pixel of a detector is much quieter than the others
            noise = np.maximum(noise - sight.photons.at(rows, cols) * signal, np.float32(0.5 * sight.quiet))
    return signal, noise
