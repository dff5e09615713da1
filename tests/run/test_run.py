"""Runs of whole projects: nothing is done twice, nothing is lost, one bad target stops no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from sqlalchemy import event, text
from support.paths import TESTS
from support.project import dump, mirror, rows, settings, write_star
from support.real import real_data

from virtualobserver import Analysis, Project
from virtualobserver.run import driver
from virtualobserver.run.executors import SerialExecutor

NAMES = ["alpha", "beta", "gamma", "delta"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return mirror(tmp_path / "mirror", NAMES)


@pytest.fixture
def project(tmp_path: Path, folder: Path, url: str):
    with Project.open(settings(folder, NAMES), data=tmp_path / "data", url=url) as opened:
        yield opened


def reopen(project: Project, configuration: dict) -> Project:
    return Project.open(configuration, data=project.workspace.root, url=project.workspace.database.url)


def done(summary) -> dict[str, int]:
    return {step: sum(counts.values()) for step, counts in summary.counts.items() if counts}


def test_run_finds_the_flare_of_every_star(project):
    summary = project.run()
    assert done(summary) == {"fetch:ztf": 4, "reduce:ztf": 4, "analyse:transients": 4}
    found = project.detections()
    assert sorted(found["source"]) == sorted(NAMES)
    assert (found["snr"] > 20).all()
    # the flare is in the 31st epoch: mjd is the start of a 30 s exposure
    assert found["peak_mjd"].to_numpy() == pytest.approx(58300 + 30 * 1.01 + 15 / 86400, abs=1e-6)
    assert not found["simulated"].any()


def test_second_run_does_no_work(project):
    project.run()
    before = dump(project)
    assert project.run().worked == 0
    assert dump(project) == before


def test_a_second_run_asks_for_tasks_to_be_changed_only_where_one_is_missing_or_stale(project):
    project.run()

    def changes() -> tuple[list[str], dict[str, int]]:
        seen: list[str] = []

        def note(_, __, statement, *rest):
            seen.append(statement)

        engine = project.workspace.database.engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            summary = project.run(refresh=True, step="reduce")
            summary.counts.update(project.run(refresh=True).counts)
        finally:
            event.remove(engine, "before_cursor_execute", note)
        words = {"missing": "INSERT INTO task ", "stale": "UPDATE task t SET status = 'stale'"}
        return [name for name, word in words.items() if any(word in one for one in seen)], done(summary)

    assert changes() == ([], {})
    for spoil, cause, redone in (
        ("DELETE FROM task WHERE step LIKE 'analyse:%' AND {0}", ["missing"], {"analyse:transients": 1}),
        ("UPDATE product SET checksum = 'another' WHERE {0}", ["stale"], {"analyse:transients": 1}),
        ("UPDATE source_raw SET unit = 'another' WHERE {0}", ["missing", "stale"], {}),
    ):
        with project.session() as session, session.begin():
            session.execute(text(spoil.format("source_id = (SELECT id FROM source WHERE name = 'beta')")))
        found = changes()
        assert found[0] == cause
        assert redone.items() <= found[1].items()


def test_changed_threshold_redoes_only_the_analysis(project, folder):
    project.run()
    changed = settings(folder, NAMES, analyses={"transients": {"snr_threshold": 1000.0}})
    with reopen(project, changed) as other:
        assert done(other.run()) == {"analyse:transients": 4}
        assert len(other.detections()) == 0
    # two configurations side by side: the first one's detections stand, and are current again when it runs
    assert project.sql("SELECT count(*) AS n FROM detection")["n"][0] == 4
    assert project.run().worked == 0
    assert len(project.detections()) == 4


def test_new_epochs_of_one_star_redo_that_star_only(project, folder):
    project.run()
    write_star(folder, "beta", ra=11.0, dec=20.0, n=80, seed=1)
    assert project.run().worked == 0
    assert project.status().loc["fetch:ztf", "stale"] == 1
    assert done(project.run(refresh=True)) == {"fetch:ztf": 1, "reduce:ztf": 1, "analyse:transients": 1}
    assert project.source("beta").lightcurves[0].n == 80
    assert {c.n for c in project.source("alpha").lightcurves} == {60}
    # raw data are immutable: the old answer is still there
    assert project.sql("SELECT count(*) AS n FROM raw_data")["n"][0] == 5


def test_changed_catalogue_row_makes_that_source_stale(project, folder):
    project.run()
    moved = settings(folder, NAMES)
    moved["catalog"]["rows"][2]["mag"] = 17.1
    with reopen(project, moved) as other:
        other.run()
        assert other.status()["stale"].to_dict() == {
            "fetch:ztf": 1, "reduce:ztf": 1, "analyse:transients": 1, "simulate:transients": 0,
        }  # fmt: skip
        assert done(other.run(refresh=True)) == {"fetch:ztf": 1, "reduce:ztf": 1, "analyse:transients": 1}
        assert other.status()["stale"].sum() == 0


def test_two_projects_share_raw_data_and_products(project, folder):
    project.run()
    with reopen(project, settings(folder, NAMES[:2], name="other")) as other:
        assert other.run().worked == 0
        assert sorted(other.detections()["source"]) == ["alpha", "beta"]


def test_rows_load_their_data_when_asked(project):
    project.run()
    source = project.source("alpha")
    curve = source.lightcurves[0]
    assert "_data" not in curve.__dict__
    assert len(curve.mjds) == len(curve.times) == curve.n == 60
    assert curve.times[0].astype("datetime64[D]").astype(str) == "2018-07-01"
    assert source.raw_data[0].data.startswith(b"oid,expid")
    assert source.detections[0].snr == project.detections().set_index("source").loc["alpha", "snr"]
    assert source.properties[0].props["n_detections"] == 1


def test_source_and_detection_draw_themselves(project):
    project.run()
    source = project.source("alpha")
    assert len(source.plot().axes) >= 1
    assert len(source.lightcurves[0].plot().axes) >= 1
    assert len(source.detections[0].plot().axes) >= 1


def test_verify_repairs_what_was_damaged_and_the_next_run_makes_it_again(project):
    from virtualobserver.run.upkeep.verify import verify

    project.run()
    before = dump(project)
    product = project.workspace.store.resolve(project.source("alpha").lightcurves[0].file.path)
    content = bytearray(product.read_bytes())
    content[len(content) // 2] ^= 1
    product.chmod(0o644)
    product.write_bytes(content)
    assert not verify(project.workspace).ok
    verify(project.workspace, repair=True)
    project.run(refresh=True)
    assert verify(project.workspace).ok
    assert dump(project)["detection"] == before["detection"]


def test_deleting_one_project_leaves_the_other_whole(project, folder):
    from virtualobserver.run.upkeep.prune import delete

    project.run()
    with reopen(project, settings(folder, NAMES[:2], name="other")) as other:
        other.run()
        delete(other.workspace, "search")
        assert sorted(other.detections()["source"]) == ["alpha", "beta"]
        assert other.source("alpha").lightcurves[0].data.mjd.size == 60
        assert other.sql("SELECT count(*) AS n FROM source")["n"][0] == 2


def test_analysis_applies_without_the_queue_and_saves_nothing(project):
    project.run()
    result = project.analysis("transients").apply(project.source("alpha"))
    assert [event.kind for event in result.detections] == ["flare"]
    assert project.sql("SELECT count(*) AS n FROM detection")["n"][0] == 4


def test_histograms_are_the_sum_over_sources_however_often_run(project):
    project.run()
    assert project.histograms()["transients.snr"].total == 4 * 60
    project.run(redo=True)
    assert project.histograms()["transients.snr"].total == 4 * 60
    assert (project.workspace.root / "histograms" / "search" / "transients.snr.nc").exists()


def test_more_injections_add_only_the_new_ones(project, folder):
    def injected(number: int) -> dict:
        return settings(folder, NAMES, analyses={"transients": {"simulate": {"number": number}}})

    with reopen(project, injected(2)) as few:
        few.run()
        first = few.sql("SELECT task_id, number, parameters FROM injection ORDER BY task_id, number")
    with reopen(project, injected(3)) as more:
        assert done(more.run()) == {"simulate:transients": 4}
        second = more.sql("SELECT task_id, number, parameters FROM injection ORDER BY task_id, number")
        assert len(first) == 8
        assert len(second) == 12
        assert second[second["number"] < 2]["parameters"].tolist() == first["parameters"].tolist()
        # simulated detections never show among the real ones
        assert len(more.detections()) == 4
        assert more.efficiency()["injected"].sum() == 12


def test_mirror_with_bad_files_names_them_and_does_all_others(project, folder):
    truncated = (folder / "alpha.csv").read_text()
    (folder / "alpha.csv").write_text(truncated[: len(truncated) // 2 + 7])
    lines = (folder / "beta.csv").read_text().splitlines()
    (folder / "beta.csv").write_text("\n".join(",".join(line.split(",")[:4]) for line in lines) + "\n")
    (folder / "gamma.csv").write_text("<!DOCTYPE html><html><body>Service unavailable</body></html>\n")
    names = [*NAMES, "empty", "good"]
    mirror(folder.parent / "more", ["x"] * 4 + ["empty", "good"])
    (folder / "empty.csv").write_text(lines[0] + "\n")
    write_star(folder, "good", ra=15.0, dec=20.0)
    with reopen(project, settings(folder, names)) as other:
        summary = other.run()
        assert {f["source"] for f in summary.failures} == {"alpha", "beta", "gamma"}
        assert all(f["source"] in f["error"] for f in summary.failures)
        status = other.status()
        assert status.loc["fetch:ztf", ["done", "empty", "failed"]].tolist() == [2, 1, 3]
        assert sorted(other.detections()["source"]) == ["delta", "good"]


def test_failed_tasks_are_tried_again_and_empty_ones_only_with_refresh(project, folder):
    (folder / "alpha.csv").write_text("<html></html>")
    (folder / "beta.csv").unlink()
    project.run()
    assert project.status().loc["fetch:ztf", ["done", "empty", "failed"]].tolist() == [2, 1, 1]
    write_star(folder, "alpha", ra=10.0, dec=20.0)
    write_star(folder, "beta", ra=11.0, dec=20.0)
    assert done(project.run()) == {"fetch:ztf": 1, "reduce:ztf": 1, "analyse:transients": 1}
    assert done(project.run(refresh=True)) == {"fetch:ztf": 1, "reduce:ztf": 1, "analyse:transients": 1}
    assert project.status().loc["fetch:ztf", "done"] == 4


def test_only_and_redo_touch_the_named_source(project):
    project.run()
    assert done(project.run(only=["gamma"], redo=True, step="analyse")) == {"analyse:transients": 1}
    assert len(project.detections()) == 4


def test_fault_25_an_analysis_that_raises_fails_its_task_alone(project, monkeypatch):
    from virtualobserver.analyses.transients import Transients

    find = Transients.find

    def broken(self, products, aux, options):
        if aux.target.name == "beta":
            raise ZeroDivisionError("in the search")
        return find(self, products, aux, options)

    monkeypatch.setattr(Transients, "find", broken)
    monkeypatch.setattr(Transients, "find_many", Analysis.find_many)
    summary = project.run()
    assert [f["source"] for f in summary.failures] == ["beta"]
    assert "ZeroDivisionError: in the search" in summary.failures[0]["error"]
    task = project.sql("SELECT traceback, error_kind FROM task WHERE status = 'failed'")
    assert "in broken" in task["traceback"][0]
    monkeypatch.setattr(Transients, "find", find)
    assert done(project.run()) == {"analyse:transients": 1}


def test_fault_25_a_nan_score_fails_its_task_and_leaves_the_batch(project, monkeypatch):
    from dataclasses import replace

    from virtualobserver.analyses.transients import Transients

    find = Transients.find

    def spoiled(self, products, aux, options):
        result = find(self, products, aux, options)
        if aux.target.name != "beta":
            return result
        return replace(result, detections=[replace(e, snr=float("nan")) for e in result.detections])

    monkeypatch.setattr(Transients, "find", spoiled)
    monkeypatch.setattr(Transients, "find_many", Analysis.find_many)
    summary = project.run()
    assert [f["source"] for f in summary.failures] == ["beta"]
    assert len(project.detections()) == 3


def test_fault_05_a_broken_connection_is_taken_up_again(project):
    project.run(step="fetch")
    with project.session() as session:
        session.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                 "AND pid <> pg_backend_pid()")
        )  # fmt: skip
    assert done(project.run()) == {"reduce:ztf": 4, "analyse:transients": 4}


def test_processes_do_the_same_as_one(project, folder, tmp_path, new_url):
    project.run()
    two = settings(folder, NAMES, run={"workers": 2, "batch": 1})
    with Project.open(two, data=tmp_path / "second", url=new_url()) as other:
        other.run()
        ours, theirs = dump(project), dump(other)
        for table in ("task", "detection", "raw_data"):
            assert ours[table] == theirs[table]


SCRIPT = """
import sys, time
from virtualobserver import Analysis, Project
from virtualobserver.analyses.transients import Transients
from support.project import settings, rows
from pathlib import Path

