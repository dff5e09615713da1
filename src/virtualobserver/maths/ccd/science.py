"""A science frame in electrons, with the variance every pixel really has and a mask that says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from virtualobserver.conventions import MASK_COSMIC_RAY, MASK_NO_DATA, MASK_NONLINEAR, MASK_SATURATED
from virtualobserver.errors import DataError
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.ccd.cosmics import CosmicSettings, find_cosmic_rays
from virtualobserver.maths.ccd.masters import Master

__all__ = [
    "CalibratedFrame",
    "Detector",
    "apply_cosmic_rays",
    "calibrate_frame",
    "linearize",
    "saturation_mask",
]

BAND_ROWS = 32
"""Rows done at once: what fits into the processor's cache, 0.5 MB a plane of 4096 columns, is done in half the time."""


@dataclass(frozen=True)
class Detector:
    """What is known of a detector.

    Parameters
    ----------
    gain
        e-/ADU.
    read_noise
        e-.
    saturation
        ADU from which a pixel is saturated.
    nonlinear
        ADU from which it is not linear.
    linearity
        Coefficients a of true = raw (1 + a1 x + a2 x^2 + ...), x = raw / 65536 above the bias; none by default.
    bias_level
        ADU of a pixel without light, where there is no master bias; None = the median of the master dark.
    """

    gain: float
    read_noise: float
    saturation: float = 65535.0  # the largest count of 16 bits
    nonlinear: float = np.inf
    linearity: tuple[float, ...] = ()
    bias_level: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.gain < np.inf or not 0 <= self.read_noise < np.inf:
            msg = f"a gain of {self.gain} e-/ADU and a read noise of {self.read_noise} e- are impossible"
            raise DataError(msg)


