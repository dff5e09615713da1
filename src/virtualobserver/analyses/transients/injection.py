"""Drawing events and adding them to real light curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.transients.settings import InjectionSettings
from virtualobserver.data.handles import Handle, MemoryHandle
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.draws import log_uniform
from virtualobserver.maths.lightcurves.events import event_templates
from virtualobserver.maths.lightcurves.statistics import robust_mean_rms
from virtualobserver.typing import Record, RecordDict

__all__ = ["draw_event", "inject_events"]

# Start and end of an event around its peak, in widths: where the flux passes 5 % of the peak.
_EXTENT: Final = {"box": (0.5, 0.5), "gaussian": (1.04, 1.04), "fred": (0.3, 3.0)}
_MAG_PER_DEX: Final = 2.5
"""Definition of the magnitude."""


def draw_event(
    rng: np.random.Generator, curves: Sequence[TimeSeries], settings: InjectionSettings
) -> RecordDict:
    """Draw the parameters of one event.

    The peak time is even over the time between first and last row of the light curves (gaps within a light
    curve included, those between light curves not).

    Raises
    ------
    NotEnoughData
        If no light curve has a row.
    """
    spans = _merged([(float(curve.mjd[0]), float(curve.mjd[-1])) for curve in curves if len(curve)])
    if not spans:
        msg = "an event cannot be drawn: none of the light curves has a row"
        raise NotEnoughData(msg)
    shape = settings.shapes[int(rng.integers(len(settings.shapes)))]
    amplitude = log_uniform(rng, settings.amplitude)
    width = log_uniform(rng, settings.width)
    sign = -1.0 if rng.random() < settings.dips else 1.0
    lengths = np.array([end - start for start, end in spans])
    position = rng.random() * float(lengths.sum())
    number = min(int(np.searchsorted(np.cumsum(lengths), position)), len(spans) - 1)
    t_peak = spans[number][0] + position - float(lengths[:number].sum())
    before, after = _EXTENT[shape]
    return {
        "shape": shape,
        "amplitude": sign * amplitude,
        "amplitude_unit": settings.amplitude_unit,
        "width": width,
        "errors": settings.errors,
        "t_peak": t_peak,
        "start_mjd": t_peak - before * width,
        "end_mjd": t_peak + after * width,
    }


def inject_events(
    products: Sequence[Handle[TimeSeries]], params: Sequence[Record], rng: np.random.Generator
) -> list[Handle[TimeSeries]]:
    """Return handles to copies of the light curves with the events added.

    Flux, and magnitude where there is a column, change; epochs, flags and, unless the parameters say
    ``poisson``, errors stay. A dip takes at most the whole mean flux away.
    """
    result: list[Handle[TimeSeries]] = []
    for handle in products:
        curve = handle.load()
        if len(curve):
            for event in params:
                curve = _with_event(curve, event, rng)
        result.append(MemoryHandle(curve, replace(handle.info, simulated=True)))
    return result


def _with_event(curve: TimeSeries, event: Record, rng: np.random.Generator) -> TimeSeries:
    """Add an event; no dip takes more than all of the light."""
    flux = np.asarray(curve.flux, dtype=np.float64)
    moments = robust_mean_rms(flux[curve.flags == 0])
    unit = moments.rms if event["amplitude_unit"] == "sigma" else abs(moments.mean)
    amplitude = float(event["amplitude"]) * unit
    if not np.isfinite(amplitude):
        return curve
    if moments.mean > 0:
        amplitude = max(amplitude, -moments.mean)
    added = event_templates(curve.mjd, event["t_peak"], event["width"], amplitude, shape=event["shape"])
    new = flux + added
    columns: dict[str, Array] = {"flux": new}
    if event.get("errors") == "poisson":
        columns["flux_error"], noise = _poisson(
            flux, new, np.asarray(curve.flux_error, dtype=np.float64), rng
        )
        columns["flux"] = new = new + noise
    if "mag" in curve:
        columns["mag"] = _changed_mag(curve["mag"], flux, new)
    return curve.with_columns(**columns)


def _poisson(
    old: NDArray[np.float64], new: NDArray[np.float64], error: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale errors with the square root of the flux; return them and the noise that a brighter star adds."""
    with np.errstate(all="ignore"):
        ratio = np.where((old > 0) & (new > 0), new / old, 1.0)
        scaled = error * np.sqrt(ratio)
        extra = np.sqrt(np.clip(scaled**2 - error**2, 0.0, None))
    return scaled, rng.standard_normal(len(old)) * np.nan_to_num(extra)


def _changed_mag(mag: Array, old: NDArray[np.float64], new: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):
        shifted = mag - _MAG_PER_DEX * np.log10(new / old)
    return np.where(new == old, mag, np.where((new > 0) & (old > 0), shifted, np.nan))


def _merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
