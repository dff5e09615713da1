from __future__ import annotations

import errno
import gzip
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from requests.auth import HTTPBasicAuth
from support.loopback import Act, FakeTime, Loopback, wait_until
from support.real import real_data

from virtualobserver.errors import (
    ArchiveAnswerError,
    ArchiveError,
    ArchiveOverflow,
    ArchiveRefused,
    ArchiveUnavailable,
    DiskFull,
    IncompleteDownload,
)
from virtualobserver.io.http import download as download_module
from virtualobserver.io.http.answers import (
    Check,
    expect_csv,
    expect_fits,
    expect_parquet,
    expect_votable,
    not_html,
)
from virtualobserver.io.http.client import HttpClient, Retry, Timeouts
from virtualobserver.io.http.ratelimit import LocalRateLimiter, retry_after
from virtualobserver.secrets import scrub as scrub_text
from virtualobserver.secrets import scrub_url

SECRET = "pl4nted-s3cret/x"
QUOTED = "pl4nted-s3cret%2Fx"
CSV = b"oid,mjd,mag\n" + b"".join(b"%d,%d.5,17.25\n" % (i, 58000 + i) for i in range(400))
BODY = bytes(range(256)) * 800
FAST = Timeouts(connect=1.0, read=0.3, total=0.5)
ONCE = Retry(attempts=1)
VOTABLE = (
    b'<?xml version="1.0"?><VOTABLE version="1.4"><RESOURCE type="results">'
    b'<INFO name="QUERY_STATUS" value="%s">%s</INFO><TABLE><FIELD name="oid" datatype="long"/>'
    b"<DATA><TABLEDATA>%s</TABLEDATA></DATA></TABLE>%s</RESOURCE></VOTABLE>"
)
ROW = b"<TR><TD>1</TD></TR>"


@pytest.fixture
def archive() -> Iterator[Loopback]:
    with Loopback() as loopback:
        yield loopback


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


def client(fake: FakeTime | None = None, **options: Any) -> HttpClient:
    if fake is not None:
        options = {"sleep": fake.sleep, "clock": fake.clock} | options
    return HttpClient(**options)


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def csv_check() -> Check:
    return expect_csv(["oid", "mjd"])


# ---------------------------------------------------------------- an error dressed as an answer

PAGES = [
    (b"<!DOCTYPE html><html><head><title>Down</title></head><body>Maintenance until noon</body></html>",
     "Maintenance until noon"),
    (b"\n <!-- x --><html><body><form>Please log in<input name=user></form></body></html>", "Please log in"),
    (b'{"error": "quota of the day used up"}', "quota of the day used up"),
    (b'{"status": "failed", "detail": "no such release"}', "no such release"),
    (VOTABLE % (b"ERROR", b"unknown table foo", b"", b""), "unknown table foo"),
    (b"ERROR: something broke\n", "something broke"),
]  # fmt: skip


@pytest.mark.parametrize(("page", "words"), PAGES)
@pytest.mark.parametrize(
    "check",
    [csv_check(), expect_votable(), expect_parquet(), expect_fits()],
    ids=["csv", "vot", "pq", "fits"],
)
def test_fault_10_error_inside_a_200_has_its_words_and_is_not_cached(
    archive: Loopback, tmp_path: Path, page: bytes, words: str, check: Check, fake: FakeTime
) -> None:
    url = archive.on("/q", Act(body=page))
    plain_in_binary = page.startswith(b"ERROR") and check.__qualname__ != "expect_csv.<locals>.check"
    with client(fake) as http, pytest.raises(ArchiveError) as caught:
        http.cached_get(url, folder=tmp_path, check=check)
    assert url in str(caught.value)
    assert plain_in_binary or words in str(caught.value)
    assert plain_in_binary or isinstance(caught.value, ArchiveAnswerError)
    assert files(tmp_path) == []
    if isinstance(caught.value, ArchiveAnswerError):
        assert caught.value.kind == "permanent"
        assert len(archive.asked) == 1


def test_fault_10_error_page_never_becomes_a_file(archive: Loopback, tmp_path: Path) -> None:
    target = tmp_path / "lc.csv"
    target.write_bytes(b"old")
    url = archive.on("/f", Act(body=PAGES[0][0]))
    with client() as http, pytest.raises(ArchiveAnswerError, match="Maintenance until noon"):
        http.download(url, target, check=csv_check())
    assert files(tmp_path) == ["lc.csv"]
    assert target.read_bytes() == b"old"


def test_fault_10_good_answer_follows_a_bad_one_that_was_not_cached(
    archive: Loopback, tmp_path: Path
) -> None:
    url = archive.on("/q", Act(body=PAGES[2][0]), Act(body=CSV))
    with client() as http:
        with pytest.raises(ArchiveAnswerError):
            http.cached_get(url, folder=tmp_path, check=csv_check())
        assert http.cached_get(url, folder=tmp_path, check=csv_check()).content == CSV
        kept = http.cached_get(url, folder=tmp_path, check=csv_check())
    assert (kept.content, kept.attempts, kept.empty) == (CSV, 0, False)
    assert len(archive.asked) == 2


def test_fault_10_cached_answer_whose_bytes_changed_is_asked_again(archive: Loopback, tmp_path: Path) -> None:
    url = archive.on("/q", Act(body=CSV))
    with client() as http:
        http.cached_get(url, folder=tmp_path)
        [kept] = tmp_path.iterdir()
        raw = bytearray(kept.read_bytes())
        raw[-5] ^= 1
        kept.write_bytes(raw)
        assert http.cached_get(url, folder=tmp_path).content == CSV
        assert len(archive.asked) == 2
        assert http.cached_get(url, folder=tmp_path, refresh=True).attempts == 1
    assert len(archive.asked) == 3


