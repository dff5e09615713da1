import json
import re
from base64 import b64encode

import numpy as np
import pytest
from support.loopback import Act, Loopback
from support.project import settings
from support.real import real_data
from support.ztf import Client, reduced

from virtualobserver import Project
from virtualobserver.conventions import (
    FLAG_ARCHIVE,
    FLAG_BACKGROUND,
    FLAG_BAD_ERROR,
    FLAG_EDGE,
    FLAG_NOT_FINITE,
    FLAG_RANGE,
    MJD_ZERO_JD,
)
from virtualobserver.data.product import Aux, Raw, Target
from virtualobserver.errors import (
    ArchiveAnswerError,
    ArchiveRefused,
    ArchiveUnavailable,
    BadKeyword,
    IncompleteDownload,
    InvalidFile,
)
from virtualobserver.io.http.client import HttpClient, Retry
from virtualobserver.io.store import Store
from virtualobserver.observatories.ztf import VirtualZTF, forced, service
from virtualobserver.observatories.ztf.settings import ZTFSettings
from virtualobserver.observatories.ztf.table import without_impossible

FILE = "forcedphotometry_req00010459_lc.txt"
STAR = Target("star", ra=36.351611, dec=60.841893)
SPAN = (58178.0 + 2400000.5, 62000.0 + 2400000.5)
COLUMNS = [
    "reqId",
    "ra",
    "dec",
    "startJD",
    "endJD",
    "created",
    "started",
    "ended",
    "exitcode",
    "exitmsg",
    "lightcurve",
]
NAMES = re.findall(
    r"\w+",
    """index field ccdid qid filter pid infobitssci sciinpseeing scibckgnd scisigpix exptime diffmaglim zpdiff
    jd forcediffimflux forcediffimfluxunc forcediffimchisq dnearestrefsrc nearestrefmag nearestrefmagunc
    nearestrefsharp refjdstart refjdend procstatus""",
)


def page(ra, dec, *, span=SPAN, ended="", code="", words="", path=""):
    """Return a list of one request as the service shows it."""
    head = "".join(f"<th>{name}</th>" for name in COLUMNS)
    cells = [7, ra, dec, f"{span[0]:.5f}", f"{span[1]:.5f}", "2026-01-01", "", ended, code, words, path]
    row = "".join(f"<td> {cell} </td>" for cell in cells)
    return f"<html><body><table border=1><tr>{head}</tr>\n<tr>{row}</tr></table></body></html>".encode()


def jobs_of(content):
    return service.parse_jobs(content.decode())


def forced_row(*, jd, flux, error):
    row = dict.fromkeys(NAMES, "0") | {"filter": "ZTF_g", "zpdiff": "26.0", "jd": str(jd), "exptime": "30."}
    row |= {"forcediffimflux": str(flux), "forcediffimfluxunc": str(error), "forcediffimchisq": "1.0"}
    row |= {"sciinpseeing": "2", "scisigpix": "5", "refjdstart": "1", "refjdend": "2"}
    return " ".join(row.values())


def forced_file(*lines):
    return ("\n".join(["# made up", ", ".join(NAMES), *lines]) + "\n").encode()


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
def test_a_variable_star_has_no_baseline_and_fluxes_are_microjansky():
    content = recorded().read_bytes()
    columns = forced.parse(content, "x")
    products = reduced(VirtualZTF(), [raw(content)], STAR)
    assert [p.series for p in products] == [f"forced-{p.band}" for p in products]
    one = products[0].data
    # the star varies by much more than its errors: there is no quiet state to subtract
    assert all(group["baseline"] is None for group in one.meta["baselines"])
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
    (target, found), (_, missing) = survey.fetch(targets, Client(recorded().parent))
    assert (target.name, found.path.name, found.in_place) == ("star", FILE, True)
    assert "none was requested at its position" in missing.reason


