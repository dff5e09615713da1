"""Drawing periods and varying real light curves with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.periods.curve import Merged, merge, times_of
from virtualobserver.analyses.periods.settings import LONGEST, SHORTEST, PeriodsSettings
from virtualobserver.conventions import HOURS_PER_DAY
from virtualobserver.data.handles import Handle, MemoryHandle
from virtualobserver.data.timeseries import TimeSeries
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.draws import log_uniform
from virtualobserver.typing import Record, RecordDict

__all__ = ["draw_period", "inject_periods"]

_UNEQUAL: Final = 0.15
"""Share of the first harmonic: the two maxima of a body are not alike."""


def draw_period(
    rng: np.random.Generator, products: Sequence[Handle[TimeSeries]], settings: PeriodsSettings
) -> RecordDict:
    """Draw a period (hours), an amplitude (mag, top to bottom) and the time of a minimum of light.

    Raises
    ------
    NotEnoughData
        If there are too few good epochs to search.
    """
    merged = merge(products, settings)
    if merged is None:
        msg = f"a period cannot be drawn: there are fewer than {settings.min_epochs} good epochs"
        raise NotEnoughData(msg)
    period = log_uniform(rng, settings.simulate.period or _searched(merged, settings))
    start = float(merged.mjd[0])
    return {
        "period": period,
        "amplitude": log_uniform(rng, settings.simulate.amplitude),
        "double": settings.method == "asteroid",
        "t_peak": start + rng.random() * period / HOURS_PER_DAY,
        "start_mjd": start,
        "end_mjd": float(merged.mjd[-1]),
    }


def _searched(merged: Merged, settings: PeriodsSettings) -> tuple[float, float]:
    """Return the shortest and longest period searched, in hours, the longest not above the span."""
    if settings.method == "asteroid":
        return settings.shortest or SHORTEST, settings.longest or LONGEST
    span = float(np.ptp(merged.days)) * HOURS_PER_DAY
    shortest = settings.shortest or 2 * span / (settings.nyquist * len(merged))
    return shortest, max(min(settings.longest or span, span), shortest)


def inject_periods(
    products: Sequence[Handle[TimeSeries]], params: Sequence[Record]
) -> list[Handle[TimeSeries]]:
    """Return handles to copies of the light curves that vary; errors stay."""
    result: list[Handle[TimeSeries]] = []
    for handle in products:
        curve = handle.load()
        change = np.zeros(len(curve))
        for one in params:
            phase = (times_of(curve) - one["t_peak"]) * HOURS_PER_DAY / one["period"]
            change += 0.5 * one["amplitude"] * _shape(phase, double=bool(one["double"]))
        columns: dict[str, Array] = {"flux": curve.flux * 10 ** (-0.4 * change)}
        if "mag" in curve:
            columns["mag"] = curve["mag"] + change
        result.append(MemoryHandle(curve.with_columns(**columns), replace(handle.info, simulated=True)))
    return result


def _shape(phase: NDArray[np.float64], *, double: bool) -> NDArray[np.float64]:
    """Return magnitudes between about -1 and 1, faintest at phase 0: a cosine, or two unlike maxima."""
    if not double:
        return np.cos(2 * np.pi * phase)
    return (1 - _UNEQUAL) * np.cos(4 * np.pi * phase) + _UNEQUAL * np.cos(2 * np.pi * phase)
