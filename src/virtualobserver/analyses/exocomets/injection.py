"""Drawing comets and putting them into real spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.analyses.exocomets.matched.lines import velocity_of
from virtualobserver.analyses.exocomets.matched.profiles import Comet, doublet_ratio, transmission
from virtualobserver.analyses.exocomets.settings import CometInjection
from virtualobserver.analyses.exocomets.stars import line_of
from virtualobserver.conventions import HOURS_PER_DAY
from virtualobserver.data.handles import Handle, MemoryHandle
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.errors import NotEnoughData
from virtualobserver.maths.draws import log_uniform
from virtualobserver.typing import Record, RecordDict

__all__ = ["draw_comet", "inject_comets"]

FloatArray = NDArray[np.float64]

_LIMIT: Final = 250.0
"""km/s; inside the range that is searched, 300, with room for half a wide comet."""
_MOST_SWEEP: Final = 60.0
"""km/s in a whole transit, as the documentation of the setting says."""


def draw_comet(
    rng: np.random.Generator, sets: Sequence[tuple[str, SpectrumSet]], settings: CometInjection
) -> RecordDict:
    """Draw one comet that at least one exposure sees; ``exposure`` is the number of nights with one.

    Raises
    ------
    NotEnoughData
        If there is no exposure with a usable pixel.
    """
    mjd, nights = _usable(sets)
    depth, fwhm = log_uniform(rng, settings.depth), log_uniform(rng, settings.fwhm)
    velocity = float(np.clip(rng.normal(settings.velocity_mean, settings.velocity_scatter), -_LIMIT, _LIMIT))
    duration = log_uniform(rng, settings.duration)
    acceleration = min(log_uniform(rng, settings.acceleration), _MOST_SWEEP / duration)
    acceleration *= 1.0 if rng.random() < 0.5 else -1.0
    profile = settings.profiles[int(rng.integers(len(settings.profiles)))]
    tau: float | None = None
    ratio = float(rng.uniform(*settings.ratio))
    if profile == "optical_depth":
        # Less gas than this cannot take so much light, however much of the star it covers.
        least = -float(np.log1p(-depth)) * 1.0001
        tau = max(log_uniform(rng, settings.tau), least)
        ratio = doublet_ratio(tau)
    seen = float(mjd[int(rng.integers(mjd.size))])
    middle = seen + float(rng.uniform(-0.5, 0.5)) * duration / HOURS_PER_DAY
    half = 0.5 * duration / HOURS_PER_DAY
    return {
        "kind": "comet",
        "profile": profile,
        "amplitude": depth,
        "depth": depth,
        "width": fwhm,
        "fwhm": fwhm,
        "velocity": velocity,
        "ratio": ratio,
        "tau": tau,
        "acceleration": acceleration,
        "duration": duration,
        "t_peak": middle,
        "start_mjd": min(middle - half, seen),
        "end_mjd": max(middle + half, seen),
        "exposure": float(nights),
    }


def _usable(sets: Sequence[tuple[str, SpectrumSet]]) -> tuple[FloatArray, int]:
    """Return the times at which a line of calcium has a usable pixel, and in how many nights they lie."""
    times, nights = [], []
    for name, data in sets:
        if name in ("K", "H") and len(data):
            good = np.asarray(data.mask == 0).any(axis=1)
            night = data.epochs["night"] if "night" in data.epochs else np.floor(data.mjd)
            times.append(data.mjd[good])
            nights.append(np.asarray(night)[good])
    mjd = np.unique(np.concatenate(times)) if times else np.zeros(0)
    if mjd.size == 0:
        msg = "a comet cannot be drawn: there is no usable spectrum of Ca II K or H"
        raise NotEnoughData(msg)
    return mjd, int(np.unique(np.concatenate(nights)).size)


def inject_comets(
    products: Sequence[Handle[SpectrumSet]], params: Sequence[Record], *, lsf: float
) -> list[Handle[SpectrumSet]]:
    """Return handles to copies of the spectra with the comets in front of the star.

    The light that is left is multiplied: noise of an exposure shrinks with it, as little as photon noise does.
    Errors and masks stay.
    """
    result: list[Handle[SpectrumSet]] = []
    for handle in products:
        data = handle.load()
        name, rest = line_of(data, handle.info.series)
        if name in ("K", "H") and len(data):
            for one in params:
                data = _with_comet(data, one, name, rest, lsf)
        result.append(MemoryHandle(data, replace(handle.info, simulated=True)))
    return result


def _with_comet(data: SpectrumSet, params: Record, name: str, rest: float, lsf: float) -> SpectrumSet:
    """Put the comet in front of the star; noise is dimmed with the light, somewhat more than photons would have it."""
    rows = np.flatnonzero((data.mjd >= params["start_mjd"]) & (data.mjd <= params["end_mjd"]))
    if rows.size == 0:
        return data
    comet = Comet(
        velocity=float(params["velocity"]),
        fwhm=float(params["fwhm"]),
        depth=float(params["depth"]),
        mjd=float(params["t_peak"]),
        ratio=float(params.get("ratio") or 1.0),
        tau=params.get("tau"),
        acceleration=float(params.get("acceleration") or 0.0),
    )
    velocity = velocity_of(data.wave, rest, float(data.meta.get("v_star") or 0.0))
    flux = data.flux.copy()
    passed = transmission(velocity, data.mjd[rows], comet, line="H" if name == "H" else "K", lsf=lsf)
    flux[rows] = (flux[rows] * passed).astype(flux.dtype)
    return replace(data, flux=flux)
