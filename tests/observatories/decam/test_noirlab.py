"""The NOIRLab archive: recorded answers, and a server that misbehaves."""

import hashlib
import json
from urllib.parse import parse_qs

import numpy as np
import pytest
from pydantic import ValidationError
from support.loopback import Act, FakeTime, Loopback
from support.real import real_data

from virtualobserver.config.credentials import Credentials
from virtualobserver.data.product import Target
from virtualobserver.errors import (
    ArchiveAnswerError,
    ArchiveOverflow,
    ArchiveRefused,
    ArchiveUnavailable,
    IncompleteDownload,
)
from virtualobserver.io.http.client import HttpClient, Retry, Timeouts
from virtualobserver.observatories.decam.noirlab.checks import Proprietary
from virtualobserver.observatories.decam.noirlab.client import NOIRLabArchive
from virtualobserver.observatories.decam.noirlab.listing import ArchiveFile, join_exposures, parse_rows
from virtualobserver.observatories.decam.noirlab.question import (
    ArchiveSettings,
    PointedSettings,
    build_search,
)
from virtualobserver.observatories.decam.simulate import SimulationSettings, exposure_files, simulate

PASSWORD = "sesame-4711"
TOKEN = "eyJ0.mock.token"
FIND = "/api/adv_search/find/"


@pytest.fixture
def server():
    with Loopback() as running:
        running.on("/api/version/", Act(body=b"7.0"))
        yield running


@pytest.fixture(scope="module")
def files():
    """Return the files of one small exposure by product, and their sums."""
    sim = SimulationSettings(exposures=0, ccds=["N24", "S4"], size=(60, 80), density=300)
    exposure = next(simulate(Target("field", kind="field"), np.random.default_rng(1), sim))
    return {product: (name, content) for product, (name, content) in exposure_files(exposure).items()}


def archive(server, *, credentials=None, **options):
    time = FakeTime()
    http = HttpClient(
        retry=Retry(attempts=3, first_wait=0.01), timeouts=Timeouts(connect=2, read=0.3, total=5),
        sleep=time.sleep, clock=time.clock,
    )  # fmt: skip
    settings = ArchiveSettings(url=server.url, **options)
    return NOIRLabArchive(http, settings, credentials=credentials or Credentials("decam"))


def listing(*rows, prefix="file:"):
    head = {"META": {"endpoint": "adv_search/find"}, "PARAMETERS": {}, "HEADER": {}}
    return json.dumps(
        [head, *({prefix + name: value for name, value in row.items()} for row in rows)]
    ).encode()


def row(product, number=1058801, version=1, *, content=b"x", **more):
    letter = {"image": "i", "dqmask": "d", "wtmap": "w"}[product]
    return {
        "md5sum": hashlib.md5(content + f"{product}{number}{version}".encode()).hexdigest(),
        "archive_filename": f"/net/pipe/20211211/ct4m/2021B-0023/c4d_211211_015142_oo{letter}_VR_v{version}.fits.fz",
        "prod_type": product, "EXPNUM": number, "caldat": "2021-12-11", "ra_center": 92.2, "dec_center": -70.7,
        "filesize": len(content), "release_date": "2023-06-11", **more,
    }  # fmt: skip


def file_of(content, *, name="c4d_211211_015142_ooi_VR_v1.fits.fz", release=""):
    return ArchiveFile(hashlib.md5(content).hexdigest(), name, "image", 1, len(content), release, {})


# ------------------------------------------------------------------------------------------- questions and answers
def test_question_is_what_the_archive_wants_and_names_instrument_and_proc_type_for_header_keywords():
    settings = ArchiveSettings(
        caldat=("2021-12-10", "2021-12-20"), proposal="2021B-0023", expnum=(1058800, 1059900)
    )
    question = build_search(settings, cone=(92.25, -70.74, 1.0))
    assert "EXPNUM" in question["outfields"]
    box = question["search"].pop()
    assert question["search"] == [
        ["instrument", "decam"], ["proc_type", "instcal"], ["prod_type", "image", "dqmask", "wtmap", "weight"],
        ["ifilter", "VR", "contains"], ["exposure", 20.0, 20.0], ["caldat", "2021-12-10", "2021-12-20"],
        ["proposal", "2021B-0023"], ["EXPNUM", 1058800, 1059900], ["dec_center", -71.74, -69.74],
    ]  # fmt: skip
    assert box[0] == "ra_center"
    assert box[2] - box[1] == pytest.approx(2 / np.cos(np.radians(71.74)))


