"""Drawing events and adding them to real light curves, as the archive would have given them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.transients.settings import InjectionSettings
from virtualobserver.conventions import LIMITING_MAG
from virtualobserver.data.handles import Handle, MemoryHandle
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.draws import log_uniform
from virtualobserver.maths.lightcurves.events import event_templates
from virtualobserver.maths.lightcurves.statistics import robust_mean_rms
from virtualobserver.maths.lightcurves.templates import SUPPORT
from virtualobserver.maths.photometry import flux_from_mag
from virtualobserver.typing import Record, RecordDict

__all__ = ["draw_events", "inject_events"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Start and end of an event around its peak, in widths: where the flux passes 5 % of the peak.
_EXTENT: Final = {"box": (0.5, 0.5), "gaussian": (1.04, 1.04), "fred": (0.3, 3.0)}
_EDGE: Final = 0.05
"""Share of the peak at the start and the end of an event; further out it takes no epoch away."""
_FAINTEST: Final = 0.1
"""Share of a star's epochs, the faintest, whose errors say what the error of a faint epoch is. Chosen, not tuned."""
_MAG_PER_DEX: Final = 2.5
"""Definition of the magnitude."""


@dataclass(frozen=True)
class _Level:
    """What a light curve gives to the size of an event: its span (MJD), mean, and unit of amplitudes (flux)."""

    first: float
    last: float
    mean: float
    unit: float

    @property
    def deepest(self) -> float:
        """All of the light, in units of the amplitude; infinite where the light of the star is not known."""
        return self.mean / self.unit if self.mean > 0 and self.unit > 0 else np.inf


def draw_events(
    rngs: Sequence[np.random.Generator], curves: Sequence[TimeSeries], settings: InjectionSettings
) -> list[RecordDict]:
    """Draw the parameters of one event from each generator.

    The peak time is even over the time between first and last row of the light curves (gaps within a light
    curve included, those between light curves not), which is ``exposure`` (d). No dip takes more than all of the
    light away in any of the light curves it lies in: where the settings reach deeper, the star ends them.

    Raises
    ------
    NotEnoughData
        If no light curve has a row.
    """
    levels = [_level(curve, settings.amplitude_unit) for curve in curves if len(curve)]
    spans = _merged([(level.first, level.last) for level in levels])
    if not spans:
        msg = "an event cannot be drawn: none of the light curves has a row"
        raise NotEnoughData(msg)
    return [_draw(rng, levels, spans, settings) for rng in rngs]


def _draw(
    rng: np.random.Generator,
    levels: Sequence[_Level],
    spans: Sequence[tuple[float, float]],
    settings: InjectionSettings,
) -> RecordDict:
    shape = settings.shapes[int(rng.integers(len(settings.shapes)))]
    width = log_uniform(rng, settings.width)
    dip = bool(rng.random() < settings.dips)
    lengths = np.array([end - start for start, end in spans])
    position = rng.random() * float(lengths.sum())
    number = min(int(np.searchsorted(np.cumsum(lengths), position)), len(spans) - 1)
    t_peak = spans[number][0] + position - float(lengths[:number].sum())
    least, most = settings.amplitude
    if dip:
        before, after = SUPPORT[shape]
        first, last = t_peak - before * width, t_peak + after * width
        deepest = [one.deepest for one in levels if one.first <= last and first <= one.last]
        most = min([most, *deepest])
    amplitude = log_uniform(rng, (min(least, most), most))
    before, after = _EXTENT[shape]
    return {
        "kind": "dip" if dip else "flare",
        "shape": shape,
        "amplitude": -amplitude if dip else amplitude,
        "amplitude_unit": settings.amplitude_unit,
        "width": width,
        "errors": settings.errors,
        "t_peak": t_peak,
        "start_mjd": t_peak - before * width,
        "end_mjd": t_peak + after * width,
        "exposure": float(lengths.sum()),
    }


def inject_events(
    products: Sequence[Handle[TimeSeries]],
    params: Sequence[Record],
    rng: np.random.Generator,
    *,
    limit_snr: float = 0.0,
) -> list[Handle[TimeSeries]]:
    """Return handles to copies of the light curves with the events added.

    Flux, and magnitude where there is a column, change; epochs, flags and, unless the parameters say
    ``poisson``, errors stay. An epoch that fades below its limiting magnitude is gone, as the archive would not
    have found it. Without limiting magnitudes that is assumed at `limit_snr` errors of a faint epoch; 0 = none
    is lost. Forced photometry, which says in its meta whose ``flux`` it is, loses none.
    """
    result: list[Handle[TimeSeries]] = []
    for handle in products:
        curve = handle.load()
        sizes = [_size(curve, event) for event in params] if len(curve) else []
        for event, amplitude in zip(params, sizes, strict=False):
            if np.isfinite(amplitude):
                curve = _with_event(curve, event, amplitude, rng, limit_snr)
        result.append(MemoryHandle(curve, replace(handle.info, simulated=True)))
    return result


