"""Light over time and over pixels: events, the unrest of the air, and the sum of both on a frame."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from virtualobserver.conventions import FWHM_TO_SIGMA
from virtualobserver.typing import RecordDict

if TYPE_CHECKING:
    from virtualobserver.observatories.decam.simulate.settings import SimulationSettings

__all__ = ["Event", "Unrest", "add_light", "random_event", "unrest_of"]

FloatArray = NDArray[np.float64]
EventKind = Literal["tophat", "gauss", "pspl", "dip", "constant"]
BETA: Final = 3.5
"""Of the Moffat profile of stars: between 2.5, which telescopes often have, and 4.765 of turbulent air alone
(Trujillo et al. 2001, MNRAS 328, 977)."""
REACH: Final = 4.0
"""Half side of the box of a Gaussian, standard deviations: beyond is 0.01 % of its light."""
CLEAR_TIME: Final = 10.0
"""Seconds in which the clearness of the sky is forgotten."""
SCINTILLATION_TIME: Final = 0.5
"""Seconds to which the scintillation of the settings belongs: about a pixel of a trail."""
WIND: Final = (2.0, 8.0)
"""Hz, of a shaking telescope."""


@dataclass(frozen=True)
class Event:
    """A change of a star's light by the factor of `light`.

    Parameters
    ----------
    kind
        ``tophat`` (times 1 + amplitude for `duration` about `t0`), ``gauss`` (`duration` is its standard
        deviation), ``pspl`` (a point lens before a point: `duration` is its Einstein time, `amplitude` its least
        distance u0), ``dip`` (the top-hat with an amplitude from -1 to 0) or ``constant``.
    t0, duration
        Seconds since the shutter opened, and seconds.
    amplitude
        Of the light, or u0 of a lens.
    """

    kind: EventKind
    t0: float = 0.0
    duration: float = 0.0
    amplitude: float = 0.0

    def light(self, time: FloatArray) -> FloatArray:
        """Return the factor at times (s)."""
        away = np.asarray(time, float) - self.t0
        if self.kind == "constant":
            return np.full(away.shape, 1 + self.amplitude)
        if self.kind == "pspl":
            u2 = self.amplitude**2 + (away / self.duration) ** 2
            return np.asarray((u2 + 2) / np.sqrt(u2 * (u2 + 4)))
        if self.kind == "gauss":
            return np.asarray(1 + self.amplitude * np.exp(-0.5 * (away / self.duration) ** 2))
        return np.asarray(np.where(np.abs(away) <= self.duration / 2, 1 + self.amplitude, 1.0))

    def facts(self) -> RecordDict:
        """Return it as plain values."""
        return asdict(self)


def random_event(rng: np.random.Generator, exptime: float) -> Event:
    """Return one of the five kinds, well within the exposure."""
    t0 = float(rng.uniform(0.2, 0.8)) * exptime
    kind: EventKind = ("tophat", "gauss", "pspl", "dip", "constant")[int(rng.integers(5))]
    if kind == "dip":
        return Event(kind, t0, float(rng.uniform(0.8, 3.0)), -float(rng.uniform(0.4, 1.0)))
    if kind == "pspl":
        return Event(kind, t0, float(rng.uniform(0.8, 2.0)), float(rng.uniform(0.3, 0.8)))
    if kind == "constant":
        return Event(kind, 0.0, exptime, float(rng.uniform(0.2, 0.6)))
    return Event(kind, t0, float(rng.uniform(0.4, 2.0)), float(np.exp(rng.uniform(np.log(0.3), np.log(2.0)))))


@dataclass(frozen=True, eq=False)
class Unrest:
    """What the air and the wind do to an exposure, at T times.

    Parameters
    ----------
    time
        Seconds since the shutter opened, the middle of each step.
    common
        Motion along x and y of all stars, pixels, shape (2, T).
    slopes
        The same that differs between places, for each motion scale along x and along y, shape (2, 2, T).
    clear
        Factor of all light.
    width
        Factor of the width of stars.
    """

    time: FloatArray
    common: FloatArray
    slopes: FloatArray
    clear: FloatArray
    width: FloatArray

    def motion(self, x: float, y: float) -> FloatArray:
        """Return the motion at a place that is so many motion scales from the middle of the frame."""
        return np.asarray(self.common + x * self.slopes[0] + y * self.slopes[1])


def unrest_of(sim: SimulationSettings, rng: np.random.Generator, exptime: float, scale: float) -> Unrest:
    """Return image motion (an Ornstein-Uhlenbeck process), shaking, clearness and width; `scale` is arcsec/pixel."""
    n = max(round(sim.steps * exptime), 1)
    step = exptime / n
    time: FloatArray = np.asarray((np.arange(n) + 0.5) * step, np.float64)
    common = np.stack([_process(rng, n, step / sim.motion_time) for _ in range(2)]) * sim.motion
    for axis in range(2):
        common[axis] += sim.shake * np.sin(2 * np.pi * (rng.uniform(*WIND) * time + rng.random()))
    slopes = np.stack([[_process(rng, n, step / sim.motion_time) for _ in range(2)] for _ in range(2)])
    clear = 1 + sim.transparency * _process(rng, n, step / CLEAR_TIME)
    width: FloatArray = 1 + sim.seeing_drift * (2 * time / exptime - 1)
    return Unrest(time, common / scale, slopes * sim.motion_local / scale, np.maximum(clear, 0), width)


def add_light(
    image: FloatArray,
    x: FloatArray,
    y: FloatArray,
    light: FloatArray,
    fwhm: FloatArray,
    *,
    profile: str = "moffat",
) -> None:
    """Add a moving point to an image, in place; the profile is summed exactly over each pixel.

    Parameters
    ----------
    image
        Shape (ny, nx), electrons.
    x, y, light, fwhm : ndarray, shape (T,)
        Of each step: pixels from 0, electrons, pixels.
    profile
        ``moffat`` (as a sum of Gaussians, which are separable: true to 1 % of its peak) or ``gauss``.
    """
    ny, nx = image.shape
    for weight, width in _mixture(profile):
        # a Gaussian summed over a pixel is one that is wider by the variance of the pixel, true to 1e-3
        sigma = np.sqrt((width * fwhm) ** 2 + 1 / 12).astype(np.float32)
        half = REACH * float(sigma.max())
        left, right = max(math.floor(x.min() - half), 0), min(math.ceil(x.max() + half) + 1, nx)
        low, high = max(math.floor(y.min() - half), 0), min(math.ceil(y.max() + half) + 1, ny)
        if left >= right or low >= high:
            continue
        columns = _bell(np.arange(left, right), x, sigma)
        rows = _bell(np.arange(low, high), y, sigma) * (weight * light / (2 * np.pi * sigma**2))[:, None]
        image[low:high, left:right] += rows.T.astype(np.float32) @ columns


# --- inside -----------------------------------------------------------------------------------------------


def _bell(pixels: NDArray[np.int64], place: FloatArray, sigma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return exp(-d^2 / 2 sigma^2) of each pixel from each place, shape (T, n), in single precision for its speed."""
    away = (pixels[None, :] - place[:, None]).astype(np.float32) / sigma[:, None]
    return np.asarray(np.exp(np.float32(-0.5) * away * away))


