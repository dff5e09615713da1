"""Pictures of periods: the light curve, folded, and the periodogram with what it could be instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.periods.curve import Merged
from virtualobserver.conventions import HOURS_PER_DAY
from virtualobserver.maths.periods.gls import Periodogram
from virtualobserver.maths.periods.rotation import Rotation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["rotation_sheet", "sine_sheet"]

_BLUE: Final = "#1f4e79"
_ORANGE: Final = "#e07b00"
_GREY: Final = "#9a9a9a"
_MARKED: Final = 4
"""Other periods marked in the periodogram; more hide it."""


def rotation_sheet(merged: Merged, best: Rotation, sessions: NDArray[np.int64], title: str) -> Figure:
    """Draw the rotation of a body: light curve, folded with its series, periodogram with the next best periods."""
    figure, (top, folded, power) = _sheet()
    phase = best.phase(merged.hours)
    shifted = merged.mag - best.offsets[np.unique(sessions, return_inverse=True)[1].ravel()]
    _light(top, merged)
    _fold(folded, phase, shifted, merged.error, merged.product)
    _line(folded, lambda p: best.model(p % 1.0))
    said = f"P = {best.period:.4f} h, {best.harmonics} harmonics, amplitude {best.amplitude:.2f} mag"
    folded.set_title(f"{said}, grade {best.grade}", fontsize="medium")
    power.plot(best.frequency * HOURS_PER_DAY, best.power, color=_BLUE, lw=0.6)
    power.axvline(HOURS_PER_DAY / best.period, color=_ORANGE, lw=1)
    for one in best.candidates[1 : 1 + _MARKED]:
        power.axvline(HOURS_PER_DAY / one.period, color=_GREY, lw=0.8, ls="--")
        power.annotate(
            one.relation or f"{one.period:.2f} h", (HOURS_PER_DAY / one.period, 1.0), rotation=90, fontsize=7,
            xycoords=("data", "axes fraction"), ha="right", va="top", color="#555555",
        )  # fmt: skip
    power.set(xlabel="rotations per day", ylabel="variance explained", ylim=(0, None), xscale="log")
    figure.suptitle(title)
    return figure


def sine_sheet(merged: Merged, found: Periodogram, title: str) -> Figure:
    """Draw a sine: light curve, folded with it, periodogram with the level of 1 % false alarms."""
    figure, (top, folded, power) = _sheet()
    peak = found.peak
    _light(top, merged)
    phase = ((merged.days - peak.t0) / peak.period) % 1.0
    _fold(folded, phase, merged.mag, merged.error, merged.product)
    _line(folded, lambda p: peak.model(peak.t0 + p * peak.period))
    hours = peak.period * HOURS_PER_DAY
    folded.set_title(
        f"P = {peak.period:.6g} d = {hours:.6g} h, amplitude {2 * peak.amplitude:.3f} mag, FAP {peak.fap:.1g}",
        fontsize="medium",
    )
    power.plot(found.frequency, found.power, color=_BLUE, lw=0.6)
    power.axvline(peak.frequency, color=_ORANGE, lw=1)
    power.axhline(found.level(0.01), color=_GREY, lw=0.8, ls="--")
    power.annotate(
        "false alarms 1 %", (1.0, found.level(0.01)), xycoords=("axes fraction", "data"), ha="right", va="bottom",
        fontsize=7, color="#555555",
    )  # fmt: skip
    power.set(xlabel="cycles per day", ylabel="power", ylim=(0, None))
    figure.suptitle(title)
    return figure


# --- inside -----------------------------------------------------------------------------------------------


def _sheet() -> tuple[Figure, tuple[Axes, Axes, Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.0, 7.0), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[1, 1.3])
    top, folded, power = (figure.add_subplot(part) for part in (grid[0, :], grid[1, 0], grid[1, 1]))
    return figure, (top, folded, power)


def _light(axes: Axes, merged: Merged) -> None:
    for number in np.unique(merged.product):
        one = merged.product == number
        axes.errorbar(
            merged.mjd[one], merged.mag[one], merged.error[one], fmt=".", ms=3, lw=0.6, color=_colour(number)
        )
    axes.set(xlabel="MJD (UTC)", ylabel="mag, less the mean")
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.invert_yaxis()


def _fold(
    axes: Axes,
    phase: NDArray[np.float64],
    mag: NDArray[np.float64],
    error: NDArray[np.float64],
    product: NDArray[np.int64],
) -> None:
    """Draw two cycles, so that what crosses phase 0 is seen whole; the second one fainter."""
    for number in np.unique(product):
        one = product == number
        for shift, alpha in ((0.0, 1.0), (1.0, 0.35)):
            axes.errorbar(
                phase[one] + shift,
                mag[one],
                error[one],
                fmt=".",
                ms=3,
                lw=0.6,
                color=_colour(number),
                alpha=alpha,
            )
    axes.set(xlabel="phase", ylabel="mag", xlim=(0, 2))
    axes.invert_yaxis()


def _line(axes: Axes, model: Any) -> None:
    phase = np.linspace(0, 2, 721)
    axes.plot(phase, model(phase), color=_ORANGE, lw=1.2, zorder=3)


def _colour(number: int) -> str:
    return ("#1f4e79", "#1a7f37", "#c0392b", "#8c510a", "#6a3d9a", "#444444")[int(number) % 6]