@pytest.mark.real
def test_cut_file_and_missing_column_are_named_errors():
    content = recorded().read_bytes()
    with pytest.raises(InvalidFile, match="cut"):
        forced.parse(content[:-30], "x")
    with pytest.raises(BadKeyword, match="zpdiff"):
        forced.parse(content.replace(b" zpdiff,", b" other,"), "x")
    with pytest.raises(InvalidFile):
        forced.parse(b"<html>busy</html>", "x")


@pytest.mark.real
def test_rows_of_an_unknown_filter_are_refused_and_not_left_out():
    content = recorded().read_bytes().replace(b" ZTF_r ", b" ZTF_R ", 1)
    (files,) = [forced.parse(content, "x")]
    with pytest.raises(BadKeyword, match="column filter holds 'ZTF_R'; forced photometry has ZTF_g"):
        forced.lightcurves([files], Aux(target=Target("x")), ZTFSettings())


def in_first_row(column, value):
    """Return a recorded result in whose first row a column holds something else."""
    lines = recorded().read_text().splitlines(keepends=True)
    told = [n for n, line in enumerate(lines) if line.strip() and not line.startswith("#")]
    head, first = told[:2]
    cells = lines[first].split()
    cells[[name.strip() for name in lines[head].split(",")].index(column)] = value
    lines[first] = " ".join(cells) + "\n"
    return forced.parse("".join(lines).encode(), "x")


@pytest.mark.real
@pytest.mark.parametrize(
    ("column", "value", "bit"),
    [
        ("zpdiff", "0", FLAG_NOT_FINITE | FLAG_RANGE),
        ("zpdiff", "-999", FLAG_NOT_FINITE | FLAG_RANGE),
        ("sciinpseeing", "0", FLAG_BACKGROUND),
        ("scisigpix", "0.0", FLAG_BACKGROUND),
        ("forcediffimflux", "NULL", FLAG_NOT_FINITE),
        ("forcediffimfluxunc", "0", FLAG_BAD_ERROR),
    ],
)
def test_marks_of_missing_values_are_no_good_epochs(column, value, bit):
    columns = in_first_row(column, value)
    curves = forced.lightcurves([columns], Aux(target=Target("x")), ZTFSettings())
    start = columns["jd"][0] - MJD_ZERO_JD
    (flags,) = np.concatenate([p.data.flags[np.abs(p.data["mjd_start"] - start) < 1e-6] for p in curves])
    assert flags & bit == bit
    assert all(np.nanmax(p.data.flux) < 1e6 for p in curves)


def test_dates_of_another_kind_are_named_with_their_own_column():
    with pytest.raises(BadKeyword, match="column jd holds 59000"):
        without_impossible({"jd": np.array([59000.5, 59001.5])}, "x", names={"jd": "hjd"})


# ---------------------------------------------------------------------------------------------- the service
def test_request_has_seven_decimals_and_the_account():
    request = service.Request(36.0, -5.0, 2458178.5, 2462000.5)
    params = service.build_submit_params(request, email="astronomer", password="pw")
    assert (params["ra"], params["dec"]) == ("36.0000000", "-5.0000000")
    assert (params["jdstart"], params["jdend"]) == ("2458178.50000", "2462000.50000")
    assert (params["email"], params["userpass"]) == ("astronomer", "pw")


def test_batch_form_holds_lists():
    requests = [
        service.Request(36.0, -5.0, 2458178.5, 2462000.5),
        service.Request(1.25, 2.5, 2458178.5, 2462000.5),
    ]
    form = service.build_batch_form(requests, email="astronomer", password="pw")
    assert (json.loads(form["ra"]), json.loads(form["dec"])) == ([36.0, 1.25], [-5.0, 2.5])
    assert json.loads(form["jdstart"]) == 2458178.5


