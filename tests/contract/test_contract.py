"""What every survey and every analysis must keep, whatever it does.

A plug-in that is put into its folder, or comes with another package, is tried here without any change. What the suite
cannot know of it (targets, what noise is, which events are strong) it says itself in `contract`.
"""

from __future__ import annotations

import json
import math
import os
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest

from virtualobserver import Project, plugins
from virtualobserver.columns import find
from virtualobserver.data import (
    Image,
    Product,
    Raw,
    RawRef,
    Result,
    SpectrumSet,
    Table,
    Target,
    TimeSeries,
    as_handle,
)
from virtualobserver.data.contract import AnalysisContract, SurveyContract, fingerprint, noise_of
from virtualobserver.data.handles import Handle, MemoryHandle
from virtualobserver.data.histogram import Histogram
from virtualobserver.errors import DataError
from virtualobserver.io.store import Store
from virtualobserver.observatory import Aux
from virtualobserver.simulate import Simulator

ANALYSES = plugins.names("analyses")
SURVEYS = plugins.names("observatories")
ALL: list[tuple[plugins.Kind, str]] = [("analyses", n) for n in ANALYSES] + [
    ("observatories", n) for n in SURVEYS
]


# -- analyses -------------------------------------------------------------------------------------------------


def made(name: str, *, strong: bool = False) -> Any:
    """Return an analysis with the options of its contract."""
    plugin = plugins.load("analyses", name)
    contract: AnalysisContract = plugin.contract
    return plugin(**{**contract.options, **(contract.strong if strong else {})})


def noise(analysis: Any, seed: int) -> list[Handle]:
    """Return one input of pure noise."""
    rng = np.random.default_rng([seed, 7])
    given = analysis.contract.noise
    if given is not None:
        return [as_handle(thing) for thing in given(rng)]
    return [as_handle(noise_of(need.kind, rng), role=need.role) for need in analysis.requires]


def prints(handles: Sequence[Handle]) -> list[str]:
    return [fingerprint(handle.load()) for handle in handles]


def injected(analysis: Any, handles: Sequence[Handle]) -> Sequence[Handle]:
    """Return the handles with one strong event in them."""
    rng = np.random.default_rng(3)
    return analysis.inject(handles, [dict(analysis.draw(rng, handles, analysis.settings))], rng)


def searched(analysis: Any, handles: Sequence[Handle]) -> Result:
    return analysis.find(handles, analysis.contract.aux, analysis.settings)


def same_results(a: Result, b: Result) -> None:
    assert a.detections == b.detections
    assert a.properties == b.properties
    assert a.histograms == b.histograms
    assert a.sources == b.sources
    assert [(p.role, p.series, p.band, fingerprint(p.data)) for p in a.products] == [
        (p.role, p.series, p.band, fingerprint(p.data)) for p in b.products
    ]


@pytest.mark.parametrize("name", ANALYSES)
def test_analysis_of_nothing_finds_nothing(name):
    analysis = made(name)
    result = searched(analysis, [])
    assert len(result.detections) == len(result.sources) == len(result.products) == 0


@pytest.mark.parametrize("name", ANALYSES)
def test_analysis_of_products_without_rows_finds_nothing(name):
    analysis = made(name)
    empty = []
    for handle in noise(analysis, 0):
        data = handle.load()
        if isinstance(data, SpectrumSet):
            empty.append(as_handle(data.cut(slice(0, 0)), role=handle.info.role))
        elif isinstance(data, Table):
            empty.append(as_handle(data.take(slice(0, 0)), role=handle.info.role))
    result = searched(analysis, empty)
    assert len(result.detections) == len(result.sources) == 0


@pytest.mark.parametrize("name", ANALYSES)
def test_analysis_leaves_its_inputs_and_repeats_itself(name):
    analysis = made(name, strong=True)
    quiet = noise(analysis, 1)
    before = prints(quiet)
    settings = analysis.settings.model_dump_json()
    loud = injected(analysis, quiet)
    assert prints(quiet) == before, "inject changed its input"
    loud_before = prints(loud)
    first = searched(analysis, loud)
    assert prints(loud) == loud_before, "find changed its input"
    assert prints(injected(analysis, quiet)) == loud_before, "the same seed gave another injection"
    same_results(first, searched(analysis, loud))
    same_results(first, searched(pickle.loads(pickle.dumps(analysis)), loud))
    assert analysis.settings.model_dump_json() == settings


@pytest.mark.parametrize("name", ANALYSES)
def test_analysis_raises_no_more_false_alarms_on_noise_than_it_states(name):
    analysis = made(name)
    contract = analysis.contract
    alarms = sum(
        bool(searched(analysis, noise(analysis, seed)).detections) for seed in range(contract.trials)
    )
    assert alarms <= contract.trials * contract.false_alarms