def _process(rng: np.random.Generator, n: int, step: float) -> FloatArray:
    """Return n values of a process of unit variance that forgets itself as exp(-step)."""
    keep = math.exp(-step)
    noise = rng.normal(0, math.sqrt(1 - keep * keep), n)
    noise[0] = rng.normal()
    for i in range(1, n):
        noise[i] += keep * noise[i - 1]
    return noise


@lru_cache(maxsize=2)
def _mixture(profile: str) -> tuple[tuple[float, float], ...]:
    """Return weights and standard deviations (of the FWHM) of Gaussians that add up to the profile."""
    if profile == "gauss":
        return ((1.0, FWHM_TO_SIGMA),)
    r = np.linspace(0, 3.0, 301)
    alpha2 = 0.25 / (2 ** (1 / BETA) - 1)
    moffat = (BETA - 1) / (np.pi * alpha2) * (1 + r**2 / alpha2) ** -BETA
    widths = FWHM_TO_SIGMA * np.array([0.75, 1.0, 1.4, 2.2, 3.5])
    gauss = np.exp(-0.5 * (r[:, None] / widths) ** 2) / (2 * np.pi * widths**2)
    weights, _ = nnls(gauss * np.sqrt(r + 0.05)[:, None], moffat * np.sqrt(r + 0.05))
    kept = weights > 1e-3
    return tuple(zip((weights[kept] / weights[kept].sum()).tolist(), widths[kept].tolist(), strict=True))
