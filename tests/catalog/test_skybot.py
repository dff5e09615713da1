"""SkyBoT: what it answered is read as astroquery reads it; how it fails is told from an empty field."""

import numpy as np
import pytest
from support.loopback import Act, Loopback
from support.real import real_data

from virtualobserver.catalog.skybot import SkyBot, parse_bodies, skybot_request
from virtualobserver.errors import ArchiveAnswerError, ArchiveError, ArchiveUnavailable, ConfigError
from virtualobserver.io.http.client import HttpClient, Retry, Timeouts
from virtualobserver.maths.times import Site

SITE = Site(-2.57, 37.98, 1530.0)
ROW = "<TR><TD>{num}</TD><TD>{name}</TD><TD>{ra}</TD><TD>{dec}</TD><TD>36.0</TD><TD>-18.0</TD><TD>1.5</TD><TD>2.4</TD>"
ROW += "<TD>17.5</TD><TD>0.03</TD></TR>"
FIELDS = "".join(
    f'<FIELD ID="{name}" name="{name}" datatype="{kind}"/>'
    for name, kind in (
        ("num", 'char" arraysize="6'), ("name", 'char" arraysize="32'), ("_raj2000", "double"), ("_decj2000", "double"),
        ("dracosdec", "double"), ("ddec", "double"), ("dgeo", "double"), ("dhelio", "double"), ("magV", "float"),
        ("errpos", "float"),
    )
)  # fmt: skip


def answer(*bodies, status="OK"):
    rows = "".join(ROW.format(num=n, name=name, ra=ra, dec=dec) for n, name, ra, dec in bodies)
    text = (
        '<?xml version="1.0"?><VOTABLE version="1.3"><RESOURCE><INFO name="QUERY_STATUS" value="%s">'
        "failed at the database</INFO><TABLE>%s<DATA><TABLEDATA>%s</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    return (text % (status, FIELDS, rows)).encode()


@pytest.fixture
def loopback():
    with Loopback() as server:
        yield server


def service(url, tmp_path):
    client = HttpClient(retry=Retry(attempts=2, total=3.0), timeouts=Timeouts(connect=1, read=0.5, total=2))
    return SkyBot(client, tmp_path / "answers", url)


@pytest.mark.real
def test_recorded_bytes_are_read_as_astroquery_reads_them():
    from types import SimpleNamespace

    from astroquery.imcce import Skybot

    content = real_data("sso", "recorded", "skybot_query.vot").read_bytes()
    found = parse_bodies(content)
    theirs = Skybot._parse_result(SimpleNamespace(text=content.decode(), content=content), verbose=False)
    assert found.name.tolist() == [str(name) for name in theirs["Name"]]
    assert found.number.tolist() == [
        int(one) if str(one).isdigit() else 0 for one in theirs["Number"].filled(0)
    ]
    np.testing.assert_allclose(found.ra[:, 0], theirs["RA"].to_value("deg"), atol=1e-9)
    np.testing.assert_allclose(found.dec[:, 0], theirs["DEC"].to_value("deg"), atol=1e-9)
    np.testing.assert_allclose(found.rate_ra[:, 0], theirs["RA_rate"].to_value("arcsec/h"), rtol=1e-6)
    np.testing.assert_allclose(found.observer_distance[:, 0], theirs["geodist"].to_value("au"))
    np.testing.assert_allclose(found.heliocentric_distance[:, 0], theirs["heliodist"].to_value("au"))
    np.testing.assert_allclose(found.mag[:, 0], np.asarray(theirs["V"]), rtol=1e-6)
    assert found.orbit_class.tolist() == [str(one) for one in theirs["Type"]]
    assert found.orbit_class.tolist() == ["KBO>Detached", "KBO>Classical>Main", "MB>Middle", "Mars-Crosser"]
    np.testing.assert_allclose(found.error, theirs["posunc"].to_value("arcsec"), rtol=1e-6)


def test_a_night_is_asked_three_times_and_again_not_at_all(loopback, tmp_path):
    url = loopback.on(
        "/cone", *(Act(body=answer((433, "Eros", 10.0 + k * 0.012046, 5.0 - k * 0.006))) for k in (0, 1, 2))
    )
    sky, mjd = service(url, tmp_path), 60000.0 + np.linspace(0, 0.1, 5)
    found = sky.seen(mjd, 10.0, 5.0, 0.4, site=SITE, code="J75")
    assert [row["-ep"][0] for row in map(parsed, loopback.asked)] == [
        "2460000.500000",
        "2460000.550000",
        "2460000.600000",
    ]
    assert {row["-loc"][0] for row in map(parsed, loopback.asked)} == {"J75"}
    assert (found.name.tolist(), found.number.tolist()) == (["Eros"], [433])
    np.testing.assert_allclose(found.ra[0], 10.0 + np.linspace(0, 0.024092, 5), atol=5e-5)
    np.testing.assert_allclose(found.dec[0], 5.0 - np.linspace(0, 0.012, 5), atol=5e-5)
    assert np.all((found.phase_angle[0] > 10) & (found.phase_angle[0] < 60))
    sky.seen(mjd, 10.0, 5.0, 0.4, site=SITE, code="J75")
    assert len(loopback.asked) == 3


def parsed(asked):
    from urllib.parse import parse_qs

    return parse_qs(asked.query)


def test_a_field_without_bodies_is_no_failure(loopback, tmp_path):
    url = loopback.on("/cone", Act(body=answer()))
    assert (
        len(service(url, tmp_path).seen(np.array([60000.0, 60000.1]), 10.0, 5.0, 0.4, site=SITE, code="J75"))
        == 0
    )


@pytest.mark.parametrize(
    ("act", "kind", "said"),
    [
        (
            Act(body=b"# Flag: -1\n# Ticket: 1\nerror: MySQL server has gone away\n"),
            ArchiveAnswerError,
            "MySQL server",
        ),
        (Act(body=answer(status="ERROR")), ArchiveError, "failed at the database"),
        (Act(status=429, headers={"Retry-After": "0"}), ArchiveUnavailable, "429"),
        (Act(body=answer((1, "Ceres", 1.0, 2.0)), cut=300), ArchiveError, "."),
        (Act(header_delay=5.0), ArchiveUnavailable, "."),
        (Act(body=b"<html><body>moved</body></html>"), ArchiveError, "."),
    ],
    ids=["flag", "status", "too many", "cut", "silence", "page"],
)
def test_failures_are_told_and_nothing_is_kept(loopback, tmp_path, act, kind, said):
    sky = service(loopback.on("/cone", act), tmp_path)
    with pytest.raises(kind, match=said):
        sky.ask(60000.0, 10.0, 5.0, 0.4, code="J75")
    loopback.on("/cone", Act(body=answer((1, "Ceres", 10.0, 5.0))))
    assert sky.ask(60000.0, 10.0, 5.0, 0.4, code="J75").name.tolist() == ["Ceres"]


def test_questions_that_have_no_answer_are_not_asked():
    with pytest.raises(ConfigError, match="three letters such as J75, not ''"):
        skybot_request(60000.0, 1.0, 2.0, 0.3, code="")
    with pytest.raises(ConfigError, match="from 1889 to 2060"):
        skybot_request(90000.0, 1.0, 2.0, 0.3, code="J75")
