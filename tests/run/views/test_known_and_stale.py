"""What a discovered source was found to be, and what hangs on data that changed, are damaged or gone."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text
from support.paths import PLUGINS
from support.project import mirror, settings

from virtualobserver import Project
from virtualobserver.cli import main
from virtualobserver.run.upkeep.verify import verify

FINDER = str(PLUGINS / "finder.py")


@pytest.fixture
def folder(tmp_path):
    return mirror(tmp_path / "mirror", ["alpha", "beta"])


@pytest.fixture
def open_project(folder, tmp_path, url):
    """Return a function that opens the search, with what is laid over it."""
    opened = []

    def make(**more):
        project = Project.open(settings(folder, ["alpha", "beta"], **more), data=tmp_path / "data", url=url)
        opened.append(project)
        return project

    yield make
    for project in opened:
        project.close()


@pytest.mark.parametrize(
    ("known", "name"), [("star", "beta"), ("alias", "beta"), ("asteroid", "(1) Ceres"), ("none", None)]
)
def test_what_a_discovered_source_is_stands_in_its_row_the_views_and_its_repr(open_project, known, name):
    project = open_project(analyses={FINDER: {"known": known}})
    project.import_catalogue()
    with project.session() as session, session.begin():
        session.execute(text("UPDATE source SET aliases = ARRAY['also beta'] WHERE name = 'beta'"))
    project.run()
    frame = project.detections()
    assert frame["source"].tolist() == ["beside alpha", "beside beta"]
    assert frame["known_as"].tolist() == [name, name]
    row = project.detection(int(frame["id"].iloc[0])).source
    assert row.known_as == name
    assert ("known_as" in repr(row)) == (name is not None)


def test_another_answer_replaces_what_a_source_was_taken_for(open_project):
    open_project(analyses={FINDER: {"known": "asteroid"}}).run()
    project = open_project(analyses={FINDER: {"known": "none"}})
    project.run()
    assert project.detections()["known_as"].isna().all()


def stale(project):
    table = project.sql("SELECT source, stale FROM detections ORDER BY source")
    return dict(zip(table["source"], table["stale"], strict=True))


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def test_detections_that_hang_on_a_damaged_product_are_stale_before_and_after_the_repair(open_project):
    project = open_project()
    project.run()
    assert stale(project) == {"alpha": False, "beta": False}
    path = project.workspace.store.resolve(project.source("alpha").lightcurves[0].file.path)
    damage(path)
    report = verify(project.workspace)
    assert report.hanging == 2
    assert "2 detections hang on these files" in str(report)
    assert stale(project) == {"alpha": True, "beta": True}  # both light curves lie in that file
    assert project.sql("SELECT DISTINCT stale FROM lightcurves")["stale"].tolist() == [True]
    assert project.detections()["stale"].all()
    verify(project.workspace, repair=True)
    assert stale(project) == {"alpha": True, "beta": True}
    project.run(refresh=True)
    assert stale(project) == {"alpha": False, "beta": False}
    assert verify(project.workspace).hanging == 0


def test_a_file_that_vanished_from_a_folder_makes_its_detections_stale_until_it_is_back(open_project, folder):
    project = open_project()
    project.run()
    content = (folder / "alpha.csv").read_bytes()
    (folder / "alpha.csv").unlink()
    report = verify(project.workspace)
    assert "1 file that was read before is gone" in str(report)
    assert stale(project) == {"alpha": True, "beta": False}
    (folder / "alpha.csv").write_bytes(content)
    assert verify(project.workspace).ok
    assert stale(project) == {"alpha": False, "beta": False}


def test_what_was_made_of_stale_results_is_stale_too(open_project):
    project = open_project()
    project.run()
    with project.session() as session, session.begin():
        session.execute(
            text(
                "UPDATE task SET status = 'stale' WHERE step = 'reduce:ztf' AND source_id = "
                "(SELECT id FROM source WHERE name = 'alpha')"
            )
        )
    assert stale(project) == {"alpha": True, "beta": False}


def test_the_commands_say_what_is_stale(open_project, folder, tmp_path, monkeypatch, capsys):
    project = open_project()
    project.run()
    config = tmp_path / "search.yaml"
    config.write_text(json.dumps(settings(folder, ["alpha", "beta"])))
    monkeypatch.setenv("VO_DATABASE_URL", project.workspace.database.url)
    monkeypatch.setenv("VO_DATA", str(project.workspace.root))
    assert main(["detections", str(config)]) == 0
    shown = capsys.readouterr()
    assert "stale" not in shown.out + shown.err
    number = int(project.detections()["id"].iloc[0])
    assert "stale" not in project.detection(number).plot().get_suptitle()
    (folder / "alpha.csv").unlink()
    assert main(["verify"]) == 1
    assert "is gone" in capsys.readouterr().out
    assert main(["detections", str(config)]) == 0
    shown = capsys.readouterr()
    assert "stale" in shown.out
    assert "1 detection stale" in shown.err
    assert "stale" in project.detection(number).plot().get_suptitle()