def test_fault_10_missing_column_is_an_error_that_names_it(archive: Loopback) -> None:
    url = archive.on("/q", Act(body=b"oid,hjd\n1,2\n"))
    with client() as http, pytest.raises(ArchiveAnswerError, match="'mjd'"):
        http.get(url, check=csv_check())


def test_fault_10_xml_that_declares_entities_is_refused(archive: Loopback) -> None:
    bomb = (
        b'<?xml version="1.0"?><!DOCTYPE v [<!ENTITY a "aaaa">]><VOTABLE><INFO name="x">&a;</INFO></VOTABLE>'
    )
    url = archive.on("/q", Act(body=bomb))
    with client() as http, pytest.raises(ArchiveAnswerError, match="entities"):
        http.get(url, check=expect_votable())


RECORDED = [
    ("vo/query/errorstatus.xml", ArchiveAnswerError, "reports an error: ERROR"),
    ("vo/query/overflowstatus.xml", ArchiveOverflow, "row limit"),
    ("vo/query/missingtable.xml", ArchiveAnswerError, "no table"),
    ("vo/query/missingresource.xml", ArchiveAnswerError, "no table"),
    ("vo/query/missingcolumns.xml", ArchiveAnswerError, "no columns"),
    ("irsa/dust/dust-error.xml", ArchiveAnswerError, r"Coordinate \[12\] lookup error: Invalid object name"),
    ("vizier/no_server_error.xml", ArchiveAnswerError, "database is not currently reachable"),
    ("vo/uws/job-error.xml", ArchiveAnswerError, "<job> document"),
]


@pytest.mark.real
@pytest.mark.parametrize(("name", "error", "words"), RECORDED)
@pytest.mark.parametrize("check", [expect_votable(), csv_check(), expect_parquet()], ids=["vot", "csv", "pq"])
def test_fault_10_recorded_error_documents_are_typed_errors(
    archive: Loopback, tmp_path: Path, name: str, error: type[ArchiveError], words: str, check: Check
) -> None:
    url = archive.on("/q", Act(body=real_data("archives", name).read_bytes()))
    with client() as http, pytest.raises(error, match=words):
        http.cached_get(url, folder=tmp_path, check=check)
    assert files(tmp_path) == []


# ---------------------------------------------------------------- overflow, empty


@pytest.mark.parametrize(
    "body",
    [VOTABLE % (b"OK", b"", ROW, b'<INFO name="QUERY_STATUS" value="OVERFLOW">2000 rows</INFO>'),
     VOTABLE % (b"overflow", b"2000 rows", ROW, b"")],
)  # fmt: skip
def test_fault_11_overflow_is_an_error_wherever_it_stands(
    archive: Loopback, tmp_path: Path, body: bytes
) -> None:
    url = archive.on("/q", Act(body=body))
    with client() as http, pytest.raises(ArchiveOverflow, match=r"2000 rows.*MAXREC"):
        http.cached_get(url, folder=tmp_path, check=expect_votable())
    assert files(tmp_path) == []
    assert len(archive.asked) == 1


@pytest.mark.parametrize(
    ("act", "check"),
    [
        (Act(body=b"oid,mjd,mag\n"), csv_check()),
        (Act(body=b"oid,mjd,mag"), csv_check()),
        (Act(body=VOTABLE % (b"OK", b"", b"", b"")), expect_votable()),
        (Act(status=204), csv_check()),
        (Act(status=204), expect_votable()),
        (Act(), csv_check()),
    ],
)
def test_fault_11_header_only_and_204_are_a_lasting_empty(
    archive: Loopback, tmp_path: Path, act: Act, check: Check
) -> None:
    url = archive.on("/q", act)
    with client() as http:
        assert http.cached_get(url, folder=tmp_path, check=check).empty
        assert http.cached_get(url, folder=tmp_path, check=check).empty
        assert len(archive.asked) == 1
        http.cached_get(url, folder=tmp_path, check=check, refresh=True)
    assert len(archive.asked) == 2


@pytest.mark.parametrize(
    ("body", "check"),
    [(CSV, csv_check()), (VOTABLE % (b"OK", b"", ROW, b""), expect_votable()), (CSV, not_html)],
)
def test_fault_11_answer_with_rows_is_not_empty(archive: Loopback, body: bytes, check: Check) -> None:
    url = archive.on("/q", Act(body=body))
    with client() as http:
        answer = http.get(url, check=check)
    assert (answer.empty, answer.content) == (False, body)


@pytest.mark.parametrize("act", [Act(chunked=True), Act(endless=False, headers={"Content-Length": ""})])
def test_fault_11_body_empty_without_the_servers_word_is_not_no_data(archive: Loopback, act: Act) -> None:
    url = archive.on("/q", act)
    with client(retry=ONCE) as http, pytest.raises(IncompleteDownload):
        http.get(url, check=csv_check())


def test_fault_11_file_where_the_server_has_no_content_is_an_error(archive: Loopback, tmp_path: Path) -> None:
    url = archive.on("/f", Act(status=204))
    with client() as http, pytest.raises(ArchiveAnswerError, match="204"):
        http.download(url, tmp_path / "f")
    assert files(tmp_path) == []


