"""Runs beside each other: a run that ends well has done all that its catalogue asks, whoever did it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import text
from support.project import mirror, rows, settings

from virtualobserver import Project
from virtualobserver.analyses.transients import Transients
from virtualobserver.analysis import Analysis
from virtualobserver.errors import ArchiveUnavailable, RunError
from virtualobserver.observatories.ztf import VirtualZTF
from virtualobserver.run import driver
from virtualobserver.run.plan import look, plan, release_dead, runnable
from virtualobserver.run.tasks import fetch as landing
from virtualobserver.run.tasks.batch import claim, run_batch
from virtualobserver.run.tasks.heartbeat import Heartbeat
from virtualobserver.run.tasks.task import Job
from virtualobserver.run.upkeep.prune import delete, prune

NAMES = [f"s{n}" for n in range(8)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return mirror(tmp_path / "mirror", NAMES)


@pytest.fixture
def open_project(tmp_path, folder, url):
    """Call it for a project of its own over the same stars."""
    made = []

    def make(name: str = "search", names: list[str] = NAMES, **more) -> Project:
        more = {"run": {"batch": 2, **more.pop("run", {})}, **more}
        conf = settings(folder, names, name=name, **more)
        conf["catalog"] = {"name": "stars", "rows": [row for row in rows(NAMES) if row["name"] in names]}
        made.append(Project.open(conf, data=tmp_path / "data", url=url))
        return made[-1]

    yield make
    for project in made:
        project.close()


def whole(project: Project) -> bool:
    status = project.status()
    open_ = int(status[["pending", "running", "failed", "stale", "unplanned"]].to_numpy().sum())
    return open_ == 0 and status["done"].tolist()[:3] == [len(project.sources)] * 3


@pytest.mark.parametrize("number", [2, 4])
def test_projects_that_share_steps_end_complete_when_run_at_once(open_project, number):
    projects = [open_project(f"p{n}") for n in range(number)]
    for project in projects:
        project.import_catalogue()
    barrier = threading.Barrier(number)

    def run(project: Project):
        barrier.wait(timeout=300)
        return project.run()

    with ThreadPoolExecutor(number) as pool:
        summaries = list(pool.map(run, projects))
    assert all(summary.complete for summary in summaries)
    assert all(whole(project) for project in projects)
    assert all(len(project.detections()) == len(NAMES) for project in projects)
    shared = sum((sum(s.counts.values(), Counter()) for s in summaries), Counter())
    assert shared["done"] == 3 * len(NAMES)  # each once, by one of them


def held_at(project: Project, monkeypatch: pytest.MonkeyPatch, name: str):
    """Run a project in a thread up to the fetch of a star; return the thread's future and what lets it go on."""
    reached, go_on = threading.Event(), threading.Event()
    fetch = VirtualZTF.fetch

    def slow(self, targets, client):
        if name in {target.name for target in targets} and not go_on.is_set():
            reached.set()
            assert go_on.wait(300)
        yield from fetch(self, targets, client)

    monkeypatch.setattr(VirtualZTF, "fetch", slow)
    pool = ThreadPoolExecutor(1)
    future = pool.submit(project.run)
    assert reached.wait(300)
    return future, go_on


