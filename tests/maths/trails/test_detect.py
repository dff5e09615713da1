"""Trails are found where they are, at any angle; what is none of them is left alone."""

import numpy as np
import pytest
from scipy.spatial import cKDTree
from support.drift import TRACK, drawn, simulated

from virtualobserver.errors import DataError
from virtualobserver.maths.trails.detect import find_trails
from virtualobserver.maths.trails.track import TrackModel


@pytest.mark.parametrize("angle", [0.0, 0.28, -12.0, 45.0, 88.0, 135.0, -170.0])
@pytest.mark.parametrize("direction", [1, -1])
def test_trails_of_any_angle_are_found_with_their_light(angle, direction):
    track = TrackModel(0.5, 20.0, 0.2633, angle, direction)
    (vx, vy), middles = track.vector, [(80.0, 60.3), (170.4, 150.0), (90.0, 160.0)]
    starts = [(x - 10 * vx, y - 10 * vy) for x, y in middles]
    image = drawn(track, starts, [4000.0, 2000.0, 800.0])
    found = find_trails(image, np.ones_like(image), track, fwhm=4.0)
    assert len(found) == 3
    assert np.hypot(found.x - [80.0, 170.4, 90.0], found.y - [60.3, 150.0, 160.0]).max() < 1.0
    assert found.flux == pytest.approx([4000.0, 2000.0, 800.0], rel=0.12)
    assert found.snr == pytest.approx(found.flux / found.flux_error)


def test_the_error_is_the_scatter():
    noise = np.random.default_rng(4).normal(0, 3.0, (300, 300))
    found = find_trails(noise, np.full(noise.shape, 9.0), TRACK, fwhm=4.0, threshold=2.0)
    assert found.snr.max() < 5.5
    pulls = []
    for seed in range(12):
        image = drawn(TRACK, [(60.0, 50.0)], [3000.0], shape=(100, 160), noise=3.0, seed=seed)
        found = find_trails(image, np.full(image.shape, 9.0), TRACK, fwhm=4.0)
        pulls.append((found.flux[0] - 3000.0) / found.flux_error[0])
    assert np.std(pulls) == pytest.approx(1.0, abs=0.5)


def test_flashes_and_empty_places_are_no_trails():
    image = np.random.default_rng(2).normal(0, 1, (200, 200))
    y, x = np.mgrid[:200, :200]
    image += 300 * np.exp(-0.5 * ((x - 100) ** 2 + (y - 90) ** 2) / 1.7**2)
    assert len(find_trails(image, np.ones_like(image), TRACK, fwhm=4.0)) == 0
    dead = np.full((200, 200), np.nan)
    assert len(find_trails(dead, np.ones_like(dead), TRACK, fwhm=4.0)) == 0


def test_dead_pixels_within_a_trail_cost_no_light():
    image = drawn(TRACK, [(80.0, 60.0)], [4000.0])
    mask = np.zeros(image.shape, np.int16)
    mask[:, 92:97] = 1
    image[mask != 0] = -1e6
    found = find_trails(image, np.ones_like(image), TRACK, fwhm=4.0, mask=mask)
    assert len(found) == 1
    assert found.flux[0] == pytest.approx(4000.0, rel=0.1)


def test_the_light_of_stars_in_their_variance_moves_nothing():
    image = drawn(TRACK, [(80.0, 60.0)], [2e5])
    plain, noisy = (
        find_trails(image, variance, TRACK, fwhm=4.0)
        for variance in (np.ones_like(image), 1 + np.maximum(image, 0))
    )
    assert (noisy.x[0], noisy.y[0]) == (
        pytest.approx(plain.x[0], abs=0.1),
        pytest.approx(plain.y[0], abs=0.1),
    )


def test_planes_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="variance of its shape"):
        find_trails(np.zeros((5, 6)), np.zeros((6, 5)), TRACK, fwhm=4.0)


@pytest.mark.real
@pytest.mark.parametrize("expnum", [1058801, 1058802])
def test_the_trails_of_a_simulated_exposure_are_found_and_little_else(expnum):
    sky = simulated(expnum)
    found = find_trails(sky.image, sky.variance, TRACK, fwhm=sky.fwhm, mask=sky.mask)
    x, y = sky.middles()
    whole = (x > 19) & (x < 680) & (y > 3) & (y < 696)
    bright = whole & (sky.mag < 19)
    trails, stars = np.stack([found.x, found.y], axis=1), np.stack([x, y], axis=1)
    assert np.mean(cKDTree(trails).query(stars[bright])[0] < 4) >= 0.93
    assert np.sum(cKDTree(stars).query(trails)[0] > 5) <= 20
