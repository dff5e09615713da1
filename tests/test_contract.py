"""What every survey and every analysis must keep, whatever it does."""

from __future__ import annotations

import numpy as np
import pydantic
import pytest

from virtualobserver import plugins
from virtualobserver.data import Raw, RawRef, SpectrumSet, Table, Target, TimeSeries, as_handle
from virtualobserver.observatory import Aux
from virtualobserver.simulate import Simulator

ANALYSES = plugins.names("analyses")
SURVEYS = plugins.names("observatories")
TARGET = Target("contract star", ra=150.0, dec=20.0, mag=16.0)
FALSE_ALARMS_AT_MOST = 0.02


def noise(seed, n=200):
    """Return a light curve of pure Gaussian noise."""
    rng = np.random.default_rng(seed)
    columns = {
        "mjd": np.sort(rng.uniform(58000, 58300, n)),
        "flux": rng.normal(1000, 10, n),
        "flux_error": np.full(n, 10.0),
        "flags": np.zeros(n, dtype=np.int64),
        "exptime": np.full(n, 30.0),
    }
    return TimeSeries(columns, band="g")


def analysis_of(name, **options):
    return plugins.load("analyses", name)(**options)


def light_curves_only(analysis):
    if [(need.kind, need.role) for need in analysis.requires] != [("lightcurve", "reduced")]:
        pytest.skip(f"{analysis.name} works on {analysis.requires}; its own tests make such data")


def same(a, b):
    """Whether two containers hold the same, whatever they are."""
    if isinstance(a, Table):
        return (
            list(a) == list(b)
            and a.meta == b.meta
            and all(np.array_equal(a[k], b[k], equal_nan=a[k].dtype.kind == "f") for k in a)
        )
    if isinstance(a, SpectrumSet):
        return np.array_equal(a.flux, b.flux, equal_nan=True) and same(a.epochs, b.epochs)
    return np.array_equal(a.data, b.data, equal_nan=a.data.dtype.kind == "f")


@pytest.mark.parametrize("name", ANALYSES)
def test_analysis_of_nothing_finds_nothing(name):
    analysis = analysis_of(name)
    result = analysis.find([], Aux(TARGET), analysis.settings)
    assert len(result.detections) == 0
    assert len(result.sources) == 0


@pytest.mark.parametrize("name", ANALYSES)
def test_analysis_leaves_its_input_and_repeats_itself(name):
    analysis = analysis_of(name)
    light_curves_only(analysis)
    data = noise(1)
    data = data.with_columns(flux=np.where(np.arange(200) == 50, 2000.0, data.flux))
    copies = {column: values.copy() for column, values in data.columns.items()}
    first, second = (analysis.find([as_handle(data)], Aux(TARGET), analysis.settings) for _ in range(2))
    for column, values in copies.items():
        np.testing.assert_array_equal(data[column], values)
    assert first.detections == second.detections
    assert first.properties == second.properties
    assert first.histograms == second.histograms


@pytest.mark.parametrize("name", ANALYSES)
def test_analysis_raises_few_false_alarms_on_noise(name):
    analysis = analysis_of(name)
    light_curves_only(analysis)
    found = sum(
        bool(analysis.find([as_handle(noise(seed))], Aux(TARGET), analysis.settings).detections)
        for seed in range(200)
    )
    assert found <= 200 * FALSE_ALARMS_AT_MOST


@pytest.mark.parametrize("name", ANALYSES)
def test_analysis_recovers_strong_injections_and_repeats_them(name):
    analysis = analysis_of(name)
    light_curves_only(analysis)
    handles = [as_handle(noise(2))]
    before = handles[0].load().flux.copy()
    settings = analysis.settings.simulate
    if not {"amplitude", "width"} <= set(type(settings).model_fields):
        pytest.skip(f"{name} has no settings of strength; its own tests inject strong events")
    strong = analysis_of(name, simulate={"amplitude": [50.0, 60.0], "width": [10.0, 20.0]})
    first, second = (Simulator(strong).run(handles, Aux(TARGET), range(10), digest="d") for _ in range(2))
    assert first == second
    assert sum(one.recovered for one in first) >= 9
    np.testing.assert_array_equal(handles[0].load().flux, before)


@pytest.mark.parametrize(
    ("kind", "name"), [("analyses", n) for n in ANALYSES] + [("observatories", n) for n in SURVEYS]
)
def test_unknown_settings_are_refused(kind, name):
    with pytest.raises((pydantic.ValidationError, ValueError), match="no_such_setting"):
        plugins.load(kind, name)(no_such_setting=1)


@pytest.mark.parametrize(
    ("kind", "name"), [("analyses", n) for n in ANALYSES] + [("observatories", n) for n in SURVEYS]
)
def test_settings_are_documented(kind, name):
    fields = plugins.settings_of(kind, name).model_fields
    assert all(field.description for field in fields.values())


@pytest.mark.parametrize("name", SURVEYS)
def test_survey_reduces_nothing_to_nothing(name):
    survey = plugins.load("observatories", name)()
    assert list(survey.reduce([], Aux(TARGET), survey.settings)) == []


def simulated_raws(survey, seed):
    raws = [raw for _, raw in survey.simulate_raw([TARGET], np.random.default_rng(seed))]
    assert all(isinstance(raw, Raw) for raw in raws)
    return raws


@pytest.mark.parametrize("name", SURVEYS)
def test_survey_simulates_the_same_bytes_from_the_same_seed(name):
    survey = plugins.load("observatories", name)()
    first, second, other = (
        [RawRef.of(raw).read() for raw in simulated_raws(survey, seed)] for seed in (1, 1, 2)
    )
    assert first
    assert first == second
    assert first != other


@pytest.mark.parametrize("name", SURVEYS)
def test_survey_reduces_its_own_simulated_data_the_same_way_twice(name):
    survey = plugins.load("observatories", name)()
    if survey.master_kinds:
        pytest.skip(f"{name} needs masters first; its own tests make them")
    raws = [RawRef.of(raw) for raw in simulated_raws(survey, 1)]
    before = [raw.read() for raw in raws]
    first, second = (list(survey.reduce(raws, Aux(TARGET), survey.settings)) for _ in range(2))
    assert first
    assert [raw.read() for raw in raws] == before
    assert {(product.container_kind, product.role) for product in first} <= set(survey.produces)
    assert [product.series for product in first] == [product.series for product in second]
    assert all(same(a.data, b.data) for a, b in zip(first, second, strict=True))
