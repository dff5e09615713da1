"""Events of any length in light curves of several bands and fields: the window that stands out most.

Every window of rows, from two epochs to half of the time, is weighed against the quiet level that the other rows
have, a level for each series, an amplitude for each band. It takes time in proportion to rows times durations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = ["Curves", "Screened", "chance", "event_sigma", "nights", "screen"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CAP: Final = 4.0
"""Sigma at which a single epoch is cut when windows are weighed, so that no one epoch makes an event of several: two
epochs of 4 sigma reach 5.7 together, one wild epoch and a usual one do not reach 5."""
RATIO: Final = 2.0**0.5
"""Step of the durations; an event between two of them loses less than a tenth of its significance."""
NIGHT_PAUSE: Final = 0.4
"""Days without an epoch that part two nights; no site has a shorter day for long."""
NIGHT_LENGTH: Final = 0.6
"""Days after which another night begins where the Sun does not rise, or in space."""
TRIALS: Final = 2.7
"""Independent windows of a row, times the root of the number of bands. Measured: 600 quiet stars each of 60 to 2000
epochs in one to three bands gave 1.5 to 3.5 at chances of 0.5 to 0.01."""


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """All epochs of one or more stars, each star's in order of time; star i is rows ``edges[i]`` to ``edges[i + 1]``.

    Of shape (rows,): time (d), flux and its variance in any unit, number of the series (what shares a quiet level) and
    of the band within the star, number of the night. Of shape (stars,): numbers of series and of bands, and whether
    the quiet level is known to be zero and the noise as stated, as in difference images.
    """

    edges: IntArray
    t: FloatArray
    flux: FloatArray
    variance: FloatArray
    series: IntArray
    band: IntArray
    night: IntArray
    n_series: IntArray
    n_bands: IntArray
    known: BoolArray

    def rows(self, star: int) -> slice:
        """Rows of one star."""
        return slice(int(self.edges[star]), int(self.edges[star + 1]))

    def star(self, number: int) -> Curves:
        """Return one star alone."""
        rows, one = self.rows(number), slice(number, number + 1)
        edges = np.array([0, rows.stop - rows.start])
        return Curves(
            edges,
            self.t[rows],
            self.flux[rows],
            self.variance[rows],
            self.series[rows],
            self.band[rows],
            self.night[rows],
            self.n_series[one],
            self.n_bands[one],
            self.known[one],
        )

    def where(self, chosen: BoolArray) -> Curves:
        """Return the chosen rows of all stars; numbers stay."""
        edges = np.concatenate(([0], np.cumsum(chosen)))[self.edges]
        return Curves(
            edges,
            self.t[chosen],
            self.flux[chosen],
            self.variance[chosen],
            self.series[chosen],
            self.band[chosen],
            self.night[chosen],
            self.n_series,
            self.n_bands,
            self.known,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """What a pass over the stars measured.

    Of shape (rows,): residuals from the quiet level and variances. Of each star the variance that a night's epochs
    share, the statistics of the best brightening and dip, shape (stars, 2), and their windows, shape (stars, 2, 2):
    first row and end, counted within the star.
    """

    residual: FloatArray
    variance: FloatArray
    shared: FloatArray
    best: FloatArray
    window: IntArray


def nights(edges: IntArray, t: FloatArray) -> IntArray:
    """Return the number of the night of each row, counted within its star."""
    from virtualobserver.maths.lightcurves.windows_kernel import count_nights

    return count_nights(edges, t, NIGHT_PAUSE, NIGHT_LENGTH)


def screen(curves: Curves) -> Screened:
    """Measure quiet level and noise of each star, and find the windows that stand out most.

    The statistic of a window is the sum over bands of the squared significance of the amplitude, bands of the other
    sign left out. Noise is the stated one and what each band scatters beyond it; epochs of one night share a part.
    """
    from virtualobserver.maths.lightcurves import windows_kernel

    found = windows_kernel.screen(
        curves.edges,
        curves.t,
        curves.flux,
        curves.variance,
        curves.series,
        curves.n_series,
        curves.band,
        curves.n_bands,
        curves.night,
        curves.known,
        CAP,
        _shortest(curves),
        RATIO,
    )
    return Screened(*found)


def _shortest(curves: Curves) -> FloatArray:
    """Return the shortest pause of each star, from which durations start; a minute at least."""
    least = np.full(curves.edges.size - 1, np.inf)
    filled = np.diff(curves.edges) > 0
    if not filled.any():
        return np.ones(least.size)
    pause = np.diff(curves.t, append=np.inf)
    pause[curves.edges[1:][filled] - 1] = np.inf
    pause[pause <= 0] = np.inf
    least[filled] = np.minimum.reduceat(pause, curves.edges[:-1][filled])
    # a hundredth more, that rounding parts no two neighbours; 1 / 1440 d is a minute
    return np.where(np.isfinite(least), np.maximum(1.01 * least, 1.0 / 1440.0), 1.0)


def _log_tail(statistic: float, bands: int) -> float:
    """Return ln of the chance that one window of pure noise reaches a statistic, in one direction."""
    logs = []
    for one in range(1, bands + 1):
        weight = special.binom(bands, one) / 2.0**bands
        tail = float(special.gammaincc(0.5 * one, 0.5 * statistic))
        if tail > 0.0:
            logs.append(np.log(weight * tail))
        else:  # the leading term of the incomplete gamma function
            half = 0.5 * statistic
            logs.append(np.log(weight) + (0.5 * one - 1.0) * np.log(half) - half - special.gammaln(0.5 * one))
    return float(np.logaddexp.reduce(logs))


def event_sigma(statistic: float, bands: int) -> float:
    """Return the deviation of a normal distribution that is as rare as this statistic of so many bands."""
    if not statistic > 0:
        return 0.0
    tail = _log_tail(statistic, bands)
    if tail > -500.0:  # below it the inverse has no digits left, and its asymptotic series all
        return max(float(-special.ndtri_exp(tail)), 0.0)
    return float(np.sqrt(-2.0 * tail - np.log(-4.0 * np.pi * tail)))


def chance(statistic: float, bands: int, rows: int) -> float:
    """Return the chance that the best of all windows of a quiet star, in either direction, reaches a statistic."""
    if not statistic > 0:
        return 1.0
    trials = 2.0 * TRIALS * max(rows, 1) / bands**0.5
    one = min(float(np.exp(_log_tail(statistic, bands))), 1.0 - 1e-12)
    return float(-np.expm1(trials * np.log1p(-one)))
