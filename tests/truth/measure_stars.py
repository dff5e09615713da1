"""How much light curves of stars scatter, beside what photons and scintillation leave no choice about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from truth.frames import READ_NOISE, Night, NightPlan, make_night
from truth.table import Row
from virtualobserver.analyses.starcurves import StarCurves
from virtualobserver.ccd.photometry import measure
from virtualobserver.data import Target, as_handle
from virtualobserver.observatories.astep import VirtualASTEP
from virtualobserver.observatory import Aux

__all__ = ["PLAN", "Scatter", "measure_stars", "rows"]

AUX = Aux(Target("field", kind="field"))
PLAN = NightPlan(
    frames=40, side=300, stars=40, star_light=(1e4, 5e5), scintillation=0.001, fwhm=(2.6, 3.6), beta=3.5,
    drift=(6.0, -4.0), dither=0.5,
)  # fmt: skip
BINS = ((1e4, 5e4), (5e4, 1.5e5), (1.5e5, 5e5))  # electrons


@dataclass(frozen=True)
class Scatter:
    """Electrons of each star, the least relative scatter there is, ours, and that of simple ensembles.

    ``photutils`` is NaN where that package is not there.
    """

    light: np.ndarray
    least: np.ndarray
    ours: np.ndarray
    simple: np.ndarray
    photutils: np.ndarray


def measure_stars(plan: NightPlan = PLAN, seed: int = 0) -> Scatter:
    """Make a night, measure its stars, and compare those that stand alone."""
    night = make_night(plan, [], seed)
    settings = VirtualASTEP.Settings()
    tables = []
    for handle in night.handles:
        for product in measure([handle], AUX, settings):
            one = as_handle(product)
            tables.append(replace(one, info=replace(one.info, unit=handle.info.unit)))
    analysis = StarCurves()
    found = analysis.find(tables, AUX, analysis.settings)
    curves = [product.data for product in found.products if product.role == "reduced"]
    wide = max(settings.photometry.radii)
    simple = _simple(night, [one.load() for one in tables], f"flux_{wide:g}")
    theirs = _photutils(night)
    made = []
    for number in _alone(night):
        x, y, light = night.stars[number]
        near = [c for c in curves if np.hypot(np.array(c["x"])[0] - x, np.array(c["y"])[0] - y) < 3]
        if len(near) == 1 and len(near[0].mjd) == plan.frames and number in simple:
            flux = near[0].flux / np.median(near[0].flux)
            made.append(
                (light, _least(plan, light), float(np.std(flux)), simple[number], theirs.get(number, np.nan))
            )
    return Scatter(*np.array(made).T)


def rows(number: int, seed: int = 0) -> Iterator[Row]:
    """Yield how many stars scatter by no more than 1.15 times what they must."""
    nights = [measure_stars(seed=seed + k) for k in range(number)]
    columns = ("light", "least", "ours", "simple", "photutils")
    whole = Scatter(*(np.concatenate([getattr(one, name) for one in nights]) for name in columns))
    methods = (("aperture by brightness and seeing", whole.ours), ("one wide aperture", whole.simple))
    if np.isfinite(whole.photutils).any():
        methods = (*methods, ("photutils, one aperture", whole.photutils))
    for low, high in BINS:
        some = (whole.light >= low) & (whole.light < high)
        for method, scatter in methods:
            ratio = (scatter / whole.least)[some]
            what = f"scatter within 1.15 of the least; rms ratio {np.sqrt(np.mean(ratio**2)):.2f}"
            hits = int((ratio < 1.15).sum())
            yield Row(
                "starcurves",
                method,
                f"stars of {low:g} to {high:g} electrons",
                what,
                hits,
                len(ratio),
                "1.15",
            )


def _alone(night: Night) -> list[int]:
    """Return the stars that are on all frames and have no other near."""
    x, y, _ = night.stars.T
    apart = np.hypot(x[:, None] - x, y[:, None] - y) + 1e3 * np.eye(len(x))
    inner = 25
    side = night.plan.side - inner
    inside = (x > inner) & (x < side) & (y > inner) & (y < side)
    return np.flatnonzero((apart.min(axis=1) > 24) & inside).tolist()


def _least(plan: NightPlan, light: float) -> float:
    """Return the least relative scatter of any circle: photons of star and sky, reading, scintillation."""
    fwhm = 0.5 * sum(plan.fwhm)
    assert plan.beta is not None
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / plan.beta) - 1))
    radius = np.linspace(1, 12, 200)
    inside = light * (1 - (1 + (radius / alpha) ** 2) ** (1 - plan.beta))
    noise = np.sqrt(inside + np.pi * radius**2 * (plan.sky + READ_NOISE**2)) / inside
    return float(np.hypot(noise.min(), plan.scintillation))


def _simple(night: Night, tables: list, column: str) -> dict[int, float]:
    """Divide each star by the sum of all others in one wide circle."""
    stars = _alone(night)
    flux = np.full((len(stars), len(tables)), np.nan)
    for frame, (table, world) in enumerate(zip(tables, night.worlds, strict=True)):
        sky = night.worlds[0].all_pix2world(night.stars[stars, :2], 0)
        places = world.all_world2pix(sky, 0)
        for row, (x, y) in enumerate(places):
            away = np.hypot(np.array(table["x"]) - x, np.array(table["y"]) - y)
            if away.min() < 2:
                flux[row, frame] = np.array(table[column])[away.argmin()]
    return _ensemble(stars, flux)


def _photutils(night: Night) -> dict[int, float]:
    """Return the same from circles of two widths of a star and rings of sky about them, by photutils; or nothing."""
    try:
        from photutils.aperture import ApertureStats, CircularAnnulus, CircularAperture, aperture_photometry
    except ImportError:
        return {}
    stars = _alone(night)
    width = 0.5 * sum(night.plan.fwhm)
    sky = night.worlds[0].all_pix2world(night.stars[stars, :2], 0)
    columns = []
    for handle, world in zip(night.handles, night.worlds, strict=True):
        data, places = handle.load().data.astype(float), world.all_world2pix(sky, 0)
        circle = CircularAperture(places, r=2 * width)
        ring = ApertureStats(data, CircularAnnulus(places, r_in=3 * width, r_out=5 * width))
        columns.append(
            np.array(aperture_photometry(data, circle)["aperture_sum"]) - ring.median * circle.area
        )
    return _ensemble(stars, np.array(columns).T)


def _ensemble(stars: list[int], flux: np.ndarray) -> dict[int, float]:
    """Divide each star by the sum of all others that are in every frame, and return the scatter of each."""
    whole = np.isfinite(flux).all(axis=1)
    stars, flux = [s for s, w in zip(stars, whole, strict=True) if w], flux[whole]
    curves = flux / (flux.sum(axis=0) - flux)
    return {star: float(np.std(c / np.median(c))) for star, c in zip(stars, curves, strict=True)}
