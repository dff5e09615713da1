"""Where batches are done: what becomes of a task that kills its worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from support.paths import ROOT
from support.project import mirror, settings, write_killer

from virtualobserver import Project
from virtualobserver.catalog import read_catalog
from virtualobserver.errors import RunError
from virtualobserver.run import catalogue, driver, executors, plan
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


def test_workers_start_before_a_first_list_is_read_after_a_changed_one_is_and_not_for_a_known_one(
    tmp_path, folder, url, monkeypatch
):
    happened = []

    def read(*args, **options):
        happened.append("read")
        return read_catalog(*args, **options)

    monkeypatch.setattr(SerialExecutor, "warm", lambda _: happened.append("started"))
    monkeypatch.setattr("virtualobserver.run.catalogue.read_catalog", read)
    with Project.open(settings(folder, NAMES[:1]), data=tmp_path / "data", url=url) as project:
        project.run()
        assert happened == ["started", "read"]
        assert project.run().worked == 0
        assert happened == ["started", "read", "read"]
    with Project.open(settings(folder, NAMES), data=tmp_path / "data", url=url) as project:
        project.run()
    assert happened[3:] == ["read", "started"]


SLOW_TO_IMPORT = """
import pathlib, sys, time
from virtualobserver.run.executors import ProcessExecutor
if __name__ == "__main__":
    begun, ready = pathlib.Path("begun"), pathlib.Path("ready")
    executor = ProcessExecutor(1, ["slow"])
    executor.warm()
    while not begun.exists():
        time.sleep(0.01)
    ready.touch()
    print(executor._pool.submit(eval, "'slow' in __import__('sys').modules").result())
    executor.close()
"""


@pytest.mark.skipif(executors._start_method() != "forkserver", reason="each worker imports for itself here")
def test_a_warm_executor_imports_while_its_driver_goes_on(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\npathlib.Path('begun').touch()\nend = time.monotonic() + 60\n"
        "while not pathlib.Path('ready').exists():\n"
        "    if time.monotonic() > end:\n        raise ImportError('the driver waits')\n    time.sleep(0.01)\n"
    )
    (tmp_path / "warms.py").write_text(SLOW_TO_IMPORT)
    done = subprocess.run(
        [sys.executable, "warms.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{tmp_path}"},
    )  # fmt: skip
    assert done.stdout.strip() == "True", done.stderr


def test_workers_know_what_was_imported_once_and_the_environment_of_now(monkeypatch):
    monkeypatch.delenv("VO_WORD", raising=False)
    for word in (
        "first",
        "second",
    ):  # the process that the second ones are forked from began before it was set
        monkeypatch.setenv("VO_WORD", word)
        with closing(ProcessExecutor(1)) as executor:
            submit = executor._pool.submit
            assert submit(os.getenv, "VO_WORD").result() == word
            if executors._start_method() == "forkserver":
                assert submit(eval, "'virtualobserver.run.nursery' in __import__('sys').modules").result()
                assert submit(os.getppid).result() != os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all workers start afresh")
def test_workers_start_afresh_where_a_socket_would_have_too_long_a_name(monkeypatch):
    for length, method in ((70, "forkserver"), (71, "spawn")):
        monkeypatch.setattr("tempfile.tempdir", "/" + "x" * (length - 1))
        assert executors._start_method() == method


def test_a_run_with_nothing_to_do_asks_but_once_what_is_missing(tmp_path, folder, url, monkeypatch):
    asked = []

    def look(*args, planned=False, **options):
        asked.append(planned)
        return plan.look(*args, planned=planned, **options)

    monkeypatch.setattr(driver, "look", look)
    with Project.open(settings(folder, NAMES), data=tmp_path / "data", url=url) as project:
        project.run()
        assert not all(asked)
        for _ in range(20):  # whoever else uses the server may write something meanwhile
            asked.clear()
            assert project.run().complete
            if all(asked):
                break
        assert all(asked)


def test_targets_that_somebody_adds_while_a_run_finds_nothing_to_do_are_done(
    tmp_path, folder, url, monkeypatch
):
    data = tmp_path / "data"
    with Project.open(settings(folder, NAMES[:3]), data=data, url=url) as project:
        project.run()
        wait = driver._wait_for_others

        def wait_and_add(run, step, stage):
            if step.kind == "analyse":
                with Project.open(settings(folder, NAMES), data=data, url=url) as beside:
                    beside.import_catalogue()
            return wait(run, step, stage)

        monkeypatch.setattr(driver, "_wait_for_others", wait_and_add)
        summary = project.run()
        assert summary.complete
        assert summary.worked == 3
        seen = project.sql("SELECT s.name FROM properties p JOIN source s ON s.id = p.source_id")
        assert sorted(seen["name"]) == sorted(NAMES)


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


UNGUARDED = """
import json, pathlib, sys
from virtualobserver import Project
from virtualobserver.catalog import read_catalog
with pathlib.Path("begun").open("a") as file:
    file.write("once ")
with Project.open(json.loads(sys.argv[1]), data="data", url=sys.argv[2]) as project:
    print(project.run().complete)
"""


@pytest.mark.parametrize("letters", [0, 80])  # workers are forked from one process, or start afresh
def test_a_script_without_a_guard_runs_once_with_workers_as_well(tmp_path, folder, url, letters):
    temporary = tmp_path / ("t" * letters)
    temporary.mkdir(exist_ok=True)
    (tmp_path / "script.py").write_text(UNGUARDED)
    conf = settings(folder, NAMES, run={"workers": 2})
    environment = {
        "PYTHONPATH": str(ROOT / "src"),
        "TMPDIR": str(temporary if letters else tempfile.gettempdir()),
    }
    done = subprocess.run(
        [sys.executable, "script.py", json.dumps(conf), url],
        cwd=tmp_path, capture_output=True, text=True, env=os.environ | environment, check=False,
    )  # fmt: skip
    assert done.stdout == "True\n", done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "begun").read_text() == "once "


WAITS = """
import multiprocessing, signal, time
from virtualobserver.run.executors import ProcessExecutor
if __name__ == "__main__":
    executor = ProcessExecutor(2)
    for _ in range(2):
        executor._pool.submit(time.sleep, 600)
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
