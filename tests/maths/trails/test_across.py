"""How light lies across trails: wings of neighbours, stars nobody knows, stars that are none, widths that change."""

import numpy as np
import pytest
from support.drift import TRACK, photons

from virtualobserver.maths.trails.detrend import detrend
from virtualobserver.maths.trails.extract import extract_trails
from virtualobserver.maths.trails.planes import plane_over
from virtualobserver.maths.trails.profile import TransverseProfile
from virtualobserver.maths.trails.track import line_spread

SHAPE = (120, 160)
GAUSS = TransverseProfile(1.7 * 2.35482)


def drawn(places, fluxes, profile, *, widths=None, seed=1):
    """Return electrons of trails with any profile, `widths` (pixels along) times as wide, and their variance."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    light = np.full(SHAPE, 400.0)
    for (x0, y0), flux in zip(places, fluxes, strict=True):
        s = TRACK.along(x - x0, y - y0)
        wide = np.ones_like(s) if widths is None else widths(s)
        share = profile.at(TRACK.across(x - x0, y - y0) / wide) / wide
        light += flux * TRACK.exptime * share * line_spread(s, TRACK.length, profile.sigma)
    image = np.random.default_rng(seed).poisson(light).astype(float)
    return image, np.maximum(image, 1.0)


def test_the_wing_of_a_bright_star_is_no_light_of_a_faint_one():
    profile = TransverseProfile(4.0, 3.0)
    places, fluxes = [(50.2, 60.3), (62.7, 71.6)], [2e5, 600.0]
    image, variance = drawn(places, fluxes, profile)
    samples = extract_trails(
        image, variance, TRACK, *np.transpose(places), fwhm=4.0, profile=profile, mode="joint"
    )
    assert samples.totals.flux[1] == pytest.approx(600.0, abs=4 * samples.totals.flux_error[1])
    wing = 2e5 * profile.at([11.3])[0] / profile.at([0.0])[0]
    assert wing > 8 * samples.totals.flux_error[1]  # what would be wrong without


def test_a_star_that_nobody_knows_moves_and_widens_the_trail_it_lies_on():
    places, fluxes = [(50.2, 60.3), (70.2, 62.8), (40.3, 95.1)], [4000.0, 2000.0, 4000.0]
    image, variance = drawn(places, fluxes, GAUSS)
    samples = extract_trails(
        image, variance, TRACK, *np.transpose([places[0], places[2]]), fwhm=4.0, profile=GAUSS
    )
    shift, shift_error, width, width_error = samples.across
    assert set(samples.rows()) >= {"shift", "shift_error", "width", "width_error"}
    late = samples.flat[0] & (samples.along[0] > 26)
    early = samples.flat[0] & (samples.along[0] < 16)
    across = np.average(shift[0, late], weights=shift_error[0, late] ** -2.0)
    assert across == pytest.approx(2.5 * 2000 / 6000, abs=0.25)
    assert abs(np.average(shift[0, early], weights=shift_error[0, early] ** -2.0)) < 0.1
    assert np.mean(width[0, late]) > 3 * np.mean(width_error[0, late])
    alone = samples.flat[1]
    for value, error in ((shift[1], shift_error[1]), (width[1], width_error[1])):
        assert np.std((value / error)[alone]) == pytest.approx(1.0, abs=0.4)


def test_what_the_catalogue_took_for_a_star_takes_no_light_of_the_one_beside_it():
    places = [(50.2, 60.3), (36.6, 59.9), *((15.2 + 60 * (k % 2), 15.3 + 22 * (k // 2)) for k in range(2))]
    places += [(85.3, 95.2), (20.4, 95.4), (90.1, 30.2), (10.3, 75.1)]
    fluxes = [2e4, 0.0, *([5000.0] * 6)]
    image, variance = photons(TRACK, places, fluxes, shape=SHAPE)
    errors = {}
    for name, catalogue in (("free", None), ("held", np.array([2e4, 5.0, *([5000.0] * 6)]))):
        samples = extract_trails(
            image, variance, TRACK, *np.transpose(places), fwhm=4.0, profile=GAUSS, mode="joint",
            catalogue=catalogue,
        )  # fmt: skip
        errors[name] = float(np.median(samples.flux_error[0, samples.flat[0]]))
    alone = extract_trails(image, variance, TRACK, [50.2], [60.3], fwhm=4.0, profile=GAUSS)
    floor = float(np.median(alone.flux_error[0, alone.flat[0]]))
    assert errors["held"] < 1.4 * floor  # its own photons count as if both had them
    assert errors["free"] > 1.5 * errors["held"]


def test_a_width_that_grows_within_the_exposure_is_measured():
    places = [(15.2 + 70 * (k % 2), 12.3 + 15.4 * (k // 2)) for k in range(14)]
    image, variance = drawn(places, [2e4] * 14, GAUSS, widths=lambda s: 1 + 0.1 * (2 * s / TRACK.length - 1))
    samples = extract_trails(image, variance, TRACK, *np.transpose(places), fwhm=4.0)
    at = np.array([8.0, 19.0, 30.0])
    assert samples.profile.fwhm * samples.profile.width_at(at) == pytest.approx(
        GAUSS.fwhm * (1 + 0.1 * (2 * at / TRACK.length - 1)), rel=0.02
    )


def test_a_plane_follows_what_differs_over_a_chip_and_is_left_out_where_nothing_does():
    rng = np.random.default_rng(3)
    place, wanted = rng.uniform(0, 2000, (40, 2)), rng.uniform(0, 2000, (5, 2))
    time = np.arange(60.0)
    noise = rng.normal(0, 0.005, (40, 60))
    variance = np.full((40, 60), 0.005**2)
    slope = 0.03 * np.sin(time / 4)
    rest = slope * (place[:, :1] / 1000 - 1) + noise
    rest[3, 20:25] = 0.5  # an event of one of them
    found = plane_over(rest, variance, place, np.vstack([wanted, place[:1]]), np.array([-1] * 5 + [0]))
    assert found is not None
    value, error = found
    assert value[:5] == pytest.approx(slope * (wanted[:, :1] / 1000 - 1), abs=0.006)
    assert np.median(np.sqrt(error[:5])) < 0.002
    alone = rest.copy()
    alone[0] += 0.02  # what a star does is none of its own plane
    again = plane_over(alone, variance, place, place[:1], np.array([0]))
    assert again is not None
    assert again[0] == pytest.approx(value[5:], abs=1e-6)
    assert plane_over(noise, variance, place, wanted, np.full(5, -1)) is None


def test_the_published_division_loses_what_two_stars_do_at_once():
    places = [(10.3 + 75 * (k % 2), 10.2 + 12.4 * (k // 2)) for k in range(16)]
    image, variance = photons(TRACK, places, [2e4] * 16, shape=SHAPE)
    samples = extract_trails(image, variance, TRACK, *np.transpose(places), fwhm=4.0, profile=GAUSS)
    pulse = 1 + 0.5 * np.exp(-0.5 * ((samples.time[[4, 9]] - 10) / 1.0) ** 2)
    samples.flux[[4, 9]] *= pulse
    height = {}
    for mode in ("median", "published"):
        found = detrend(samples, mode=mode)
        assert found.detrended.all()
        height[mode] = np.nanmax(found.relative[[4, 9]], axis=1) - 1
    assert min(height["median"]) > 0.4
    assert max(height["published"]) < 0.15
