from urllib.parse import parse_qs

import numpy as np
import pytest
from support.loopback import Act, Loopback
from support.real import real_data
from support.ztf import HEADER, OID, Client, csv, reduced, row

from virtualobserver.data.product import Missing, Raw, Target
from virtualobserver.errors import (
    ArchiveAnswerError,
    ArchiveOverflow,
    ArchiveRefused,
    ArchiveUnavailable,
    BadKeyword,
    ConfigError,
    DataError,
    IncompleteDownload,
    InvalidFile,
)
from virtualobserver.io.http.client import HttpClient, Retry
from virtualobserver.observatories.ztf import VirtualZTF, query, table

HTML = b"<!DOCTYPE html><html><body>Down for maintenance</body></html>\n"
OBJECTS = f"oid,ra,dec,filtercode,field,ccdid,qid,ngoodobs\n{OID},10,20,zg,686,3,4,5\n".encode()
TARGET = Target("star", ra=10.0, dec=20.0, mag=18.0)
VOTABLE = (
    '<?xml version="1.0"?><VOTABLE version="1.3"><RESOURCE type="results">'
    '<INFO name="QUERY_STATUS" value="{status}">{words}</INFO><TABLE>{fields}<DATA><TABLEDATA>{rows}'
    "</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
)


def votable(*rows, status="OK", words=""):
    kinds = dict.fromkeys(HEADER.split(","), "double")
    kinds |= {"oid": "long", "expid": "long", "catflags": "int"}
    fields = "".join(
        f'<FIELD name="{n}" datatype="char" arraysize="*"/>' if n in {"filtercode", "ccdid", "qid"}
        else f'<FIELD name="{n}" datatype="{kind}"/>' for n, kind in kinds.items()
    )  # fmt: skip
    cells = "".join("<TR>" + "".join(f"<TD>{c}</TD>" for c in line.split(",")) + "</TR>" for line in rows)
    return VOTABLE.format(status=status, words=words, fields=fields, rows=cells).encode()


def folder_fetch(tmp_path, files, *names, **options):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    targets = [Target(name, ra=10.0, dec=20.0) for name in names]
    return [(t.name, found) for t, found in VirtualZTF(**options).fetch(targets, Client(tmp_path))]


def live(answer, *targets, **options):
    client = Client(answer=answer)
    return list(VirtualZTF(**options).fetch(targets or [TARGET], client)), client


def usual(url, params):
    return OBJECTS if url == query.TAP_URL else csv(row(0), row(1))


# ------------------------------------------------------------------------------------------- folder
def test_mirror_with_damaged_files_gives_named_errors_and_the_others_go_on(tmp_path):
    good = csv(row(0), row(1))
    files = {
        "good.csv": good, "cut.csv": good[:-9], "column.csv": good.replace(b"magerr", b"oops", 1),
        "page.csv": HTML, "header.csv": csv(), "nothing.csv": b"", "last.csv": good,
    }  # fmt: skip
    names = ["good", "cut", "column", "page", "header", "nothing", "absent", "last"]
    found = dict(folder_fetch(tmp_path, files, *names))
    assert {name: type(thing) for name, thing in found.items()} == {
        "good": Raw, "cut": InvalidFile, "column": BadKeyword, "page": InvalidFile, "last": Raw,
        "header": Missing, "nothing": InvalidFile, "absent": Missing,
    }  # fmt: skip
    assert "magerr" in str(found["column"])
    assert "cut.csv" in str(found["cut"])


def test_folder_file_stays_in_place_and_unknown_columns_are_listed(tmp_path):
    files = {"a.csv": csv(row(0) + ",1.5", header=HEADER + ",snr")}
    ((_, raw),) = folder_fetch(tmp_path, files, "a")
    assert (raw.path, raw.in_place, raw.content) == (tmp_path / "a.csv", True, None)
    assert raw.header["unknown_columns"] == ["snr"]
    assert raw.header["oids"] == [OID]
    assert raw.obscore["t_max"] == pytest.approx(58300.0 + 30 / 86400)


def test_fault_18_names_that_no_file_can_have_are_encoded_and_never_leave_the_folder(tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "out.csv").write_bytes(csv(row(0)))
    files = {"a%2Fb.csv": csv(row(0))}
    found = folder_fetch(inside, files, "a/b", "../out")
    assert [(name, type(thing)) for name, thing in found] == [("a/b", Raw), ("../out", Missing)]


def test_missing_folder_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        list(VirtualZTF().fetch([TARGET], Client(tmp_path / "nowhere")))


