"""Light along trails is what was drawn, with honest errors, and no lost column is called dark."""

from functools import cache

import numpy as np
import pytest
from support.drift import TRACK, photons, truth

from virtualobserver.conventions import (
    FLAG_ARCHIVE,
    FLAG_BACKGROUND,
    FLAG_COSMIC_RAY,
    FLAG_EDGE,
    FLAG_NOT_FINITE,
    MASK_BAD,
    MASK_COSMIC_RAY,
)
from virtualobserver.errors import DataError
from virtualobserver.maths.trails.extract import MODES, extract_trails, model_image
from virtualobserver.maths.trails.profile import TransverseProfile
from virtualobserver.maths.trails.track import TrackModel

PROFILE = TransverseProfile(1.7 * 2.35482)
LATTICE = [(20.3 + 90 * i + 0.13 * j, 30.2 + 40.37 * j) for i in range(3) for j in range(7)]


def lattice(flux, seed, track=TRACK, **options):
    image, variance = photons(track, LATTICE, [flux] * len(LATTICE), shape=(310, 300), seed=seed)
    return extract_trails(
        image, variance, track, *np.transpose(LATTICE), fwhm=4.0, profile=PROFILE, **options
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("flux", [300.0, 3000.0, 4e4])
def test_fluxes_are_unbiased_and_errors_are_the_scatter(mode, flux):
    pulls, totals = [], []
    for seed in range(24):
        found = lattice(flux, seed, mode=mode)
        pulls.append(((found.flux - flux * found.response) / found.flux_error).ravel())
        totals.append((found.totals.flux - flux) / found.totals.flux_error)
    pulls, totals = np.concatenate(pulls), np.concatenate(totals)
    assert len(pulls) > 20000
    assert np.mean(pulls) == pytest.approx(0.0, abs=0.05)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.1)
    assert np.std(totals) == pytest.approx(1.0, abs=0.2)
    assert np.mean(totals) == pytest.approx(0.0, abs=0.25)


@pytest.mark.parametrize("angle", [0.28, -5.0, 45.0, 90.0, 200.0])
@pytest.mark.parametrize("mode", MODES)
def test_trails_of_any_angle(angle, mode):
    track = TrackModel(0.5, 20.0, 0.2633, angle)
    vx, vy = track.vector
    x, y = np.array([110.2, 190.0]) - 10 * vx, np.array([80.0, 150.4]) - 10 * vy
    image, variance = photons(track, list(zip(x, y, strict=True)), [2e4, 4e3])
    found = extract_trails(image, variance, track, x, y, fwhm=4.0, profile=PROFILE, mode=mode)
    assert np.abs(found.totals.flux - [2e4, 4e3]).max() < 150
    assert np.abs((found.totals.flux - [2e4, 4e3]) / found.totals.flux_error).max() < 3.5
    inner = found.flat & np.isfinite(found.flux)
    assert inner.sum() == found.flat.sum()
    assert np.std((found.flux - [[2e4], [4e3]])[inner] / found.flux_error[inner]) < 1.4
    assert found.time[0] == pytest.approx(track.time_of(found.along[0]))
    assert np.all(np.diff(found.time, axis=1) > 0)


def test_the_time_of_a_pulse_and_the_unit():
    """A third of a second of light in the tenth second."""
    image, variance = photons(TRACK, [(50.0, 60.0)], [0.0])
    at = 50 + 10 * TRACK.vector[0]
    y, x = np.mgrid[:220, :260]
    image += (
        3e4
        * np.exp(-0.5 * ((x - at) ** 2 + (y - 60 - 10 * TRACK.vector[1]) ** 2) / 1.7**2)
        / (2 * np.pi * 1.7**2)
    )
    found = extract_trails(image, variance, TRACK, [50.0], [60.0], fwhm=4.0, profile=PROFILE)
    time, flux = found.time[0], found.flux[0]
    near = np.abs(time - 10) < 4
    assert np.sum(time[near] * flux[near]) / np.sum(flux[near]) == pytest.approx(10.0, abs=0.1)
    # electrons/s times seconds a sample
    assert np.sum(flux[near]) / TRACK.speed == pytest.approx(3e4, rel=0.03)


