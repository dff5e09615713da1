"""Servers that go away, terminals that close, limits that are too tight, and files that are there already."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa
from support.cli import search
from support.db import start_test_server
from support.paths import ROOT

from virtualobserver import Project
from virtualobserver.cli import main
from virtualobserver.db.engine import Database
from virtualobserver.errors import ServerError
from virtualobserver.io.atomic import new_folder, replacing, write_bytes
from virtualobserver.run import executors
from virtualobserver.run.tasks import batch as work

VO = "import sys; from virtualobserver.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a configuration and a data folder whose embedded server is quick."""
    monkeypatch.delenv("VO_DATABASE_URL", raising=False)
    monkeypatch.setenv("VO_DATA", str(tmp_path / "data"))
    (tmp_path / "search.yaml").write_text(search("robust"))
    (tmp_path / "data").mkdir()
    with start_test_server(tmp_path / "data"):
        yield tmp_path


def stop_once(monkeypatch, project, number=signal.SIGINT):
    """Have the server end when the first results are to be saved."""
    server, real, left = project.workspace.database._server, work._save_once, [1]

    def save_once(*args):
        if left:
            left.clear()
            pid = server.pid()
            os.kill(pid, number)
            while server.pid() == pid:
                server._reap()
                time.sleep(0.02)
        return real(*args)

    monkeypatch.setattr(work, "_save_once", save_once)


def test_a_server_that_ends_in_a_run_is_started_again_and_the_run_goes_on(place, monkeypatch):
    with Project.open(place / "search.yaml") as project:
        stop_once(monkeypatch, project)
        summary = project.run()
        assert summary.failed == 0
        assert summary.counts["analyse:transients"] == {"done": 3}
        assert project.status()["done"].tolist()[:3] == [3, 3, 3]


def test_a_server_that_does_not_come_back_ends_the_run_with_one_sentence(place, monkeypatch, capsys):
    monkeypatch.setattr("virtualobserver.db.engine.RECOVERY", 0.1)
    monkeypatch.setattr("virtualobserver.db.server.EmbeddedServer.revive", lambda self: None)
    real = Project.run

    def run(self, **options):
        stop_once(monkeypatch, self)
        return real(self, **options)

    monkeypatch.setattr(Project, "run", run)
    assert main(["run", str(place / "search.yaml"), "--json"]) == 3
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "database" in said


def test_a_lost_reply_to_a_commit_is_not_taken_for_a_lost_commit(place, monkeypatch):
    real, lost = work._save_once, []

    def save_once(*args):
        real(*args)
        if not lost:
            lost.append(1)
            raise sa.exc.OperationalError(
                "COMMIT", None, Exception("server closed the connection unexpectedly")
            )

    monkeypatch.setattr(work, "_save_once", save_once)
    with Project.open(place / "search.yaml") as project:
        summary = project.run()
        assert lost
        assert summary.failed == 0
        assert {step: dict(counter) for step, counter in summary.counts.items() if counter}[
            "reduce:demo"
        ] == {"done": 3}
        assert project.sql("SELECT max(attempts) AS n FROM task")["n"][0] == 1


