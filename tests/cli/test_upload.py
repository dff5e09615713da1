"""`vo upload skyportal` sends what was judged a candidate, once, and takes it back."""

import json

import pytest
from support.cli import search
from support.skyportal import TOKEN, FakeSkyPortal

CONFIG = search("upload_test")


@pytest.fixture
def portal(monkeypatch):
    monkeypatch.setenv("VO_SKYPORTAL_TOKEN", TOKEN)
    with FakeSkyPortal() as running:
        monkeypatch.setenv("VO_SKYPORTAL_URL", running.url)
        yield running


def upload(vo, *words):
    return vo("upload", "skyportal", "search.yaml", *words)


WORDS = ("--group", 7, "--instrument", 5, "--filter", "R=bessellr", "--simulated")


def test_candidates_go_there_and_come_back(vo, portal, place):
    code, out, err = upload(vo, *WORDS)
    assert (code, out) == (0, "")
    assert "no source that was judged 'candidate'" in err
    query = "SELECT id FROM detections_all WHERE source = 'one' AND injection_id IS NULL"
    (found,) = json.loads(vo("sql", query, "--json")[1])
    (place / "night.csv").write_text(f"detection,verdict,user\n{found['id']},candidate,ann\n")
    assert vo("verdicts", "search.yaml", "--import", "night.csv")[0] == 0

    code, out, _ = upload(vo, *WORDS, "--dry-run")
    (told,) = json.loads(out)
    assert code == 0
    assert not portal.asked
    assert (told["source"]["id"], told["source"]["ra"]) == ("one", 10.0)
    assert told["photometry"][0]["filter"] == "bessellr"
    assert told["annotation"]["data"]["verdict"] == "candidate"
    assert told["annotation"]["data"]["judged_by"] == "ann"

    code, out, err = upload(vo, *WORDS)
    assert code == 0, err
    number = out.split()[1].rstrip(":")
    assert out.startswith(f"upload {number}: 1 source, 60 points, 1 annotation")
    assert err == "one\n"
    assert len(portal.points) == 60
    assert all(point["zp"] == 23.9 for point in portal.points.values())
    assert upload(vo, *WORDS)[1] == "nothing new to send\n"
    assert number in upload(vo, "--list")[1]
    assert json.loads(upload(vo, "--list", "--json")[1])[0]["state"] == "done"

    code, out, _ = upload(vo, "--undo", number)
    assert (code, out) == (0, f"upload {number} taken back: 1 source, 60 points, 1 annotation\n")
    assert not portal.points
    assert not portal.annotations
    assert portal.saved == {"one": set()}


def test_a_broken_upload_says_how_it_goes_on(vo, portal):
    portal.fail("PUT", "/api/photometry", 500)
    code, out, err = upload(vo, *WORDS, "--source", "two", "--source", "three")
    assert (code, out) == (3, "")
    assert "the same command goes on with it" in err
    code, out, _ = upload(vo, *WORDS, "--source", "two", "--source", "three")
    assert code == 0
    assert "120 points" in out


def test_what_is_wrong_is_said(vo, portal, monkeypatch):
    assert upload(vo)[0] == 2
    assert "simulated" in upload(vo, "--group", 7, "--source", "one")[2]
    assert upload(vo, *WORDS, "--source", "nobody")[0] == 2
    assert upload(vo, *WORDS, "--filter", "R")[0] == 2
    assert "there are" in upload(vo, "--undo", "beef")[2]
    monkeypatch.delenv("VO_SKYPORTAL_TOKEN")
    code, _, err = upload(vo, *WORDS, "--source", "one")
    assert code == 2
    assert "VO_SKYPORTAL_TOKEN" in err
    assert not portal.asked
