"""Light curves of a survey of three seasons, made by nothing that the search or its injection uses.

Noise, fields, events and variables are this module's own, and so are the forms of events: a flare is a smooth
double exponential, a dip a trapezium of rounded shoulders. What comes out are containers as a survey would make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.timeseries import TimeSeries

__all__ = ["VARIABLES", "WINGED", "Event", "Sky", "event", "star", "winged"]

FloatArray = NDArray[np.float64]
Signal = Callable[[FloatArray, int], FloatArray]
"""Times (d) and number of the band to a factor on the flux."""
WIDTH = 5.68
"""Width at half of the height of the form of a flare, in its faster scale."""


@dataclass(frozen=True)
class Sky:
    """How a star of constant light is seen."""

    epochs: int = 300
    """Epochs of both bands and all seasons together."""
    bands: tuple[str, ...] = ("zg", "zr")
    seasons: tuple[float, ...] = (58300.0, 58665.0, 59030.0)
    length: float = 200.0
    floor: float = 0.012
    night: float = 0.008
    fields: float = 0.020
    flagged: float = 0.02
    outliers: float = 0.0
    limit: float = 20.8


@dataclass(frozen=True)
class Event:
    """What was put in: its kind and the time between which it is above half of its height."""

    kind: str
    start: float
    end: float
    signal: Signal


def magnitude_error(mag: FloatArray, sky: Sky) -> FloatArray:
    """Photons and the floor of the calibration; 0.2 mag at 21 mag."""
    return np.asarray(np.hypot(sky.floor, 0.2 * 10 ** (0.35 * (mag - 21.0))))


def visits(rng: np.random.Generator, sky: Sky) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return times and band numbers: clear nights, in each some bands, half an hour apart."""
    per_season = sky.epochs / len(sky.seasons)
    times, bands = [], []
    for start in sky.seasons:
        clear = np.ones(int(sky.length), dtype=bool)
        while clear.mean() > 0.75:  # strings of cloudy nights
            first = int(rng.integers(clear.size))
            clear[first : first + 1 + int(rng.exponential(3.0))] = False
        nights = np.flatnonzero(clear)
        count = min(round(per_season / (0.8 * len(sky.bands))), nights.size)
        for night in rng.choice(nights, count, replace=False):
            moment = start + night + 0.3 + 0.15 * rng.random()
            for number in rng.permutation(len(sky.bands)):
                if rng.random() < 0.8:
                    times.append(moment)
                    bands.append(number)
                    moment += 0.02 + 0.02 * rng.random()
    order = np.argsort(times)
    return np.array(times)[order], np.array(bands, dtype=np.int64)[order]


def star(
    rng: np.random.Generator, sky: Sky | None = None, *, mag: float = 17.0, signals: Sequence[Signal] = ()
) -> list[TimeSeries]:
    """Return the light curves of one star, one for each season and band."""
    sky = sky or Sky()
    time, band = visits(rng, sky)
    factor = np.ones(time.size)
    for signal in signals:
        for number in range(len(sky.bands)):
            rows = band == number
            factor[rows] *= signal(time[rows], number)
    true = mag - 0.4 * band - 2.5 * np.log10(np.maximum(factor, 1e-3))
    error = magnitude_error(true, sky)
    night = np.floor(time).astype(int)
    shifts = rng.normal(0.0, sky.night, int(night.max() - night.min()) + 1)
    second = rng.random(time.size) < 0.3
    flagged = rng.random(time.size) < sky.flagged
    wild = rng.random(time.size) < sky.outliers
    seen = true + error * rng.standard_normal(time.size) + shifts[night - night.min()] + sky.fields * second
    seen += np.where(flagged, rng.normal(0, 0.3, time.size), 0.0)
    seen += np.where(wild, rng.choice([-1.0, 1.0], time.size) * rng.uniform(0.15, 1.0, time.size), 0.0)
    kept = true < sky.limit
    curves = []
    for start in sky.seasons:
        for number, name in enumerate(sky.bands):
            rows = kept & (band == number) & (time >= start) & (time < start + sky.length + 1)
            if rows.any():
                curves.append(_curve(time[rows], seen[rows], error[rows], flagged[rows], second[rows], name))
    return curves


def _curve(
    time: FloatArray,
    mag: FloatArray,
    error: FloatArray,
    flagged: NDArray[np.bool_],
    second: NDArray[np.bool_],
    band: str,
) -> TimeSeries:
    flux = 10 ** (0.4 * (23.9 - mag))
    columns = {
        "mjd": time,
        "flux": flux,
        "flux_error": flux * error * 0.4 * np.log(10),
        "flags": np.where(flagged, 1, 0).astype(np.int64),
        "mag": mag,
        "mag_error": error,
        "exptime": np.full(time.size, 30.0),
        "object_id": np.where(second, 2, 1) * 1000 + (1 if band == "zg" else 2),
    }
    return TimeSeries(columns, band=band)