def test_a_masked_row_is_made_up_for_and_a_masked_column_is_lost():
    image, variance = photons(TRACK, [(50.0, 60.0)], [2e4])
    plain = extract_trails(image, variance, TRACK, [50.0], [60.0], fwhm=4.0, profile=PROFILE)
    mask = np.zeros(image.shape, int)
    mask[62, 60:70] = MASK_BAD | MASK_COSMIC_RAY
    mask[:, 75:77] = MASK_BAD
    image = image.copy()
    image[mask != 0] = 0.0
    found = extract_trails(image, variance, TRACK, [50.0], [60.0], fwhm=4.0, mask=mask, profile=PROFILE)
    column = np.rint(50 + found.along[0]).astype(int)
    part, gone = (column >= 60) & (column < 70), (column == 75) | (column == 76)
    assert part.sum() == 10
    assert gone.sum() == 2
    assert found.flux[0, part] == pytest.approx(plain.flux[0, part], rel=0.05)
    assert np.mean(found.flux_error[0, part]) > 1.03 * np.mean(plain.flux_error[0, part])
    assert np.all(found.flags[0, part] == FLAG_ARCHIVE | FLAG_COSMIC_RAY)
    assert np.isnan(found.flux[0, gone]).all()
    assert np.all(found.flags[0, gone] & (FLAG_NOT_FINITE | FLAG_ARCHIVE) == FLAG_NOT_FINITE | FLAG_ARCHIVE)
    assert found.flags[0, ~part & ~gone].any() == 0
    assert found.totals.flux[0] == pytest.approx(plain.totals.flux[0], rel=0.01)
    assert found.totals.covered[0] == pytest.approx(36 / 38, abs=0.005)
    # 10 in the row, and as many in the two columns as the profile is above a twentieth of its peak
    assert found.totals.mask_counts[0, [0, 3]].tolist() == [10 + 2 * 9, 10]


def test_the_bits_stay_when_the_zeros_of_dead_pixels_are_in_no_mask():
    image, variance = photons(TRACK, [(50.0, 60.0)], [2e4])
    image[:, 80] = 0.0
    found = extract_trails(image, variance, TRACK, [50.0], [60.0], fwhm=4.0, profile=PROFILE)
    lost = np.isnan(found.flux[0])
    assert np.rint(50 + found.along[0, lost]).tolist() == [80.0]
    assert found.flags[0, lost] == FLAG_ARCHIVE | FLAG_NOT_FINITE


def test_trails_partly_off_the_chip_keep_what_is_on_it():
    places = [(-15.0, 60.0), (240.0, 100.0), (100.0, -1.0), (-200.0, 50.0), (np.nan, 50.0)]
    image, variance = photons(TRACK, [place for place in places if np.isfinite(place[0])], [2e4] * 4)
    found = extract_trails(image, variance, TRACK, *np.transpose(places), fwhm=4.0, profile=PROFILE)
    assert found.totals.flux[:2] == pytest.approx([2e4, 2e4], rel=0.01)
    assert found.totals.covered[:2] == pytest.approx([23.5 / 38, 20 / 38], abs=0.03)
    assert np.isnan(found.totals.flux[2:]).all()
    off = np.rint(found.along[0] - 15) < 0
    assert np.isnan(found.flux[0, off]).all()
    assert np.all(found.flags[0, off] & FLAG_EDGE)
    rows = found.rows()
    assert set(rows["star"]) <= {0, 1}
    assert np.isfinite(rows["flux"]).all()


def test_frames_of_nothing_and_no_stars():
    nothing = np.full((100, 100), np.nan)
    found = extract_trails(nothing, np.ones_like(nothing), TRACK, [30.0], [50.0], fwhm=4.0)
    assert np.isnan(found.flux).all()
    assert np.all(found.flags & FLAG_BACKGROUND)
    assert found.profile.n_trails == 0
    for mode in MODES:
        empty = extract_trails(np.ones((50, 50)), np.ones((50, 50)), TRACK, [], [], fwhm=4.0, mode=mode)
        assert len(empty) == len(empty.rows()["flux"]) == 0
    with pytest.raises(DataError, match="psf, box, joint"):
        extract_trails(nothing, nothing, TRACK, [], [], fwhm=4.0, mode="best")


def test_integers_are_pixels_as_well():
    image, variance = photons(TRACK, [(50.0, 60.0)], [2e4])
    whole = np.rint(image).astype(">i4")
    kept = whole.copy()
    found = extract_trails(whole, variance, TRACK, [50.0], [60.0], fwhm=4.0, profile=PROFILE)
    plain = extract_trails(image, variance, TRACK, [50.0], [60.0], fwhm=4.0, profile=PROFILE)
    assert np.array_equal(whole, kept)
    assert found.flux == pytest.approx(plain.flux, abs=20)


