"""What users of the AstroRetriever framework expect of parameters, with the surveys and analyses as they are."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest
from support.config import FlareSettings, SkySettings
from support.project import rows

from virtualobserver import Parameters, Project, VirtualDemo, plugins
from virtualobserver.config import Credentials, Settings, load, relevant, setting
from virtualobserver.config.yamlfile import locate, parse
from virtualobserver.errors import ConfigError, UnknownKeyError


def resolved(source, overrides=(), **env):
    return load(source, overrides, resolve=plugins.settings_of, env={"XDG_CONFIG_HOME": "/nowhere", **env})


def test_parity_02_project_without_a_configuration_is_the_demo(tmp_path, url):
    with Project.open(data=tmp_path / "data", url=url) as project:
        assert list(project.observatories) == ["demo"]
        assert isinstance(project.observatories["demo"], VirtualDemo)


def test_parity_7_1_b_surveys_are_a_mapping_by_name_and_nothing_leaks_from_a_file(tmp_path, url, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text("description: of the file\nobservatories: [ztf]\n")
    with Project.open({"name": "x", "observatories": ["DEMO"]}, data=tmp_path / "data", url=url) as project:
        assert "demo" in project.observatories
        assert set(project.observatories) == {"demo"}
        assert project.settings.description == ""


def test_parity_03_keys_for_all_surveys_and_for_one(tmp_path):
    settings = resolved(
        {
            "name": "x",
            "catalog": {"file": "test.csv"},
            "observatories": {"drop_bad": True, "ZTF": {}, "Demo": {"drop_bad": False}},
        },
        VO_ZTF_USERNAME="someone",
        VO_ZTF_PASSWORD="planted",
    )
    surveys = settings.settings.observatories
    assert list(surveys) == ["ztf", "demo"]
    assert (surveys["ztf"].drop_flagged, surveys["demo"].drop_flagged) == (True, False)
    assert settings.settings.catalog.file == Path.cwd() / "test.csv"
    assert (settings.credentials["ztf"].username, settings.credentials["ztf"].password) == (
        "someone",
        "planted",
    )
    assert not settings.credentials["demo"]


def test_parity_04_file_general_below_special_below_keywords(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "flares.yaml").write_text(
        "observatories: {seed: 3, ztf: {gap: 20}, demo: {seed: 5}}\n"
        "analyses: {transients: {simulate: {number: 2}}}\n"
    )
    private = tmp_path / "private.yaml"
    private.write_text("ztf: {username: someone, password: planted}\n")
    private.chmod(0o600)
    found = resolved("flares", VO_CREDENTIALS=str(private))
    assert found.settings.name == "flares"
    assert found.settings.analyses["transients"].simulate.number == 2
    surveys = found.settings.observatories
    assert (surveys["ztf"].seed, surveys["demo"].seed, surveys["ztf"].gap) == (3, 5, 20.0)
    assert found.credentials["ztf"].password == "planted"
    assert "planted" not in found.dump() + repr(found) + str(found.table())
    over = resolved(
        "flares",
        {"observatories": {"demo": {"seed": 7}}, "observatories.ztf.gap": 30},
        VO_CREDENTIALS=str(private),
    )
    surveys = over.settings.observatories
    assert (surveys["ztf"].seed, surveys["demo"].seed, surveys["ztf"].gap) == (3, 7, 30.0)
    # a mapping reads no file, whatever its name
    assert resolved({"name": "flares"}).settings.observatories == {}


def test_parity_05_names_of_projects_are_made_legal_and_those_of_sources_kept(tmp_path, url):
    source = {
        "name": "  my-odd project ",
        "catalog": {"name": "s", "rows": rows([" a-b c "])},
        "observatories": ["demo"],
    }
    with Project.open(source, data=tmp_path / "data", url=url) as project:
        project.import_catalogue()
        assert project.name == "my_odd_project"
        assert project.sql("SELECT name FROM project")["name"].tolist() == ["my_odd_project"]
        assert [one.name for one in project.sources] == ["a-b c"]
    with pytest.raises(ConfigError, match="Cannot legalize name '\\$x'"):
        resolved({"name": "$x"})


class Typed(Settings):
    """One setting of each type."""

    whole: int = setting(1, doc="A whole number")
    real: float = setting(1.0, doc="A number")
    text: str = setting("a", doc="A text")
    switch: bool = setting(False, doc="A switch")
    items: list[int] = setting([1], doc="A list")
    table: dict[str, int] = setting({"a": 1}, doc="A mapping")
    unique: frozenset[str] = setting(frozenset({"a"}), doc="A set")


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("whole", 2, [1.5, "2", True, None]),
        ("real", 2, ["2", True, None, [1.0]]),
        ("text", "b", [1, None, ["b"], True]),
        ("switch", True, [1, 0, "yes", None]),
        ("items", [2, 3], ["2", 2, ["2"], {"a": 1}, [True]]),
        ("table", {"b": 2}, [[1], "b", {"b": "2"}, {"b": True}]),
        ("unique", ["b", "c"], ["b", 1, {"b": 1}]),
    ],
)
def test_parity_06_every_type_is_enforced_and_the_value_stays(field, good, bad):
    settings = Typed()
    assert getattr(Typed(**{field: good}), field) == type(getattr(settings, field))(good)
    for value in bad:
        with pytest.raises(pydantic.ValidationError, match=field):
            Typed(**{field: value})
    before = settings.model_dump()
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        setattr(settings, field, good)
    assert settings.model_dump() == before


def test_parity_06_overrides_merge_sections_and_replace_all_else():
    base = {
        "name": "x",
        "observatories": {"demo": {"filters": ["g", "r"], "n_epochs": 5}},
        "keep": {"a": False},
    }
    over = resolved(base, {"observatories": {"demo": {"filters": ["i"]}}, "keep": {"b": True}}).settings
    assert over.observatories["demo"].filters == ("i",)
    assert over.observatories["demo"].n_epochs == 5
    assert over.keep == {"a": False, "b": True}


@pytest.mark.parametrize("key", ["Radius", "RADIUS", "rad", "radiu", "cone radius", "coneradius", "_radius"])
def test_parity_07_only_names_and_declared_aliases_are_understood(key):
    assert SkySettings(cone_radius=3.0) == SkySettings(radius=3.0)
    with pytest.raises(pydantic.ValidationError, match="xtra"):
        SkySettings(**{key: 3.0})


def test_parity_07_locked_settings_say_what_is_near():
    with pytest.raises(
        UnknownKeyError, match=r"demo\.n_epoch: unknown key 'n_epoch'; did you mean 'n_epochs'"
    ):
        resolved({"name": "x", "observatories": {"demo": {"n_epoch": 3}}})
    old = resolved({"name": "x", "analyses": {"transients": {"threshold": 8, "abs_snr": False}}})
    settings = old.settings.analyses["transients"]
    assert (settings.snr_threshold, settings.dips) == (8.0, False)
    dumped = parse(old.dump(), label="dump")["analyses"].value["transients"].value
    assert {"threshold", "abs_snr"}.isdisjoint(dumped)


def test_parity_07_critical_and_hidden_values_are_told_apart():
    settings = FlareSettings(threshold=6.0, simulate={"number": 3, "seed": 4})
    assert relevant(settings, "analyse") == {"threshold": 6.0}
    assert relevant(settings, "simulate") == {"simulate": {"seed": 4}}
    assert settings.model_dump()["simulate"] == {"number": 3, "seed": 4}
    shown = repr(Credentials("ztf", username="someone", password="planted"))
    assert "planted" not in shown
    assert "someone" not in shown


def test_parity_08_run_is_under_a_version_a_digest_and_settings_that_rebuild_it(tmp_path, url):
    source = {
        "name": "x",
        "catalog": {"name": "s", "rows": rows(["a"])},
        "observatories": {"demo": {"n_epochs": 20}},
        "analyses": {"transients": {"threshold": 7}},
    }
    with Project.open(source, data=tmp_path / "data", url=url) as project:
        project.run()
        run = project.sql('SELECT version, "commit", packages FROM run').iloc[0]
        assert isinstance(run["version"], str)
        assert run["commit"] is None or len(run["commit"]) == 40
        assert "numpy" in run["packages"]
        reduce = next(step for step in project.steps if step.kind == "reduce")
        folders = {
            name.split("/")[1] for name in project.workspace.store.files() if name.startswith("products/")
        }
        assert reduce.digest[:8] in {folder[:8] for folder in folders}
        kept = project.sql("SELECT step, digest, settings FROM configuration WHERE current")
        assert set(kept["digest"]) == {step.digest for step in project.steps}
        (tmp_path / "config.yaml").write_text(project.resolved.dump())
        first = project.settings, [step.digest for step in project.steps]
    with Project.open(tmp_path / "config.yaml", data=tmp_path / "data", url=url) as again:
        assert (again.settings, [step.digest for step in again.steps]) == first
        assert again.settings.compare(first[0]) == {}
        assert again.run().worked == 0


def test_parity_7_1_c_no_free_attributes_but_sections_reach_their_owners():
    with pytest.raises(UnknownKeyError, match="project_string"):
        resolved({"name": "x", "project_string": "a"})
    found = resolved(
        {"name": "x", "observatories": {"ztf": {"gap": 3}}, "analyses": {"threshold": 9, "transients": {}}}
    )
    assert found.settings.analyses["transients"].snr_threshold == 9.0
    assert isinstance(found.settings, Parameters)


def test_parity_7_1_d_and_46_files_are_found_by_path_and_name_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    wanted = [tmp_path / "a", tmp_path / "a.yaml", tmp_path / "a.yml"]
    wanted += [tmp_path / "configs" / "a.yaml", tmp_path / "configs" / "a.yml"]
    for path in wanted:
        path.write_text("name: x\n")
    for path in wanted:
        assert locate("a") == path
        path.unlink()
    (tmp_path / "configs" / "A.yaml").write_text("name: x\n")
    with pytest.raises(ConfigError, match=r"there is no such configuration file .*did you mean A\.yaml"):
        locate("a.yaml")
