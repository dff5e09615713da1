"""What users of the AstroRetriever framework expect of projects, sources and data, on the simulated survey."""

from __future__ import annotations

import copy
import itertools
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from support.project import rows

from virtualobserver import Lightcurve, Project, Source, VirtualDemo
from virtualobserver.analyses.transients import Transients
from virtualobserver.data import Image, Product, RawRef, SpectrumSet, Table, Target, TimeSeries
from virtualobserver.data.plain import plain
from virtualobserver.models.product import STATISTICS
from virtualobserver.observatory import Aux
from virtualobserver.run.upkeep.prune import delete
from virtualobserver.run.upkeep.verify import verify

NAMES = ["a1", "b-2", "c 3"]


def configuration(*, name="search", demo=None, transients=None, names=NAMES, **more):
    quiet = {"flare_fraction": 0.0, "dip_fraction": 0.0}
    return {
        "name": name,
        "catalog": {"name": "stars", "rows": rows(list(names))},
        "observatories": {"demo": quiet | (demo or {})},
        "analyses": {"transients": transients or {}},
        **more,
    }


def opened(tmp_path, url, **options):
    return Project.open(configuration(**options), data=tmp_path / "data", url=url)


def done(summary):
    return {step: counts["done"] for step, counts in summary.counts.items() if counts}


def sums(project):
    """Return for each histogram the number of values, and of those over, under and within its axis."""
    return {name: (one.total, one.overflow(name), one.underflow(name)) for name, one in
            ((key.partition(".")[2], value) for key, value in project.histograms(simulated=True).items())}  # fmt: skip


def test_parity_13_full_run_of_the_demo_makes_all_rows_and_files_and_finds_nothing(tmp_path, url):
    with opened(tmp_path, url) as project:
        assert done(project.run()) == {"fetch:demo": 3, "reduce:demo": 3, "analyse:transients": 3}
        for source in project.sources:
            assert len(source.raw_data) == len(source.lightcurves) == len(source.properties) == 1
            for row in (source.raw_data[0], source.lightcurves[0]):
                assert project.workspace.store.resolve(row.file.path).is_file()
        assert len(project.detections(simulated=True)) == 0
        counted = sums(project)
        assert set(counted) == {"snr", "offset", "dmag"}
        assert all(total == 3 * 100 for total, _, _ in counted.values())
        for name, histogram in project.histograms(simulated=True).items():
            axis = name.partition(".")[2]
            array, _ = histogram.project(axis).dense()
            special = histogram.missing(axis) + histogram.underflow(axis) + histogram.overflow(axis)
            assert array[3:].sum() + special == histogram.total


def test_parity_14_second_run_takes_all_from_the_database(tmp_path, url):
    with opened(tmp_path, url) as project:
        project.run()
        before = project.sql("SELECT id, step, status, attempts, finished FROM task ORDER BY id")
        counted = sums(project)
    with opened(tmp_path, url) as project:
        assert project.run().worked == 0
        pd.testing.assert_frame_equal(
            project.sql("SELECT id, step, status, attempts, finished FROM task ORDER BY id"), before
        )
        assert sums(project) == counted


def test_parity_15_a_deleted_project_is_made_anew_with_data_that_another_still_has(tmp_path, url):
    data = tmp_path / "data"
    with opened(tmp_path, url) as project, opened(tmp_path, url, name="other") as other:
        project.run()
        other.run()
        raw = project.sql("SELECT id FROM raw_data ORDER BY id")["id"].tolist()
        delete(project.workspace, "search")
    with opened(tmp_path, url) as project:
        assert project.run().worked == 0  # the sources are members again, raw data and products were kept
        assert project.sql("SELECT id FROM raw_data ORDER BY id")["id"].tolist() == raw
        delete(project.workspace, "search")
        delete(project.workspace, "other")
        assert list(project.workspace.store.files()) == []
        for table in ("source", "raw_data", "product", "task", "file", "configuration", "properties"):
            assert project.sql(f"SELECT count(*) AS n FROM {table}")["n"][0] == 0
        assert not list((data / "histograms").rglob("*.nc"))
    with opened(tmp_path, url) as project:
        assert done(project.run()) == {"fetch:demo": 3, "reduce:demo": 3, "analyse:transients": 3}


