"""Turns at archive hosts and notes on queued requests, shared through the database."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from support.loopback import Act, Loopback
from support.project import settings

from virtualobserver.db.archive import DatabaseSeats, DatabaseSlots, JobBook
from virtualobserver.errors import ArchiveUnavailable
from virtualobserver.io.http.client import HttpClient, Retry, Timeouts
from virtualobserver.io.http.ratelimit import LocalSlots, SlotRateLimiter, SlotSource
from virtualobserver.run.project import Project
from virtualobserver.run.tasks.client import ArchiveClient

RATE = 20.0  # per second

ASK = """
import sys
from virtualobserver.db.archive import DatabaseSlots
from virtualobserver.db.engine import Database
from virtualobserver.io.http.client import HttpClient
from virtualobserver.io.http.ratelimit import SlotRateLimiter

with Database(sys.argv[1]) as database:
    with HttpClient(limiter=SlotRateLimiter(float(sys.argv[3]), DatabaseSlots(database))) as http:
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(10):
            http.get(sys.argv[2])
"""

BODIES = """
import sys
from pathlib import Path
from types import SimpleNamespace
from virtualobserver.db.engine import Database
from virtualobserver.run.tasks import services

services._BODY_RATE = 100.0
with Database(sys.argv[1]) as database:
    workspace = SimpleNamespace(database=database, root=Path(sys.argv[3]))
    with services._bodies(workspace, "skybot").client as http:
        print("ready", flush=True)
        sys.stdin.readline()
        http.get(sys.argv[2])
"""


@pytest.fixture
def slots(database):
    return DatabaseSlots(database)


def test_turns_of_a_host_are_an_interval_apart_and_hosts_do_not_share(slots):
    assert isinstance(slots, SlotSource)
    assert isinstance(LocalSlots(), SlotSource)
    waits = [slots.reserve("a:80", 10.0) for _ in range(3)]
    assert waits[0] == 0.0
    assert waits[1] == pytest.approx(10.0, abs=1.0)
    assert waits[2] == pytest.approx(20.0, abs=1.0)
    assert slots.reserve("b:80", 10.0) == 0.0
    # without a rate of its own a caller waits for nothing but a block, and takes no turn
    assert slots.reserve("c:80", 0.0) == 0.0


def test_fault_07_block_holds_for_all_who_ask_the_host_and_ends(slots, database):
    beside = DatabaseSlots(database)
    beside.block("a:80", 30.0)
    beside.block("a:80", 5.0)  # a shorter word takes nothing back
    assert slots.blocked("a:80") == pytest.approx(30.0, abs=1.0)
    assert slots.reserve("a:80", 1.0) == pytest.approx(30.0, abs=1.0)
    assert slots.blocked("b:80") == 0.0
    slots.block("c:80", 0.05)
    time.sleep(0.1)
    assert slots.blocked("c:80") == 0.0


def test_fault_07_who_waits_for_a_turn_queues_again_behind_a_block():
    class Script:
        """The first turn is in a second, and while we wait the host is blocked."""

        def __init__(self):
            self.turns, self.blocks = [1.0, 30.0], [30.0, 0.0]

        def reserve(self, host, interval):
            return self.turns.pop(0)

        def block(self, host, seconds): ...

        def blocked(self, host):
            return self.blocks.pop(0)

    slept = []
    SlotRateLimiter(1.0, Script(), sleep=slept.append).acquire("h")
    assert slept == [1.0, 30.0]


def together(script, count, *arguments):
    """Run a script in so many processes, which begin at the same time."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    workers = [subprocess.Popen(command, **pipes) for _ in range(count)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    begun = time.monotonic()
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert [worker.wait(60) for worker in workers] == [0] * count
    spent = time.monotonic() - begun
    for worker in workers:
        worker.stdin.close()
        worker.stdout.close()
    return spent


def test_two_processes_together_stay_under_the_rate(url):
    with Loopback() as archive:
        spent = together(ASK, 2, url, archive.on("/q", Act(body=b"x")), RATE)
        assert len(archive.asked) == 20
        # 20 requests have 19 intervals between them; each process alone would be through in half that
        assert spent >= 19 / RATE


