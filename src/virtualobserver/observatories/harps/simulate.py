"""Stars that do not exist, observed as HARPS would: phase-3 files, exposure by exposure.

A star has a rotating photosphere with broad Ca II lines, stable circumstellar and interstellar lines, radial
velocity motion, an active core or exocomets; its nights have a seeing-dependent signal, its files
cosmic rays, a lost extraction, missing keywords. What was put in stands in the row of each file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.catalog.reference import ReferenceStars
from virtualobserver.conventions import FWHM_TO_SIGMA
from virtualobserver.data.product import Raw, Target
from virtualobserver.maths.spectra.lines import C_KM_S, CALCIUM
from virtualobserver.observatories.harps.adp import adp_bytes
from virtualobserver.observatories.harps.settings import HARPSSettings, SimulationSettings
from virtualobserver.typing import RecordDict

__all__ = ["SCENARIOS", "Comet", "simulate", "transmission"]

SCENARIOS: Final = ("comet", "quiet", "active", "binary", "interstellar", "defects")
"""Kinds of star; the catalogue column ``scenario`` asks for one, otherwise one is drawn."""

_K, _H = CALCIUM["K"], CALCIUM["H"]
_EPSILON = 3970.075
"""Angstrom in air: H epsilon, in whose wing H stands."""
_LSF: Final = 2.61  # km/s, R = 115 000
_CORRELATION: Final = 0.22
"""Of neighbouring pixels of merged HARPS spectra, as measured for them; see the documentation of the survey."""
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Comet:
    """An exocomet: K depth at the line centre, FWHM and velocity from the star (km/s), acceleration (km/s/h).

    ``mjd_start`` to ``mjd_end`` is when it stands before the star, ``covering`` which share of it, so that
    the depth in H follows from the optical depth: τ_H = τ_K/2.
    """

    depth: float
    fwhm: float
    v: float
    acceleration: float
    mjd_start: float
    mjd_end: float
    covering: float = 1.0

    @property
    def tau(self) -> float:
        """Optical depth in K at the centre."""
        return -math.log1p(-min(self.depth / self.covering, 0.999))

    @property
    def ratio(self) -> float:
        """Depth in H over that in K, 0.5 (thin) to 1 (thick)."""
        return (1 - math.exp(-self.tau / 2)) / (1 - math.exp(-self.tau))

    def velocity_at(self, mjd: float) -> float:
        """Velocity from the star (km/s) at a time."""
        return self.v + self.acceleration * 24 * (mjd - 0.5 * (self.mjd_start + self.mjd_end))


def _gauss(v: FloatArray, center: float, fwhm: float) -> FloatArray:
    sigma = math.hypot(fwhm, _LSF) * FWHM_TO_SIGMA
    return np.asarray(np.exp(-0.5 * ((v - center) / sigma) ** 2))


def transmission(wave: FloatArray, comets: Iterable[Comet], mjd: float, v_star: float) -> FloatArray:
    """Return what exocomets let through at one time, shape (n,)."""
    through = np.ones(wave.size)
    for comet in comets:
        if not comet.mjd_start <= mjd <= comet.mjd_end:
            continue
        center = v_star + comet.velocity_at(mjd)
        for rest, share in ((_K, 1.0), (_H, 0.5)):
            v = C_KM_S * (wave / rest - 1)
            shape = _gauss(v, center, comet.fwhm)
            through *= 1 - comet.covering * (1 - np.exp(-comet.tau * share * shape))
    return through


@dataclass(frozen=True)
class _Star:
    scenario: str
    v_star: float
    vsini: float
    depth: float
    weak: tuple[tuple[float, float], ...]
    circumstellar: float
    interstellar: float
    v_interstellar: float
    amplitude: float
    period: float
    core: float
    spin: float
    comets: tuple[Comet, ...]
    mag: float
    color: float


def _draw_comets(sim: SimulationSettings, nights: FloatArray, rng: np.random.Generator) -> list[Comet]:
    comets = []
    for _ in range(max(1, int(rng.poisson(sim.comets)))):
        middle = float(rng.choice(nights)) + 0.15 + float(rng.uniform(-0.05, 0.05))
        half = 0.5 * math.exp(rng.uniform(math.log(1 / 24), math.log(1.5))) + 0.1
        comets.append(
            Comet(
                depth=math.exp(rng.uniform(*np.log(sim.depth))),
                fwhm=math.exp(rng.uniform(*np.log(sim.width))),
                v=float(rng.normal(20, 40)),
                acceleration=float(rng.normal(0, 0.5)),
                mjd_start=middle - half,
                mjd_end=middle + half,
            )
        )
    return comets


def _draw_star(
    target: Target, settings: HARPSSettings, nights: FloatArray, rng: np.random.Generator
) -> _Star:
    wanted = target.extra.get("scenario")
    drawn = SCENARIOS[int(rng.choice(len(SCENARIOS), p=[0.3, 0.3, 0.1, 0.1, 0.1, 0.1]))]
    kind = str(wanted) if wanted in SCENARIOS else drawn
    cool = kind in {"active", "binary"}
    given = target.extra.get("radial_velocity", target.extra.get("rv"))
    v_star = float(given) if isinstance(given, int | float) else float(rng.normal(0, 15))
    comets = _draw_comets(settings.simulation, nights, rng) if kind in {"comet", "defects"} else []
    return _Star(
        scenario=kind,
        v_star=v_star,
        vsini=float(rng.uniform(3, 8)) if cool else float(rng.uniform(60, 160)),
        depth=0.85 if cool else float(rng.uniform(0.4, 0.7)),
        weak=tuple(
            (float(w), float(d))
            for w, d in zip(rng.uniform(3913, 3989, 60), rng.exponential(0.08 if cool else 0.02, 60), strict=True)
        ),
        circumstellar=float(rng.uniform(0.3, 1.5)) if kind == "comet" else 0.0,
        interstellar=float(rng.uniform(0.2, 1.0)) if kind in {"interstellar", "quiet"} else 0.0,
        v_interstellar=float(rng.normal(0, 12)),
        amplitude=8.0 if kind == "binary" else 0.02,
        period=float(rng.uniform(3, 40)),
        core=0.5 if kind == "active" else 0.0,
        spin=float(rng.uniform(0.5, 2.0)),
        comets=tuple(comets),
        mag=target.mag if target.mag is not None else float(rng.uniform(4, 8)),
        color=1.2 if cool else float(rng.uniform(0.0, 0.35)),
    )  # fmt: skip


def _photosphere(wave: FloatArray, star: _Star, v: float) -> FloatArray:
    """Continuum of one with broad Ca II and Hε lines, and weak lines as wide as the rotation."""
    rest = wave / (1 + v / C_KM_S)
    flux = np.ones(wave.size)
    width = 250.0 if star.vsini < 20 else star.vsini
    for line, depth in ((_K, star.depth), (_H, 0.9 * star.depth), (_EPSILON, 0.25 * star.depth)):
        x = C_KM_S * (rest / line - 1) / width
        flux *= 1 - depth * (0.7 * np.exp(-0.5 * x**2) + 0.3 / (1 + x**2))
    broad = math.hypot(max(star.vsini, 5.0), _LSF) * FWHM_TO_SIGMA * 1.5
    for line, depth in star.weak:
        reach = line * 5 * broad / C_KM_S
        near = slice(*np.searchsorted(rest, (line - reach, line + reach)))
        v_line = C_KM_S * (rest[near] / line - 1)
        flux[near] *= 1 - min(depth, 0.6) * np.exp(-0.5 * (v_line / broad) ** 2)
    return flux


def _spectrum(wave: FloatArray, star: _Star, mjd: float) -> tuple[FloatArray, float]:
    """Return the noise-free normalised spectrum of one exposure and the star's velocity then."""
    v = star.v_star + star.amplitude * math.sin(2 * math.pi * mjd / star.period)
    flux = _photosphere(wave, star, v)
    for rest, share in ((_K, 1.0), (_H, 0.5)):
        x = C_KM_S * (wave / rest - 1)
        if star.core:
            phase = 2 * math.pi * mjd / star.spin
            flux += share**0.5 * star.core * _gauss(x, v, 40.0)
            flux += (
                share**0.5 * 0.25 * star.core * math.sin(phase) * _gauss(x, v + 15 * math.cos(phase), 18.0)
            )
        flux *= np.exp(-star.circumstellar * share * _gauss(x, star.v_star, 5.0))
        flux *= np.exp(-star.interstellar * share * _gauss(x, star.v_interstellar, 4.0))
    return flux * transmission(wave, star.comets, mjd, star.v_star), v


