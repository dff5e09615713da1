"""The search for flares and dips: what it finds, what it leaves alone, what it counts."""

from __future__ import annotations

import numpy as np
import pytest

from virtualobserver.analyses.transients import Transients, TransientsSettings
from virtualobserver.conventions import FLAG_ARCHIVE, FLAG_ASTROMETRY
from virtualobserver.data import Target, TimeSeries, as_handle
from virtualobserver.data.histogram import Histogram
from virtualobserver.observatory import Aux

AUX = Aux(Target("star", ra=10.0, dec=20.0, mag=16.0))


def curve(n=100, seed=0, *, band="g", bumps=None, flags=None, offsets=None, positions=True, **changes):
    rng = np.random.default_rng(seed)
    flux = 1000 + np.clip(rng.normal(0, 20, n), -50, 50)
    for row, sigma in (bumps or {}).items():
        flux[row] = 1000 + 20 * sigma
    columns = {
        "mjd": 58000 + np.arange(n, dtype=float),
        "flux": flux,
        "flux_error": np.full(n, 20.0),
        "flags": np.zeros(n, dtype=np.int64),
        "exptime": np.full(n, 30.0),
    }
    if positions:
        columns |= {"ra": 10 + rng.normal(0, 3e-5, n), "dec": 20 + rng.normal(0, 3e-5, n)}
    for row, bits in (flags or {}).items():
        columns["flags"][row] = bits
    for row, degrees in (offsets or {}).items():
        columns["dec"][row] += degrees
    return TimeSeries(columns | changes, band=band)


def find(*curves, **options):
    analysis = Transients(**options)
    return analysis.find([as_handle(one) for one in curves], AUX, analysis.settings)


def test_parity_17_clean_curve_has_no_detection():
    assert find(curve()).detections == ()


def test_parity_17_one_point_of_eight_sigma_is_found_at_its_time():
    (event,) = find(curve(bumps={4: 8})).detections
    assert event.kind == "flare"
    assert event.snr == pytest.approx(8, abs=1)
    assert event.peak_mjd == 58004.0
    assert event.parameters["amplitude"] == pytest.approx(160, abs=10)


def test_differences_are_event_less_quiet_level_so_that_a_dip_has_more_magnitudes():
    flare, dip = find(curve(bumps={4: 8, 50: -8})).detections
    # 1160 and 840 uJy on 1000: -2.5 lg 1.16 and -2.5 lg 0.84; the level is known to 20 / sqrt(100) uJy
    assert flare.parameters["mag_diff"] == pytest.approx(-0.161, abs=0.01)
    assert dip.parameters["mag_diff"] == pytest.approx(0.189, abs=0.01)
    assert flare.parameters["amplitude"] > 0 > dip.parameters["amplitude"]
    data = curve(bumps={4: 20, 50: -8})  # 1400 and 840 uJy
    analysis = Transients()
    counts = (
        analysis.find([as_handle(data)], AUX, analysis.settings)
        .histograms["dmag"]
        .project("dmag")
        .to_xarray()
    )
    filled = counts["dmag"].values[counts["counts"].values > 0]
    assert filled.min() == pytest.approx(-0.36, abs=0.06)
    assert filled.max() == pytest.approx(0.19, abs=0.06)


def test_parity_17_dips_are_found_unless_switched_off():
    data = curve(bumps={4: 8, 50: -8})
    assert [event.kind for event in find(data).detections] == ["flare", "dip"]
    assert find(data).detections[1].snr == pytest.approx(-8, abs=1)
    assert [event.kind for event in find(data, dips=False).detections] == ["flare"]


def test_parity_18_nan_and_flagged_points_are_ignored():
    data = curve(bumps={10: 50, 20: np.nan}, flags={10: FLAG_ARCHIVE})
    assert find(data).detections == ()


