import base64
import json
from urllib.parse import parse_qs

import numpy as np
import pytest
from support.harps import STAR, Client, adp, row, votable
from support.loopback import Act, FakeTime, Loopback

from virtualobserver.config.credentials import Credentials
from virtualobserver.data.product import Known, Raw, RawRef, Target
from virtualobserver.errors import (
    ArchiveAnswerError,
    ArchiveError,
    ArchiveRefused,
    ArchiveUnavailable,
    ConfigError,
    DataError,
    IncompleteDownload,
)
from virtualobserver.io.http.client import HttpClient, Retry, Timeouts
from virtualobserver.maths.spectra import flags
from virtualobserver.observatories.harps import VirtualHARPS, query
from virtualobserver.observatories.harps.live import Addresses, LiveArchive
from virtualobserver.observatories.harps.login import Login
from virtualobserver.observatory import Aux

NOW = 1_700_000_000.0  # 2023-11-14
SECRET = "sesame-4711"
WORD = "token-value-xyz"


@pytest.fixture
def server():
    with Loopback() as running:
        yield running


def token(exp=NOW + 28800, word=WORD):
    middle = base64.urlsafe_b64encode(json.dumps({"exp": exp}).encode()).decode().rstrip("=")
    return json.dumps({"id_token": f"{word}.{middle}.sig"}).encode()


def archive(server, tmp_path, *, options=None, known=None, time=None, credentials=None, **act_rows):
    time = time or FakeTime()
    http = HttpClient(
        retry=Retry(attempts=3, first_wait=0.01), timeouts=Timeouts(connect=2, read=2, total=5),
        sleep=time.sleep, clock=time.clock,
    )  # fmt: skip
    settings = VirtualHARPS.Settings(reference="never", **(options or {}))
    client = Client(http=http, scratch=tmp_path, known=known)
    where = Addresses(tap=server.url, file=f"{server.url}/file/", token=f"{server.url}/token")
    return LiveArchive(
        client, settings, addresses=where, wall=lambda: NOW,
        credentials=credentials if credentials is not None else Credentials("harps"),
    )  # fmt: skip


def serve(server, *contents, **more):
    """List and serve files; return their rows."""
    rows = [row(n, content, **more) for n, content in enumerate(contents)]
    server.on("/sync", Act(body=votable(rows)))
    for each, content in zip(rows, contents, strict=True):
        server.on(f"/file/{each['dp_id']}", Act(body=content, ranges=True, headers={"ETag": '"1"'}))
    return rows


def asked_for(server, part):
    return [a for a in server.asked if part in a.path]


# ------------------------------------------------------------------------------------------- queries
def test_query_has_the_documented_form():
    assert query.build_query() == (
        "SELECT target_name,dp_id,s_ra,s_dec,t_min,t_exptime,snr,em_min,em_max,em_res_power,access_url,"
        "access_estsize,obs_release_date,proposal_id FROM ivoa.ObsCore WHERE obs_collection='HARPS' AND "
        "dataproduct_type='spectrum'"
    )
    full = query.build_query(
        (86.8212, -51.0665, 30 / 3600), collections=("HARPS", "UVES"), times=(56000.0, 56100.5),
        archived_before="2022-03-21", minimal_snr=10,
    )  # fmt: skip
    assert full.endswith(
        "WHERE obs_collection IN ('HARPS','UVES') AND dataproduct_type='spectrum' AND "
        "INTERSECTS(s_region,CIRCLE('ICRS',86.8212000,-51.0665000,0.0083333))=1 AND snr>=10 AND "
        "dp_id<'ADP.2022-03-21' AND t_min>=56000.000000 AND t_min<56100.500000"
    )


@pytest.mark.parametrize(
    "more",
    [{"collections": ("x'; DROP TABLE sources; --",)}, {"collections": ()}, {"archived_before": "2022' OR 1=1"},
     {"cone": (np.nan, 0.0, 0.1)}],
)  # fmt: skip
def test_fault_20_nothing_of_a_configuration_can_carry_a_query(more):
    with pytest.raises(ConfigError):
        query.build_query(more.pop("cone", None), **more)


