"""Star trails of a drift exposure in pixels: other light, other noise than the search knows.

Stars are Moffat images (beta 3.5) drawn over a detector in 25 steps of a second, under image motion, transparency and
scintillation that differ from star to star; read out, and summed in boxes of 11 rows. The common mode is the median of
the other stars on the times of the first one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from virtualobserver.data import Product, Table, as_handle

__all__ = ["Exposure", "Flash", "exposure"]

SPEED, EXPTIME, FWHM, BETA, SKY, READ = 1.9, 20.0, 4.0, 3.5, 433.0, 6.0
ZERO = 27.43
"""Magnitude of an electron a second through the wide filter."""
STEPS = 25
_ROWS = np.arange(11) - 5.0
_COLUMNS = np.arange(56) - 8.0
_FIRST, _SAMPLES = 12, 31
"""Columns of the flat part, two widths of a star off either end."""


@dataclass(frozen=True)
class Flash:
    """Light of a star that changes: a triangle or an exponential decay, by `amplitude` of the star's light."""

    form: str
    t0: float
    length: float
    amplitude: float

    def light(self, t):
        if self.form == "triangle":
            return self.amplitude * np.clip(1 - np.abs(t - self.t0) / self.length, 0, None)
        since = t - self.t0
        return self.amplitude * np.where(since >= 0, np.exp(-np.clip(since, 0, None) / self.length), 0.0)


@dataclass(frozen=True)
class Exposure:
    """What the search gets, and the S/N of each event for one who knows all of it but the noise."""

    handle: object
    ideal: np.ndarray


def exposure(rng, mags, flashes, *, jitter=0.08):
    """Return the samples of stars, each with an event or None; `jitter` is image motion along the trail, arcsec rms."""
    t = (np.arange(int(EXPTIME * STEPS)) + 0.5) / STEPS
    common = gaussian_filter1d(rng.normal(size=len(t)), STEPS * 0.7)
    common *= jitter / 0.2633 / common.std()
    clear = gaussian_filter1d(rng.normal(size=len(t)), STEPS * 8)
    clear = 1 + 0.01 * clear / clear.std()
    flux, variance, model, phases = [], [], [], []
    for mag, flash in zip(mags, flashes, strict=True):
        own = gaussian_filter1d(rng.normal(size=len(t)), STEPS * 0.7)
        moved = common + 0.1 * jitter / 0.2633 * own / own.std()  # what the atmosphere does to one star alone
        phase = rng.uniform(-0.5, 0.5)
        rate = 10 ** (-0.4 * (mag - ZERO)) / STEPS * clear
        extra = flash.light(t) if flash is not None else np.zeros(len(t))
        steady, event = _drawn(np.stack((rate, rate * extra), axis=1), phase + SPEED * t + moved)
        counts = rng.poisson(np.clip(steady + event, 0, None) + SKY) + rng.normal(0, READ, steady.shape)
        column = (counts - SKY).sum(axis=0)
        scintillation = 1 + 0.003 * rng.normal(size=len(column))
        flux.append(column * scintillation)
        variance.append(np.clip((steady + event).sum(axis=0), 0, None) + len(_ROWS) * (SKY + READ**2))
        model.append(event.sum(axis=0))
        phases.append(phase)
    flat = slice(_FIRST, _FIRST + _SAMPLES)
    flux, variance, model = (np.array(one)[:, flat] * SPEED for one in (flux, variance, model))
    variance = variance * SPEED
    return _tabled(flux, np.sqrt(variance + (0.003 * flux) ** 2), model, np.array(phases), mags)


def _drawn(light, place):
    """Return the pixels of a moving Moffat, in a window of its rows; one image for each column of light."""
    alpha = FWHM / (2 * np.sqrt(2 ** (1 / BETA) - 1))
    along = (_COLUMNS[:, None] - place[None, :]) ** 2 / alpha**2 + 1
    images = []
    for y in _ROWS:
        r2 = along + y**2 / alpha**2
        images.append((1 / (r2**3 * np.sqrt(r2))) @ light)  # beta 3.5
    return np.moveaxis(np.array(images), 2, 0) * (BETA - 1) / (np.pi * alpha**2)


def _tabled(flux, error, model, phases, mags):
    n = len(flux)
    time = (_COLUMNS[_FIRST : _FIRST + _SAMPLES][None] - phases[:, None]) / SPEED
    mean = np.median(flux, axis=1)
    scaled = flux / mean[:, None]
    grid = time[0]
    aligned = np.stack([np.interp(grid, time[k], scaled[k]) for k in range(n)])
    trend = np.ones_like(flux)
    bright = np.argsort(mags)[: max(n // 2, 16)]
    for k in range(n):
        others = np.median(aligned[bright[bright != k]], axis=0)
        trend[k] = np.interp(time[k], grid, others)
    weight = (trend / error) ** 2
    mean = (flux / trend * weight).sum(axis=1) / weight.sum(axis=1)
    relative, relative_error = flux / (trend * mean[:, None]), error / (trend * mean[:, None])
    shown = model / (trend * mean[:, None])
    w = relative_error**-2
    rest = shown - ((w * shown).sum(axis=1) / w.sum(axis=1))[:, None]
    star = np.repeat(np.arange(n), _SAMPLES)
    columns = {
        "star_id": star, "trail": star, "mjd": 59559.1 + time.ravel() / 86400, "time": time.ravel(),
        "flux": flux.ravel(),
        "flux_error": error.ravel(), "flags": np.zeros(star.size, np.int64), "flat": np.ones(star.size, bool),
        "trend": trend.ravel(), "relative": relative.ravel(), "relative_error": relative_error.ravel(),
        "mag": np.asarray(mags, float)[star],
    }  # fmt: skip
    # a Gaussian as wide as the middle of a Moffat of this seeing
    meta = {"ccd": "N1", "exptime": EXPTIME, "mjd_start": 59559.1, "speed": SPEED, "sigma": FWHM / 2.355}
    handle = as_handle(Product(Table(columns, meta=meta), role="detrended"))
    return Exposure(handle, np.sqrt((w * rest**2).sum(axis=1)))