def _noise(flux: FloatArray, snr: float, rng: np.random.Generator) -> FloatArray:
    """Noise of neighbouring pixels correlated as in rebinned spectra; variance 0.1 + 0.9 of the flux."""
    white = rng.standard_normal(flux.size + 1)
    # x_i = a w_i + b w_(i+1) with ab = ρ and a² + b² = 1
    a, b = (math.sqrt(0.5 * (1 + s * math.sqrt(1 - 4 * _CORRELATION**2))) for s in (1, -1))
    return np.asarray((a * white[:-1] + b * white[1:]) * np.sqrt(0.1 + 0.9 * np.clip(flux, 0, None)) / snr)


def simulate(
    targets: Iterable[Target], rng: np.random.Generator, settings: HARPSSettings
) -> Iterator[tuple[Target, Raw]]:
    """Make the files of each target, and its star in Gaia."""
    sim = settings.simulation
    low, high = min(settings.lines.values()), max(settings.lines.values())
    first, last = round((low - 22.0) * 100), round((high + 22.0) * 100)
    wave = np.arange(first, last + 1) / 100.0
    for target in targets:
        nights = np.sort(
            rng.choice(np.arange(int(sim.mjd_start), int(sim.mjd_end)), sim.nights, replace=False)
        )
        star = _draw_star(target, settings, nights.astype(np.float64), rng)
        number = 0
        for night in nights:
            start = float(night) + 0.05 + 0.1 * rng.random()
            for _ in range(sim.per_night):
                yield target, _exposure(target, star, wave, start=start, number=number, sim=sim, rng=rng)
                start += float(rng.uniform(400, 1500)) / 86400
                number += 1
        yield target, _gaia(target, star)