def test_list_of_requests_is_read_by_its_column_names():
    path = "/ztf/ops/forcedphot/lc/0/15/req15274/forcedphotometry_req00015274_lc.txt"
    jobs = jobs_of(page(1.5, -2.0, ended="2026-01-01 10:00:00", code="0", path=path))
    start, end = SPAN
    assert jobs == [service.Job("7", 1.5, -2.0, start, end, path, ended=True, problem="")]
    (waiting,) = jobs_of(page(1.5, -2.0))
    assert (waiting.path, waiting.ended) == ("", False)
    assert service.parse_jobs("<html>no requests</html>") == []
    with pytest.raises(ArchiveAnswerError, match="lightcurve"):
        service.parse_jobs("<table><tr><th>ra</th><th>dec</th><th>ended</th></tr></table>")
    with pytest.raises(ArchiveAnswerError, match="without position"):
        jobs_of(page("soon", -2.0))


@pytest.mark.parametrize(
    "path", ["//evil.org/x.txt", "https://evil.org/x.txt", "/ztf/../../x.txt", "/a b.txt"]
)
def test_fault_23_result_path_cannot_lead_to_another_host(path):
    (job,) = jobs_of(page(1.5, -2.0, path=path))
    assert job.path == ""


def test_rows_whose_cells_are_not_closed_are_read():
    text = "<table><tr><th>reqId<th>ra<th>dec<th>lightcurve<tr><td>1<td>2.5<td>3.5<td>/a_lc.txt</table>"
    assert [(job.ra, job.dec, job.path) for job in service.parse_jobs(text)] == [(2.5, 3.5, "/a_lc.txt")]


@pytest.fixture
def account(monkeypatch):
    monkeypatch.setenv("VO_ZTF_USERNAME", "astronomer")
    monkeypatch.setenv("VO_ZTF_PASSWORD", "planted-secret")
    monkeypatch.setenv("VO_ZTF_SERVICE_USERNAME", "everybody")
    monkeypatch.setenv("VO_ZTF_SERVICE_PASSWORD", "planted-login")


NOTHING = b"<html></html>"
OTHER = Target("other", ra=40.0, dec=10.0)


def live(answer, *targets, client=None):
    client = client or Client(answer=answer)
    client.asked.clear()
    client._answer = answer
    found = list(VirtualZTF(mode="forced").fetch(targets or [STAR], client))
    return found, [url for url, _ in client.asked], client


def lists(single, batch=NOTHING, result=b""):
    pages = {service.LIST_URL: single, service.BATCH_LIST_URL: batch}
    return lambda url, params: pages.get(url, result)


def test_unknown_position_is_submitted_once_and_waits(account):
    ((_, error),), asked, client = live(lists(NOTHING))
    assert isinstance(error, ArchiveUnavailable)
    assert error.kind == "retryable"
    assert asked == [service.LIST_URL, service.BATCH_LIST_URL, service.SUBMIT_URL]
    assert set(client.logins) == {("everybody", "planted-login")}
    # the list is an hour old: our notes know better
    ((_, error),), asked, client = live(lists(NOTHING), client=client)
    assert "not listed yet" in str(error)
    assert asked == [service.LIST_URL, service.BATCH_LIST_URL]
    # after days it never arrived
    client.jobs.age = 4 * 86400.0
    _, asked, _ = live(lists(NOTHING), client=client)
    assert asked[-1] == service.SUBMIT_URL


def test_several_unknown_positions_are_submitted_in_one_request(account):
    found, asked, client = live(lists(NOTHING), STAR, OTHER)
    assert [target.name for target, _ in found] == ["star", "other"]
    assert asked == [service.LIST_URL, service.BATCH_LIST_URL, service.BATCH_SUBMIT_URL]
    assert json.loads(client.asked[-1][1]["ra"]) == [STAR.ra, OTHER.ra]
    assert len(client.jobs) == 2


def test_queued_position_is_not_submitted_again(account):
    ((_, error),), asked, _ = live(lists(page(STAR.ra, STAR.dec)))
    assert "queued" in str(error)
    assert error.kind == "retryable"
    assert asked == [service.LIST_URL, service.BATCH_LIST_URL]


