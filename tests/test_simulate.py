"""Injection and recovery."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from virtualobserver.analyses.transients import Transients
from virtualobserver.data import Target, TimeSeries, as_handle
from virtualobserver.errors import DataError
from virtualobserver.maths.efficiency import wilson_interval
from virtualobserver.observatory import Aux
from virtualobserver.simulate import Simulator, efficiency, generator, occurrence_rate, outcome_table

AUX = Aux(Target("star"))


def handles(seed=0, bump=None):
    rng = np.random.default_rng(seed)
    flux = 1000 + rng.normal(0, 10, 300)
    if bump:
        flux[bump] += 1000
    columns = {
        "mjd": 58000 + np.arange(300) * 0.5,
        "flux": flux,
        "flux_error": np.full(300, 10.0),
        "flags": np.zeros(300, dtype=np.int64),
    }
    return [as_handle(TimeSeries(columns, band="g"))]


def simulator(**simulate):
    return Simulator(Transients(simulate={"width": [2.0, 10.0], **simulate}))


def test_generators_differ_by_every_part_of_the_identity():
    identities = [
        ("d", "s", "u", 0),
        ("e", "s", "u", 0),
        ("d", "t", "u", 0),
        ("d", "s", "v", 0),
        ("d", "s", "u", 1),
    ]
    drawn = {generator(*one).random() for one in identities} | {generator("d", "s", "u", 0, seed=1).random()}
    assert len(drawn) == 6
    assert generator("ds", "", "", 0).random() != generator("d", "s", "", 0).random()


def test_asking_for_more_injections_changes_none():
    few = simulator().run(handles(), AUX, range(3), digest="d")
    more = simulator().run(handles(), AUX, [4, 2, 1, 0], digest="d")
    assert {one.number: one.params for one in few}[2] == {one.number: one.params for one in more}[2]


def test_strong_events_are_found_and_weak_ones_missed():
    strong = simulator(amplitude=[25.0, 30.0]).run(handles(), AUX, range(20))
    weak = simulator(amplitude=[0.1, 0.2]).run(handles(), AUX, range(20))
    assert sum(one.recovered for one in strong) >= 19
    assert not any(one.recovered for one in weak)
    assert all(one.snr * one.params["amplitude"] > 0 for one in strong if one.recovered)


def test_real_event_in_the_data_is_not_counted_as_recovery():
    data = handles(bump=slice(140, 160))
    weak = simulator(amplitude=[0.1, 0.2], dips=0.0).run(data, AUX, range(30))
    overlapping = [one for one in weak if 58069 < one.params["t_peak"] < 58080]
    assert overlapping
    assert not any(one.recovered for one in weak if one.snr == 0)
    assert sum(one.recovered for one in weak) < len(weak) // 3


def test_efficiency_rises_with_amplitude_and_has_intervals():
    outcomes = simulator(amplitude=[0.05, 30.0]).run(handles(), AUX, range(60))
    table = efficiency(outcomes, by=("amplitude",), edges={"amplitude": [0.05, 0.5, 5, 30.1]})
    assert table["injected"].sum() == 60
    assert table["efficiency"].tolist() == sorted(table["efficiency"])
    assert table["efficiency"].iloc[0] < 0.3
    assert table["efficiency"].iloc[-1] > 0.9
    assert ((table["low"] <= table["efficiency"]) & (table["efficiency"] <= table["high"])).all()


def test_efficiency_by_two_numbers_or_a_text():
    frame = pd.DataFrame(
        {
            "amplitude": [1.0, -1.0, 8.0, 9.0],
            "width": [1.0, 1.0, 2.0, 2.0],
            "shape": ["box", "box", "fred", "fred"],
            "found": [True, False, True, True],
        }
    )
    table = efficiency(frame, bins=2)
    assert table["injected"].tolist() == [2, 2]
    assert table["efficiency"].tolist() == [0.5, 1.0]
    by_shape = efficiency(frame, by=("shape",))
    assert dict(zip(by_shape["shape"], by_shape["found"], strict=True)) == {"box": 1, "fred": 2}


def outcomes():
    return pd.DataFrame(
        {
            "kind": ["flare"] * 4 + ["dip"] * 4,
            "amplitude": [5.0, 5.0, 5.0, 5.0, -5.0, -5.0, -5.0, -5.0],
            "width": [1.0] * 8,
            "covered": [True, True, True, False, True, False, False, False],
            "found": [True, True, False, False, True, False, False, False],
        }
    )


def test_kinds_have_rows_of_their_own_and_coverage_is_apart_from_search():
    table = efficiency(outcomes()).set_index("kind")
    assert table["injected"].to_dict() == {"dip": 4, "flare": 4}
    assert table["coverage"].to_dict() == {"dip": 0.25, "flare": 0.75}
    assert table["search"].to_dict() == pytest.approx({"dip": 1.0, "flare": 2 / 3})
    assert table["efficiency"].to_dict() == {"dip": 0.25, "flare": 0.5}
    for share, tried in (("coverage", "injected"), ("search", "covered")):
        hits = (table[share] * table[tried]).round()
        ends = wilson_interval(hits, table[tried])
        assert table[f"{share}_low"].tolist() == pytest.approx(ends.low.tolist())
        assert table[f"{share}_high"].tolist() == pytest.approx(ends.high.tolist())


def test_coverage_that_was_not_recorded_is_not_stated():
    table = efficiency(outcomes().assign(covered=None), by=("kind",)).set_index("kind")
    assert table[["coverage", "search"]].isna().all(axis=None)
    assert (table["efficiency"] == [0.25, 0.5]).all()
    assert (table["coverage_low"] == 0).all()
    assert (table["coverage_high"] == 1).all()
    some = outcomes()
    some["covered"] = [True, True, None, None, None, None, None, None]
    assert efficiency(some, by=("kind",))["coverage"].tolist()[1] == 1.0


def test_bins_may_differ_by_parameter():
    frame = outcomes().assign(amplitude=[1, 2, 4, 8, 1, 2, 4, 8], width=[1, 2, 4, 8, 1, 2, 4, 8])
    table = efficiency(frame, by=("amplitude", "width"), bins={"amplitude": 2, "width": 1})
    assert len(table) == 2


def test_efficiency_of_nothing_is_an_empty_table_and_missing_columns_are_named():
    assert len(efficiency([])) == 0
    assert len(outcome_table([])) == 0
    with pytest.raises(DataError, match="width"):
        efficiency(pd.DataFrame({"amplitude": [1.0], "found": [True]}))


def test_rate_and_upper_limit_are_corrected_for_efficiency():
    half = pd.DataFrame({"found": [True, False]})
    none_found = occurrence_rate(0, half, 100.0)
    assert none_found.rate == 0
    assert none_found.upper_limit == pytest.approx(2.996 / 50, rel=1e-3)
    assert occurrence_rate(5, half, 100.0).rate == pytest.approx(0.1)
    with pytest.raises(DataError, match="none of 1"):
        occurrence_rate(0, pd.DataFrame({"found": [False]}), 100.0)
