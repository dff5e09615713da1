"""The list of products by way of astroquery.eso: the old releases' form, and the new ones' TAP."""

import pytest
from astropy.table import Table
from support.harps import STAR, Client, adp, row
from support.loopback import Act, Loopback

from virtualobserver.config.credentials import Credentials
from virtualobserver.data.product import Raw
from virtualobserver.errors import ArchiveAnswerError, ArchiveOverflow, ArchiveUnavailable
from virtualobserver.io.http.client import HttpClient, Retry, Timeouts
from virtualobserver.observatories.harps import VirtualHARPS, eso, query
from virtualobserver.observatories.harps.live import Addresses, LiveArchive

NOW = 1_700_000_000.0
FORM = b"""<html><body><form id="queryform" action="/wdb/wdb/adp/phase3_main/query" method="post"
enctype="multipart/form-data"><input name="coord1"><input name="coord2"><input name="box" value="02 09 00">
<input type="checkbox" name="dataproduct_type" value="Any" checked><input name="mjd_obs"><input name="target">
<input type="checkbox" name="tab_rel_date"><input name="max_rows_returned" value="200"><input name="wdbo" value="html">
<select name="collection_name" multiple><option value="HARPS">HARPS</option></select></form></body></html>"""
HEADER = "Collection,Run/Program ID,Object,RA,DEC,Instrument,DATE OBS,EXPTIME,Product category,ARCFILE,Release Date"


def line(n, *, ra=86.8212, release="2015-01-01"):
    date = f"2012-03-{14 + n:02d}T02:24:00.000"
    return f"HARPS,092.C-0001(A),bet Pic,{ra},-51.0665,HARPS,{date},172.8,SCIENCE.SPECTRUM,ADP.{n},{release}"


def answer(*lines):
    return ("\n" + "\n".join([HEADER, *lines]) + "\n").encode()


@pytest.fixture
def server():
    with Loopback() as running:
        running.on("/wdb/wdb/adp/phase3_main/form", Act(body=FORM, headers={"Content-Type": "text/html"}))
        yield running


def archive(server, tmp_path, **options):
    http = HttpClient(retry=Retry(attempts=2, first_wait=0.01), timeouts=Timeouts(connect=2, read=2, total=5))
    settings = VirtualHARPS.Settings(reference="never", simbad="never", route="astroquery", **options)
    where = Addresses(tap=server.url, file=f"{server.url}/file/", token=f"{server.url}/token", web=server.url)
    client = Client(http=http, scratch=tmp_path)
    return LiveArchive(client, settings, addresses=where, wall=lambda: NOW, credentials=Credentials("harps"))


def forms(server):
    """Return what was filled in, form by form."""
    filled = []
    for one in server.asked:
        if one.path.endswith("query"):
            boundary = b"--" + one.headers["content-type"].partition("boundary=")[2].encode()
            parts = [
                part.strip().split(b"\r\n\r\n", 1) for part in one.body.split(boundary) if b"name=" in part
            ]
            filled.append(
                {
                    head.split(b'name="')[1].split(b'"')[0].decode(): b"".join(rest).decode()
                    for head, *rest in parts
                }
            )
    return filled


def test_form_is_filled_in_with_place_time_and_kind_of_product(server, tmp_path):
    server.on("/wdb/wdb/adp/phase3_main/query", Act(body=answer(line(0))))
    archive(server, tmp_path).find(STAR)
    (form,) = forms(server)
    assert {name: value for name, value in form.items() if value} == {
        "coord1": "86.8212000", "coord2": "-51.0665000", "box": "00 01 00", "dataproduct_type": "spectrum",
        "mjd_obs": "51544.0000..60263.9259", "max_rows_returned": "10000", "collection_name": "HARPS",
        "tab_rel_date": "on", "wdbo": "csv/download",
    }  # fmt: skip


def test_rows_of_the_form_are_products_inside_the_circle(server, tmp_path):
    server.on("/wdb/wdb/adp/phase3_main/query", Act(body=answer(line(0), line(1, ra=86.8350), line(2))))
    found = archive(server, tmp_path).find(STAR)
    assert [one.dp_id for one in found] == ["ADP.0", "ADP.2"]
    assert (found[0].target_name, found[0].proposal, found[0].exptime) == ("bet Pic", "092.C-0001(A)", 172.8)
    assert found[0].t_min == pytest.approx(56000.1)
    assert found[0].is_public("2020-01-01")


