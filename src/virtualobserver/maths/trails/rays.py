"""Cosmic rays on trails: the mask's, unless a pipeline took the trails themselves for some, or those of the model."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MASK_COSMIC_RAY
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.trails.columns import HALF, Columns, Frame, direction
from virtualobserver.maths.trails.profile import TransverseProfile
from virtualobserver.maths.trails.sky import TrailSky
from virtualobserver.maths.trails.track import TrackModel

__all__ = ["believe", "reject", "suspected"]

FloatArray = NDArray[np.float64]
SUSPECT: Final = 5.0
"""Share of masked pixels on trails over that of all pixels, from which on trails were taken for cosmic rays or streaks
(pipelines do that to star trails)."""
_HABIT: Final = 5
"""Trails that must be masked for it to be what the pipeline does, and not a few real cosmic rays."""
SHARP: Final = 6.0
"""Noise of a pixel by which a cosmic ray stands above trail and sky: one in 1e9 by chance."""


def suspected(codes: Array, suspects: int, track: TrackModel, x: FloatArray, y: FloatArray) -> bool:
    """Return whether trails have more of the suspect bits than the frame, by far more than chance."""
    hit = codes & suspects != 0
    known = np.isfinite(x) & np.isfinite(y)
    if not hit.any() or not known.any():
        return False
    (ux, uy), steps = direction(track), np.arange(0, track.length)
    cols = np.rint(x[known][:, None] + ux * steps).astype(int)
    rows = np.rint(y[known][:, None] + uy * steps).astype(int)
    inside = (rows >= 0) & (rows < hit.shape[0]) & (cols >= 0) & (cols < hit.shape[1])
    on = np.zeros(rows.shape, np.bool_)
    on[inside] = hit[rows[inside], cols[inside]]
    # three in a row of pixels are no hit by chance, and one trail no habit of a pipeline
    many = np.sum(on.sum(axis=1) >= 3) >= _HABIT
    return bool(many and on.sum() / inside.sum() > SUSPECT * np.mean(hit))


def _on_trails(
    shape: tuple[int, ...], track: TrackModel, x: FloatArray, y: FloatArray, width: float
) -> NDArray[np.bool_]:
    from virtualobserver.maths.trails.sky_kernel import paint

    plane = np.zeros(shape, np.bool_)
    paint(plane, x, y, *direction(track), track.length, np.full(len(x), width))
    return plane


def believe(  # noqa: PLR0917
    good: NDArray[np.bool_], codes: Array, image: Array, variance: Array, suspects: int, track: TrackModel,
    x: FloatArray, y: FloatArray, fwhm: float,
) -> None:  # fmt: skip
    """Take the suspect bits from trails, and make good pixels of those that had no other."""
    trail = _on_trails(codes.shape, track, x, y, HALF * fwhm)
    codes[trail] &= ~np.int32(suspects)
    freed = trail & (codes == 0) & np.isfinite(image) & np.isfinite(variance)
    good |= freed & (np.asarray(image) != 0)


def reject(frame: Frame, sky: TrailSky, profile: TransverseProfile, columns: Columns) -> int:
    """Take cosmic rays from the good pixels; return how many pixels."""
    from virtualobserver.maths.trails.extract_kernel import add_trails, sharp_pixels

    ux, uy = direction(frame.track)
    model = np.zeros(frame.image.shape, np.float32)
    add_trails(
        model,
        0,
        frame.x,
        frame.y,
        ux,
        uy,
        columns.first,
        columns.shift,
        columns.width,
        columns.table,
        0.0,
        columns.half,
        columns.flux,
    )
    before = frame.good.copy()
    beside = float(profile.at([1.0])[0] / profile.at([0.0])[0])
    found = int(sharp_pixels(
        frame.image, model, frame.good, columns.ground, sky.split, frame.x, frame.y, ux, uy, columns.first,
        columns.along.shape[1], columns.half, beside, SHARP,
    ))  # fmt: skip
    frame.codes[before & ~frame.good] |= MASK_COSMIC_RAY
    return found