def test_pointed_exposures_have_a_question_of_their_own_and_the_programme_of_the_drifts():
    settings = ArchiveSettings(
        caldat=("2021-12-10", "2021-12-20"), proposal="2021B-0023", pointed={"exptime": (30, 400)}
    )
    assert build_search(settings, pointed="g")["search"][3:] == [
        ["ifilter", "g ", "startswith"], ["exposure", 30.0, 400.0], ["proposal", "2021B-0023"],
    ]  # fmt: skip
    own = settings.model_copy(update={"pointed": PointedSettings(proposal="2019B-0071", expnum=(1, 2))})
    assert build_search(own, pointed="r")["search"][3:] == [
        ["ifilter", "r ", "startswith"], ["proposal", "2019B-0071"], ["EXPNUM", 1, 2],
    ]  # fmt: skip


def test_box_across_zero_hours_or_at_a_pole_leaves_right_ascension_open():
    for ra, dec in ((0.1, 10.0), (359.9, -10.0), (50.0, -89.5)):
        names = [condition[0] for condition in build_search(ArchiveSettings(), cone=(ra, dec, 1.0))["search"]]
        assert "dec_center" in names
        assert "ra_center" not in names


@pytest.mark.parametrize(
    "wrong",
    [{"caldat": ("2021-12-20", "2021-12-10")}, {"caldat": ("11 December", "2021-12-20")}, {"expnum": (9, 8)}],
)
def test_a_range_that_is_none_is_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ArchiveSettings(**wrong)


def test_recorded_answers_of_version_7_are_read_under_bare_names():
    recorded = json.loads(
        real_data("decam", "noirlab_api", "astroquery_noirlab_expected.json").read_text(encoding="utf-8")
    )
    rows = parse_rows(json.dumps(recorded["query_file_meta_raw"]).encode(), "recorded")
    assert [one["proc_type"] for one in rows] == ["skysub", "instcal", "resampled"]
    assert rows[1]["md5sum"] == "0001e5a5bcf039ebf0c53a6da32e8888"
    assert len(parse_rows(json.dumps(recorded["query_file_meta_raw_minimal"]).encode(), "recorded")) == 5
    hdus = parse_rows(json.dumps(recorded["query_hdu_metadata_raw"]).encode(), "recorded")
    assert hdus[0]["CD1_2"] == 7.28535892432e-05
    assert hdus[0]["AIRMASS"] == 1.04


def test_recorded_answers_of_version_6_mean_the_same(server):
    recorded = json.loads(
        real_data("decam", "noirlab_api", "recorded_behaviour.json").read_text(encoding="utf-8")
    )
    old = recorded["find_core_and_aux"]["response_rows_example_v6"]
    assert parse_rows(listing(*old, prefix=""), "v6") == parse_rows(listing(*old), "v7") == old
    server.on("/api/version/", Act(body=b"6.0"))
    server.on(FIND, Act(body=listing(row("image"), row("dqmask"), prefix="")))
    (one,) = archive(server).exposures()
    assert (one.expnum, one.caldat, one.wtmap) == (1058801, "2021-12-11", None)
    assert one.dqmask is not None


def test_recorded_error_is_told_in_the_archives_words(server):
    recorded = json.loads(
        real_data("decam", "noirlab_api", "recorded_behaviour.json").read_text(encoding="utf-8")
    )
    server.on(FIND, Act(body=json.dumps(recorded["error_unknown_search_field"]).encode()))
    with pytest.raises(ArchiveAnswerError, match="AUX fields"):
        archive(server).find()
    assert len([a for a in server.asked if a.path == FIND]) == 1  # asking again would not help


@pytest.mark.parametrize("said", [b"8.0", b"8", b'"8.1"'])
def test_a_newer_interface_is_refused_before_anything_is_asked(server, said):
    server.on("/api/version/", Act(body=said))
    with pytest.raises(ArchiveAnswerError, match="newer than 7"):
        archive(server).find()
    assert [a.path for a in server.asked] == ["/api/version/"]


def test_pages_are_asked_for_until_one_is_not_full(server):
    rows = [row("image", number) for number in range(5)]
    server.on(FIND, Act(body=listing(*rows[:2])), Act(body=listing(*rows[2:4])), Act(body=listing(rows[4])))
    found = archive(server, page_rows=2).find()
    assert [one.expnum for one in found] == [0, 1, 2, 3, 4]
    asked = [a for a in server.asked if a.path == FIND]
    assert [parse_qs(a.query)["offset"] for a in asked] == [["0"], ["2"], ["4"]]
    assert asked[0].headers["content-type"] == "application/json"
    assert json.loads(asked[0].body)["search"][0] == ["instrument", "decam"]


