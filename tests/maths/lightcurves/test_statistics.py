"""Robust moments and light-curve statistics against independent computations."""

import math

import numpy as np
import pytest

from virtualobserver.errors import DataError
from virtualobserver.maths.lightcurves.blocks import robust_mean_rms_block
from virtualobserver.maths.lightcurves.cadence import (
    cadence,
    circular_mean,
    seasons,
    sort_times,
    tangent_offsets,
)
from virtualobserver.maths.lightcurves.statistics import (
    light_curve_statistics,
    mad,
    robust_mean_rms,
)


def clipped_by_definition(values):
    """The recipe written out with NaN, row by row, as slowly as it reads."""
    x = np.array([v for v in values if math.isfinite(v)])
    if x.size < 5:
        return (float(np.median(x)), float(np.std(x))) if x.size else (math.nan, math.nan)
    mean, rms = float(np.median(x)), float(np.std(x))
    for _ in range(3):
        gone = [rms > 0 and abs(v - mean) / rms > 3 for v in x]
        left = x[~np.array(gone)]
        if not any(gone) or left.size < 5:
            break
        x = left
        mean, rms = float(np.mean(x)), float(np.std(x))
    return mean, rms


@pytest.mark.parametrize("n", [0, 1, 2, 4, 5, 6, 40, 301])
def test_robust_moments_follow_the_recipe(n):
    rng = np.random.default_rng(n)
    values = rng.normal(100, 5, n)
    values[: n // 20] += rng.uniform(30, 4000, n // 20)
    got = robust_mean_rms(values)
    assert (got.mean, got.rms) == pytest.approx(clipped_by_definition(values), rel=1e-12, nan_ok=True)


def test_clipping_stops_after_three_rounds():
    values = np.concatenate([np.linspace(-1, 1, 41), 2.5 * 3.0 ** np.arange(1, 9)])
    got = robust_mean_rms(values)
    assert (got.mean, got.rms) == pytest.approx(clipped_by_definition(values), rel=1e-12)
    assert 41 < got.n < values.size


def test_four_values_are_never_clipped():
    got = robust_mean_rms([1.0, 1.0, 1.0, 1000.0])
    assert got.mean == 1.0
    assert got.rms == pytest.approx(np.std([1, 1, 1, 1000.0]))
    assert got.n == 4


def test_later_rounds_use_the_mean_not_the_median():
    values = np.array([0.0] * 20 + [1.0] * 15 + [50.0])
    got = robust_mean_rms(values)
    assert got.mean == pytest.approx(15 / 35)


def test_block_equals_single_curves_for_ragged_lengths():
    rng = np.random.default_rng(5)
    lengths = [0, 1, 3, 4, 5, 6, 0, 17, 500, 500, 499, 1200, 2, 0]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    values = rng.normal(10, 1, offsets[-1])
    values[rng.integers(0, values.size, 80)] *= 9
    values[rng.integers(0, values.size, 30)] = np.nan
    values[rng.integers(0, values.size, 10)] = np.inf
    block = robust_mean_rms_block(values, offsets)
    for i in range(len(lengths)):
        one = robust_mean_rms(values[offsets[i] : offsets[i + 1]])
        assert (block.mean[i], block.rms[i]) == pytest.approx((one.mean, one.rms), rel=1e-12, nan_ok=True)
        assert block.n[i] == one.n


def test_block_equals_single_curves_across_many_blocks():
    rng = np.random.default_rng(6)
    values = rng.standard_cauchy((700, 400))
    block = robust_mean_rms_block(values, np.arange(701) * 400)
    singles = [robust_mean_rms(row) for row in values]
    np.testing.assert_allclose(block.mean, [one.mean for one in singles], rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(block.n, [one.n for one in singles])


@pytest.mark.parametrize("offsets", [[], [0, 3], [1, 5], [0, 4, 2, 5]])
def test_block_refuses_offsets_that_do_not_cover_the_rows(offsets):
    with pytest.raises(DataError, match="offsets"):
        robust_mean_rms_block(np.zeros(5), offsets)


def test_mad_of_normal_values_scales_to_sigma():
    values = np.random.default_rng(0).normal(3, 2, 20001)
    assert mad(values, scaled=True) == pytest.approx(2, rel=0.03)
    assert mad([1, 2, 4, np.nan, np.inf]) == 1
    assert math.isnan(mad([]))


def make_curve():
    rng = np.random.default_rng(32)
    mjd = 58000 + np.arange(200.0)
    flux = rng.normal(1000, 100, 200)
    flux[20], flux[30], flux[40] = 4000.0, 200.0, 90000.0
    flags = np.zeros(200, int)
    flags[40] = 1
    return mjd, flux, np.full(200, 90.0), flags


def test_parity_30_cadence_and_flux_range_of_a_curve():
    mjd, flux, error, _ = make_curve()
    stats = light_curve_statistics(mjd, flux, error, exptime=np.full(200, 30.0))
    assert stats.exptime == 30
    assert stats.cadence == pytest.approx(86400)
    assert (stats.flux_mean, stats.flux_min, stats.flux_max) == pytest.approx((flux.mean(), 200, 90000))
    assert (stats.t_min, stats.t_max) == (58000, 58199)


def test_parity_32_outliers_and_flags_in_the_statistics():
    mjd, flux, error, flags = make_curve()
    stats = light_curve_statistics(mjd, flux, error, flags=flags)
    clean = np.delete(flux, [20, 30, 40])
    assert (stats.n, stats.n_good) == (200, 199)
    assert stats.mag_brightest == pytest.approx(23.9 - 2.5 * math.log10(4000))
    assert stats.mag_faintest == pytest.approx(23.9 - 2.5 * math.log10(200))
    assert stats.flux_mean_robust == pytest.approx(clean.mean(), rel=0.01)
    assert stats.flux_rms_robust == pytest.approx(clean.std(), rel=0.06)
    assert stats.snr_median == pytest.approx(10, abs=1)
    assert stats.snr_max > 35
    assert stats.snr_min < 5
    assert stats.dsnr_max == pytest.approx(30, abs=3)
    assert stats.dsnr_min == pytest.approx(-8, abs=1)
    assert stats.dmag_brightest == pytest.approx(1.5, abs=0.1)
    assert stats.dmag_faintest == pytest.approx(-1.5, abs=0.2)
    assert stats.is_uniform
    assert not light_curve_statistics((mjd - 57999) ** 1.1, flux).is_uniform


def test_nan_statistics_become_none_at_the_database():
    columns = light_curve_statistics([], []).as_columns()
    assert columns["n"] == 0
    assert columns["is_uniform"] is False
    assert columns["flux_mean"] is None
    assert columns["mag_mean"] is None


CURVES = {
    "empty": [],
    "one": [3.0],
    "all nan": [np.nan] * 8,
    "constant": [5.0] * 8,
    "negative": [-3.0, -2.0, -4.0, -3.0, -3.5, -2.5],
    "infinite": [1.0, 2.0, np.inf, -np.inf, 1.5, 2.5, 1.0],
    "huge": [1e300, -1e300, 1e308, 5e307, 1.0, 2.0],
}


@pytest.mark.parametrize("flux", CURVES.values(), ids=CURVES.keys())
@pytest.mark.parametrize("error", [None, 0.0, -1.0, np.nan, np.inf, 0.5])
def test_fault_16_odd_curves_have_statistics_without_warnings(flux, error):
    mjd = np.arange(len(flux), dtype=float)
    errors = None if error is None else np.full(len(flux), error)
    stats = light_curve_statistics(mjd, flux, errors)
    assert stats.n_good == np.isfinite(flux).sum()
    assert all(value is None or math.isfinite(value) for value in stats.as_columns().values())


def test_fault_16_constant_curve_has_no_difference_from_itself():
    stats = light_curve_statistics(np.arange(9.0), np.full(9, 7.0), np.full(9, 0.5))
    assert (stats.flux_rms_robust, stats.dmag_brightest, stats.dsnr_max, stats.snr_max) == (0, 0, 0, 14)


def test_fault_16_shuffled_rows_give_identical_statistics():
    mjd, flux, error, flags = make_curve()
    order = np.random.default_rng(2).permutation(200)
    shuffled = light_curve_statistics(mjd[order], flux[order], error[order], flags=flags[order], exptime=30)
    assert shuffled == light_curve_statistics(mjd, flux, error, flags=flags, exptime=30)


def test_inputs_are_left_as_they_were():
    columns = make_curve()
    before = [column.copy() for column in columns]
    light_curve_statistics(columns[0], columns[1], columns[2], flags=columns[3])
    robust_mean_rms_block(columns[1], [0, 100, 200])
    for column, copy in zip(columns, before, strict=True):
        np.testing.assert_array_equal(column, copy)


def test_columns_of_different_length_are_refused():
    with pytest.raises(DataError, match="length"):
        light_curve_statistics([1, 2], [1, 2, 3])


def test_seasons_count_in_time_order_whatever_the_row_order():
    mjd = [300.0, 10.0, np.nan, 1.0, 302.0, 55.0]
    assert seasons(mjd, 40).tolist() == [2, 0, -1, 0, 2, 1]
    assert seasons([0.0, 40.0], 40).tolist() == [0, 0]


def test_cadence_of_few_or_equal_times():
    assert cadence([1.0]) == pytest.approx((math.nan, False), nan_ok=True)
    assert cadence([1.0, 1.0, 1.0]) == (0.0, False)


def test_sort_breaks_ties_by_content():
    assert sort_times([2.0, 1.0, 1.0, np.nan], [0, 5, 4, 1]).tolist() == [2, 1, 0]


def test_mean_right_ascension_across_zero():
    assert circular_mean([359.9, 0.1]) == pytest.approx(0, abs=1e-9)
    assert circular_mean([359.8, 359.9]) == pytest.approx(359.85)
    assert 0 <= circular_mean([-1e-15]) < 360
    assert math.isnan(circular_mean([np.nan]))


@pytest.mark.parametrize(("ra0", "dec0"), [(0.0, 51.4), (359.9999, -30.0), (12.0, 89.9999), (200.0, -90.0)])
def test_tangent_offsets_have_the_length_of_the_separation(ra0, dec0):
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    center = SkyCoord(ra0 * u.deg, dec0 * u.deg)
    angle = np.linspace(0, 360, 12, endpoint=False)
    star = center.directional_offset_by(angle * u.deg, 3 * u.arcsec)
    east, north = tangent_offsets(star.ra.deg, star.dec.deg, ra0, dec0)
    np.testing.assert_allclose(np.hypot(east, north), 3, rtol=1e-6)
    if abs(dec0) < 89:
        np.testing.assert_allclose(east, 3 * np.sin(np.radians(angle)), atol=1e-4)
        np.testing.assert_allclose(north, 3 * np.cos(np.radians(angle)), atol=1e-4)


def test_offsets_on_the_far_half_of_the_sky_are_nan():
    assert np.isnan(tangent_offsets([180.0], [0.0], 0.0, 0.0)).all()


def test_fault_16_block_moments_of_huge_values_equal_single_ones():
    values = np.array([1e308, -1e308] * 5 + [1.0, 2.0, 3.0, 4.0, 5.0])
    block = robust_mean_rms_block(values, [0, 10, 15])
    np.testing.assert_allclose(block.rms, [1e308, np.sqrt(2)])
    assert robust_mean_rms(values[:10]).rms == pytest.approx(1e308)
