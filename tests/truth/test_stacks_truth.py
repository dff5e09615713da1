"""Shift and stack on frames that it has not seen: noise, fluxes, places, turning fields."""

import numpy as np
import pytest

from truth.frames import READ_NOISE, NightPlan, _add, make_night
from truth.measure_stacks import measure_night
from virtualobserver.analyses.moving_objects import MovingObjects
from virtualobserver.analyses.moving_objects.night import load_night
from virtualobserver.analyses.moving_objects.photometry import star_parts
from virtualobserver.maths.images.mapping import PixelMap, resample
from virtualobserver.maths.images.weights import photon_slope
from virtualobserver.maths.shiftstack.boxes import open_likelihoods
from virtualobserver.maths.shiftstack.forced import profile_stamp
from virtualobserver.maths.shiftstack.images import gaussian_psf, psi_phi
from virtualobserver.maths.shiftstack.search import Trajectories, evaluate


@pytest.mark.parametrize("plan", [
    NightPlan(frames=120, side=110, stars=8),
    NightPlan(frames=120, side=110, stars=8, sky=100.0, drift=(6.0, -4.0), dither=1.5, turn=5.0),
])  # fmt: skip
def test_pure_noise_has_a_mean_likelihood_of_zero(plan):
    """With each pixel's own photons in its weight it is -1.8."""
    night = load_night(make_night(plan, [], 1).handles, MovingObjects(stack={"min_epochs": 8}).settings)
    images = open_likelihoods(night.stack, keep=True).kept
    rng = np.random.default_rng(0)
    x, y = rng.uniform(20, plan.side - 20, (2, 20_000)).round()
    vx, vy = rng.uniform(-200, 200, (2, 20_000))
    noise = evaluate(images, Trajectories.of(x, y, vx, vy))
    whole = noise.n_obs > 0.7 * plan.frames
    assert whole.mean() > 0.5
    assert abs(noise.likelihood[whole].mean()) < 0.05
    # less than 1 by what the template takes of slow paths, of noise as of movers
    assert 0.8 < noise.likelihood[whole].std() < 1.02


@pytest.mark.parametrize(
    ("beta", "turn", "world", "known"),
    [(None, 0.0, True, 0.05), (2.5, 0.0, True, 0.15), (3.5, 5.0, True, 0.1), (None, 5.0, False, 0.05)],
)
def test_fluxes_and_places_are_those_of_the_sky_in_still_and_turning_fields(beta, turn, world, known):
    """The few stars of so small a field tell less of wide wings; without them it is 0.65 for Moffat 2.5."""
    plan = NightPlan(side=160, beta=beta, turn=turn, dither=1.5 if turn else 0.0, world=world)
    one = measure_night(plan, 1, ideal=(30.0, 50.0), movers=6)
    assert [rows is not None for _, rows in one.found] == [True] * 6
    assert one.false == 0
    assert np.mean(one.ratios()) == pytest.approx(1.0, abs=known)
    if world and beta is None:
        assert np.sqrt(np.mean(np.square(one.flux_pulls()))) < 1.8
        assert 0.5 < np.sqrt(np.mean(np.square(one.place_pulls()))) < 1.6
    assert np.mean(one.likelihoods()) > 0.8


def test_the_part_of_a_star_that_its_profile_finds_is_true_among_neighbours():
    """Few stars are single here: by circles about them it was wrong by 0.07."""
    plan = NightPlan(beta=2.5)
    night = load_night(make_night(plan, [], 1001).handles, MovingObjects(stack={"min_epochs": 8}).settings)
    said, error = star_parts(night)
    wide = float(np.median(night.sigma))
    true = []
    for x, y in np.random.default_rng(0).uniform(49.5, 50.5, (20, 2)).tolist():
        star = np.zeros((101, 101))
        _add(star, (x, y), 1.0, plan.fwhm[0], plan.beta, half=50)
        stamp, left, low = profile_stamp(x, y, wide, int(np.ceil(3 * wide)))
        box = star[low : low + len(stamp), left : left + len(stamp)]
        true.append((stamp * box).sum() / (stamp**2).sum())
    assert np.median(said) == pytest.approx(np.mean(true), rel=0.03)
    assert 0.002 < error < 0.03


def test_movers_that_leave_trails_are_found_and_measured_along_them():
    plan = NightPlan(side=160, exposure=300.0)
    one = measure_night(plan, 5, ideal=(20.0, 30.0), movers=4)
    assert [rows is not None for _, rows in one.found] == [True] * 4
    assert np.mean(one.ratios()) == pytest.approx(1.0, abs=0.07)


def test_a_dirty_night_that_turns_has_no_false_mover():
    plan = NightPlan(side=110, turn=5.0, dither=1.5, drift=(6.0, -4.0), dirty=True)
    assert measure_night(plan, 3, movers=0).false == 0


def test_movers_of_dirty_nights_are_found_where_they_are():
    plan = NightPlan(turn=5.0, dither=1.5, drift=(8.0, -5.0), dirty=True)
    one = measure_night(plan, 1002, ideal=(10.0, 25.0))
    assert [rows is not None for mover, rows in one.found if mover.ideal >= 10] == [True] * 4
    assert one.false == 0


@pytest.mark.parametrize("shift", [(0.5, 0.5), (0.3, 0.2), (0.25, 0.0)])
def test_resampling_keeps_light_and_noise_of_a_profile(shift):
    rng = np.random.default_rng(0)
    data = rng.normal(0, 2, (300, 300)).astype(np.float32)
    four = np.full_like(data, 4.0)
    moved = PixelMap(data.shape, 0, np.array([shift[0]]), np.array([shift[1]]))

    def brought(plane):
        return resample(lambda r, c: (plane[r, c], four[r, c]), plane.shape, moved, (0, 300), (0, 300))

    psi, phi = psi_phi(*brought(data), gaussian_psf(1.3))
    inner = (slice(20, -20),) * 2
    assert (psi[inner] / np.sqrt(phi[inner])).std() == pytest.approx(1.0, abs=0.03)
    y, x = np.mgrid[:300, :300]
    star = np.exp(-0.5 * ((x - 150) ** 2 + (y - 150) ** 2) / 1.3**2).astype(np.float32)
    there = np.exp(-0.5 * ((x - 150 + shift[0]) ** 2 + (y - 150 + shift[1]) ** 2) / 1.3**2)
    light = np.nan_to_num(brought(star)[0])
    assert (light * there).sum() / (there**2).sum() == pytest.approx(1.0, abs=0.01)


def test_slope_of_the_variance_is_that_of_the_photons_behind_the_flat():
    rng = np.random.default_rng(0)
    flat = np.linspace(0.8, 1, 256)[None, :] * np.ones((256, 1))
    counts = rng.poisson(700 * flat) + rng.normal(0, READ_NOISE, flat.shape)
    signal, variance = counts / flat, (READ_NOISE**2 + np.maximum(counts, 0)) / flat**2
    slope = photon_slope(signal - 700, variance)
    np.testing.assert_allclose(slope.at(slice(32, 224), slice(32, 224)) * flat[32:224, 32:224], 1.0, atol=0.1)
    assert photon_slope(signal - 700, np.full_like(variance, 4.0)) is None
