"""Quality cuts, the event finder, templates and the matched filter."""

from itertools import pairwise

import numpy as np
import pytest

from virtualobserver import conventions as c
from virtualobserver.errors import DataError
from virtualobserver.maths.lightcurves.events import (
    QualityThresholds,
    event_templates,
    find_events,
    find_events_block,
    matched_filter,
    quality_flags,
    signal_to_noise,
    signal_to_noise_block,
)

N = 100
MJD = 58000 + np.arange(N, dtype=float)


def quiet(seed=1, n=N):
    return np.random.default_rng(seed).uniform(-1.5, 1.5, n)


def found(flux, error=None, good=None, **options):
    snr = signal_to_noise(flux, error, good).snr
    return find_events(np.arange(len(flux), dtype=float), snr, good, **options)


def test_parity_17_clean_curve_has_no_event():
    assert found(1000 + 10 * quiet(), np.full(N, 10.0)) == []


def test_parity_17_one_high_point_is_one_event_at_its_row():
    flux = 1000 + 10 * quiet()
    flux[4] = 1080
    (event,) = found(flux, np.full(N, 10.0))
    assert (event.first, event.peak, event.last, event.sign) == (4, 4, 4, 1)
    assert event.snr == pytest.approx(8, abs=1)


def test_parity_17_a_dip_is_an_event_unless_only_brightenings_are_wanted():
    flux = 1000 + 10 * quiet()
    flux[4], flux[60] = 1080, 900
    first, second = found(flux, np.full(N, 10.0), max_events=2)
    assert (first.peak, first.sign, second.peak, second.sign) == (60, -1, 4, 1)
    assert first.snr == pytest.approx(-10, abs=1)
    assert [event.peak for event in found(flux, np.full(N, 10.0), both_signs=False)] == [4]
    assert [event.peak for event in found(flux, np.full(N, 10.0), max_events=1)] == [60]


def test_parity_18_bad_and_nan_rows_are_stepped_over():
    snr = quiet()
    snr[10:15] = [4, 6, 9, 6, 4]
    snr[12], snr[40], snr[50] = np.nan, 30, np.inf
    good = np.ones(N, bool)
    good[40] = False
    (event,) = find_events(MJD, snr, good)
    assert (event.first, event.last) == (10, 14)
    assert event.rows == (10, 11, 13, 14)
    assert snr[40] == 30


def test_parity_18_five_epoch_flare_is_one_event_with_its_ends():
    snr = quiet()
    snr[10:15] = [3.5, 6, 9, 6, 3.5]
    (event,) = find_events(MJD, snr)
    assert (event.first, event.peak, event.last) == (10, 12, 14)


def test_separate_flares_are_separate_events():
    snr = quiet()
    snr[10], snr[80] = 8, 7
    assert [(event.first, event.last) for event in find_events(MJD, snr)] == [(10, 10), (80, 80)]


def test_flare_and_dip_side_by_side_are_two_events():
    snr = quiet()
    snr[10:14] = [6, 6.5, -7, -6]
    assert [event.rows for event in find_events(MJD, snr)] == [(12, 13), (10, 11)]


def test_a_long_pause_ends_an_event():
    snr = np.array([0.0, 6, 7, 6, 8, 0])
    mjd = np.array([0.0, 1, 2, 102, 103, 104])
    assert len(find_events(mjd, snr)) == 1
    assert [event.rows for event in find_events(mjd, snr, max_gap=40)] == [(3, 4), (1, 2)]


def test_peak_must_exceed_the_threshold_and_sidebands_bound_the_rows():
    assert find_events([0.0, 1.0], [5.0, 0.0]) == []
    snr = [0, 2.5, 3.5, 6.0, 4.5, 0.0]
    assert find_events(np.arange(6.0), snr)[0].rows == (2, 3, 4)
    assert find_events(np.arange(6.0), snr, sidebands=2.0)[0].rows == (1, 2, 3, 4)
    assert find_events(np.arange(6.0), snr, sidebands=-99.0)[0].rows == (1, 2, 3, 4)


def test_threshold_must_be_positive():
    with pytest.raises(DataError, match="positive"):
        find_events([0.0], [1.0], threshold=0)


def test_snr_uses_the_larger_of_error_and_scatter():
    flux = 100 + quiet()
    error = np.full(N, 5.0)
    error[:3] = 0.0, -1.0, np.nan
    result = signal_to_noise(flux, error)
    expected = np.where(np.arange(N) < 3, result.moments.rms, 5.0)
    np.testing.assert_allclose(result.snr, (flux - result.moments.mean) / expected)


def test_snr_moments_come_from_good_rows_only():
    flux = 100 + quiet()
    flux[:30] = 400
    good = np.arange(N) >= 30
    result = signal_to_noise(flux, None, good)
    assert result.moments.mean == pytest.approx(100, abs=0.5)
    assert (result.snr[:30] > 100).all()