def test_a_pipeline_that_took_trails_for_cosmic_rays_is_not_believed():
    image, variance = photons(TRACK, LATTICE, [2e4] * 21, shape=(310, 300))
    mask = np.zeros(image.shape, int)
    clean = extract_trails(image, variance, TRACK, *np.transpose(LATTICE), fwhm=4.0, profile=PROFILE)
    model = model_image(image.shape, clean)
    mask[model > 1000] = MASK_COSMIC_RAY
    struck = image.copy()
    struck[31, 40] += 4000
    struck[31, 41] += 3000
    found = extract_trails(
        struck, variance, TRACK, *np.transpose(LATTICE), fwhm=4.0, mask=mask, profile=PROFILE
    )
    assert found.own_cosmic_rays
    assert not clean.own_cosmic_rays
    assert np.isfinite(found.flux).all()
    assert np.count_nonzero(found.flags) == 2
    hit = found.flags[0] & FLAG_COSMIC_RAY != 0
    assert np.rint(20.3 + found.along[0, hit]).tolist() == [40.0, 41.0]
    assert found.flux[0, hit] == pytest.approx(clean.flux[0, hit], rel=0.03)


@pytest.mark.parametrize(("apart", "tolerance"), [(5.0, 0.01), (3.0, 0.02)])
def test_overlapping_trails_are_told_apart_together(apart, tolerance):
    places, fluxes = [(60.0, 80.0), (75.4, 80.0 + apart)], [2e4, 5e3]
    image, variance = photons(TRACK, places, fluxes)
    alone, both = (
        extract_trails(image, variance, TRACK, *np.transpose(places), fwhm=4.0, profile=PROFILE, mode=mode)
        for mode in ("psf", "joint")
    )
    assert alone.totals.flux[1] > 1.1 * 5e3
    assert both.totals.flux == pytest.approx(fluxes, rel=tolerance)
    pulls = (both.flux - np.array(fluxes)[:, None] * both.response) / both.flux_error
    assert np.std(pulls[np.isfinite(pulls)]) == pytest.approx(1.0, abs=0.25)
    assert alone.totals.isolation[0] > 0.2


def test_two_stars_in_one_place_are_flagged_and_not_split_by_chance():
    places = [(60.0, 80.0), (60.1, 80.05)]
    image, variance = photons(TRACK, places, [1e4, 1e4])
    found = extract_trails(
        image, variance, TRACK, *np.transpose(places), fwhm=4.0, profile=PROFILE, mode="joint"
    )
    assert np.all(found.flags[:, 12:40] & FLAG_BACKGROUND)
    assert found.totals.flux_error.min() > 1e3
    assert found.totals.flux.sum() == pytest.approx(2e4, rel=0.01)


def test_a_bright_star_on_a_faint_one_is_measured_and_the_faint_one_is_not():
    rng = np.random.default_rng(5)
    for turn in range(3):
        places, fluxes = [(72.0, 80.0), (57.0 + rng.uniform(-2, 2), 80.1)], [2e4, 1200.0]
        image, variance = photons(TRACK, places, fluxes, seed=turn)
        found = extract_trails(
            image, variance, TRACK, *np.transpose(places), fwhm=4.0, profile=PROFILE, mode="joint"
        )
        both = found.flat[0] & (found.time[0] < 12)
        assert np.mean(found.flags[0, both] == 0) > 0.9
        assert found.totals.flux == pytest.approx(fluxes, rel=0.1)
        pulls = (found.flux[0] / 2e4 - found.response[0])[both] / (found.flux_error[0] / 2e4)[both]
        assert np.std(pulls) < 1.3
        assert np.median(found.flux_error[0, both]) < 0.025 * 2e4  # photons make 0.015
        # of the faint one only what comes before the other is measured
        under = found.flat[1] & (found.time[1] > 9) & (found.time[1] < 16)
        assert np.mean(found.flags[1, under] & FLAG_BACKGROUND != 0) > 0.9


def test_errors_of_stars_in_a_crowd_are_as_large_as_what_they_are_off():
    rng = np.random.default_rng(3)
    x, y, flux = rng.uniform(20, 420, 150), rng.uniform(20, 420, 150), 10 ** rng.uniform(2.2, 4.3, 150)
    image, variance = photons(TRACK, list(zip(x, y, strict=True)), flux, shape=(450, 480))
    found = extract_trails(
        image, variance, TRACK, x, y, fwhm=4.0, profile=PROFILE, mode="joint", catalogue=flux
    )
    pull = (found.flux - flux[:, None] * found.response) / found.flux_error
    good = np.isfinite(pull) & found.flat & (found.flags == 0) & (found.totals.isolation > 0.02)[:, None]
    assert good.sum() > 1500
    assert np.std(pull[good]) == pytest.approx(0.97, abs=0.07)
    assert abs(np.mean(pull[good])) < 0.05