def test_parity_16_odd_project_name_is_legal_in_every_row(tmp_path, url):
    with opened(tmp_path, url, name=" odd - name ", demo={"n_epochs": 20}) as project:
        assert project.run().failed == 0
        assert project.sql("SELECT name FROM project")["name"].tolist() == ["odd___name"]
        assert (tmp_path / "data" / "histograms" / "odd___name").is_dir()


def test_parity_19_nothing_is_saved_unless_asked_and_then_all_of_it(tmp_path, url):
    demo = {"filters": ["g", "r", "i"]}
    with opened(tmp_path, url, demo=demo, names=["a"]) as project:
        project.run(step="fetch")
        project.run(step="reduce")
        star = project.source("a")
        assert sorted(curve.band for curve in star.lightcurves) == ["g", "i", "r"]
        result = Transients(save_processed=True).apply(star)
        assert len(result.products) == 3
        assert result.properties["n_detections"] == 0
        curves = [curve.data for curve in star.lightcurves]
        flux = curves[0].flux.copy()
        flux[50] += 10 * np.std(flux)
        curves[0] = curves[0].with_columns(flux=flux)
        assert len(Transients().apply(curves).detections) == 1
        for table in ("detection", "properties", "histogram_part"):
            assert project.sql(f"SELECT count(*) AS n FROM {table}")["n"][0] == 0
    saved = {"save_processed": True}
    bright = demo | {"flare_fraction": 1.0, "flare_amplitude": 5.0, "event_duration": 1.0}
    with opened(tmp_path, url, demo=bright, transients=saved, names=["a"]) as project:
        project.run()
        task = project.sql("SELECT id FROM task WHERE step LIKE 'analyse:%' AND status = 'done'")[
            "id"
        ].tolist()
        assert len(task) == 1
        count = "SELECT count(*) AS n FROM {} WHERE task_id = :task"
        numbers = [project.sql(count.format(t), task=task[0])["n"][0] for t in ("product", "properties")]
        assert numbers == [3, 1]
        found = project.detections(simulated=True)
        assert found["band"].isin(["g", "i", "r"]).tolist() == [
            True
        ]  # the demo's flare is in every filter: one event
        bands = project.sql("SELECT parameters->'bands' AS bands FROM detection")["bands"][0]
        assert bands == ["g", "i", "r"]
        assert sums(project)["snr"][0] == 300


def test_parity_23_raw_data_are_named_by_survey_and_place_in_the_sky(tmp_path, url):
    with opened(tmp_path, url, demo={"n_epochs": 5}) as project:
        project.run()
        row = project.source("c 3").raw_data[0]
        assert (row.observatory, row.archive_id) == ("demo", "demo c 3")
        assert row.file.path.startswith("raw/demo/")
        assert not Path(row.file.path).is_absolute()
        assert row.block


