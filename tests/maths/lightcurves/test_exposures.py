import numpy as np
import pytest

from virtualobserver.maths.lightcurves.exposures import exposure_effects, exposures


def sky(seed=1, stars=400, nights=30, noise=0.02):
    """Return star, exposure, magnitude and error of all rows, errors as stated."""
    rng = np.random.default_rng(seed)
    star = np.repeat(np.arange(stars), nights)
    exposure = np.tile(np.arange(nights), stars)
    usual = rng.uniform(15.0, 20.0, stars)[star]
    error = 0.01 + noise * 10 ** (0.3 * (usual - 18.0))
    return star, exposure, usual, error, usual + error * rng.standard_normal(star.size)


def test_a_cloudy_exposure_is_told_for_each_brightness_and_an_event_in_it_stays():
    star, exposure, usual, error, mag = sky()
    cloudy = exposure == 7
    mag[cloudy] += 0.05 + 0.1 * (usual[cloudy] - 15.0)
    flare = cloudy & (star == 33)
    mag[flare] -= 1.0
    found = exposure_effects(star, exposure, mag, error, np.ones(star.size, bool))
    inner = cloudy & (usual > 15.5) & (usual < 19.5)
    assert found.offset[inner] == pytest.approx(0.05 + 0.1 * (usual[inner] - 15.0), abs=0.05)
    assert np.abs(found.offset[~cloudy & (usual < 18)]).max() < 0.03
    assert (mag - found.offset - usual)[flare] == pytest.approx(-1.0, abs=0.1)


def test_errors_are_raised_in_exposures_that_scatter_more_and_kept_in_others():
    star, exposure, _, error, mag = sky(2)
    rough = exposure == 11
    mag[rough] += 4.0 * error[rough] * np.random.default_rng(3).standard_normal(rough.sum())
    found = exposure_effects(star, exposure, mag, error, np.ones(star.size, bool))
    assert np.median(found.factor[rough]) == pytest.approx(np.hypot(1, 4), rel=0.2)
    assert np.mean(found.factor[~rough] == 1.0) > 0.9
    assert found.factor.min() == 1.0


def test_shallow_exposures_hold_the_brighter_epochs_of_faint_stars_and_say_so():
    star, exposure, usual, error, mag = sky(4, stars=2000, nights=15, noise=0.25)
    seen = (exposure != 5) | (mag < 19.0)
    star, exposure, usual, error, mag = (part[seen] for part in (star, exposure, usual, error, mag))
    found = exposure_effects(star, exposure, mag, error, np.ones(star.size, bool))
    edge = (exposure == 5) & (usual > 19.0)
    left = (mag - usual)[edge]
    assert edge.sum() > 10
    assert np.median(left) < -0.1
    assert np.abs(np.median(left - found.offset[edge])) < 0.5 * np.abs(np.median(left))


def test_few_stars_tell_nothing_and_rows_without_values_are_left_out():
    star, exposure, _, error, mag = sky(5, stars=40)
    mag[:50], error[50:70] = np.nan, 0.0
    found = exposure_effects(star, exposure, mag + 0.3 * (exposure == 3), error, np.ones(star.size, bool))
    assert (found.offset == 0).all()
    assert (found.factor == 1).all()
    empty = np.zeros(0)
    none = exposure_effects(empty.astype(int), empty.astype(int), empty, empty, empty.astype(bool))
    assert none.offset.size == 0


def test_rows_of_one_exposure_share_a_term_and_a_time():
    mjd = np.array([58000.3, 58000.3001, 58000.31, 58000.3, np.nan, 58001.3])
    number = exposures(mjd, np.array([0.1, 0.1, 0.1, 0.2, 0.1, 0.1]))
    assert number[0] == number[1]
    assert len(set(number[[0, 3, 4, 5]].tolist())) == 4
