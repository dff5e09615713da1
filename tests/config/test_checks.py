"""``vo config`` says what ``vo run`` would say before its first task, and can leave code of others alone."""

from __future__ import annotations

import json

import pytest
import typer
from support.config import resolve
from support.paths import ROOT
from support.project import mirror, settings
from support.real import real_data

from virtualobserver import Project
from virtualobserver.cli import main
from virtualobserver.cli.entry import app
from virtualobserver.config import load, yamlfile
from virtualobserver.errors import CatalogError, ConfigError

DEMO = "observatories: {demo: {n_epochs: 30}}\nanalyses: {transients: {}}\n"
WRONG = {
    "missing file": ("catalog: {file: starz.csv}\n" + DEMO, "wrong.yaml:1: catalog: there is no file"),
    "alike": ("catalog:\n  file: wrnog.yaml\n" + DEMO, "wrong.yaml:2: catalog: there is no file"),
    "nearest": ("catalog: {file: wrnog.yaml}\n" + DEMO, "did you mean wrong.yaml?"),
    "no folder": ("catalog: {file: gone/stars.csv}\n" + DEMO, "there is no folder"),
    "list of sections": (
        "catalog: {test: 3}\nobservatories: [{demo: {n_epochs: 9}}]\n",
        "observatories: {demo: {…}} or observatories: [demo]",
    ),
    "number": ("catalog: {test: 3}\nanalyses: 3\n", "analyses: {NAME: {…}} or analyses: [NAME]"),
    "night": (
        "catalog: {test: 3}\nobservatories:\n  decam:\n    noirlab: {caldat: [2021-02-28, 2021-02-30]}\n",
        "wrong.yaml:4:15: observatories.decam.noirlab.caldat.1: '2021-02-30' is no date of the calendar",
    ),
    "nights": (
        "catalog: {test: 3}\nobservatories: {demo: {mjd_start: 59000}}\n",
        "mjd_end = 58000.0 is not above mjd_start = 59000.0",
    ),
    "no targets": (DEMO, "nothing says where the targets come from"),
    "twice": ("catalog: {rows: [{name: a, ra: 1, dec: 2}, {name: a, ra: 3, dec: 4}]}\n" + DEMO, "twice"),
    "declination": ("catalog: {rows: [{name: a, ra: 1, dec: 95}]}\n" + DEMO, "out of range"),
    "motion": ("catalog: {rows: [{name: a, ra: 1, dec: 5, pmra: 9, pmdec: 1}]}\n" + DEMO, "of which year"),
    "condition": ("catalog: {test: 3, where: magg < 3}\n" + DEMO, "magg"),
    "order": (
        "catalog: {test: 3}\nobservatories: {demo: {}}\nanalyses: {exocomets: {}}\n",
        "cannot be put in an order",
    ),
    "survey": ("catalog: {survey: harps}\n" + DEMO, "the project has no survey 'harps'"),
    "sidebands": (
        "catalog: {test: 3}\nobservatories: {demo: {}}\nanalyses: {transients: {snr_threshold: 5, sidebands: 9}}\n",
        "sidebands = 9 is above snr_threshold = 5",
    ),
    "half a character": ('catalog: {rows: [{name: "a\\ud83d", ra: 1, dec: 2}]}\n' + DEMO, "half of a pair"),
    "name": (f"name: {'x' * 300}\ncatalog: {{test: 3}}\n" + DEMO, "of 300 characters"),
}


