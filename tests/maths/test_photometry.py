"""Magnitudes, fluxes, luptitudes, limits and zero points."""

import numpy as np
import pytest

from virtualobserver.conventions import MAG_TO_FLUX
from virtualobserver.errors import DataError
from virtualobserver.maths.photometry import (
    align_offsets,
    flux_error_from_mag,
    flux_from_mag,
    luptitude,
    mag_error_from_flux,
    mag_from_flux,
    upper_limit_mag,
)


def test_one_microjansky_is_magnitude_23_9():
    assert flux_from_mag(23.9) == pytest.approx(1)
    assert flux_from_mag(18.9) == pytest.approx(100)
    # the AB system itself: 3631 Jy at magnitude 0, to the rounding of 23.9
    assert flux_from_mag(0.0) == pytest.approx(3631e6, rel=1e-4)


def test_conversions_are_inverses_with_errors():
    mag, error = np.linspace(12, 24, 50), np.linspace(0.01, 0.2, 50)
    flux = flux_from_mag(mag)
    flux_error = flux_error_from_mag(mag, error)
    np.testing.assert_allclose(mag_from_flux(flux), mag, rtol=1e-13)
    np.testing.assert_allclose(mag_error_from_flux(flux, flux_error), error, rtol=1e-12)
    assert abs(MAG_TO_FLUX - 0.9210340) < 1e-7


def test_flux_error_is_the_slope_of_the_flux():
    slope = (flux_from_mag(19.9999) - flux_from_mag(20.0001)) / 0.0002
    assert flux_error_from_mag(20.0, 0.05) == pytest.approx(0.05 * slope, rel=1e-6)


def test_fault_16_fluxes_without_a_magnitude_give_nan_silently():
    assert np.isnan(mag_from_flux([0.0, -1.0, np.nan, np.inf])).all()
    assert np.isnan(mag_error_from_flux([0.0, -1.0], [1.0, 1.0])).all()
    assert np.isnan(luptitude([1.0, 1.0, 1.0], [0.0, -1.0, np.nan])).all()
    assert flux_from_mag([]).size == 0


def test_parity_39_luptitudes_equal_magnitudes_only_at_high_snr():
    noise = 2.0
    high, low = np.array([200.0, 2000.0]), np.array([1.0, 2.0])
    np.testing.assert_allclose(luptitude(high, noise), -2.5 * np.log10(high), rtol=0.01)
    assert (np.abs(luptitude(low, noise) + 2.5 * np.log10(low)) > 0.1).all()
    assert np.isfinite(luptitude([-5.0, 0.0], noise)).all()
    assert luptitude(5.0, noise) < luptitude(4.0, noise)


def test_upper_limits_only_where_nothing_was_detected():
    limit = upper_limit_mag([10.0, 1.0, -4.0, np.nan, 1.0], [1.0, 1.0, 1.0, 1.0, 0.0])
    assert np.isnan(limit[[0, 3, 4]]).all()
    np.testing.assert_allclose(limit[[1, 2]], 23.9 - 2.5 * np.log10(5))


def series(offset=0.03, start=0.0, n=200, noise=0.01):
    rng = np.random.default_rng(3)
    mjd = np.concatenate([np.linspace(0, 100, 300), start + np.linspace(0, 100, n)])
    mag = np.concatenate([rng.normal(18, noise, 300), rng.normal(18 + offset, noise, n)])
    group = np.repeat([7_000_000_000_000_001, 42], [300, n])
    return group, mjd, mag


def test_offset_of_an_overlapping_series_is_removed():
    group, mjd, mag = series()
    result = align_offsets(group, mjd, mag)
    assert result.group.tolist() == [42, 7_000_000_000_000_001]
    assert result.reference == 1
    assert result.aligned.all()
    assert result.offset[0] == pytest.approx(0.03, abs=0.004)
    assert result.error[0] == pytest.approx(1.2533 * 0.01 * np.sqrt(1 / 200 + 1 / 300), rel=0.25)
    np.testing.assert_allclose(result.per_row([42, 5, 7_000_000_000_000_001]), [result.offset[0], 0, 0])


@pytest.mark.parametrize("case", [{"start": 500.0}, {"noise": 0.2}, {"n": 3}])
def test_series_that_cannot_be_measured_stay_as_they_are(case):
    result = align_offsets(*series(**case))
    assert not result.aligned[0]
    assert result.offset[0] == 0
    assert result.aligned[1]


def test_bad_rows_do_not_move_the_offset():
    group, mjd, mag = series()
    good = np.ones(mag.size, bool)
    good[-90:] = False
    assert align_offsets(group, mjd, np.where(good, mag, 25.0), good=good).offset[0] == pytest.approx(
        0.03, abs=0.004
    )


def test_alignment_of_nothing_and_of_unequal_columns():
    assert align_offsets([], [], []).per_row([1, 2]).tolist() == [0, 0]
    with pytest.raises(DataError, match="length"):
        align_offsets([1], [1.0, 2.0], [1.0])
