import numpy as np
import pytest

from virtualobserver.errors import DataError, NotEnoughData
from virtualobserver.maths.images.zeropoint import (
    fit_zero_point,
    limiting_magnitude,
    mark_outliers,
    sky_brightness,
    summarise_fwhm,
    transparency,
)


def stars(rng, n=300, *, zero=25.3, term=0.12, scatter=0.0, bad=0.0, exptime=60.0):
    mag, colour = rng.uniform(12, 16, n), rng.normal(0.9, 0.4, n)
    true = exptime * 10 ** (-0.4 * (mag - zero - term * (colour - np.median(colour))))
    error = np.sqrt(true + 400.0)
    flux = true * 10 ** (0.4 * rng.normal(0, scatter, n) if scatter else 0.0) + rng.normal(0, error)
    wrong = rng.random(n) < bad
    flux[wrong] *= 10 ** (0.4 * rng.uniform(0.5, 3, wrong.sum()))
    return flux, error, mag, colour, wrong


def test_zero_point_and_colour_term_are_found_within_their_errors():
    pulls = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        flux, error, mag, colour, _ = stars(rng, scatter=0.02)
        found = fit_zero_point(flux, error, mag, exptime=60.0, colour=colour)
        pulls.append(
            ((found.zero_point - 25.3) / found.zero_point_error,
             (found.colour_term - 0.12) / found.colour_term_error)
        )  # fmt: skip
        assert found.scatter == pytest.approx(0.02, abs=0.005)
    assert np.std(pulls, axis=0) == pytest.approx([1.0, 1.0], abs=0.35)
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.6


def test_a_quarter_of_wrong_matches_does_not_move_the_zero_point():
    flux, error, mag, colour, wrong = stars(np.random.default_rng(1), bad=0.25)
    found = fit_zero_point(flux, error, mag, exptime=60.0, colour=colour)
    assert found.zero_point == pytest.approx(25.3, abs=0.01)
    assert found.colour_term == pytest.approx(0.12, abs=0.01)
    assert not (found.used & wrong).any()
    assert found.rejected >= wrong.sum()
    assert found.scatter < 0.01


def test_zero_point_without_colour_or_with_a_known_term():
    flux, error, mag, colour, _ = stars(np.random.default_rng(2))
    known = fit_zero_point(flux, error, mag, exptime=60.0, colour=colour, colour_term=0.12)
    assert (known.colour_term, np.isnan(known.colour_term_error)) == (0.12, True)
    assert known.zero_point == pytest.approx(25.3, abs=0.005)
    plain = fit_zero_point(flux, error, mag, exptime=60.0)
    assert plain.zero_point == pytest.approx(25.3, abs=0.02)
    assert plain.colour_term == 0
    # what the term leaves unexplained is scatter: 0.12 x 0.4 mag
    assert plain.scatter == pytest.approx(0.048, abs=0.01)
    one_colour = fit_zero_point(flux, error, mag, exptime=60.0, colour=np.full(len(flux), 0.9))
    assert one_colour.colour_term == 0


def test_magnitudes_come_back_through_the_zero_point():
    flux, error, mag, colour, _ = stars(np.random.default_rng(3))
    found = fit_zero_point(flux, error, mag, exptime=60.0, colour=colour)
    again = found.magnitude(flux, 60.0, colour)
    assert np.median(np.abs(again - mag)) < 0.01
    assert np.isnan(found.magnitude([-1.0], 60.0)).all()


def test_too_few_stars_and_impossible_times_are_errors_with_the_number():
    flux, error, mag, *_ = stars(np.random.default_rng(4), n=30)
    with pytest.raises(NotEnoughData, match="at least 8"):
        fit_zero_point(flux[:5], error[:5], mag[:5], exptime=60.0)
    with pytest.raises(NotEnoughData, match="usable stars"):
        fit_zero_point(-flux, error, mag, exptime=60.0)
    with pytest.raises(NotEnoughData):
        fit_zero_point(flux, error, mag, exptime=60.0, mag_range=(3.0, 4.0))
    with pytest.raises(DataError, match="exposure time"):
        fit_zero_point(flux, error, mag, exptime=0.0)
    with pytest.raises(DataError, match="one length"):
        fit_zero_point(flux, error[:3], mag, exptime=60.0)


def test_limiting_magnitude_is_where_a_simulated_star_has_five_sigma():
    rng = np.random.default_rng(5)
    sigma, sky = 1.3, 500.0
    y, x = np.mgrid[-12:13, -12:13]
    psf = np.exp(-0.5 * (x**2 + y**2) / sigma**2) / (2 * np.pi * sigma**2)
    fwhm = 2.3548 * sigma
    limit = limiting_magnitude(25.0, np.full((9, 9), sky), fwhm=fwhm, exptime=60.0)
    flux = 60.0 * 10 ** (-0.4 * (limit - 25.0))
    trials = [
        np.sum(psf * (flux * psf + rng.normal(0, np.sqrt(sky), psf.shape))) / np.sum(psf**2)
        for _ in range(2000)
    ]
    assert np.mean(trials) / np.std(trials) == pytest.approx(5.0, abs=0.25)
    assert limiting_magnitude(25.0, sky, fwhm=fwhm, exptime=60.0, aperture=1.2 * fwhm) < limit
    assert np.isnan(limiting_magnitude(25.0, np.nan, fwhm=fwhm, exptime=60.0))


def test_sky_of_a_known_rate_has_its_magnitude():
    # 4 units/s in a pixel of 2" is 1 unit/s per square arcsec
    assert sky_brightness(25.0, 240.0, exptime=60.0, scale=2.0) == pytest.approx(25.0)
    assert np.isnan(sky_brightness(25.0, 0.0, exptime=60.0, scale=2.0))


def test_width_of_stars_forgets_hot_pixels_and_galaxies():
    rng = np.random.default_rng(6)
    fwhm = np.r_[rng.normal(3.0, 0.1, 200), np.full(60, 0.9), rng.uniform(5, 12, 40), np.nan]
    found = summarise_fwhm(fwhm, elongation=np.full(301, 1.1), scale=2.0)
    assert found.fwhm == pytest.approx(3.0, abs=0.03)
    assert found.scatter == pytest.approx(0.1, abs=0.03)
    assert found.fwhm_arcsec == pytest.approx(2 * found.fwhm)
    assert found.elongation == pytest.approx(1.1)
    assert summarise_fwhm([np.nan]).n == 0


def test_transparency_and_outliers_of_a_night():
    zero = np.full(20, 25.0)
    zero[3], zero[7] = 25.0 - 2.5 * np.log10(2), np.nan
    through = transparency(zero)
    assert through[0] == pytest.approx(1.0)
    assert through[3] == pytest.approx(0.5)
    assert np.isnan(through[7])
    night = zero + np.random.default_rng(7).normal(0, 0.01, 20)
    assert np.flatnonzero(mark_outliers(night)).tolist() == [3, 7]
    assert np.flatnonzero(mark_outliers(night, side="high")).tolist() == [7]
    assert np.isnan(transparency([np.nan, np.nan])).all()
