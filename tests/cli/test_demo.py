import time

import numpy as np
import pandas as pd
import pytest
from support.ztf import Client, reduced

from virtualobserver.cli.demo import _telling
from virtualobserver.data.product import Raw, Target
from virtualobserver.errors import BadKeyword, InvalidFile
from virtualobserver.observatories.demo import VirtualDemo

TARGET = Target("star", ra=359.99995, dec=-20.0, mag=16.0)


def fetched(survey, *targets):
    return [raw for _, raw in survey.fetch(targets or [TARGET], Client(origin="simulated"))]


def test_defaults_give_one_light_curve_of_100_epochs_about_magnitude_18():
    survey = VirtualDemo(flare_fraction=0.0, dip_fraction=0.0)
    (product,) = reduced(survey, fetched(survey), TARGET)
    assert (len(product.data), product.band, product.series) == (100, "R", "series_R")
    assert abs(np.median(product.data["mag"]) - 18.0) < 0.05
    assert product.statistics["n"] == 100


def test_time_is_the_middle_of_the_exposure():
    survey = VirtualDemo(exptime=864.0)
    (product,) = reduced(survey, fetched(survey), TARGET)
    assert product.data.mjd[0] == pytest.approx(57000.005, abs=1e-7)


def test_right_ascension_stays_within_0_and_360():
    survey = VirtualDemo()
    (product,) = reduced(survey, fetched(survey), TARGET)
    assert product.data["ra"].min() >= 0.0
    assert product.data["ra"].max() < 360.0
    assert product.data["ra"].min() < 1.0 < 359.0 < product.data["ra"].max()


def test_same_name_gives_the_same_bytes_and_another_name_others():
    survey = VirtualDemo()
    first, again, other = (fetched(survey, Target(name, ra=1.0, dec=2.0))[0].content for name in "aab")
    assert first == again != other


def test_injected_events_are_recorded_and_in_the_data():
    survey = VirtualDemo(flare_fraction=1.0, dip_fraction=0.0, flare_amplitude=5.0, mag_error=0.02)
    raw = fetched(survey)[0]
    (event,) = raw.header["injected"]
    (product,) = reduced(survey, [raw], TARGET)
    peak = int(np.argmax(product.data.flux))
    assert event["kind"] == "flare"
    assert product.data.mjd[peak] == pytest.approx(event["t_peak"], abs=0.01)
    assert product.data.flux[peak] / np.median(product.data.flux) == pytest.approx(6.0, rel=0.15)
    assert event["start_mjd"] <= event["t_peak"] <= event["end_mjd"]


def test_dip_lowers_the_flux_at_its_peak():
    survey = VirtualDemo(flare_fraction=0.0, dip_fraction=1.0, dip_amplitude=0.8, mag_error=0.02)
    raw = fetched(survey)[0]
    (event,) = raw.header["injected"]
    (product,) = reduced(survey, [raw], TARGET)
    near = int(np.argmin(np.abs(product.data.mjd - event["t_peak"])))
    assert (event["kind"], event["amplitude"]) == ("dip", -0.8)
    assert product.data.flux[near] / np.median(product.data.flux) == pytest.approx(0.2, abs=0.1)


def test_one_light_curve_for_each_filter():
    survey = VirtualDemo(filters=("g", "r"), n_epochs=7)
    assert [(p.band, len(p.data)) for p in reduced(survey, fetched(survey), TARGET)] == [("g", 7), ("r", 7)]


def test_drop_bad_is_the_old_name_of_drop_flagged_and_drops_exactly_the_flagged():
    kept, dropped = VirtualDemo(flag_fraction=0.3), VirtualDemo(flag_fraction=0.3, drop_bad=True)
    (full,), (cut,) = (reduced(survey, fetched(survey), TARGET) for survey in (kept, dropped))
    assert 0 < np.count_nonzero(full.data.flags) < 100
    assert len(cut.data) == np.count_nonzero(full.data.flags == 0)


def test_shuffled_times_are_in_order_and_uneven():
    survey = VirtualDemo(shuffle_time=True)
    (product,) = reduced(survey, fetched(survey), TARGET)
    steps = np.diff(product.data.mjd)
    assert steps.min() >= 0
    assert steps.max() > 2 * np.median(steps)


def test_no_epochs_are_no_data():
    assert fetched(VirtualDemo(n_epochs=0)) == []


def test_catalogue_magnitude_is_used_when_mag_is_unset():
    survey = VirtualDemo(mag=None, flare_fraction=0.0, dip_fraction=0.0)
    (product,) = reduced(survey, fetched(survey), TARGET)
    assert abs(np.median(product.data["mag"]) - 16.0) < 0.05


@pytest.mark.parametrize(
    ("change", "error"),
    [(lambda c: c[:-20], InvalidFile), (lambda c: c.replace(b"mag,", b"x,", 1), BadKeyword)],
)
def test_damaged_bytes_are_named_errors(change, error):
    survey = VirtualDemo()
    content = change(fetched(survey)[0].content)
    with pytest.raises(error, match="spoiled"):
        reduced(survey, [Raw("spoiled", "csv", content=content)], TARGET)


def test_fetch_and_reduce_cost_milliseconds_of_processor_time():
    survey = VirtualDemo()
    targets = [Target(f"s{i}", ra=1.0, dec=2.0) for i in range(100)]
    begin = time.process_time()
    for raw in fetched(survey, *targets):
        reduced(survey, [raw], TARGET)
    assert time.process_time() - begin < 2.0


def test_the_picture_proposed_is_of_the_strongest_find_that_was_not_injected():
    found = pd.DataFrame({"id": [4, 5, 6], "snr": [3.0, -9.0, 50.0], "injection_id": [np.nan, np.nan, 7.0]})
    found["kind"] = ["dip", "flash", "flash"]
    assert _telling(found) == "5"
    assert _telling(found.iloc[2:]) == "6"
    assert _telling(found.iloc[:0]) == "1"
    assert _telling(found, lambda number: number != 5) == "4", "what has no picture shows nothing"
    assert _telling(found, lambda number: False) == "5"