def _exposure(
    target: Target, star: _Star, wave: FloatArray, *, start: float, number: int, sim: SimulationSettings,
    rng: np.random.Generator,
) -> Raw:  # fmt: skip
    exptime = float(np.round(rng.uniform(120, 360), 1))
    mjd = start + exptime / 2 / 86400
    clean, v = _spectrum(wave, star, mjd)
    snr = sim.snr * float(np.exp(rng.normal(0, 0.25)))
    tilt = 1 + 0.02 * rng.normal() * (wave - wave.mean()) / 20
    level = float(np.exp(rng.normal(6, 0.5)))
    flux = level * tilt * (clean + _noise(clean, snr, rng) + 0.002 * rng.normal())
    for _ in range(int(rng.poisson(sim.cosmics))):
        where = int(rng.integers(5, wave.size - 5))
        flux[where : where + int(rng.integers(1, 3))] += level * float(rng.uniform(10, 80)) / snr
    defect = _spoil(flux, star, number, dead=rng.random() < sim.dead_fraction and star.scenario != "defects")
    header = _header(target, star, start=start, exptime=exptime, snr=snr, v=v, rng=rng)
    if defect == "keywords":
        for key in ("EXPTIME", "ESO DRS BERV", "SNR"):
            header.pop(key)
    seen = [comet for comet in star.comets if comet.mjd_start <= mjd <= comet.mjd_end]
    told = {
        "scenario": star.scenario,
        "v_star": star.v_star,
        "comets": [_told(comet) for comet in seen],
        "defect": defect,
    }
    stamp = datetime(1858, 11, 17, tzinfo=UTC) + timedelta(days=start)
    name = f"ADP.{stamp:%Y-%m-%dT%H:%M:%S}.{stamp.microsecond // 1000:03d}"
    obscore = {
        "obs_id": name, "obs_collection": "HARPS", "dataproduct_type": "spectrum", "t_min": start,
        "t_max": start + exptime / 86400, "t_exptime": exptime, "s_ra": target.ra, "s_dec": target.dec,
        "em_min": wave[0] * 1e-10, "em_max": wave[-1] * 1e-10, "em_res_power": 115000.0,
    }  # fmt: skip
    content = adp_bytes(wave, flux, header)
    return Raw(
        f"simulated {target.name} {name}", "fits", content=content, obscore=obscore,
        header={"store": "windows", "truth": told, "injected": [_event(comet) for comet in seen]},
    )  # fmt: skip


