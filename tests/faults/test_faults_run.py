"""Faults that meet a whole run: kills, full disks, clocks, other runs. A second run finishes only the rest."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from support.paths import TESTS
from support.project import dump, mirror, settings

from virtualobserver import Analysis, Project
from virtualobserver.analyses.transients import Transients
from virtualobserver.cli import main
from virtualobserver.db.bulk import copy_rows, upsert_rows
from virtualobserver.errors import DataError, DiskFull
from virtualobserver.models import Source
from virtualobserver.models.base import table_of
from virtualobserver.run.upkeep.prune import prune
from virtualobserver.run.upkeep.verify import verify

NAMES = ["alpha", "beta", "gamma"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return mirror(tmp_path / "mirror", NAMES)


@pytest.fixture
def undisturbed(tmp_path, folder, new_url):
    """Return what a run leaves that nothing disturbed."""
    with Project.open(settings(folder, NAMES), data=tmp_path / "calm", url=new_url()) as project:
        project.run()
        return dump(project)


KILLED = """
import os, signal, sys
from pathlib import Path
from support.project import settings
from virtualobserver import Analysis, Project
from virtualobserver.run.tasks import batch as work

write = work.write_products
def written_and_killed(store, step, outcomes):
    done = write(store, step, outcomes)
    if step.kind == "reduce":
        os.kill(os.getpid(), signal.SIGKILL)
    return done
work.write_products = written_and_killed

folder, data, url, names = sys.argv[1:5]
with Project.open(settings(Path(folder), names.split(",")), data=data, url=url) as project:
    project.run()
"""


def test_fault_02_run_killed_between_file_and_rows_leaves_an_orphan_and_goes_on(
    tmp_path, folder, url, undisturbed
):
    data = tmp_path / "data"
    command = [sys.executable, "-c", KILLED, str(folder), str(data), url, ",".join(NAMES)]
    environment = os.environ | {"PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{TESTS}"}
    died = subprocess.run(command, env=environment, check=False, timeout=120)
    assert died.returncode == -signal.SIGKILL
    with Project.open(settings(folder, NAMES), data=data, url=url) as project:
        assert project.sql("SELECT count(*) AS n FROM product")["n"][0] == 0
        orphans = [path for path in project.workspace.store.files() if path.startswith("products/")]
        assert len(orphans) == 1
        assert project.run().failed == 0
        assert dump(project) == undisturbed
        assert verify(project.workspace).ok


def test_fault_03_a_bad_row_150_000_leaves_none_and_the_second_try_is_idempotent(database):
    table = table_of(Source)
    names = [f"s{i}" for i in range(160_000)]
    columns = {
        "name": names,
        "namespace": ["n"] * len(names),
        "dec": np.zeros(len(names)),
        "ra": np.where(np.arange(len(names)) == 150_000, 400.0, 10.0),
    }
    count = sa.select(sa.func.count()).select_from(table)
    with database.session() as session, pytest.raises((DataError, sa.exc.DBAPIError), match="ra"):
        copy_rows(session, table, columns)
    with database.session() as session, session.begin():
        assert session.scalar(count) == 0
        part = {name: values[:1000] for name, values in columns.items()}
        for _ in range(2):
            upsert_rows(session, table, part, key=["namespace", "name"], update=["ra"])
        assert session.scalar(count) == 1000


@pytest.mark.parametrize("step", ["fetch", "reduce", "histogram"])
def test_fault_04_full_disk_ends_the_run_cleanly_and_the_next_one_finishes(
    tmp_path, folder, url, undisturbed, monkeypatch, step
):
    conf = settings(folder, NAMES)
    if step == "fetch":  # raw data of a folder stay where they are; those of the demo are written
        conf["observatories"] = {"demo": {"n_epochs": 20}}
    data = tmp_path / "data"
    real = os.fsync
    with Project.open(conf, data=data, url=url) as project:
        if step == "reduce":
            project.run(step="fetch")
        elif step == "histogram":
            for name in ("fetch", "reduce"):
                project.run(step=name)
            project.run(step="analyse")
            kept = {path: path.read_bytes() for path in (data / "histograms").rglob("*.nc")}

        def full(number):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DiskFull, match=r"\d+ bytes needed, \d+ free"):
            project.save_histograms() if step == "histogram" else project.run()
        monkeypatch.setattr(os, "fsync", real)
        assert not [path for path in (data / "tmp").rglob("*") if path.is_file()]
        assert not list(data.rglob(".vo-*"))
        if step == "histogram":
            assert {path: path.read_bytes() for path in (data / "histograms").rglob("*.nc")} == kept
    with Project.open(conf, data=data, url=url) as project:
        assert project.run().failed == 0
        if step != "fetch":
            assert dump(project) == undisturbed
        assert verify(project.workspace).ok


def test_fault_04_full_disk_is_a_message_and_an_exit_code(tmp_path, url, monkeypatch, capsys):
    config = tmp_path / "c.yaml"
    config.write_text("name: c\ncatalog: {test: 2}\nobservatories: {demo: {n_epochs: 5}}\n")
    monkeypatch.setenv("VO_DATABASE_URL", url)

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert main(["run", str(config), "--data", str(tmp_path / "data")]) == 3
    assert "bytes needed" in capsys.readouterr().err


def test_fault_06_two_that_make_the_same_project_at_once_get_the_same(tmp_path, folder, url):
    barrier = threading.Barrier(4)

    def work(_):
        with Project.open(settings(folder, NAMES), data=tmp_path / "data", url=url) as project:
            barrier.wait(timeout=30)
            project.import_catalogue()
            return project.id

    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(work, range(4), timeout=120))
    assert len(ids) == 4
    assert len(set(ids)) == 1


def test_fault_13_an_unreadable_file_is_named_by_verify(tmp_path, folder, url):
    with Project.open(settings(folder, NAMES), data=tmp_path / "data", url=url) as project:
        project.run()
        path = project.workspace.store.resolve(project.source("beta").lightcurves[0].file.path)
        content = path.read_bytes()
        path.unlink()
        path.mkdir()  # not readable as a file, for root as well
        assert not verify(project.workspace).ok
        path.rmdir()
        path.write_bytes(content)
        assert verify(project.workspace).ok


def test_fault_24_a_changed_setting_begins_a_histogram_of_its_own(tmp_path, folder, url):
    def total(**transients):
        conf = settings(folder, NAMES, analyses={"transients": transients})
        with Project.open(conf, data=tmp_path / "data", url=url) as project:
            project.run()
            return project.histograms()["transients.snr"]

    first = total()
    assert total(snr_bins=[-10.0, 10.0, 0.5]).total == first.total == 3 * 60
    assert total() == first


def test_fault_25_an_analysis_out_of_memory_fails_its_task_alone(tmp_path, folder, url, monkeypatch):
    find = Transients.find

    def greedy(self, products, aux, options):
        if aux.target.name == "beta":
            raise MemoryError
        return find(self, products, aux, options)

    monkeypatch.setattr(Transients, "find", greedy)
    monkeypatch.setattr(Transients, "find_many", Analysis.find_many)
    with Project.open(settings(folder, NAMES), data=tmp_path / "data", url=url) as project:
        assert [failure["source"] for failure in project.run().failures] == ["beta"]
        assert len(project.detections()) == 2


def test_fault_25_a_clock_that_jumps_back_changes_no_result(tmp_path, folder, url, undisturbed, monkeypatch):
    start, calls = time.time(), iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: start - 3600.0 * next(calls))
    with Project.open(settings(folder, NAMES), data=tmp_path / "data", url=url) as project:
        assert project.run().failed == 0
        assert dump(project) == undisturbed
        # what is stored is the time of the database, in UTC
        stored = project.sql("SELECT now() - max(finished) < interval '10 minutes' AS good FROM task")
        assert stored["good"][0]


TWICE = """
import signal, sys, threading, time
from virtualobserver.cli import main
from virtualobserver.observatories.demo import VirtualDemo
from virtualobserver.run import driver

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may ignore it
fetching, ending = threading.Event(), threading.Event()

