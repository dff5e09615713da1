"""Star trails of a drift exposure in pixels: other light, other noise than the search knows.

Stars are Moffat images (beta 3.5) drawn over a detector in 25 steps of a second, under image motion, transparency and
scintillation that differ from star to star; read out, and summed in boxes of 11 rows. What all stars do together is
taken out as a reduction does it, with the settings that are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter1d

from virtualobserver.data import Product, Table, as_handle
from virtualobserver.maths.trails.detrend import detrend
from virtualobserver.maths.trails.profile import TransverseProfile
from virtualobserver.maths.trails.samples import TrailSamples, TrailTotals
from virtualobserver.maths.trails.sky import TrailSky
from virtualobserver.maths.trails.track import TrackModel, line_spread

__all__ = ["Exposure", "Flash", "exposure"]

SPEED, EXPTIME, FWHM, BETA, SKY, READ = 1.9, 20.0, 4.0, 3.5, 433.0, 6.0
ZERO = 27.43
"""Magnitude of an electron a second through the wide filter."""
OWN = 0.1
"""Of the image motion, what the atmosphere does to one star alone, besides."""
STEPS = 12
"""Steps a second: a sixth of a pixel, a tenth of the image of a star."""
_ROWS = np.arange(11) - 5.0
_COLUMNS = np.arange(56) - 8.0
_TRACK = TrackModel(0.5, EXPTIME, 0.5 / SPEED, 0.0)


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
    """What the search gets by each mode, and the S/N of each event for one who knows all of it but the noise.

    `ideal` has the noise of photons alone, `bound` that of the star's own motion as well, of which such a one knows how
    large it is and how long it lasts, but not what it is: no search does better.
    """

    handles: dict
    ideal: np.ndarray
    bound: np.ndarray


def exposure(rng, mags, flashes, *, jitter=0.08, modes=("median",), nuisance=None):
    """Return the samples of stars, each with an event or None.

    `jitter` is image motion along the trail, arcsec rms; a tenth of it is each star's own. `nuisance` puts onto every
    fifth star what is no event of it: a ``cosmic ray`` that no mask tells, or a ``blend``, a star that no catalogue has
    and whose trail begins in the middle of the other's.
    """
    t = (np.arange(int(EXPTIME * STEPS)) + 0.5) / STEPS
    common = _motion(rng, len(t), jitter)
    clear = gaussian_filter1d(rng.normal(size=len(t)), STEPS * 8)
    clear = 1 + 0.01 * clear / clear.std()
    told = {name: [] for name in ("flux", "variance", "model", "phase", "shift", "shift_error")}
    for number, (mag, flash) in enumerate(zip(mags, flashes, strict=True)):
        moved = common + OWN * _motion(rng, len(t), jitter)
        phase = rng.uniform(-0.5, 0.5)
        rate = 10 ** (-0.4 * (mag - ZERO)) / STEPS * clear
        extra = flash.light(t) if flash is not None else np.zeros(len(t))
        steady, event = _drawn(np.stack((rate, rate * extra), axis=1), phase + SPEED * t + moved)
        counts = rng.poisson(np.clip(steady + event + _on_top(rng, number, nuisance, mag, t), 0, None) + SKY)
        counts = (counts + rng.normal(0, READ, steady.shape) - SKY) * (
            1 + 0.003 * rng.normal(size=steady.shape[1])
        )
        pixel = np.clip(steady + event, 0, None) + SKY + READ**2
        column = counts.sum(axis=0)
        light = np.clip(gaussian_filter1d(column, 1.7), 1.0, None)
        told["flux"].append(column * SPEED)
        told["variance"].append((pixel.sum(axis=0) + (0.003 * column) ** 2) * SPEED**2)
        told["model"].append(event.sum(axis=0) * SPEED)
        told["phase"].append(phase)
        told["shift"].append((counts * _ROWS[:, None]).sum(axis=0) / light)
        told["shift_error"].append(np.sqrt((pixel * _ROWS[:, None] ** 2).sum(axis=0)) / light)
    return _tabled(
        rng, {name: np.array(values) for name, values in told.items()}, np.asarray(mags, float), modes, jitter
    )


def _motion(rng, n, jitter):
    """Return image motion of a second or so, pixels."""
    walk = gaussian_filter1d(rng.normal(size=n), STEPS * 0.7)
    return walk * jitter / 0.2633 / walk.std()


def _on_top(rng, number, nuisance, mag, t):
    """Return the pixels of what lies on a trail and is no event of its star; another star is as bright."""
    pixels = np.zeros((len(_ROWS), len(_COLUMNS)))
    if nuisance is None or number % 5:
        return pixels
    if nuisance == "cosmic ray":
        place = rng.integers(3, 8), rng.integers(16, 40)
        pixels[place] = np.exp(rng.uniform(np.log(1e3), np.log(1e4)))
        return pixels
    light = np.full((len(t), 1), 10 ** (-0.4 * (mag + 0.5 - ZERO)) / STEPS)
    place = rng.uniform(-22, 22) + SPEED * t
    (image,) = _drawn(light, place, across=rng.choice([-1, 1]) * rng.uniform(1.5, 4.0))
    return image


def _drawn(light, place, across=0.0):
    """Return the pixels of a moving Moffat, in a window of its rows; one image for each column of light."""
    alpha = FWHM / (2 * np.sqrt(2 ** (1 / BETA) - 1))
    along = (_COLUMNS[:, None] - place[None, :]) ** 2 / alpha**2 + 1
    images = []
    for y in _ROWS - across:
        r2 = along + y**2 / alpha**2
        images.append((1 / (r2**3 * np.sqrt(r2))) @ light)  # beta 3.5
    return np.moveaxis(np.array(images), 2, 0) * (BETA - 1) / (np.pi * alpha**2)


@cache
def _unrest(jitter):
    """Return the covariance of columns, over those of a star at rest, that motion of its own makes."""
    rng, place = np.random.default_rng(0), SPEED * (np.arange(int(EXPTIME * STEPS)) + 0.5) / STEPS
    light = np.ones((len(place), 1))
    steady = _drawn(light, place)[0].sum(axis=0)
    moved = [_drawn(light, place + OWN * _motion(rng, len(place), jitter))[0].sum(axis=0) for _ in range(300)]
    off = np.array(moved) / steady - 1
    return off.T @ off / len(off)


def _strength(shape, covariance):
    """Return the S/N of a shape whose mean is not known."""
    inverse = np.linalg.inv(covariance)
    weight = inverse.sum(axis=0)
    rest = shape - weight @ shape / weight.sum()
    return float(np.sqrt(rest @ inverse @ rest))


def _tabled(rng, told, mags, modes, jitter):
    """Return the tables of a reduction: trails somewhere on a chip, taken apart by time as every reduction does."""
    n, m = told["flux"].shape
    along = _COLUMNS - told["phase"][:, None]
    sigma = FWHM / 2.355  # a Gaussian as wide as the middle of a Moffat of this seeing
    response = np.clip(_TRACK.length * line_spread(along, _TRACK.length, sigma), 0, 1)
    flat = (along >= 1.5 * FWHM) & (along <= _TRACK.length - 1.5 * FWHM)
    flux, error = told["flux"], np.sqrt(told["variance"])
    total = (flux * response).sum(axis=1) / (response**2).sum(axis=1)
    noise = np.sqrt((told["variance"] * response**2).sum(axis=1)) / (response**2).sum(axis=1)
    x, y, nothing = rng.uniform(50, 1950, n), rng.uniform(50, 1950, n), np.zeros(n)
    totals = TrailTotals(
        total, noise, total / noise, x, y, x + _TRACK.length, y, np.ones(n), nothing, np.zeros((n, 30), int)
    )
    sky = TrailSky(*[nothing] * 5, np.inf, nothing.astype(int), nothing.astype(int), nothing, nothing, x, y)
    flags = np.zeros((n, m), np.int64)
    time = along / SPEED
    samples = TrailSamples(
        time, along, flux, error, np.full((n, m), SKY), response, flags, along - np.rint(along), flat, totals, sky,
        TransverseProfile(FWHM), _TRACK, own_cosmic_rays=False,
    )  # fmt: skip
    star = np.repeat(np.arange(n), m)
    kept = {
        "shift": told["shift"],
        "shift_error": told["shift_error"],
        "flux": flux,
        "flux_error": error,
        "time": time,
    }
    columns = {
        "star_id": star, "trail": star, "mjd": 59559.1 + time.ravel() / 86400, "flags": flags.ravel(),
        "flat": flat.ravel(), "mag": mags[star], **{name: values.ravel() for name, values in kept.items()},
    }  # fmt: skip
    meta = {"ccd": "N1", "exptime": EXPTIME, "mjd_start": 59559.1, "speed": SPEED, "sigma": sigma}
    handles = {}
    for mode in modes:
        found = detrend(samples, mode=mode)
        made = {name: getattr(found, name).ravel() for name in ("trend", "relative", "relative_error")}
        handles[mode] = as_handle(Product(Table({**columns, **made}, meta=meta), role="detrended"))
    shown, photons = told["model"] / total[:, None], (error / total[:, None]) ** 2
    ideal, bound = (
        np.array(
            [
                _strength(shown[k, use], np.diag(photons[k, use]) + more[np.ix_(use, use)])
                for k, use in enumerate(flat)
            ]
        )
        for more in (np.zeros((m, m)), _unrest(jitter))
    )
    return Exposure(handles, ideal, bound)