def test_parity_18_flare_of_five_epochs_is_one_event_from_first_to_last_row():
    (event,) = find(curve(bumps={10: 6, 11: 8, 12: 12, 13: 8, 14: 6})).detections
    assert (event.start_mjd, event.peak_mjd, event.end_mjd) == (58010.0, 58012.0, 58014.0)
    assert event.parameters["n_points"] == 5


def test_two_separate_flares_are_two_events_in_order_of_time():
    events = find(curve(bumps={70: 9, 20: 12})).detections
    assert [event.peak_mjd for event in events] == [58020.0, 58070.0]


def test_at_most_so_many_events_of_one_light_curve_and_the_strongest():
    events = find(curve(bumps={10: 7, 30: 9, 50: 11, 70: 13}), max_events_per_lightcurve=2).detections
    assert [event.peak_mjd for event in events] == [58050.0, 58070.0]


def test_parity_19_three_filters_one_flare_one_detection_and_all_rows_counted():
    result = find(
        curve(seed=1, band="g"), curve(seed=2, band="r", bumps={5: 10}), curve(50, seed=3, band="i")
    )
    (event,) = result.detections
    assert (event.band, event.product) == ("r", 1)
    for histogram in result.histograms.values():
        assert histogram.total == 250
    bands = result.histograms["snr"].project("band")
    assert bands.axes[0].labels == ("g", "i", "r")
    assert bands.to_sparse().count.tolist() == [100, 50, 100]


def test_parity_20_quality_marks_or_drops_events():
    data = curve(bumps={40: 10}, offsets={40: 0.001})
    (event,) = find(data).detections
    assert event.quality & FLAG_ASTROMETRY
    assert abs(event.parameters["quality_values"]["offset"]) > 3.5
    assert find(data, drop_flagged_quality=True).detections == ()
    assert find(data, remove_failed=True).detections == ()


def test_parity_20_flare_whose_edge_is_off_is_still_flagged():
    (event,) = find(curve(bumps={40: 7, 41: 10, 42: 7}, offsets={42: 0.001})).detections
    assert event.quality & FLAG_ASTROMETRY


def test_positions_across_ra_zero_are_not_offsets():
    ra = (np.random.default_rng(3).normal(0, 3e-5, 100)) % 360
    result = find(curve(ra=ra))
    assert result.histograms["offset"].overflow("offset") < 10
    assert result.properties["n_good"] > 90


def test_properties_count_and_time():
    result = find(curve(bumps={4: 8, 50: -9}, positions=False))
    assert result.properties["n_detections"] == 2
    assert result.properties["n_dips"] == 1
    assert result.properties["n_epochs"] == result.properties["n_good"] == 100
    assert result.properties["best_snr"] == pytest.approx(-9, abs=1)
    assert result.properties["time_scanned"] == pytest.approx(100 * 30 / 86400)
    assert result.properties["time_span"] == 99.0


def test_histograms_separate_doubtful_rows_and_add_up():
    first, second = find(curve(flags={3: 1, 4: 1}, positions=False)), find(curve(seed=5, band="r"))
    doubtful = first.histograms["snr"].project("doubtful").to_sparse()
    assert doubtful.count.tolist() == [98, 2]
    both = first.histograms["snr"] + second.histograms["snr"]
    assert both == second.histograms["snr"] + first.histograms["snr"]
    assert both.total == 200


def test_histogram_equals_one_filled_the_usual_way():
    data = curve(positions=False)
    result = find(data, save_processed=True)
    made = result.histograms["snr"]
    snr = result.products[0].data["snr"]
    usual = Histogram(made.emptied().axes).fill(snr=snr, mag=16.4, exptime=30.0, band="g", doubtful=0)
    assert made == usual


def test_processed_light_curve_on_demand():
    result = find(curve(bumps={10: 6, 11: 8}), save_processed=True)
    (product,) = result.products
    assert product.role == "processed"
    assert np.flatnonzero(product.data["detected"]).tolist() == [10, 11]
    assert {"snr", "qflag"} <= set(product.data)
    assert find(curve()).products == ()


