"""What an archive holds is part of what is done: new, changed and vanished files, other folders."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from support.project import HEADER, mirror, rows, settings, write_star
from support.real import real_data

from virtualobserver import Project
from virtualobserver.cli import main

NAMES = ["alpha", "beta", "gamma", "delta"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return mirror(tmp_path / "mirror", NAMES)


@pytest.fixture
def project(tmp_path: Path, folder: Path, url: str):
    with Project.open(settings(folder, NAMES), data=tmp_path / "data", url=url) as opened:
        yield opened


def reopen(project: Project, configuration: dict) -> Project:
    return Project.open(configuration, data=project.workspace.root, url=project.workspace.database.url)


def done(summary) -> dict[str, int]:
    return {step: sum(counts.values()) for step, counts in summary.counts.items() if counts}


def test_a_folder_that_did_not_change_leaves_nothing_to_say(project):
    project.run()
    again = project.run(refresh=True)
    assert (again.worked, again.notes, project.notes()) == (0, [], [])


def test_a_changed_file_is_named_and_read_only_when_asked(project, folder):
    project.run()
    write_star(folder, "beta", ra=11.0, dec=20.0, n=70, seed=1)
    told = ["fetch:ztf: 1 source has new or changed files: --refresh reads them"]
    assert project.notes() == told
    for _ in range(2):  # said again by each run until it is read
        summary = project.run()
        assert (summary.worked, summary.notes, summary.complete) == (0, told, True)
    assert project.status()["stale"].to_dict()["fetch:ztf"] == 1
    assert done(project.run(refresh=True)) == {"fetch:ztf": 1, "reduce:ztf": 1, "analyse:transients": 1}
    assert project.notes() == []
    assert project.source("beta").lightcurves[0].n == 70


def test_a_file_changed_within_its_size_is_seen(project, folder):
    project.run()
    path = folder / "gamma.csv"
    state = path.stat()
    path.write_bytes(path.read_bytes().replace(b"0.9,", b"0.8,"))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert path.stat().st_size == state.st_size
    assert project.notes() == ["fetch:ztf: 1 source has new or changed files: --refresh reads them"]


def test_a_file_put_in_the_place_of_another_with_its_size_and_time_is_seen(project, folder, tmp_path):
    project.run()
    path = folder / "gamma.csv"
    state, content = path.stat(), path.read_text()
    other = tmp_path / "other.csv"
    other.write_text(content.replace(",0.02,0,zg", ",0.04,0,zg"))
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    other.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    before = project.source("gamma").lightcurves[0].data.flux_error
    assert project.run().notes == ["fetch:ztf: 1 source has new or changed files: --refresh reads them"]
    assert project.run(refresh=True).complete
    after = project.source("gamma").lightcurves[0].data.flux_error
    np.testing.assert_allclose(after, 2 * before, rtol=1e-6)


def test_listings_of_earlier_versions_are_those_of_the_same_files(project, folder):
    project.run()
    with project.session() as session:
        shorter = "regexp_replace(listed, '(:[0-9]+):[0-9]+\"', '\\1\"', 'g')"
        session.execute(sa.text(f"UPDATE task SET listed = {shorter} WHERE listed IS NOT NULL"))
        assert session.scalar(sa.text("SELECT count(*) FROM task WHERE listed ~ '[0-9]:[0-9]+:[0-9]'")) == 0
        session.commit()
    assert project.notes() == []
    write_star(folder, "beta", ra=11.0, dec=20.0, n=70, seed=1)
    assert project.notes() == ["fetch:ztf: 1 source has new or changed files: --refresh reads them"]


def test_a_file_for_a_source_that_was_empty_is_seen(project, folder):
    content = (folder / "delta.csv").read_bytes()
    (folder / "delta.csv").unlink()
    project.run()
    assert project.status().loc["fetch:ztf", "empty"] == 1
    (folder / "delta.csv").write_bytes(content)
    assert project.run().notes == ["fetch:ztf: 1 source has new or changed files: --refresh reads them"]
    assert project.status().loc["fetch:ztf", ["empty", "stale"]].tolist() == [0, 1]
    assert project.run(refresh=True).notes == []
    assert len(project.detections()) == 4


def test_a_file_that_is_gone_is_told_and_its_rows_go_with_refresh(project, folder):
    project.run()
    (folder / "alpha.csv").unlink()
    (folder / "beta.csv").unlink()
    told = "fetch:ztf: 2 files that were read before are gone: --refresh removes what was made from them"
    assert project.run().notes == [told]
    assert len(project.detections()) == 4
    project.run(refresh=True)
    assert sorted(project.detections()["source"]) == ["delta", "gamma"]
    assert project.sql("SELECT count(*) AS n FROM product")["n"][0] == 2
    assert project.notes() == []


def test_a_folder_that_is_not_there_is_said_and_changes_nothing(project, folder):
    project.run()
    away = folder.rename(folder.with_name("away"))
    summary = project.run(refresh=True)
    assert summary.worked == 0
    assert summary.notes == project.notes()
    assert "not looked for new files" in summary.notes[0]
    assert len(project.detections()) == 4
    away.rename(folder)
    assert project.notes() == []


def test_another_folder_is_another_archive(project, folder, tmp_path):
    project.run()
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folder / "alpha.csv", other)  # the same bytes under the same name
    for n, name in enumerate(NAMES[1:], 1):
        write_star(other, name, ra=10.0 + n, dec=20.0, flare=False, seed=50 + n)
    conf = settings(other, NAMES, name="second")
    with reopen(project, conf) as second:
        assert done(second.run()) == {"fetch:ztf": 4, "reduce:ztf": 4, "analyse:transients": 4}
        assert second.detections()["source"].tolist() == ["alpha"]
    assert len(project.detections()) == 4
    assert project.run().worked == 0
    shutil.rmtree(other)  # what the one reads does not hang on the other
    assert len(project.source("alpha").lightcurves[0].data.mjd) == 60
    assert done(project.run(step="reduce", only=["alpha"], redo=True)) == {"reduce:ztf": 1}
    with reopen(project, settings(folder, NAMES)) as back:
        assert back.run().worked == 0


def test_the_same_project_over_another_folder_reads_it(project, folder, tmp_path):
    project.run()
    other = mirror(tmp_path / "other", NAMES[:2])
    with reopen(project, settings(other, NAMES)) as moved:
        moved.run()
        assert moved.status().loc["fetch:ztf", ["done", "empty"]].tolist() == [2, 2]
        assert len(moved.detections()) == 2


def test_the_live_archive_at_another_address_is_another_task(tmp_path, url):
    conf = {"name": "live", "catalog": {"rows": rows(["alpha"])}, "observatories": {"ztf": {}}}
    with Project.open(conf, data=tmp_path / "data", url=url) as project:
        first = project.steps
    conf["observatories"]["ztf"] = {"tap_url": "http://localhost:1/TAP"}
    with Project.open(conf, data=tmp_path / "data", url=url) as project:
        for one, other in zip(first, project.steps, strict=True):
            assert one.name == other.name
            assert one.digest != other.digest


@pytest.mark.real
def test_forced_files_belong_to_the_source_they_were_requested_for(tmp_path, url):
    real = real_data("archives/ztf/forced")
    (path,) = real.glob("forcedphotometry_req00012210_lc_ZTF20acfkyll.txt")
    folder = tmp_path / "forced"
    folder.mkdir()
    here = {"name": "here", "ra": 106.88522654, "dec": 48.90021893}
    conf = {
        "name": "forced",
        "catalog": {"rows": [here, {"name": "there", "ra": 10.0, "dec": 20.0}]},
        "observatories": {"ztf": {"archive": str(folder), "mode": "forced"}},
    }
    with Project.open(conf, data=tmp_path / "data", url=url) as project:
        project.run()
        assert project.status().loc["fetch:ztf", "empty"] == 2
        shutil.copy(path, folder)
        assert project.run().notes == ["fetch:ztf: 1 source has new or changed files: --refresh reads them"]
        project.run(refresh=True)
        assert project.status().loc["fetch:ztf", ["done", "empty"]].tolist() == [1, 1]


@pytest.mark.real
def test_more_nights_of_a_star_are_read_with_refresh(tmp_path, url):
    files = sorted(real_data("reports/harps/two_nights").glob("*.fits.gz"))
    assert len(files) == 10
    folder, other = tmp_path / "nights", tmp_path / "other"
    for place in (folder, other):
        place.mkdir()
    for path in files[:4]:
        shutil.copy(path, folder)
    for path in files[:5]:
        shutil.copy(path, other)
    conf = {
        "name": "nights",
        "catalog": {"rows": [{"name": "X", "ra": 86.0, "dec": -51.0}]},
        "observatories": {"harps": {"archive": str(folder)}},
    }
    with Project.open(conf, data=tmp_path / "data", url=url) as project:
        project.run()
        assert project.sql("SELECT max(n) AS n FROM product")["n"][0] == 4
        for path in files[4:]:
            shutil.copy(path, folder)
        assert project.run().notes == ["fetch:harps: 1 source has new or changed files: --refresh reads them"]
        project.run(refresh=True)
        assert project.sql("SELECT max(n) AS n FROM product")["n"][0] == 10
        (folder / files[0].name).unlink()
        assert "1 file that was read before is gone" in project.run().notes[0]
    conf["observatories"]["harps"]["archive"] = str(other)
    with Project.open(conf, data=tmp_path / "data", url=url) as project:
        assert project.run().worked == 2
        query = "SELECT p.n FROM product p JOIN task t ON t.id = p.task_id WHERE t.digest = '{}'"
        assert project.sql(query.format(project.steps[1].digest))["n"].tolist() == [5, 5]


def test_the_commands_say_what_changed(tmp_path, folder, url, monkeypatch, capsys):
    import yaml

    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(settings(folder, NAMES)))
    monkeypatch.setenv("VO_DATABASE_URL", url)
    monkeypatch.setenv("VO_DATA", str(tmp_path / "data"))
    assert main(["run", str(config)]) == 0
    write_star(folder, "beta", ra=11.0, dec=20.0, n=70, seed=1)
    capsys.readouterr()
    for command in ("status", "run"):
        assert main([command, str(config)]) == 0
        assert "1 source has new or changed files: --refresh" in capsys.readouterr().out
    assert main(["run", str(config), "--refresh"]) == 0
    assert main(["run", str(config)]) == 0
    assert "Nothing to do" in capsys.readouterr().out
    (folder / "empty.csv").write_text(",".join(HEADER) + "\n")  # of no source
    assert main(["run", str(config)]) == 0
    assert "Nothing to do" in capsys.readouterr().out