@pytest.mark.parametrize("name", ANALYSES)
def test_analysis_recovers_strong_injections_and_repeats_them(name):
    analysis = made(name, strong=True)
    contract = analysis.contract
    handles = noise(analysis, 2)
    before = prints(handles)
    numbers = range(contract.injections)
    first, second = (Simulator(analysis).run(handles, contract.aux, numbers, digest="d") for _ in range(2))
    assert first == second
    assert sum(one.recovered for one in first) >= contract.recovered * len(numbers)
    assert prints(handles) == before
    for one in first:
        assert {"t_peak", "start_mjd", "end_mjd"} <= set(one.params)
        json.dumps(one.params, allow_nan=False)


@pytest.mark.parametrize("name", ANALYSES)
def test_detections_are_whole_finite_and_in_order(name):
    analysis = made(name, strong=True)
    loud = injected(analysis, noise(analysis, 1))
    result = searched(analysis, loud)
    assert result.detections
    assert [event.peak_mjd for event in result.detections] == sorted(
        event.peak_mjd for event in result.detections
    )
    for event in result.detections:
        assert event.kind
        assert event.start_mjd <= event.peak_mjd <= event.end_mjd
        assert math.isfinite(event.snr)
        assert event.score is None or math.isfinite(event.score)
        assert event.product is None or 0 <= event.product < len(loud)
        json.dumps(event.parameters, allow_nan=False)
        assert analysis.same_event(event, event)
    json.dumps(result.properties, allow_nan=False)
    for histogram in result.histograms.values():
        assert Histogram.from_bytes(histogram.to_bytes()) == histogram


@pytest.mark.parametrize("name", ANALYSES)
def test_products_of_an_analysis_survive_the_store(name, tmp_path):
    analysis = made(name, strong=True)
    result = searched(analysis, injected(analysis, noise(analysis, 1)))
    assert {(p.container_kind, p.role) for p in result.products} <= set(analysis.produces)
    assert bool(result.products) == bool(analysis.produces), "let contract.options keep the products"
    assert_survive(Store(tmp_path), result.products)


# -- surveys --------------------------------------------------------------------------------------------------


def survey_of(name: str) -> Any:
    plugin = plugins.load("observatories", name)
    contract: SurveyContract = plugin.contract
    return plugin(**contract.options)


def simulated(survey: Any, seed: int) -> list[Raw]:
    raws = [raw for _, raw in survey.simulate_raw(survey.contract.targets, np.random.default_rng(seed))]
    assert all(isinstance(raw, Raw) for raw in raws)
    return raws


def units(survey: Any, seed: int = 1) -> list[tuple[list[RawRef], Aux]]:
    """Return the simulated raw data of each unit of each target, with what `reduce` needs besides."""
    found = []
    for target in survey.contract.targets:
        raws = [RawRef.of(raw) for _, raw in survey.simulate_raw([target], np.random.default_rng(seed))]
        groups: dict[str, list[RawRef]] = {}
        for raw in raws:
            groups.setdefault(survey.unit(raw), []).append(raw)
        services = survey.contract.services(survey, raws) if survey.contract.services else {}
        masters = masters_of(survey, groups)
        for unit, group in groups.items():
            if unit.partition("/")[0] not in survey.master_kinds:
                found.append(
                    (group, Aux(target, masters=survey.choose(masters, group[0]), services=services))
                )
    return found


def masters_of(survey: Any, groups: dict[str, list[RawRef]]) -> list[Handle]:
    """Make the masters of a survey as a run does: kind by kind, each from those before."""
    made: list[Handle] = []
    for kind in survey.master_kinds:
        before = tuple(made)
        for unit, group in groups.items():
            if unit.partition("/")[0] == kind:
                aux = Aux(Target("camera", kind="instrument"), masters=survey.choose(before, group[0]))
                for product in survey.calibrate(group, aux, survey.settings):
                    handle = as_handle(product)
                    made.append(MemoryHandle(handle.load(), replace(handle.info, unit=unit)))
    return made


@pytest.mark.parametrize("name", SURVEYS)
def test_survey_reduces_nothing_to_nothing(name):
    survey = survey_of(name)
    assert list(survey.reduce([], Aux(survey.contract.targets[0]), survey.settings)) == []


@pytest.mark.parametrize("name", SURVEYS)
def test_survey_simulates_the_same_bytes_from_the_same_seed(name):
    survey = survey_of(name)
    first, second, other = ([RawRef.of(raw).read() for raw in simulated(survey, seed)] for seed in (1, 1, 2))
    assert first
    assert first == second
    assert first != other