def test_matched_filter_finds_what_single_points_do_not_show():
    data = curve(400, bumps=dict.fromkeys(range(200, 220), 2.5), positions=False)
    assert find(data, method="published").detections == ()
    (event,) = find(data, method="published", matched_filter_widths=[20.0], shape="box").detections
    assert 58195 < event.peak_mjd < 58225
    assert event.parameters["width"] == 20.0


@pytest.mark.parametrize(
    "changes",
    [
        {"flux": np.full(100, np.nan)},
        {"flux": np.full(100, 7.0), "flux_error": np.zeros(100)},
        {"flux_error": np.full(100, np.nan)},
        {"mjd": np.full(100, 58000.0)},
        {"flux": np.r_[np.inf, np.ones(99)]},
    ],
)
def test_fault_16_odd_light_curves_give_no_event_and_no_nan(changes):
    result = find(curve(positions=False, **changes))
    assert result.detections == ()
    numbers = [value for value in result.properties.values() if not isinstance(value, str)]
    assert all(value is None or np.isfinite(value) for value in numbers)


@pytest.mark.parametrize("n", [0, 1, 4])
def test_fault_16_short_light_curves_are_no_error(n):
    result = find(curve(n, positions=False))
    assert result.detections == ()
    assert result.properties["n_epochs"] == n


def test_injection_adds_the_flux_and_leaves_the_input():
    analysis = Transients()
    data = curve(mag=np.full(100, 16.4))
    before = data.flux.copy()
    params = {
        "shape": "box",
        "amplitude": 10.0,
        "amplitude_unit": "relative",
        "width": 5.0,
        "t_peak": 58050.0,
    }
    (handle,) = analysis.inject([as_handle(data)], [params], np.random.default_rng(0))
    new = handle.load()
    np.testing.assert_array_equal(data.flux, before)
    assert np.flatnonzero(new.flux != before).tolist() == [48, 49, 50, 51, 52]
    assert new.flux[50] - before[50] == pytest.approx(10_000, rel=0.02)
    assert new["mag"][50] == pytest.approx(16.4 - 2.5 * np.log10(new.flux[50] / before[50]))
    assert new["mag"][0] == 16.4
    assert handle.info.simulated


def test_injected_dip_takes_no_more_than_all_light():
    params = {"shape": "box", "amplitude": -500.0, "amplitude_unit": "sigma", "width": 5.0, "t_peak": 58050.0}
    data = curve()
    (handle,) = Transients(simulate={"limit_snr": 0}).inject(
        [as_handle(data)], [params], np.random.default_rng(0)
    )
    assert handle.load().flux[50] == pytest.approx(data.flux[50] - 1000, abs=10)


def test_drawn_events_lie_within_settings_and_light_curves():
    analysis = Transients(
        simulate={"width": [1.0, 2.0], "amplitude": [4.0, 8.0], "dips": 0.0, "shapes": ["fred"]}
    )
    handles = [as_handle(curve()), as_handle(curve(mjd=60000 + np.arange(100.0)))]
    rng = np.random.default_rng(1)
    drawn = [analysis.draw(rng, handles, analysis.settings) for _ in range(200)]
    peaks = np.array([one["t_peak"] for one in drawn])
    assert (((peaks >= 58000) & (peaks <= 58099)) | ((peaks >= 60000) & (peaks <= 60099))).all()
    assert (peaks < 59000).any()
    assert (peaks > 59000).any()
    assert {one["shape"] for one in drawn} == {"fred"}
    assert all(1 <= one["width"] <= 2 and 4 <= one["amplitude"] <= 8 for one in drawn)
    assert all(one["start_mjd"] < one["t_peak"] < one["end_mjd"] for one in drawn)


def test_settings_refuse_wrong_ranges():
    for wrong in (
        {"simulate": {"width": [3.0, 1.0]}},
        {"matched_filter_widths": [-1.0]},
        {"snr_threshold": 0.0},
    ):
        with pytest.raises(ValueError, match=r"number|greater"):
            TransientsSettings(**wrong)