folder, data, url, names, held = sys.argv[1:6]
find = Transients.find
searched = []
def slow(self, products, aux, options):
    while held and len(searched) >= int(held):  # until killed
        time.sleep(60)
    searched.append(aux.target.name)
    time.sleep(0.2)
    return find(self, products, aux, options)
Transients.find = slow
Transients.find_many = Analysis.find_many  # star by star, so that `held` is heard

conf = settings(Path(folder), names.split(","), run={"batch": 2})
with Project.open(conf, data=data, url=url) as project:
    print("ready", flush=True)
    project.run()
"""


def run_in_background(folder: Path, data: Path, url: str, *, held: int | None = None) -> subprocess.Popen:
    """Start a run in another process; after `held` stars its search stops until it is killed."""
    words = [str(folder), str(data), url, ",".join(NAMES), "" if held is None else str(held)]
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), *words]
    path = [str(TESTS), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def wait_for(project: Project, query: str, running: subprocess.Popen) -> None:
    """Wait until a query says so, as long as the other process lives."""
    end = time.monotonic() + 180
    while not project.sql(query).iloc[0, 0]:
        assert running.poll() is None, f"the run ended before: {query}"
        assert time.monotonic() < end, f"nothing within three minutes: {query}"
        time.sleep(0.02)


def test_killed_run_goes_on_to_the_same_rows_and_files(project, folder, tmp_path, new_url):
    batched = settings(folder, NAMES, run={"batch": 2})
    with Project.open(batched, data=tmp_path / "calm", url=new_url()) as calm:
        calm.run()
        undisturbed = dump(calm)
    url = project.workspace.database.url
    running = run_in_background(folder, project.workspace.root, url, held=0)
    wait_for(project, "SELECT count(*) FROM task WHERE step LIKE 'analyse:%' AND status = 'running'", running)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    with reopen(project, batched) as again:
        again.run()
        assert dump(again) == undisturbed
        assert again.sql("SELECT max(deaths) AS n FROM task")["n"][0] == 1


def test_fault_06_two_runs_side_by_side_do_nothing_twice(project, folder):
    both = [
        run_in_background(folder, project.workspace.root, project.workspace.database.url) for _ in range(2)
    ]
    for one in both:
        one.communicate(timeout=300)
        assert one.returncode == 0
    assert project.status()["done"].tolist()[:3] == [4, 4, 4]
    assert project.sql("SELECT count(*) AS n FROM detection")["n"][0] == 4
    assert project.sql("SELECT count(*) AS n FROM raw_data")["n"][0] == 4
    assert project.sql("SELECT max(attempts) AS n FROM task")["n"][0] == 1


def test_fault_06_tasks_done_by_a_run_beside_this_one_are_not_done_again(project, folder):
    class Slow(SerialExecutor):
        """Hands out its batches only after another run of the project has done everything."""

        def map(self, job, batches):
            with reopen(project, settings(folder, NAMES)) as other:
                other.run()
            return super().map(job, batches)

    with pytest.MonkeyPatch.context() as patch:
        executors = [Slow(project.workspace)]
        patch.setattr(
            driver, "make_executor", lambda *a, **k: executors.pop() if executors else SerialExecutor(a[0])
        )
        summary = project.run()
    assert summary.worked == 0
    assert project.sql("SELECT max(attempts) AS n FROM task")["n"][0] == 1
    assert len(project.detections()) == 4


def test_fault_24_histogram_of_a_broken_off_run_counts_once(project, folder):
    # batches hold two stars each: the first is done, the second never
    url = project.workspace.database.url
    running = run_in_background(folder, project.workspace.root, url, held=2)
    wait_for(project, "SELECT count(*) FROM histogram_part", running)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    with reopen(project, settings(folder, NAMES, run={"batch": 2})) as again:
        again.run()
        assert again.histograms()["transients.snr"].total == 4 * 60


def test_fault_20_hostile_names_are_only_names(tmp_path, url):
    names = ["x'; DROP TABLE source; --", "../../escape", "a/b", "Ω star", "CON"]
    with Project.open(
        {
            "name": "hostile", "catalog": {"name": "hostile", "rows": rows(names)},
            "observatories": {"demo": {}}, "analyses": {"transients": {}},
        },
        data=tmp_path / "data", url=url,
    ) as project:  # fmt: skip
        summary = project.run()
        assert summary.failed == 0
        assert sorted(source.name for source in project.sources) == sorted(names)
        assert project.source(names[0]).lightcurves[0].data.mjd.size == 100
    root = (tmp_path / "data").resolve()
    assert all(path.resolve().is_relative_to(root) for path in tmp_path.rglob("*.h5"))


def test_simulated_survey_stays_out_of_the_default_view(tmp_path, url):
    conf = {
        "name": "demo", "catalog": {"name": "made", "rows": rows([f"s{i}" for i in range(10)])},
        "observatories": {"demo": {"flare_fraction": 1.0, "flare_amplitude": 5.0}}, "analyses": {"transients": {}},
    }  # fmt: skip
    with Project.open(conf, data=tmp_path / "data", url=url) as project:
        project.run()
        assert len(project.detections()) == 0
        assert len(project.detections(simulated=True)) >= 10


@pytest.mark.real
@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, [293, 417, 9, 214, 278, 10, 225, 235, 98, 73]),
        ({"drop_flagged": True}, [277, 401, 9, 210, 274, 10, 221, 229, 97, 73]),
        ({"gap": 300.0}, None),
    ],
)
def test_parity_54_real_star_through_the_whole_path(tmp_path, url, options, sizes):
    archive = real_data("ztf", "ZTF_lightcurve.csv").parent
    star = [{"name": "ZTF_lightcurve", "ra": 359.99975, "dec": 51.39372}]
    conf = {
        "name": "real", "catalog": {"name": "star", "rows": star},
        "observatories": {"ztf": {"archive": str(archive), **options}}, "analyses": {"transients": {}},
    }  # fmt: skip
    with Project.open(conf, data=tmp_path / "data", url=url) as project:
        assert project.run().failed == 0
        found = project.sql("SELECT n FROM lightcurves WHERE project = 'real' ORDER BY t_min")["n"].tolist()
        if sizes is None:
            assert len(found) == 3
            assert sum(found) == 1852
        else:
            assert found == sizes
        detections = project.sql("SELECT d.peak_mjd, d.snr, d.simulated FROM detection d")
        assert not detections["simulated"].any()
        assert (detections["snr"].abs() > 5).all()
