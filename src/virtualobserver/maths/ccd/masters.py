"""Master bias, dark and flat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MAD_TO_SIGMA, MASK_LOW_FLAT, MASK_NO_DATA
from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.ccd.combine import Clipping, Combined, NoiseModel, Sections, combine

__all__ = [
    "FlatLevel",
    "Master",
    "compare_masters",
    "flat_level",
    "level_groups",
    "master_bias",
    "master_dark",
    "master_flat",
    "scale_dark",
    "select_flats",
]

FloatPlane = NDArray[np.float32]
MaskPlane = NDArray[np.uint16]
LEVEL_SAMPLES = 200_000
"""Least pixels whose median is the level of a large flat: its error is 0.3 % of the scatter of one pixel."""
INNER = 0.5
"""Part of each axis in which the level of a flat is measured: the inner quarter of the area."""


@dataclass(frozen=True, eq=False)
class Master:
    """A master frame.

    Parameters
    ----------
    data, variance
        Shape (ny, nx), float32; ADU and ADU squared for bias and dark, without unit for a flat.
    mask
        Bits ``MASK_*``, uint16.
    n_used
        Frames that went into each pixel.
    n_combine, n_reject
        NCOMBINE and NREJECT of the header.
    unit
        BUNIT: ``adu``, or empty for a flat.
    exptime
        Exposure time of a dark, s.
    temperature
        Of the detector, degrees Celsius.
    band
        Filter of a flat.
    statistics
        Median, scatter and what else describes it in a row.
    """

    data: FloatPlane
    variance: FloatPlane
    mask: MaskPlane
    n_used: NDArray[np.uint16]
    n_combine: int
    n_reject: int
    unit: str = "adu"
    exptime: float = 0.0
    temperature: float | None = None
    band: str = ""
    statistics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FlatLevel:
    """Level of a flat (ADU, median of the inner part), its S/N per pixel, and slope over the frame (relative)."""

    level: float
    snr: float
    slope: float


def master_bias(
    frames: Sequence[Sections],
    *,
    noise: NoiseModel | None = None,
    clip: Clipping | None = None,
    **options: Any,
) -> Master:
    """Combine biases; `options` are those of `combine`."""
    return _master(combine(frames, noise=noise, clip=clip, **options))


def master_dark(
    frames: Sequence[Sections],
    *,
    exptime: float,
    temperature: float | None = None,
    noise: NoiseModel | None = None,
    clip: Clipping | None = None,
    **options: Any,
) -> Master:
    """Combine darks of one exposure time (s) and temperature; the bias stays in them.

    `options` are those of `combine`.
    """
    found = _master(combine(frames, noise=noise, clip=clip, **options))
    return replace(found, exptime=exptime, temperature=temperature)


def scale_dark(dark: Master, bias: Master, *, factor: float, exptime: float) -> Master:
    """Scale a master dark about the bias, D = B + factor (D0 - B), to another exposure time or temperature.

    `factor` is t/t0 exp(k (T - T0)); see `choose_dark`. The errors of the two masters are independent.

    Raises
    ------
    DataError
        If the shapes differ or `factor` is not a positive number.
    """
    if dark.data.shape != bias.data.shape:
        msg = f"the master dark has shape {dark.data.shape}, the master bias {bias.data.shape}"
        raise DataError(msg)
    if not 0 < factor < np.inf:
        msg = f"a master dark cannot be scaled by {factor}"
        raise DataError(msg)
    data = bias.data + np.float32(factor) * (dark.data - bias.data)
    variance = np.float32((1 - factor) ** 2) * bias.variance + np.float32(factor**2) * dark.variance
    return replace(dark, data=data, variance=variance, mask=dark.mask | bias.mask, exptime=exptime)


def flat_level(
    frame: Sections, *, dark: Sections | None = None, gain: float = 1.0, read_noise: float = 0.0
) -> FlatLevel:
    """Measure a flat in the inner part of the frame, on a sample of its rows.

    Parameters
    ----------
    dark
        Subtracted first; a number's worth of bias would spoil the ratio of levels.
    gain, read_noise
        e-/ADU and e-, for the S/N of one pixel.
    """
    ny, nx = int(frame.shape[0]), int(frame.shape[1])
    y0, y1, x0, x1 = (
        round(v) for v in (ny * INNER / 2, ny * (1 - INNER / 2), nx * INNER / 2, nx * (1 - INNER / 2))
    )
    step = max((y1 - y0) * (x1 - x0) // LEVEL_SAMPLES, 1)
    inner = [_row(frame, dark, row)[x0 : max(x1, x0 + 1)] for row in range(y0, max(y1, y0 + 1), step)]
    level = float(np.nanmedian(np.concatenate(inner)))
    if not level > 0:
        return FlatLevel(level, 0.0, np.inf)
    electrons = level * gain
    edges = [_row(frame, dark, row) for row in (ny // 10, ny // 2, ny - 1 - ny // 10)]
    third = max(nx // 3, 1)
    heights = [float(np.nanmedian(edges[0])), float(np.nanmedian(edges[2]))]
    sides = [float(np.nanmedian(part)) for part in (edges[1][:third], edges[1][-third:])]
    slope = max(abs(heights[1] - heights[0]), abs(sides[1] - sides[0])) / level
    return FlatLevel(level, electrons / float(np.sqrt(electrons + read_noise**2)), slope)


def select_flats(
    levels: Sequence[FlatLevel],
    *,
    lowest: float = 0.0,
    highest: float = np.inf,
    snr: float = 50.0,  # chosen: 2 % a pixel, which ten flats make 0.6 %
    slope: float = 0.5,  # chosen: more is light from a side, not a sky
) -> tuple[list[int], dict[int, str]]:
    """Return which flats are good, and why each of the others is not.

    Parameters
    ----------
    lowest, highest
        Linear range, ADU above the dark.
    snr
        Least S/N of a pixel.
    slope
        Largest change of the level over the frame, relative.
    """
    good: list[int] = []
    refused: dict[int, str] = {}
    for number, flat in enumerate(levels):
        if not lowest < flat.level < highest:
            refused[number] = f"level of {flat.level:.0f} ADU is outside {lowest:.0f} to {highest:.0f}"
        elif flat.snr < snr:
            refused[number] = f"S/N of {flat.snr:.1f} per pixel is below {snr:.0f}"
        elif flat.slope > slope:
            refused[number] = f"level changes by {100 * flat.slope:.0f} % over the frame"
        else:
            good.append(number)
    return good, refused


def level_groups(levels: Sequence[float], *, apart: float = 0.1, fewest: int = 3) -> list[list[int]]:
    """Sort flats into faint and bright ones, if their mean levels differ by more than `apart`.

    Parameters
    ----------
    levels
        ADU.
    fewest
        Flats each group needs.

    Returns
    -------
    list of list of int
        Positions of the faint and of the bright ones, divided at the widest gap that leaves enough on both sides;
        else one group of all.
    """
    order = np.argsort(levels, kind="stable")
    values = np.asarray(levels, float)[order]
    cuts = range(fewest, len(values) - fewest + 1)
    if not cuts:
        return [order.tolist()]
    cut = max(cuts, key=lambda n: values[n] / max(values[n - 1], 1e-30))
    if values[cut:].mean() <= (1 + apart) * values[:cut].mean():
        return [order.tolist()]
    return [order[:cut].tolist(), order[cut:].tolist()]


def master_flat(
    frames: Sequence[Sections],
    levels: Sequence[FlatLevel],
    *,
    band: str,
    dark: Master | None = None,
    noise: NoiseModel | None = None,
    clip: Clipping | None = None,
    lowest: float = 0.2,  # as `flat_mask`
    **options: Any,
) -> Master:
    """Combine flats of one filter: dark subtracted, scaled to one level, then clipped, then median 1.

    Stars in twilight flats are rejected only because the frames are scaled before clipping.

    Parameters
    ----------
    levels
        Of each frame, from `flat_level` with the same dark.
    dark
        Master dark (or bias) of the flats.
    lowest
        Pixels below this part of the median are vignetted: masked, and held at `lowest`.
    options
        Of `combine`.

    Raises
    ------
    NotEnoughData
        If there is no flat with light in it.
    """
    if not frames or not all(flat.level > 0 for flat in levels):
        msg = f"filter {band!r}: no flats to combine, or one without light ({[f.level for f in levels]} ADU)"
        raise NotEnoughData(msg)
    scales = 1.0 / np.array([flat.level for flat in levels])
    minus = None if dark is None else _Plane(dark.data)
    found = _master(combine(frames, noise=noise, clip=clip, minus=minus, scales=scales, **options))
    return _normalised(found, dark, float(np.mean(scales)), band, lowest)


def _normalised(found: Master, dark: Master | None, scale: float, band: str, lowest: float) -> Master:
    """Return a flat with a median of 1 over its good pixels, and the noise of its dark in the variance."""
    extra = 0.0 if dark is None else dark.variance * np.float32(scale**2)
    good = found.mask == 0 if dark is None else (found.mask | dark.mask) == 0
    level = float(np.median(found.data[good])) if good.any() else float("nan")
    if not level > 0:
        msg = f"filter {band!r}: the combined flat has no light in it (level {level:.3g})"
        raise NotEnoughData(msg)
    data = found.data / np.float32(level)
    variance = (found.variance + extra) / np.float32(level**2)
    low = data < lowest
    mask = found.mask | np.where(low, MASK_LOW_FLAT, 0).astype(np.uint16)
    statistics = {**found.statistics, "median": 1.0, "n_low": float(low.sum())}
    return replace(
        found, data=np.maximum(data, np.float32(lowest)), variance=variance.astype(np.float32), mask=mask, unit="",
        band=band, statistics=statistics,
    )  # fmt: skip


def compare_masters(new: Master, old: Master, *, sigma: float = 6.0) -> float:
    """Return the fraction of pixels in which two masters differ by more than `sigma` standard deviations.

    Six deviations pass one pixel of 500 million by chance.
    More than 0.05 means that one of them should not be used. Hot pixels count: those that became hot are a change.
    NaN if there is no pixel with data in both.
    """
    both = ((new.mask | old.mask) & (MASK_NO_DATA | MASK_LOW_FLAT)) == 0
    if not both.any():
        return float("nan")
    change = (new.data - old.data)[both]
    change = change - np.median(change)
    return float(np.mean(np.abs(change) > sigma * np.sqrt((new.variance + old.variance)[both])))


@dataclass(frozen=True, eq=False)
class _Plane:
    array: FloatPlane

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def section(self, rows: slice) -> FloatPlane:
        return self.array[rows]


def _row(frame: Sections, dark: Sections | None, row: int) -> NDArray[np.float64]:
    part = slice(row, row + 1)
    values: NDArray[np.float64] = np.asarray(frame.section(part), dtype=np.float64)[0]
    return values if dark is None else values - np.asarray(dark.section(part), dtype=np.float64)[0]


def _master(found: Combined) -> Master:
    mask = np.where(found.n_used == 0, MASK_NO_DATA, 0).astype(np.uint16)
    good = found.data[found.n_used > 0]
    median = float(np.median(good)) if good.size else float("nan")
    scatter = MAD_TO_SIGMA * float(np.median(np.abs(good - median))) if good.size else float("nan")
    return Master(
        np.where(found.n_used > 0, found.data, np.float32(median)),
        np.where(found.n_used > 0, found.variance, np.float32(0)),
        mask,
        found.n_used,
        found.n_combine,
        found.n_reject,
        statistics={"median": median, "scatter": scatter},
    )
