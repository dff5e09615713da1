"""Where batches are done: what becomes of a task that kills its worker."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from support.paths import ROOT
from support.project import mirror, settings, write_killer

from virtualobserver import Project
from virtualobserver.errors import RunError
from virtualobserver.run import catalogue
from virtualobserver.run.executors import ProcessExecutor, SerialExecutor

NAMES = ["alpha", "beta", "gamma", "delta"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return mirror(tmp_path / "mirror", NAMES)


def test_fault_25_a_task_that_kills_its_worker_fails_alone_at_the_third_death(tmp_path, folder, url):
    killer = write_killer(tmp_path, "beta")
    conf = settings(folder, NAMES, analyses={str(killer): {}}, run={"workers": 2})
    with Project.open(conf, data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert [(f["source"], f["step"].startswith("analyse:")) for f in summary.failures] == [("beta", True)]
        assert "killed its worker 3 times" in summary.failures[0]["error"]
        seen = project.sql("SELECT s.name FROM properties p JOIN source s ON s.id = p.source_id")
        assert sorted(seen["name"]) == ["alpha", "delta", "gamma"]


class Graveyard:
    """An executor whose workers die before they begin."""

    handed_out = 0

    def warm(self):
        """Nothing to start."""

    def map(self, job, batches):
        for ids in batches:
            self.handed_out += 1
            yield ids, None

    def close(self):
        """Nothing to end."""


def test_fault_25_workers_that_die_before_they_begin_end_the_run(tmp_path, folder, url, monkeypatch):
    graveyard = Graveyard()
    monkeypatch.setattr("virtualobserver.run.driver.make_executor", lambda *args, **options: graveyard)
    with Project.open(settings(folder, NAMES), data=tmp_path / "data", url=url) as project:
        with pytest.raises(RunError, match="fetch:ztf"):
            project.run()
        assert graveyard.handed_out < 5 * len(NAMES)
        monkeypatch.undo()
        assert not project.run().failed


def test_workers_start_once_a_new_list_of_targets_is_read_and_not_for_a_known_one(
    tmp_path, folder, url, monkeypatch
):
    started = []
    monkeypatch.setattr(SerialExecutor, "warm", lambda _: started.append(True))
    with Project.open(settings(folder, NAMES), data=tmp_path / "data", url=url) as project:
        project.run()
        assert started == [True]
        assert project.run().worked == 0
        assert started == [True]


def test_a_warm_executor_has_all_its_workers_before_there_is_a_batch():
    with closing(ProcessExecutor(2)) as executor:
        before = {child.pid for child in multiprocessing.active_children()}
        executor.warm()
        assert len({child.pid for child in multiprocessing.active_children()} - before) == 2


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_list_that_is_written_down_in_parts_has_the_numbers_of_its_rows(
    tmp_path, folder, url, monkeypatch, rows
):
    monkeypatch.setattr(catalogue, "_PART", rows)
    with Project.open(settings(folder, NAMES), data=tmp_path / "data", url=url) as project:
        assert project.import_catalogue() == len(NAMES)
        members = project.sql(
            "SELECT s.name, m.number, m.row->>'name' AS row FROM membership m JOIN source s ON s.id = m.source_id "
            "ORDER BY m.number"
        )
        assert list(members["name"]) == list(members["row"]) == list(NAMES)
        assert list(members["number"]) == list(range(len(NAMES)))
    with Project.open(settings(folder, NAMES[1:]), data=tmp_path / "data", url=url) as project:
        assert project.import_catalogue() == len(NAMES) - 1
        assert [source.name for source in project.sources] == list(NAMES[1:])


WAITS = """
import multiprocessing, signal
from virtualobserver.run.executors import ProcessExecutor
if __name__ == "__main__":
    executor = ProcessExecutor(2)
    executor.warm()
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    signal.pause()
"""


def test_workers_of_a_driver_that_was_killed_end(tmp_path):
    script = tmp_path / "waits.py"
    script.write_text(WAITS)
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    workers = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    process.kill()
    process.communicate(timeout=60)
    gone, alive = psutil.wait_procs(workers, timeout=300)
    for one in alive:
        one.kill()
    assert len(gone) == 2
