"""The sky of a trail is that beside it, without its neighbours, its slope and the step between amplifiers known."""

import numpy as np
import pytest
from support.drift import TRACK, photons, truth

from virtualobserver.errors import DataError
from virtualobserver.maths.trails.sky import good_pixels, trail_sky
from virtualobserver.maths.trails.sky_kernel import median_near
from virtualobserver.maths.trails.track import TrackModel


@pytest.mark.parametrize("angle", [0.14, 30.0, 90.0, -135.0])
def test_a_slope_is_found_beside_trails_of_any_angle(angle):
    track = TrackModel(0.5, 20.0, 0.2633, angle)
    vx, vy = track.vector
    x, y = 120.0 - 10 * vx, 110.0 - 10 * vy
    image, variance = photons(track, [(x, y)], [3e4])
    rows, cols = np.mgrid[:220, :260]
    image += 0.8 * (cols - 120) - 0.5 * (rows - 110)
    sky = trail_sky(image, variance, track, [x], [y], fwhm=4.0)
    assert sky.value[0] == pytest.approx(400, abs=4 * sky.error[0])
    assert (sky.gradient_x[0], sky.gradient_y[0]) == (
        pytest.approx(0.8, abs=0.2),
        pytest.approx(-0.5, abs=0.2),
    )
    assert sky.at(0, 130, 100) - sky.value[0] == pytest.approx(13.0, abs=3.5)
    assert sky.n_masked[0] == 0
    assert sky.n_used[0] == pytest.approx(np.pi * (18**2 - 10**2) + 2 * 37.98 * 8, rel=0.02)


def test_the_error_is_the_scatter():
    places = [(x, y) for x in (30.0, 100.0, 170.0) for y in (40.0, 100.0, 160.0)]
    pulls = []
    for seed in range(40):
        image, variance = photons(TRACK, places, [0] * 9, seed=seed)
        sky = trail_sky(image, variance, TRACK, *np.transpose(places), fwhm=4.0)
        pulls.extend((sky.value - 400) / sky.error)
        assert sky.variance == pytest.approx(436, rel=0.02)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.12)
    assert np.mean(pulls) == pytest.approx(-0.2, abs=0.2)  # photons are skew, their median is 0.15 low


def test_neighbours_cosmic_rays_and_masks_are_left_out():
    image, variance = photons(TRACK, [(100.0, 100.0), (95.0, 114.0)], [1e4, 5e4])
    alone, _ = photons(TRACK, [(100.0, 100.0)], [1e4])
    mask = np.zeros(image.shape, int)
    mask[80:86, 110:120] = 1
    image[80:86, 110:120] = 1e6
    image[116, 80] = alone[116, 80] = 5e4
    beside = trail_sky(image, variance, TRACK, [100.0, 95.0], [100.0, 114.0], fwhm=4.0, mask=mask)
    plain = trail_sky(alone, variance, TRACK, [100.0], [100.0], fwhm=4.0)
    assert beside.value[0] == pytest.approx(400, abs=4 * beside.error[0])
    assert beside.n_used[0] < 0.7 * plain.n_used[0]
    assert beside.n_used[0] + beside.n_masked[0] >= plain.n_used[0]
    assert plain.clipped[0] >= 1 / 1400
    # of a neighbour known to be faint nothing has to be left out
    faint = trail_sky(alone, variance, TRACK, [100.0, 95.0], [100.0, 114.0], fwhm=4.0, expected=[2e5, 1.0])
    assert faint.n_used[0] == pytest.approx(plain.n_used[0], abs=12)


def test_each_amplifier_has_its_level():
    image, variance = photons(TRACK, [(90.0, 100.0), (20.0, 100.0), (125.0, 40.0)], [1e4, 1e4, 1e4])
    image[:, 110:] += 60
    places = [90.0, 20.0, 125.0], [100.0, 100.0, 40.0]
    sky = trail_sky(image, variance, TRACK, *places, fwhm=4.0, split=110)
    assert sky.step[0] == pytest.approx(60, abs=8)
    assert sky.value[:2] == pytest.approx(400, abs=8)  # the middle of the first is left of the step
    assert sky.at(0, 115, 100) == pytest.approx(460, abs=8)
    assert sky.value[2] == pytest.approx(460, abs=8)
    assert sky.step[1] == 0


def test_pixels_are_kept_on_demand():
    image, variance = photons(TRACK, [(90.0, 100.0)], [1e4])
    sky = trail_sky(image, variance, TRACK, [90.0, np.nan], [100.0, 1.0], fwhm=4.0, keep_annulus=True)
    assert sky.annulus.shape == (sky.n_used.sum(), 4)
    trail, x, y, value = sky.annulus.T
    assert set(trail) == {0}
    assert np.array_equal(value, image[y.round().astype(int), x.round().astype(int)])
    assert np.isnan(sky.value[1])
    assert len(trail_sky(image, variance, TRACK, [], [], fwhm=4.0)) == 0


def test_what_is_no_measurement():
    image, variance = photons(TRACK, [], [])
    image[5, 5], image[6, 6], variance[7, 7] = 0.0, np.nan, 0.0
    mask = np.zeros(image.shape, np.int16)
    mask[8, 8] = 4
    good = good_pixels(image, variance, mask)
    assert [good[i, i] for i in range(4, 10)] == [True, False, False, False, False, True]
    image -= 400
    image[9, 9] = 0.0  # about 0 this is a value like any other
    assert good_pixels(image, variance)[9, 9]
    with pytest.raises(DataError, match="one shape"):
        good_pixels(image, variance[1:])
    with pytest.raises(DataError, match="FWHM above 0"):
        trail_sky(image, variance, TRACK, [1.0], [1.0], fwhm=0.0)


@pytest.mark.real
def test_the_sky_of_the_simulated_exposure():
    sim = truth()
    light = sim.flux * 20
    sky = trail_sky(
        sim.image, sim.variance, TRACK, sim.x, sim.y, fwhm=sim.fwhm, mask=sim.mask, expected=light
    )
    known = np.isfinite(sky.value)
    assert known.sum() >= 300
    assert np.median(sky.value[known]) / 4 == pytest.approx(97.2, abs=0.3)
    whole = known & (sky.n_used > 150)
    assert np.mean(np.abs(sky.value[whole] / 4 - 97.2) < 1.5) > 0.97


@pytest.mark.parametrize("n", [1, 2, 199, 200, 1301])
@pytest.mark.parametrize(("guess", "reach"), [(0.0, 0.0), (0.1, 0.3), (50.0, 0.1), (np.nan, 0.0)])
def test_a_median_is_the_median_whatever_is_guessed(n, guess, reach):
    rng = np.random.default_rng(n)
    for values in (
        rng.normal(size=n),
        np.round(rng.normal(size=n)),
        np.zeros(n),
        np.sort(rng.normal(size=n)),
    ):
        kept = values.copy()
        assert median_near(values, n, np.empty(n), guess, reach) == np.median(values)
        assert np.array_equal(values, kept)