@pytest.mark.parametrize("name", SURVEYS)
def test_survey_leaves_its_raw_data_and_reduces_them_the_same_way_twice(name):
    survey = survey_of(name)
    settings = survey.settings.model_dump_json()
    produced = 0
    for raws, aux in units(survey):
        facts = [(raw.read(), repr(raw.header), repr(raw.obscore)) for raw in raws]
        masters = {key: fingerprint(data) for key, data in aux.masters.items() if hasattr(data, "kind")}
        first, second = (list(survey.reduce(raws, aux, survey.settings)) for _ in range(2))
        produced += len(first)
        assert [(raw.read(), repr(raw.header), repr(raw.obscore)) for raw in raws] == facts
        assert {
            key: fingerprint(data) for key, data in aux.masters.items() if hasattr(data, "kind")
        } == masters
        assert {(product.container_kind, product.role) for product in first} <= set(survey.produces)
        keys = [(product.role, product.series) for product in first]
        assert len(set(keys)) == len(keys), "series tells the products of one unit and role apart"
        assert keys == [(product.role, product.series) for product in second]
        assert [fingerprint(a.data) for a in first] == [fingerprint(b.data) for b in second]
        for product in first:
            json.dumps(dict(product.statistics), allow_nan=False)
    assert produced
    assert survey.settings.model_dump_json() == settings


@pytest.mark.parametrize("name", SURVEYS)
def test_products_of_a_survey_survive_the_store(name, tmp_path):
    survey = survey_of(name)
    written = 0
    for number, (raws, aux) in enumerate(units(survey)):
        products = survey.reduce(raws, aux, survey.settings)
        assert_survive(Store(tmp_path / str(number)), products)
        written += len(products)
    assert written


@pytest.mark.parametrize("name", SURVEYS)
def test_survey_makes_all_it_says_it_produces(name):
    survey = survey_of(name)
    products = [p for raws, aux in units(survey) for p in survey.reduce(raws, aux, survey.settings)]
    assert {(product.container_kind, product.role) for product in products} == set(survey.produces)


def write_archive(survey: Any, folder: Path, seed: int = 1) -> list[Path]:
    """Write simulated raw data as a folder archive of the survey; return the files."""
    target = survey.contract.targets[0]
    raws = [RawRef.of(raw) for _, raw in survey.simulate_raw([target], np.random.default_rng(seed))]
    paths = []
    for name, content in survey.contract.files(target, raws).items():
        paths.append(folder / name)
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_bytes(content)
    return paths


@pytest.mark.parametrize("name", [n for n in SURVEYS if not plugins.load("observatories", n).simulated])
def test_survey_sees_new_changed_and_vanished_files_and_other_folders(name, tmp_path, url):
    survey = survey_of(name)
    folder, other = tmp_path / "archive", tmp_path / "other"
    paths = write_archive(survey, folder)
    write_archive(survey, other)
    later = paths[-1].rename(tmp_path / "later")
    target = survey.contract.targets[0]
    row = {"name": target.name, "ra": target.ra, "dec": target.dec, "kind": target.kind}

    def opened(place: Path) -> Project:
        own = {**survey.contract.options, "archive": str(place)}
        conf = {"name": "contract", "catalog": {"rows": [row]}, "observatories": {name: own}}
        return Project.open(conf, data=tmp_path / "data", url=url)

    def raw_data(project: Project) -> set[str]:
        query = """SELECT DISTINCT f.path FROM source_raw r JOIN task t ON t.id = r.task_id
        JOIN raw_data d ON d.id = r.raw_data_id JOIN file f ON f.id = d.file_id WHERE t.digest = :digest"""
        return set(project.sql(query, digest=project.steps[0].digest)["path"])

    new = f"fetch:{name}: 1 source has new or changed files: --refresh reads them"
    with opened(folder) as project:
        assert project.run(step="fetch").complete
        known = raw_data(project)
        assert str(paths[-1]) not in known
        assert project.run(step="fetch", refresh=True).notes == []
        later.rename(paths[-1])
        assert project.run(step="fetch").notes == [new]
        assert project.run(step="fetch", refresh=True).counts[f"fetch:{name}"] == {"done": 1}
        assert raw_data(project) == known | {str(paths[-1])}
        assert project.notes() == []
        state = paths[0].stat()
        os.utime(paths[0], ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))
        assert project.run(step="fetch").notes == [new]
        assert project.run(step="fetch", refresh=True).worked == 1
        if len(paths) > 1:
            paths[-1].unlink()
            (told,) = project.run(step="fetch").notes
            assert "1 file that was read before is gone" in told
            project.run(step="fetch", refresh=True)
            assert raw_data(project) == known
    with opened(other) as project:
        assert project.run(step="fetch").worked == 1
        assert {Path(path).is_relative_to(other) for path in raw_data(project)} == {True}
    with opened(folder) as project:
        assert project.run(step="fetch").worked == 0