def event(
    rng: np.random.Generator,
    kind: str,
    *,
    duration: float,
    strength: float,
    mag: float = 17.0,
    sky: Sky | None = None,
) -> Event:
    """Draw an event of a length at half of its height (d) and a height in errors of one epoch."""
    sky = sky or Sky()
    start = float(rng.choice(sky.seasons))
    middle = start + rng.uniform(0.05, 0.95) * sky.length
    heights = [
        strength
        * 0.4
        * np.log(10)
        * float(np.hypot(magnitude_error(np.array([mag - 0.4 * b]), sky)[0], sky.night))
        for b in range(len(sky.bands))
    ]

    def flare(time: FloatArray, band: int) -> FloatArray:
        # A rise four times as fast as the decay; half of the height is 4.03 times the faster scale wide.
        fast, slow = duration / WIDTH, 4.0 * duration / WIDTH
        x = time - middle
        top = fast * slow / (fast + slow) * np.log(slow / fast)
        with np.errstate(over="ignore"):
            form = 1.0 / (np.exp(-(x + top) / fast) + np.exp((x + top) / slow))
            height = 1.0 / (np.exp(-top / fast) + np.exp(top / slow))
        return 1.0 + heights[band] * form / height

    def dip(time: FloatArray, band: int) -> FloatArray:
        edge = duration / 5.0
        depth = np.clip((duration / 2.0 + edge / 2.0 - np.abs(time - middle)) / edge, 0.0, 1.0)
        return 1.0 - min(heights[band], 0.99) * np.sin(0.5 * np.pi * depth) ** 2

    if kind == "flare":
        fine = np.linspace(middle - 2 * duration, middle + 4 * duration, 20_001)
        above = fine[flare(fine, 0) - 1.0 > 0.5 * heights[0]]
        return Event(kind, float(above[0]), float(above[-1]), flare)
    return Event(kind, middle - duration / 2.0, middle + duration / 2.0, dip)


WINGED: dict[str, Callable[[FloatArray], FloatArray]] = {
    "lens, 0.5 Einstein radii, 60 d": lambda since: _magnified(np.hypot(0.5, since / 60.0)),
    "lens, 0.1 Einstein radii, 150 d": lambda since: _magnified(np.hypot(0.1, since / 150.0)),
    "star torn apart, 15 d to its peak, 50 %": lambda since: (
        0.5
        * np.where(
            since < 0, np.exp(-0.5 * (since / 15.0) ** 2), (1 + np.maximum(since, 0) / 40.0) ** (-5 / 3)
        )
    ),
}
"""Brightenings that are above a tenth of their height for much longer than above half of it: days since the peak to
what the flux rises by."""


def winged(rng: np.random.Generator, name: str, sky: Sky | None = None) -> Event:
    """Draw the time of one of `WINGED`, within a season."""
    sky = sky or Sky()
    form = WINGED[name]
    peak = float(rng.choice(sky.seasons)) + rng.uniform(0.1, 0.9) * sky.length
    fine = np.linspace(-sky.length, sky.length, 20_001)
    above = fine[form(fine) > 0.5 * form(np.zeros(1))]
    return Event("flare", peak + above[0], peak + above[-1], lambda time, _: 1.0 + form(time - peak))


def _magnified(away: FloatArray) -> FloatArray:
    return np.asarray((away**2 + 2) / (away * np.sqrt(away**2 + 4)) - 1.0)


def _magnitudes(change: Callable[[FloatArray, int], FloatArray]) -> Signal:
    return lambda time, band: np.asarray(10 ** (-0.4 * change(time, band)))


def _phase(rng: np.random.Generator, period: float) -> Callable[[FloatArray], FloatArray]:
    first = rng.random()
    return lambda time: np.asarray((time / period + first) % 1.0)


def rr_lyrae(rng: np.random.Generator) -> Signal:
    """A fast rise and a slow decline of 0.4 to 1 mag in half a day."""
    phase, height = _phase(rng, rng.uniform(0.4, 0.7)), rng.uniform(0.4, 1.0)
    return _magnitudes(
        lambda t, b: (
            height
            * (1 - 0.25 * b)
            * np.where(phase(t) < 0.15, 0.5 - phase(t) / 0.15, (phase(t) - 0.15) / 0.85 - 0.5)
        )
    )


