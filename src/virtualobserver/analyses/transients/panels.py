"""What to see of a flare or a dip beside its light curve: where the star was seen, and how well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.transients.settings import TransientsSettings
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data.curve_panels import MJD, default_panels, event_facts, event_mark
from virtualobserver.data.handles import Handle
from virtualobserver.data.panels import Axis, Curve, Panel, Series
from virtualobserver.data.result import Event
from virtualobserver.data.timeseries import TimeSeries

__all__ = ["event_panels"]

_TOLD: Final = (
    "amplitude", "mag", "mag_diff", "width", "shape", "p_value", "confirmed", "n_epochs", "n_nights", "bands",
    "n_series", "n_points", "flux_mean", "flux_rms", "exptime", "quality_values", "series",
)  # fmt: skip
_PROFILE: Final = ("chi", "sharp")
"""Columns that say how far the profile was that of a star."""


def event_panels(
    products: Sequence[Handle[TimeSeries]], event: Event, settings: TransientsSettings
) -> list[Panel]:
    """Return light curves near the event and whole, positions, quality of the profile, and what is known."""
    curve = products[event.product or 0].load() if products else None
    panels = default_panels(products, event)[:-1]
    if curve is None:
        return panels
    inside = (curve.mjd >= event.start_mjd) & (curve.mjd <= event.end_mjd)
    for made in (_positions(curve, inside), _profile(curve, event)):
        if made is not None:
            panels.append(made)
    fluxes = dict.fromkeys(("amplitude", "flux_mean", "flux_rms"), curve.flux_unit)
    facts = event_facts(event, units=fluxes, only=_TOLD)
    return [*panels, replace(facts, note=_asked(event, settings))]


def _asked(event: Event, settings: TransientsSettings) -> str:
    """Say what let an event pass: one of several epochs by its chance, so that its S/N may be below the threshold."""
    if settings.method == "published" or event.parameters.get("p_value") is None:
        return f"passed by S/N above {settings.snr_threshold:g}"
    return f"several epochs pass by p value ≤ {settings.false_alarm:g}, not by S/N"


def _positions(curve: TimeSeries, inside: NDArray[np.bool_]) -> Series | None:
    """Return where the star was in each epoch, from its median place: a blend or a ghost lies aside."""
    if "ra" not in curve or "dec" not in curve:
        return None
    ra, dec = (np.asarray(curve[name], dtype=np.float64) for name in ("ra", "dec"))
    good = np.isfinite(ra) & np.isfinite(dec)
    if not good.any() or not (np.ptp(ra[good]) > 0 or np.ptp(dec[good]) > 0):
        return None
    middle = float(np.median(dec[good]))
    away = (ra - ra[good][0] + 180.0) % 360.0 - 180.0
    east = (away - np.median(away[good])) * np.cos(np.radians(middle)) * ARCSEC_PER_DEGREE
    north = (dec - middle) * ARCSEC_PER_DEGREE
    flagged = np.asarray(curve.flags) != 0
    return Series(
        "position, from the median",
        Axis("east", "arcsec", reverse=True),
        Axis("north", "arcsec"),
        [
            Curve(label, east[some], north[some], flags=flagged[some], colour=role)
            for label, some, role in (
                ("all epochs", good & ~inside, "context"),
                ("event", good & inside, "event"),
            )
        ],
        equal=True,
    )


def _profile(curve: TimeSeries, event: Event) -> Series | None:
    names = [name for name in _PROFILE if name in curve and np.isfinite(np.asarray(curve[name], float)).any()]
    if not names:
        return None
    flagged = np.asarray(curve.flags) != 0
    curves = [
        Curve(name, curve.mjd, np.asarray(curve[name], float), flags=flagged, colour=role)
        for name, role in zip(names, ("data", "second"), strict=False)
    ]
    return Series("quality of the profile", MJD, Axis("chi, sharp"), curves, [event_mark(event)])
