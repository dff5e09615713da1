"""Short pulses and dips along trails: a bank of forms, all trails of a CCD at once, with probabilities that hold.

Each form is drawn out by the image of the star (`bank`), its mean taken off with the weights of the samples, and
compared with the samples at two times a sample. Samples that are masked weigh nothing. With relative flux ``r``,
weights ``w`` and form ``T``, both less their weighted mean, ``S = sum(w r T) / sqrt(sum(w T²))`` is normal with width 1
where there is nothing, and ``sum(w r T) / sum(w T²)`` is the amplitude.

The largest of many S of one trail is not normal. How it is distributed is measured on noise of the same number of
samples (`null_of`): ``P(< S) = (1 - Q(S)) ** N``, where N is some 20 to 40 and grows slowly with S. If an exposure has
enough trails, they say by how much their own noise is wider.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr

from virtualobserver.errors import DataError
from virtualobserver.maths.trails.bank import BANK, Template, spread

__all__ = ["Best", "Null", "TrailSearch", "null_of", "search_trails", "significance"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FEWEST_SAMPLES: Final = 8
"""Good samples of a trail that is searched: a form of 4 s leaves some of its surroundings."""
CALIBRATING: Final = 200
"""Trails from which the width of an exposure's noise is known to 2 %."""
_PER_STEP: Final = 2
"""Times at which an event is looked for, in each sample."""
_COVERED: Final = 0.5
"""Of the square of a form that must lie on good samples."""
_LEFT: Final = 0.15
"""Of the square of a form that must be left when its mean is taken off: of a form as long as the trail little is."""
_LOUD: Final = 4.0
"""S above which an event is taken away before the other sign is looked for: one trail of noise in a thousand."""
_TRIALS: Final = 10_000
"""Trails of noise from which the null distribution is measured; N is then known to some per cent."""
_AT_ONCE: Final = 500
"""Trails searched at once: by 113 times and all forms they are some MB, and a dozen of such arrays are needed."""


@dataclass(frozen=True, eq=False)
class Best:
    """The strongest event of one sign of each trail, arrays of one length.

    Parameters
    ----------
    statistic
        S, above 0 for what was looked for; 0 where a trail cannot be searched. Divided by `TrailSearch.scale`.
    amplitude, amplitude_error
        Height of the form before it is drawn out, in the mean light of the star; negative for dips.
    time, time_error
        Of its middle, and by how much it may be off, s.
    duration
        Full width at half maximum of the form, s.
    shape
        Number of the form in the bank.
    p_trail, p_global
        Chance that noise has such an event in one trail; in any of all trails.
    control
        The strongest S of the other sign in the same trail, which noise makes as often.
    coverage
        Share of the form on good samples.
    chi2, dof
        Of the samples less mean and form.
    """

    statistic: FloatArray
    amplitude: FloatArray
    amplitude_error: FloatArray
    time: FloatArray
    time_error: FloatArray
    duration: FloatArray
    shape: IntArray
    p_trail: FloatArray
    p_global: FloatArray
    control: FloatArray
    coverage: FloatArray
    chi2: FloatArray
    dof: IntArray


@dataclass(frozen=True, eq=False)
class TrailSearch:
    """What was found in all trails.

    Parameters
    ----------
    pulses, dips
        The strongest of each trail.
    n_good
        Good samples of each trail.
    searched
        Whether it has enough.
    scale
        Width of the noise of these trails over that of their errors, 1 or above; all S are divided by it.
    calibrated
        Whether that was measured.
    null
        How the largest S of a trail is distributed.
    """

    pulses: Best
    dips: Best
    n_good: IntArray
    searched: NDArray[np.bool_]
    scale: float
    calibrated: bool
    null: Null


@dataclass(frozen=True, eq=False)
class Null:
    """Distribution of the largest S of a trail: ``(1 - Q(S)) ** N(S)``.

    Parameters
    ----------
    level, number
        S and N as measured; between them N is interpolated.
    offset, slope
        ``N = offset + slope S`` above the last of them, as the rate at which Gaussian noise crosses a level asks for.
    median
        Of S.
    """

    level: FloatArray
    number: FloatArray
    offset: float
    slope: float
    median: float

    def trials(self, statistic: ArrayLike) -> FloatArray:
        """Return N, the number of independent places of a trail."""
        value = np.asarray(statistic, float)
        within = np.interp(value, self.level, self.number)
        beyond = np.maximum(self.offset + self.slope * value, self.number[-1])
        return np.asarray(np.where(value <= self.level[-1], within, beyond))

    def chance(self, statistic: ArrayLike, trails: float = 1.0) -> FloatArray:
        """Return the chance that noise exceeds `statistic` in any of so many trails."""
        value = np.asarray(statistic, float)
        return np.asarray(-np.expm1(self.trials(value) * trails * log_ndtr(value)))