def w_uma(rng: np.random.Generator) -> Signal:
    """Two equal minima in each period of a third of a day."""
    phase, height = _phase(rng, rng.uniform(0.25, 0.45)), rng.uniform(0.2, 0.6)
    return _magnitudes(lambda t, b: height * (1 - np.abs(np.sin(2 * np.pi * phase(t)))))


def spots(rng: np.random.Generator) -> Signal:
    """A rotating star whose spots come and go, 0.1 mag."""
    period, life = rng.uniform(3.0, 30.0), rng.uniform(60.0, 300.0)
    phase, slow = _phase(rng, period), _phase(rng, life * 2)
    height = rng.uniform(0.03, 0.1)
    return _magnitudes(
        lambda t, b: (
            height * (1 - 0.2 * b) * np.sin(2 * np.pi * phase(t)) * (0.6 + 0.4 * np.sin(2 * np.pi * slow(t)))
        )
    )


def trend(rng: np.random.Generator) -> Signal:
    """0.3 mag in a year, up or down."""
    slope = 0.3 / 365.25 * rng.choice([-1.0, 1.0])
    return _magnitudes(lambda t, b: slope * (t - 58700.0))


def long_period(rng: np.random.Generator) -> Signal:
    """1 mag from top to bottom in 100 to 300 d, with a second period."""
    first, second = _phase(rng, rng.uniform(100.0, 300.0)), _phase(rng, rng.uniform(400.0, 900.0))
    return _magnitudes(
        lambda t, b: (
            (1 - 0.3 * b) * (0.4 * np.sin(2 * np.pi * first(t)) + 0.1 * np.sin(2 * np.pi * second(t)))
        )
    )


def mira(rng: np.random.Generator) -> Signal:
    """4 mag from top to bottom in 200 to 450 d."""
    phase = _phase(rng, rng.uniform(200.0, 450.0))
    return _magnitudes(
        lambda t, b: (1 - 0.2 * b) * (2.0 * np.sin(2 * np.pi * phase(t)) - 0.4 * np.cos(4 * np.pi * phase(t)))
    )


def quasar(rng: np.random.Generator) -> Signal:
    """A damped random walk of 0.2 mag, 100 to 400 d."""
    scale = rng.uniform(100.0, 400.0)
    grid = np.arange(58000.0, 59600.0, 0.5)
    keep = np.exp(-0.5 / scale)
    steps = 0.2 * np.sqrt(1 - keep**2) * rng.standard_normal(grid.size)
    walk = np.empty(grid.size)
    walk[0] = 0.2 * rng.standard_normal()
    for n in range(1, grid.size):
        walk[n] = keep * walk[n - 1] + steps[n]
    return _magnitudes(lambda t, b: (1 - 0.15 * b) * np.interp(t, grid, walk))


def dwarf_nova(rng: np.random.Generator) -> Signal:
    """Outbursts of 2 to 4 mag, some 8 d long, every 40 to 90 d."""
    height, wait = rng.uniform(2.0, 4.0), rng.uniform(40.0, 90.0)
    starts = np.cumsum(wait * rng.uniform(0.8, 1.2, 60)) + 57900.0
    lengths = rng.uniform(5.0, 12.0, starts.size)

    def change(time: FloatArray, band: int) -> FloatArray:
        since = time[:, None] - starts
        rise = np.clip(since / 1.0, 0.0, 1.0)
        fall = np.clip((lengths + 2.0 - since) / 2.0, 0.0, 1.0)
        return -height * (1 - 0.1 * band) * (rise * fall).max(axis=1)

    return _magnitudes(change)


def algol(rng: np.random.Generator) -> Signal:
    """Eclipses of 0.8 to 1.5 mag, a tenth of a period of 2 to 5 d."""
    phase, depth = _phase(rng, rng.uniform(2.0, 5.0)), rng.uniform(0.8, 1.5)

    def change(time: FloatArray, band: int) -> FloatArray:
        away = np.abs(phase(time) - 0.5)
        return depth * np.clip((0.06 - away) / 0.03, 0.0, 1.0)

    return _magnitudes(change)


VARIABLES: dict[str, Callable[[np.random.Generator], Signal]] = {
    "RR Lyrae": rr_lyrae,
    "W UMa": w_uma,
    "spots of 0.03 to 0.1 mag": spots,
    "trend of 0.3 mag a year": trend,
    "long-period variable, 1 mag": long_period,
    "Mira, 4 mag": mira,
    "quasar, 0.2 mag": quasar,
    "dwarf nova": dwarf_nova,
    "Algol": algol,
}
"""Stars that vary of themselves."""