def test_workers_together_have_two_requests_to_skybot_under_way_and_no_more(url, tmp_path):
    begun, slow = [], Act(body=b"x", header_delay=1.0)

    def answer(body):
        begun.append(time.monotonic())
        return slow

    with Loopback() as archive:
        archive.choose("/cone", answer)
        together(BODIES, 3, url, archive.url + "/cone", tmp_path)
    first, _, third = sorted(begun)
    assert third - first >= 0.99 * slow.header_delay  # until one of the two has its answer


def test_who_waits_for_a_seat_at_a_host_has_it_when_another_leaves(database):
    waited = []

    def leave(seconds):
        waited.append(seconds)
        one.__exit__(None, None, None)

    one, two = DatabaseSeats(database, 1)("a:80"), DatabaseSeats(database, 1, sleep=leave)
    one.__enter__()
    with two("b:80"):
        assert not waited
    with two("a:80"):
        assert len(waited) == 1
    with pytest.raises(ZeroDivisionError), two("a:80"):
        _ = 1 / 0
    with two("a:80"):
        assert len(waited) == 1


def test_client_of_a_run_takes_its_turns_from_the_database(workspace, tmp_path):
    with Loopback() as archive:
        address = archive.on("/q", Act(status=429, headers={"Retry-After": "0.2"}), Act(body=b"x"))
        conf = settings(tmp_path, ["a"], observatories={"ztf": {"rate": 5.0, "timeout": 7.0}})
        with Project.open(conf, data=workspace.root, url=workspace.database.url) as project:
            client = ArchiveClient(project.steps[0], project.workspace)
            with client.http as http:
                begun = time.monotonic()
                assert http.get(address).attempts == 2
                http.get(address)
                assert time.monotonic() - begun >= 0.4
                assert (http.timeouts.total, http.timeouts.header) == (7.0, 7.0)
            found = project.sql("SELECT host, blocked IS NOT NULL AS blocked FROM rate_slot")
            assert found.to_dict("records") == [
                {"host": archive.url.removeprefix("http://"), "blocked": True}
            ]
            assert client.cache.is_relative_to(workspace.root)


def test_fault_23_account_of_forced_photometry_is_not_sent_to_every_archive_of_ztf(
    workspace, tmp_path, monkeypatch
):
    monkeypatch.setenv("VO_ZTF_USERNAME", "astronomer")
    monkeypatch.setenv("VO_ZTF_PASSWORD", "planted-secret")
    conf = settings(tmp_path, ["a"], observatories={"ztf": {}})
    with (
        Loopback() as archive,
        Project.open(conf, data=workspace.root, url=workspace.database.url) as project,
    ):
        with ArchiveClient(project.steps[0], project.workspace).http as http:
            http.get(archive.on("/q", Act(body=b"x")))
            http.get(archive.on("/q", Act(body=b"x")), login=("everybody", "login"))
        first, second = archive.asked
        assert "authorization" not in first.headers
        assert second.headers["authorization"].startswith("Basic ")


def test_notes_on_a_request_are_kept_replaced_and_separate_for_each_survey(database):
    book = JobBook(database, "ztf")
    assert book.get("q") is None
    book.put("q", {"state": "submitted"})
    time.sleep(0.05)
    note = book.get("q")
    assert note["state"] == "submitted"
    assert 0.04 < note["age"] < 30.0
    book.put("q", {"state": "ready", "path": "/x"})
    assert {k: v for k, v in JobBook(database, "ztf").get("q").items() if k != "age"} == {
        "state": "ready",
        "path": "/x",
    }
    assert JobBook(database, "other").get("q") is None


def test_fault_09_service_that_thinks_long_is_waited_for_but_silence_within_the_body_is_not():
    patient = Timeouts(connect=1.0, read=0.2, total=3.0)
    hasty = Timeouts(connect=1.0, answer=0.2, read=0.2, total=3.0)
    with Loopback() as archive:
        slow = archive.on("/slow", Act(body=b"x" * 10, header_delay=0.6))
        stalls = archive.on("/stalls", Act(body=b"x" * 10, stall=4))
        with HttpClient(timeouts=patient, retry=Retry(attempts=1)) as http:
            assert http.get(slow).content == b"x" * 10
            with pytest.raises(ArchiveUnavailable, match=r"silent for 0\.2 s"):
                http.get(stalls)
        with (
            HttpClient(timeouts=hasty, retry=Retry(attempts=1)) as http,
            pytest.raises(ArchiveUnavailable, match=r"no answer within 0\.2 s"),
        ):
            http.get(slow)
