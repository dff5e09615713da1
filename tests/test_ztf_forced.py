import numpy as np
import pytest
from support_real import real_data
from support_ztf import Client, reduced

from virtualobserver.data.product import Raw, Target
from virtualobserver.errors import (
    ArchiveAnswerError,
    ArchiveRefused,
    ArchiveUnavailable,
    BadKeyword,
    InvalidFile,
)
from virtualobserver.observatories.ztf import VirtualZTF, forced
from virtualobserver.observatories.ztf.settings import ZTFSettings

FILE = "forcedphotometry_req00010459_lc.txt"
STAR = Target("star", ra=36.351611, dec=60.841893)
PAGE = (
    "<table><tr><th>reqid</th><th>ra</th><th>dec</th><th>ended</th><th>lightcurve</th></tr>"
    "<tr><td>1</td><td>{ra}</td><td>{dec}</td><td>{ended}</td><td>{path}</td></tr></table>"
)


def recorded(name=FILE):
    return real_data("archives", "ztf", "forced", name)


def raw(content, name="x"):
    return Raw(name, forced.FORMAT, content=content)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("forcedphotometry_req00010458_lc.txt", 50),
        (FILE, 683),
        ("forcedphotometry_req00012210_lc_ZTF20acfkyll.txt", 92),
        ("forcedphotometry_req00012234_lc_ZTF21aaqwjlz.txt", 55),
    ],
)
def test_recorded_results_are_read_whole(name, rows):
    content = recorded(name).read_bytes()
    lines = [line for line in content.decode().splitlines() if line.strip() and line[0] != "#"]
    columns = forced.parse(content, name)
    assert len(columns["jd"]) == len(lines) - 1
    assert abs(len(columns["jd"]) - rows) < 5
    assert np.isfinite(columns["jd"]).all()
    assert set(columns["filter"]) <= {"ZTF_g", "ZTF_r", "ZTF_i"}


@pytest.mark.real
def test_null_is_missing():
    columns = forced.parse(recorded("forcedphotometry_req00012234_lc_ZTF21aaqwjlz.txt").read_bytes(), "x")
    assert np.isnan(columns["nearestrefmag"][0])
    assert columns["procstatus"][0] == "57"


@pytest.mark.real
def test_baseline_is_subtracted_and_fluxes_are_microjansky():
    content = recorded().read_bytes()
    columns = forced.parse(content, "x")
    products = reduced(VirtualZTF(), [raw(content)], STAR)
    assert [p.series for p in products] == [f"forced-{p.band}" for p in products]
    one = products[0].data
    facts = max(one.meta["baselines"], key=lambda group: group["quiet"])
    assert facts["quiet"] >= 25
    first = int(np.argmin(np.where(columns["filter"] == "ZTF_g", columns["jd"], np.inf)))
    place = [int(columns[name][first]) for name in ("field", "ccdid", "qid")]
    group = next(g for g in one.meta["baselines"] if [g["field"], g["ccdid"], g["qid"]] == place)
    expected = columns["forcediffimflux"][first] * 10 ** ((8.90 - columns["zpdiff"][first]) / 2.5) * 1e6
    assert one.flux[0] == pytest.approx(expected - (group["baseline"] or 0.0), rel=1e-9)
    assert one.mjd[0] == pytest.approx(columns["jd"][first] - 2400000.5 + 15.0 / 86400.0, abs=1e-8)


@pytest.mark.real
def test_cuts_flag_bad_seeing_and_noise():
    content = recorded("forcedphotometry_req00012234_lc_ZTF21aaqwjlz.txt").read_bytes()
    (product, *_) = (p for p in reduced(VirtualZTF(), [raw(content)], STAR) if p.band == "zr")
    assert product.data.flags[0] != 0  # seeing 4.76
    strict = reduced(VirtualZTF(drop_flagged=True), [raw(content)], STAR)
    assert all((p.data.flags == 0).all() for p in strict)