def search_trails(
    relative: ArrayLike,
    error: ArrayLike,
    start: ArrayLike,
    *,
    step: float,
    sigma: float,
    good: ArrayLike | None = None,
    bank: Sequence[Template] = BANK,
    calibrate: bool = True,
) -> TrailSearch:
    """Look for the strongest pulse and the strongest dip of every trail.

    Parameters
    ----------
    relative, error
        Flux over the star's mean and over what all stars do together, and its error, shape (n, samples). What is not
        finite is left out.
    start
        Time of the first sample of each trail, s, shape (n,).
    step
        From one sample to the next, s.
    sigma
        Standard deviation of the image of a star along its trail, s: pixels over pixels/s.
    good
        Samples to be used, shape (n, samples).
    bank
        Forms.
    calibrate
        Measure the width of the noise, if there are enough trails.

    Raises
    ------
    DataError
        If the shapes do not fit, or there is no form.
    """
    flux, noise, first = (np.asarray(one, float) for one in (relative, error, start))
    if flux.ndim != 2 or flux.shape != noise.shape or first.shape != flux.shape[:1] or not bank:
        msg = (
            f"trails are searched in fluxes and errors of shape (trails, samples) with a start each, for one form at "
            f"least, not in {flux.shape}, {noise.shape}, {first.shape} for {len(bank)} forms"
        )
        raise DataError(msg)
    usable = np.isfinite(flux) & np.isfinite(noise) & (noise > 0)
    if good is not None:
        usable &= np.asarray(good, bool)
    return _search((flux, noise, usable), first, step, sigma, tuple(bank), calibrate=calibrate)


def significance(
    relative: ArrayLike,
    error: ArrayLike,
    good: ArrayLike,
    *,
    step: float,
    sigma: float,
    bank: Sequence[Template] = BANK,
) -> tuple[FloatArray, FloatArray]:
    """Return times after the first sample of a trail (s), and S of each form there.

    Parameters
    ----------
    relative, error, good
        Of one trail, shape (samples,).
    step, sigma, bank
        As for `search_trails`, whose statistic this is before it is divided by the width of the noise.

    Returns
    -------
    times, statistic
        Shape (2 samples - 1,) and (forms, 2 samples - 1); NaN where a form cannot be tried.
    """
    flux, noise = (np.atleast_2d(np.asarray(one, float)) for one in (relative, error))
    usable = np.atleast_2d(np.asarray(good, bool)) & np.isfinite(flux) & np.isfinite(noise) & (noise > 0)
    forms = _Forms.of(tuple(bank), flux.shape[1], step, sigma)
    tried = _tried(forms, flux, noise, usable)
    statistic = np.where(tried.able, tried.statistic, np.nan).reshape(len(forms.bank), forms.n_times)
    return np.arange(forms.n_times) * step / _PER_STEP, statistic


def null_of(bank: tuple[Template, ...], *, samples: int, step: float, sigma: float) -> Null:
    """Return the distribution of the largest S of a trail of noise, measured on 10,000 of them with both signs.

    It changes slowly with `step` and `sigma`, which are rounded to 0.01 and 0.05 s, so that many CCDs share one.

    Parameters
    ----------
    bank, step, sigma
        As for `search_trails`.
    samples
        Good ones of a trail.
    """
    return _null(bank, max(samples, FEWEST_SAMPLES), round(step, 2), 0.05 * round(sigma / 0.05))


# --- inside -----------------------------------------------------------------------------------------------


