"""Runs on a Dask cluster: the same rows as without one, whoever dies and whoever else is at work."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.project import mirror, settings, write_killer

from virtualobserver import Project
from virtualobserver.errors import ConfigError, RunError
from virtualobserver.run.executors import DaskExecutor
from virtualobserver.run.record import Summary
from virtualobserver.run.steps import Step
from virtualobserver.run.tasks.task import Job

NAMES = [f"star_{n:02d}" for n in range(12)]

TABLES = {
    "task": "SELECT s.name, t.step, t.status, t.inputs FROM task t JOIN source s ON s.id = t.source_id",
    "product": "SELECT s.name, p.role, p.series, p.checksum FROM product p JOIN source s ON s.id = p.source_id",
    "detection": "SELECT s.name, d.kind, d.peak_mjd, d.snr FROM detection d JOIN source s ON s.id = d.source_id",
    "properties": "SELECT s.name, r.props FROM properties r JOIN source s ON s.id = r.source_id",
    "raw": "SELECT archive_id, sha256 FROM raw_data",
}


def rows(project: Project) -> dict[str, list[str]]:
    """Return what a run left in the database, in an order of its own."""
    return {name: sorted(map(str, project.sql(query).values.tolist())) for name, query in TABLES.items()}


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    import dask

    quick = {
        "distributed.scheduler.allowed-failures": 3,
        "distributed.worker.profile.enabled": False,
        "distributed.admin.system-monitor.gil.enabled": False,
    }
    with (
        dask.config.set(quick),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as running,
    ):
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return mirror(tmp_path / "mirror", NAMES)


def on(cluster: Any, **more: Any) -> dict[str, Any]:
    return {"dask": cluster.scheduler_address, "batch": 2, **more}


@pytest.fixture
def serial_rows(folder, tmp_path, new_url):
    with Project.open(settings(folder, NAMES), data=tmp_path / "serial", url=new_url()) as project:
        project.run()
        return rows(project)


def test_a_run_on_a_cluster_gives_the_rows_of_a_serial_one(cluster, folder, tmp_path, url, serial_rows):
    with Project.open(settings(folder, NAMES, run=on(cluster)), data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert summary.counts["analyse:transients"] == {"done": len(NAMES)}
        assert rows(project) == serial_rows
        assert project.run().worked == 0


def test_fault_06_two_runs_side_by_side_on_one_cluster_do_nothing_twice(
    cluster, folder, tmp_path, url, serial_rows
):
    def go(_: int) -> Summary:
        with Project.open(settings(folder, NAMES, run=on(cluster)), data=tmp_path / "data", url=url) as one:
            return one.run()

    with Project.open(settings(folder, NAMES), data=tmp_path / "data", url=url) as project:
        project.import_catalogue()
        with ThreadPoolExecutor(2) as pool:
            summaries = list(pool.map(go, range(2)))
        project.run()  # what one left to the other while it was at work
        assert rows(project) == serial_rows
        assert set(project.sql("SELECT attempts FROM task")["attempts"]) == {1}
    assert not any(summary.failed for summary in summaries)


def test_fault_25_a_killed_worker_loses_nothing_and_does_nothing_twice(
    cluster, folder, tmp_path, url, serial_rows
):
    killed = []

    def kill_one(step: str, total: int, counts: Any) -> None:
        if step == "reduce:ztf" and not killed:
            killed.append(next(iter(cluster.workers.values())).pid)
            os.kill(killed[0], signal.SIGKILL)

    with Project.open(settings(folder, NAMES, run=on(cluster)), data=tmp_path / "data", url=url) as project:
        summary = project.run(progress=kill_one)
        assert killed
        assert not summary.failed
        assert rows(project) == serial_rows


def test_more_batches_than_are_handed_out_at_once_all_end(cluster, folder, tmp_path, url, monkeypatch):
    monkeypatch.setattr("virtualobserver.run.executors._AHEAD", 2)
    config = settings(folder, NAMES, run=on(cluster, batch=1))
    with Project.open(config, data=tmp_path / "data", url=url) as project:
        assert project.run().counts["reduce:ztf"] == {"done": len(NAMES)}


def test_what_ends_a_run_in_a_worker_ends_it_here(cluster, tmp_path):
    executor = DaskExecutor(cluster.scheduler_address)
    try:
        job = Job(
            str(tmp_path), "postgresql://me:hush@127.0.0.1:1/none", Step("fetch", "demo", "demo", "0", {}), 1
        )
        with pytest.raises(Exception, match=r"127\.0\.0\.1") as caught:
            list(executor.map(job, [[1]]))
        assert "hush" not in str(caught.value)
    finally:
        executor.close()


def test_fault_23_a_job_does_not_show_the_password_of_its_database():
    job = Job("/data", "postgresql://me:hush@host/db", Step("fetch", "demo", "demo", "0", {}), 1)
    assert "hush" not in repr(job)


def test_a_scheduler_that_is_not_there_is_named(monkeypatch):
    dask = pytest.importorskip("dask")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
        pytest.raises(RunError, match=r"tcp://127\.0\.0\.1:9"),
    ):
        DaskExecutor("tcp://127.0.0.1:9")


def test_a_missing_dask_is_a_configuration_error_with_the_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ConfigError, match="pip install"):
        DaskExecutor("tcp://127.0.0.1:9")


def test_fault_25_a_task_that_kills_workers_fails_alone_and_the_others_are_done(
    cluster, folder, tmp_path, url
):
    plugin = write_killer(tmp_path, "star_03")
    config = settings(folder, NAMES, analyses={str(plugin): {}}, run=on(cluster, batch=4, max_attempts=2))
    with Project.open(config, data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert [failure["source"] for failure in summary.failures] == ["star_03"]
        assert "killed its worker 2 times" in summary.failures[0]["error"]
        step = project.steps[-2].name
        assert summary.counts[step] == {"done": len(NAMES) - 1, "failed": 1}
        seen = project.sql("SELECT s.name FROM properties p JOIN source s ON s.id = p.source_id")
        assert sorted(seen["name"]) == [name for name in NAMES if name != "star_03"]
    asked = (tmp_path / "asked").read_text().split()
    assert asked.count("star_03") == 2
