"""One event with long wings, where boxes and exponentials leave so much of it that the star seems to vary.

A lens magnifies for several times as long as its peak is wide, and what falls as a power of time is never quite over.
Boxes and exponentials cut such an event out of its own wings, which are then taken for what the star does. Here the
whole of it is fitted: the curve of a point lens (Paczynski 1986, ApJ 304, 1), or a rise and a decline of their own
lengths, the decline from an exponential to the power 5/3 of stars torn apart (Rees 1988, Nature 333, 523).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from virtualobserver.maths.microlensing import magnification_point

__all__ = ["LoneEvent", "fit_lone"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_Form = Callable[[FloatArray, FloatArray], FloatArray]

UNLIKE: Final = 0.1
"""Of its light, by which an event may differ from its form: parallax, colours and bumps do that. Chosen."""
_LOW: Final = 0.2
"""Of the greatest deviation, below which epochs say where the quiet level is."""
_LEAST_LOW: Final = 0.4
"""Part of the epochs that have to be so near to the level, and in the end below a tenth of the event: of a trend a
tenth is, and what varies all the time is soon told."""
_TENTH: Final = 0.1
"""Of its height, below which an event is taken to be over; what is left of a lens there lasts for months. Chosen."""
_LEVEL: Final = 0.25
"""Quantile that is a first quiet level: an event of half of the time is above it."""
_SEPARATIONS: Final = (0.1, 0.5, 1.2)
"""Einstein radii from which lenses are fitted: a spike, a bump, and hardly more than a Gaussian."""
_POWERS: Final = (5 / 3, 6.0)
"""Powers of the decline from which it is fitted; the second is all but an exponential."""
_MOST_EVALUATIONS: Final = 40
"""Of a fit; five to ten are usual, and one that needs more has the wrong form."""


@dataclass(frozen=True, slots=True, eq=False)
class LoneEvent:
    """An event as it was fitted, shape (rows,): its light, of the sign of the event, and its form, at most 1."""

    light: FloatArray
    form: FloatArray


def fit_lone(
    t: FloatArray,
    flux: FloatArray,
    variance: FloatArray,
    series: IntArray,
    band: IntArray,
    *,
    sign: int,
    peak: float,
    length: float,
) -> LoneEvent | None:
    """Fit one event to all of a star, a level for each series, a height for each band.

    A dip is fitted to the logarithm of the flux, as what hides a star does so by a part of its light.

    Parameters
    ----------
    t, flux, variance : array, shape (rows,)
        Time (d), flux and its variance in any unit.
    series, band : array, shape (rows,)
        Numbers of what shares a quiet level, and of the band, from zero.
    sign
        1 = brightening, -1 = dip.
    peak, length
        Where it is and about how long, d.

    Returns
    -------
    LoneEvent or None
        None if too little of the star is quiet, or an event of this sign does not fit in every band.
    """
    if sign < 0:
        if not (flux > 0).all():
            return None
        flux, variance = np.log(flux), variance / flux**2
    away = sign * (flux - _levels(flux * sign, series) * sign)
    if (away < _LOW * away.max()).mean() < _LEAST_LOW:
        return None
    weight = 1.0 / np.sqrt(variance + (UNLIKE * away) ** 2)
    base = (series[:, None] == np.unique(series)).astype(np.float64)
    bands = (band[:, None] == np.unique(band)).astype(np.float64)

    def solved(form: FloatArray) -> tuple[FloatArray, FloatArray]:
        design = np.column_stack([base, bands * form[:, None]])
        found = np.asarray(
            np.linalg.lstsq(design * weight[:, None], flux * weight, rcond=None)[0], np.float64
        )
        return np.asarray((flux - design @ found) * weight), found

    form = _best(t, peak, length, lambda one: solved(one)[0])
    found = solved(form)[1]
    heights = found[base.shape[1] :]
    form = form / form.max()
    if not (heights * sign > 0).all() or (form < _TENTH).mean() < _LEAST_LOW:
        return None
    light = (bands @ heights) * form
    if sign < 0:
        level = np.exp(base @ found[: base.shape[1]])
        light = level * np.expm1(light)
    return LoneEvent(light, form)


def _best(t: FloatArray, peak: float, length: float, left: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Return the form that fits best; `left` tells what a form leaves, in errors."""

    def residuals(values: FloatArray, make: _Form) -> FloatArray:
        return left(make(t, values))

    fits = []
    for make, start, low, high in _starts(t, peak, length):
        fitted = least_squares(
            residuals, start, bounds=(low, high), args=(make,), x_scale=np.subtract(high, low), loss="soft_l1",
            max_nfev=_MOST_EVALUATIONS,
        )  # fmt: skip
        fits.append((float(fitted.cost), make(t, fitted.x)))
    return min(fits, key=itemgetter(0))[1]


def _levels(flux: FloatArray, series: IntArray) -> FloatArray:
    """Return a first quiet level below which a quarter of each series is."""
    level = np.empty(flux.size)
    for one in np.unique(series):
        level[series == one] = np.quantile(flux[series == one], _LEVEL)
    return level


def _starts(
    t: FloatArray, peak: float, length: float
) -> list[tuple[_Form, list[float], list[float], list[float]]]:
    """Return forms with first values of their parameters and the bounds of these."""
    span = float(t[-1] - t[0])
    short, long = np.log(0.1 * length), np.log(max(span, length))
    around = (peak - length, peak + length)
    # days; the width at half maximum of a small separation is 3.5 times it, in times of the Einstein radius
    made: list[tuple[_Form, list[float], list[float], list[float]]] = [
        (
            _lens,
            [peak, np.log(np.clip(length / (2.0 * u), 0.11 * length, 0.9 * max(span, length))), np.log(u)],
            [around[0], short, np.log(0.005)],
            [around[1], long, np.log(3.0)],
        )
        for u in _SEPARATIONS
    ]
    made += [
        (
            _decline,
            [peak, np.log(0.3 * length), np.log(0.5 * length * power / 2), np.log(power)],
            [around[0], np.log(0.01 * length), np.log(0.05 * length), np.log(0.8)],
            [around[1], long, long + 3.0, np.log(20.0)],
        )
        for power in _POWERS
    ]
    return made


def _lens(t: FloatArray, values: FloatArray) -> FloatArray:
    """Magnification less 1, over that at the peak; values: time of the peak, ln of Einstein time and separation."""
    peak, scale, least = float(values[0]), np.exp(values[1]), np.exp(values[2])
    shown = magnification_point(np.hypot(least, (t - peak) / scale)) - 1.0
    return np.asarray(shown / (magnification_point(least) - 1.0))


def _decline(t: FloatArray, values: FloatArray) -> FloatArray:
    """Rise as a Gaussian, decline as a power; values: time of the peak, ln of both lengths and of the power."""
    since = t - float(values[0])
    rise, fall, power = np.exp(values[1:])
    with np.errstate(over="ignore", under="ignore"):
        before = np.exp(-0.5 * (since / rise) ** 2)
        after = (1.0 + np.maximum(since, 0.0) / fall) ** -power
    return np.asarray(np.where(since < 0, before, after))