def _search(
    samples: tuple[FloatArray, FloatArray, NDArray[np.bool_]], first: FloatArray, step: float, sigma: float,
    bank: tuple[Template, ...], *, calibrate: bool,
) -> TrailSearch:  # fmt: skip
    """Search trails of fluxes, errors and which of them are usable."""
    flux, noise, usable = samples
    n_good = usable.sum(axis=1)
    searched = n_good >= FEWEST_SAMPLES
    usable &= searched[:, None]
    forms = _Forms.of(bank, flux.shape[1], step, sigma)
    columns = _all_searched(forms, flux, noise, usable)
    typical = int(np.median(n_good[searched])) if searched.any() else 0
    null = null_of(bank, samples=typical, step=step, sigma=sigma)
    scale, calibrated = 1.0, False
    if calibrate and searched.sum() >= CALIBRATING:
        # the median of both signs: no event moves it; before anything strong was taken out, as wide noise seems strong
        both = np.concatenate([columns[sign]["whole"][searched] for sign in (1, -1)])
        scale, calibrated = max(float(np.median(both)) / null.median, 1.0), True
    found = {
        sign: _best(
            columns[sign], columns[-sign]["statistic"], first, bank=bank, step=step, scale=scale, null=null,
            trails=int(searched.sum()),
        )
        for sign in (1, -1)
    }  # fmt: skip
    return TrailSearch(found[1], found[-1], n_good, searched, scale, calibrated, null)


@dataclass(frozen=True, eq=False)
class _Forms:
    """All forms at all times: ``value`` of shape (forms times, samples), its square, and their sums without masks."""

    value: FloatArray
    square: FloatArray
    whole: FloatArray
    n_times: int
    bank: tuple[Template, ...]

    @classmethod
    def of(cls, bank: tuple[Template, ...], samples: int, step: float, sigma: float) -> _Forms:
        times = np.arange((samples - 1) * _PER_STEP + 1)
        place = (np.arange(samples) * _PER_STEP)[None, :] - times[:, None]
        value, whole = [], []
        for template in bank:
            line = spread(template, step=step, sigma=sigma, reach=samples, per_step=_PER_STEP)
            value.append(line[place + samples * _PER_STEP])
            whole.append(np.full(len(times), float(np.sum(line[::_PER_STEP] ** 2))))
        stacked = np.concatenate(value)
        return cls(stacked, stacked**2, np.concatenate(whole), len(times), bank)


@dataclass(frozen=True, eq=False)
class _Tried:
    """All forms at all times in some trails, shape (n, forms times), and chi² without any, shape (n,)."""

    statistic: FloatArray
    top: FloatArray
    safe: FloatArray
    covered: FloatArray
    able: NDArray[np.bool_]
    chi2: FloatArray


def _tried(forms: _Forms, flux: FloatArray, noise: FloatArray, usable: NDArray[np.bool_]) -> _Tried:
    weight = np.where(usable, 1 / np.where(usable, noise, 1.0) ** 2, 0.0)
    total = np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    mean = (weight * np.where(usable, flux, 0.0)).sum(axis=1, keepdims=True) / total
    rest = np.where(usable, flux - mean, 0.0)
    top = (weight * rest) @ forms.value.T
    plain = weight @ forms.square.T
    info = plain - (weight @ forms.value.T) ** 2 / total
    covered = usable.astype(float) @ forms.square.T / forms.whole
    able = (covered >= _COVERED) & (info > _LEFT * plain)
    safe = np.where(able, info, 1.0)
    return _Tried(
        np.where(able, top / np.sqrt(safe), 0.0), top, safe, covered, able, (weight * rest**2).sum(axis=1)
    )


def _all_searched(
    forms: _Forms, flux: FloatArray, noise: FloatArray, usable: NDArray[np.bool_]
) -> dict[int, dict[str, FloatArray]]:
    """Return, for each sign, the strongest event of all trails, some thousand of them at once."""
    parts = [
        _searched(forms, flux[at : at + _AT_ONCE], noise[at : at + _AT_ONCE], usable[at : at + _AT_ONCE])
        for at in range(0, max(len(flux), 1), _AT_ONCE)
    ]
    return {
        sign: {name: np.concatenate([part[sign][name] for part in parts]) for name in parts[0][sign]}
        for sign in (1, -1)
    }


