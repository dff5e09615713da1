"""Verdicts of people on detections, one by one and by files."""

from __future__ import annotations

import csv
import json

import pytest
from sqlalchemy import text
from support.project import mirror, settings

from virtualobserver import Project
from virtualobserver.cli import main
from virtualobserver.errors import DataError
from virtualobserver.run.verdicts import COLUMNS, carry_verdicts, export_verdicts, import_verdicts


@pytest.fixture
def project(tmp_path, url):
    folder = mirror(tmp_path / "mirror", ["alpha", "beta"])
    with Project.open(settings(folder, ["alpha", "beta"]), data=tmp_path / "data", url=url) as opened:
        assert opened.run().failed == 0
        yield opened


@pytest.fixture
def numbers(project):
    return project.detections()["id"].tolist()


@pytest.fixture
def take(project, tmp_path):
    """Return a function that imports a file of the given text."""

    def imported(content, **options):
        path = tmp_path / "given.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return import_verdicts(project, path, **options)

    return imported


def test_a_verdict_is_a_row_of_its_own_with_who_when_and_what_about(project, numbers):
    project.judge(numbers[0], "Candidate", user="ann", note="fast rise")
    project.judge(numbers[0], "artefact", user="ann")
    project.judge(numbers[1], "unsure")
    given = project.verdicts()
    assert list(given.columns) == list(COLUMNS)
    assert given["detection"].tolist() == [numbers[0], numbers[0], numbers[1]]
    assert given["verdict"].tolist() == ["candidate", "artefact", "unsure"]
    assert given["note"].tolist() == ["fast rise", "", ""]
    assert given["user"].tolist()[:2] == ["ann", "ann"]
    assert given["user"].iloc[2]
    assert given["created"].is_monotonic_increasing
    about = project.detections().set_index("id").loc[given["detection"].tolist()]
    for name in ("source", "analysis", "kind", "digest", "start_mjd", "end_mjd"):
        assert given[name].tolist() == about[name].tolist(), name


def test_what_is_no_verdict_or_no_detection_is_refused(project, numbers):
    with pytest.raises(
        DataError, match="'flare' is no verdict; there are candidate, other, artefact, unsure"
    ):
        project.judge(numbers[0], "flare")
    with pytest.raises(DataError, match="search has no detection 987654"):
        project.judge(987654, "other")
    assert project.verdicts().empty


def test_a_file_out_and_in_again_is_the_same_to_the_last_letter(project, numbers, tmp_path):
    project.judge(numbers[0], "candidate", user="ann", note='two lines,\n"quoted"\r\n and µ ')
    project.judge(numbers[1], "other", user="bob")
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    assert export_verdicts(project, first) == 2
    before = project.verdicts()
    assert import_verdicts(project, first) == (0, 2)
    with project.session() as session, session.begin():
        session.execute(text("DELETE FROM classification"))
    assert import_verdicts(project, first) == (2, 0)
    assert project.verdicts().equals(before)
    export_verdicts(project, second)
    assert second.read_bytes() == first.read_bytes()


def test_lines_may_be_added_to_an_exported_file(project, numbers, tmp_path):
    project.judge(numbers[0], "unsure", user="ann")
    path = tmp_path / "verdicts.csv"
    export_verdicts(project, path)
    with path.open("a", newline="") as stream:
        more = {"detection": numbers[0], "verdict": "candidate", "user": "ann"}
        csv.DictWriter(stream, COLUMNS, restval="").writerow(more)
    assert import_verdicts(project, path) == (1, 1)
    assert project.verdicts()["verdict"].tolist() == ["unsure", "candidate"]