def test_a_listing_that_repeats_itself_or_is_too_long_is_no_listing(server):
    rows = [row("image", number) for number in range(4)]
    server.on(FIND, Act(body=listing(*rows[:2])))
    with pytest.raises(ArchiveAnswerError, match="repeats"):
        archive(server, page_rows=2).find()
    server.on(FIND, Act(body=listing(*rows[:2])), Act(body=listing(*rows[2:])))
    with pytest.raises(ArchiveOverflow, match="more than 4"):
        archive(server, page_rows=2, most_rows=4).find()


def test_nothing_listed_is_an_answer(server):
    server.on(FIND, Act(body=listing()))
    assert archive(server).exposures() == []


def test_exposures_are_joined_by_number_in_the_highest_version_of_the_image():
    rows = [
        row("image", version=1), row("image", version=10), row("image", version=9), row("dqmask", version=1),
        row("dqmask", version=10), row("wtmap", version=9), row("dqmask", 1058802),
        row("image", 1058803, EXPNUM="1058803"),
    ]  # fmt: skip
    files = [
        ArchiveFile(
            one["md5sum"],
            one["archive_filename"].rpartition("/")[2],
            one["prod_type"],
            int(one["EXPNUM"]),
            1,
            "",
            one,
        )
        for one in rows
    ]
    first, second = join_exposures(files)
    assert [first.image.version, first.dqmask.version, first.wtmap.version] == [10, 10, 9]
    assert (second.expnum, second.files) == (1058803, (files[-1],))  # 1058802 has no image


def test_exposures_that_do_not_reach_into_the_cone_are_left_out(server):
    server.on(
        FIND,
        Act(body=listing(row("image"), row("image", 2, ra_center=96.5), row("image", 3, ra_center=None))),
    )
    assert [one.expnum for one in archive(server).exposures(cone=(92.25, -70.74, 1.2))] == [3, 1058801]


# ------------------------------------------------------------------------------------------- faults
@pytest.mark.parametrize(
    ("act", "error"),
    [
        (Act(body=listing(row("image")), cut=60), IncompleteDownload),
        (Act(body=listing(row("image"))[:-30]), IncompleteDownload),
        (Act(body=b""), IncompleteDownload),
        (Act(body=b"upstream timed out"), ArchiveAnswerError),
        (Act(body=b"<html><title>Maintenance</title></html>"), ArchiveAnswerError),
        (Act(body=b'[{"file:md5sum": "0000f0c5015263610a75f0affed377d0"}]'), ArchiveAnswerError),
        (Act(body=b"[1, 2]"), ArchiveAnswerError),
        (Act(body=listing({"md5sum": "../../etc/passwd"})), ArchiveAnswerError),
        (Act(status=429, headers={"Retry-After": "1"}), ArchiveUnavailable),
        (Act(status=503), ArchiveUnavailable),
        (Act(body=listing(row("image")), stall=20), ArchiveUnavailable),
        (Act(reset=True), ArchiveUnavailable),
        (Act(status=400, body=b'{"errorMessage": "bad field"}'), ArchiveRefused),
    ],
)
def test_a_listing_that_fails_says_how(server, act, error):
    server.on(FIND, act)
    with pytest.raises(error):
        archive(server).find()


def test_a_busy_archive_is_asked_again_and_a_cut_answer_too(server):
    good = Act(body=listing(row("image")))
    server.on(FIND, Act(status=429, headers={"Retry-After": "2"}), Act(body=good.body, cut=50), good)
    assert len(archive(server).find()) == 1


# ------------------------------------------------------------------------------------------- files
def test_whole_files_are_compared_with_their_sum(server, files, tmp_path):
    name, content = files["image"]
    file = file_of(content, name=name)
    address = f"/api/retrieve/{file.md5}/"
    server.on(address, Act(body=content, cut=5000), Act(body=content[:-1] + b"!"), Act(body=content))
    path = archive(server).download(file, tmp_path)
    assert path == tmp_path / name
    assert path.read_bytes() == content
    assert len([a for a in server.asked if a.path == address]) == 3


def test_a_file_with_another_sum_is_never_there(server, files, tmp_path):
    name, content = files["image"]
    file = file_of(content, name=name)
    server.on(f"/api/retrieve/{file.md5}/", Act(body=content[:-1] + b"!"))
    with pytest.raises(IncompleteDownload, match="md5"):
        archive(server).download(file, tmp_path)
    assert not (tmp_path / name).exists()


