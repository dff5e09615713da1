"""The period of a star that varies of itself, if it has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.maths.periods.gls import gls

__all__ = ["Cycle", "cycle"]

FloatArray = NDArray[np.float64]

FASTEST: Final = 12.0
"""Cycles a day: half the period of the shortest contact binaries is 0.1 d, at which they vary."""
LEAST_CYCLES: Final = 5.0
"""Cycles in the span from which variation counts as periodic: walks go up and down two or three times by chance."""
CHANCE: Final = 1e-6
"""Of white noise, below which a period is told; what is slow or irregular is far from white, and has powers to pass."""
MOST: Final = 0.5
"""Part of the variance that a sine explains of what is periodic: walks leave more of it."""
ALIAS: Final = 0.85
"""Of the highest power, that a slow sine has where it is the cause and the fast one its alias by the night."""
_OVERSAMPLING: Final = 4.0
"""The power of a peak is then met to a twentieth, and its frequency is refined."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """A period (d), its error, and the part of the variance that a sine of it explains."""

    period: float
    error: float
    power: float

    @property
    def steady(self) -> bool:
        """Whether it is most of what the star does."""
        return self.power >= MOST


def cycle(t: FloatArray, flux: FloatArray, variance: FloatArray) -> Cycle | None:
    """Return the period of rows in order of time (d), shape (n,) each, or None where there is none.

    The sine's period is told: of two equal minima in a cycle that is half of it. Visits once a night leave aliases;
    where a slow sine explains about as much, it is taken for the cause.
    """
    span = float(np.ptp(t)) if t.size else 0.0
    if t.size < 20 or not span > 0 or not np.ptp(flux) > 0:
        return None
    found = gls(
        t,
        flux,
        np.sqrt(variance),
        minimum=0.5 / span,
        maximum=FASTEST,
        oversampling=_OVERSAMPLING,
        refine=True,
    )
    peak = found.peak
    slow = found.frequency < LEAST_CYCLES / span
    if (
        peak.frequency * span < LEAST_CYCLES
        or np.fmax.reduce(found.power[slow], initial=0.0) > ALIAS * peak.power
    ):
        return None
    if found.bound(peak.power) > CHANCE:
        return None
    return Cycle(peak.period, peak.period_error, peak.power)