def test_payload_is_that_of_a_synchronous_tap_query(server, tmp_path):
    serve(server, adp())
    archive(server, tmp_path, options={"page_rows": 50}).find(STAR)
    (asked,) = asked_for(server, "sync")
    sent = {name: values[0] for name, values in parse_qs(asked.query).items()}
    assert sent == {
        "REQUEST": "doQuery", "LANG": "ADQL", "MAXREC": "50",
        "QUERY": query.build_query((86.8212, -51.0665, 30 / 3600)),
    }  # fmt: skip


def test_capped_answers_are_asked_again_in_halves_of_time(server, tmp_path):
    rows = [row(n, b"x" * 1000) for n in range(4)]
    server.on(
        "/sync", Act(body=votable(rows[:2], status="OVERFLOW")), Act(body=votable(rows[:2], status="OVERFLOW")),
        Act(body=votable(rows[:3])), Act(body=votable(rows[2:])), Act(body=votable([])),
    )  # fmt: skip
    found = archive(server, tmp_path).find()
    assert [each.t_min for each in found] == [56000.1, 56001.1, 56002.1, 56003.1]
    windows = [parse_qs(a.query)["QUERY"][0].rpartition("spectrum'")[2] for a in server.asked]
    assert windows[0] == ""
    assert all("t_min>=" in w for w in windows[1:])
    assert len(windows) == 5


# ------------------------------------------------------------------------------------------- downloads
def test_products_of_a_target_are_got_verified_and_reduced(server, tmp_path):
    rows = serve(server, adp(0), adp(1))
    landed = list(archive(server, tmp_path).fetch(STAR))
    assert [raw.archive_id for _, raw in landed] == [r["dp_id"] for r in rows]
    raw = landed[0][1]
    assert (raw.header["store"], raw.in_place, raw.obscore["t_min"]) == ("full", False, 56000.1)
    survey = VirtualHARPS()
    products = survey.reduce([RawRef.of(r) for _, r in landed], Aux(STAR), survey.settings)
    assert products[0].statistics["n_good"] == 2


def test_windows_are_kept_instead_of_files_if_asked_for_and_the_row_says_so(server, tmp_path):
    serve(server, adp(0))
    ((_, raw),) = archive(server, tmp_path, options={"store": "windows"}).fetch(STAR)
    assert raw.header["store"] == "windows"
    assert raw.path is None
    assert list(tmp_path.rglob("*.fits")) == []
    survey = VirtualHARPS()
    assert survey.reduce([RawRef.of(raw)], Aux(STAR), survey.settings)[0].statistics["n_good"] == 1


def test_only_what_is_new_is_downloaded(server, tmp_path):
    rows = serve(server, adp(0), adp(1), adp(2))
    ids = [row["dp_id"] for row in rows]
    known = {
        ids[0]: Known(ids[0], 7, "fits", {"store": "full"}),
        ids[1]: Known(ids[1], 8, "fits", {"store": "windows"}),
    }
    known[ids[2]] = Known(ids[2], 9, "fits", {"store": "full"})
    landed = list(archive(server, tmp_path, known=known).fetch(STAR))
    # windows of an exposure are not the whole file that is asked for
    assert [(type(raw), raw.archive_id) for _, raw in landed] == [
        (Known, ids[0]),
        (Raw, ids[1]),
        (Known, ids[2]),
    ]
    assert len(asked_for(server, "file")) == 1


def test_mirror_keeps_files_and_a_second_run_downloads_nothing(server, tmp_path):
    serve(server, adp(0), adp(1))
    options = {"downloads": str(tmp_path / "mirror")}
    first = list(archive(server, tmp_path, options=options).fetch(STAR))
    second = list(archive(server, tmp_path, options=options).fetch(STAR))
    assert [raw.path for _, raw in first] == [raw.path for _, raw in second]
    assert all(raw.in_place for _, raw in first)
    assert len(asked_for(server, "file")) == 2


def test_nothing_found_is_no_error(server, tmp_path):
    server.on("/sync", Act(body=votable([])))
    ((_, missing),) = archive(server, tmp_path).fetch(STAR)
    assert "lists no product" in missing.reason


def test_target_without_position_is_an_error_of_that_target(server, tmp_path):
    ((target, error),) = archive(server, tmp_path).fetch(Target("nowhere"))
    assert target.name == "nowhere"
    assert isinstance(error, DataError)


