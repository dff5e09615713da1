"""Files to start from work as they are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from virtualobserver import plugins
from virtualobserver.cli import main
from virtualobserver.cli.scaffold import new_analysis, new_project, new_survey
from virtualobserver.config import load
from virtualobserver.config.shipped import configs_dir, find_config
from virtualobserver.errors import ConfigError


def run_tests(folder, name):
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    words = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", f"test_{name}.py"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment, check=False)


def test_a_new_project_is_a_configuration_that_loads_and_can_run(tmp_path):
    resolved = load(new_project("flares", tmp_path), resolve=plugins.settings_of)
    resolved.verify()
    assert resolved.settings.name == "flares"
    assert list(resolved.settings.observatories) == ["demo"]


@pytest.mark.parametrize("make", [new_survey, new_analysis])
def test_a_new_plugin_passes_its_own_contract_test(tmp_path, make):
    make("my_search", tmp_path)
    done = run_tests(tmp_path, "my_search")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_the_contract_test_of_a_new_analysis_fails_if_it_finds_nothing(tmp_path):
    path, _ = new_analysis("blind", tmp_path)
    path.write_text(path.read_text().replace("np.abs(snr) > settings.threshold", "np.abs(snr) < 0"))
    assert run_tests(tmp_path, "blind").returncode == 1


def test_new_plugins_are_used_where_they_lie(tmp_path, monkeypatch):
    new_survey("mine", tmp_path)
    new_analysis("spikes", tmp_path)
    config = tmp_path / "own.yaml"
    config.write_text(
        "name: own\ncatalog: {rows: [{name: a, ra: 1, dec: 2}]}\n"
        "observatories: {./mine.py: {archive: simulated}}\nanalyses: {./spikes.py: {threshold: 8}}\n"
    )
    monkeypatch.chdir(tmp_path)
    resolved = load(config, resolve=plugins.settings_of)
    assert [settings.threshold for settings in resolved.settings.analyses.values()] == [8.0]


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


@pytest.mark.parametrize("name", ["demo", "ztf_real", "ztf_bulk"])
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