@pytest.mark.parametrize("angle", [0.14, 40.0])
def test_the_model_leaves_noise(angle):
    track = TrackModel(0.5, 20.0, 0.2633, angle)
    places = [(60.0, 40.0), (150.0, 100.0)]
    image, variance = photons(track, places, [1e4, 3e3])
    found = extract_trails(image, variance, track, *np.transpose(places), fwhm=4.0, profile=PROFILE)
    left = image - model_image(image.shape, found) - 400
    assert np.std(left / np.sqrt(np.maximum(image - left, 1) + 36)) == pytest.approx(1.0, abs=0.02)
    steady = found.totals.flux[:, None] * found.response
    assert model_image(image.shape, found, flux=steady).sum() == pytest.approx(1.3e4 * 20, rel=0.01)
    with pytest.raises(DataError, match="shape of the samples"):
        model_image(image.shape, found, flux=steady[:1])


def test_the_profile_is_measured_where_trails_are_bright_and_alone():
    image, variance = photons(TRACK, LATTICE, [2e4] * 21, shape=(310, 300), sigma=1.4)
    found = extract_trails(image, variance, TRACK, *np.transpose(LATTICE), fwhm=4.5)
    assert found.profile.n_trails == 21
    assert found.profile.fwhm == pytest.approx(1.4 * 2.3548, abs=0.03)
    assert found.profile.fwhm_error < 0.03
    assert np.abs(found.profile.shift).max() < 0.05
    shifted = extract_trails(
        image, variance, TRACK, *(np.transpose(LATTICE) + np.array([[0], [0.4]])), fwhm=4.5
    )
    assert np.median(shifted.profile.shift) == pytest.approx(-0.4, abs=0.03)
    assert shifted.totals.flux == pytest.approx(found.totals.flux, rel=2e-3)


@pytest.mark.parametrize("beta", [np.inf, 3.5])
def test_a_profile_is_the_light_of_a_column(beta):
    profile = TransverseProfile(4.0, beta)
    assert profile.at(np.arange(-47, 48) + 0.3).sum() == pytest.approx(1.0, abs=2e-3)
    with pytest.raises(DataError, match="FWHM above 0"):
        TransverseProfile(0.0)


@cache
def simulation(mode):
    sim = truth()
    return sim, extract_trails(
        sim.image, sim.variance, TRACK, sim.x, sim.y, fwhm=4.3, mask=sim.mask, mode=mode
    )


@pytest.mark.real
def test_the_simulated_exposure_gives_absolute_fluxes():
    sim, found = simulation("psf")
    assert found.profile.fwhm == pytest.approx(sim.fwhm, abs=0.05)
    assert found.totals.flux[44] / sim.flux[44] == pytest.approx(1.35, abs=0.02)
    alone = (found.totals.isolation < 0.02) & (sim.mag < 18.5) & (found.totals.covered > 0.9)
    steady = np.array([k for k in np.flatnonzero(alone) if k not in sim.events])
    assert len(steady) >= 8
    assert np.abs(found.totals.flux[steady] / sim.flux[steady] - 1).max() < 0.02
    assert np.median(found.totals.flux[steady] / sim.flux[steady]) == pytest.approx(1.0, abs=0.005)
    assert not found.own_cosmic_rays


@pytest.mark.real
def test_the_dip_across_the_dead_column_is_lost_there_and_flagged():
    _, found = simulation("psf")
    lost = np.isnan(found.flux[36])
    assert np.rint(610.2781 + found.along[36, lost]).tolist() == [611.0]
    assert np.all(found.flags[36, lost] & FLAG_ARCHIVE)
    low = (found.time[36] > 11.4) & (found.time[36] < 13.4)
    assert np.median(found.flux[36, low]) < 0.85 * np.median(found.flux[36, found.flat[36]])


@pytest.mark.real
def test_blends_of_the_simulated_exposure_are_told_apart_together():
    sim, found = simulation("joint")
    good = np.isfinite(found.totals.flux) & (found.totals.snr > 30) & (found.totals.covered > 0.9)
    ratio = (found.totals.flux / sim.flux)[[k for k in np.flatnonzero(good) if k not in sim.events]]
    assert len(ratio) >= 60
    assert np.mean(np.abs(ratio - 1) < 0.06) > 0.9
    left = sim.image - model_image(sim.image.shape, found) - 388.8
    spread = np.median(np.abs(left[sim.mask == 0])) * 1.4826
    assert spread == pytest.approx(np.sqrt(388.8 + 36), rel=0.03)