SLOW = """
import time
from pathlib import Path
from virtualobserver.data.product import Product, Raw
from virtualobserver.observatory import VirtualObservatory

class VirtualSlow(VirtualObservatory):
    name = "slow"
    batch = fetch_batch = 1

    def fetch(self, targets, client):
        for target in targets:
            start = time.time()
            here = Path(__file__).parent
            (here / f"{target.name}.asked").touch()
            while len(list(here.glob("*.asked"))) < int((here / "together").read_text()):
                time.sleep(0.02)
            yield target, Raw(target.name, "csv", content=b"x", header={"start": start, "end": time.time()})

    def reduce(self, raws, aux, settings):
        return []

    def simulate_raw(self, targets, rng):
        return iter(())
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_parity_24_downloads_overlap_with_several_workers_and_not_with_one(tmp_path, url, workers):
    (tmp_path / "slow.py").write_text(SLOW)
    # the first download ends when as many have begun as there are workers
    (tmp_path / "together").write_text(str(workers))
    settings = {
        "name": "slow",
        "catalog": {"name": "s", "rows": rows(["a", "b", "c", "d"])},
        "observatories": {str(tmp_path / "slow.py"): {}},
        "run": {"workers": workers, "batch": 1},
    }
    with Project.open(settings, data=tmp_path / "data", url=url) as project:
        assert done(project.run(step="fetch")) == {"fetch:slow": 4}
        spans = sorted(
            (row.header["start"], row.header["end"]) for s in project.sources for row in s.raw_data
        )
    assert len(spans) == 4
    overlapping = sum(later[0] < earlier[1] for earlier, later in itertools.pairwise(spans))
    assert overlapping >= 1 if workers == 2 else overlapping == 0


def test_parity_25_fetching_again_asks_nothing_and_deletion_removes_files(tmp_path, url, monkeypatch):
    with opened(tmp_path, url, names=NAMES[:1]) as project:
        project.run(step="fetch")
        raw = [project.workspace.store.resolve(name) for name in project.workspace.store.files()]
        assert len(raw) == 1
        monkeypatch.setattr(VirtualDemo, "fetch", lambda *_: pytest.fail("asked the archive again"))
        assert project.run(step="fetch").worked == 0
        delete(project.workspace, "search")
        assert not raw[0].exists()


def test_parity_26_only_settings_of_the_fetch_fetch_again(tmp_path, url):
    with opened(tmp_path, url) as project:
        project.run()
    with opened(tmp_path, url, demo={"drop_flagged": True}) as project:
        assert done(project.run()) == {"reduce:demo": 3, "analyse:transients": 3}
        assert project.sql("SELECT count(*) AS n FROM raw_data")["n"][0] == 3
    with opened(tmp_path, url, demo={"n_epochs": 50}) as project:
        assert done(project.run()) == {"fetch:demo": 3, "reduce:demo": 3, "analyse:transients": 3}
        # the answer to the other question stays beside the new one
        assert project.sql("SELECT count(*) AS n FROM raw_data")["n"][0] == 6
        assert project.run(step="fetch").worked == 0


def test_parity_30_reduction_gives_sorted_curves_by_filter_with_their_statistics(tmp_path, url):
    demo = {"filters": ["g", "r"], "shuffle_time": True, "n_epochs": 60}
    with opened(tmp_path, url, demo=demo, names=["a"]) as project:
        project.run()
        star = project.source("a")
        table = pd.read_csv(pd.io.common.BytesIO(star.raw_data[0].data))
        assert [raw.observatory for raw in star.raw_data] == ["demo"]
        assert {curve.band for curve in star.lightcurves} == {"g", "r"}
        for curve in star.lightcurves:
            mine = table[table["filter"] == curve.band].sort_values("mjd")
            np.testing.assert_allclose(curve.mjds, mine["mjd"] + 15 / 86400, atol=1e-9)
            np.testing.assert_allclose(curve.data.flux, 10 ** ((23.9 - mine["mag"]) / 2.5), rtol=1e-9)
            assert (curve.n, curve.n_good, curve.exptime) == (60, 60, 30.0)
            assert curve.cadence == pytest.approx(np.median(np.diff(curve.mjds)) * 86400)
            assert not curve.statistics["is_uniform"]
            flux = curve.data.flux
            assert (curve.flux_min, curve.flux_max, curve.flux_mean) == pytest.approx(
                (flux.min(), flux.max(), flux.mean())
            )
            assert (curve.t_min, curve.t_max) == (curve.mjds[0], curve.mjds[-1])
            first = pd.Timestamp("1858-11-17") + pd.Timedelta(curve.t_min, "D")
            assert abs(curve.times[0] - np.datetime64(first)) < np.timedelta64(10, "us")
            assert "filter" not in curve.data
            # every column of the statistics that a light curve can have is filled
            assert [name for name in STATISTICS if getattr(curve, name) is None] == []


def test_parity_31_curves_of_a_source_share_a_file_under_their_own_keys(tmp_path, url):
    with opened(tmp_path, url, demo={"filters": ["g", "r", "i"], "n_epochs": 40}, names=["a"]) as project:
        project.run()
        curves = project.source("a").lightcurves
        assert len({curve.file.path for curve in curves}) == 1
        assert len({curve.block for curve in curves}) == 3
        assert [len(curve.data) for curve in curves] == [40, 40, 40]
        path = project.workspace.store.resolve(curves[0].file.path)
        delete(project.workspace, "search")
        assert not path.exists()


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        ("<observatory>-<filter>", ["demo-g", "demo-r"]),
        ({"g": "sdssg"}, ["r", "sdssg"]),
        (None, ["g", "r"]),
    ],
)
def test_parity_33_bands_are_renamed_by_template_or_mapping(tmp_path, url, names, bands):
    demo = {"filters": ["g", "r"], "n_epochs": 20, "filtmap": names}
    with opened(tmp_path, url, demo=demo, names=["a"]) as project:
        project.run()
        curves = project.source("a").lightcurves
        assert sorted(curve.band for curve in curves) == bands
        assert all(curve.data.band == curve.band for curve in curves)
        labels = project.histograms(simulated=True)["transients.snr"].project("band").axes[0].labels
        assert sorted(labels) == bands


def test_parity_34_file_goes_when_the_last_light_curve_in_it_goes(tmp_path, url):
    with opened(tmp_path, url, names=["a", "b"], run={"batch": 2}) as project:
        project.run()
        paths = {source.lightcurves[0].file.path for source in project.sources}
        assert len(paths) == 1
        file = project.workspace.store.resolve(paths.pop())
    with opened(tmp_path, url, name="other", names=["a"]) as other:
        other.run()
        delete(other.workspace, "search")
        assert file.is_file()
        assert len(other.source("a").lightcurves[0].data) == 100
        delete(other.workspace, "other")
        assert not file.exists()


def containers():
    epochs = Table({"mjd": np.arange(2.0)})
    plane = np.ones((2, 3))
    return [
        TimeSeries({"mjd": np.arange(3.0), "flux": np.ones(3), "flux_error": np.ones(3), "flags": np.zeros(3, int)},
                   meta={"deep": {"a": [1]}}),
        SpectrumSet(np.arange(3.0), plane, plane, plane.astype(int), epochs, meta={"deep": {"a": [1]}}),
        Image(plane, header={"deep": {"a": [1]}}),
        Table({"x": np.arange(3)}, meta={"deep": {"a": [1]}}),
    ]  # fmt: skip


@pytest.mark.parametrize("data", containers(), ids=lambda data: data.kind)
def test_parity_35_copies_are_equal_and_separate(data):
    facts = data.header if data.kind == "image" else data.meta
    twin = copy.deepcopy(data)
    twin_facts = twin.header if data.kind == "image" else twin.meta
    assert twin_facts == facts
    twin_facts["deep"]["a"].append(2)
    assert facts == {"deep": {"a": [1]}}
    for name in ("flux", "data"):
        if hasattr(data, name):
            np.testing.assert_array_equal(getattr(twin, name), getattr(data, name))
            with pytest.raises(ValueError, match="read-only"):
                getattr(data, name)[...] = 5


def test_parity_35_changed_copies_leave_the_original():
    series = containers()[0]
    given = {"deep": {"a": [1]}}
    made = TimeSeries(dict(series.columns), meta=given)
    other = made.with_columns(flux=np.full(3, 7.0), extra=np.arange(3))
    other.meta["deep"]["a"].append(2)
    given["deep"]["a"].append(3)
    assert made.meta == {"deep": {"a": [1]}}
    assert made.flux.tolist() == [1.0, 1.0, 1.0]
    assert "extra" not in made
    assert other.mjd.tolist() == made.mjd.tolist()


def test_parity_40_numbers_of_numpy_become_plain_and_nan_becomes_null(tmp_path, url):
    props = {
        "f": np.float32(1.5),
        "i": np.int64(3),
        "b": np.bool_(True),
        "nan": np.nan,
        "a": np.arange(2),
        "n": None,
    }
    assert plain(props) == {"f": 1.5, "i": 3, "b": True, "nan": None, "a": [0, 1], "n": None}
    with opened(tmp_path, url) as project:
        project.import_catalogue()
        with project.session() as session, session.begin():
            session.execute(sa.update(Source).values(mag=np.float32(1.5), extra=props))
        for source in project.sources:
            assert source.mag == 1.5
            assert source.extra == plain(props)


def test_parity_42_what_is_not_there_is_named(tmp_path, url):
    with opened(tmp_path, url, demo={"n_epochs": 5}) as project:
        project.import_catalogue()
        with pytest.raises(KeyError, match="no source 'zz' among its 3"):
            project.source("zz")
        with pytest.raises(Exception, match="no analysis 'zz'; it has transients"):
            project.analysis("zz")
        with pytest.raises(KeyError):
            project.observatories["zz"]


def test_parity_43_series_of_a_source_are_picked_by_band_and_position(tmp_path, url):
    with opened(tmp_path, url, demo={"filters": ["g", "r"], "n_epochs": 5}, names=["a"]) as project:
        project.run()
        curves = project.source("a").lightcurves
        assert curves[0].t_min <= curves[-1].t_min
        assert len({(curve.role, curve.series) for curve in curves}) == 2
        with pytest.raises(IndexError):
            curves[2]


def test_parity_47_analysis_and_reduction_need_no_database():
    target = Target("a", ra=1.0, dec=2.0)
    survey = VirtualDemo(flare_fraction=1.0, flare_amplitude=5.0)
    raws = [RawRef.of(raw) for _, raw in survey.simulate_raw([target], np.random.default_rng(1))]
    products = survey.reduce(raws, Aux(target), survey.settings)
    assert all(isinstance(product, Product) for product in products)
    assert len(Transients().apply(list(products)).detections) >= 1
    assert asdict(target)["name"] == "a"


def test_parity_47_sessions_see_one_another_only_after_commit(tmp_path, url):
    with opened(tmp_path, url) as project:
        project.import_catalogue()
        with project.session() as one, project.session() as two:
            assert one is not two
            one.execute(sa.update(Source).values(mag=1.0))
            assert set(two.scalars(sa.select(Source.mag))) == {17.0}
            one.commit()
            two.rollback()
            assert set(two.scalars(sa.select(Source.mag))) == {1.0}
        with project.session() as three:
            three.execute(sa.update(Source).values(mag=2.0))
        with project.session() as four:
            assert set(four.scalars(sa.select(Source.mag))) == {1.0}


def test_parity_7_1_e_and_g_rows_are_linked_by_keys_and_products_name_what_they_were_made_from(tmp_path, url):
    with opened(tmp_path, url, demo={"n_epochs": 20}, names=["a"]) as project:
        project.run()
        star = project.source("a")
        curve = star.lightcurves[0]
        assert isinstance(curve, Lightcurve)
        assert curve.source is star
        inputs = project.sql("SELECT raw_data_id AS r FROM task_input WHERE task_id = :t", t=curve.task_id)
        assert inputs["r"].tolist() == [star.raw_data[0].id]
        assert len(curve.data) == curve.n == 20
        assert star.raw_data[0].header["epochs"] == 20


def test_parity_7_1_l_rows_whose_file_was_put_back_are_whole_again(tmp_path, url):
    with opened(tmp_path, url, demo={"n_epochs": 20}, names=["a"]) as project:
        project.run()
        path = project.workspace.store.resolve(project.source("a").lightcurves[0].file.path)
        away = tmp_path / "away.h5"
        path.rename(away)
        assert not verify(project.workspace).ok
        other = path.with_name("found-again.h5")
        away.rename(other)
        verify(project.workspace, repair=True, grace=0)
        assert verify(project.workspace).ok
        project.live.expire_all()
        assert len(project.source("a").lightcurves[0].data) == 20


def test_parity_7_1_m_a_project_is_listed_and_deleted_at_once(tmp_path, url):
    statements = []
    with opened(tmp_path, url, names=[f"s{i:03d}" for i in range(150)], demo={"n_epochs": 5}) as project:
        project.run()
        engine = project.workspace.database.engine
        sa.event.listen(engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
        assert len(project.sources) == 150
        listed = len(statements)
        report = delete(project.workspace, "search")
        assert report.sources == 150
    assert listed <= 3
    assert len(statements) - listed < 60  # none of them for a single source
