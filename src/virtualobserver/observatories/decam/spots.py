"""What is left on a drift frame beside its trails: the table ``spots``."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MASK_COSMIC_RAY
from virtualobserver.data.table import Table
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.images.background import background_level, take_background
from virtualobserver.maths.images.mapping import PixelMap
from virtualobserver.maths.trails.extract import TrailSamples, model_image
from virtualobserver.maths.trails.flashes import flash_map
from virtualobserver.maths.trails.spots import SPOT_COLUMNS, Hosts, find_spots
from virtualobserver.observatories.decam.reader import Frame
from virtualobserver.observatories.decam.tables import Measured
from virtualobserver.typing import RecordDict

__all__ = ["common_light", "spots_table"]

FloatArray = NDArray[np.float64]
FloatPlane = NDArray[np.float32]
_BAND: Final = 256
"""Rows of which the noise is made at once."""
_BRIGHT: Final = 20.0
"""Signal over noise of a sample, from which on it shows what the air does to all of them."""
_FEWEST: Final = 5
"""Trails whose median still is one if two of them have neighbours."""
_LEVEL: Final = 20
"""Samples of a trail whose median is its level: a flash is in six of them."""
_WRONG: Final = 0.05
"""Of the light of a trail in a pixel: what its model may be amiss by: 0.1 arcsec of image motion do as much."""


def common_light(samples: TrailSamples) -> FloatArray:
    """Return the light of all trails with what they have in common, electrons/s: their level times a median of them.

    A star's own changes stay out of it, shape (n, m). The level is the median of a trail's samples, where there are
    enough: a flash on a trail raises the mean, which would take a seventh of it away as light of the star.
    """
    steady = np.nan_to_num(samples.totals.flux)[:, None] * samples.response
    with np.errstate(divide="ignore", invalid="ignore"):
        good = (samples.flux / samples.flux_error > _BRIGHT) & (samples.flags == 0) & samples.flat
        relative = np.where(good, samples.flux / steady, np.nan)
    enough = good.sum(axis=0) >= _FEWEST
    trend = np.ones(steady.shape[1])
    if enough.any():
        trend[enough] = np.nanmedian(relative[:, enough], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where((samples.flags == 0) & samples.flat, samples.flux / (steady * trend), np.nan)
    known = np.isfinite(own).sum(axis=1) >= _LEVEL
    steady[known] *= np.nanmedian(own[known], axis=1)[:, None]
    return np.asarray(steady * trend)


def spots_table(frame: Frame, measured: Measured, facts: RecordDict, *, threshold: float) -> Table:
    """Return one row a spot: its form, its light, the star whose trail it lies on, and where on the sky it was.

    ``ra, dec`` hold for a star that flashed when the shutter opened, ``segment_ra, segment_dec`` for one that flashed
    when it closed: a star of which nothing else is seen lies between the two. The facts have ``beta``, the index of the
    wings of stars (none for a Gaussian), and ``flash_map``, what `maths.trails.flashes` needs to put flashes in.
    """
    samples, found = measured.samples, measured.found
    bad = (frame.mask != 0) | ~np.isfinite(frame.variance)
    model = model_image(frame.shape, samples, flux=common_light(samples))
    variance = _noise(frame, model, bad)
    left = np.subtract(frame.data, model, out=model)  # in its place: each is a plane of the frame
    take_background(left, mask=bad)
    del model, bad
    star_ids = np.asarray(measured.stars["star_id"], np.int64)[measured.rows]
    hosts = Hosts(star_ids, samples.totals.x_start, samples.totals.y_start, samples.totals.flux)
    spots = find_spots(
        left,
        variance,
        frame.mask,
        sigma=samples.profile.sigma,
        track=samples.track,
        hosts=hosts,
        threshold=threshold,
    )
    columns: RecordDict = spots.columns()
    for prefix, x, y in (("", spots.x, spots.y), ("segment_", spots.segment_x, spots.segment_y)):
        places = frame.wcs.pixel_to_world_values(*_on_plate(found.match.to_frame, x, y)) if len(x) else (x, y)
        columns |= {
            f"{prefix}{name}": np.asarray(part, float)
            for name, part in zip(("ra", "dec"), places, strict=True)
        }
    units = {name: unit for name, unit in SPOT_COLUMNS.items() if unit}
    units |= {f"{prefix}{name}": "deg" for prefix in ("", "segment_") for name in ("ra", "dec")}
    own = flash_map(variance, frame.mask, sigma=samples.profile.sigma, track=samples.track, hosts=hosts)
    beta = samples.profile.beta
    about = {"beta": beta if np.isfinite(beta) else None, "flash_map": {k: _plain(v) for k, v in own.items()}}
    return Table(columns, units, {**facts, "threshold": threshold, **about})


# --- inside -----------------------------------------------------------------------------------------------


def _noise(frame: Frame, model: FloatPlane, bad: NDArray[np.bool_]) -> FloatPlane:
    """Return the variance of sky, read-out, trails and what their model may be wrong by; infinite where unknown."""
    out = background_level(frame.variance, mask=bad)
    for top in range(0, len(out), _BAND):
        rows = np.s_[top : top + _BAND]
        out[rows] += np.maximum(model[rows], 0)
        out[rows] += np.square(_WRONG * model[rows])
        # a pixel that the pipeline took for a cosmic ray has no weight, and may be a flash
        known = np.isfinite(frame.variance[rows]) | ((frame.mask[rows] & MASK_COSMIC_RAY) != 0)
        out[rows][~(known & np.isfinite(frame.data[rows]))] = np.inf
    return out


def _plain(values: Array) -> list[float | int | None]:
    """Return numbers as facts hold them: five digits, none for NaN."""
    if values.dtype.kind == "i":
        return [int(value) for value in values.tolist()]
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values.tolist()]


def _on_plate(to_frame: PixelMap, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return where the plate has what is at pixels of the frame: the map is a shift and a little turn."""
    px, py = x, y
    for _ in range(3):
        there = to_frame(px, py)
        px, py = px + x - there[0], py + y - there[1]
    return px, py