def told_when_it_waits(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return what is set once a run waits for another."""
    waiting = threading.Event()

    def noted(seconds):
        waiting.set()
        time.sleep(seconds)

    monkeypatch.setattr(driver, "time", SimpleNamespace(sleep=noted))
    return waiting


def test_a_run_waits_for_what_a_run_beside_it_holds(open_project, monkeypatch):
    first, second = open_project("first"), open_project("second")
    future, go_on = held_at(first, monkeypatch, "s3")
    waiting = told_when_it_waits(monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(second.run)
        waits = waiting.wait(300)
        status = second.status()
        go_on.set()
        assert waits
        assert status.loc["fetch:ztf", "running"] == 2
        assert status["unplanned"].sum() > 0
        assert other.result(300).complete
        assert future.result(300).complete
    assert whole(first)
    assert whole(second)
    assert second.sql("SELECT max(attempts) AS n FROM task")["n"][0] == 1


def test_a_task_that_fails_with_the_run_beside_is_no_success_here(open_project, monkeypatch):
    first, second = open_project("first"), open_project("second")
    future, go_on = held_at(first, monkeypatch, "s3")
    waiting = told_when_it_waits(monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(second.run)
        waits = waiting.wait(300)  # else it might begin after the failure, and try again itself
        monkeypatch.setattr(landing, "_outcome", _failing(landing._outcome))
        go_on.set()
        assert waits
        summary = other.result(300)
        future.result(300)
    assert not summary.complete
    assert {failure["source"] for failure in summary.failures} >= {"s3"}


def _failing(outcome):
    def made(claim, landed, seconds, **facts):
        if claim.target.name == "s3":
            landed.errors[claim.task_id] = ArchiveUnavailable("not today")
        return outcome(claim, landed, seconds, **facts)

    return made


def test_status_counts_sources_without_a_task(open_project):
    few = open_project("search", NAMES[:3])
    few.run()
    more = open_project("search", NAMES)
    more.import_catalogue()
    assert more.status()["unplanned"].to_dict()["fetch:ztf"] == 5
    assert more.run().complete
    assert more.status()["unplanned"].sum() == 0


def planned(project: Project, worker: str, *, lease: float = 60.0, kind: str = "fetch"):
    """Let a worker hold the first two tasks of a step; return the job and its claims."""
    step = next(s for s in project.steps if s.kind == kind)
    with project.session() as session, session.begin():
        plan(session, step, project.id)
        ids = [task for task, _, _ in runnable(session, step, project.id, statuses=["pending"])][:2]
        place = project.workspace
        job = Job(str(place.root), place.database.url, step, 0, lease=lease)
        return job, claim(session, job, worker, ids)


def test_a_lease_that_runs_out_is_taken_over_and_the_late_worker_changes_nothing(open_project):
    project = open_project()
    project.import_catalogue()
    # the worker lives, for its lock is held, but it is silent: its lease is over
    with Heartbeat(project.workspace.database, "silent", 3600.0):
        job, claims = planned(project, "silent", lease=0.0)
        assert len(claims) == 2
        with project.session() as session, session.begin():
            assert release_dead(session) == 0
        assert project.run().complete
        before = project.sql("SELECT id, status, attempts, worker, finished FROM task ORDER BY id").to_dict()
        assert landing.fetch_batch(project.workspace, job, "silent", claims) == Counter()
    after = project.sql("SELECT id, status, attempts, worker, finished FROM task ORDER BY id").to_dict()
    assert after == before


def test_a_lease_that_is_renewed_is_not_taken(open_project):
    project = open_project()
    project.import_catalogue()
    with Heartbeat(project.workspace.database, "lively", 0.3):
        _, claims = planned(project, "lively", lease=0.3)
        first = project.sql("SELECT max(lease) AS t FROM task WHERE worker = 'lively'")["t"][0]
        query = "SELECT max(lease) > CAST(:first AS timestamptz) AS later FROM task WHERE worker = 'lively'"
        while not project.sql(query, first=str(first))["later"][0]:  # ends only by a renewal
            pass
        step = project.steps[0]
        with project.session() as session:
            assert look(session, step, project.id).held + look(session, step, project.id).ready == len(NAMES)
    assert len(claims) == 2


@pytest.mark.parametrize("thief", ["another worker", "another attempt"])
def test_results_of_a_task_that_is_no_longer_ours_are_not_committed(open_project, monkeypatch, thief):
    project = open_project()
    project.run(step="fetch")
    job, claims = planned(project, "me", kind="reduce")
    change = {"another worker": "worker = 'thief'", "another attempt": "attempts = attempts + 1"}[thief]
    reduce = VirtualZTF.reduce
    ids = [c.task_id for c in claims]
    with project.session() as session, session.begin():
        session.execute(
            text("UPDATE task SET status = 'pending', worker = NULL WHERE id = ANY(:i)"), {"i": ids}
        )

    def stolen(self, raws, aux, options):
        with project.session() as session, session.begin():
            session.execute(text(f"UPDATE task SET {change} WHERE id = ANY(:i)"), {"i": ids})
        return reduce(self, raws, aux, options)

    monkeypatch.setattr(VirtualZTF, "reduce", stolen)
    assert run_batch(project.workspace, job, ids, worker="me") == Counter()
    assert project.sql("SELECT count(*) AS n FROM product")["n"][0] == 0
    left = project.sql("SELECT DISTINCT status FROM task WHERE step = 'reduce:ztf' AND attempts > 1")
    assert left["status"].tolist() == ["running"]


def test_an_error_in_fetching_is_never_recorded_as_nothing_there(open_project, monkeypatch):
    def refuse(self, targets, client):
        for target in targets:
            yield target, ArchiveUnavailable("not today")

    project = open_project()
    with monkeypatch.context() as patch:
        patch.setattr(VirtualZTF, "fetch", refuse)
        summary = project.run()
    assert (summary.complete, len(summary.failures)) == (False, len(NAMES))
    assert project.status().loc["fetch:ztf", ["failed", "empty"]].tolist() == [len(NAMES), 0]
    assert project.run().complete


def test_histograms_count_only_tasks_that_are_done(open_project):
    project = open_project()
    project.run()
    full = project.histograms()["transients.snr"].total
    for status in ("failed", "pending", "running", "empty"):
        with project.session() as session, session.begin():
            session.execute(
                text("""UPDATE task SET status = :status WHERE step = 'analyse:transients' AND source_id =
                (SELECT id FROM source WHERE name = 's0')"""),
                {"status": status},
            )
        assert project.histograms()["transients.snr"].total == full * (len(NAMES) - 1) // len(NAMES)


def test_nothing_is_pruned_or_deleted_under_a_run(open_project, monkeypatch):
    project = open_project("search")
    seen = []
    find = Transients.find

    def during(self, products, aux, options):
        if not seen:
            for remove in (
                lambda: prune(project.workspace, role="reduced"),
                lambda: prune(project.workspace),
                lambda: delete(project.workspace, "search"),
            ):
                with pytest.raises(RunError, match="search is running") as caught:
                    remove()
                seen.append(caught.value)
        return find(self, products, aux, options)

    monkeypatch.setattr(Transients, "find", during)
    monkeypatch.setattr(Transients, "find_many", Analysis.find_many)
    assert project.run().complete
    assert len(seen) == 3
    assert prune(project.workspace, role="reduced").products == len(NAMES)
    assert whole(project)