# ------------------------------------------------------------------------------------------- faults
def test_fault_07_429_with_retry_after_is_obeyed(server, tmp_path):
    rows = serve(server, adp(0))
    server.on(f"/file/{rows[0]['dp_id']}", Act(status=429, headers={"Retry-After": "7"}), Act(body=adp(0)))
    time = FakeTime()
    ((_, raw),) = archive(server, tmp_path, time=time).fetch(STAR)
    assert isinstance(raw, Raw)
    assert max(time.slept) >= 7


def test_fault_12_truncated_body_goes_on_where_it_broke_off(server, tmp_path):
    rows = serve(server, adp(0))
    whole = Act(body=adp(0), ranges=True, headers={"ETag": '"1"'})
    server.on(f"/file/{rows[0]['dp_id']}", Act(body=adp(0), cut=50000, headers={"ETag": '"1"'}), whole)
    ((_, raw),) = archive(server, tmp_path).fetch(STAR)
    assert raw.path.read_bytes() == adp(0)
    assert asked_for(server, "file")[1].headers["range"] == "bytes=50000-"


def test_fault_12_a_body_that_stays_short_is_an_error_and_leaves_no_file(server, tmp_path):
    rows = serve(server, adp(0))
    server.on(f"/file/{rows[0]['dp_id']}", Act(body=adp(0), cut=50000))
    ((_, error),) = archive(server, tmp_path).fetch(STAR)
    assert isinstance(error, IncompleteDownload)
    assert rows[0]["dp_id"] in str(error)
    assert list(tmp_path.rglob("*.fits")) == []


def test_size_other_than_listed_is_an_error(server, tmp_path):
    serve(server, adp(0), access_estsize=5261)
    ((_, error),) = archive(server, tmp_path).fetch(STAR)
    assert isinstance(error, IncompleteDownload)
    assert "5261000" in str(error)
    assert len(asked_for(server, "file")) == 2


def broken():
    content = bytearray(adp(0))
    content[-60000] ^= 4
    return bytes(content)


def test_fault_13_wrong_checksum_is_asked_again(server, tmp_path):
    rows = serve(server, adp(0))
    server.on(f"/file/{rows[0]['dp_id']}", Act(body=broken()), Act(body=adp(0)))
    ((_, raw),) = archive(server, tmp_path).fetch(STAR)
    assert raw.path.read_bytes() == adp(0)
    assert "problems" not in raw.header


def test_fault_13_checksum_that_stays_wrong_is_kept_with_its_reason(server, tmp_path):
    rows = serve(server, adp(0))
    server.on(f"/file/{rows[0]['dp_id']}", Act(body=broken()))
    ((_, raw),) = archive(server, tmp_path).fetch(STAR)
    assert "CHECKSUM" in " ".join(raw.header["problems"])
    survey = VirtualHARPS()
    rows = survey.reduce([RawRef.of(raw)], Aux(STAR), survey.settings)[0].data.epochs
    assert rows["quality"][0] & flags.QUALITY_CHECKSUM


def test_fault_08_server_that_goes_away_in_the_middle_keeps_what_came(server, tmp_path):
    rows = serve(server, *(adp(n) for n in range(8)))
    for each in rows[2:]:
        server.on(f"/file/{each['dp_id']}", Act(reset=True))
    landed = list(archive(server, tmp_path).fetch(STAR))
    assert [isinstance(thing, Raw) for _, thing in landed] == [True, True, False]
    error = landed[-1][1]
    assert isinstance(error, ArchiveUnavailable)
    assert error.kind == "retryable"
    assert "3 of 8" in str(error)  # after three in a row nobody else is asked


def test_fault_10_login_page_in_place_of_a_spectrum_is_refused(server, tmp_path):
    rows = serve(server, adp(0))
    server.on(f"/file/{rows[0]['dp_id']}", Act(body=b"<html><title>Sign in</title></html>"))
    ((_, error),) = archive(server, tmp_path).fetch(STAR)
    assert isinstance(error, ArchiveAnswerError)
    assert "Sign in" in str(error)


def test_fault_10_error_of_the_service_reaches_the_target_with_its_words(server, tmp_path):
    body = votable([]).replace(b'value="OK"/>', b'value="ERROR">no such column</INFO>')
    server.on("/sync", Act(body=body))
    ((_, error),) = archive(server, tmp_path).fetch(STAR)
    assert isinstance(error, ArchiveError)
    assert "no such column" in str(error)