def test_one_ccd_is_asked_for_by_its_number_and_checked_to_its_end(server, files, tmp_path):
    name, content = files["image"]
    file = file_of(content, name=name)
    part = _part(content, 2)
    address = f"/api/retrieve/{file.md5}/"
    server.on(address, Act(body=part))
    server.on(
        FIND,
        Act(body=listing({"hdu_idx": 1, "EXTNAME": "N24"}, {"hdu_idx": 2, "EXTNAME": "S4"}, prefix="hdu:")),
    )
    own = archive(server)
    assert own.hdus(file) == {"N24": 1, "S4": 2}
    path = own.download(file, tmp_path, hdus=[2])
    assert path.name == name.replace(".fits", "-hdu2.fits")
    assert parse_qs(next(a.query for a in server.asked if a.path == address)) == {"hdus": ["0,2"]}
    server.on(address, Act(body=part[: len(part) // 2880 // 2 * 2880]))
    with pytest.raises(IncompleteDownload):
        own.download(file, tmp_path / "cut", hdus=[2])
    server.on(address, Act(body=content))  # the server that takes no notice of what was asked for
    with pytest.raises(IncompleteDownload, match="3 HDUs"):
        own.download(file, tmp_path / "all", hdus=[2])


def _part(content, number):
    import io

    from astropy.io import fits

    with fits.open(io.BytesIO(content), disable_image_compression=True) as units:
        stream = io.BytesIO()
        fits.HDUList([units[0], units[number]]).writeto(stream)
    return stream.getvalue()


def test_what_stands_there_and_is_whole_is_not_asked_for_again(server, files, tmp_path):
    name, content = files["image"]
    file = file_of(content, name=name)
    address = f"/api/retrieve/{file.md5}/"
    server.on(address, Act(body=content))
    own = archive(server)
    path = own.download(file, tmp_path)
    own.download(file, tmp_path)
    assert len([a for a in server.asked if a.path == address]) == 1
    path.write_bytes(content[:-1] + b"!")
    assert own.download(file, tmp_path).read_bytes() == content


# ------------------------------------------------------------------------------------------- what is not public
CLOSED = b'{"message": "This file is not available to the public until 2096-08-12"}'


@pytest.mark.parametrize("status", [200, 401, 403])
def test_a_proprietary_file_is_told_and_needs_a_login(server, files, tmp_path, status):
    file = file_of(files["image"][1], release="2096-08-12")
    server.on(f"/api/retrieve/{file.md5}/", Act(status=status, body=CLOSED))
    with pytest.raises(Proprietary, match=r"2096-08-12.*proprietary"):
        archive(server).download(file, tmp_path)
    with pytest.raises(Proprietary, match="VO_DECAM_USERNAME"):
        archive(server, proprietary=True).download(file, tmp_path)
    assert not list(tmp_path.glob("*.fits*"))


def test_the_token_is_sent_as_it_is_and_only_where_it_is_needed(server, files, tmp_path):
    content = files["image"][1]
    file = file_of(content)
    server.on(f"/api/retrieve/{file.md5}/", Act(status=403, body=CLOSED), Act(body=content))
    server.on("/api/get_token/", Act(body=json.dumps(TOKEN).encode()))
    known = Credentials("decam", username="me@example.org", password=PASSWORD)
    own = archive(server, proprietary=True, credentials=known)
    own.download(file, tmp_path)
    tokens = [a.headers.get("authorization") for a in server.asked]
    assert tokens == [None, None, TOKEN]
    form = json.loads(next(a.body for a in server.asked if a.path == "/api/get_token/"))
    assert form == {"email": "me@example.org", "password": PASSWORD}


def test_a_login_that_may_not_have_the_file_ends_there_and_shows_no_secret(server, files, tmp_path):
    file = file_of(files["image"][1], release="2096-08-12")
    server.on(f"/api/retrieve/{file.md5}/", Act(status=403, body=CLOSED))
    server.on("/api/get_token/", Act(body=json.dumps(TOKEN).encode()))
    known = Credentials("decam", username="me@example.org", password=PASSWORD)
    with pytest.raises(Proprietary, match="may not have it"):
        archive(server, proprietary=True, credentials=known).download(file, tmp_path)
    assert len([a for a in server.asked if "retrieve" in a.path]) == 2


def test_a_wrong_password_is_told_without_it(server, files, tmp_path):
    file = file_of(files["image"][1])
    server.on(f"/api/retrieve/{file.md5}/", Act(status=403, body=CLOSED))
    known = Credentials("decam", username="me@example.org", password=PASSWORD)
    said = json.dumps(
        f"Could not get token from SSO server: No active account found with {PASSWORD}"
    ).encode()
    for act in (Act(body=said), Act(status=401, body=said), Act(body=b"not json")):
        server.on("/api/get_token/", act)
        with pytest.raises(ArchiveRefused) as caught:
            archive(server, proprietary=True, credentials=known).download(file, tmp_path)
        assert PASSWORD not in str(caught.value)
        assert PASSWORD not in repr(caught.value)