def test_an_error_of_a_lost_server_is_explained_and_others_are_left_alone(database):
    lost = sa.exc.OperationalError("SELECT 1", None, Exception("server closed the connection"))
    with pytest.raises(ServerError, match="went away"):
        database.explain(lost)
    database.explain(sa.exc.ProgrammingError("SELEC", None, Exception("syntax error")))
    database.explain(KeyboardInterrupt())
    database.explain(None)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_says_who_reads_a_file(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_bytes(tmp_path / "a.bin", b"x")
        with replacing(tmp_path / "b.bin") as temporary:
            temporary.write_bytes(b"x")
        with new_folder(tmp_path / "c") as made:
            (made / "d").write_bytes(b"x")
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.bin", "b.bin")} == {mode}
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o777 & ~mask
    assert stat.S_IMODE((tmp_path / "c" / "d").stat().st_mode) == mode & ~0o222


def test_nothing_is_replaced_without_being_told_to(place, capsys):
    config, out = str(place / "search.yaml"), place / "sources.csv"
    out.write_text("mine")
    assert main(["export", config, "sources", "--out", str(out)]) == 2
    assert "--force" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main(["plot", config, "--population", "--out", str(out)]) == 2
    assert main(["export", config, "sources", "--out", str(out), "--force"]) == 0
    assert out.read_text() != "mine"


@pytest.mark.parametrize("most", [16, 40])
def test_too_few_open_files_are_said_as_that(tmp_path, monkeypatch, most):
    monkeypatch.delenv("VO_DATABASE_URL", raising=False)
    done = subprocess.run(
        [sys.executable, "-c", VO, "db", "check", "--data", str(tmp_path)], capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)), check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert f"{most} files open" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_low_limit_of_open_files_is_raised_where_that_is_allowed(tmp_path, monkeypatch):
    monkeypatch.delenv("VO_DATABASE_URL", raising=False)
    code = (
        "import resource, sys; from pathlib import Path; from virtualobserver.db.server import EmbeddedServer as S; "
        "S(Path(sys.argv[1])).start().close(); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "postgres")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, hard)), check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert int(done.stdout) > 32


def test_too_little_memory_is_said_as_that(monkeypatch, capsys):
    from virtualobserver.cli import entry

    def nothing_left(*_, **__):
        raise ImportError("libx.so: failed to map segment from shared object")

    monkeypatch.setattr(entry.typer.main, "get_command", lambda app: type("C", (), {"main": nothing_left})())
    assert main(["db", "check"]) == 3
    assert "out of memory" in capsys.readouterr().err


@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_an_interrupt_while_workers_start_shows_no_traceback(place, delay):
    words = [sys.executable, "-c", VO, "run", str(place / "search.yaml"), "--workers", "2"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    with Database.open(place / "data") as database:
        deadline = time.monotonic() + 60
        query = "SELECT EXISTS (SELECT FROM information_schema.tables WHERE table_name = 'run')"
        while True:
            with database.engine.connect() as connection:
                there = connection.execute(sa.text(query)).scalar()
                if there and connection.execute(sa.text("SELECT count(*) FROM run")).scalar():
                    break
            assert time.monotonic() < deadline
            time.sleep(0.02)
    time.sleep(delay)
    try:
        os.killpg(process.pid, signal.SIGINT)
    except ProcessLookupError:
        pytest.skip("the run was quicker")
    said = process.communicate(timeout=300)[1]
    # the interpreter, once it has let go of the handlers at its own end, dies of the signal: a shell calls that 130 too
    assert process.returncode in {0, 130, -signal.SIGINT}
    assert "Traceback" not in said
    assert "KeyboardInterrupt" not in said


IMPORTS_SLOWLY = """
from virtualobserver.run.executors import ProcessExecutor
executor = ProcessExecutor(1, ["slow"])
try:
    list(executor.map(None, [[1]]))
except KeyboardInterrupt:
    print("interrupted")
executor.close()
"""


@pytest.mark.skipif(
    executors._start_method() != "forkserver", reason="no module of ours is imported first here"
)
def test_a_worker_that_still_imports_is_deaf_to_an_interrupt(tmp_path):
    script, flag = tmp_path / "script.py", tmp_path / "begun"
    script.write_text(IMPORTS_SLOWLY)
    (tmp_path / "slow.py").write_text("import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(1)\n")
    process = subprocess.Popen(
        [sys.executable, str(script)], cwd=tmp_path, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{tmp_path}"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not flag.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert out == "interrupted\n"
    assert err == ""


def test_an_interrupt_waits_until_the_worker_that_is_asked_for_is_known_and_a_second_one_does_not():
    reached = []

    def interrupted(times):
        with executors._interrupts_wait():
            for number in range(times):
                signal.raise_signal(signal.SIGINT)
                reached.append((times, number))

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for times in (1, 3):
            with pytest.raises(KeyboardInterrupt):
                interrupted(times)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup: nothing begins to listen
        interrupted(2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert reached == [(1, 0), (3, 0), (2, 0), (2, 1)]


def test_nohup_is_respected_and_a_closed_terminal_is_not_ignored():
    code = "import os, signal; from virtualobserver.cli.entry import _catching_termination as c\nwith c(): os.kill(os.getpid(), signal.SIGHUP)\nprint('on')"  # noqa: E501
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert ended.returncode == 128 + signal.SIGHUP
    kept = subprocess.run(
        ["nohup", sys.executable, "-c", code], env=environment, capture_output=True, check=False
    )
    assert kept.stdout == b"on\n"


@pytest.mark.parametrize("step", ["import_catalogue", "drive"])
def test_why_a_run_ended_early_is_kept_without_secrets(place, monkeypatch, step):
    def fail(*_, **__):
        msg = "https://user:opensesame@archive.org/?client_secret=abcd1234 does not answer"
        raise ServerError(msg)

    where = f"virtualobserver.run.{'project' if step == 'import_catalogue' else 'driver'}"
    monkeypatch.setattr(f"{where}.{step if step == 'import_catalogue' else '_do_all'}", fail)
    with Project.open(place / "search.yaml") as project:
        with pytest.raises(ServerError):
            project.run()
        (kept,) = project.sql("SELECT error FROM run ORDER BY id DESC LIMIT 1")["error"]
    assert "does not answer" in kept
    assert "opensesame" not in kept
    assert "abcd1234" not in kept