def test_same_position_with_another_span_is_another_request(account):
    ended = page(STAR.ra, STAR.dec, span=(2459000.5, 2459100.5), ended="2026-01-01", path="/a_lc.txt")
    _, asked, _ = live(lists(ended))
    assert asked[-1] == service.SUBMIT_URL


def test_request_that_ended_without_result_is_empty_and_one_that_failed_an_error(account):
    ((_, missing),) = live(lists(page(STAR.ra, STAR.dec, ended="2026-01-01", code="0")))[0]
    assert "measured no epochs" in missing.reason
    ((_, error),), _, _ = live(
        lists(page(STAR.ra, STAR.dec, ended="2026-01-01", code="65", words="bad dates"))
    )
    assert "bad dates" in str(error)
    assert error.kind == "permanent"


@pytest.mark.real
@pytest.mark.parametrize("batch", [False, True])
def test_ready_result_is_collected_from_either_list(account, batch):
    content = recorded().read_bytes()
    ready = page(STAR.ra, STAR.dec, ended="2026-01-01", path="/ztf/1_lc.txt")
    pages = (NOTHING, ready) if batch else (ready, NOTHING)
    ((_, found),), asked, client = live(lists(*pages, result=content))
    assert asked[-1] == service.SERVER + "/ztf/1_lc.txt"
    assert found.content == content
    # the list forgets after a month, the note does not
    client.jobs.age = 60 * 86400.0
    ((_, found),), asked, _ = live(lists(NOTHING, result=content), client=client)
    assert asked[-1] == service.SERVER + "/ztf/1_lc.txt"

    def gone(url, params):
        if url.endswith("_lc.txt"):
            msg = "404"
            raise ArchiveRefused(msg)
        return NOTHING

    ((_, error),), _, _ = live(gone, client=client)
    assert error.kind == "retryable"
    assert live(gone, client=client)[1][-1] == service.SUBMIT_URL


@pytest.mark.real
def test_fault_12_cut_result_is_incomplete_and_a_page_no_result(account):
    ready = page(STAR.ra, STAR.dec, ended="2026-01-01", path="/ztf/1_lc.txt")
    ((_, error),), _, _ = live(lists(ready, result=recorded().read_bytes()[:-30]))
    assert isinstance(error, IncompleteDownload)
    ((_, error),), _, _ = live(lists(ready, result=b"<!DOCTYPE html><html><body>Please log in</body></html>"))
    assert isinstance(error, ArchiveAnswerError)


def test_list_that_cannot_be_had_fails_all_targets_after_one_question(account):
    def down(url, params):
        msg = "down"
        raise ArchiveUnavailable(msg)

    found, asked, _ = live(down, STAR, OTHER)
    assert [target.name for target, _ in found] == ["star", "other"]
    assert asked == [service.LIST_URL]


