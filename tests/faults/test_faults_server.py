"""The database server dies or has no room while a run or a deletion is at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text
from support.cli import PROGRAM
from support.tmpfs import small_volume

from virtualobserver import Project
from virtualobserver.cli import main
from virtualobserver.io.store import Store
from virtualobserver.run.upkeep.verify import verify
from virtualobserver.run.workspace import Workspace

CONFIG = """\
name: lost
catalog: {test: 12}
observatories: {demo: {n_epochs: 30}}
analyses: {transients: {}}
run: {workers: 2, batch: 2}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A configuration of two workers, for the server of a data folder as people have it."""
    monkeypatch.delenv("VO_DATABASE_URL", raising=False)
    monkeypatch.setenv("VO_DATA", str(tmp_path / "data"))
    path = tmp_path / "lost.yaml"
    path.write_text(CONFIG)
    return path


def kill_server(project) -> None:
    """Kill the embedded server, and wait until it is dead."""
    server = project.workspace.database._server
    pid = server.pid()
    os.kill(pid, signal.SIGKILL)
    while server.pid() == pid:
        server._reap()
        time.sleep(0.02)


@pytest.mark.parametrize("step", ["fetch:demo", "reduce:demo", "analyse:transients"])
def test_a_server_killed_under_two_workers_is_started_once_and_the_run_goes_on(config, step):
    killed = []

    def kill_once(now, tasks, counts):
        if now == step and not killed:
            killed.append(now)
            kill_server(project)

    with Project.open(config) as project:
        summary = project.run(progress=kill_once)
        assert killed == [step]
        assert summary.complete
        assert project.status()["done"].tolist()[:3] == [12, 12, 12]
        assert verify(project.workspace).ok


def test_a_server_killed_again_and_again_ends_the_run_with_one_sentence(config, monkeypatch, capsys):
    real = Project.run

    def run(self, **options):
        return real(self, **{**options, "progress": lambda *_: kill_server(self)})

    monkeypatch.setattr(Project, "run", run)
    monkeypatch.setattr("virtualobserver.db.engine.RECOVERY", 1.0)
    assert main(["run", str(config), "--json"]) == 3
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.startswith("vo: ")
    assert "database" in said
    monkeypatch.undo()
    assert main(["run", str(config), "--data", str(config.parent / "data"), "--json"]) == 0


FULL = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON product EXECUTE FUNCTION no_room()"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_without_room_ends_the_run_with_one_sentence_and_code_3(config, capsys, workers):
    words = ["run", str(config), "--json", "--workers", str(workers)]
    with Workspace() as workspace:
        with workspace.database.session() as session, session.begin():
            session.execute(text(FULL))
        assert main(words) == 3
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert said.count("\n") == 1
        assert "has no room left on its disk" in said
        with workspace.database.session() as session, session.begin():
            session.execute(text("DROP TRIGGER full_disk ON product"))
        assert main(words) == 0


def fill(filler: Path) -> None:
    """Write until there is no room."""
    with suppress(OSError), filler.open("wb", buffering=0) as stream:
        while stream.write(bytes(65536)):
            pass


def test_a_volume_that_fills_up_in_a_run_ends_it_with_code_3_and_nothing_is_lost(config, capsys, monkeypatch):
    with small_volume(config.parent / "small", megabytes=160) as volume:
        monkeypatch.setenv("VO_DATA", str(volume / "data"))
        words = ["run", str(config), "--json"]
        with Workspace() as workspace:
            filler, write = volume / "filler", Store.write_blocks

            def fill_up(self, *arguments):
                if not filler.exists():
                    fill(filler)
                return write(self, *arguments)

            monkeypatch.setattr(Store, "write_blocks", fill_up)
            assert main([*words, "--workers", "1"]) == 3
            said = capsys.readouterr().err
            assert "Traceback" not in said
            assert said.count("\n") == 1
            filler.unlink()
            monkeypatch.setattr(Store, "write_blocks", write)
            assert main(words) == 0
            assert verify(workspace).ok


def test_an_interrupt_ends_a_deletion_at_once_and_nothing_is_deleted(config):
    with Project.open(config, overrides=["run.workers=1"]) as project:
        project.run()
        heard = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{PROGRAM}"
        with project.session() as session, session.begin():
            session.execute(text("LOCK TABLE histogram_part IN SHARE MODE"))  # the deletion waits for it
            words = [sys.executable, "-c", heard, "delete", "lost", "--yes"]
            process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env={**os.environ})
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            while not session.execute(waiting).scalar_one():
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=300)[1]
            assert process.returncode == 130
            assert "Traceback" not in said
            assert session.execute(waiting).scalar_one() == 0  # nor does the server go on
        assert project.run().worked == 0
        assert project.status()["done"].tolist()[:3] == [12, 12, 12]
        assert len(project.detections(simulated=True)) > 0
