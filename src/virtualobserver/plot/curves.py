"""Light curves and the events in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.figure import Figure

from virtualobserver.columns import band_words
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import DataError
from virtualobserver.maths.lightcurves.statistics import robust_mean_rms
from virtualobserver.maths.photometry import mag_error_from_flux, mag_from_flux
from virtualobserver.plot.style import FLAGGED, MARK, PLAIN, UNITS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from virtualobserver.data.result import Event
    from virtualobserver.maths.arrays import Array

__all__ = ["detection", "lightcurve"]

_BAND_COLORS: Final[dict[str, str]] = {
    "u": "#6a3d9a",
    "g": "#1a7f37",
    "r": "#c0392b",
    "i": "#8c510a",
    "z": "#4d4d4d",
    "y": "#222222",
    "B": "#2b5fb3",
    "V": "#1a7f37",
    "R": "#c0392b",
    "I": "#8c510a",
}


def lightcurve(
    curve: TimeSeries | Sequence[TimeSeries],
    *,
    title: str = "",
    figsize: tuple[float, float] = (9.0, 4.0),
    magnitudes: bool = False,
) -> Figure:
    """Draw one light curve, or several over each other.

    Flagged points are grey crosses; a line and a band show the robust mean ± 3 rms.

    Parameters
    ----------
    curve
        Light curve or curves.
    title
        Above the picture.
    figsize
        Width and height in inches.
    magnitudes
        Draw AB magnitudes instead of fluxes (which must be in µJy); points without positive flux are left
        out.
    """
    curves = [curve] if isinstance(curve, TimeSeries) else list(curve)
    figure, axes = new_figure(figsize, title)
    seen: set[str] = set()
    for one in curves:
        label = band_words(one.band) if one.band not in seen else ""
        seen.add(one.band)
        _draw_curve(axes, one, label=label, magnitudes=magnitudes)
    _label_curve(axes, curves, magnitudes=magnitudes)
    return figure


def detection(
    event: Event,
    *,
    curve: TimeSeries | None = None,
    title: str = "",
    margin: float = 3.0,
    figsize: tuple[float, float] = (9.0, 4.0),
) -> Figure:
    """Draw the light curve around an event, its span and peak marked, and the whole light curve beside it.

    Parameters
    ----------
    event
        An `Event`, or a row with ``peak_mjd, start_mjd, end_mjd, snr, kind``.
    curve
        The light curve it was seen in; by default the row's own (``event.data``, or its first
        ``lightcurves``).
    margin
        How much is shown on either side, in lengths of the event (at least a few points).

    Raises
    ------
    DataError
        If there is no light curve.
    """
    curve = curve if curve is not None else _curve_of(event)
    figure = Figure(figsize=figsize, layout="constrained")
    near, whole = figure.subplots(1, 2, gridspec_kw={"width_ratios": [2, 1]})
    for axes in (near, whole):
        _draw_curve(axes, curve, label=band_words(curve.band))
        axes.axvspan(event.start_mjd, event.end_mjd, color=MARK, alpha=0.18, lw=0)
    peak = int(np.argmin(np.abs(curve.mjd - event.peak_mjd))) if len(curve) else 0
    if len(curve):
        near.plot(curve.mjd[peak], curve.flux[peak], "o", ms=13, mfc="none", mec=MARK, mew=1.8)
        near.set_xlim(*_window(curve.mjd, event, peak, margin))
        _fit_heights(near, curve)
    _label_curve(near, [curve])
    whole.set_xlabel("MJD")
    whole.xaxis.get_major_locator().set_params(nbins=4)
    near.set_title(f"{event.kind} at MJD {event.peak_mjd:.4f}, S/N {event.snr:+.1f}", fontsize=10)
    whole.set_title("whole light curve", fontsize=10)
    if title:
        figure.suptitle(title)
    return figure


def _color(band: str) -> str:
    return _BAND_COLORS.get(band[-1:], PLAIN) if band else PLAIN


def _draw_curve(axes: Axes, curve: TimeSeries, *, label: str = "", magnitudes: bool = False) -> None:
    """Draw good points with errors and flagged ones as crosses; an error that is none is drawn as 0."""
    flux, error = (np.asarray(values, dtype=np.float64) for values in (curve.flux, curve.flux_error))
    error = np.where(np.isfinite(error) & (error >= 0), error, 0.0)
    good = np.asarray(curve.flags) == 0
    mean = robust_mean_rms(flux[good]) if good.any() else None
    if magnitudes:
        error = np.nan_to_num(mag_error_from_flux(flux, error))
        flux = mag_from_flux(flux)
    color = _color(curve.band)
    axes.errorbar(
        curve.mjd[good],
        flux[good],
        error[good],
        fmt="o",
        ms=3,
        lw=0,
        elinewidth=0.7,
        color=color,
        label=label or None,
    )
    if not good.all():
        axes.plot(curve.mjd[~good], flux[~good], "x", ms=4, color=FLAGGED)
    if mean is not None and not magnitudes and np.isfinite(mean.mean) and len(curve) > 1:
        axes.axhline(mean.mean, color=color, lw=0.7, alpha=0.6)
        span = (float(curve.mjd[0]), float(curve.mjd[-1]))
        axes.fill_between(
            span, mean.mean - 3 * mean.rms, mean.mean + 3 * mean.rms, color=color, alpha=0.08, lw=0
        )


def _label_curve(axes: Axes, curves: Sequence[TimeSeries], *, magnitudes: bool = False) -> None:
    axes.set_xlabel("MJD (UTC, mid-exposure)")
    axes.ticklabel_format(axis="x", useOffset=False)
    unit = curves[0].flux_unit if curves else "uJy"
    axes.set_ylabel("AB magnitude" if magnitudes else f"flux [{UNITS.get(unit, unit)}]")
    if magnitudes and not axes.yaxis_inverted():
        axes.invert_yaxis()
    if any(curve.band for curve in curves) and any(len(curve) for curve in curves):
        axes.legend(fontsize=8, frameon=False, loc="upper right")


def _curve_of(event: object) -> TimeSeries:
    data = getattr(event, "data", None)
    if data is None and (rows := getattr(event, "lightcurves", None)):
        data = rows[0].data
    if not isinstance(data, TimeSeries):
        msg = "to draw an event its light curve is needed: plot(event, curve=...)"
        raise DataError(msg)
    return data


def _window(mjd: Array, event: Event, peak: int, margin: float) -> tuple[float, float]:
    length = max(event.end_mjd - event.start_mjd, 1e-4)
    low, high = event.start_mjd - margin * length, event.end_mjd + margin * length
    # A lone point has no length: show its neighbours at least.
    low = min(low, float(mjd[max(peak - 8, 0)]))
    high = max(high, float(mjd[min(peak + 8, len(mjd) - 1)]))
    # An event as long as the light curve would otherwise be drawn in an empty field.
    low = max(low, min(float(mjd[0]), event.start_mjd))
    high = min(high, max(float(mjd[-1]), event.end_mjd))
    pad = 0.03 * max(high - low, 1e-4)
    return low - pad, high + pad


def _fit_heights(axes: Axes, curve: TimeSeries) -> None:
    low, high = axes.get_xlim()
    inside = (curve.mjd >= low) & (curve.mjd <= high) & np.isfinite(curve.flux)
    if inside.any():
        error = np.nan_to_num(np.asarray(curve.flux_error, dtype=np.float64)[inside], nan=0.0, posinf=0.0)
        bottom, top = float((curve.flux[inside] - error).min()), float((curve.flux[inside] + error).max())
        pad = 0.08 * (top - bottom) or 1.0
        axes.set_ylim(bottom - pad, top + pad)
