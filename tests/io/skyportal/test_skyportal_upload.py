"""Candidates get to a SkyPortal once, whatever happens on the way, and back again."""

import json

import numpy as np
import pytest
from support.skyportal import LOSE, TOKEN, FakeSkyPortal

from virtualobserver.data import TimeSeries
from virtualobserver.errors import (
    ArchiveError,
    ArchiveRefused,
    ArchiveUnavailable,
    ConfigError,
    DataError,
    StoreError,
)
from virtualobserver.io.http.client import HttpClient
from virtualobserver.io.http.deadlines import Timeouts
from virtualobserver.io.skyportal import (
    Candidate,
    Destination,
    Ledger,
    SkyPortalClient,
    requests_of,
    send,
    undo,
)

WHERE = Destination(groups=(7,), instrument=5, origin="virtualobserver:test")
PHOTOMETRY = ("PUT", "/api/photometry")


def curve(n=4, *, unit="uJy", offset=0.0):
    mjd = 58000.0 + np.arange(n)
    flux = offset + np.linspace(100.0, 200.0, n)
    columns = {"mjd": mjd, "flux": flux, "flux_error": np.full(n, 5.0), "flags": np.zeros(n, int)}
    return TimeSeries(columns, band="zr", flux_unit=unit)


def star(name="star 1", n=4, snr=9.0):
    return Candidate(name, 10.5, -20.25, [(curve(n), "zr")], {"kind": "flare", "snr": snr})


@pytest.fixture
def portal():
    with FakeSkyPortal() as running:
        yield running


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "uploads")


def client(portal, token=TOKEN):
    waited = []
    http = HttpClient(timeouts=Timeouts(total=10.0), rate=1000.0, sleep=waited.append)
    return SkyPortalClient(portal.url, token, http=http)


def sent(portal, ledger, *candidates, where=WHERE):
    return send(candidates or [star()], where, client(portal), ledger, project="test")


def test_requests_are_what_the_interface_wants():
    flagged = curve().with_columns(flags=np.array([0, 1, 0, 0]))
    source, (photometry,), annotation = requests_of(
        Candidate("a b/c", 1.0, 2.0, [(flagged, "zr")], {"snr": 9}), WHERE
    )
    assert source == {
        "id": "a_b_c",
        "ra": 1.0,
        "dec": 2.0,
        "group_ids": [7],
        "origin": "virtualobserver:test",
    }
    assert photometry["mjd"] == [58000.0, 58002.0, 58003.0]
    assert {photometry[name] for name in ("filter", "magsys", "obj_id")} == {"ztfr", "ab", "a_b_c"}
    assert (photometry["zp"], photometry["instrument_id"], photometry["group_ids"]) == (23.9, 5, [7])
    assert annotation == {"origin": "virtualobserver:test", "data": {"snr": 9}, "group_ids": [7]}
    json.dumps([source, photometry, annotation], allow_nan=False)


def test_fluxes_arrive_in_microjansky():
    milli = Candidate("s", 1.0, 2.0, [(curve(unit="mJy"), "zr")])
    assert requests_of(milli, WHERE)[1][0]["flux"][0] == pytest.approx(100_000.0)
    with pytest.raises(DataError, match="microjansky"):
        requests_of(Candidate("s", 1.0, 2.0, [(curve(unit="electron/s"), "zr")]), WHERE)


def test_what_cannot_be_sent_is_said_before_anything_is(portal, ledger):
    with pytest.raises(DataError, match="no position"):
        sent(portal, ledger, star(), Candidate("s", np.nan, 2.0))
    with pytest.raises(ConfigError, match="band_names"):
        sent(portal, ledger, star(), Candidate("s", 1.0, 2.0, [(curve(), "")]))
    with pytest.raises(DataError, match="'a_b' and 'a b' are both a_b"):
        sent(portal, ledger, Candidate("a b", 1.0, 2.0), Candidate("a_b", 1.0, 2.0))
    assert not portal.asked
    assert not ledger.uploads()


def test_a_source_is_found_among_all_whose_names_hold_its_name(portal, ledger, monkeypatch):
    monkeypatch.setattr("virtualobserver.io.skyportal.api._ROWS", 2)
    monkeypatch.setattr("virtualobserver.io.skyportal.api._PAGES", 3)
    asked = client(portal)
    portal.saved = {name: {7} for name in ("STAR_1", "star_10", "star_11", "star_12", "star_1")}
    assert asked.is_saved("star_1", 7)
    assert not asked.is_saved("star_1", 8)
    assert not asked.is_saved("star_13", 7)
    portal.saved = {f"xstar_1{n}": {7} for n in range(7)}
    with pytest.raises(DataError, match="longer name"):
        asked.is_saved("star_1", 7)


def test_all_is_sent_once_and_only_news_afterwards(portal, ledger):
    first = sent(portal, ledger)
    assert (first.sources, first.points, first.annotations) == (1, 4, 1)
    assert portal.saved == {"star_1": {7}}
    before = portal.sent()
    assert sent(portal, ledger).id == ""
    assert portal.sent() == before
    second = sent(
        portal, ledger, star(n=6, snr=11.0)
    )  # linspace moves with its length: all but the first are new
    assert second.id != first.id
    assert (second.sources, second.points, second.annotations) == (0, 5, 1)
    assert [one["data"]["snr"] for one in portal.annotations.values()] == [11.0]


def test_a_request_of_photometry_is_not_longer_than_the_server_takes(portal, ledger):
    sent(portal, ledger, star(n=5001))
    assert portal.sent("PUT") == [PHOTOMETRY] * 2
    assert len(portal.points) == 5001