def _level(curve: TimeSeries, unit: str) -> _Level:
    flux = np.asarray(curve.flux, dtype=np.float64)
    moments = robust_mean_rms(flux[curve.flags == 0])
    mean = 0.0 if curve.meta.get("flux") == "difference" else moments.mean
    scatter = moments.rms if moments.rms > 0 else _usual(curve.flux_error)
    size = abs(moments.mean) if unit == "relative" else scatter
    return _Level(float(curve.mjd[0]), float(curve.mjd[-1]), mean, size)


def _size(curve: TimeSeries, event: Record) -> float:
    """Return the amplitude of an event in flux; no dip takes more than all of the light."""
    level = _level(curve, event["amplitude_unit"])
    return max(float(event["amplitude"]), -level.deepest) * level.unit


def _usual(error: Array) -> float:
    """Return the median of the errors that are any; NaN without one."""
    known = error[np.isfinite(error) & (error > 0)]
    return float(np.median(known)) if known.size else float("nan")


def _with_event(
    curve: TimeSeries, event: Record, amplitude: float, rng: np.random.Generator, limit_snr: float
) -> TimeSeries:
    """Return a copy with an event of some amplitude (flux), less the epochs that it takes below the limit."""
    flux = np.asarray(curve.flux, dtype=np.float64)
    added = event_templates(curve.mjd, event["t_peak"], event["width"], amplitude, shape=event["shape"])
    new = flux + added
    error = np.asarray(curve.flux_error, dtype=np.float64)
    columns: dict[str, Array] = {"flux": new}
    if event.get("errors") == "poisson":
        columns["flux_error"], noise = _poisson(flux, new, error, rng)
        columns["flux"] = new = new + noise
    if "mag" in curve:
        columns["mag"] = _changed_mag(curve["mag"], flux, new)
    if "mag_error" in curve:
        columns["mag_error"] = _changed_mag_error(
            curve["mag_error"], (flux, error), (new, columns.get("flux_error", error))
        )
    changed = curve.with_columns(**columns)
    faded = added < -_EDGE * abs(amplitude)
    if not faded.any():
        return changed
    lost = faded & (new < _limit(curve, limit_snr))
    return changed.take(~lost) if lost.any() else changed


def _limit(curve: TimeSeries, limit_snr: float) -> FloatArray:
    """Return the flux of each epoch below which the archive would not have found the star.

    Limiting magnitudes are estimates, too bright by some tenths where a star was found below: there, and where
    there is none, the errors say what is found.
    """
    flux = np.asarray(curve.flux, dtype=np.float64)
    if "flux" in curve.meta:  # forced photometry: measured wherever the star is
        return np.full(len(curve), -np.inf)
    seen = (
        np.minimum(limit_snr * _faint_error(curve), flux) if limit_snr > 0 else np.full(len(curve), -np.inf)
    )
    if LIMITING_MAG not in curve or curve.flux_unit != "uJy":
        return seen
    told = flux_from_mag(curve[LIMITING_MAG])
    return np.where(flux >= told, told, np.where(np.isfinite(told), np.minimum(seen, told), seen))


def _faint_error(curve: TimeSeries) -> FloatArray:
    """Return the error that each epoch would have of a faint star: its own, or that of the star's faintest epochs."""
    error = np.asarray(curve.flux_error, dtype=np.float64)
    good = np.flatnonzero((curve.flags == 0) & np.isfinite(curve.flux))
    faintest = good[np.argsort(curve.flux[good], kind="stable")][: max(1, int(_FAINTEST * good.size))]
    return np.fmin(error, _usual(error[faintest]))


def _poisson(
    old: FloatArray, new: FloatArray, error: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Scale errors with the square root of the flux; return them and the noise that a brighter star adds."""
    with np.errstate(all="ignore"):
        ratio = np.where((old > 0) & (new > 0), new / old, 1.0)
        scaled = error * np.sqrt(ratio)
        extra = np.sqrt(np.clip(scaled**2 - error**2, 0.0, None))
    return scaled, rng.standard_normal(len(old)) * np.nan_to_num(extra)


def _changed_mag(mag: Array, old: FloatArray, new: FloatArray) -> FloatArray:
    with np.errstate(all="ignore"):
        shifted = mag - _MAG_PER_DEX * np.log10(new / old)
    return np.where(new == old, mag, np.where((new > 0) & (old > 0), shifted, np.nan))


def _changed_mag_error(
    mag_error: Array, old: tuple[FloatArray, FloatArray], new: tuple[FloatArray, FloatArray]
) -> FloatArray:
    """Return errors of magnitudes, which go with error over flux; `old` and `new` are fluxes with their errors."""
    with np.errstate(all="ignore"):
        scaled = mag_error * (new[1] / new[0]) / (old[1] / old[0])
    return np.where(new[0] == old[0], mag_error, np.where((new[0] > 0) & (old[0] > 0), scaled, np.nan))


def _merged(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
