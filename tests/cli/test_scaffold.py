"""Files to start from work as they are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from virtualobserver import Project, plugins
from virtualobserver.cli import main
from virtualobserver.cli.scaffold import new_analysis, new_project, new_project_of, new_survey
from virtualobserver.config import load
from virtualobserver.config.shipped import configs_dir, find_config
from virtualobserver.errors import ConfigError
from virtualobserver.testing import AnalysisSuite, SurveySuite


def run_tests(folder, *words):
    """Run pytest as the owner of a new file does: in a folder with nothing of ours."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)


def test_a_new_project_is_a_configuration_that_loads_and_can_run(tmp_path):
    resolved = load(new_project("flares", tmp_path), resolve=plugins.settings_of)
    resolved.verify()
    assert resolved.settings.name == "flares"
    assert list(resolved.settings.observatories) == ["demo"]


def test_a_survey_may_bring_a_project_with_its_folders_and_older_names_of_keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "project", "lsss", "sagra"]) == 0
    assert {path.name for path in (tmp_path / "sagra").iterdir()} == {"sagra.yaml", "nights", "lists"}
    resolved = load(tmp_path / "sagra" / "sagra.yaml", resolve=plugins.settings_of)
    survey = resolved.settings.observatories["lsss"]
    assert survey.archive == str(tmp_path / "sagra" / "nights")
    assert (survey.preset, survey.flipstat) == ("lsss", True)
    light = survey.photometry
    found = (light.brightest, light.faintest, light.max_mag_error, light.zero_clip, light.r2)
    assert found == (12, 16, 0.1, 5.0, 0.98)
    assert light.fwhm_radius == 1.3
    resolved.verify()
    # from raw frames to bodies with names and periods
    assert list(resolved.settings.analyses) == ["image_quality", "moving_objects", "asteroids", "periods"]
    assert resolved.settings.analyses["moving_objects"].method == "link"
    assert resolved.settings.analyses["asteroids"].identify == "skybot"
    with pytest.raises(ConfigError, match="is there already"):
        new_project_of("lsss", tmp_path / "sagra")
    with pytest.raises(ConfigError, match="brings no project"):
        new_project_of("demo", tmp_path / "other")


def test_new_plugins_pass_the_whole_suite_in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "survey", "my_stars"]) == 0
    assert main(["new", "survey", "my_lines", "--spectra"]) == 0
    assert main(["new", "survey", "my_camera", "--frames"]) == 0
    assert main(["new", "analysis", "my_search"]) == 0
    done = run_tests(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    surveys, analyses = (
        sum(name.startswith("test_") for name in dir(suite)) for suite in (SurveySuite, AnalysisSuite)
    )
    own = 2 + 2 + 1 + 1
    assert f"{3 * surveys + analyses + own} passed" in done.stdout


def test_the_test_of_a_new_analysis_fails_if_it_finds_nothing(tmp_path):
    path, _ = new_analysis("blind", tmp_path)
    path.write_text(path.read_text().replace("np.abs(snr) > settings.threshold", "np.abs(snr) < 0"))
    done = run_tests(tmp_path, "-k", "recovers or whole or known")
    assert done.returncode == 1
    assert "3 failed" in done.stdout


def test_new_plugins_are_run_where_they_lie(tmp_path, monkeypatch, url):
    new_survey("stars", tmp_path)
    new_survey("lines", tmp_path, data="spectra")
    new_survey("camera", tmp_path, data="frames")
    new_analysis("spikes", tmp_path)
    config = tmp_path / "own.yaml"
    config.write_text(
        "name: own\ncatalog: {rows: [{name: a, ra: 1, dec: 2}, {name: b, ra: 3, dec: 4}]}\n"
        "observatories:\n"
        "  ./stars.py: {archive: simulated}\n"
        "  ./lines.py: {archive: simulated}\n"
        "  ./camera.py: {archive: simulated}\n"
        "analyses: {./spikes.py: {threshold: 8, simulate: {number: 3, amplitude: [40, 60]}}}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VO_DATABASE_URL", url)
    assert main(["run", "own.yaml"]) == 0
    with Project.open("own.yaml") as project:
        made = project.sql("SELECT kind, role, count(*) AS n FROM product GROUP BY 1, 2 ORDER BY 1, 2")
        found = [one for one in made.itertuples(index=False, name=None) if one[1] != "injected"]
        masters, frames, curves, spectra = 2, 2 * 2, 2, 2
        assert found == [
            ("image", "calibrated", frames),
            ("image", "master", masters),
            ("lightcurve", "reduced", curves),
            ("spectrum", "reduced", spectra),
        ]
        assert project.sql("SELECT count(*) AS n FROM task WHERE status = 'failed'")["n"].tolist() == [0]


def test_a_survey_makes_one_kind_of_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "survey", "both", "--frames", "--spectra"]) == 2
    assert "--frames" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["Upper", "1st", "a-b", "../up", "class", ""])
def test_names_that_cannot_be_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot be the name"):
        new_project(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="demo"):
        new_survey("demo", tmp_path)


def test_nothing_is_written_over_without_force(tmp_path):
    path = new_project("flares", tmp_path)
    path.write_text("mine")
    with pytest.raises(ConfigError, match="--force"):
        new_project("flares", tmp_path)
    assert path.read_text() == "mine"
    new_project("flares", tmp_path, force=True)
    assert path.read_text() != "mine"


def test_the_command_writes_into_configs_where_there_is_such_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    assert main(["new", "project", "flares"]) == 0
    assert (tmp_path / "configs" / "flares.yaml").is_file()
    assert main(["new", "analysis", "spikes"]) == 0
    assert (tmp_path / "test_spikes.py").is_file()
    assert "./spikes.py" in capsys.readouterr().out
    assert main(["new", "analysis", "spikes"]) == 2


@pytest.mark.parametrize("name", ["demo", "folder", "ztf_real", "ztf_bulk"])
def test_every_configuration_that_comes_with_the_package_loads(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = find_config(name)
    assert path.parent == configs_dir()
    assert load(path, resolve=plugins.settings_of).settings.name == name


def test_a_configuration_that_is_nowhere_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="nosuch"):
        find_config("nosuch")
    with pytest.raises(ConfigError, match="configs/demo"):
        find_config("configs/demo")
