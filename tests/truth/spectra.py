"""Spectra of stars around Ca II K and H as a bench spectrograph delivers them, made without any code of the searches.

Noise and cosmic hits are those of detector pixels, which a flux-conserving rebinning spreads over the pixels of the
merged spectrum. Lines of the star are rotation profiles of damped lines, comets are skewed hyperbolic secants; neither
is a form that the package injects, simulates or filters with.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from virtualobserver.data.handles import MemoryHandle, ProductInfo
from virtualobserver.data.product import Aux, Target
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table

__all__ = ["Comet", "Sky", "Star", "handles", "nights", "observe", "star_of"]

LIGHT: Final = 299_792.458
REST: Final = {"K": 3933.6610, "H": 3968.4670}
EPSILON: Final = 3970.0788
STEP: Final = 0.01
FIBRE_CHANGE: Final = 57174.0


@dataclass(frozen=True)
class Comet:
    """Gas in front of the star in some exposures; velocities in the star's frame, km/s."""

    rows: np.ndarray
    depth: float = 0.05
    fwhm: float = 20.0
    velocity: float = 40.0
    ratio: float = 0.8
    skew: float = 0.0


@dataclass(frozen=True)
class Sky:
    """What the instrument does to a spectrum: shares of the continuum, and hits per spectrum and line."""

    snr: float = 100.0
    slope: float = 0.02
    ripple: float = 0.005
    zero: float = 0.002
    hits: float = 0.02


@dataclass(frozen=True)
class Star:
    """The light of a star before any comet, by kind, with what varies."""

    kind: str = "A"
    vsini: float = 110.0
    strength: float = 0.6
    stable: float = 0.3
    wave: float = 0.0
    order: int = 6
    period: float = 0.06
    amplitude: float = 0.0
    orbit: float = 9.3
    core: float = 0.0
    spin: float = 4.7
    v_star: float = 10.0
    metals: tuple[tuple[float, float], ...] = ()
    comets: tuple[Comet, ...] = field(default=())


def nights(rng: np.random.Generator, counts, *, first: float = 53500.0, span: float = 400.0):
    """Return MJD and night of exposures: so many in each night, minutes apart, nights apart by days to months."""
    starts = np.sort(first + rng.choice(int(span), len(counts), replace=False))
    mjd, night = [], []
    for start, count in zip(starts, counts, strict=True):
        begin = start + rng.uniform(0.05, 0.15)
        mjd.append(begin + np.cumsum(rng.uniform(0.007, 0.02, count)))
        night.append(np.full(count, int(start)))
    return np.concatenate(mjd), np.concatenate(night)


def star_of(rng: np.random.Generator, kind: str = "A") -> Star:
    """Draw a star of a kind: A, pulsating, SB1, F, G, active."""
    common = Star(kind=kind, v_star=float(rng.uniform(-30, 30)), metals=_metals(rng, 25, 0.03))
    common = replace(
        common,
        vsini=float(rng.uniform(70, 180)),
        strength=float(rng.uniform(0.35, 0.75)),
        stable=float(rng.choice([0.0, 0.2, 0.6])),
    )
    cool = replace(
        common,
        vsini=float(rng.uniform(4, 12)),
        strength=float(rng.uniform(0.8, 0.92)),
        stable=0.0,
        metals=_metals(rng, 60, 0.25),
    )
    if kind == "pulsating":
        return replace(
            common,
            vsini=130.0,
            order=int(rng.integers(4, 10)),
            period=float(rng.uniform(0.03, 0.12)),
            wave=0.01,
        )
    if kind == "SB1":
        return replace(
            common,
            vsini=float(rng.uniform(15, 60)),
            amplitude=float(rng.uniform(8, 30)),
            orbit=float(rng.uniform(3, 30)),
            stable=0.0,
        )
    if kind in ("F", "G"):
        return replace(cool, vsini=float(rng.uniform(8, 25)) if kind == "F" else cool.vsini, amplitude=0.01)
    if kind == "active":
        return replace(cool, core=float(rng.uniform(0.2, 0.6)), spin=float(rng.uniform(1.5, 12)))
    return common


