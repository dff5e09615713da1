"""What is shown of a detection without any word of its analysis: light curves around it, and its numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver import columns
from virtualobserver.columns import band_words
from virtualobserver.conventions import FLAG_NAMES
from virtualobserver.data.handles import Container, Handle
from virtualobserver.data.image import Image
from virtualobserver.data.panels import Axis, Curve, Facts, Mark, Panel, Series
from virtualobserver.data.result import Event
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.maths.lightcurves.statistics import robust_mean_rms
from virtualobserver.typing import Record, Value

__all__ = ["MJD", "curve_panels", "default_panels", "event_facts", "event_mark", "flag_words", "window"]

MJD: Final = Axis("MJD (UTC, mid-exposure)", scale="time")
"""The axis of times of all light curves."""
_MARGIN: Final = 3.0
"""Lengths of the event that are shown on either side of it."""
_NEIGHBOURS: Final = 8
"""Or so many epochs: a lone point has no length."""
_MOST_NAMES: Final = 6
"""Light curves that are named one by one; of more the filters are, by which they are coloured."""
_LONGEST: Final = 60
"""Letters of a value; longer ones are no facts to be taken in at a glance."""


def default_panels(products: Sequence[Handle], event: Event | None = None) -> list[Panel]:
    """Return panels of any products: light curves around the event where there are some, and facts.

    Parameters
    ----------
    products
        What was searched; ``event.product`` counts in them.
    event
        The detection; without one the products as they are.
    """
    curves = {n: handle for n, handle in enumerate(products) if handle.info.kind == "lightcurve"}
    panels: list[Panel] = []
    if curves:
        loaded = [(n, _name(handle), handle.load()) for n, handle in curves.items()]
        named = [
            (n, name, curve) for n, name, curve in loaded if isinstance(curve, TimeSeries) and len(curve)
        ]
        own = [place for place, (n, _, _) in enumerate(named) if event is not None and n == event.product]
        panels += curve_panels(
            [(name, curve) for _, name, curve in named], event, own=own[0] if own else None
        )
    elif products:
        seen = products[event.product if event is not None and event.product is not None else 0]
        panels.append(_held(seen.load(), len(products)))
    return panels + ([] if event is None else [event_facts(event)])


def curve_panels(
    curves: Sequence[tuple[str, TimeSeries]], event: Event | None = None, *, own: int | None = None
) -> list[Panel]:
    """Return light curves as panels: near the event, all filters near it, and whole.

    Parameters
    ----------
    curves
        Name and light curve of each.
    own
        Number of the one in which the event was seen; by default the first of its filter.
    """
    curves = [(name, curve) for name, curve in curves if len(curve)]
    if not curves:
        return []
    named = curves
    if len(curves) > _MOST_NAMES:
        named = [(band_words(curve.band) or name, curve) for name, curve in curves]
    whole = Series("light curve", MJD, _flux(curves), [_drawn(*one) for one in named])
    if event is None:
        return [whole]
    own = own if own is not None and own < len(curves) else _seen_in(curves, event)
    near = _near(curves[own], event)
    others = _together(named, event, near.x)
    marks = [event_mark(event)]
    return [near, *others, Series("whole light curve", MJD, whole.y, whole.curves, marks)]


def event_mark(event: Event) -> Mark:
    """Return the mark of the time of an event: a span, or a line where it is one epoch."""
    if event.end_mjd > event.start_mjd:
        return Mark("span", x=event.start_mjd, x_end=event.end_mjd)
    return Mark("line", x=event.peak_mjd)


def event_facts(
    event: Event,
    *,
    title: str = "detection",
    units: Record | None = None,
    only: Sequence[str] | None = None,
    least: Mapping[str, float] | None = None,
) -> Facts:
    """Return what is known of a detection.

    Parameters
    ----------
    units
        Units of parameters, where the table of columns knows others or none.
    only
        Parameters that are told, in this order; by default all.
    least
        Of a parameter the smallest value that means something: one below is said to be below.
    """
    rows: list[tuple[str, Value, str]] = [
        ("kind", event.kind.replace("_", " "), ""),
        ("S/N", float(event.snr), ""),
        ("peak", float(event.peak_mjd), "MJD"),
    ]
    if event.end_mjd > event.start_mjd and "duration" not in (event.parameters if only is None else only):
        rows.append(("duration", float(event.end_mjd - event.start_mjd), "d"))
    told = {abs(event.snr), *(one for one in event.parameters.values() if isinstance(one, float))}
    if event.score is not None and event.score not in told:
        rows.append(("score", float(event.score), ""))
    if event.band:
        rows.append(("filter", band_words(event.band), ""))
    if event.ra is not None and event.dec is not None:
        rows.append(("position", f"{event.ra:.6f} {event.dec:+.6f}", "deg, ICRS"))
    if event.quality:
        rows.append(("quality", flag_words(event.quality), ""))
    for name in event.parameters if only is None else only:
        value = event.parameters.get(name)
        if (shown := _plain(value)) is not None:
            low = (least or {}).get(name)
            below = low is not None and isinstance(shown, int | float) and shown < low
            rows.append((name, f"< {low:g}" if below else shown, _unit(name, units or {})))
    return Facts(title, rows)


def flag_words(bits: int) -> str:
    """Return what quality bits mean: ``saturated or non-linear; cosmic ray``."""
    known = [word for bit, word in FLAG_NAMES.items() if bits & bit]
    return "; ".join(known) or (f"bits {bits}" if bits else "")


def window(mjd: NDArray[np.float64], event: Event) -> tuple[float, float]:
    """Return the times between which an event is seen well: some lengths of it, and its neighbours at least."""
    times = np.sort(mjd[np.isfinite(mjd)])
    peak = int(np.argmin(np.abs(times - event.peak_mjd)))
    length = max(event.end_mjd - event.start_mjd, 1e-4)
    low = min(event.start_mjd - _MARGIN * length, float(times[max(peak - _NEIGHBOURS, 0)]))
    high = max(event.end_mjd + _MARGIN * length, float(times[min(peak + _NEIGHBOURS, len(times) - 1)]))
    # An event as long as the light curve would otherwise be drawn in an empty field.
    low, high = (
        max(low, min(float(times[0]), event.start_mjd)),
        min(high, max(float(times[-1]), event.end_mjd)),
    )
    pad = 0.03 * max(high - low, 1e-4)
    return low - pad, high + pad


# --- inside -----------------------------------------------------------------------------------------------


def _name(handle: Handle) -> str:
    band, series = handle.info.band, handle.info.series
    return series if series and band in series else " ".join(one for one in (band_words(band), series) if one)


def _drawn(name: str, curve: TimeSeries, scale: float = 1.0) -> Curve:
    """Return a light curve with its flags; an error that is none is left out."""
    error = np.asarray(curve.flux_error, dtype=np.float64)
    error = np.where(np.isfinite(error) & (error >= 0), error, np.nan)
    bits, place = np.unique(np.asarray(curve.flags, dtype=np.int64), return_inverse=True)
    words = [flag_words(int(one)) for one in bits]
    flagged = np.asarray(curve.flags) != 0
    return Curve(
        name, curve.mjd, curve.flux / scale, error / scale, flagged, colour=f"band {curve.band}",
        text=[words[one] for one in place.ravel()] if flagged.any() else None,
    )  # fmt: skip


def _flux(curves: Sequence[tuple[str, TimeSeries]]) -> Axis:
    units = {curve.flux_unit for _, curve in curves}
    return Axis("flux", units.pop() if len(units) == 1 else "")


def _seen_in(curves: Sequence[tuple[str, TimeSeries]], event: Event) -> int:
    same = [number for number, (_, curve) in enumerate(curves) if curve.band == event.band]
    return same[0] if same else 0


def _level(curve: TimeSeries) -> tuple[float, float] | None:
    """Return the quiet level of a light curve and the scatter about it, None where there is none."""
    good = (np.asarray(curve.flags) == 0) & np.isfinite(curve.flux)
    if good.sum() < 2:
        return None
    found = robust_mean_rms(np.asarray(curve.flux, dtype=np.float64)[good])
    return (float(found.mean), float(found.rms)) if np.isfinite([found.mean, found.rms]).all() else None


def _near(one: tuple[str, TimeSeries], event: Event) -> Series:
    """Return the light curve in which the event was seen, near to it."""
    name, curve = one
    limits = window(curve.mjd, event)
    marks = [event_mark(event)]
    if (level := _level(curve)) is not None:
        mean, rms = level
        marks.append(Mark("line", y=mean, label="quiet", colour="context"))
        marks.append(Mark("span", y=mean - 3 * rms, y_end=mean + 3 * rms, colour="context"))
    flux = np.asarray(curve.flux, dtype=np.float64)
    peak = int(np.nanargmin(np.abs(curve.mjd - event.peak_mjd)))
    if np.isfinite(flux[peak]):
        marks.append(Mark("point", x=float(curve.mjd[peak]), y=float(flux[peak])))
    note = "pale: quiet level and three times the scatter about it" if level is not None else ""
    title = f"{event.kind.replace('_', ' ')} at MJD {event.peak_mjd:.4f}, S/N {event.snr:+.1f}"
    near = Axis(MJD.name, scale="time", limits=limits)
    return Series(title, near, Axis("flux", curve.flux_unit), [_drawn(name, curve)], marks, note=note)


def _together(curves: Sequence[tuple[str, TimeSeries]], event: Event, x: Axis) -> list[Series]:
    """Return all light curves near the event, each over its quiet level, where there are several."""
    scaled = [
        _drawn(name, curve, level[0])
        for name, curve in curves
        if (level := _level(curve)) is not None and level[0] > 0
    ]
    if len(scaled) < 2:
        return []
    y = Axis("flux over quiet level")
    return [
        Series(
            "all light curves, near the event",
            x,
            y,
            scaled,
            [event_mark(event), Mark("line", y=1.0, colour="context")],
        )
    ]


def _plain(value: Value) -> str | float | bool | None:
    """Return a value as a fact; None for what no line can say."""
    if isinstance(value, str | bool | int | float):
        return value if value != "" else None
    if isinstance(value, Mapping):
        value = {name: one for name, one in value.items() if one is not None}
    if not value:
        return None
    text = json.dumps(
        json.loads(json.dumps(value, default=str), parse_float=lambda one: float(f"{float(one):.5g}"))
    )
    return text.strip("[]{}").replace('"', "") if len(text) <= _LONGEST else None


def _unit(name: str, units: Record) -> str:
    if name in units:
        return str(units[name])
    known = columns.find(name)
    return "" if known is None else known.unit


def _held(data: Container, number: int) -> Facts:
    """Return what a product is that is no light curve."""
    rows: list[tuple[str, Value, str]] = [("products searched", number, "")]
    if isinstance(data, Image):
        rows += [("pixels", " x ".join(map(str, data.data.shape)), ""), ("unit", data.unit, "")]
        cards = ("OBJECT", "DATE-OBS", "EXPTIME", "FILTER", "INSTRUME")
        rows += [
            (card, data.header[card], "")
            for card in cards
            if isinstance(data.header.get(card), str | int | float)
        ]
    elif isinstance(data, SpectrumSet):
        rows += [("spectra", len(data), ""), ("pixels", len(data.wave), "")]
    else:
        rows += [("rows", len(data), ""), ("columns", ", ".join(list(data)[:8]), "")]
    return Facts("searched", rows)
