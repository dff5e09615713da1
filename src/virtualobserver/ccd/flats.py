"""Master flats: each flat freed of its own dark, at one level, and tested for pixels unlike the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.ccd.detector import detector_of
from virtualobserver.ccd.frames import OpenFrame
from virtualobserver.ccd.masters import pick
from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.conventions import MASK_BAD
from virtualobserver.data.product import Aux
from virtualobserver.errors import BadKeyword, NotEnoughData
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.ccd.combine import NoiseModel
from virtualobserver.maths.ccd.masks import flat_mask, ratio_flat
from virtualobserver.maths.ccd.masters import (
    FlatLevel,
    Master,
    flat_level,
    level_groups,
    master_flat,
    select_flats,
)
from virtualobserver.typing import Record, RecordDict

__all__ = ["combining", "make_flat"]

_MOST_COUNTS: Final = 65535.0
"""ADU; the largest value of 16 bits, where the converters of most cameras end."""
NEAR_ONE: Final = (0.2, 5.0)
"""Counts of a flat that another program has divided by its level: no frame with light in it has so few."""
_FEWEST: Final = 5
"""Flats of one level that a ratio of flats needs: with fewer, two stars at one place are not rejected."""


def make_flat(
    frames: Sequence[OpenFrame],
    aux: Aux,
    headers: Mapping[str, Record],
    settings: CCDSettings,
    said: tuple[dict[str, str], list[str]],
) -> Master:
    """Combine the flats of one filter.

    Parameters
    ----------
    headers
        What is known of each frame, by its name.
    said
        Reasons for frames that are left out, by name, and notes: both are added to.

    Raises
    ------
    NotEnoughData
        If no flat can be used; the message says why each cannot.
    """
    refused, notes = said
    band = str(headers[frames[0].name]["band"])
    finished = [frame for frame in frames if NEAR_ONE[0] < flat_level(frame).level < NEAR_ONE[1]]
    if finished:
        return _as_delivered(finished, frames, band, settings, said)
    rebased, dark = _rebased(frames, aux, headers, settings, notes)
    detector = _gain(frames[0], settings)
    plane = None if dark is None else _Plane(dark.data)
    levels = [flat_level(f, dark=plane, gain=detector[0], read_noise=detector[1]) for f in rebased]
    low, high = settings.flat_range
    good, why = select_flats(levels, lowest=low, highest=high, snr=settings.flat_snr)
    refused |= {frames[number].name: reason for number, reason in why.items()}
    if not good:
        msg = f"filter {band!r}: no flat of {len(frames)} can be used: " + "; ".join(refused.values())
        raise NotEnoughData(msg)
    options = combining(frames, settings)
    options["noise"] = None  # sky flats differ by their stars; the scatter is measured
    options |= {
        "band": band,
        "dark": dark,
        "method": "median",
        "limits": (-np.inf, _ceiling(frames[0], settings)),
    }

    def combined(numbers: Sequence[int]) -> Master:
        kept: list[FlatLevel] = [levels[number] for number in numbers]
        return master_flat([rebased[number] for number in numbers], kept, **options)

    groups = [
        [good[n] for n in group] for group in level_groups([levels[n].level for n in good], fewest=_FEWEST)
    ]
    ratio = None
    if len(groups) == 2 and settings.flat_test != "flat":
        ratio = ratio_flat(*(combined(group) for group in reversed(groups)))
        means = [float(np.mean([levels[n].level for n in group])) for group in groups]
        notes.append(f"pixels tested in the ratio of flats of {means[1]:.0f} and {means[0]:.0f} ADU")
    master = combined(good)
    return replace(master, mask=_tested(master, ratio, settings))


def _tested(master: Master, ratio: Array | None, settings: CCDSettings) -> Array:
    """Return the mask with the pixels that are unlike the others, in the ratio of two flats or in the flat itself."""
    mask = master.mask
    if ratio is not None:
        mask = mask | flat_mask(ratio, sigma=settings.flat_sigma, lowest=0)
    if ratio is None or settings.flat_test != "ratio":
        mask = mask | flat_mask(master.data, sigma=settings.flat_sigma)
    return mask


def _rebased(
    frames: Sequence[OpenFrame],
    aux: Aux,
    headers: Mapping[str, Record],
    settings: CCDSettings,
    notes: list[str],
) -> tuple[list[_Rebased], Master | None]:
    """Return flats as if all had the dark of the first, and that dark."""
    masters = {name: handle for name, handle in aux.masters.items() if name != "flat"}
    chosen = {}
    for frame in frames:
        exposure = headers[frame.name]["exposure"]
        if exposure not in chosen:
            chosen[exposure] = pick(masters, headers[frame.name], settings)
            if chosen[exposure].choice.flagged:
                notes.append(f"flats of {exposure:g} s: {chosen[exposure].choice.reason}")
    zeros = [chosen[headers[frame.name]["exposure"]] for frame in frames]
    dark = zeros[0].dark or zeros[0].bias
    return [_Rebased(f, zero.dark or zero.bias, dark) for f, zero in zip(frames, zeros, strict=True)], dark


def _as_delivered(
    finished: Sequence[OpenFrame],
    frames: Sequence[OpenFrame],
    band: str,
    settings: CCDSettings,
    said: tuple[dict[str, str], list[str]],
) -> Master:
    """Return the flat that another program made, its level untouched; of several the median.

    Its noise is not known: of one flat the variance is 0. Pixels without a response are masked, and divided by 1.
    """
    refused, notes = said
    refused |= {
        frame.name: f"{frame.name}: there is a finished flat, {finished[0].name}"
        for frame in frames
        if frame not in finished
    }
    notes.append(f"used as delivered: {', '.join(frame.name for frame in finished)}")
    planes = np.stack([np.asarray(frame.section(slice(None)), np.float32) for frame in finished])
    data = np.median(planes, axis=0) if len(planes) > 1 else planes[0]
    variance = planes.var(axis=0) * np.float32(0.5 * np.pi / len(planes))
    dead = ~(np.isfinite(data) & (data > 0))
    data = np.where(dead, np.float32(1), data)
    mask = np.where(dead, MASK_BAD, 0).astype(np.uint16) | flat_mask(data, sigma=settings.flat_sigma)
    n_used = np.full(data.shape, len(planes), np.uint16)
    return Master(
        data, variance.astype(np.float32), mask, n_used, len(planes), 0, unit="", band=band,
        statistics={"median": float(np.median(data))},
    )  # fmt: skip


def combining(frames: Sequence[OpenFrame], settings: CCDSettings, *, zero: float | None = None) -> RecordDict:
    """Return noise model and memory for `combine`; `zero` is the level without light (ADU)."""
    options: RecordDict = {"memory_limit": settings.memory_limit * 1e9, "noise": None}
    try:
        detector = detector_of(frames[0].header, frames[0].name, settings)[0]
    except BadKeyword:
        return options
    if zero is None:
        middle = frames[0].shape[0] // 2
        zero = float(np.median(frames[0].section(slice(middle, middle + 8))))
    options["noise"] = NoiseModel(detector.read_noise, detector.gain, zero)
    return options


def _ceiling(frame: OpenFrame, settings: CCDSettings) -> float:
    """Return the counts from which flats are saturated; those at the top of 16 bits are in any case."""
    try:
        return min(detector_of(frame.header, frame.name, settings)[0].saturation, _MOST_COUNTS)
    except BadKeyword:
        return _MOST_COUNTS if settings.saturation is None else settings.saturation


@dataclass(frozen=True, eq=False)
class _Plane:
    array: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def section(self, rows: slice) -> NDArray[np.float32]:
        return self.array[rows]


@dataclass(frozen=True, eq=False)
class _Rebased:
    """A flat as if it had the dark of the first one of its stack."""

    frame: OpenFrame
    own: Master | None
    first: Master | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.frame.shape

    def section(self, rows: slice) -> Array:
        values = self.frame.section(rows)
        if self.own is self.first:
            return values
        own = 0.0 if self.own is None else self.own.data[rows]
        first = 0.0 if self.first is None else self.first.data[rows]
        return np.asarray(values - own + first, dtype=np.float32)


def _gain(frame: OpenFrame, settings: CCDSettings) -> tuple[float, float]:
    """Return gain and read noise of a calibration frame; 1 and 0 if its header does not say."""
    try:
        detector = detector_of(frame.header, frame.name, settings)[0]
    except BadKeyword:
        return 1.0, 0.0
    return detector.gain, detector.read_noise
