"""The bank of forms along trails: right on noise, as strong as the ideal, on time, and blind to masks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import kstest

from virtualobserver.errors import DataError
from virtualobserver.maths.trails.bank import BANK, Template, intrinsic, spread
from virtualobserver.maths.trails.search import FEWEST_SAMPLES, null_of, search_trails

STEP = 0.5266
SIGMA = 1.7 * STEP
SAMPLES = 32


def searched(flux, error=None, **options):
    error = np.full(flux.shape, 0.05) if error is None else error
    return search_trails(flux, error, np.full(len(flux), 1.5), step=STEP, sigma=SIGMA, **options)


def boxed(times, t0, duration):
    """A top-hat drawn out by a Gaussian and averaged over samples, by integrals of its own."""
    fine = (np.arange(50) + 0.5) / 50 - 0.5
    t = (times - t0)[..., None] + fine * STEP
    return (ndtr((t + duration / 2) / SIGMA) - ndtr((t - duration / 2) / SIGMA)).mean(axis=-1)


def test_ten_thousand_trails_of_noise_have_the_statistics_that_are_stated():
    flux = 1 + 0.05 * np.random.default_rng(5).normal(size=(10_000, SAMPLES))
    found = searched(flux)
    assert found.calibrated
    assert found.scale == pytest.approx(1, abs=0.02)
    for best in (found.pulses, found.dips):
        assert np.quantile(best.statistic, 0.99) == pytest.approx(3.4, abs=0.3)
        assert np.median(best.statistic) == pytest.approx(1.75, abs=0.1)
        # the null is measured on as many trails of its own
        assert kstest(best.p_trail, "uniform").statistic < 0.025
        assert (best.p_trail < 0.01).sum() == pytest.approx(100, abs=35)
        assert best.p_global.min() > 0.01
    above = [(best.statistic > 3).sum() for best in (found.pulses, found.dips)]
    assert abs(above[0] - above[1]) < 4 * np.sqrt(sum(above))
    np.testing.assert_array_equal(found.pulses.control, found.dips.statistic)
    assert found.null.trials(3.4) == pytest.approx(30, abs=5)


@pytest.mark.parametrize(("duration", "amplitude"), [(1.0, 0.6), (0.3, 2.0), (3.0, 0.4), (0.8, -0.7)])
def test_events_keep_their_strength_time_and_light(duration, amplitude):
    rng = np.random.default_rng(7)
    times = 1.5 + STEP * np.arange(SAMPLES)
    t0 = rng.uniform(5, 14, 600)
    form = amplitude * boxed(times, t0[:, None], duration)
    ideal = np.sqrt((((form - form.mean(axis=1, keepdims=True)) / 0.05) ** 2).sum(axis=1))
    found = searched(1 + form + 0.05 * rng.normal(size=form.shape), calibrate=False)
    best = found.pulses if amplitude > 0 else found.dips
    off = best.time - t0
    assert np.median(best.statistic / ideal) == pytest.approx(1.02, abs=0.05)
    assert abs(np.mean(off)) < 0.05
    assert np.sqrt(np.mean(off**2)) < 0.45
    assert np.std(off / best.time_error) == pytest.approx(1, abs=0.3)
    assert np.median(best.amplitude * best.duration) == pytest.approx(amplitude * duration, rel=0.15)
    assert (best.control < best.statistic).mean() > 0.98


def test_masked_samples_say_nothing_and_short_trails_are_not_searched():
    rng = np.random.default_rng(3)
    flux = 1 + 0.05 * rng.normal(size=(50, SAMPLES))
    good = np.ones(flux.shape, bool)
    good[:, 10:13] = False
    flux[:, 10:13] = 40.0
    flux[0, 20] = np.nan
    flux[1], good[2, FEWEST_SAMPLES - 1 :] = np.nan, False
    found = searched(flux, good=good)
    assert found.pulses.statistic.max() < 4.5
    assert found.searched.tolist() == [True, False, False] + [True] * 47
    assert found.pulses.statistic[1] == 0.0
    assert found.pulses.p_trail[1] > 0.999
    assert found.n_good[0] == SAMPLES - 4
    centre = 1.5 + STEP * 11
    flux = (
        1
        + boxed(1.5 + STEP * np.arange(SAMPLES), np.full((1, 1), centre + 1.2), 2.0)
        + 0.01 * rng.normal(size=(1, 32))
    )
    half = searched(flux, good=good[3:4]).pulses
    assert 0.5 < half.coverage[0] < 0.9
    assert half.time[0] == pytest.approx(centre + 1.2, abs=0.3)


def test_wide_noise_of_an_exposure_is_measured_and_taken_into_account():
    flux = 1 + 0.08 * np.random.default_rng(8).normal(size=(2000, SAMPLES))
    found = searched(flux)
    assert found.scale == pytest.approx(1.6, abs=0.04)
    assert (found.pulses.p_trail < 0.01).mean() == pytest.approx(0.01, abs=0.008)
    assert searched(flux, calibrate=False).scale == 1.0


def test_forms_have_the_width_and_the_light_they_say():
    t = np.linspace(-10, 10, 40_001)
    for template in BANK:
        form = intrinsic(template.shape, t, template.duration)
        assert form.max() == pytest.approx(1)
        assert np.ptp(t[form >= 0.5]) == pytest.approx(template.duration, abs=0.003)
        line = spread(template, step=STEP, sigma=SIGMA, reach=40)
        if template.shape != "pspl":  # whose wings reach further
            assert line[::2].sum() * STEP == pytest.approx(np.trapezoid(form, t), rel=0.01)
    ours = spread(Template("tophat", 1.0), step=STEP, sigma=SIGMA, reach=8)
    np.testing.assert_allclose(ours, boxed(np.arange(-16, 17) / 2 * STEP, 0.0, 1.0), atol=2e-3)


def test_what_cannot_be_searched_is_refused_and_nothing_is_nothing():
    with pytest.raises(DataError, match="a start each"):
        search_trails(np.ones((3, 5)), np.ones((3, 4)), np.zeros(3), step=1, sigma=1)
    with pytest.raises(DataError, match="longer than 0 s"):
        intrinsic("tophat", 0.0, 0.0)
    with pytest.raises(DataError, match="above 0 s"):
        spread(BANK[0], step=0.5, sigma=0.0, reach=3)
    none = searched(np.zeros((0, SAMPLES)))
    assert len(none.pulses.statistic) == 0
    null = null_of(BANK, samples=SAMPLES, step=STEP, sigma=SIGMA)
    chance = null.chance(np.linspace(0, 8, 400))
    assert (np.diff(chance) <= 1e-12).all()
    # a threshold for 1e9 trails is about 6.6
    assert 0.1 < null.chance(6.6, 1e9) < 0.9
    assert null.chance(7.0, 1e9) < 0.1
