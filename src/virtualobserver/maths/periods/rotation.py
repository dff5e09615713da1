"""Rotation periods of small bodies: Fourier series with own offsets of sessions (Harris et al. 1989, Icarus 77, 171).

An elongated body shows two maxima in a rotation, its light curve repeats to the hundredth of a magnitude only, and
nights are calibrated apart. Times are hours here, frequencies rotations per hour, as the field has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from virtualobserver.conventions import HOURS_PER_DAY
from virtualobserver.errors import DataError, NotEnoughData

__all__ = ["Candidate", "Rotation", "rotation"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_OVERSAMPLING: Final = 10.0
"""Frequencies per 1 / span; peaks are refined afterwards."""
_COARSE: Final = 3
"""Steps between the frequencies of permuted light curves, which all miss the tops of their peaks alike."""
_REFINED: Final = 21
"""Frequencies of the finer grid, one step of the coarse one to either side."""
_CANDIDATES: Final = 12
"""Peaks that are refined and compared; the right one is among the first five of all light curves tried."""
_SAMPLES: Final = 360
"""Points of the model in a rotation, for its extremes: between two of them the fourth harmonic is lower by 0.06 %."""
_RIPPLE: Final = 0.1
"""A maximum counts if it rises so much of the amplitude above the minima beside it."""
_MOST_MAXIMA: Final = 3
"""A convex body shows two, some three; more is a multiple of the period."""
_RELATED: Final = 0.01
"""Two periods closer than this fraction, or with such a ratio near a small fraction, are of one family."""
_SECURE: Final = 10.0
"""Difference of BIC called decisive (Kass & Raftery 1995, J. Am. Stat. Assoc. 90, 773)."""
_GAP: Final = 0.1
"""Larger gaps in phase leave room for another maximum."""
_FAP: Final = 0.01
"""Above this the light curve is called constant."""
_CORRELATED: Final = 0.9
"""Correlation of neighbours is believed up to here, so that some values are left."""
_FRACTIONS: Final = {"1/2": 0.5, "2": 2.0, "3/2": 1.5, "2/3": 2 / 3}
"""Periods that are taken for each other: by the number of maxima in a rotation, and by what nights leave out."""


@dataclass(frozen=True)
class Candidate:
    """A period of rotation in hours, and how well it does.

    `delta_bic` is how much worse than the best it is (Bayesian information criterion, with the number of independent
    values); `maxima` those of the model in a rotation; `relation` what it is to the best: ``1/2``, ``2``, ``3/2``,
    ``+1 c/d`` (one cycle a day more), or empty.
    """

    period: float
    harmonics: int
    maxima: int
    rms: float
    delta_bic: float
    relation: str = ""


@dataclass(frozen=True, eq=False)
class Rotation:
    """The rotation of a body.

    Parameters
    ----------
    period, period_error
        Hours.
    amplitude
        From the highest to the lowest value of the model where there are values, in their unit.
    harmonics, offsets, coefficients
        Of the series: offsets of the sessions, cosine and sine of each harmonic, phase 0 at the first time.
    grade
        3 secure, 2 likely (half or double the period cannot be excluded, or phases are missing), 1 one of several,
        0 no period: after the quality code U of the Asteroid Lightcurve Database (Warner et al. 2009).
    fap
        Fraction of light curves with the values of each session in random order that have as high a peak.
    candidates
        The best first.
    frequency, power
        The periodogram: rotations per hour, and the fraction of the variance explained by the best series, (m,).
    """

    period: float
    period_error: float
    amplitude: float
    harmonics: int
    offsets: FloatArray
    coefficients: FloatArray
    rms: float
    grade: int
    fap: float
    coverage: float
    candidates: tuple[Candidate, ...]
    frequency: FloatArray
    power: FloatArray
    start: float

    @property
    def secure(self) -> bool:
        """Whether the period can be relied on."""
        return self.grade >= 2

    def phase(self, hours: ArrayLike) -> FloatArray:
        """Return the phase of rotation, 0 to 1, at times in hours."""
        return np.asarray(((np.asarray(hours, dtype=np.float64) - self.start) / self.period) % 1.0)

    def model(self, phase: ArrayLike) -> FloatArray:
        """Return the series at phases of rotation, without offsets."""
        return _series(self.coefficients, np.asarray(phase, dtype=np.float64))


def rotation(
    hours: ArrayLike,
    values: ArrayLike,
    errors: ArrayLike | None = None,
    sessions: ArrayLike | None = None,
    *,
    shortest: float = 1.5,  # chosen: below the 2.2 h of bodies that gravity alone holds together
    longest: float = 60.0,  # chosen: slower ones need more nights
    harmonics: int = 6,  # chosen: more follow the noise of some tens of values
    permutations: int = 99,  # the least probability they can tell is 1 %, that of `_FAP`
    seed: int = 0,
) -> Rotation:
    """Return the rotation period of a body from its light curve.

    Parameters
    ----------
    hours
        Times of the light leaving the body, in hours, shape (n,).
    values, errors
        Magnitudes reduced to unit distances, or any other values; without errors all weigh the same.
    sessions
        Which values share a zero point; by default all.
    shortest, longest
        Periods searched, in hours; the lower is about that of bodies held together by gravity alone (2.2 h).
    harmonics
        The largest number; how many are used says the BIC.
    permutations
        Light curves of random order within sessions that the false-alarm probability comes from.

    Raises
    ------
    NotEnoughData
        If there are fewer values than a series with two harmonics and its offsets has parameters, and two more.
    DataError
        If values are not finite, errors not positive, or the longest period is shorter than the shortest.

    Notes
    -----
    Of half, single and double period the data often prefer the half by its fewer harmonics; a series with one maximum
    in a rotation is therefore taken twice, which is what an elongated body does. Series with more than three maxima are
    multiples. Neighbouring residuals agree more than errors do, so differences of BIC are those of as many values as
    are independent.
    """
    data = _Data.of(hours, values, errors, sessions)
    if not 0 < shortest < longest:
        msg = f"no period lies between {shortest:g} h and {longest:g} h"
        raise DataError(msg)
    span = float(np.ptp(data.t))
    step = 1 / (max(span, longest) * _OVERSAMPLING)
    grid = np.arange(1 / longest, 1 / shortest + step / 2, step)
    most = min(harmonics, (data.t.size - data.number - 2) // 2 - 1)
    gain = data.gain(grid, most)
    fits = _candidates(data, grid, gain, (1 / longest, 1 / shortest), step)
    best = _chosen(fits)
    fap = _permuted(data, grid, permutations, seed)
    return _described(data, best, fits, fap=fap, grid=grid, gain=gain, step=step)


# --- inside -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Fit:
    """A series at one frequency: BIC with all values independent."""

    frequency: float
    harmonics: int
    bic: float
    coefficients: FloatArray
    offsets: FloatArray
    residual: FloatArray
    maxima: int
    amplitude: float


@dataclass(frozen=True, eq=False)
class _Data:
    """Values less the means of their sessions."""

    t: FloatArray
    y: FloatArray
    w: FloatArray
    session: IntArray
    means: FloatArray
    start: float

    @classmethod
    def of(
        cls, hours: ArrayLike, values: ArrayLike, errors: ArrayLike | None, sessions: ArrayLike | None
    ) -> _Data:
        t, y = (np.asarray(a, dtype=np.float64).ravel() for a in (hours, values))
        sigma = np.ones_like(y) if errors is None else np.asarray(errors, dtype=np.float64).ravel()
        names = np.zeros(y.size, np.int64) if sessions is None else np.asarray(sessions).ravel()
        if not t.size == y.size == sigma.size == names.size:
            msg = f"{t.size} times, {y.size} values, {sigma.size} errors, {names.size} sessions; give as many of each"
            raise DataError(msg)
        if not np.all(np.isfinite(t) & np.isfinite(y) & np.isfinite(sigma) & (sigma > 0)):
            msg = "times and values must be finite and errors above 0; leave the others out"
            raise DataError(msg)
        unique, session = np.unique(names, return_inverse=True)
        session = session.ravel().astype(np.int64)
        if t.size < 2 * 2 + unique.size + 2:
            msg = f"{t.size} values in {unique.size} sessions are too few for a period of rotation"
            raise NotEnoughData(msg)
        w = sigma**-2 / np.mean(sigma**-2)
        means = np.bincount(session, w * y) / np.bincount(session, w)
        return cls(t - t.min(), y - means[session], w, session, means, float(t.min()))

    @property
    def number(self) -> int:
        return self.means.size

    @property
    def total(self) -> float:
        return float(self.w @ self.y**2)

    def gain(self, frequencies: FloatArray, harmonics: int, y: FloatArray | None = None) -> FloatArray:
        from virtualobserver.maths.periods.series_kernel import series_gain

        values = np.atleast_2d(self.y if y is None else y)
        found = series_gain((self.t, self.w, self.session), values, frequencies, harmonics)
        return found[0] if y is None else found

    def bic(self, gain: FloatArray) -> FloatArray:
        """Return the criterion for 1, 2 … harmonics (last axis)."""
        n = self.t.size
        parameters = 2 * np.arange(1, gain.shape[-1] + 1) + self.number + 1
        left = np.clip(self.total - gain, 1e-12 * self.total, None)
        return np.asarray(n * np.log(left / n) + parameters * np.log(n))

    def fit(self, frequency: float, harmonics: int) -> _Fit:
        """Return the series with its coefficients."""
        angle = 2 * np.pi * frequency * self.t
        orders = np.arange(1, harmonics + 1)
        waves = np.concatenate([np.cos(np.outer(orders, angle)), np.sin(np.outer(orders, angle))])
        design = np.vstack([waves, self.session == np.arange(self.number)[:, None]]).T
        root = np.sqrt(self.w)
        solved = np.linalg.lstsq(design * root[:, None], self.y * root, rcond=None)[0]
        residual = self.y - design @ solved
        coefficients = solved[: 2 * harmonics].reshape(2, harmonics)
        gain = self.total - float(self.w @ residual**2)
        seen = waves.T @ solved[: 2 * harmonics]
        bic = float(self.bic(np.full(harmonics, gain))[-1])
        return _Fit(
            frequency, harmonics, bic, coefficients, self.means + solved[2 * harmonics :], residual,
            _maxima(coefficients, seen), float(np.ptp(seen)),
        )  # fmt: skip


def _series(coefficients: FloatArray, phase: FloatArray) -> FloatArray:
    angle = 2 * np.pi * np.multiply.outer(phase, np.arange(1, coefficients.shape[1] + 1))
    return np.asarray(np.cos(angle) @ coefficients[0] + np.sin(angle) @ coefficients[1])


def _maxima(coefficients: FloatArray, seen: FloatArray) -> int:
    """Return how many maxima a rotation shows, those that stand out.

    `seen` is the series at the times of the values: between them, in a gap of phase, it may go anywhere.
    """
    curve = np.clip(_series(coefficients, np.arange(_SAMPLES) / _SAMPLES), seen.min(), seen.max())
    depth = _RIPPLE * float(np.ptp(curve))
    curve = np.roll(curve, -int(np.argmin(curve)))
    number, low, high, rising = 0, curve[0], curve[0], True
    for value in np.append(curve, curve[0]):
        if rising:
            high = max(high, value)
            if value < high - depth:
                number, rising, low = number + 1, False, value
        else:
            low = min(low, value)
            if value > low + depth:
                rising, high = True, value
    return max(number, 1)


def _candidates(
    data: _Data, grid: FloatArray, gain: FloatArray, ends: tuple[float, float], step: float
) -> list[_Fit]:
    """Return the best peaks, refined, and the doubles of those with one maximum."""
    bic = data.bic(gain)
    lowest, found = bic.min(axis=1), []
    apart = 1.5 / max(float(np.ptp(data.t)), 1 / grid[0])
    for _ in range(_CANDIDATES):
        top = int(np.argmin(lowest))
        if not np.isfinite(lowest[top]):
            break
        found.append(_refined(data, float(grid[top]), int(np.argmin(bic[top])) + 1, step))
        lowest[np.abs(grid - grid[top]) < apart] = np.inf
    doubles = [
        _refined(data, one.frequency / 2, min(2 * one.harmonics, gain.shape[1]), step)
        for one in found
        if one.maxima == 1 and one.frequency / 2 >= ends[0]
    ]
    return sorted(found + doubles, key=lambda one: one.bic)


def _refined(data: _Data, frequency: float, harmonics: int, step: float) -> _Fit:
    """Return the best series within a step of the frequency."""
    fine = frequency + step * np.linspace(-1, 1, _REFINED)
    bic = data.bic(data.gain(fine, harmonics))[:, -1]
    top = int(np.argmin(bic))
    if 0 < top < fine.size - 1:
        a, b, c = bic[top - 1 : top + 2]
        bend = a - 2 * b + c
        shift = 0.5 * (a - c) / bend if bend > 0 else 0.0
        return data.fit(float(fine[top] + shift * (fine[1] - fine[0])), harmonics)
    return data.fit(float(fine[top]), harmonics)


def _chosen(fits: list[_Fit]) -> _Fit:
    """Return the best series that a body may show: two maxima, or three, else the best of all."""
    likely = [one for one in fits if 1 < one.maxima <= _MOST_MAXIMA]
    return min(likely or fits, key=lambda one: one.bic)


def _permuted(data: _Data, grid: FloatArray, number: int, seed: int) -> float:
    """Return how often values in random order within their sessions have a higher peak, with two harmonics."""
    if not number:
        return float("nan")
    rng = np.random.default_rng([seed, number])
    trials = np.empty((number + 1, data.t.size))
    trials[0] = data.y
    parts = [np.flatnonzero(data.session == one) for one in range(data.number)]
    for trial in trials[1:]:
        for part in parts:
            trial[part] = data.y[rng.permutation(part)]
    highest = data.gain(grid[::_COARSE], 2, trials)[:, :, -1].max(axis=1)
    return float(np.sum(highest >= highest[0]) / (number + 1))


def _independent(residual: FloatArray, session: IntArray) -> float:
    """Return the fraction of the values that are independent, from the correlation of neighbours."""
    same = session[1:] == session[:-1]
    a, b = residual[:-1][same], residual[1:][same]
    power = float(np.sqrt((a @ a) * (b @ b)))
    correlation = min(max(float(a @ b) / power if power > 0 else 0.0, 0.0), _CORRELATED)
    return (1 - correlation) / (1 + correlation)


def _described(
    data: _Data, best: _Fit, fits: list[_Fit], *, fap: float, grid: FloatArray, gain: FloatArray, step: float
) -> Rotation:
    order = np.argsort(data.t, kind="stable")
    share = _independent(best.residual[order], data.session[order])
    candidates = _table(best, fits, share, 1.5 * step * _OVERSAMPLING)
    phase = np.sort((data.t * best.frequency) % 1.0)
    coverage = 1 - float(np.max(np.diff(phase, append=phase[0] + 1)))
    rms = float(np.sqrt(data.w @ best.residual**2 / data.w.sum()))
    return Rotation(
        period=1 / best.frequency, period_error=_error(data, best, step, share) / best.frequency**2,
        amplitude=best.amplitude, harmonics=best.harmonics, offsets=best.offsets,
        coefficients=best.coefficients, rms=rms, grade=_grade(best, candidates, fap, coverage), fap=fap,
        coverage=coverage, candidates=candidates, frequency=grid, power=gain[:, -1] / data.total,
        start=data.start,
    )  # fmt: skip


def _error(data: _Data, best: _Fit, step: float, share: float) -> float:
    """Return where chi squared is one higher, from its curvature, with so many independent values."""
    width = step / _OVERSAMPLING
    near = best.frequency + width * np.array([-1.0, 0.0, 1.0])
    left = data.total - data.gain(near, best.harmonics)[:, -1]
    bend = float(left[0] - 2 * left[1] + left[2]) / width**2
    noise = float(data.w @ best.residual**2) / (data.t.size * share)
    return float(np.sqrt(2 * noise / bend)) if bend > 0 else float("nan")


def _table(best: _Fit, fits: list[_Fit], share: float, apart: float) -> tuple[Candidate, ...]:
    """Return the best and the others, each peak once, named by what they are to it."""
    rows: list[Candidate] = []
    taken: list[float] = []
    for one in (best, *fits):
        if any(abs(one.frequency - other) < apart for other in taken):
            continue
        taken.append(one.frequency)
        rows.append(
            Candidate(
                1 / one.frequency, one.harmonics, one.maxima, float(np.std(one.residual)),
                (one.bic - best.bic) * share, _relation(1 / one.frequency, 1 / best.frequency),
            )
        )  # fmt: skip
    return (rows[0], *sorted(rows[1:], key=lambda row: row.delta_bic))


def _relation(period: float, best: float) -> str:
    """Return what a period is to the best."""
    for name, ratio in _FRACTIONS.items():
        if abs(period / best / ratio - 1) < _RELATED:
            return name
    cycles = HOURS_PER_DAY * (1 / period - 1 / best)
    for number in (1.0, 2.0, 0.5, 1.5):  # halves: two maxima a rotation
        if abs(abs(cycles) - number) < _RELATED:
            return f"{'+' if cycles > 0 else '-'}{number:g} c/d"
    return ""


def _grade(best: _Fit, candidates: tuple[Candidate, ...], fap: float, coverage: float) -> int:
    """Return how much the period is worth; see `Rotation`."""
    if fap > _FAP:
        return 0
    close = [row for row in candidates[1:] if row.delta_bic < _SECURE]
    if any(row.relation not in {"1/2", "2"} for row in close):
        return 1
    sure = not close and coverage >= 1 - _GAP and best.maxima > 1
    return 3 if sure else 2
