"""One rule for paths: those in a file start at its folder, all others at the working folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.project import mirror, rows

from virtualobserver import Project, plugins
from virtualobserver.cli.scaffold import new_analysis, new_survey
from virtualobserver.config import Settings, load, setting
from virtualobserver.errors import CatalogError, ConfigError

CONFIG = """\
name: own
catalog: {file: lists/stars.csv}
observatories:
  ztf: {archive: [../mirror, more]}
  ./mine.py: {archive: simulated}
analyses:
  ../spikes.py: {threshold: 8}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a configuration in a folder other than the working folder, with the files it names."""
    for folder in ("configs/lists", "configs/more", "mirror", "work"):
        (tmp_path / folder).mkdir(parents=True)
    new_survey("mine", tmp_path / "configs")
    new_analysis("spikes", tmp_path)
    path = tmp_path / "configs" / "own.yaml"
    path.write_text(CONFIG)
    monkeypatch.chdir(tmp_path / "work")
    return path


def test_paths_in_a_file_start_at_its_folder_wherever_one_works(config, tmp_path):
    settings = load(config, resolve=plugins.settings_of).settings
    here = tmp_path / "configs"
    assert settings.catalog.file == here / "lists" / "stars.csv"
    assert settings.observatories["ztf"].archive == [str(here / "../mirror"), str(here / "more")]
    assert list(settings.observatories) == ["ztf", str(here / "mine.py")]
    assert settings.observatories[str(here / "mine.py")].archive == "simulated"
    assert [one.threshold for one in settings.analyses.values()] == [8.0]
    relative = load("../configs/own.yaml", resolve=plugins.settings_of).settings
    assert relative.catalog.file.resolve() == settings.catalog.file


def test_paths_on_the_command_line_and_from_python_start_at_the_working_folder(config, tmp_path):
    work = tmp_path / "work"
    changes = ["catalog.file=x.csv", "observatories.ztf.archive=./simulated"]
    settings = load(config, changes, resolve=plugins.settings_of).settings
    assert settings.catalog.file == work / "x.csv"
    assert settings.observatories["ztf"].archive == str(work / "simulated")
    mapping = {"name": "x", "catalog": {"file": Path("x.csv")}, "observatories": {"archive": "a", "ztf": {}}}
    settings = load(mapping, resolve=plugins.settings_of).settings
    assert settings.catalog.file == work / "x.csv"
    assert settings.observatories["ztf"].archive == str(work / "a")


@pytest.mark.parametrize("value", ["simulated", "https://archive.example/data", None])
def test_words_and_addresses_are_no_paths(config, value):
    mapping = {"name": "x", "observatories": {"ztf": {"archive": value}}}
    assert load(mapping, resolve=plugins.settings_of).settings.observatories["ztf"].archive == value


def test_absolute_paths_and_home_stay(config, tmp_path):
    text = CONFIG.replace("lists/stars.csv", str(tmp_path / "s.csv")).replace("[../mirror, more]", "~/ztf")
    config.write_text(text)
    settings = load(config, resolve=plugins.settings_of).settings
    assert settings.catalog.file == tmp_path / "s.csv"
    assert settings.observatories["ztf"].archive == str(Path.home() / "ztf")


def test_a_plugin_declares_paths_of_its_own(tmp_path):
    class Inner(Settings):
        mask: Path | None = setting(None, run_only=True, path=True, doc="Mask of bad pixels")

    class Frames(Settings):
        inner: Inner = setting(Inner(), doc="Group")
        note: str = setting("", run_only=True, doc="No path")

    path = tmp_path / "search.yaml"
    path.write_text("observatories: {frames: {inner: {mask: bad.fits}, note: a/b}}\n")
    frames = load(path, resolve=lambda *_: Frames).settings.observatories["frames"]
    assert frames.inner.mask == tmp_path / "bad.fits"
    assert frames.note == "a/b"


def test_dumped_settings_mean_the_same_files_in_another_folder(config, tmp_path):
    first = load(config, resolve=plugins.settings_of)
    copy = tmp_path / "work" / "copy.yaml"
    copy.write_text(first.dump())
    assert load(copy, resolve=plugins.settings_of).settings == first.settings


def test_a_local_plugin_is_changed_by_its_path(config, tmp_path):
    key = f"analyses.{tmp_path / 'configs' / '../spikes.py'}.threshold=9"
    settings = load(config, [key], resolve=plugins.settings_of).settings
    assert [one.threshold for one in settings.analyses.values()] == [9.0]
    settings = load(config, ["analyses.../spikes.py.threshold=7"], resolve=plugins.settings_of).settings
    assert [one.threshold for one in settings.analyses.values()] == [8.0, 7.0]


def test_local_plugins_run_from_anywhere_under_their_own_names(config, tmp_path, url):
    config.write_text(CONFIG.replace("file: lists/stars.csv", "name: s, rows: [{name: a, ra: 1, dec: 2}]")
                      .replace("  ztf: {archive: [../mirror, more]}\n", ""))  # fmt: skip
    with Project.open(config, data=tmp_path / "data", url=url) as project:
        assert project.run().failed == 0
        steps = [step.name for step in project.steps]
        assert steps == ["fetch:mine", "reduce:mine", "analyse:spikes", "simulate:spikes"]
        digests = [step.digest for step in project.steps]
        assert project.sql("SELECT DISTINCT observatory AS o FROM raw_data")["o"].tolist() == ["mine"]
        assert any(path.startswith("raw/mine/") for path in project.workspace.store.files())
        assert project.analysis("spikes").settings.threshold == 8.0
        assert project.injections("spikes") == 0
    # the place of the plug-in file changes no result
    (tmp_path / "moved").mkdir()
    for name in ("configs/own.yaml", "configs/mine.py"):
        (tmp_path / name).rename(tmp_path / "moved" / Path(name).name)
    with Project.open(tmp_path / "moved" / "own.yaml", data=tmp_path / "data", url=url) as project:
        assert [step.digest for step in project.steps] == digests
        assert project.run().worked == 0


def test_two_plugins_of_one_name_are_refused(config, tmp_path, url):
    text = (tmp_path / "configs" / "mine.py").read_text()
    (tmp_path / "configs" / "other.py").write_text(text)
    config.write_text("name: x\nobservatories: {./mine.py: {}, ./other.py: {}}\n")
    project = Project.open(config, data=tmp_path / "data", url=url)
    with project, pytest.raises(ConfigError, match=r"share a name \(fetch:mine, reduce:mine\)"):
        _ = project.steps


def test_missing_files_are_named_with_the_place_they_should_be_at(config, tmp_path, url):
    config.write_text("name: x\ncatalog: {file: none.csv}\nobservatories: {demo: {}}\n")
    with (
        Project.open(config, data=tmp_path / "data", url=url) as project,
        pytest.raises(CatalogError, match=r"configs/none\.csv"),
    ):
        project.run()


def test_an_archive_beside_the_configuration_is_found_from_anywhere(config, tmp_path, url):
    mirror(tmp_path / "configs" / "stars", ["a"])
    text = f"name: x\ncatalog: {{name: s, rows: {rows(['a'])}}}\nobservatories: {{ztf: {{archive: stars}}}}\n"
    config.write_text(text.replace("'", '"'))
    with Project.open(config, data=tmp_path / "data", url=url) as project:
        assert project.run().failed == 0
        assert project.status().loc["fetch:ztf", "done"] == 1
        with Project.open(
            config, data=tmp_path / "data", url=url, overrides=["observatories.ztf.archive=stars"]
        ) as other:
            summary = other.run(refresh=True, redo=True)
            assert "work/stars" in summary.failures[0]["error"]