def _metals(rng, number, depth):
    places = rng.uniform(-11, 11, number)
    return tuple(zip(places.tolist(), np.minimum(rng.exponential(depth, number), 0.8).tolist(), strict=True))


def _rotation(v, vsini):
    """Return the profile that rotation gives a sharp line (limb darkening 0.6), height 1."""
    x = np.clip(1 - (v / vsini) ** 2, 0, None)
    return (2 * 0.4 * np.sqrt(x) + 0.5 * np.pi * 0.6 * x) / (0.8 + 0.3 * np.pi)


def _broadened(v, depth_of, vsini):
    """Convolve a line profile with rotation and a resolution of 2.6 km/s."""
    step = v[1] - v[0]
    reach = np.arange(-int(vsini / step) - 8, int(vsini / step) + 9) * step
    kernel = _rotation(reach, vsini)
    kernel = np.convolve(kernel, np.exp(-0.5 * (np.arange(-6, 7) * step / 1.11) ** 2), mode="same")
    return np.convolve(np.pad(depth_of, reach.size // 2, mode="edge"), kernel / kernel.sum(), mode="valid")[
        : v.size
    ]


def _photosphere(star: Star, line: str, v, resolution: float = 1.0):
    """Return the star's own light by velocity: damped Ca II, Balmer epsilon, metals, gas at rest."""
    width = 60.0 if star.kind in ("A", "pulsating", "SB1", "fibre") else 180.0
    share = 1.0 if line == "K" else 0.93
    damped = (
        star.strength * share / (1 + np.abs(v / width) ** (1.6 if star.kind in ("F", "G", "active") else 2))
    )
    flux = 1 - damped
    balmer = LIGHT * (EPSILON / REST[line] - 1)
    hot = width < 100
    flux = flux * (1 - (0.45 if hot else 0.15) / (1 + np.abs((v - balmer) / (350 if hot else 60)) ** 1.8))
    for place, depth in star.metals:
        centre = LIGHT * place / REST[line]
        flux = flux * (1 - depth * (0.7 if line == "H" else 1.0) / (1 + ((v - centre) / 3.0) ** 4))
    flux = _broadened(v, flux, max(star.vsini * resolution, 2.0))
    if star.stable:
        flux = flux * (1 - star.stable * share / np.cosh(1.763 * (v + 3.0) / 6.0) ** 2)
    return flux


def _light(star: Star, line: str, v, mjd, era):
    """Return the light of each exposure before the comet, shape (n, m)."""
    states = {int(one): _photosphere(star, line, v, 1.0 - 0.02 * int(one)) for one in np.unique(era)}
    shift = star.amplitude * np.sin(2 * np.pi * mjd / star.orbit)
    flux = np.empty((mjd.size, v.size))
    for row in range(mjd.size):
        own = states[int(era[row])]
        flux[row] = np.interp(v - shift[row], v, own) if star.amplitude else own
    if star.wave:
        angle = np.arcsin(np.clip(v / star.vsini, -1, 1))
        height = np.sqrt(_rotation(v, star.vsini))
        flux += star.wave * height * np.cos(star.order * angle - 2 * np.pi * mjd[:, None] / star.period)
    if star.core:
        level = 1 + 0.25 * np.sin(2 * np.pi * mjd / star.spin) + 0.08 * np.sin(7.1 * mjd)
        core = 1 / (1 + np.abs(v / 16.0) ** 3)
        spot = 1 / np.cosh((v - 9 * np.cos(2 * np.pi * mjd[:, None] / star.spin)) / 7.0)
        share = 1.0 if line == "K" else 0.8
        flux += share * star.core * (level[:, None] * core + 0.15 * spot)
    return np.clip(flux, 0.005, None)


def _absorbed(flux, comet: Comet, line: str, v):
    side = np.where(v > comet.velocity, 1 + comet.skew, 1 - comet.skew)
    shape = 1 / np.cosh(2.634 * (v - comet.velocity) / (comet.fwhm * side))
    depth = comet.depth * (1.0 if line == "K" else comet.ratio)
    flux[comet.rows] *= 1 - depth * shape
    return flux


def _detector(rng, flux, wave, sky: Sky, pixel: float):
    """Add noise and hits of detector pixels, rebinned onto the pixels of the spectrum."""
    edges = np.append(wave - 0.5 * STEP, wave[-1] + 0.5 * STEP)
    low = wave[0] - 0.05
    count = int((wave[-1] + 0.05 - low) / pixel) + 2
    for row in range(len(flux)):
        borders = low + (rng.uniform(-1, 0) + np.arange(count + 1)) * pixel
        # A detector pixel of another width has other photons; S/N is that of 0.01 Angstrom.
        noise = rng.standard_normal(count) * np.sqrt(STEP / pixel)
        level = np.interp(borders[:-1], wave, flux[row])
        signal = noise * np.sqrt(0.05 + 0.95 * level) / sky.snr
        for _ in range(rng.poisson(sky.hits)):
            first, wide = int(rng.integers(20, count - 20)), int(rng.integers(1, 4))
            height = np.exp(rng.uniform(np.log(5), np.log(100))) / sky.snr
            signal[first : first + wide] += height * rng.uniform(0.5, 1.0, wide)
        total = np.concatenate([[0.0], np.cumsum(signal * pixel)])
        flux[row] += np.diff(np.interp(edges, borders, total)) / STEP
    return flux


def observe(rng: np.random.Generator, star: Star, mjd, night, sky: Sky = Sky(), *, fibre: bool = False):
    """Return the spectra of K and H of one star, with everything that an instrument adds."""
    n = mjd.size
    era = (mjd >= FIBRE_CHANGE).astype(np.int64) if fibre else np.zeros(n, np.int64)
    pixel = float(rng.uniform(0.0098, 0.0118))
    berv = 25 * np.sin(2 * np.pi * mjd / 365.25 + 1.0)
    brightness = np.exp(rng.normal(0, 0.3, n)) * 1e4
    sets = []
    for line, rest in REST.items():
        middle = round(rest / STEP) * STEP
        wave = np.round(middle + STEP * np.arange(-1100, 1101), 4)
        v = LIGHT * ((wave / rest) / (1 + star.v_star / LIGHT) - 1)
        flux = _light(star, line, v, mjd, era)
        for comet in star.comets:
            flux = _absorbed(flux, comet, line, v)
        flux = _detector(rng, flux, wave, sky, pixel)
        x = (wave - middle) / 10.0
        phase, length = rng.uniform(0, 2 * np.pi, n), np.exp(rng.uniform(np.log(2), np.log(8), n))
        bend = 1 + 0.5 * sky.slope * rng.standard_normal((n, 1)) * x
        bend += (
            sky.ripple
            * rng.uniform(0, 1, (n, 1))
            * np.sin(2 * np.pi * 10 * x / length[:, None] + phase[:, None])
        )
        flux = (flux * bend + sky.zero * rng.standard_normal((n, 1))) * brightness[:, None]
        columns = {
            "mjd": mjd,
            "night": night.astype(np.int64),
            "era": era,
            "exptime": np.full(n, 300.0),
            "snr": np.full(n, sky.snr),
            "berv": berv,
            "rv": np.full(n, np.nan),
            "quality": np.zeros(n, np.int64),
        }
        sets.append(
            SpectrumSet(
                wave=wave,
                flux=flux.astype(np.float32),
                error=np.full(flux.shape, np.nan, np.float32),
                mask=np.zeros(flux.shape, np.uint16),
                epochs=Table(columns, {"mjd": "d"}),
                meta={"line": f"CaII {line}", "rest": rest, "v_star": star.v_star, "instrument": "HARPS"},
            )
        )
    return sets


def handles(sets):
    """Return the sets as products of a survey, and the star they are of."""
    made = [
        MemoryHandle(
            one,
            ProductInfo(kind="spectrum", role="reduced", series=one.meta["line"][-1], observatory="harps"),
        )
        for one in sets
    ]
    return made, Aux(Target("star", ra=86.0, dec=-51.0))
