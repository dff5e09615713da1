"""The template: smooth where nothing stands, as it was where something does."""

from __future__ import annotations

import numpy as np
import pytest

from virtualobserver.maths.shiftstack.template import StarTemplate, measure_template, quieted

SIDE, FRAMES, NOISE, WIDTH = 200, 30, 20.0, 1.3


def night(rng, still):
    """Return frames of noise over what stands still."""
    frames = rng.normal(0, NOISE, (FRAMES, SIDE, SIDE)) + still
    return frames.astype(np.float32), np.full_like(frames, NOISE**2, dtype=np.float32)


def bell(x, y, peak, width=WIDTH):
    rows, cols = np.mgrid[:SIDE, :SIDE]
    return peak * np.exp(-0.5 * ((cols - x) ** 2 + (rows - y) ** 2) / width**2)


def test_noise_is_smoothed_and_faint_stars_and_slopes_stay():
    still = bell(60, 140, 15.0) + bell(150, 50, 4000.0, 4.0) + 0.05 * np.arange(SIDE)
    whole = measure_template(*night(np.random.default_rng(1), still))
    quiet = quieted(whole, WIDTH)
    sky = np.hypot(*(np.mgrid[:SIDE, :SIDE] - np.array([[[50]], [[150]]]))) > 40
    sky &= np.hypot(*(np.mgrid[:SIDE, :SIDE] - np.array([[[140]], [[60]]]))) > 12
    error = 1.25 * NOISE / np.sqrt(FRAMES)
    inner = (slice(20, -20),) * 2
    left = (quiet.light - still)[inner][sky[inner]]
    assert np.std((whole.light - still)[inner][sky[inner]]) == pytest.approx(error, rel=0.05)
    assert np.std(left) < 0.3 * error
    assert abs(left.mean()) < 0.1 * error
    assert quiet.least < 0.1
    assert quiet.share(np.array([60.0, 150.0]), np.array([140.0, 50.0])).tolist() == [1.0, 1.0]
    assert quiet.light[140, 60] == whole.light[140, 60]


def test_a_pattern_of_the_whole_field_stays_in_part():
    rng = np.random.default_rng(2)
    flat = rng.normal(0, 2 * NOISE / np.sqrt(FRAMES), (SIDE, SIDE))
    quiet = quieted(measure_template(*night(rng, flat)), WIDTH)
    # of the scatter of the template 4 parts are flat and pi / 2 are noise
    assert quiet.least == pytest.approx(4 / (4 + np.pi / 2), abs=0.06)
    assert (quiet.held >= np.floor(255 * quiet.least)).all()


def test_it_is_the_same_in_bands_of_rows():
    still = bell(60, 140, 15.0) + bell(150, 50, 4000.0, 4.0)
    whole = measure_template(*night(np.random.default_rng(3), still))
    one, other = quieted(whole, WIDTH), quieted(whole, WIDTH, rows=37)
    np.testing.assert_allclose(one.light, other.light, rtol=1e-5, atol=1e-4)
    assert (one.held == other.held).all()
    assert quieted(StarTemplate(whole.light, whole.floor, whole.stars), WIDTH).held is None


def test_a_mean_of_frames_is_quieter_than_their_median_and_takes_no_cosmic_ray():
    science, variance = night(np.random.default_rng(7), bell(60, 140, 15.0))
    science[3, 100:110, 100:110] += 2000.0
    middle, mean = (measure_template(science, variance, mean=which) for which in (False, True))
    for made, factor in ((middle, 1.253), (mean, 1.0)):
        left = made.light - bell(60, 140, 15.0)
        assert left.std() == pytest.approx(factor * NOISE / np.sqrt(FRAMES), rel=0.03)
        assert np.median(made.error) == pytest.approx(left.std(), rel=0.04)
    assert np.abs(mean.light[100:110, 100:110].mean()) < 2.0


def test_light_brings_its_photons_and_is_that_of_the_frame():
    light = bell(60, 140, 900.0).astype(np.float32)
    still = StarTemplate(light, np.zeros_like(light), np.zeros(light.shape, bool))
    box = (slice(130, 150), slice(50, 70))
    clouded = 0.6 * light[box]
    signal, variance = still.clean(clouded, np.full_like(clouded, 100.0), box, photons=0.5, air=0.6)
    np.testing.assert_allclose(signal, 0.0, atol=1e-3)
    np.testing.assert_allclose(variance, 100.0 + 0.5 * clouded, rtol=1e-5)
