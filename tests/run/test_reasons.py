"""A task that ends without a result says why, and how much was left out for which cause."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest
from support.project import mirror, settings, write_star
from support.real import real_data
from support.ztf import Client

from virtualobserver import Project, plugins
from virtualobserver.cli import main
from virtualobserver.data.product import Target
from virtualobserver.errors import InvalidFile
from virtualobserver.io.store import Store
from virtualobserver.observatories.ztf import VirtualZTF
from virtualobserver.run.views.tables import reasons
from virtualobserver.testing.archives import FolderArchive


@pytest.fixture
def open_project(tmp_path: Path, url: str):
    opened = []

    def make(configuration):
        opened.append(Project.open(configuration, data=tmp_path / "data", url=url))
        return opened[-1]

    yield make
    for project in opened:
        project.close()


def tasks(project):
    frame = project.sql(
        """SELECT s.name AS source, t.step, t.status, t.reason, t.counts, t.error, t.id FROM task t
        JOIN source s ON s.id = t.source_id JOIN membership m ON m.source_id = s.id
        JOIN project p ON p.id = m.project_id WHERE p.name = :name ORDER BY t.id""",
        name=project.name,
    )
    return {(row.source, row.step): row for row in frame.itertuples(index=False)}


def spoil(path: Path, **columns: str) -> None:
    """Write other values into columns of a light curve."""
    header, *lines = path.read_text().splitlines()
    names = header.split(",")
    cells = [line.split(",") for line in lines]
    for name, value in columns.items():
        for row in cells:
            row[names.index(name)] = value
    path.write_text("\n".join([header, *(",".join(row) for row in cells)]) + "\n")


def test_every_empty_task_has_a_reason_and_rows_left_out_are_counted(tmp_path, open_project):
    names = ["good", "gone", "far", "other", "flagged", "header"]
    folder = mirror(tmp_path / "mirror", names)
    (folder / "gone.csv").unlink()
    write_star(folder, "far", ra=120.0, dec=20.0)
    (folder / "other.csv").rename(folder / "other.txt")
    spoil(folder / "flagged.csv", catflags="1")
    header = (folder / "header.csv").read_text().splitlines()[0]
    (folder / "header.csv").write_text(header + "\n")
    configuration = settings(folder, names)
    configuration["observatories"]["ztf"]["drop_flagged"] = True
    project = open_project(configuration)
    project.run()
    found = tasks(project)
    assert all(row.reason for row in found.values() if row.status == "empty")
    assert all(row.reason is None for row in found.values() if row.status != "empty")
    assert "no file of its name" in found["gone", "fetch:ztf"].reason
    assert "a file .txt" in found["other", "fetch:ztf"].reason
    assert found["header", "fetch:ztf"].reason == "its file has no epochs"
    away = "epochs of objects away from the position of the source"
    assert found["far", "reduce:ztf"].reason == f"nothing is left: {away}"
    assert found["far", "reduce:ztf"].counts == {away: 60}
    assert found["flagged", "reduce:ztf"].status == "empty"
    table = project.status()
    assert table.loc["fetch:ztf", "empty"] == 3
    assert "1 task empty, its file has no epochs" in table.loc["fetch:ztf", "reasons"]
    assert f"60 {away} in 1 task" in table.loc["reduce:ztf", "reasons"]
    assert reasons(project).query("rows.isna()")["tasks"].sum() == table["empty"].sum()


def test_status_and_log_say_why(tmp_path, url, monkeypatch, capsys):
    folder = mirror(tmp_path / "mirror", ["a", "b"])
    (folder / "a.csv").unlink()
    write_star(folder, "b", ra=120.0, dec=20.0)
    (tmp_path / "x.yaml").write_text(json.dumps(settings(folder, ["a", "b"])))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VO_DATABASE_URL", url)

    def vo(*words):
        assert main(list(words)) == 0
        return capsys.readouterr().out

    vo("run", "x.yaml")
    assert "fetch:ztf: 1 task empty, no file of its name" in vo("status", "x.yaml")
    assert "no file of its name" in json.loads(vo("status", "x.yaml", "--json"))["fetch:ztf"]["reasons"]
    with Project.open("x.yaml", data=tmp_path / "data") as project:
        task = tasks(project)["b", "reduce:ztf"]
    log = vo("log", str(task.id))
    assert "reason:" in log
    assert "epochs of objects away from the position of the source" in log


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("star.csv", b"", "star.csv: empty, 0 bytes"),
        ("star.csv", b" \n", "nothing but blanks"),
        ("star.vot", b"", "star.vot: empty, 0 bytes"),
        ("star.csv.gz", gzip.compress(b"x" * 10_000, mtime=0)[:30], "cut gzip file"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_failure(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    found = list(VirtualZTF().fetch([Target("star", ra=10.0, dec=20.0)], Client(tmp_path)))
    assert isinstance(found[0][1], InvalidFile)
    assert words in str(found[0][1])


FOLDERS = ["ztf", "folder", "harps", "lsss", "astep", "decam"]


@pytest.mark.parametrize("survey", FOLDERS)
@pytest.mark.parametrize("how", ["pipe", "link"])
def test_a_name_that_is_no_file_stops_nobody_else(tmp_path, url, survey, how):
    loaded = plugins.load("observatories", survey)
    archive = FolderArchive(loaded(**loaded.contract.options), survey, tmp_path / "data", url)
    path = archive.write(tmp_path / "archive")[0]
    path.unlink()
    if how == "pipe":
        os.mkfifo(path)  # to open it would wait for ever
    else:
        path.symlink_to(tmp_path / "nowhere")
    with archive.opened(tmp_path / "archive") as project:
        summary = project.run(step="fetch")
        (task,) = tasks(project).values()
    assert summary.complete or how == "link"
    assert task.status in {"done", "empty", "failed"}  # and none is left behind
    if how == "link" and survey != "harps":  # nobody knows whose spectrum it is: that is logged
        assert task.status == "failed"
        assert str(path) in task.error
    elif task.status == "empty":
        assert task.reason


def test_a_file_that_cannot_be_read_is_the_failure_of_its_task_alone(tmp_path, open_project, monkeypatch):
    folder = mirror(tmp_path / "mirror", ["good", "theirs"])
    real = Store.register

    def register(self, path):
        if path.name == "theirs.csv":  # as a disk that fails between the look at a file and its checksum
            raise InvalidFile(f"{path} cannot be read: Input/output error")
        return real(self, path)

    monkeypatch.setattr(Store, "register", register)
    project = open_project(settings(folder, ["good", "theirs"]))
    (failure,) = project.run().failures
    assert failure["source"] == "theirs"
    assert "theirs.csv cannot be read: Input/output error" in failure["error"]
    assert tasks(project)["good", "fetch:ztf"].status == "done"


@pytest.mark.parametrize("how", ["packed", "capitals", "floats", "suffix"])
def test_a_light_curve_that_another_program_wrote_is_read_all_the_same(tmp_path, open_project, how):
    folder = mirror(tmp_path / "mirror", ["good", "star"])
    path = folder / "star.csv"
    header, *lines = path.read_text().splitlines()
    if how == "packed":
        (folder / "star.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    elif how == "suffix":
        path.rename(folder / "star.CSV")
    elif how == "capitals":
        path.write_text("\n".join([header.upper(), *lines]) + "\n")
    else:
        rows = [line.split(",") for line in lines]
        rows = [
            [f"{cell}.0" if n in {0, 1, 6, 12, 13, 23} else cell for n, cell in enumerate(row)]
            for row in rows
        ]
        path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    with_star = open_project(settings(folder, ["good", "star"]))
    assert with_star.run().failed == 0
    (curve,) = with_star.source("star").lightcurves
    assert len(curve.data) == 60
    assert with_star.detections()["source"].tolist() == ["good", "star"]


@pytest.mark.parametrize("value", ["6.86103400067717e14", "12.5", "abc"])
def test_an_id_that_lost_its_digits_is_named_with_its_row(tmp_path, open_project, value):
    folder = mirror(tmp_path / "mirror", ["star"])
    path = folder / "star.csv"
    spoil(path, oid=value)
    project = open_project(settings(folder, ["star"]))
    (failure,) = project.run().failures
    assert "column oid should hold whole numbers, but row 1 holds" in failure["error"]


@pytest.mark.parametrize("error", ["0", "-0.02", ""])
def test_a_light_curve_without_any_usable_error_fails(tmp_path, open_project, error):
    folder = mirror(tmp_path / "mirror", ["star"])
    spoil(folder / "star.csv", magerr=error)
    (failure,) = open_project(settings(folder, ["star"])).run().failures
    assert "none of its 60 epochs has a magnitude with an error above zero" in failure["error"]


def test_epochs_without_an_exposure_time_are_kept_at_their_start_and_counted(tmp_path, open_project):
    folder = mirror(tmp_path / "mirror", ["star"])
    spoil(folder / "star.csv", exptime="")
    project = open_project(settings(folder, ["star"]))
    assert project.run().failed == 0
    (curve,) = project.source("star").lightcurves
    assert len(curve.data) == 60
    assert (curve.data.mjd == curve.data.columns["mjd_start"]).all()
    assert "60 epochs without an exposure time" in curve.data.meta["time"]
    (cause,) = tasks(project)["star", "reduce:ztf"].counts
    assert cause == "epochs without an exposure time, whose start is taken for their middle"


@pytest.mark.parametrize("name", plugins.names("observatories"))
def test_every_survey_says_why_a_target_is_empty(tmp_path, open_project, name):
    survey = plugins.load("observatories", name)
    archive = tmp_path / "archive"
    archive.mkdir()
    options = dict(survey.contract.options)
    if survey.simulated:
        options |= {"n_epochs": 0}
    else:
        _fill(survey, archive)
        options |= {"archive": str(archive)}
    configuration = {
        "name": "nothing",
        "catalog": {"rows": [{"name": "nowhere", "ra": 271.5, "dec": -33.25}]},
        "observatories": {name: options},
        "analyses": {},
    }
    project = open_project(configuration)
    project.run()
    found = tasks(project)
    assert found
    for row in found.values():
        assert row.status in {"empty", "failed"} or row.status == "done"
        assert row.status != "empty" or row.reason
    if name not in {
        "kbmod",
        "lsss",
        "decam",
    }:  # stacks, and files that do not say where they look, are everybody's
        assert found["nowhere", f"fetch:{name}"].status in {"empty", "failed"}


def _fill(survey, archive: Path) -> None:
    """Put something of another target into an archive folder."""
    import numpy as np

    for number, (_, raw) in enumerate(
        survey(**survey.contract.options).simulate_raw(survey.contract.targets, np.random.default_rng(0))
    ):
        if raw.content is not None and raw.format == "fits":
            (archive / f"{number:03d}.fits").write_bytes(raw.content)
    if not any(archive.iterdir()):
        (archive / "other.csv").write_text("a,b\n")


@pytest.mark.real
def test_light_curves_of_other_programs_end_as_they_should(tmp_path, url):
    folder = tmp_path / "lc"
    shutil.copytree(real_data("reports", "ztf", "lc"), folder)
    (folder / "cat.csv").write_text((folder / "cat.csv").read_text())
    with Project.open(folder / "lc.yaml", data=tmp_path / "data", url=url) as project:
        summary = project.run()
        assert [failure["source"] for failure in summary.failures] == ["zerobytes"]
        assert "empty, 0 bytes" in summary.failures[0]["error"]
        for name in ("base", "noexp", "floats", "upper", "gz"):
            assert sum(len(curve.data) for curve in project.source(name).lightcurves) == 200, name
        found = tasks(project)
        assert sum(found["noexp", "reduce:ztf"].counts.values()) == 200