def test_votable_file_in_a_folder_reduces_like_csv(tmp_path):
    ((_, raw),) = folder_fetch(tmp_path, {"a.xml": votable(row(0), row(1))}, "a")
    (product,) = reduced(VirtualZTF(), [raw], TARGET)
    (same,) = reduced(VirtualZTF(), [Raw("x", "csv", content=csv(row(0), row(1)))], TARGET)
    assert np.array_equal(product.data.flux, same.data.flux)


def test_fault_17_hexadecimal_null_and_long_ids_are_read_exactly():
    big = 1686103400067717
    parsed = table.parse(csv(row(0, oid=big), row(1).replace(",18.0,", ",null,")), "x")
    assert parsed["oid"].tolist() == [big, OID]
    assert parsed["ccdid"].tolist() == [15, 15]
    assert np.isnan(parsed["mag"]).tolist() == [False, True]


def test_fault_17_text_in_a_number_column_is_refused():
    with pytest.raises(BadKeyword, match=r"bad\.csv"):
        table.parse(csv(row(0).replace(",18.0,", ",bright,")), "bad.csv")


# --------------------------------------------------------------------------------------- requests
def test_light_curve_request_has_the_documented_form():
    assert query.build_lightcurve_params([OID, OID + 1], "dr24") == [
        ("ID", str(OID)), ("ID", str(OID + 1)), ("BAD_CATFLAGS_MASK", "0"),
        ("COLLECTION", "ztf_dr24"), ("FORMAT", "CSV"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="100"):
        query.build_lightcurve_params(list(range(OID, OID + 101)), "dr24")


def test_objects_query_has_the_documented_form():
    adql = query.build_objects_query(query.Cone(10.0, -5.5, 2 / 3600), "dr24", ("zg", "zr", "zi"))
    assert adql == (
        "SELECT oid, ra, dec, filtercode, field, ccdid, qid, ngoodobs FROM ztf_objects_dr24 WHERE "
        "CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', 10.0000000, -5.5000000, 0.0005556)) = 1"
    )
    assert "filtercode IN ('zg', 'zr')" in query.build_objects_query(
        query.Cone(1, 2, 0.001), "dr24", ("zr", "zg")
    )


def test_fault_20_release_and_filter_cannot_carry_a_query():
    cone = query.Cone(1, 2, 0.001)
    with pytest.raises(ConfigError):
        query.build_objects_query(cone, "dr24; DROP TABLE x")
    with pytest.raises(ConfigError):
        query.build_objects_query(cone, "dr24", ("zg' OR 1=1 --",))


def test_cone_is_widened_by_proper_motion_and_capped():
    slow = query.cone_of(TARGET, 2.0)
    fast = query.cone_of(Target("fast", ra=10.0, dec=20.0, epoch=2022.5, pmra=0.0, pmdec=3000.0), 2.0)
    assert slow.radius == pytest.approx(2 / 3600)
    assert fast.radius == pytest.approx((2 + 13.5) / 3600)
    assert query.cone_of(Target("x", ra=1.0, dec=2.0), 10000.0).radius == query.MAX_RADIUS


def test_object_id_digits():
    assert table.decode_oid(OID) == (686, "zg", 3, 4)
    assert table.decode_oid(250101100000001) == (250, "zg", 1, 1)
    with pytest.raises(BadKeyword):
        table.decode_oid(12345)


# ------------------------------------------------------------------------------------------- live
def test_live_fetch_asks_objects_then_light_curves_and_keeps_the_release():
    ((_, raw),), client = live(usual)
    assert [url for url, _ in client.asked] == [query.TAP_URL, query.LIGHTCURVE_URL]
    assert client.asked[1][1]["ID"] == str(OID)
    assert (raw.header["release"], raw.header["route"]) == ("dr24", "id")
    assert raw.content == csv(row(0), row(1))


def test_many_objects_are_asked_in_requests_of_at_most_100():
    lines = "".join(f"{OID + i},10,20,zg,686,3,4,5\n" for i in range(230))
    objects = OBJECTS.split(b"\n")[0] + b"\n" + lines.encode()
    found, client = live(lambda url, params: objects if url == query.TAP_URL else csv(row(0)))
    assert [len(params["ID"]) for url, params in client.asked[1:]] == [100, 100, 30]
    assert len({raw.archive_id for _, raw in found}) == 3


@pytest.mark.parametrize(
    "target", [Target("south", ra=1.0, dec=-40.0), Target("faint", ra=1.0, dec=2.0, mag=21.0)]
)
def test_targets_out_of_reach_are_empty_without_a_request(target):
    ((_, missing),), _ = live(None, target)
    assert "not asked for" in missing.reason


def test_objects_without_good_observations_have_no_light_curve():
    found, client = live(lambda url, params: OBJECTS.replace(b",5\n", b",0\n"))
    assert ([type(thing) for _, thing in found], len(client.asked)) == ([Missing], 1)


def test_fault_11_header_only_answers_are_empty():
    ((_, missing),), _ = live(lambda url, params: OBJECTS.split(b"\n")[0] + b"\n")
    assert "objects table" in missing.reason
    ((_, missing),), _ = live(lambda url, params: OBJECTS if url == query.TAP_URL else csv())
    assert "no epochs" in missing.reason


@pytest.mark.parametrize(
    "body",
    [
        HTML,
        votable(status="ERROR", words="unknown table: ztf_objects_dr999"),
        votable(row(0), status="OVERFLOW"),
        b'{"error": "no"}',
    ],
)
@pytest.mark.parametrize("where", [query.TAP_URL, query.LIGHTCURVE_URL])
def test_fault_10_error_inside_a_200_answer_fails_that_target_only(body, where):
    calls = []

    def answer(url, params):
        if url == where:
            calls.append(url)
            if len(calls) == 1:
                return body
        return usual(url, params)

    found, _ = live(answer, Target("bad", ra=10.0, dec=20.0), TARGET)
    kind = ArchiveOverflow if b"OVERFLOW" in body else ArchiveAnswerError
    assert [(t.name, type(thing)) for t, thing in found] == [("bad", kind), ("star", Raw)]


def test_words_of_the_service_are_in_the_error():
    body = votable(status="ERROR", words="unknown table: ztf_objects_dr999")
    ((_, error),), _ = live(lambda url, params: body)
    assert "unknown table: ztf_objects_dr999" in str(error)


def unreachable_tap(url, params):
    if url == query.TAP_URL:
        raise ArchiveUnavailable("down")
    return csv(row(0))


def test_cone_of_the_light_curve_service_is_the_fallback():
    ((_, raw),), client = live(unreachable_tap)
    assert client.asked[-1][1]["POS"].startswith("CIRCLE 10.0000000 20.0000000 ")
    assert raw.header["route"] == "cone"


def test_without_fallback_the_target_fails_retryably():
    ((_, error),), _ = live(unreachable_tap, cone_fallback=False)
    assert error.kind == "retryable"


def test_newest_release_is_asked_once_and_stored():
    def answer(url, params):
        if "TAP_SCHEMA" in params.get("QUERY", ""):
            return b"table_name\nztf_objects_dr9\nztf_objects_dr25\nztf_objects_dr24\n"
        return usual(url, params)

    found, client = live(answer, TARGET, Target("b", ra=10.0, dec=20.0), release="newest")
    assert [raw.header["release"] for _, raw in found] == ["dr25", "dr25"]
    assert sum("TAP_SCHEMA" in params.get("QUERY", "") for _, params in client.asked) == 1


def test_votable_answer_is_accepted():
    answer = votable(row(0), row(1))
    ((_, raw),), _ = live(lambda url, params: OBJECTS if url == query.TAP_URL else answer)
    assert (raw.format, raw.header["epochs"]) == ("votable", 2)


def test_target_without_position_is_an_error_of_that_target():
    found, _ = live(usual, Target("nowhere"), TARGET)
    assert [type(thing) for _, thing in found] == [BadKeyword, Raw]


def test_same_objects_query_is_asked_once_and_its_form_is_one_text():
    first, client = live(usual, TARGET, Target("again", ra=10.0, dec=20.0))
    assert len(first) == 2
    assert [url for url, _ in client.asked] == [query.TAP_URL, query.LIGHTCURVE_URL, query.LIGHTCURVE_URL]
    assert list(client.asked[0][1]) == ["REQUEST", "LANG", "FORMAT", "QUERY"]
    cone = query.Cone(10.0, 20.0, 2 / 3600)
    assert query.build_objects_query(cone, "dr24", ("zr", "zg")) == query.build_objects_query(
        query.Cone(10.00000001, 20.0, 2 / 3600), "dr24", ("zg", "zr")
    )


# ------------------------------------------------------------------------------- over the loopback interface
@pytest.fixture
def archive():
    with Loopback() as loopback:
        yield loopback


def over_http(archive, tmp_path, *targets, fresh=False, **options):
    options |= {"tap_url": f"{archive.url}/tap", "lightcurve_url": f"{archive.url}/lc"}
    retry = Retry(attempts=3, first_wait=0.01)
    with HttpClient(retry=retry, fresh=fresh) as http:
        client = Client(http=http, cache=tmp_path / "cache")
        return list(VirtualZTF(**options).fetch(targets or [TARGET], client))


def paths(archive):
    return [(asked.method, asked.path) for asked in archive.asked]


def test_objects_are_kept_for_a_day_unless_the_archive_shall_be_asked_anew(archive, tmp_path):
    archive.on("/tap", Act(body=OBJECTS), Act(body=OBJECTS.replace(str(OID).encode(), b"42")))
    archive.on("/lc", *[Act(body=csv(row(n))) for n in range(4)])
    for fresh in (False, False, True, False):
        over_http(archive, tmp_path, TARGET, TARGET, fresh=fresh)
    asked = [path for _, path in paths(archive)]
    assert [path for path in asked if path == "/tap"] == ["/tap"] * 2
    objects = [parse_qs(one.query)["ID"] for one in archive.asked if one.path == "/lc"]
    assert objects == [[str(OID)]] * 4 + [["42"]] * 4


def test_fault_12_cut_light_curve_is_asked_again_and_becomes_whole(archive, tmp_path):
    good = csv(row(0), row(1))
    archive.on("/tap", Act(body=OBJECTS[:-3]), Act(body=OBJECTS))
    archive.on("/lc", Act(body=good[:-9]), Act(body=good, cut=40), Act(body=good))
    ((_, raw),) = over_http(archive, tmp_path)
    assert raw.content == good
    assert paths(archive) == [("POST", "/tap")] * 2 + [("GET", "/lc")] * 3


def test_light_curve_that_stays_cut_is_a_retryable_error(archive, tmp_path):
    archive.on("/tap", Act(body=OBJECTS))
    archive.on("/lc", Act(body=csv(row(0))[:-9]))
    ((_, error),) = over_http(archive, tmp_path)
    assert isinstance(error, IncompleteDownload)
    assert error.kind == "retryable"


def test_table_service_is_asked_by_post_and_its_answer_kept_for_the_next_run(archive, tmp_path):
    archive.on("/tap", Act(body=OBJECTS))
    archive.on("/lc", Act(status=404), Act(body=csv(row(0))))
    ((_, error),) = over_http(archive, tmp_path)
    assert isinstance(error, ArchiveRefused)
    form = parse_qs(archive.asked[0].body.decode())
    assert form["QUERY"][0].startswith("SELECT oid, ra, dec")
    assert (form["REQUEST"], form["LANG"], form["FORMAT"]) == (["doQuery"], ["ADQL"], ["csv"])
    ((_, raw),) = over_http(archive, tmp_path)
    assert raw.header["epochs"] == 1
    assert [path for _, path in paths(archive)] == ["/tap", "/lc", "/lc"]


def test_table_service_that_is_down_or_cut_gives_way_to_the_cone(archive, tmp_path):
    archive.on("/lc", Act(body=csv(row(0))))
    for number, act in enumerate([Act(status=503), Act(body=OBJECTS, cut=10)]):
        archive.on("/tap", act)
        ((_, raw),) = over_http(archive, tmp_path / str(number), filters=("zr", "zg"))
        assert raw.header["route"] == "cone"
        asked = parse_qs(archive.asked[-1].query)
        assert asked["POS"] == ["CIRCLE 10.0000000 20.0000000 0.0005556"]
        assert (asked["BANDNAME"], asked["BAD_CATFLAGS_MASK"]) == (["g,r"], ["0"])
        assert (asked["COLLECTION"], asked["FORMAT"]) == (["ztf_dr24"], ["CSV"])


def test_release_that_does_not_exist_is_no_reason_for_the_cone(archive, tmp_path):
    words = "unknown table: ztf_objects_dr999"
    archive.on("/tap", Act(body=votable(status="ERROR", words=words), headers={"Content-Type": "text/xml"}))
    ((_, error),) = over_http(archive, tmp_path, release="dr999")
    assert words in str(error)
    assert (error.kind, len(archive.asked)) == ("permanent", 1)


@pytest.mark.real
def test_recorded_file_lists_the_columns_its_author_added():
    folder = real_data("ztf", "ZTF_lightcurve.csv").parent
    ((_, raw),) = VirtualZTF().fetch([Target("ZTF_lightcurve")], Client(folder))
    assert raw.header["unknown_columns"] == ["", "snr", "peak_mag", "flux", "fluxerr"]
    assert (raw.header["epochs"], raw.header["flagged"]) == (1852, 51)
