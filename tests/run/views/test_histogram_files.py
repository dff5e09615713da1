"""Files of histograms say what they were summed from, and are written anew when that changes."""

from __future__ import annotations

import json

import pytest
from support.project import mirror, settings

from virtualobserver import Project
from virtualobserver.cli import main
from virtualobserver.io.netcdf import read_attributes, read_netcdf


@pytest.fixture
def folder(tmp_path):
    return mirror(tmp_path / "mirror", ["alpha", "beta"])


def opened(folder, tmp_path, url, *changes, number=0):
    base = settings(folder, ["alpha", "beta"], analyses={"transients": {"simulate": {"number": number}}})
    return Project.open(base, data=tmp_path / "data", url=url, overrides=list(changes))


def files(project):
    place = project.workspace.root / "histograms" / project.name
    return {path.name: read_attributes(path)["made_from"] for path in sorted(place.glob("*.nc"))}


def break_off(project, at):
    def stop(step, total, counts):
        if step.startswith(at):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project.run(progress=stop)


@pytest.mark.parametrize("at", ["simulate", "analyse"])
def test_a_run_that_was_broken_off_has_its_files(folder, tmp_path, url, at):
    with opened(folder, tmp_path, url, number=2) as project:
        break_off(project, at)
        here = files(project)
        project.run()
        assert here == files(project) != {}
        for path in project.save_histograms():
            path.unlink()
        project.run()  # nothing to do but this
        assert files(project) == here


def test_files_follow_the_settings_there_and_back(folder, tmp_path, url):
    with opened(folder, tmp_path, url) as project:
        project.run()
        first = files(project)
        times = {path: path.stat().st_mtime_ns for path in project.save_histograms()}
        project.run()
        assert {path: path.stat().st_mtime_ns for path in times} == times  # nothing is written
    with opened(folder, tmp_path, url, "analyses.transients.snr_threshold=9") as project:
        project.run()
        second = files(project)
        assert second.keys() == first.keys()
        assert all(second[name] != first[name] for name in first)
    with opened(folder, tmp_path, url) as project:
        assert project.run().worked == 0
        assert files(project) == first


def test_files_of_histograms_that_are_no_more_go(folder, tmp_path, url):
    with opened(folder, tmp_path, url) as project:
        project.run()
        place = project.workspace.root / "histograms" / project.name
        (place / "other.snr.nc").write_bytes(b"of an analysis that the project had once")
        project.run()
        assert not (place / "other.snr.nc").exists()


def test_a_command_writes_them(folder, tmp_path, url, monkeypatch, capsys):
    with opened(folder, tmp_path, url) as project:
        project.run()
        config = tmp_path / "search.yaml"
        config.write_text(
            json.dumps(
                settings(folder, ["alpha", "beta"], analyses={"transients": {"simulate": {"number": 0}}})
            )
        )
        monkeypatch.setenv("VO_DATABASE_URL", url)
        out = tmp_path / "out"
        words = [str(config), "histograms", "--out", str(out), "--data", str(project.workspace.root)]
        assert main(["export", *words]) == 0
        names = sorted(path.name for path in out.glob("*.nc"))
        assert names == sorted(files(project))
        assert f"{len(names)} parts" in capsys.readouterr().out
        assert len(read_netcdf(out / names[0]).variables)
