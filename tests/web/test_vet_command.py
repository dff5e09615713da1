"""The command, its report, and what its page of the manual says."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import urllib.request

import pytest
import yaml
from sqlalchemy import text
from support.paths import ROOT
from support.vetting import EVIL, settings, vetting

from virtualobserver.cli import main
from virtualobserver.web import report
from virtualobserver.web.report import write_report

MANUAL = (ROOT / "docs" / "vetting.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def flares(place, opened):
    """Return a folder with the configuration that the manual speaks of, which was run."""
    (place / "configs").mkdir(exist_ok=True)
    # its two names are those that the manual uses
    words = settings() | {"name": "flares"}
    (place / "configs" / "flares.yaml").write_text(yaml.safe_dump(words).replace("star_01", "star_1"))
    assert main(["run", str(place / "configs" / "flares.yaml"), "--data", str(place / "data")]) == 0
    return place


@pytest.mark.parametrize("line", re.findall(r"^\$ vo (.*?)\s*(?:#.*)?$", MANUAL, re.MULTILINE))
def test_the_commands_of_the_manual_do_what_it_says(flares, project, monkeypatch, capsys, line):
    monkeypatch.chdir(flares)
    monkeypatch.setenv("VO_DATA", str(flares / "data"))
    name, config, *words = shlex.split(line)
    if name == "verdicts" or "--export" in words:
        assert main([name, config, *words, *(["--force"] if "--force" not in words else [])]) == 0
        assert capsys.readouterr().out
        return
    with vetting("flares", *words) as (address, _):
        with urllib.request.urlopen(address) as answer:
            cookie = answer.headers["set-cookie"].split(";")[0]
            leads = re.search(r'href="([^"]*)"', answer.read().decode())[1]
        base = re.match(r"http://[^/]*", address)[0]
        with urllib.request.urlopen(
            urllib.request.Request(base + leads, headers={"cookie": cookie})
        ) as answer:
            page = answer.read().decode()
    assert ("star_1" if "--source" in words else "in the queue") in page
    assert ("blind" in page) == ("--simulated" in words)
    if "--port" in words:
        assert ":8123/" in address
        assert ">ann" in page


def test_a_report_is_read_without_a_server_and_shows_what_was_said(project, numbers, injected, tmp_path):
    evil = next(n for n in numbers if project.detection(n).source.name == EVIL)
    project.judge(evil, "candidate", user="ann", note="=cmd() <b>bold</b>")
    project.judge(numbers[1], "artefact", user="ann")
    project.judge(numbers[1], "other", user="bob")
    project.judge(numbers[2], "other", user="bob")
    project.judge(numbers[2], "withdrawn", user="bob")
    project.judge(injected[0], "candidate", user="ann")
    folder = tmp_path / "report"
    (folder / "candidates").mkdir(parents=True)
    (folder / "candidates" / "999999.html").write_text("of an earlier report")
    (folder / "candidates" / "mine.txt").write_text("not of any")
    assert write_report(project, folder) == 2
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in index
    assert "=cmd() &lt;b&gt;bold&lt;/b&gt;" in index
    assert "<script" not in index
    assert "judged differently" in index
    assert "ann: junk" in index, "as the page calls it"
    assert "bob: real, but no candidate" in index
    assert (folder / "candidates" / f"{evil}.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (folder / "candidates").iterdir()} == {
        *(f"{n}.{end}" for n in (evil, numbers[1]) for end in ("html", "png")), "mine.txt"
    }  # fmt: skip
    for path in [folder / "index.html", *(folder / "candidates").glob("*.html")]:
        for kind, leads in re.findall(r'(href|src)="([^"]*)"', path.read_text(encoding="utf-8")):
            assert (path.parent / leads).exists() or (kind == "href" and leads.startswith("https://")), leads
    assert len((folder / "verdicts.csv").read_text().splitlines()) > 5
    assert write_report(project, folder, simulated=True) == 3
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert "Injected events" in index
    assert "1.00" in index


def test_a_report_names_kinds_as_people_read_them(project, numbers, tmp_path):
    project.judge(numbers[0], "candidate", user="ann")

    def call(kind):
        with project.session() as session, session.begin():
            told = {"n": numbers[0], "kind": kind}
            before = session.execute(text("SELECT kind FROM detection WHERE id = :n"), told).scalar_one()
            session.execute(text("UPDATE detection SET kind = :kind WHERE id = :n"), told)
        return before

    before = call("exocomet_candidate")
    try:
        write_report(project, tmp_path)
    finally:
        call(before)
    for page in ("index.html", f"candidates/{numbers[0]}.html"):
        words = (tmp_path / page).read_text(encoding="utf-8")
        assert "exocomet candidate" in words
        assert "exocomet_candidate" not in words


def test_each_page_and_picture_of_what_is_simulated_says_so(project, numbers, injected, tmp_path):
    for number in (numbers[0], injected[0]):
        project.judge(number, "candidate", user="ann")
    write_report(project, tmp_path, simulated=True)
    for number, word, title in (
        (numbers[0], "Simulated data", "(simulated data)"),
        (injected[0], "Injected", "(injected)"),
    ):
        assert word in (tmp_path / "candidates" / f"{number}.html").read_text(encoding="utf-8")
        assert title in project.detection(number).plot().get_suptitle()


def test_the_server_ends_well_when_its_user_ends_it(flares):
    words = [str(flares / "configs" / "flares.yaml"), "--data", str(flares / "data")]
    with vetting(*words) as (_, running):
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 0
    # the signal may come between the address and the line that says how to end
    said = said.replace("Open this address in a browser on this machine; Ctrl-C ends.\n", "")
    assert said.splitlines() == [
        f"Stopped. All verdicts are kept; `vo vet {' '.join(words)}` goes on from here."
    ]


def test_an_analysis_that_cannot_draw_one_candidate_takes_no_other_page_away(
    project, numbers, tmp_path, monkeypatch
):
    for number in numbers[:2]:
        project.judge(number, "candidate", user="ann")
    drawn = report.detection_figure

    def broken(opened, number):
        if number == numbers[0]:
            msg = "bad <index>"
            raise IndexError(msg)
        return drawn(opened, number)

    monkeypatch.setattr(report, "detection_figure", broken)
    assert write_report(project, tmp_path) == 2
    page = (tmp_path / "candidates" / f"{numbers[0]}.html").read_text(encoding="utf-8")
    assert "could not draw this: IndexError: bad &lt;index&gt;" in page
    assert (tmp_path / "candidates" / f"{numbers[1]}.png").is_file()
    assert (tmp_path / "index.html").is_file()


def test_a_folder_with_something_in_it_is_not_written_into_unasked(project, place, tmp_path, capsys):
    (tmp_path / "x").write_text("mine")
    words = ["vet", str(place / "vetted.yaml"), "--data", str(place / "data")]
    assert main([*words, "--export", "--out", str(tmp_path)]) == 2
    assert "--force" in re.sub(r"\s+", " ", capsys.readouterr().err)
    assert main([*words, "--out", str(tmp_path)]) == 2
    assert main([*words, str(tmp_path)]) == 2
    assert main([*words, "--export", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "index.html").is_file()
    assert main([*words, "--source", "nobody"]) == 2


def test_settings_that_did_not_run_last_are_said_beside_a_report_without_candidates(place, tmp_path, capsys):
    words = ["vet", str(place / "vetted.yaml"), "--data", str(place / "data"), "--export"]
    assert main([*words, str(tmp_path / "one")]) == 0
    assert "did not run" not in capsys.readouterr().err
    assert main([*words, str(tmp_path / "two"), "--set", "analyses.transients.snr_threshold=9"]) == 0
    assert "did not run with these settings last" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(project, place, capsys):
    with vetting(place / "vetted.yaml", "--data", str(place / "data")) as (address, _):
        port = re.search(r":(\d+)/", address)[1]
        assert main(["vet", str(place / "vetted.yaml"), "--data", str(place / "data"), "--port", port]) == 2
    assert f"port {port} cannot be had" in capsys.readouterr().err


def test_nothing_of_the_page_is_loaded_before_it_is_asked_for():
    code = "import sys, virtualobserver.cli.entry; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"starlette", "uvicorn", "jinja2", "bokeh"} & set(done.stdout.split()) == set()


def test_without_the_extra_the_command_says_what_to_install(place, monkeypatch, capsys):
    monkeypatch.setattr(
        "virtualobserver.cli.vet.find_spec", lambda name: None if name == "uvicorn" else object()
    )
    assert main(["vet", str(place / "vetted.yaml"), "--data", str(place / "data")]) == 2
    assert "virtualobserver[web]" in capsys.readouterr().err