@pytest.mark.real
def test_total_flux_of_a_star_is_near_its_reference():
    content = recorded().read_bytes()
    products = reduced(VirtualZTF(forced_total=True), [raw(content)], STAR)
    (product,) = (p for p in products if p.band == "zg")
    assert product.data.meta["flux"] == "total"
    assert np.nanmedian(product.data["mag"]) == pytest.approx(17.2, abs=1.5)


@pytest.mark.real
def test_folder_file_is_found_by_the_requested_position():
    survey = VirtualZTF(mode="forced")
    targets = [STAR, Target("other", ra=1.0, dec=2.0)]
    ((target, found),) = survey.fetch(targets, Client(recorded().parent))
    assert (target.name, found.path.name, found.in_place) == ("star", FILE, True)


@pytest.mark.real
def test_cut_file_and_missing_column_are_named_errors():
    content = recorded().read_bytes()
    with pytest.raises(InvalidFile, match="cut"):
        forced.parse(content[:-30], "x")
    with pytest.raises(BadKeyword, match="zpdiff"):
        forced.parse(content.replace(b" zpdiff,", b" other,"), "x")
    with pytest.raises(InvalidFile):
        forced.parse(b"<html>busy</html>", "x")


def test_request_has_seven_decimals_and_the_account():
    params = forced.build_submit_params(36.0, -5.0, ZTFSettings(), email="me@x.org", password="pw")
    assert (params["ra"], params["dec"]) == ("36.0000000", "-5.0000000")
    assert params["jdstart"] == "2458178.50000"
    assert (params["email"], params["userpass"]) == ("me@x.org", "pw")


def test_list_of_requests_is_read_by_its_column_names():
    page = PAGE.format(ra=1.5, dec=-2.0, ended="2026-01-01", path="/ztf/x_lc.txt")
    assert forced.parse_jobs(page) == [forced.Job(1.5, -2.0, "/ztf/x_lc.txt", ended=True)]
    assert forced.parse_jobs("<html>no requests</html>") == []
    with pytest.raises(ArchiveAnswerError, match="lightcurve"):
        forced.parse_jobs("<table><tr><th>ra</th><th>dec</th><th>ended</th></tr></table>")


@pytest.fixture
def account(monkeypatch):
    monkeypatch.setenv("VO_ZTF_USERNAME", "me@x.org")
    monkeypatch.setenv("VO_ZTF_PASSWORD", "planted-secret")


def live(answer):
    client = Client(answer=answer)
    return list(VirtualZTF(mode="forced").fetch([STAR], client)), [url for url, _ in client.asked]


def test_unknown_position_is_submitted_and_waits(account):
    ((_, error),), asked = live(lambda url, params: b"<html></html>")
    assert isinstance(error, ArchiveUnavailable)
    assert "planted-secret" not in str(error)
    assert asked == [forced.LIST_URL, forced.SUBMIT_URL]


def test_queued_position_is_not_submitted_again(account):
    page = PAGE.format(ra=STAR.ra, dec=STAR.dec, ended="", path="")
    ((_, error),), asked = live(lambda url, params: page.encode())
    assert "queued" in str(error)
    assert error.kind == "retryable"
    assert asked == [forced.LIST_URL]


@pytest.mark.real
def test_ready_result_is_collected(account):
    content = recorded().read_bytes()
    page = PAGE.format(ra=STAR.ra, dec=STAR.dec, ended="2026-01-01", path="/ztf/1_lc.txt").encode()
    ((_, found),), asked = live(lambda url, params: page if url == forced.LIST_URL else content)
    assert asked[-1] == forced.SERVER + "/ztf/1_lc.txt"
    assert found.content == content


def test_missing_account_says_which_variables(monkeypatch, tmp_path):
    for name in ("VO_ZTF_USERNAME", "VO_ZTF_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("VO_CREDENTIALS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    ((_, error),), _ = live(None)
    assert isinstance(error, ArchiveRefused)
    assert "VO_ZTF_PASSWORD" in str(error)