@dataclass(frozen=True, eq=False)
class CalibratedFrame:
    """A frame after calibration.

    Parameters
    ----------
    data
        e-, float32, shape (ny, nx).
    variance
        e- squared, float32.
    mask
        Bits ``MASK_*``, uint16, 0 = good.
    history
        What was done, in order.
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: NDArray[np.uint16]
    history: tuple[str, ...] = ()


def calibrate_frame(
    raw: Array,
    detector: Detector,
    *,
    bias: Master | None = None,
    dark: Master | None = None,
    flat: Master | None = None,
    mask: NDArray[np.uint16] | None = None,
) -> CalibratedFrame:
    """Take bias, dark and flat off a raw frame.

    Parameters
    ----------
    raw
        ADU, shape (ny, nx), lit part only.
    dark
        Master dark of the frame's exposure time, the bias in it; then `bias` is not subtracted again and only
        tells the noise how much of the counts is light.
    flat
        Master flat of the frame's filter, median 1.
    mask
        Bits of the detector's bad pixels, which are kept.

    Notes
    -----
    Per pixel, in e-: V = RN^2 + g^2/12 + max(g (raw - bias), 0) + g^2 V_master, for read noise, rounding,
    Poisson noise of source, sky and dark current, and the master subtracted; through the flat
    V/F^2 + (S/F)^2 V_F/F^2.

    Raises
    ------
    DataError
        If a master has another shape.
    """
    _check(raw, bias=bias, dark=dark, flat=flat)
    bits = saturation_mask(raw, detector)
    for found in (mask, *(master.mask for master in (bias, dark, flat) if master is not None)):
        if found is not None:
            bits |= found.astype(np.uint16, copy=False)
    if raw.dtype.kind == "f":
        bits[~np.isfinite(raw)] |= MASK_NO_DATA
    zero = _zero(detector, bias, dark)
    subtract = dark or bias
    done = CalibratedFrame(
        np.empty(raw.shape, np.float32), np.empty(raw.shape, np.float32), bits,
        _history(detector, dark=dark, subtract=subtract, flat=flat),
    )  # fmt: skip
    for start in range(0, raw.shape[0], BAND_ROWS):
        rows = slice(start, start + BAND_ROWS)
        _calibrate_rows(raw, rows, detector, zero, (subtract, flat), done)
    return done


def linearize(
    adu: NDArray[np.float32], zero: NDArray[np.float32] | float, coefficients: Sequence[float]
) -> NDArray[np.float32]:
    """Correct counts above `zero` (bias, ADU) for non-linearity; see `Detector.linearity`."""
    if not coefficients:
        return adu
    counts = adu - np.asarray(zero, np.float32)
    x = counts / np.float32(65536.0)
    factor = np.zeros_like(x)
    for coefficient in reversed(coefficients):
        factor = (factor + np.float32(coefficient)) * x
    return np.asarray(adu + counts * factor, dtype=np.float32)


def saturation_mask(raw: Array, detector: Detector, *, grow: int = 1) -> NDArray[np.uint16]:
    """Return the bits of saturated pixels, with `grow` pixels around them into which charge spills, and of
    those above the linear range."""  # noqa: D205, D209
    bits = np.zeros(raw.shape, np.uint16)
    y, x = np.nonzero(raw >= detector.saturation)
    for dy in range(-grow, grow + 1):
        for dx in range(-grow, grow + 1):
            bits[np.clip(y + dy, 0, raw.shape[0] - 1), np.clip(x + dx, 0, raw.shape[1] - 1)] = MASK_SATURATED
    if np.isfinite(detector.nonlinear):
        bits[raw >= detector.nonlinear] |= MASK_NONLINEAR
    return bits


def apply_cosmic_rays(
    frame: CalibratedFrame,
    *,
    cosmic_rays: Literal["flag", "clean", "off"] = "flag",
    settings: CosmicSettings | None = None,
) -> CalibratedFrame:
    """Find cosmic rays in a calibrated frame.

    Parameters
    ----------
    cosmic_rays
        ``flag``: set their bit and leave the values; ``clean``: put the median of good neighbours in their
        place too, the bit is kept; ``off``: nothing.
    """
    if cosmic_rays == "off":
        return frame
    found = find_cosmic_rays(frame.data, frame.variance, bad=frame.mask != 0, settings=settings)
    mask = frame.mask.copy()
    mask[found.mask] |= MASK_COSMIC_RAY
    count = int(found.mask.sum())
    done = "flagged" if cosmic_rays == "flag" else "replaced"
    history = (*frame.history, f"cosmic rays: {count} pixels {done}")
    data = found.cleaned if cosmic_rays == "clean" else frame.data
    return replace(frame, data=data, mask=mask, history=history)


def _calibrate_rows(  # noqa: PLR0917
    raw: Array,
    rows: slice,
    detector: Detector,
    zero: NDArray[np.float32],
    masters: tuple[Master | None, Master | None],
    done: CalibratedFrame,
) -> None:
    """Fill some rows of data and variance."""
    subtract, flat = masters
    level = zero[rows] if zero.ndim else zero
    values = raw[rows]
    if raw.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, level)
    adu = linearize(values.astype(np.float32), level, detector.linearity)
    gain = np.float32(detector.gain)
    base = np.float32(detector.bias_level or 0.0) if subtract is None else subtract.data[rows]
    signal = gain * (adu - base)
    variance = np.maximum(gain * (adu - level), 0) + np.float32(
        detector.read_noise**2 + detector.gain**2 / 12
    )
    if subtract is not None:
        variance += gain * gain * subtract.variance[rows]
    if flat is not None:
        signal = signal / flat.data[rows]
        variance = (variance + signal * signal * flat.variance[rows]) / (flat.data[rows] * flat.data[rows])
    done.data[rows], done.variance[rows] = signal, variance


def _history(
    detector: Detector, *, dark: Master | None, subtract: Master | None, flat: Master | None
) -> tuple[str, ...]:
    what = f"subtracted master {'dark' if dark else 'bias'}" if subtract else "no dark or bias subtracted"
    divided = () if flat is None else (f"divided by master flat {flat.band}".rstrip(),)
    return (what, *divided, f"multiplied by gain of {detector.gain:g} e-/ADU")


def _check(raw: Array, **masters: Master | None) -> None:
    for name, master in masters.items():
        if master is not None and master.data.shape != raw.shape:
            msg = f"the master {name} has shape {master.data.shape}, the frame {raw.shape}"
            raise DataError(msg)


def _zero(detector: Detector, bias: Master | None, dark: Master | None) -> NDArray[np.float32]:
    """Return the counts of a pixel without light or dark current, ADU."""
    if bias is not None:
        return bias.data
    if detector.bias_level is not None:
        return np.array(detector.bias_level, np.float32)
    if dark is not None:
        return np.array(np.median(dark.data[dark.mask == 0]), np.float32)
    return np.array(0.0, np.float32)