def _event(comet: Comet) -> RecordDict:
    """Return what the search should report, under the name it has there."""
    return {
        "kind": "exocomet_candidate", "t_peak": (comet.mjd_start + comet.mjd_end) / 2,
        "start_mjd": comet.mjd_start, "end_mjd": comet.mjd_end, "amplitude": comet.depth,
    }  # fmt: skip


def _told(comet: Comet) -> dict[str, float]:
    return {
        "depth": comet.depth, "fwhm": comet.fwhm, "v": comet.v, "acceleration": comet.acceleration,
        "ratio": comet.ratio, "mjd_start": comet.mjd_start, "mjd_end": comet.mjd_end,
    }  # fmt: skip


def _spoil(flux: FloatArray, star: _Star, number: int, *, dead: bool) -> str:
    """Damage a spectrum in place; of a star of defects the first five files, each in its own way."""
    ways = (
        {0: "dead", 1: "nan", 2: "absurd", 3: "spikes", 4: "keywords"} if star.scenario == "defects" else {}
    )
    way = "dead" if dead else ways.get(number, "")
    if way == "dead":
        flux[:] = 0.0
    elif way == "nan":
        flux[2100] = np.nan
    elif way == "absurd":
        flux *= 1e21
    elif way == "spikes":
        flux[700:740:7] = 1.6e21
    return way


def _header(
    target: Target,
    star: _Star,
    *,
    start: float,
    exptime: float,
    snr: float,
    v: float,
    rng: np.random.Generator,
) -> RecordDict:
    stamp = datetime(1858, 11, 17, tzinfo=UTC) + timedelta(days=start)
    return {
        "ORIGIN": "ESO", "TELESCOP": "ESO-3P6", "INSTRUME": "HARPS",
        "OBJECT": target.name.encode("ascii", "replace").decode()[:60],
        "RA": (target.ra if target.ra is not None else 86.8) + 2e-4 * rng.normal(),
        "DEC": float(np.clip((target.dec if target.dec is not None else -51.0) + 2e-4 * rng.normal(), -90, 90)),
        "MJD-OBS": start, "MJD-END": start + exptime / 86400, "DATE-OBS": stamp.isoformat()[:23],
        "EXPTIME": exptime, "SNR": 2 * snr, "SPECSYS": "BARYCENT", "SPEC_RES": 115000.0,
        "PRODCATG": "SCIENCE.SPECTRUM", "ESO DRS BERV": float(rng.uniform(-20, 20)),
        "ESO DRS VERSION": "HARPS_3.5", "ESO DRS CCF RVC": v + 0.001 * rng.normal(),
        "ESO DRS SPE EXT SN5": snr, "ESO DPR TYPE": "STAR,DARK,M4" if star.core else "STAR,DARK,A5",
        "ESO INS MODE": "HARPS", "ESO TEL TARG RADVEL": -99999.0, "ESO TEL AIRM START": 1.2,
        "ESO TEL GEOLON": -70.7345, "ESO TEL GEOLAT": -29.2584, "ESO TEL GEOELEV": 2400.0,
    }  # fmt: skip


def _gaia(target: Target, star: _Star) -> Raw:
    """Return the star as the reference catalogue would give it, with a fainter neighbour."""
    ra, dec = (
        (target.ra if target.ra is not None else 86.8),
        (target.dec if target.dec is not None else -51.0),
    )
    parallax = target.parallax or 20.0
    columns = {
        "source_id": np.array([4792774797545800832, 4792774797545800833]), "ra": np.array([ra, ra + 3e-3]),
        "dec": np.array([dec, dec]), "parallax": np.array([parallax, 0.8]), "mag": np.array([star.mag, 16.5]),
        "bp_rp": np.array([star.color, 1.1]), "g_rp": np.array([0.55 * star.color, 0.6]),
        "radial_velocity": np.array([star.v_star, np.nan]),
    }  # fmt: skip
    stars = ReferenceStars.build(columns, epoch=2016.0)
    header = {"service": "gaia", "catalogue": "gaia@simulated", "rows": len(stars)}
    return Raw(f"simulated {target.name} gaia", "csv", content=stars.to_csv(), header=header)
