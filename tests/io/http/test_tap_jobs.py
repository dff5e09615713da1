"""Queries that an archive works on in its queue: asked, waited for, fetched, and failed, over HTTP."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.loopback import Act, Loopback
from support.real import real_data

from virtualobserver.catalog.refcat import open_refcat
from virtualobserver.db.archive import DatabaseSlots
from virtualobserver.errors import ArchiveRefused, ArchiveUnavailable
from virtualobserver.io.http.client import HttpClient, Retry
from virtualobserver.io.http.ratelimit import SlotRateLimiter
from virtualobserver.io.http.tap import tap_job
from virtualobserver.run.tasks import services
from virtualobserver.run.tasks.services import build_services

ADQL = "SELECT source_id, ra, dec FROM gaiadr3.gaia_source"
ROW = b"""<VOTABLE version="1.3"><RESOURCE type="results"><INFO name="QUERY_STATUS" value="OK"/><TABLE>
<FIELD name="source_id" datatype="long"/><FIELD name="ra" datatype="double"/><FIELD name="dec" datatype="double"/>
<DATA><TABLEDATA><TR><TD>4472832130942575872</TD><TD>10.0</TD><TD>20.0</TD></TR></TABLEDATA></DATA></TABLE>
</RESOURCE></VOTABLE>"""
FAILED = b"""<VOTABLE><RESOURCE type="results"><INFO name="QUERY_STATUS" value="ERROR">no such column: mass</INFO>
</RESOURCE></VOTABLE>"""


@pytest.fixture
def archive():
    with Loopback() as there:
        yield there


def queue(archive, *phases, result=ROW):
    """Set up a service that goes through phases, and return its address."""
    archive.on("/tap/async", Act(status=303, headers={"Location": f"{archive.url}/tap/async/7"}))
    archive.on("/tap/async/7", Act(body=b"<uws:job/>"))
    archive.on("/tap/async/7/phase", *(Act(body=phase.encode()) for phase in phases))
    archive.on("/tap/async/7/results/result", Act(body=result))
    archive.on("/tap/async/7/error", Act(body=FAILED))
    return f"{archive.url}/tap"


def asked(archive, url, **options):
    waits = []
    client = HttpClient(rate=1000, retry=Retry(attempts=2), sleep=lambda _: None)
    with client:
        return tap_job(client, url, ADQL, sleep=waits.append, **options), waits


def test_a_job_is_submitted_once_waited_for_and_its_whole_answer_read(archive):
    table, waits = asked(archive, queue(archive, "PENDING", "QUEUED", "EXECUTING", "COMPLETED"))
    assert int(table["source_id"][0]) == 4472832130942575872
    assert waits == [1.0, 1.5, 2.25]
    (submitted,) = [one for one in archive.asked if one.method == "POST"]
    assert b"PHASE=RUN" in submitted.body
    assert b"QUERY=SELECT" in submitted.body


@pytest.mark.parametrize("phase", ["ERROR", "ABORTED"])
def test_a_job_that_fails_says_why(archive, phase):
    with pytest.raises(ArchiveRefused, match=rf"{phase}: .*no such column: mass.*SELECT source_id"):
        asked(archive, queue(archive, "EXECUTING", phase))


def test_a_job_that_does_not_end_is_given_up(archive):
    times = iter(range(0, 100_000, 60))
    with pytest.raises(ArchiveUnavailable, match="EXECUTING after 300 s"):
        asked(archive, queue(archive, "EXECUTING"), patience=300.0, clock=lambda: next(times))


def test_an_answer_that_was_cut_by_the_service_is_no_answer(archive):
    cut = ROW.replace(b"</RESOURCE>", b'<INFO name="QUERY_STATUS" value="OVERFLOW"/></RESOURCE>')
    with pytest.raises(Exception, match=r"(?i)overflow"):
        asked(archive, queue(archive, "COMPLETED", result=cut))


@pytest.mark.real
def test_a_recorded_answer_of_gaia_is_read(archive):
    content = real_data("archives", "gaia", "job_1.vot").read_bytes()
    table, _ = asked(archive, queue(archive, "COMPLETED", result=content))
    assert list(table.colnames) == ["alpha", "delta", "source_id", "table1_oid"]
    assert len(table) == 3


def test_stars_of_the_live_archive_come_through_the_client_that_is_given(archive, tmp_path, monkeypatch):
    url = queue(archive, "COMPLETED")
    monkeypatch.setattr("virtualobserver.catalog.refcat.TAP_GAIA", url)
    made = []

    def client():
        made.append(HttpClient(rate=1000))
        return made[-1]

    count = ROW.replace(b"4472832130942575872", b"1")
    archive.on("/tap/async/7/results/result", Act(body=ROW), Act(body=count))
    stars = open_refcat("gaia@dr3", tmp_path, http=client).cone(10.0, 20.0, 0.1, 2016.0)
    assert stars.source_id.tolist() == [4472832130942575872]
    assert len(made) == 2  # the rows, and their number


def test_the_service_of_a_run_takes_turns_with_all_workers(tmp_path):
    database = object()
    step = SimpleNamespace(
        plugin="mine",
        instance=SimpleNamespace(services=("refcat",), settings=SimpleNamespace(refcat="gaia@dr3")),
    )
    served = build_services(SimpleNamespace(root=tmp_path, database=database), step)
    assert served["refcat"].name == "gaia@dr3"
    client = services._SlottedClients(database)()
    assert isinstance(client._limiter, SlotRateLimiter)
    assert isinstance(client._limiter._slots, DatabaseSlots)