def wait():
    while True:  # a signal just before a long sleep would be noticed only after it
        time.sleep(0.02)

def fetch(self, targets, client):
    fetching.set()
    wait()
    yield

def end(*_):
    ending.set()
    wait()

VirtualDemo.fetch, driver.end = fetch, end

def press():
    for event in (fetching, ending):
        event.wait()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

threading.Thread(target=press, daemon=True).start()
sys.exit(main(["run", sys.argv[1]]))
"""


def test_fault_25_a_second_interrupt_ends_without_harm(tmp_path, url, monkeypatch):
    config = tmp_path / "slow.yaml"
    text = "name: slow\ncatalog: {test: 30}\nobservatories: {demo: {n_epochs: 20}}\n"
    config.write_text(text)
    environment = os.environ | {"VO_DATABASE_URL": url, "VO_DATA": str(tmp_path / "data")}
    process = subprocess.run(
        [sys.executable, "-c", TWICE, str(config)], env=environment, check=False, timeout=300
    )
    assert process.returncode == 130
    with Project.open(config, data=tmp_path / "data", url=url) as project:
        assert project.run().failed == 0
        assert project.status().loc["fetch:demo", "done"] == 30
        assert verify(project.workspace).ok


DEMO = {"name": "demo", "catalog": {"test": 3}, "observatories": {"demo": {"n_epochs": 30}}}


@pytest.mark.parametrize("place", ["outside", "nothing"])
def test_fault_13_a_raw_file_replaced_by_a_link_is_fetched_again(tmp_path, url, place):
    (tmp_path / "outside").write_bytes(b"other")
    with Project.open(DEMO, data=tmp_path / "data", url=url) as project:
        project.run()
        store = project.workspace.store
        path = store.root / next(name for name in store.files() if name.startswith("raw/"))
        content = path.read_bytes()
        path.unlink()
        path.symlink_to(tmp_path / place)
        assert not verify(project.workspace, repair=True).ok
        assert project.run(refresh=True).complete
        assert verify(project.workspace).ok
        assert not path.is_symlink()
        assert path.read_bytes() == content
    assert (tmp_path / "outside").read_bytes() == b"other"


def test_products_on_another_file_system_are_made_checked_and_pruned(tmp_path, url):
    shared = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=shared) as other:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "products").symlink_to(other)
        with Project.open(DEMO, data=tmp_path / "data", url=url) as project:
            assert project.run().complete
            assert list(Path(other).rglob("*.h5"))
            assert verify(project.workspace).ok
            assert len(project.sources[0].lightcurves[0].data.mjd) == 30
            assert prune(project.workspace, role="reduced").products == 3
            assert not list(Path(other).rglob("*.h5"))