@pytest.mark.parametrize(
    "flux", [[], [1.0], [np.nan] * 9, [3.0] * 9, [1.0, np.inf, 2, 1, 2, -np.inf, 1], [1e308, -1e308] * 5]
)
@pytest.mark.parametrize("error", [None, 0.0, -1.0, np.nan, np.inf, 1.0])
def test_fault_16_odd_curves_have_no_events_and_no_warnings(flux, error):
    errors = None if error is None else np.full(len(flux), error)
    snr = signal_to_noise(flux, errors).snr
    assert np.isfinite(snr[np.isfinite(flux)]).all()
    assert found(flux, errors) == []
    assert found(flux, errors, np.zeros(len(flux), bool)) == []


def test_fault_16_shuffled_rows_with_equal_times_give_the_same_events():
    rng = np.random.default_rng(8)
    mjd = np.floor(rng.uniform(58000, 58060, 200))
    flux, error = rng.normal(100, 5, 200), rng.uniform(4, 6, 200)
    flux[mjd == 58010] += 70
    flux[mjd == 58030] -= 60
    shuffle = rng.permutation(200)

    def events(rows):
        snr = signal_to_noise(flux[rows], error[rows]).snr
        return [
            (event.snr, event.sign, [int(rows[row]) for row in event.rows], int(rows[event.peak]))
            for event in find_events(mjd[rows], snr)
        ]

    assert len(events(np.arange(200))) >= 2
    assert events(shuffle) == events(np.arange(200))


def test_fault_16_a_million_points():
    snr = np.zeros(1_000_000)
    snr[::1000] = 9
    events = find_events(np.arange(1e6), snr, max_events=3)
    assert [event.peak for event in events] == [0, 1000, 2000]


def test_block_search_equals_curve_by_curve():
    rng = np.random.default_rng(3)
    lengths = [500, 0, 40, 3, 500, 1]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    flux = rng.normal(50, 3, offsets[-1])
    error = rng.uniform(2, 3, flux.size)
    good = rng.random(flux.size) > 0.1
    flux[[20, 21, 510, 700]] += [60, 50, -40, 45]
    mjd = rng.uniform(0, 900, flux.size)
    snr = signal_to_noise_block(flux, offsets, error, good).snr
    block = find_events_block(mjd, snr, offsets, good)
    for i, (start, stop) in enumerate(pairwise(offsets)):
        part = slice(start, stop)
        single = signal_to_noise(flux[part], error[part], good[part]).snr
        np.testing.assert_allclose(snr[part], single, rtol=1e-9)
        events = find_events(mjd[part], single, good[part])
        assert [event.rows for event in block.get(i, [])] == [event.rows for event in events]
    assert 0 in block


def test_parity_20_displaced_row_is_flagged_by_its_offset():
    rng = np.random.default_rng(20)
    ra, dec = (359.99995 + rng.normal(0, 1e-5, N)) % 360, 51.4 + rng.normal(0, 1e-5, N)
    before = quality_flags(np.ones(N), ra=ra, dec=dec)
    dec[7] += 8e-5
    quality = quality_flags(np.ones(N), ra=ra, dec=dec)
    assert quality.mask[7] == c.FLAG_ASTROMETRY
    assert quality.offset_sigma[7] == pytest.approx(10, abs=4)
    assert (before.mask != 0).sum() <= 3
    assert np.nanmax(before.offset_sigma) < 6


def test_offsets_are_zero_without_spread_and_nan_without_position():
    same = quality_flags(np.ones(4), ra=[1.0, 1, 1, np.nan], dec=[2.0, 2, 2, 2])
    assert same.offset_sigma[:3].tolist() == [0, 0, 0]
    assert same.mask.tolist() == [0, 0, 0, c.FLAG_ASTROMETRY]
    assert (quality_flags([1.0], ra=[np.nan], dec=[np.nan]).mask == c.FLAG_ASTROMETRY).all()


def test_each_reason_has_its_bit():
    quality = quality_flags(
        [1.0, np.nan, 1.0, 1.0, 1.0, 1.0],
        [1.0, 1.0, 0.0, 1.0, 2.0, np.nan],
        mjd=[1.0, 2.0, 3.0, 9.0, 9.0, 6.0],
        flags=[32768, 0, 0, 0, 0, 0],
    )
    first = [c.FLAG_ARCHIVE, c.FLAG_NOT_FINITE, c.FLAG_BAD_ERROR]
    assert quality.mask.tolist() == [*first, 0, c.FLAG_DUPLICATE_TIME, c.FLAG_BAD_ERROR]
    assert quality.good.tolist() == [False, False, False, True, False, False]


def test_profile_outliers_are_judged_within_their_series():
    chi = np.full(40, 0.6)
    chi[20:] = 2.0
    chi[[3, 25, 30]] = 3.1, 7.0, 9.0
    sharp = np.tile([0.01, -0.01], 20)
    sharp[[5, 6]] = 0.35, 0.25
    mask = quality_flags(np.ones(40), chi=chi, sharp=sharp, group=np.repeat([5, 9], 20)).mask
    assert np.flatnonzero(mask == c.FLAG_PSF).tolist() == [3, 5, 30]
    strict = QualityThresholds(sharp_floor=0.2)
    assert quality_flags(np.ones(40), sharp=sharp, thresholds=strict).mask[6] == c.FLAG_PSF


