"""What to see of a period: the light curve, folded, and the periodogram with what it could be instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.periods.curve import Merged
from virtualobserver.conventions import HOURS_PER_DAY
from virtualobserver.data.curve_panels import MJD
from virtualobserver.data.panels import Axis, Curve, Mark, Series
from virtualobserver.maths.periods.gls import Periodogram
from virtualobserver.maths.periods.rotation import Rotation

__all__ = ["LEAST_FAP", "rotation_panels", "sine_panels"]

LEAST_FAP: Final = 1e-10
"""Below it an analytic chance says nothing but that it is small. Chosen."""

_MARKED: Final = 4
"""Other periods marked in the periodogram; more hide it."""
_MAG: Final = Axis("magnitude, less the mean", "mag", "magnitude")
_PHASE: Final = Axis("phase", limits=(0.0, 2.0))


def rotation_panels(
    merged: Merged, best: Rotation, sessions: NDArray[np.int64], bands: Sequence[str]
) -> list[Series]:
    """Return the rotation of a body: light curve, folded with its series, periodogram with the next best periods.

    Parameters
    ----------
    bands
        Filter of each product.
    """
    shifted = merged.mag - best.offsets[np.unique(sessions, return_inverse=True)[1].ravel()]
    said = f"P = {best.period:.4f} h, {best.harmonics} harmonics, amplitude {best.amplitude:.2f} mag"
    said += f", grade {best.grade}"
    folded = _folded(
        said,
        merged,
        best.phase(merged.hours),
        shifted,
        bands=bands,
        model=lambda phase: best.model(phase % 1.0),
    )
    marks = [Mark("line", x=HOURS_PER_DAY / best.period)]
    marks += [
        Mark(
            "line",
            x=HOURS_PER_DAY / one.period,
            label=one.relation or f"{one.period:.2f} h",
            colour="context",
        )
        for one in best.candidates[1 : 1 + _MARKED]
    ]
    frequency = best.frequency * HOURS_PER_DAY
    power = Curve("", frequency, best.power, style="line", colour="data")
    x = Axis("rotations per day", scale="log", limits=(float(frequency.min()), float(frequency.max())))
    powers = Series("periodogram", x, Axis("variance explained"), [power], marks)
    return [_light(merged, bands, best.period / HOURS_PER_DAY), folded, powers]


def sine_panels(merged: Merged, found: Periodogram, bands: Sequence[str]) -> list[Series]:
    """Return a sine: light curve, folded with it, periodogram with its aliases and the level of 1 % false alarms."""
    peak = found.peak
    phase = ((merged.days - peak.t0) / peak.period) % 1.0
    said = (
        f"P = {peak.period:.6g} d = {peak.period * HOURS_PER_DAY:.6g} h, amplitude {2 * peak.amplitude:.3f} mag, "
        f"FAP {f'< {LEAST_FAP:g}' if peak.fap < LEAST_FAP else f'{peak.fap:.1g}'}"
    )
    folded = _folded(
        said, merged, phase, merged.mag, bands=bands, model=lambda p: peak.model(peak.t0 + p * peak.period)
    )
    marks = [
        Mark("line", x=peak.frequency),
        Mark("line", y=found.level(0.01), label="1 %\nfalse\nalarms", colour="reference"),
        *_aliases(peak.frequency, found.frequency),
    ]
    power = Curve("", found.frequency, found.power, style="line", colour="data")
    powers = Series("periodogram", Axis("frequency", "1/d"), Axis("power"), [power], marks)
    return [_light(merged, bands, peak.period), folded, powers]


def _aliases(best: float, searched: NDArray[np.float64]) -> list[Mark]:
    """Return where else the period may be: a cycle a day beside it, and at its half and its double, of those searched.

    They are called as candidates of a rotation are, see `Candidate`.
    """
    places = {"-1 c/d": abs(best - 1.0), "+1 c/d": best + 1.0, "1/2": best * 2, "2": best / 2}
    low, high = float(searched.min()), float(searched.max())
    return [
        Mark("line", x=at, label=label, colour="context") for label, at in places.items() if low <= at <= high
    ]


def _light(merged: Merged, bands: Sequence[str], period: float) -> Series:
    curves = [
        Curve(
            bands[number], merged.mjd[one], merged.mag[one], merged.error[one], colour=f"band {bands[number]}"
        )
        for number, one in _products(merged)
    ]
    return Series("light curve", MJD, _MAG, curves, fold=period)


def _folded(
    title: str,
    merged: Merged,
    phase: NDArray[np.float64],
    mag: NDArray[np.float64],
    *,
    bands: Sequence[str],
    model: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> Series:
    """Return two cycles, so that what crosses phase 0 is seen whole, and the model on top."""
    curves = []
    for number, one in _products(merged):
        twice = np.concatenate([phase[one], phase[one] + 1.0])
        y, error = np.tile(mag[one], 2), np.tile(merged.error[one], 2)
        curves.append(Curve(bands[number], twice, y, error, colour=f"band {bands[number]}"))
    line = np.linspace(0, 2, 721)
    curves.append(Curve("model", line, model(line), style="line", colour="model"))
    return Series(title, _PHASE, _MAG, curves)


def _products(merged: Merged) -> list[tuple[int, NDArray[np.bool_]]]:
    return [(int(number), merged.product == number) for number in np.unique(merged.product)]