@pytest.fixture
def vo(tmp_path, url, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VO_DATABASE_URL", url)

    def call(*words):
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


def run(vo, path):
    code, _, said = vo("run", path)
    return code, said.strip()


@pytest.mark.parametrize("case", WRONG)
def test_what_run_refuses_config_refuses_with_the_same_sentence(tmp_path, vo, case):
    content, words = WRONG[case]
    (tmp_path / "wrong.yaml").write_text(content)
    code, _, said = vo("config", "wrong.yaml")
    assert (code, words in said) == (2, True), said
    assert run(vo, "wrong.yaml") == (2, said.strip())


@pytest.mark.real
@pytest.mark.parametrize("name", ["08_dec", "11_missfile", "14_nocat", "20_dupsource", "25_sideband"])
def test_configurations_that_cannot_run_are_refused(vo, name):
    path = real_data("reports", "ztf", "yaml", f"{name}.yaml")
    code, _, said = vo("config", path)
    assert code == 2
    assert run(vo, path) == (2, said.strip())


def test_folders_and_files_that_are_not_there_are_said_after_the_settings(tmp_path, vo):
    row = "catalog: {rows: [{name: a, ra: 1, dec: 2}]}\n"
    (tmp_path / "x.yaml").write_text(row + "observatories: {ztf: {archive: [gone, here]}, demo: {}}\n")
    (tmp_path / "here").mkdir()
    code, out, said = vo("config", "x.yaml", "--json")
    assert (code, said.count("is not there")) == (1, 1)
    assert f"vo: x.yaml:2: observatories.ztf.archive: {tmp_path / 'gone'} is not there" in said
    assert json.loads(out)["observatories"]["ztf"]["archive"][1] == str(tmp_path / "here")
    assert run(vo, "x.yaml")[0] == 1
    (tmp_path / "gone").mkdir()
    assert vo("config", "x.yaml")[0] == 0
    decam = "observatories: {decam: {archive: here, pointed_images_yaml_path: none.yaml}}\n"
    (tmp_path / "y.yaml").write_text(row + decam)
    assert "pointed_images_yaml_path" in vo("config", "y.yaml")[2]
    (tmp_path / "z.yaml").write_text(row + "observatories: {lsss: {archive: simulated, preset: lsss}}\n")
    assert vo("config", "z.yaml")[0] == 0


def test_what_a_data_folder_lacks_is_said_as_the_tasks_would(tmp_path, vo):
    (tmp_path / "x.yaml").write_text(
        "catalog: {rows: [{name: a, ra: 1, dec: 2}]}\n"
        "observatories: {astep: {archive: simulated, refcat: stars@1, solver: gaia@dr3}}\n"
        "analyses: {moving_objects: {}, asteroids: {identify: orbs@1}}\n"
    )
    code, _, said = vo("config", "x.yaml", "--data", tmp_path / "other")
    assert code == 1
    assert f"there is no reference catalogue stars@1 in {tmp_path / 'other'}" in said
    assert f"there are no orbits orbs@1 in {tmp_path / 'other'}" in said
    assert "gaia@dr3 in" not in said
    assert not (tmp_path / "other").exists(), "looking makes nothing"
    stars = tmp_path / "stars.csv"
    stars.write_text("source_id,ra,dec,phot_g_mean_mag\n1,10,20,12\n")
    assert vo("refcat", "build", "stars@1", "--file", stars, "--data", tmp_path / "other")[0] == 0
    assert "no reference catalogue" not in vo("config", "x.yaml", "--data", tmp_path / "other")[2]
    code, _, said = vo("config", "x.yaml", "--data", stars / "data")
    assert f"{stars} is a file, and a folder is needed" in said


def test_every_command_that_opens_a_project_takes_a_data_folder():
    def leaves(command, words):
        for name, below in getattr(command, "commands", {}).items():
            yield from leaves(below, [*words, name])
        if not hasattr(command, "commands"):
            yield words, command

    asks = {"new", "list"}  # `vo new` writes a file; what `vo list` shows besides comes with the package
    for words, command in leaves(typer.main.get_command(app), []):
        options = {one for parameter in command.params for one in parameter.opts}
        assert "--data" in options or words[0] in asks, words


def test_names_of_targets_that_look_like_numbers_are_as_written(tmp_path, url):
    path = tmp_path / "numbers.yaml"
    names = ["00123", "1e5", "12", "1_000", "true", "0x1f", "+7", "2020-01-01"]
    rows = "".join(f"  - {{name: {name}, ra: {n}, dec: 2}}\n" for n, name in enumerate(names))
    path.write_text(f"catalog:\n rows:\n{rows}{DEMO}")
    with Project.open(path, data=tmp_path / "data", url=url) as project:
        project.import_catalogue()
        assert [source.name for source in project.sources] == names


def test_pairs_of_escapes_are_one_character_and_half_a_pair_is_refused_with_its_place():
    assert yamlfile.scalar('"\\ud83d\\ude80"', label="x") == "\N{ROCKET}"
    assert yamlfile.parse('"\\ud83d\\ude80": 1', label="x").keys() == {"\N{ROCKET}"}
    for text in ('a:\n  b: "\\ud83d"', 'a:\n  b: "\\ude80\\ud83d"', 'a:\n  b: ["x\\udfff"]'):
        with pytest.raises(ConfigError, match=r"^f\.yaml:2:\d+: half of a pair"):
            yamlfile.parse(text, label="f.yaml")


def test_half_a_character_in_a_row_from_python_is_refused_with_its_row(tmp_path, url):
    configuration = settings(tmp_path, ["a", "b"])
    configuration["catalog"]["rows"][1]["alias"] = "b\ud83d"
    with (
        Project.open(configuration, data=tmp_path / "data", url=url) as project,
        pytest.raises(CatalogError, match=r"row 2: alias holds '\\ud83d'"),
    ):
        project.import_catalogue()


def test_a_name_too_long_for_a_file_is_refused_at_once():
    assert len(load({"name": "x" * 100}, resolve=resolve).settings.name) == 100
    with pytest.raises(ConfigError, match="of 101 characters"):
        load({"name": "x" * 101}, resolve=resolve)


def test_a_truncated_file_of_raw_data_is_named_with_what_mends_it(tmp_path, url):
    folder = mirror(tmp_path / "mirror", ["a"])
    configuration = settings(folder, ["a"])
    configuration["observatories"] = {"demo": {}}
    with Project.open(configuration, data=tmp_path / "data", url=url) as project:
        project.run(step="fetch")
        (path,) = (tmp_path / "data" / "raw").rglob("*.h5")
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-900])
        (failure,) = project.run().failures
        assert path.name in failure["error"]
        assert "vo verify" in failure["error"]


def test_code_of_others_is_not_run_if_not_wanted(tmp_path, vo):
    (tmp_path / "theirs.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    (tmp_path / "x.yaml").write_text(
        "catalog: {test: 3}\nobservatories: {demo: {n_epochs: 31}}\nanalyses: {theirs.py: {depth: 3}, transients: {}}\n"
    )
    code, out, said = vo("config", "x.yaml", "--no-plugins")
    assert code == 0, said
    assert "theirs.py" in said
    assert "31" in out
    assert (
        json.loads(vo("config", "x.yaml", "--no-plugins", "--json")[1])["observatories"]["demo"]["n_epochs"]
        == 31
    )
    assert not (tmp_path / "ran").exists()
    assert vo("config", "x.yaml")[0] == 2
    assert (tmp_path / "ran").exists()


def test_help_says_that_plugin_files_are_programs(vo):
    assert "is a program" in " ".join(vo("config", "--help")[1].split())
    assert "runs its code" in ROOT.joinpath("README.md").read_text(encoding="utf-8")