# ------------------------------------------------------------------------------------------- login
def test_public_products_are_asked_for_without_credentials_and_proprietary_ones_only_by_wish(
    server, tmp_path
):
    rows = [row(0, adp(0)), row(1, adp(1), obs_release_date="2099-01-01T00:00:00")]
    server.on("/sync", Act(body=votable(rows)))
    server.on("/token", Act(body=token()))
    for n, each in enumerate(rows):
        server.on(f"/file/{each['dp_id']}", Act(body=adp(n)))
    known = Credentials("harps", username="jane", password=SECRET)
    assert len(list(archive(server, tmp_path, credentials=known).fetch(STAR))) == 1
    assert not asked_for(server, "token")
    options = {"proprietary": True, "downloads": str(tmp_path / "other")}
    assert len(list(archive(server, tmp_path, options=options, credentials=known).fetch(STAR))) == 2
    sent = [a.headers.get("authorization") for a in asked_for(server, "file")]
    assert sent[:2] == [None, None]
    assert sent[2].startswith(f"Bearer {WORD}.")
    assert [a.headers.get("authorization") for a in asked_for(server, "sync")] == [None, None]


def test_401_gets_a_new_token_once_and_is_then_an_error_without_secrets(server, tmp_path, capsys):
    rows = [row(0, adp(0), obs_release_date="2099-01-01T00:00:00")]
    server.on("/sync", Act(body=votable(rows)))
    server.on("/token", Act(body=token()))
    server.on(f"/file/{rows[0]['dp_id']}", Act(status=401))
    known = Credentials("harps", username="jane", password=SECRET)
    ((_, error),) = archive(server, tmp_path, options={"proprietary": True}, credentials=known).fetch(STAR)
    assert isinstance(error, ArchiveRefused)
    assert "check the credentials" in str(error)
    assert len(asked_for(server, "token")) == 2
    shown = str(error) + repr(error) + "".join(capsys.readouterr())
    assert SECRET not in shown
    assert WORD not in shown


def test_fault_23_no_secret_is_shown_or_written(server, tmp_path, capsys):
    rows = [row(0, adp(0), obs_release_date="2099-01-01T00:00:00")]
    server.on("/sync", Act(body=votable(rows)))
    server.on("/token", Act(status=500, body=SECRET.encode()), Act(status=403, body=b"wrong password"))
    known = Credentials("harps", username="jane", password=SECRET)
    live = archive(server, tmp_path, options={"proprietary": True}, credentials=known)
    ((_, error),) = live.fetch(STAR)
    shown = f"{error} {error!r} {live!r} {live._login!r}" + "".join(capsys.readouterr())
    assert SECRET not in shown
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert not any(SECRET.encode() in p.read_bytes() for p in files)


def test_token_is_renewed_ten_minutes_early(server):
    server.on("/token", Act(body=token(NOW + 3600)), Act(body=token(NOW + 7200, "second-word")))
    now = [NOW]
    known = Credentials("harps", username="jane", password=SECRET)
    login = Login(HttpClient(), known, url=f"{server.url}/token", wall=lambda: now[0])
    first = login.auth().token
    now[0] += 2900
    assert login.auth().token == first
    now[0] += 200
    assert login.auth().token.startswith("second-word")


def test_login_without_credentials_says_how_to_give_them():
    with pytest.raises(ArchiveRefused, match="VO_HARPS_USERNAME"):
        Login(HttpClient(), Credentials("harps")).auth()
    given = Login(HttpClient(), Credentials("harps", token=WORD)).auth()
    assert given.token == WORD
    assert WORD not in repr(given)


def test_login_answer_without_token_is_an_error(server):
    server.on("/token", Act(body=b'{"hello": 1}'))
    known = Credentials("harps", username="jane", password=SECRET)
    with pytest.raises(ArchiveAnswerError, match="no token"):
        Login(HttpClient(), known, url=f"{server.url}/token").auth()


def test_target_list_of_the_live_archive_is_grouped_the_same_way(server, tmp_path):
    rows = [row(0, b"", target_name="HD39060"), row(1, b"", target_name="bet Pic"), row(2, b"", s_ra=10.0)]
    server.on("/sync", Act(body=votable(rows)))
    found = archive(server, tmp_path, options={"archived_before": "2022-03-21"}).catalogue()
    assert [(r["name"], r["n_spectra"]) for r in found] == [("HD39060", 2), ("star", 1)]
    assert "dp_id<'ADP.2022-03-21'" in parse_qs(server.asked[0].query)["QUERY"][0]