# -- both -----------------------------------------------------------------------------------------------------


def assert_survive(store: Store, products: Sequence[Product]) -> None:
    """Write products as a run does, and read them back whole and in part."""
    for number, product in enumerate(products):
        data = product.data
        before = fingerprint(data)
        if isinstance(data, Image):
            written = store.write_image("products/d", data, f"p{number}")
        else:
            written = store.write_blocks("products/d", [(f"p{number}", data)])
        memory = as_handle(product)
        handle = store.open(written.blocks[0], memory.info)
        back = handle.load()
        assert type(back) is type(data)
        if isinstance(data, Image):  # a header grows by what FITS needs
            np.testing.assert_array_equal(back.data, data.data)
            for plane in ("variance", "mask"):
                np.testing.assert_array_equal(getattr(back, plane), getattr(data, plane))
            assert back.unit == data.unit
            box, same = (one.section(slice(1, 3), slice(0, 2)) for one in (handle, memory))
            for plane in ("data", "variance", "mask"):
                np.testing.assert_array_equal(getattr(box, plane), getattr(same, plane))
        else:
            assert fingerprint(back) == before
            part = handle.section(slice(0, 2), slice(0, 2))
            assert fingerprint(part) == fingerprint(memory.section(slice(0, 2), slice(0, 2)))
        assert fingerprint(data) == before


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_unknown_settings_are_refused(kind, name):
    with pytest.raises((pydantic.ValidationError, ValueError), match="no_such_setting"):
        plugins.load(kind, name)(no_such_setting=1)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_settings_are_documented_frozen_and_survive_a_process(kind, name):
    model = plugins.settings_of(kind, name)
    assert all(field.description for field in model.model_fields.values())
    settings = model()
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        setattr(settings, next(iter(model.model_fields)), 1)
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert model(**settings.model_dump(mode="json")) == settings


# -- the suite itself -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lightcurve", "spectrum", "image"])
def test_noise_of_each_kind_survives_the_store_and_follows_its_seed(kind, tmp_path):
    first, second, other = (noise_of(kind, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert fingerprint(first) == fingerprint(second) != fingerprint(other)
    assert_survive(Store(tmp_path), [Product(first, series="a")])


def test_tables_with_text_survive_the_store_in_whole_and_in_part(tmp_path):
    table = Table({"name": np.array(["a", "Ω"]), "n": np.arange(2), "t": np.array(["2020-01-01", "NaT"], "M8[us]")},
                  units={"n": "s"}, meta={"deep": {"x": [1]}})  # fmt: skip
    assert_survive(Store(tmp_path), [Product(table)])
    with pytest.raises(DataError, match="give `contract"):
        noise_of("table", np.random.default_rng(0))


def test_fingerprint_sees_any_change():
    curve = noise_of("lightcurve", np.random.default_rng(1))
    assert isinstance(curve, TimeSeries)
    flux = curve.flux.copy()
    flux[7] = np.nextafter(flux[7], 2000.0)
    changed = [
        curve.with_columns(flux=flux),
        curve.take(slice(0, 199)),
        curve.with_columns(more=flux),
        curve.with_columns(flags=curve.flags.astype(np.int32)),
        TimeSeries(curve.columns, units={"flags": "bit"}, band="g"),
        TimeSeries(curve.columns, band="r"),
        TimeSeries(curve.columns, band="g", meta={"a": 1}),
    ]
    assert len({fingerprint(curve), *(fingerprint(other) for other in changed)}) == len(changed) + 1


def columns_without_entry(products: Any) -> set[str]:
    """Return the columns of tables, light curves and epochs of spectra that the table of columns does not know."""
    missing = set()
    for product in products:
        epochs = getattr(product.data, "epochs", None)
        table = product.data if epochs is None else epochs
        names = getattr(table, "columns", {})
        missing |= {name for name in names if find(name, "" if epochs is None else "epochs") is None}
    return missing


@pytest.mark.parametrize("name", SURVEYS)
def test_every_column_of_a_survey_has_an_entry(name):
    survey = survey_of(name)
    group, aux = units(survey)[0]
    assert columns_without_entry(survey.reduce(group, aux, survey.settings)) == set()


@pytest.mark.parametrize("name", ANALYSES)
def test_every_column_of_an_analysis_has_an_entry(name):
    analysis = made(name, strong=True)
    result = searched(analysis, injected(analysis, noise(analysis, 1)))
    assert columns_without_entry(result.products) == set()