def test_targets_out_of_reach_need_no_account(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    ((_, missing),), asked, _ = live(None, Target("south", ra=1.0, dec=-60.0))
    assert ("not asked for" in missing.reason, asked) == (True, [])


@pytest.mark.parametrize("name", ["VO_ZTF_PASSWORD", "VO_ZTF_SERVICE_PASSWORD"])
def test_missing_account_or_login_says_which_variables(account, monkeypatch, tmp_path, name):
    monkeypatch.delenv(name)
    monkeypatch.delenv("VO_CREDENTIALS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    ((_, error),), _, _ = live(None)
    assert isinstance(error, ArchiveRefused)
    assert name in str(error)


def test_fault_23_service_over_http_gets_login_and_account_and_shows_neither(account):
    with Loopback() as archive, HttpClient(retry=Retry(attempts=2, first_wait=0.01)) as http:
        urls = (service.LIST_URL, service.BATCH_LIST_URL, service.SUBMIT_URL)
        listed, batch, submit = (url.removeprefix(service.SERVER) for url in urls)
        archive.on(listed, Act(body=NOTHING))
        archive.on(batch, Act(body=NOTHING))
        archive.on(submit, Act(status=500, body=b"busy"))
        client = Client(http=http)
        ((_, error),) = VirtualZTF(mode="forced", forced_url=archive.url).fetch([STAR], client)
        assert isinstance(error, ArchiveUnavailable)
        # a submission that may have been taken is not repeated by itself
        assert [asked.path for asked in archive.asked] == [listed, batch, submit]
        login = "Basic " + b64encode(b"everybody:planted-login").decode()
        assert {asked.headers["authorization"] for asked in archive.asked} == {login}
        assert "userpass=planted-secret" in archive.asked[0].query
        assert "planted" not in str(error)
        assert "astronomer" not in str(error)


# -------------------------------------------------------------------------------------------- upper limits
def test_epoch_below_three_sigma_has_the_limit_of_five_and_no_magnitude():
    lines = [forced_row(jd=2458300.5 + i, flux=0.0, error=10.0) for i in range(30)]
    lines += [
        forced_row(jd=2458340.5, flux=29.0, error=10.0),
        forced_row(jd=2458341.5, flux=31.0, error=10.0),
    ]
    (product,) = reduced(VirtualZTF(), [raw(forced_file(*lines))], STAR)
    missed, seen = product.data.mjd.size - 2, product.data.mjd.size - 1
    assert product.data["limiting_mag"][missed] == pytest.approx(26.0 - 2.5 * np.log10(5 * 10.0), abs=2e-3)
    assert np.isnan(product.data["mag"][missed])
    assert product.data["mag"][seen] == pytest.approx(26.0 - 2.5 * np.log10(31.0), abs=2e-3)
    assert product.data["mag_error"][seen] == pytest.approx(1.0857 * 10.0 / 31.0, rel=1e-3)
    assert np.isnan(product.data["limiting_mag"][seen])
    assert product.data.units["limiting_mag"] == "mag"


# ------------------------------------------------------------------------------------- through store and run
@pytest.mark.real
def test_forced_products_survive_the_store(tmp_path):
    products = reduced(VirtualZTF(), [raw(recorded().read_bytes())], STAR)
    store = Store(tmp_path)
    written = store.write_blocks("products/x", [(product.series, product.data) for product in products])
    for product, block in zip(products, written.blocks, strict=True):
        again = store.load(block)
        assert list(again.columns) == list(product.data.columns)
        assert all(np.array_equal(again[c], product.data[c], equal_nan=c != "flags") for c in again.columns)
        assert (again.meta, again.units) == (product.data.meta, product.data.units)


@pytest.mark.real
def test_folder_of_forced_results_goes_through_a_whole_run(tmp_path, url):
    rows = [{"name": "star", "ra": STAR.ra, "dec": STAR.dec}, {"name": "other", "ra": 1.0, "dec": 2.0}]
    conf = settings(tmp_path, [], catalog={"name": "two", "rows": rows})
    conf["observatories"] = {"ztf": {"mode": "forced", "archive": str(recorded().parent)}}
    with Project.open(conf, data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert summary.failures == []
        assert {step: dict(counts) for step, counts in summary.counts.items() if counts} == {
            "fetch:ztf": {"done": 1, "empty": 1}, "reduce:ztf": {"done": 1}, "analyse:transients": {"done": 1},
        }  # fmt: skip
        found = project.sql("SELECT series, band, n, flux_unit FROM product ORDER BY band")
        assert found["series"].tolist() == ["forced-zg", "forced-zr"]
        assert set(found["flux_unit"]) == {"uJy"}
        assert found["n"].sum() == 683
        raw_data = project.sql("SELECT format, header FROM raw_data")
        assert raw_data["format"].tolist() == [forced.FORMAT]
        assert raw_data["header"][0]["epochs"] == 683


def quiet_file(flux, error, **columns):
    """Return the columns of a result file with these difference fluxes, one epoch a night."""
    n = len(flux)
    base = {
        "field": 1.0, "ccdid": 2.0, "qid": 3.0, "infobitssci": 0.0, "sciinpseeing": 2.0, "scisigpix": 8.0,
        "exptime": 30.0, "zpdiff": 23.9, "forcediffimchisq": 1.0, "refjdstart": 2458000.5, "refjdend": 2458050.5,
        "dnearestrefsrc": 9.0, "nearestrefmag": np.nan, "nearestrefmagunc": np.nan, "nearestrefsharp": np.nan,
        "out_of_range": 0,
    }  # fmt: skip
    made = {name: np.full(n, value) for name, value in base.items()}
    made |= {"jd": 2459000.5 + np.arange(n), "forcediffimflux": flux, "forcediffimfluxunc": np.full(n, error)}
    made |= {"filter": np.full(n, "ZTF_r"), "procstatus": np.full(n, "0")}
    return made | columns


def forced_curve(columns, **options):
    aux = Aux(STAR)
    ((product),) = forced.lightcurves([columns], aux, VirtualZTF(**options).settings)
    return product.data, aux.notes


def test_an_event_shorter_than_the_quiet_time_leaves_the_baseline_alone():
    rng = np.random.default_rng(1)
    flux = 40.0 + rng.normal(0, 5.0, 100)
    flux[60:90] += 300 * np.exp(-np.arange(30) / 10)
    data, notes = forced_curve(quiet_file(flux, 5.0))
    (facts,) = data.meta["baselines"]
    assert facts["baseline"] == pytest.approx(40.0, abs=3.0)
    assert data.flux.max() == pytest.approx(300, abs=20)
    assert data["baseline"] == pytest.approx(facts["baseline"])
    assert not notes


def test_an_event_that_fills_the_window_is_not_subtracted_from_itself():
    flux = np.concatenate(([1.0, -13.0], 325.0 * np.exp(-np.arange(80) / 100)))
    data, notes = forced_curve(quiet_file(flux, 5.0))
    assert data.meta["baselines"][0]["baseline"] is None
    assert data.flux == pytest.approx(flux)
    assert np.isnan(data["baseline"]).all()
    assert data["mag"][2] == pytest.approx(23.9 - 2.5 * np.log10(325.0))
    assert list(notes.values()) == [82]


SHAPES = {
    "plateau": (lambda t: (t > 0.4) * 1.0, False),
    "slope": (lambda t: t, False),
    "hump": (lambda t: np.exp(-0.5 * ((t - 0.5) / 0.25) ** 2), False),
    "rise at the end": (lambda t: np.exp(-(((1 - t) / 0.2) ** 2)), True),
    "short": (lambda t: np.where(t < 0.5, 0.0, np.exp(-(t - 0.5) / 0.075)), True),
    "plateau of less than half": (lambda t: (t > 0.6) * 1.0, True),
    "a dip": (lambda t: -np.exp(-0.5 * ((t - 0.5) / 0.03) ** 2), True),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_long_faint_event_is_not_hidden_by_the_errors_of_its_epochs(shape):
    event, has_quiet = SHAPES[shape]
    rng = np.random.default_rng(5)
    flux = rng.normal(0.0, 5.0, 240) + 5.0 * 5.0 * event(np.linspace(0, 1, 240))
    baseline = forced_curve(quiet_file(flux, 5.0))[0].meta["baselines"][0]["baseline"]
    if has_quiet:
        assert baseline == pytest.approx(0, abs=2.0)
    else:
        assert baseline is None


def test_an_offset_of_the_reference_is_no_drift_where_the_moon_makes_errors_larger():
    rng = np.random.default_rng(8)
    error = np.where(np.linspace(0, 1, 240) < 0.5, 5.0, 20.0)
    columns = quiet_file(-300.0 + error * rng.standard_normal(240), 5.0)
    columns["forcediffimfluxunc"] = columns["forcediffimfluxunc"] * error / 5.0
    said = forced_curve(columns)[0].meta["baselines"][0]
    assert said["quiet"] > 230
    assert said["baseline"] == pytest.approx(-300.0, abs=2.0)


def test_epochs_without_a_time_are_counted_one_by_one():
    columns = quiet_file(np.random.default_rng(6).normal(0, 5, 60), 5.0)
    columns["jd"][:4] = np.nan
    assert forced_curve(columns)[1]["epochs without a time"] == 4


@pytest.mark.parametrize(
    ("code", "flag"),
    [
        ("0", 0), ("57", 0), ("57,58", 0), ("62", 0), ("56", FLAG_ARCHIVE), ("57,56", FLAG_ARCHIVE),
        ("59", FLAG_ARCHIVE), ("54", FLAG_BACKGROUND), ("57, 61", FLAG_EDGE), ("64", FLAG_ARCHIVE),
        ("255", FLAG_ARCHIVE), ("null", FLAG_ARCHIVE), ("0.0", 0),
    ],
)  # fmt: skip
def test_status_codes_of_the_service_flag_epochs_whose_flux_is_in_doubt(code, flag):
    rng = np.random.default_rng(3)
    columns = quiet_file(40.0 + rng.normal(0, 5.0, 60), 5.0)
    columns["procstatus"] = np.where(np.arange(60) == 7, code, "0")
    columns["forcediffimflux"][7] = 500.0
    data, notes = forced_curve(columns)
    assert data.flags[7] == flag
    assert not np.delete(data.flags, 7).any()
    assert ("epochs flagged as bad by the service" in notes) == (flag == FLAG_ARCHIVE)


def test_two_states_of_equal_length_leave_open_which_is_quiet_unless_told():
    rng = np.random.default_rng(2)
    flux = np.concatenate((rng.normal(0, 5, 40), rng.normal(300, 5, 40)))
    assert forced_curve(quiet_file(flux, 5.0))[0].meta["baselines"][0]["baseline"] is None
    options = {"forced_quiet_before": 59040.0}
    assert forced_curve(quiet_file(flux, 5.0), **options)[0].meta["baselines"][0][
        "baseline"
    ] == pytest.approx(0, abs=3)
    options = {"forced_quiet_after": 59040.0}
    assert forced_curve(quiet_file(flux, 5.0), **options)[0].meta["baselines"][0][
        "baseline"
    ] == pytest.approx(300, abs=3)
    flux = np.concatenate((flux[:20], flux[40:], flux[20:40]))
    options = {"forced_quiet_before": 59020.0, "forced_quiet_after": 59060.0}
    assert forced_curve(quiet_file(flux, 5.0), **options)[0].meta["baselines"][0][
        "baseline"
    ] == pytest.approx(0, abs=3)


@pytest.mark.real
def test_a_transient_that_fills_its_window_keeps_its_brightness_and_is_a_flare(tmp_path, url):
    folder = real_data("archives", "ztf", "forced")
    configuration = {
        "name": "filled",
        "catalog": {"rows": [{"name": "sn", "ra": 106.88522654, "dec": 48.90021893}]},
        "observatories": {"ztf": {"archive": str(folder), "mode": "forced"}},
        "analyses": {"transients": {}},
    }
    with Project.open(configuration, data=tmp_path / "data", url=url) as project:
        assert project.run().failed == 0
        curves = {curve.band: curve.data for curve in project.source("sn").lightcurves}
        good = curves["zr"].flags == 0
        assert curves["zr"].flux[good].max() == pytest.approx(325, abs=1)
        assert np.nanmin(curves["zr"]["mag"][good]) == pytest.approx(17.62, abs=0.01)
        assert curves["zr"].flux[:2] == pytest.approx([1, -13], abs=0.5)
        kinds = set(project.detections()["kind"])
        assert kinds == {"flare"}