def _searched(
    forms: _Forms, flux: FloatArray, noise: FloatArray, usable: NDArray[np.bool_]
) -> dict[int, dict[str, FloatArray]]:
    """Return, for each sign, the strongest event of some trails; places count from the first sample.

    What is left of a strong event's mean looks like one of the other sign: that is looked for without the event.
    """
    found = _strongest(forms, flux, noise, usable)
    for one in found.values():
        one["whole"] = one["statistic"].copy()
    for sign in (1, -1):
        mine = found[sign]
        loud = np.flatnonzero((mine["statistic"] > _LOUD) & (mine["statistic"] >= found[-sign]["statistic"]))
        if len(loud) == 0:
            continue
        place = mine["form"][loud].astype(int) * forms.n_times + np.rint(mine["place"][loud]).astype(int)
        rest = flux[loud] - mine["amplitude"][loud, None] * forms.value[place]
        other = _strongest(forms, rest, noise[loud], usable[loud])[-sign]
        for name, values in other.items():
            found[-sign][name][loud] = values
    return found


def _strongest(
    forms: _Forms, flux: FloatArray, noise: FloatArray, usable: NDArray[np.bool_]
) -> dict[int, dict[str, FloatArray]]:
    tried = _tried(forms, flux, noise, usable)
    statistic = tried.statistic
    found = {}
    each, n_times = np.arange(len(flux)), forms.n_times
    for sign in (1, -1):
        signed = sign * statistic
        best = np.argmax(signed, axis=1) if signed.shape[1] else np.zeros(len(flux), np.int64)
        height = signed[each, best]
        form, at = np.divmod(best, n_times)
        before = signed[each, form * n_times + np.maximum(at - 1, 0)]
        after = signed[each, form * n_times + np.minimum(at + 1, n_times - 1)]
        inside = (at > 0) & (at < n_times - 1)
        bend = before**2 - 2 * height**2 + after**2
        curved = inside & (bend < 0)
        move = np.zeros(len(flux))
        np.divide(0.5 * (before**2 - after**2), bend, out=move, where=curved)
        # half of S² is the logarithm of the likelihood
        spread_ = np.full(len(flux), 1.0)
        np.divide(1.0, np.sqrt(np.maximum(-0.5 * bend, 1e-12)), out=spread_, where=curved)
        amplitude = np.where(height > 0, tried.top[each, best] / tried.safe[each, best], 0)
        found[sign] = {
            "statistic": np.maximum(height, 0.0), "amplitude": amplitude, "form": form,
            "amplitude_error": 1 / np.sqrt(tried.safe[each, best]), "place": at + np.clip(move, -0.5, 0.5),
            "place_error": spread_, "coverage": tried.covered[each, best],
            "chi2": tried.chi2 - np.maximum(height, 0) ** 2, "dof": usable.sum(axis=1) - 2,
        }  # fmt: skip
    return found


def _best(
    found: dict[str, FloatArray],
    other: FloatArray,
    start: FloatArray,
    *,
    bank: Sequence[Template],
    step: float,
    scale: float,
    null: Null,
    trails: int,
) -> Best:
    statistic = found["statistic"] / scale
    form = found["form"].astype(np.int64)
    return Best(
        statistic=statistic,
        amplitude=found["amplitude"],
        amplitude_error=found["amplitude_error"] * scale,
        time=start + found["place"] * step / _PER_STEP,
        time_error=np.minimum(found["place_error"] * step / _PER_STEP * scale, 20.0),
        duration=np.array([template.duration for template in bank])[form],
        shape=form,
        p_trail=null.chance(statistic),
        p_global=null.chance(statistic, max(trails, 1)),
        control=other / scale,
        coverage=found["coverage"],
        chi2=found["chi2"] / scale**2,
        dof=found["dof"].astype(np.int64),
    )


@lru_cache(maxsize=64)
def _null(bank: tuple[Template, ...], samples: int, step: float, sigma: float) -> Null:
    rng = np.random.default_rng(samples)  # a function of what is asked alone
    forms = _Forms.of(bank, samples, step, sigma)
    largest = []
    for _ in range(_TRIALS // _AT_ONCE):
        flux = rng.normal(size=(_AT_ONCE, samples))
        found = _searched(forms, flux, np.ones_like(flux), np.ones(flux.shape, bool))
        largest += [found[sign]["statistic"] for sign in (1, -1)]
    value = np.sort(np.concatenate(largest))
    share = np.linspace(0.01, 0.94, 94)
    level = np.quantile(value, share)
    high = 1 - np.geomspace(0.2, 0.005, 12)
    top = np.quantile(value, high)
    slope, offset = np.polyfit(top, np.log(high) / log_ndtr(top), 1)
    return Null(
        level, np.log(share) / log_ndtr(level), float(offset), float(max(slope, 0.0)), float(np.median(value))
    )