def test_a_client_that_asks_anew_leaves_older_answers_aside_and_keeps_its_own(
    archive: Loopback, tmp_path: Path
) -> None:
    url, now = archive.on("/q", Act(body=CSV)), [1e9]
    with client(wall=lambda: now[0]) as http:
        http.cached_get(url, folder=tmp_path)
    now[0] += 5.0
    with client(wall=lambda: now[0], fresh=True) as http:
        for _ in range(2):
            now[0] += 1.0
            http.cached_get(url, folder=tmp_path, max_age=100.0)
            assert len(archive.asked) == 2


def test_fault_11_cached_answer_ages(archive: Loopback, tmp_path: Path) -> None:
    url, now = archive.on("/q", Act(body=CSV)), [1e9]
    with client(wall=lambda: now[0]) as http:
        for later, asked in ((0.0, 1), (9.0, 1), (11.0, 2), (-5.0, 3)):
            now[0] = 1e9 + later
            http.cached_get(url, folder=tmp_path, max_age=10.0)
            assert len(archive.asked) == asked


# ---------------------------------------------------------------- cut, long, resumed


@pytest.mark.parametrize(
    "act",
    [
        Act(body=CSV, length=len(CSV) + 10),
        Act(body=CSV, cut=len(CSV) // 2),
        Act(body=CSV, cut=len(CSV) // 2, chunked=True),
        Act(body=CSV, length=len(CSV) - 7),
        Act(body=CSV[:-9], headers={"Content-Type": "text/csv"}),
        Act(body=gzip.compress(CSV)[:-30], headers={"Content-Encoding": "gzip"}),
        Act(body=b"no gzip at all", headers={"Content-Encoding": "gzip"}),
    ],
    ids=["long", "cut", "chunk", "short", "line", "gzip", "nogzip"],
)
def test_fault_12_cut_answer_is_rejected_and_asked_again(
    archive: Loopback, tmp_path: Path, fake: FakeTime, act: Act
) -> None:
    url = archive.on("/q", act, Act(body=CSV))
    with client(fake, retry=ONCE) as http, pytest.raises(IncompleteDownload) as caught:
        http.cached_get(url, folder=tmp_path, check=csv_check())
    assert url in str(caught.value)
    assert caught.value.kind == "retryable"
    assert files(tmp_path) == []
    archive.on("/q", act, Act(body=CSV))
    with client(fake) as http:
        answer = http.cached_get(url, folder=tmp_path, check=csv_check())
    assert (answer.content, answer.attempts) == (CSV, 2)


def test_fault_12_gzip_on_the_wire_is_undone(archive: Loopback, tmp_path: Path) -> None:
    zipped = Act(body=gzip.compress(CSV), headers={"Content-Encoding": "gzip"})
    url, file_url = archive.on("/q", zipped), archive.on("/f", zipped)
    target = tmp_path / "lc.csv"
    with client() as http:
        assert http.get(url, check=csv_check()).content == CSV
        http.download(
            file_url, target, size=len(CSV), sha256=hashlib.sha256(CSV).hexdigest(), check=csv_check()
        )
    assert target.read_bytes() == CSV
    assert files(tmp_path) == ["lc.csv"]


def test_fault_12_file_named_gz_stays_compressed(archive: Loopback, tmp_path: Path) -> None:
    packed = gzip.compress(CSV)
    url = archive.on("/f", Act(body=packed, headers={"Content-Encoding": "gzip"}))
    with client() as http:
        http.download(url, tmp_path / "f.csv.gz", size=len(packed))
    assert (tmp_path / "f.csv.gz").read_bytes() == packed
    assert files(tmp_path) == ["f.csv.gz"]


def test_fault_12_the_decompressed_file_is_the_one_that_is_synced(
    archive: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = archive.on("/f", Act(body=gzip.compress(CSV), headers={"Content-Encoding": "gzip"}))
    synced: list[int] = []
    true_sync = os.fsync

    def fsync(number: int) -> None:
        synced.append(os.fstat(number).st_ino)
        true_sync(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with client() as http:
        http.download(url, tmp_path / "f")
    assert synced == [(tmp_path / "f").stat().st_ino, tmp_path.stat().st_ino]


@pytest.mark.parametrize(
    "act",
    [
        Act(body=BODY, length=len(BODY) - 1),
        Act(body=BODY[:-1]),
        Act(body=BODY + b"x"),
        Act(body=b"y" * len(BODY)),
    ],
    ids=["length", "short", "long", "other"],
)
def test_fault_12_file_other_than_the_catalogue_promised_is_rejected(
    archive: Loopback, tmp_path: Path, act: Act
) -> None:
    url = archive.on("/f", act)
    with client(retry=ONCE) as http, pytest.raises(IncompleteDownload, match="promised"):
        http.download(url, tmp_path / "f", size=len(BODY), md5=hashlib.md5(BODY).hexdigest())
    assert files(tmp_path) == []


def test_fault_12_broken_file_is_resumed_from_where_it_broke(
    archive: Loopback, tmp_path: Path, fake: FakeTime
) -> None:
    etag = {"ETag": '"v1"'}
    url = archive.on(
        "/f", Act(body=BODY, cut=70_000, headers=etag), Act(body=BODY, headers=etag, ranges=True)
    )
    seen: list[tuple[int, int | None]] = []
    with client(fake, progress=lambda n, total: seen.append((n, total))) as http:
        http.download(url, tmp_path / "f", sha256=hashlib.sha256(BODY).hexdigest())
    assert (tmp_path / "f").read_bytes() == BODY
    assert files(tmp_path) == ["f"]
    assert len(archive.asked) == 2  # what has come is not fetched again
    assert archive.asked[1].headers["range"] == "bytes=70000-"
    assert archive.asked[1].headers["if-range"] == '"v1"'
    assert seen[-1] == (len(BODY), len(BODY))


@pytest.mark.parametrize(("sent", "goes_on"), [(100_000, "bytes=100000-"), (len(BODY) + 5, None)])
def test_fault_12_rest_that_is_not_the_whole_rest_is_no_file(
    archive: Loopback, tmp_path: Path, fake: FakeTime, sent: int, goes_on: str | None
) -> None:
    etag = {"ETag": '"v1"'}
    said = etag | {"Content-Range": f"bytes 70000-{sent - 1}/{len(BODY)}"}
    url = archive.on(
        "/f",
        Act(body=BODY, cut=70_000, headers=etag),
        Act(status=206, body=(BODY + b"more.")[70_000:sent], headers=said),
        Act(body=BODY, headers=etag, ranges=True),
    )
    with client(fake) as http:
        http.download(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY
    assert [asked.headers.get("range") for asked in archive.asked] == [None, "bytes=70000-", goes_on]


def test_fault_12_ignored_range_restarts_from_zero(archive: Loopback, tmp_path: Path, fake: FakeTime) -> None:
    etag = {"ETag": '"v1"'}
    url = archive.on("/f", Act(body=BODY, cut=70_000, headers=etag), Act(body=BODY, headers=etag))
    with client(fake) as http:
        http.download(url, tmp_path / "f")
    assert archive.asked[1].headers["range"] == "bytes=70000-"
    assert (tmp_path / "f").read_bytes() == BODY


def test_fault_12_file_that_changed_meanwhile_is_not_stitched(
    archive: Loopback, tmp_path: Path, fake: FakeTime
) -> None:
    new = BODY[::-1]
    url = archive.on(
        "/f",
        Act(body=BODY, cut=70_000, headers={"ETag": '"v1"'}),
        Act(body=new, headers={"ETag": '"v2"'}, ranges=True),
    )
    with client(fake) as http:
        http.download(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == new


@pytest.mark.parametrize(
    "wrong",
    [
        Act(status=206, body=BODY[5:], headers={"Content-Range": f"bytes 5-{len(BODY) - 1}/{len(BODY)}"}),
        Act(status=206, body=BODY[70_000:]),
        Act(status=416),
    ],
    ids=["other-range", "no-range", "416"],
)
def test_fault_12_wrong_rest_begins_anew(
    archive: Loopback, tmp_path: Path, fake: FakeTime, wrong: Act
) -> None:
    etag = {"ETag": '"v1"'}
    url = archive.on("/f", Act(body=BODY, cut=70_000, headers=etag), wrong, Act(body=BODY, headers=etag))
    with client(fake) as http:
        http.download(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY
    assert ["range" in asked.headers for asked in archive.asked] == [False, True, False]


_NEW = BODY[::-1]
_REST = {"Content-Range": f"bytes 70000-{len(BODY) - 1}/{len(BODY)}"}
_LONGER = {"Content-Range": f"bytes 70000-{len(BODY)}/{len(BODY) + 1}"}


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        ({"ETag": '"v1"'}, {"ETag": '"v2"', **_REST}),
        ({"ETag": '"v1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"},
         {"ETag": '"v1"', "Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT", **_REST}),
        ({"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"},
         {"Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT", **_REST}),
        ({"ETag": '"v1"'}, {"ETag": '"v1"', **_LONGER}),
        ({"ETag": '"v1"'}, {"Content-Range": f"bytes 70000-{len(BODY) - 1}/*"}),
    ],
    ids=["etag", "date-beside-etag", "date", "length", "nothing-said"],
)  # fmt: skip
def test_fault_12_a_rest_of_another_version_is_never_appended(
    archive: Loopback, tmp_path: Path, fake: FakeTime, first: dict[str, str], rest: dict[str, str]
) -> None:
    # a server that ignores If-Range and sends the rest of what it has now
    url = archive.on(
        "/f",
        Act(body=BODY, cut=70_000, headers=first),
        Act(status=206, body=_NEW[70_000:], headers=rest),
        Act(body=_NEW),
    )
    with client(fake) as http:
        http.download(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == _NEW
    assert ["range" in asked.headers for asked in archive.asked] == [False, True, False]


def test_fault_12_a_rest_of_another_version_is_not_appended_by_a_later_run(
    archive: Loopback, tmp_path: Path, fake: FakeTime
) -> None:
    url = archive.on(
        "/f",
        *[Act(body=BODY, cut=70_000, headers={"ETag": '"v1"'}), Act(status=404)],
        Act(status=206, body=_NEW[70_000:], headers={"ETag": '"v2"', **_REST}),
        Act(body=_NEW, headers={"ETag": '"v2"'}),
    )
    with client(fake) as http, pytest.raises(ArchiveRefused):
        http.download(url, tmp_path / "f")
    assert (tmp_path / "f.part").stat().st_size == 70_000
    with client(fake) as http:
        http.download(url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == _NEW


def test_fault_12_part_without_validator_is_not_gone_on_with(
    archive: Loopback, tmp_path: Path, fake: FakeTime
) -> None:
    url = archive.on("/f", Act(body=BODY, cut=70_000), Act(body=BODY, ranges=True))
    with client(fake) as http:
        http.download(url, tmp_path / "f")
    assert "range" not in archive.asked[1].headers
    assert (tmp_path / "f").read_bytes() == BODY


def test_fault_12_answer_longer_than_the_bound_is_refused(archive: Loopback) -> None:
    zipped = Act(body=gzip.compress(bytes(10**6)), headers={"Content-Encoding": "gzip"})
    for url in (archive.on("/zip", zipped), archive.on("/plain", Act(body=bytes(10**6)))):
        with client() as http, pytest.raises(ArchiveAnswerError, match="more than 1000 bytes"):
            http.get(url, max_bytes=1000)
    with client() as http:
        assert len(http.get(archive.on("/zip", zipped), max_bytes=10**6).content) == 10**6


def test_fault_12_206_nobody_asked_for_is_refused(archive: Loopback) -> None:
    url = archive.on("/q", Act(status=206, body=CSV))
    with client() as http, pytest.raises(ArchiveRefused, match="206"):
        http.get(url)


def test_refused_download_leaves_nothing(archive: Loopback, tmp_path: Path, fake: FakeTime) -> None:
    with client(fake) as http:
        with pytest.raises(ArchiveRefused, match="HTTP 404; check the address: no such path"):
            http.download(archive.url + "/nothing", tmp_path / "sub" / "f")
        with pytest.raises(ArchiveUnavailable):
            http.download(archive.on("/down", Act(status=503)), tmp_path / "sub" / "f")
    assert files(tmp_path) == []


def test_two_downloads_of_one_file_at_once_both_succeed(archive: Loopback, tmp_path: Path) -> None:
    url = archive.on("/f", Act(body=BODY, headers={"ETag": '"v1"'}, ranges=True))
    slow = archive.on("/slow", Act(body=BODY[:200], byte_pause=0.002))

    def fetch(address: str) -> None:
        with client() as http:
            http.download(address, tmp_path / "f")

    with ThreadPoolExecutor(3) as pool:
        downloads = []
        for address in (slow, url, url):
            downloads.append(pool.submit(fetch, address))
            wait_until(lambda: bool(archive.asked))
    for one in downloads:
        one.result()
    assert files(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() in (BODY, BODY[:200])


def test_full_disk_is_told_before_the_body_and_leaves_the_old_file(
    archive: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")  # noqa: PYI024
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 90, 10))
    (tmp_path / "f").write_bytes(b"old")
    url = archive.on("/f", Act(body=BODY))
    with client() as http, pytest.raises(DiskFull, match=rf"{len(BODY)} bytes needed, 10 free"):
        http.download(url, tmp_path / "f")
    assert files(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == b"old"


def test_disk_that_fills_up_meanwhile_leaves_nothing(
    archive: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download_module, "_receive", full)
    url = archive.on("/f", Act(body=BODY))
    with client() as http, pytest.raises(DiskFull, match=f"{len(BODY)} bytes needed"):
        http.download(url, tmp_path / "f")
    assert files(tmp_path) == []
    assert len(archive.asked) == 1


# ---------------------------------------------------------------- secrets


def everywhere(exc: BaseException) -> str:
    return "".join(traceback.format_exception(exc)) + repr(exc) + repr(exc.__cause__) + repr(exc.__context__)


ENDINGS = [
    Act(status=401, body=f"password={SECRET} is wrong".encode()),
    Act(status=404, body=f"no {SECRET} here".encode()),
    Act(body=f'{{"error": "bad token={SECRET}"}}'.encode()),
    Act(reset=True),
    Act(body=CSV, cut=10),
    Act(status=302, headers={"Location": f"ftp://me:{QUOTED}@elsewhere/?token={SECRET}"}),
    Act(status=302, headers={"Location": f"http://me:{QUOTED}@127.0.0.1:1/?sig={SECRET}"}),
]


@pytest.mark.parametrize("act", ENDINGS)
def test_fault_23_planted_secret_is_in_no_error_log_or_file(
    archive: Loopback, tmp_path: Path, fake: FakeTime, act: Act, caplog: pytest.LogCaptureFixture
) -> None:
    url = archive.on("/q", act).replace("http://", f"http://me:{QUOTED}@")
    with (
        caplog.at_level("DEBUG", "virtualobserver"),
        client(fake, credentials=HTTPBasicAuth("me", SECRET)) as http,
    ):
        for ask in (
            lambda: http.cached_get(url, folder=tmp_path, params={"token": SECRET}, check=csv_check()),
            lambda: http.post(url, data={"userpass": SECRET}, check=csv_check()),
            lambda: http.download(url, tmp_path / "f", params={"email": SECRET}, check=csv_check()),
        ):
            with pytest.raises(ArchiveError) as caught:
                ask()
            shown = everywhere(caught.value) + repr(http) + repr([record.msg for record in caplog.records])
            assert SECRET not in shown
            assert "pl4nted" not in shown
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"pl4nted" not in path.read_bytes()


def test_fault_23_secret_is_not_kept_with_a_cached_answer(archive: Loopback, tmp_path: Path) -> None:
    url = archive.on(
        "/q", Act(body=CSV, headers={"Set-Cookie": f"sid={SECRET}", "X-Note": f"token={SECRET}"})
    )
    with client(credentials=HTTPBasicAuth("me", SECRET)) as http:
        answer = http.cached_get(url, folder=tmp_path, params={"token": SECRET, "id": 1})
        assert http.cached_get(url, folder=tmp_path, params={"token": "another", "id": 1}).attempts == 0
        assert http.cached_get(url, folder=tmp_path, params={"token": "another", "id": 2}).attempts == 1
    assert SECRET in archive.asked[0].query.replace("%2F", "/")
    assert "pl4nted" not in repr(answer)
    for path in tmp_path.iterdir():
        assert b"pl4nted" not in path.read_bytes()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_fault_23_credentials_stay_with_the_first_host(archive: Loopback, status: int) -> None:
    with Loopback() as other:
        there = other.on("/there", Act(body=CSV))
        url = archive.on("/q", Act(status=status, headers={"Location": there}))
        with client(credentials=HTTPBasicAuth("me", SECRET)) as http:
            assert http.get(url, headers={"X-Api-Key": SECRET}).content == CSV
        assert archive.asked[0].headers["authorization"].startswith("Basic ")
        assert archive.asked[0].headers["x-api-key"] == SECRET
        assert "authorization" not in other.asked[0].headers
        assert SECRET not in repr(other.asked)


def test_fault_23_credentials_follow_on_the_same_host(archive: Loopback) -> None:
    archive.on("/there", Act(body=CSV))
    url = archive.on("/q", Act(status=302, headers={"Location": "/there"}))
    with client(credentials=HTTPBasicAuth("me", SECRET)) as http:
        http.get(url)
    assert [a.path for a in archive.asked] == ["/q", "/there"]
    assert archive.asked[1].headers["authorization"] == archive.asked[0].headers["authorization"]


@pytest.mark.parametrize("status", [307, 308])
def test_fault_23_form_is_not_handed_to_another_host(archive: Loopback, status: int) -> None:
    with Loopback() as other:
        there = other.on("/there", Act(body=CSV))
        url = archive.on("/q", Act(status=status, headers={"Location": there}))
        with client() as http, pytest.raises(ArchiveRefused, match="wants the POST sent to") as caught:
            http.post(url, data={"userpass": SECRET, "ra": 1})
        assert there in str(caught.value)
        assert other.asked == []


def test_post_follows_its_redirects_at_home_and_becomes_get_after_303(archive: Loopback) -> None:
    archive.on("/there", Act(body=CSV))
    kept = archive.on("/kept", Act(status=307, headers={"Location": "/there"}))
    turned = archive.on("/turned", Act(status=303, headers={"Location": "/there"}))
    with client() as http:
        http.post(kept, data={"ra": 1})
        http.post(turned, data={"ra": 1})
    assert [(a.method, a.path, a.body) for a in archive.asked] == [
        ("POST", "/kept", b"ra=1"), ("POST", "/there", b"ra=1"),
        ("POST", "/turned", b"ra=1"), ("GET", "/there", b""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "words"),
    [("file:///etc/passwd", "not http"), ("/q", "redirects"), ("http://[::1", "cannot be asked")],
)
def test_redirects_that_lead_astray_are_refused(archive: Loopback, where: str, words: str) -> None:
    url = archive.on("/q", Act(status=302, headers={"Location": where}))
    with client() as http, pytest.raises(ArchiveRefused, match=words):
        http.get(url)
    assert len(archive.asked) <= 10


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://h/q?token=abc: silent for 60 s", "http://h/q?token=***: silent for 60 s"),
        ("http://h/q?a=1&sig=abc&b=2", "http://h/q?a=1&sig=***&b=2"),
        ("http://me:abc@h/q", "http://***@h/q"),
        ("Authorization: Bearer abc", "Authorization: Bearer ***"),
        ("{'password': 'abc', 'ra': 1}", "{'password': '***', 'ra': 1}"),
        ("VO_SKY_PASSWORD=abc.", "VO_SKY_PASSWORD=***."),
        ("access_token=abc", "access_token=***"),
        ("key: oid; session = 3, auth: failed, sid=4", "key: oid; session = 3, auth: failed, sid=4"),
        ("missing key: 'mjd'", "missing key: 'mjd'"),
        ("5 tokens: a, b", "5 tokens: a, b"),
    ],
)
def test_fault_23_text_keeps_its_harmless_words(text: str, shown: str) -> None:
    assert scrub_text(text) == shown


def test_fault_23_address_keeps_all_but_secrets() -> None:
    assert (
        scrub_url("https://me:pw@h:8/a?x=1&api_key=abc&y=b%20c#f") == "https://h:8/a?x=1&api_key=***&y=b%20c"
    )


# ---------------------------------------------------------------- 429 and Retry-After

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "wait"),
    [
        ("2", 2.0),
        (format_datetime(datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC), usegmt=True), 7.0),
        ("99999", 60.0),
        (format_datetime(datetime(2026, 3, 1, 11, tzinfo=UTC), usegmt=True), 0.0),
        (None, 2.0),
        ("soon", 2.0),
    ],
)
def test_fault_07_waits_as_told_and_counts_attempts(
    archive: Loopback, fake: FakeTime, told: str | None, wait: float
) -> None:
    busy = Act(status=429, headers={} if told is None else {"Retry-After": told})
    url = archive.on("/q", busy, busy, Act(body=CSV))
    with client(fake, wall=NOW.timestamp) as http:
        answer = http.get(url, check=csv_check())
    assert (answer.attempts, len(archive.asked)) == (3, 3)
    assert fake.now - 1000.0 == pytest.approx(2 * wait)
    assert answer.elapsed == pytest.approx(2 * wait)


def test_fault_07_whole_host_is_slowed_and_no_other(archive: Loopback, fake: FakeTime) -> None:
    limiter = LocalRateLimiter(clock=fake.clock, sleep=fake.sleep)
    busy = archive.on("/busy", Act(status=429, headers={"Retry-After": "20"}))
    fine = archive.on("/fine", Act(body=CSV))
    with Loopback() as other, client(fake, limiter=limiter, retry=ONCE) as http:
        with pytest.raises(ArchiveUnavailable, match="429") as caught:
            http.get(busy)
        assert caught.value.kind == "retryable"
        http.get(other.on("/fine", Act(body=CSV)))
        assert fake.now == 1000.0
        with client(fake, limiter=limiter) as second:
            second.get(fine)
        assert fake.now == pytest.approx(1020.0)


def test_fault_07_redirect_takes_a_turn_at_its_host_and_penalty_falls_there(
    archive: Loopback, fake: FakeTime
) -> None:
    limiter = LocalRateLimiter(clock=fake.clock, sleep=fake.sleep)
    with Loopback() as other, client(fake, limiter=limiter, retry=ONCE) as http:
        there = other.on("/there", Act(status=429, headers={"Retry-After": "30"}), Act(body=CSV))
        url = archive.on("/q", Act(status=302, headers={"Location": there}))
        with pytest.raises(ArchiveUnavailable):
            http.get(url)
        http.get(archive.on("/fine", Act(body=CSV)))
        assert fake.now == 1000.0
        http.get(url)
        assert fake.now == pytest.approx(1030.0)


def test_fault_07_penalty_holds_for_threads_that_already_wait() -> None:
    starts: list[float] = []
    limiter = LocalRateLimiter(10.0)

    def wait() -> None:
        limiter.acquire("h")
        starts.append(time.monotonic())

    limiter.acquire("h")
    thread = threading.Thread(target=wait)
    begun = time.monotonic()
    thread.start()
    time.sleep(0.02)
    limiter.penalise("h", 0.3)
    thread.join()
    assert starts[0] - begun >= 0.3


def test_rate_spaces_the_requests_of_one_host(archive: Loopback, fake: FakeTime) -> None:
    url = archive.on("/q", Act(body=CSV))
    with client(fake, rate=4.0) as http:
        for _ in range(5):
            http.get(url)
    assert fake.now - 1000.0 == pytest.approx(1.0)
    with pytest.raises(ValueError, match="above 0"):
        LocalRateLimiter({"h": 0.0})


@pytest.mark.parametrize("text", ["nan", "inf", "", "-inf"])
def test_fault_07_senseless_retry_after_is_ignored(text: str) -> None:
    assert retry_after(text, now=0.0, longest=60.0) is None


def test_fault_07_submission_that_must_not_happen_twice(archive: Loopback, fake: FakeTime) -> None:
    later = {"Retry-After": "1"}
    taken = archive.on("/a", Act(status=429), Act(status=503, headers=later), Act(body=b"ok"))
    with client(fake) as http:
        assert http.post(taken, data={"ra": 1}, repeat=False).attempts == 3
        for act in (Act(status=503), Act(status=500), Act(reset=True), Act(body=CSV, cut=5)):
            archive.asked.clear()
            with pytest.raises(ArchiveError):
                http.post(archive.on("/b", act), data={"ra": 1}, repeat=False)
            assert len(archive.asked) == 1


# ---------------------------------------------------------------- server and network failures


@pytest.mark.parametrize(
    "act", [Act(status=500), Act(status=502), Act(status=503), Act(status=504), Act(reset=True)]
)
def test_fault_08_three_failures_then_well(archive: Loopback, fake: FakeTime, act: Act) -> None:
    url = archive.on("/q", act, act, act, Act(body=CSV))
    with client(fake) as http:
        answer = http.get(url, check=csv_check())
    assert (answer.attempts, answer.content) == (4, CSV)
    waits = [s for s in fake.slept if s > 0]
    assert len(waits) == 3
    for wait, step in zip(waits, (1.0, 2.0, 4.0), strict=True):
        assert step <= wait <= 2 * step


@pytest.mark.parametrize("act", [Act(status=500), Act(status=503), Act(reset=True)])
def test_fault_08_always_failing_ends_within_its_bounds(archive: Loopback, fake: FakeTime, act: Act) -> None:
    url = archive.on("/q", act)
    with client(fake) as http, pytest.raises(ArchiveUnavailable, match=r"\(5 attempts in ") as caught:
        http.get(url)
    assert url in str(caught.value)
    assert caught.value.kind == "retryable"
    assert len(archive.asked) == 5
    archive.asked.clear()
    patient = Retry(attempts=1000, total=100.0)
    before = fake.now
    with client(fake, retry=patient) as http, pytest.raises(ArchiveUnavailable):
        http.get(url)
    assert fake.now - before <= 100.0
    assert 3 <= len(archive.asked) < 20


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422, 501])
def test_fault_08_refusals_are_never_retried(archive: Loopback, fake: FakeTime, status: int) -> None:
    url = archive.on("/q", Act(status=status, body=b"<b>words of the archive</b>"))
    with (
        client(fake) as http,
        pytest.raises(ArchiveRefused, match=f"HTTP {status}.*words of the archive") as caught,
    ):
        http.get(url)
    assert caught.value.kind == "permanent"
    assert (len(archive.asked), fake.slept) == (1, [])


def test_fault_08_tls_error_is_never_retried(archive: Loopback, fake: FakeTime) -> None:
    url = archive.on("/q", Act(body=CSV)).replace("http://", "https://")
    with client(fake) as http, pytest.raises(ArchiveRefused, match="TLS"):
        http.get(url)
    assert (archive.asked, fake.slept) == ([], [])


def test_fault_08_unknown_host_is_retried_and_others_go_on(
    archive: Loopback, fake: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_lookup, asked = socket.getaddrinfo, []

    def lookup(host: Any, *args: Any, **options: Any) -> Any:
        if host == "nowhere.invalid":
            asked.append(host)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return true_lookup(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with client(fake, retry=Retry(attempts=3)) as http:
        with pytest.raises(ArchiveUnavailable, match=r"nowhere\.invalid.*3 attempts"):
            http.get("http://nowhere.invalid/q")
        assert http.get(archive.on("/q", Act(body=CSV))).content == CSV
    assert len(asked) == 3


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://h/x", "http://", "http://[::1", "http://h:99999/"])
def test_senseless_address_is_refused(fake: FakeTime, url: str) -> None:
    with client(fake) as http, pytest.raises(ArchiveRefused):
        http.get(url)
    assert fake.slept == []


# ---------------------------------------------------------------- slow and silent servers

SLOW = [
    (Act(body=CSV, byte_pause=0.05), "0.5 s"),
    (Act(body=CSV, stall=0), "0.3 s"),
    (Act(body=CSV, stall=100), "0.3 s"),
    (Act(endless=True), "0.5 s"),
    (Act(header_pause=0.05), "no answer within"),
]


@pytest.mark.parametrize(("act", "words"), SLOW, ids=["drip", "silent", "stall", "endless", "header"])
def test_fault_09_slow_server_meets_a_deadline_and_nothing_is_saved(
    archive: Loopback, tmp_path: Path, act: Act, words: str
) -> None:
    url = archive.on("/q", act)
    begun = time.monotonic()
    with client(timeouts=FAST, retry=ONCE) as http, pytest.raises(ArchiveUnavailable, match=words) as caught:
        http.cached_get(url, folder=tmp_path)
    assert time.monotonic() - begun < 10.0
    assert url in str(caught.value)
    assert files(tmp_path) == []


@pytest.mark.parametrize("act", [SLOW[0][0], SLOW[3][0]], ids=["drip", "endless"])
def test_fault_09_slow_file_never_gets_its_name(archive: Loopback, tmp_path: Path, act: Act) -> None:
    url = archive.on("/f", act)
    with client(timeouts=FAST, retry=ONCE) as http, pytest.raises(ArchiveUnavailable):
        http.download(url, tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_fault_09_host_that_accepts_nobody_meets_the_connect_deadline() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        quick = Timeouts(connect=0.2, read=5.0, total=5.0)
        with client(timeouts=quick, retry=ONCE) as http, pytest.raises(ArchiveUnavailable, match=r"0\.2 s"):
            http.get(f"http://127.0.0.1:{full.getsockname()[1]}/")
        for filler in fillers:
            filler.close()


def test_fault_09_bound_on_all_attempts_holds(archive: Loopback) -> None:
    url = archive.on("/q", Act(body=CSV, stall=0))
    begun = time.monotonic()
    bounded = Retry(attempts=100, total=0.8, first_wait=0.01)
    with client(timeouts=FAST, retry=bounded) as http, pytest.raises(ArchiveUnavailable, match="attempts"):
        http.get(url)
    assert time.monotonic() - begun < 10.0
    assert len(archive.asked) >= 2


def test_timeouts_must_be_above_zero() -> None:
    with pytest.raises(ValueError, match=r"timeouts\.read is 0"):
        Timeouts(read=0)


def test_fault_09_endless_body_of_a_redirect_is_not_read(archive: Loopback) -> None:
    archive.on("/there", Act(body=CSV))
    url = archive.on("/q", Act(status=302, headers={"Location": "/there"}, endless=True))
    with client(timeouts=FAST, retry=ONCE) as http:
        assert http.get(url).content == CSV


# ---------------------------------------------------------------- killed

_FETCH = """
import sys
from pathlib import Path
from virtualobserver.io.http.client import HttpClient
HttpClient().download(sys.argv[1], Path(sys.argv[2]))
"""


def kill_in_the_middle(url: str, target: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", _FETCH, url, str(target)])
    part = target.with_name(f"{target.name}.part")
    try:
        wait_until(lambda: part.exists() and part.stat().st_size == len(BODY) // 2, 20.0)
    finally:
        child.kill()
    assert child.wait() == -signal.SIGKILL


@pytest.mark.parametrize("validator", [{"ETag": '"v1"'}, {}], ids=["etag", "none"])
def test_fault_01_killed_download_leaves_a_part_that_the_next_run_finishes(
    archive: Loopback, tmp_path: Path, validator: dict[str, str]
) -> None:
    target, half = tmp_path / "f.parquet", len(BODY) // 2
    target.write_bytes(b"old")
    url = archive.on(
        "/f", Act(body=BODY, stall=half, headers=validator), Act(body=BODY, headers=validator, ranges=True)
    )
    kill_in_the_middle(url, target)
    assert target.read_bytes() == b"old"
    assert files(tmp_path) == ["f.parquet", "f.parquet.part", "f.parquet.part.json"]
    assert (tmp_path / "f.parquet.part").read_bytes() == BODY[:half]
    with client() as http:
        http.download(url, target)
    assert target.read_bytes() == BODY
    assert files(tmp_path) == ["f.parquet"]
    assert archive.asked[1].headers.get("range") == (f"bytes={half}-" if validator else None)


def test_fault_01_part_of_another_question_is_not_gone_on_with(archive: Loopback, tmp_path: Path) -> None:
    etag = {"ETag": '"v1"'}
    one = archive.on("/f", Act(body=BODY, cut=1000, headers=etag))
    two = archive.on("/g", Act(body=CSV, headers=etag, ranges=True))
    with client(retry=ONCE) as http:
        with pytest.raises(IncompleteDownload):
            http.download(one, tmp_path / "f")
        assert files(tmp_path) == ["f.part", "f.part.json"]
        http.download(two, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == CSV