def test_undone_is_what_was_sent_and_nothing_else(portal, ledger):
    portal.saved = {"star_1": {7, 8}, "star_2": {8}}
    done = sent(portal, ledger, star(), star("star 2"))
    other = sent(portal, ledger, star("star 3"))
    gone = undo(done.id, client(portal), ledger)
    assert (gone.sources, gone.points, gone.annotations) == (1, 8, 2)
    assert portal.saved == {"star_1": {7, 8}, "star_2": {8}, "star_3": {7}}
    assert len(portal.points) == 4
    assert [one["obj_id"] for one in portal.annotations.values()] == ["star_3"]
    with pytest.raises(ConfigError, match="undone already"):
        undo(done.id, client(portal), ledger)
    assert sent(portal, ledger).points == 4  # and it can be sent again
    assert ledger.get(other.id).state == "done"


def test_undoing_a_later_upload_lets_its_annotation_be_written_anew(portal, ledger):
    sent(portal, ledger)
    later = sent(portal, ledger, star(snr=12.0))
    undo(later.id, client(portal), ledger)
    assert not portal.annotations
    assert sent(portal, ledger).annotations == 1


@pytest.mark.parametrize("status", [401, 500])
@pytest.mark.parametrize(
    "place", [("POST", "/api/sources"), PHOTOMETRY, ("POST", "/api/sources/star_2/annotations")]
)
def test_after_an_error_in_the_middle_the_same_call_goes_on(portal, ledger, status, place):
    stars = star(), star("star 2")
    portal.fail(*place, *([None, status] if "star_2" not in place[1] else [status]))
    with pytest.raises(ArchiveError, match=str(status)):
        sent(portal, ledger, *stars)
    (broken,) = ledger.uploads()
    assert broken.state == "open"
    done = sent(portal, ledger, *stars)
    assert done.id == broken.id
    assert len(portal.points) == 8
    assert len(portal.annotations) == 2
    assert sum(one == PHOTOMETRY for one in portal.asked) == (3 if place == PHOTOMETRY else 2)
    undo(done.id, client(portal), ledger)
    assert not portal.points
    assert not portal.annotations
    assert portal.saved == {"star_1": set(), "star_2": set()}


@pytest.mark.parametrize(
    "place", [("POST", "/api/sources"), PHOTOMETRY, ("POST", "/api/sources/star_1/annotations")]
)
def test_what_arrived_though_the_answer_was_lost_is_not_there_twice_and_goes(portal, ledger, place):
    portal.fail(*place, LOSE)
    with pytest.raises(ArchiveError):
        sent(portal, ledger)
    if place == PHOTOMETRY:
        with pytest.raises(DataError, match="run the upload again"):
            undo(ledger.uploads()[0].id, client(portal), ledger)
    done = sent(portal, ledger)
    assert len(portal.points) == 4
    assert len(portal.annotations) == 1
    undo(done.id, client(portal), ledger)
    assert not portal.points
    assert not portal.annotations
    assert portal.saved == {"star_1": set()}


def test_undoing_goes_on_after_an_error(portal, ledger):
    done = sent(portal, ledger)
    upload = ledger.get(done.id).sources["star_1"]["photometry"][0]["upload_id"]
    portal.fail("DELETE", f"/api/photometry/bulk_delete/{upload}", LOSE)
    with pytest.raises(ArchiveError):
        undo(done.id, client(portal), ledger)
    assert ledger.get(done.id).state == "undoing"
    undo(done.id, client(portal), ledger)
    assert portal.saved == {"star_1": set()}
    assert ledger.get(done.id).state == "undone"


def test_too_many_requests_are_sent_when_the_server_has_time(portal, ledger):
    portal.fail(*PHOTOMETRY, 429, 429)
    assert sent(portal, ledger).points == 4
    assert portal.sent("PUT") == [PHOTOMETRY] * 3


def test_a_dead_server_and_a_wrong_token_leave_nothing_half_done(portal, ledger):
    with pytest.raises(ArchiveRefused, match="credentials") as refused:
        send([star()], WHERE, client(portal, "wrong-secret-token"), ledger, project="test")
    assert "wrong-secret-token" not in str(refused.value)
    dead = SkyPortalClient("http://127.0.0.1:9", TOKEN, http=HttpClient(sleep=lambda _: None))
    with pytest.raises(ArchiveUnavailable):
        send([star()], WHERE, dead, ledger, project="test")
    assert not portal.saved
    assert not ledger.uploads()
    assert sent(portal, ledger).points == 4


def test_other_groups_are_another_upload(portal, ledger):
    sent(portal, ledger)
    wider = sent(portal, ledger, where=Destination((7, 9), 5, WHERE.origin))
    assert portal.saved == {"star_1": {7, 9}}
    assert len(portal.points) == 4  # those that were there: the server shows them to the new group as well
    assert len(portal.annotations) == 1
    undo(wider.id, client(portal), ledger)
    assert portal.saved == {"star_1": {7}}
    assert len(portal.points) == 4


def test_only_one_program_uploads_at_a_time(ledger):
    with ledger.locked(), pytest.raises(StoreError, match="another upload"), Ledger(ledger.folder).locked():
        pass


def test_records_hold_no_token_and_broken_ones_are_named(portal, ledger):
    done = sent(portal, ledger)
    path = ledger.folder / f"{done.id}.json"
    assert TOKEN not in path.read_text()
    path.write_text("{")
    with pytest.raises(StoreError, match=done.id):
        ledger.uploads()


@pytest.mark.parametrize("url", ["", "fritz.science", "http://fritz.science", "ftp://127.0.0.1"])
def test_addresses_that_are_none_or_would_tell_the_token_are_refused(url):
    with pytest.raises(ConfigError):
        SkyPortalClient(url, TOKEN, http=HttpClient())
