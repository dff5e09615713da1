"""How a panel of curves is seen: logarithmic, in magnitudes, folded, and with times that can be read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from virtualobserver.conventions import ZERO_POINT_AB_UJY
from virtualobserver.data.panels import Axis, Curve, Series

__all__ = ["View", "other_scales", "viewed"]

_DAYS: Final = 10.0
"""A panel of fewer days counts them from a whole one: an MJD to a minute has more figures than fit below it."""


@dataclass(frozen=True)
class View:
    """How a panel of curves is to be shown.

    Parameters
    ----------
    scale
        Of y: as the panel says (empty), ``log``, or ``mag`` of fluxes.
    fold
        Period in units of x, or None.
    """

    scale: Literal["", "log", "mag"] = ""
    fold: float | None = None


def viewed(panel: Series, view: View) -> Series:
    """Return a panel as it is to be seen."""
    return _counted_from_a_day(_changed(panel, view))


def other_scales(panel: Series) -> list[str]:
    """Return how y may be shown besides as the panel says."""
    if panel.y.scale != "linear":
        return []
    values = np.concatenate([curve.y[np.isfinite(curve.y)] for curve in panel.curves] or [np.empty(0)])
    scales = ["log"] if values.size and float(values.min()) > 0 else []
    return [*scales, "mag"] if panel.y.unit == "uJy" else scales


def _counted_from_a_day(panel: Series) -> Series:
    """Return a panel of a few days with times since the whole day before them."""
    times = np.concatenate([curve.x[np.isfinite(curve.x)] for curve in panel.curves] or [np.empty(0)])
    ends = panel.x.limits or ((float(times.min()), float(times.max())) if times.size else (0.0, np.inf))
    zero = float(np.floor(ends[0]))
    if panel.x.scale != "time" or ends[1] - zero > _DAYS or zero == 0:
        return panel
    name, _, more = panel.x.name.partition(" ")
    limits = None if panel.x.limits is None else (ends[0] - zero, ends[1] - zero)
    marks = [
        replace(
            mark,
            x=None if mark.x is None else mark.x - zero,
            x_end=None if mark.x_end is None else mark.x_end - zero,
        )
        for mark in panel.marks
    ]
    return replace(
        panel,
        x=replace(panel.x, name=f"{name} − {zero:.0f} {more}".strip(), limits=limits),
        curves=[replace(curve, x=curve.x - zero) for curve in panel.curves],
        marks=marks,
    )


def _changed(panel: Series, view: View) -> Series:
    curves = list(panel.curves)
    marks, x, y = list(panel.marks), panel.x, panel.y
    if view.scale == "mag" and "mag" in other_scales(panel):
        curves = [_magnitudes(curve) for curve in curves]
        marks = [mark for mark in marks if mark.y is None and mark.y_end is None]
        y = Axis("magnitude", "mag", "magnitude")
    elif view.scale == "log" and "log" in other_scales(panel):
        y = replace(y, scale="log", limits=y.limits if y.limits and y.limits[0] > 0 else None)
    if view.fold:
        zero = next((mark.x for mark in marks if mark.x is not None), 0.0)
        curves = [replace(curve, x=(curve.x - zero) / view.fold % 1.0, style="points") for curve in curves]
        marks = []
        x = Axis(f"phase of {view.fold:g} {panel.x.unit or 'd'}", limits=(0.0, 1.0))
    return replace(panel, x=x, y=y, curves=curves, marks=marks)


def _magnitudes(curve: Curve) -> Curve:
    with np.errstate(invalid="ignore", divide="ignore"):
        flux = np.where(curve.y > 0, curve.y, np.nan)
        error = None if curve.y_error is None else 2.5 / np.log(10) * curve.y_error / flux
        return replace(curve, y=ZERO_POINT_AB_UJY - 2.5 * np.log10(flux), y_error=error)