def test_products_listed_by_the_form_are_downloaded_and_verified_by_the_framework(server, tmp_path):
    server.on("/wdb/wdb/adp/phase3_main/query", Act(body=answer(line(0), line(1, release="2099-01-01"))))
    server.on("/file/ADP.0", Act(body=adp(0), cut=50000), Act(body=adp(0)))
    ((_, raw),) = archive(server, tmp_path).fetch(STAR)
    assert isinstance(raw, Raw)
    assert raw.path.read_bytes() == adp(0)
    assert raw.obscore["em_min"] is None


def test_nothing_found_is_no_error(server, tmp_path):
    server.on("/wdb/wdb/adp/phase3_main/query", Act(body=b"\n# No data returned !\n"))
    assert archive(server, tmp_path).find(STAR) == []


def test_state_of_a_day_is_kept_to(server, tmp_path):
    rows = [
        line(0).replace("ADP.0", "ADP.2014-09-16T11:04:45.123"),
        line(1).replace("ADP.1", "ADP.2023-01-01T00:00:00"),
    ]
    server.on("/wdb/wdb/adp/phase3_main/query", Act(body=answer(*rows)))
    found = archive(server, tmp_path, archived_before="2022-03-21").find(STAR)
    assert [one.dp_id for one in found] == ["ADP.2014-09-16T11:04:45.123"]


def test_full_answers_are_asked_again_in_halves_of_time(server, tmp_path, monkeypatch):
    monkeypatch.setattr(eso, "_MOST", 2)
    server.on(
        "/wdb/wdb/adp/phase3_main/query", Act(body=answer(line(0), line(1))), Act(body=answer(line(0))),
        Act(body=answer(line(1))),
    )  # fmt: skip
    assert [one.dp_id for one in archive(server, tmp_path).find(STAR)] == ["ADP.0", "ADP.1"]
    assert [form["mjd_obs"] for form in forms(server)][1:] == [
        "51544.0000..55903.9630", "55903.9630..60263.9259"
    ]  # fmt: skip


def test_answers_that_stay_full_are_an_error(server, tmp_path, monkeypatch):
    monkeypatch.setattr(eso, "_MOST", 1)
    server.on("/wdb/wdb/adp/phase3_main/query", Act(body=answer(line(0))))
    with pytest.raises(ArchiveOverflow, match="route: tap"):
        archive(server, tmp_path).find(STAR)


@pytest.mark.parametrize("body", [b"\nno,such,columns\n1,2,3\n", b"\nNETWORKPROBLEM\n"])
def test_answer_that_is_no_list_is_an_error_that_names_the_other_route(server, tmp_path, body):
    server.on("/wdb/wdb/adp/phase3_main/query", Act(body=body))
    with pytest.raises(ArchiveAnswerError, match="route: tap"):
        archive(server, tmp_path).find(STAR)


def test_page_without_a_form_is_an_error_that_names_the_other_route(server, tmp_path):
    server.on("/wdb/wdb/adp/phase3_main/form", Act(body=b"<html>moved</html>"))
    with pytest.raises(ArchiveAnswerError, match="route: tap"):
        archive(server, tmp_path).find(STAR)


def test_archive_that_is_down_is_asked_again_and_then_an_error(server, tmp_path):
    server.on("/wdb/wdb/adp/phase3_main/form", Act(status=503))
    with pytest.raises(ArchiveUnavailable):
        archive(server, tmp_path).find(STAR)
    assert len(server.asked) == 2


class TapEso:
    """astroquery.eso as it is from 0.4.12 on: its answers are tables of ObsCore."""

    ROW_LIMIT = 1000

    def __init__(self, table):
        self.table, self.asked = table, []

    def query_tap(self, adql):
        self.asked.append((adql, self.ROW_LIMIT))
        return self.table


def test_new_releases_are_asked_for_all_rows_in_the_same_words():
    settings = VirtualHARPS.Settings(minimal_snr=10, archived_before="2022-03-21")
    cone = (86.8212, -51.0665, 30 / 3600)
    known = TapEso(Table([row(0, b"x" * 1000), row(1, b"x")]))
    found = list(eso.find_rows(known, cone, settings, (0.0, 1.0)))
    assert [one.t_min for one in found] == [56000.1, 56001.1]
    assert found[0].size == 1000.0
    assert known.asked == [(query.build_query(cone, archived_before="2022-03-21", minimal_snr=10), -1)]
    assert list(eso.find_rows(TapEso(None), cone, settings, (0.0, 1.0))) == []