def test_a_file_of_two_columns_is_enough_and_says_who_by_the_option(project, numbers, take):
    assert take(f"\ufeffVerdict,Detection\r\n CANDIDATE ,{numbers[0]}\r\n\r\n", user="eve") == (1, 0)
    assert project.verdicts()[["verdict", "user"]].to_numpy().tolist() == [["candidate", "eve"]]
    assert take(f"detection,verdict,created,user\n{numbers[0]},other,2024-02-29T23:30:00+01:00,ann\n") == (
        1,
        0,
    )
    assert str(project.verdicts()["created"].iloc[0]) == "2024-02-29 22:30:00+00:00"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "line 1: the column detection is missing; the column verdict is missing"),
        ("detection\n1\n", "line 1: the column verdict is missing"),
        ("detection,verdict,label\nN,other,x\n", "line 1: there is no column 'label'"),
        ("detection,verdict,verdict\nN,other,x\n", "line 1: the column verdict is there twice"),
        ("detection,verdict\nN,other\nN,flare\n", "line 3: 'flare' is no verdict; there are candidate"),
        ("detection,verdict\nN,other\n\n987654,other\n", "line 4: project search has no detection 987654"),
        ("detection,verdict\nN,other\n,other\n", "line 3: which detection"),
        ("detection,verdict\nN,other\nx1,other\n", "line 3: 'x1' is not the number"),
        ("detection,verdict\nN,other\n" + "9" * 5000 + ",other\n", "line 3: .* is not the number"),
        ("detection,verdict\nN,other\nN,candidate\n", "line 3: .* judges detection .* once more, as on line 2"),
        ('detection,verdict,note\nN,other,"a\nb"\nN,other,\n', "line 4: .* as on line 2"),
        ("detection,verdict\nN,other\nN\n", "line 3: 1 values, and there are 2 columns"),
        ("detection,verdict\nN,other\nN,other,x\n", "line 3: 3 values"),
        ('detection,verdict\nN,other\nN,"other\n', "line 3: not CSV"),
        ("detection,verdict,created\nN,other,yesterday\n", "line 2: created is 'yesterday'"),
        ("detection,verdict,created\nN,other,0001-01-01\n", "line 2: created is 0001-01-01, and nobody"),
        ("detection,verdict,source\nN,other,beta\n", "line 2: source is 'beta', and detection .* has 'alpha'"),
        ("detection,verdict,note\nN,other,a\0b\n", "line 2: a character 0"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_by_line_and_nothing_of_it_is_kept(project, numbers, take, content, told):
    with pytest.raises(DataError, match=told):
        take(content.replace("N", str(numbers[0])), user="ann")
    assert project.verdicts().empty


def test_a_file_of_another_encoding_is_refused(project, take):
    with pytest.raises(DataError, match="not UTF-8 at byte 31"):
        take(b"detection,verdict,note\n1,other,\xe9\n")


def test_a_verdict_stays_when_the_detection_is_made_anew(project, numbers, tmp_path):
    project.judge(numbers[0], "candidate", user="ann")
    with project.session() as session, session.begin():
        session.execute(text("DELETE FROM detection WHERE id = :id"), {"id": numbers[0]})
    (row,) = project.verdicts().itertuples()
    assert (row.source, row.verdict) == ("alpha", "candidate")
    path = tmp_path / "verdicts.csv"
    export_verdicts(project, path)
    assert import_verdicts(project, path) == (0, 1)


def test_the_command_takes_in_lists_and_writes(project, numbers, tmp_path, url, monkeypatch, capsys):
    monkeypatch.setenv("VO_DATABASE_URL", url)
    config = tmp_path / "search.yaml"
    config.write_text(json.dumps(settings(tmp_path / "mirror", ["alpha", "beta"])))

    def vo(*words):
        code = main(["verdicts", str(config), "--data", str(tmp_path / "data"), *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    path, out = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text(f"detection,verdict\n{numbers[0]},candidate\n")
    assert vo("--import", path, "--user", "ann")[:2] == (0, "1 verdict added\n")
    assert "candidate" in vo()[1]
    assert vo("--export", out)[:2] == (0, f"1 verdict in {out}\n")
    code, _, err = vo("--export", out)
    assert code == 2
    assert "--force replaces it" in err
    path.write_text(f"detection,verdict\n{numbers[0]},good\n")
    code, _, err = vo("--import", path)
    assert code != 0
    assert "line 2: 'good' is no verdict" in err
    assert len(project.verdicts()) == 1


def test_the_last_word_on_each_detection_by_sql(project, numbers):
    project.judge(numbers[0], "unsure", user="ann")
    project.judge(numbers[0], "candidate", user="bob")
    query = """select distinct on (d.id) d.id, d.source, d.kind, c.label, c.user, c.note from detections d
        join classification c on c.detection_id = d.id order by d.id, c.created desc, c.id desc"""
    (row,) = project.sql(query).itertuples()
    assert (row.id, row.label, row.user) == (numbers[0], "candidate", "bob")


def test_verdicts_go_on_to_the_same_event_of_another_analysis_once(project, numbers):
    project.judge(numbers[0], "artefact", user="ann")
    project.judge(numbers[0], "candidate", user="ann", note="seen before")
    project.judge(numbers[0], "unsure", user="bob")
    project.judge(numbers[0], "withdrawn", user="bob")
    with project.session() as session, session.begin():
        # as if other settings had found it, and that detection were gone
        session.execute(text("UPDATE classification SET detection_id = NULL, digest = 'older'"))
    assert project.verdicts()["detection"].isna().all()
    assert carry_verdicts(project) == 1
    row = project.verdicts().dropna(subset="detection").iloc[0]
    assert (row["detection"], row["verdict"], row["user"], row["note"]) == (
        numbers[0], "candidate", "ann", "seen before",
    )  # fmt: skip
    about = project.detections().set_index("id").loc[numbers[0]]
    assert row["digest"] == about["digest"]
    assert carry_verdicts(project) == 0


def test_a_verdict_on_another_event_stays_where_it_is(project, numbers):
    project.judge(numbers[0], "candidate", user="ann")
    with project.session() as session, session.begin():
        session.execute(
            text(
                "UPDATE classification SET detection_id = NULL, digest = 'older', start_mjd = 1, end_mjd = 2"
            )
        )
    assert carry_verdicts(project) == 0