def test_quality_leaves_positions_alone_and_refuses_short_columns():
    ra = np.array([1.0, 2.0])
    ra.flags.writeable = False
    quality_flags([1.0, 2.0], ra=ra, dec=ra)
    with pytest.raises(DataError, match="chi"):
        quality_flags([1.0, 2.0], chi=[1.0])


def test_fault_16_quality_of_an_empty_curve():
    quality = quality_flags([], [], mjd=[], flags=[], chi=[], sharp=[], ra=[], dec=[], group=[])
    assert quality.mask.size == quality.offset_sigma.size == 0


def test_gaussian_width_is_the_full_width_at_half_maximum():
    t = np.linspace(-3, 3, 60001)
    profile = event_templates(t, 0.0, 0.864, 2.0, shape="gaussian")
    above = t[profile >= 1.0]
    assert above[-1] - above[0] == pytest.approx(0.864, abs=3e-4)
    assert profile.max() == 2.0


def test_box_width_is_its_full_width():
    t = np.linspace(-3, 3, 60001)
    inside = t[event_templates(t, 0.5, 0.4, -1.0, shape="box") == -1.0]
    assert (inside[0], inside[-1]) == pytest.approx((0.3, 0.7), abs=2e-4)


def test_fred_decays_by_e_in_its_width_and_rises_ten_times_faster():
    profile = event_templates([-0.2, 0.0, 2.0, 4.0], 0.0, 2.0, 1.0, shape="fred")
    np.testing.assert_allclose(profile, [np.exp(-1), 1, np.exp(-1), np.exp(-2)])
    assert np.isfinite(event_templates([-1e300, 1e300], 0.0, 1e-3, shape="fred")).all()


def test_templates_broadcast_and_refuse_bad_settings():
    assert event_templates(np.arange(5.0), np.zeros((3, 1)), np.ones((3, 1))).shape == (3, 5)
    with pytest.raises(DataError, match="positive"):
        event_templates([0.0], 0.0, 0.0)
    with pytest.raises(DataError, match="box, gaussian, fred"):
        event_templates([0.0], 0.0, 1.0, shape="triangle")


@pytest.mark.parametrize("shape", ["box", "gaussian", "fred"])
@pytest.mark.parametrize("amplitude", [6.0, -6.0])
def test_matched_filter_finds_shape_width_and_amplitude(shape, amplitude):
    rng = np.random.default_rng(9)
    mjd = np.sort(rng.uniform(0, 200, 900))
    flux = rng.normal(40, 2, 900) + event_templates(mjd, 100.0, 6.0, amplitude, shape=shape)
    widths = [0.5, 6.0, 60.0]
    result = matched_filter(mjd, flux, np.full(900, 2.0), widths=widths, shape=shape)
    assert result.best_width == 1
    assert mjd[result.best_row] == pytest.approx(100, abs=2)
    assert result.amplitude[1, result.best_row] == pytest.approx(amplitude, abs=2)
    assert abs(result.best_score) > np.abs(signal_to_noise(flux, np.full(900, 2.0)).snr).max()
    assert result.best_score * amplitude > 0


def test_matched_filter_equals_an_ordinary_least_squares_fit():
    rng = np.random.default_rng(4)
    mjd = np.sort(rng.uniform(0, 30, 60))
    flux, error = rng.normal(10, 1, 60), rng.uniform(3, 5, 60)
    result = matched_filter(mjd, flux, error, widths=[4.0], shape="box")
    row = 30
    shape = event_templates(mjd, mjd[row], 4.0, shape="box")
    design = np.stack([shape, np.ones(60)], axis=1) / error[:, None]
    covariance = np.linalg.inv(design.T @ design)
    solution = covariance @ design.T @ (flux / error)
    assert result.amplitude[0, row] == pytest.approx(solution[0])
    assert result.score[0, row] == pytest.approx(solution[0] / np.sqrt(covariance[0, 0]))


@pytest.mark.parametrize("flux", [[], [1.0], [np.nan] * 7, [3.0] * 7, [np.inf, 1, 2, 1, 2, 1, 2]])
@pytest.mark.parametrize("error", [None, 0.0, np.nan, 1.0])
def test_fault_16_matched_filter_never_scores_nan(flux, error):
    errors = None if error is None else np.full(len(flux), error)
    result = matched_filter(np.zeros(len(flux)), flux, errors, widths=[1.0, 1e6])
    assert np.isfinite(result.score).all()
    assert np.isfinite(result.best_score)


def test_matched_filter_ignores_bad_rows_and_order():
    rng = np.random.default_rng(5)
    mjd, flux = np.arange(80.0), rng.normal(0, 1, 80)
    flux[50] = 1e6
    good = mjd != 50
    order = rng.permutation(80)
    plain = matched_filter(mjd, flux, None, good, widths=[3.0, 9.0])
    mixed = matched_filter(mjd[order], flux[order], None, good[order], widths=[3.0, 9.0])
    assert plain.score[:, 50].tolist() == [0, 0]
    np.testing.assert_allclose(mixed.score, plain.score[:, order], rtol=1e-9, atol=1e-12)
    assert abs(plain.best_score) < 5
