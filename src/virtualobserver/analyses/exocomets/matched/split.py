"""Which exposures are quiet, where a comet is there in half of the nights or more, or in one of two.

Against the mean of the other nights such a comet shows as emission of the quiet ones. No gas emits, so where one
velocity explains what goes up, the upper level of two is the star and the lower one the comet. What goes up at other
velocities too, or has no upper level that exposures agree on, is the star's own variation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

__all__ = ["Amplitudes", "quiet_votes"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_AGREE: Final = 0.001
"""Probability of the scatter of quiet exposures from which on they agree: their errors are known to some per cent."""
_LEAST_QUIET: Final = 0.15
"""Part of the nights that must be quiet: one bright night among many is no star whose comet was away once."""
_LEAST_SPECTRA: Final = 3
"""Exposures of a single quiet night, so that there is an agreement of them; of a star that other nights have shown,
one fewer."""
_SCALE: Final = 0.02
"""Of the difference between levels, within which exposures agree: continua and zero levels are known to about that."""
_FEW: Final = 3
"""Nights of which one alone may be the quiet one."""


@dataclass(frozen=True, slots=True)
class Amplitudes:
    """Depth of a template in each exposure, its error, and the vote (night) that it belongs to."""

    depth: FloatArray
    error: FloatArray
    vote: IntArray

    def of(self, chosen: NDArray[np.bool_]) -> Amplitudes:
        """Return those of some exposures."""
        return Amplitudes(self.depth[chosen], self.error[chosen], self.vote[chosen])


def quiet_votes(amplitudes: Amplitudes, *, least: float, known: bool = False) -> IntArray | None:
    """Return the votes of the upper of two levels; None where the exposures do not split so.

    Parameters
    ----------
    least
        Standard deviations of a single exposure by which the levels must differ.
    known
        Whether there are nights besides, in another state of the instrument.
    """
    votes = np.unique(amplitudes.vote)
    weight = 1.0 / amplitudes.error**2
    power = np.array([weight[amplitudes.vote == one].sum() for one in votes])
    depth = np.array(
        [(weight * amplitudes.depth)[amplitudes.vote == one].sum() for one in votes]
    ) / np.maximum(power, 1e-30)
    order = votes[np.argsort(depth, kind="stable")]
    spectra = _LEAST_SPECTRA - 1 if known else _LEAST_SPECTRA
    floor = _SCALE * float(np.ptp(depth))
    for count in range(votes.size - 1, 0, -1):
        quiet = np.isin(amplitudes.vote, order[:count])
        if not _agree(amplitudes, quiet, floor):
            continue
        if count < max(_LEAST_QUIET * votes.size, 1):
            return None
        if count == 1 and (votes.size > _FEW or np.count_nonzero(quiet) < spectra):
            return None
        return order[:count] if _apart(amplitudes, quiet, least) else None
    return None


def _level(amplitudes: Amplitudes, chosen: NDArray[np.bool_]) -> tuple[float, float]:
    weight = 1.0 / amplitudes.error[chosen] ** 2
    return float((weight * amplitudes.depth[chosen]).sum() / weight.sum()), float(weight.sum() ** -0.5)


def _agree(amplitudes: Amplitudes, chosen: NDArray[np.bool_], floor: float) -> bool:
    level, _ = _level(amplitudes, chosen)
    excess = ((amplitudes.depth[chosen] - level) / np.hypot(amplitudes.error[chosen], floor)) ** 2
    return bool(chi2.sf(float(excess.sum()), max(int(np.count_nonzero(chosen)) - 1, 1)) > _AGREE)


def _apart(amplitudes: Amplitudes, quiet: NDArray[np.bool_], least: float) -> bool:
    """Whether the others lie lower, each of them, and significantly."""
    upper, error = _level(amplitudes, quiet)
    lower, other = _level(amplitudes, ~quiet)
    above = (amplitudes.depth[~quiet] - upper) / amplitudes.error[~quiet] < -3.0
    single = max(float(np.median(amplitudes.error)), float(np.hypot(error, other)))
    return lower - upper > least * single and not above.any()


def share_name(absorbed: Sequence[int], votes: int) -> str:
    """Return how many nights a comet stands before the star, in a word."""
    share = len(absorbed) / max(votes, 1)
    return "few" if share < 0.4 else "half" if share <= 0.6 else "most"  # words only; chosen
