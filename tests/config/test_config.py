from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import pydantic
import pytest
from support.config import FlareSettings, OtherSettings, SkySettings, resolve

from virtualobserver import plugins
from virtualobserver.config import (
    CatalogSettings,
    Parameters,
    ProjectSettings,
    Resolved,
    json_schema,
    legalise,
)
from virtualobserver.config import load as load_config
from virtualobserver.config.yamlfile import dump, parse
from virtualobserver.errors import ConfigError, UnknownKeyError

GOOD = """\
name: my search
catalog:
  file: stars.csv
observatories:
  gap: 20
  sky:
    radius: 1e1
  other:
    gap: 5
analyses:
  flares:
    threshold: 7
    simulate: {number: 10}
run:
  workers: auto
"""


def load(source: Any, overrides: Any = (), env: dict[str, str] | None = None) -> Resolved:
    return load_config(source, overrides, resolve=resolve, env={"XDG_CONFIG_HOME": "/nowhere", **(env or {})})


def write(folder: Path, text: str, name: str = "search.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text))
    return str(caught.value)


def test_file_becomes_typed_settings_with_defaults(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD)).settings
    assert settings.name == "my_search"
    assert settings.observatories["sky"] == SkySettings(radius=10.0, gap=20.0)
    assert settings.analyses["flares"] == FlareSettings(threshold=7.0, simulate={"number": 10})
    assert settings.run.workers == "auto"
    assert settings.run.lease == 60.0
    assert settings.catalog.file == tmp_path / "stars.csv"


def test_general_survey_keys_reach_all_and_own_section_wins(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD)).settings
    assert settings.observatories["sky"].gap == 20.0
    assert settings.observatories["other"] == OtherSettings(gap=5.0)


def test_general_key_goes_only_to_those_that_know_it() -> None:
    settings = load({"name": "x", "observatories": {"radius": 7, "sky": None, "other": None}}).settings
    assert settings.observatories == {"sky": SkySettings(radius=7.0), "other": OtherSettings()}


def test_general_key_that_no_survey_knows_is_an_error() -> None:
    with pytest.raises(UnknownKeyError, match=r"observatories\.gapp: unknown key 'gapp'; did you mean 'gap'"):
        load({"name": "x", "observatories": {"gapp": 7, "sky": {}}})


def test_general_key_may_use_an_old_name() -> None:
    settings = load({"name": "x", "observatories": {"cone_radius": 7, "sky": {}}}).settings
    assert settings.observatories["sky"].radius == 7.0


def test_plugins_can_be_listed_by_name_in_any_case() -> None:
    settings = load({"name": "x", "observatories": ["SKY", "other"], "analyses": "flares"}).settings
    assert list(settings.observatories) == ["sky", "other"]
    assert settings.analyses == {"flares": FlareSettings()}


def test_order_is_default_file_override(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    resolved = load(path, ["observatories.sky.radius=3", "run.workers=4"])
    assert resolved.settings.observatories["sky"].radius == 3.0
    assert resolved.settings.run.workers == 4
    assert resolved.origins["observatories.sky.radius"] == "override"
    assert resolved.origins["observatories.other.gap"] == "search.yaml:9"
    assert resolved.origins["observatories.sky.gap"] == "search.yaml:5"
    assert resolved.origins["observatories.sky.bands"] == "default"
    assert resolved.origins["analyses.flares.simulate.number"] == "search.yaml:13"
    assert resolved.origins["analyses.flares.simulate.seed"] == "default"
    assert resolved.origins["run.lease"] == "default"


@pytest.mark.parametrize(
    "overrides",
    [
        ["observatories.sky.drop_bad=true", "observatories.sky.bands=[i]"],
        {"observatories": {"sky": {"drop_bad": True, "bands": ["i"]}}},
        {"observatories.sky.drop_bad": True, "observatories.sky": {"bands": ["i"]}},
        ["observatories.sky={drop_bad: true, bands: [i]}"],
    ],
)
def test_overrides_may_be_texts_nested_or_dotted(tmp_path: Path, overrides: Any) -> None:
    sky = load(write(tmp_path, GOOD), overrides).settings.observatories["sky"]
    assert sky == SkySettings(radius=10.0, gap=20.0, drop_bad=True, bands=("i",))


def test_override_of_a_new_name_beats_the_old_name_in_the_file() -> None:
    source = {"name": "x", "observatories": {"sky": {"cone_radius": 5}}}
    assert load(source).settings.observatories["sky"].radius == 5.0
    assert load(source, ["observatories.sky.radius=6"]).settings.observatories["sky"].radius == 6.0
    source = {"name": "x", "observatories": {"sky": {"radius": 5}}}
    assert load(source, ["observatories.sky.cone_radius=6"]).settings.observatories["sky"].radius == 6.0


def test_old_and_new_name_together_are_refused(tmp_path: Path) -> None:
    text = "observatories:\n  sky:\n    radius: 1\n    cone_radius: 2\n"
    assert "search.yaml:4:5: cone_radius: radius was given already" in refused(tmp_path, text)


def test_old_names_work_where_settings_are_made_by_hand() -> None:
    assert SkySettings(cone_radius=4).radius == 4.0
    assert SkySettings(radius=4).radius == 4.0
    assert load({"project": "x", "run": {"verbose": 2}}).settings.run.verbosity == 2


@pytest.mark.parametrize("override", ["observatories.sky.radius", "=3", " = 3"])
def test_override_without_key_or_value_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        load({"name": "x"}, [override])


def test_wrong_override_is_named_in_the_error() -> None:
    with pytest.raises(ConfigError, match=r"override observatories\.sky\.radius: .*radius.*\[arcsec\]"):
        load({"name": "x", "observatories": ["sky"]}, ["observatories.sky.radius=-1"])


def test_mappings_are_copied_and_never_changed() -> None:
    rows = [{"name": "a", "ra": 1.0, "dec": 2.0}]
    source = {"name": "x", "catalog": {"rows": rows}, "observatories": {"gap": 3, "sky": {"bands": ["g"]}}}
    overrides = {"observatories": {"sky": {"gap": 9}}}
    before = copy.deepcopy((source, overrides))
    settings = load(source, overrides).settings
    assert (source, overrides) == before
    rows[0]["ra"] = 99.0
    assert settings.catalog.rows == ({"name": "a", "ra": 1.0, "dec": 2.0},)


def test_edited_file_is_read_again_and_overrides_do_not_stay(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert load(path, ["observatories.other.gap=1"]).settings.observatories["other"].gap == 1.0
    assert load(path).settings.observatories["other"].gap == 5.0
    write(tmp_path, GOOD.replace("gap: 5", "gap: 6"))
    assert load(path).settings.observatories["other"].gap == 6.0


def test_unknown_key_names_file_line_path_and_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("threshold", "treshold"))
    with pytest.raises(UnknownKeyError) as caught:
        load(path)
    expected = f"{path}:12:5: analyses.flares.treshold: unknown key 'treshold'; did you mean 'threshold'?"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("text", "place", "near"),
    [
        ("nmae: x\n", "1:1: nmae", "name"),
        ("run:\n  worker: 2\n", "2:3: run.worker", "workers"),
        (
            "analyses:\n  flares:\n    simulate:\n      nunber: 1\n",
            "4:7: analyses.flares.simulate.nunber",
            "number",
        ),
        ("catalog:\n  cone: {ra: 1, dec: 1, radus: 1, radius: 1}\n", "2:25: catalog.cone.radus", "radius"),
    ],
)
def test_unknown_keys_are_found_at_every_depth(tmp_path: Path, text: str, place: str, near: str) -> None:
    message = refused(tmp_path, text)
    assert f"search.yaml:{place}: unknown key" in message
    assert f"did you mean '{near}'?" in message


def test_unknown_survey_is_an_error_with_its_line(tmp_path: Path) -> None:
    message = refused(tmp_path, "observatories:\n  skyy:\n    radius: 1\n")
    assert "search.yaml:2:3: observatories.skyy: there is no 'skyy'" in message
    assert "'sky'" in message


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, "run:\n  workers: 0\n  lease: -1\n  batch: many\n")
    assert [line.partition("search.yaml:")[2][:3] for line in message.splitlines()] == ["2:3", "3:3", "4:3"]
    assert "[s]" in message


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ("radius: '5'", "should be a number, not the text '5'"),
        ("radius: 5 arcsec", "not the text '5 arcsec'; write the number alone, it counts arcsec"),
        ("radius: true", "should be a number, not true"),
        ("radius: no", "should be a number, not the text 'no'"),
        ("radius: 12:30:00", "should be a number, not the text '12:30:00'"),
        ("radius: [1]", "should be a valid number"),
        ("radius: 61", "should be less than or equal to 60"),
        ("drop_bad: 1", "should be true or false, not the number 1"),
        ("drop_bad: no", "should be true or false, not the text 'no'"),
        ("archive: 5", "should be text, not the number 5"),
        ("bands: g", "should be a valid tuple"),
    ],
)
def test_fault_21_wrong_type_or_range_names_line_and_key(tmp_path: Path, section: str, reason: str) -> None:
    message = refused(tmp_path, f"observatories:\n  sky:\n    gap: 1\n    {section}\n")
    assert f"search.yaml:4:5: observatories.sky.{section.split(':', maxsplit=1)[0]}: " in message
    assert reason in message


@pytest.mark.parametrize(
    ("text", "where", "reason"),
    [
        ("name: !!python/object/apply:os.system [ls]\n", "1:7", "tag"),
        ("name: !mine x\n", "1:7", "tag"),
        ("name: a\nrun:\n  workers: 1\n  workers: 2\n", "4:3", "duplicate key 'workers'"),
        ("name: a\nname: b\n", "2:1", "duplicate key 'name'"),
        ("run:\n\tworkers: 1\n", "2:1", "tab"),
        ("run:\n  lease: .nan\n", "2:10", "not a setting"),
        ("run:\n  lease: -.inf\n", "2:10", "not a setting"),
        ("keep: &a {b: *a}\n", "1:7", "alias"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "3:3", "merge keys"),
        ("name: [1\n", "", "not valid YAML"),
        ("- a\n- b\n", "1:1", "key: value"),
        ("? [a]\n: 1\n", "1:3", "plain text"),
        ("name: a\n---\nname: b\n", "", "not valid YAML"),
        ("name: \x01\n", "", "not valid YAML"),
    ],
)
def test_fault_21_yaml_traps_are_refused_with_their_place(
    tmp_path: Path, text: str, where: str, reason: str
) -> None:
    message = refused(tmp_path, text)
    assert message.startswith(f"{tmp_path}/search.yaml:{where}")
    assert reason in message


def test_fault_21_alias_bomb_is_refused_quickly(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
    )
    begin = time.perf_counter()
    assert "aliases repeat" in refused(tmp_path, bomb)
    assert time.perf_counter() - begin < 20  # unfolded, it would take hours


def test_shared_sections_by_alias_are_fine() -> None:
    tree = parse("a: &x {b: [1, 2]}\nc: *x\n", label="text")
    assert tree["c"].value["b"].value == [1, 2]


@pytest.mark.parametrize(
    "text", ["[" * 200_000, "a: " + "[" * 300 + "]" * 300, "{a: " * 300 + "1" + "}" * 300]
)
def test_fault_21_deep_nesting_is_refused(tmp_path: Path, text: str) -> None:
    assert "levels deep" in refused(tmp_path, text)


def test_fault_21_large_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    with path.open("wb") as stream:
        stream.truncate(50_000_000)
    begin = time.perf_counter()
    with pytest.raises(ConfigError, match="larger than 1000000 bytes"):
        load(path)
    assert time.perf_counter() - begin < 10  # parsed, it would take minutes


def test_fault_21_missing_file_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    with pytest.raises(ConfigError, match=r"serch\.yaml: there is no such .*did you mean search\.yaml"):
        load(tmp_path / "serch.yaml")


def test_folder_and_wrong_encoding_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load(tmp_path)
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: caf\xe9\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(path)


def test_fault_21_scalars_are_read_as_yaml_1_2() -> None:
    text = "a: no\nb: 12:30:45\nc: 010\nd: 1e6\ne: 2012-06-04\nf: 0x1F\ng: yes\nh: ~\ni: TRUE\n"
    text += "j: 1_0\nk: -5\nl: +.5\nm: 0o17\n"
    values = {key: entry.value for key, entry in parse(text, label="text").items()}
    assert values == {
        "a": "no",
        "b": "12:30:45",
        "c": 10,
        "d": 1e6,
        "e": "2012-06-04",
        "f": 31,
        "g": "yes",
        "h": None,
        "i": True,
        "j": "1_0",
        "k": -5,
        "l": 0.5,
        "m": 15,
    }


@pytest.mark.parametrize(
    "value",
    [
        "no",
        "12:30:00",
        "1e5",
        "010",
        "",
        "a: b",
        "# x",
        "ünï",
        "two\nlines",
        "~",
        1e-7,
        1e22,
        0.1,
        -0.0,
        3,
        True,
        None,
        [],
        {},
    ],
)
def test_dumped_values_are_read_back_equal(value: Any) -> None:
    tree = parse(dump({"key": {"below": [value], "x": value}}), label="text")
    back = tree["key"].value["below"].value[0]
    assert back == value
    assert type(back) is type(value)


def test_parity_08_dump_rebuilds_an_equal_project(tmp_path: Path) -> None:
    resolved = load(write(tmp_path, GOOD), ["observatories.sky.radius=3", "keep.raw=false"])
    again = load(write(tmp_path, resolved.dump(), "again.yaml"))
    assert again.settings == resolved.settings
    assert resolved.settings.compare(again.settings) == {}
    resolved.settings.save(tmp_path / "saved.yaml")
    assert load(tmp_path / "saved.yaml").settings == resolved.settings
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.yaml", "saved.yaml", "search.yaml"]


def test_parity_01_save_writes_all_settings_and_read_overrides(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD)).settings
    settings.save(tmp_path / "saved.yaml")
    tree = parse((tmp_path / "saved.yaml").read_text(), label="saved")
    assert set(tree) == set(ProjectSettings.model_fields)
    assert load(tmp_path / "saved.yaml", {"run.verbosity": 3}).settings.run.verbosity == 3


def test_parity_04_name_finds_the_file_in_configs_and_names_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    write(tmp_path / "configs", "observatories: [sky]\n", "white-dwarfs.yaml")
    monkeypatch.chdir(tmp_path)
    resolved = load("white-dwarfs")
    assert resolved.settings.name == "white_dwarfs"
    assert resolved.origins["name"] == "default"
    assert resolved.path == tmp_path / "configs" / "white-dwarfs.yaml"


def test_parity_05_names_are_trimmed_upper_cased_and_dashes_replaced() -> None:
    assert legalise("  my-name here ") == "MY_NAME_HERE"
    assert legalise("my-name", upper=False) == "my_name"


@pytest.mark.parametrize("name", ["1abc", "a$b", "", "-", "é", "a/b", "..", "a.b", "a\n"])
def test_parity_05_illegal_names_are_refused(name: str) -> None:
    if name in {"-", "a\n"}:
        assert legalise(name) in {"_", "A"}
        return
    with pytest.raises(ValueError, match="Cannot legalize name"):
        legalise(name)


def test_illegal_project_name_is_told_with_its_line(tmp_path: Path) -> None:
    assert "search.yaml:1:1: name: Cannot legalize name '1x'" in refused(tmp_path, "name: 1x\n")


@pytest.mark.parametrize("value", ["5", True, None, [1], {"a": 1}, float("nan"), float("inf")])
def test_parity_06_types_are_enforced_for_numbers(value: Any) -> None:
    with pytest.raises(ValueError, match="radius"):
        SkySettings(radius=value)
    assert SkySettings(radius=5).radius == 5.0


def test_parity_06_true_is_not_a_count_of_workers() -> None:
    with pytest.raises(ConfigError, match=r"run\.workers"):
        load({"name": "x", "run": {"workers": True}})


def test_parity_07_settings_are_locked() -> None:
    settings = SkySettings()
    with pytest.raises(pydantic.ValidationError):
        settings.radius = 3.0  # type: ignore[misc]
    with pytest.raises(pydantic.ValidationError):
        SkySettings(unknown=1)
    with pytest.raises(ConfigError):
        load({"name": "x", "observatories": {"sky": {"rad": 1}}})


def test_parity_7_1_a_verify_passes_then_names_what_is_missing(tmp_path: Path) -> None:
    load(write(tmp_path, GOOD)).verify()
    resolved = load(write(tmp_path, "name: x\n"))
    with pytest.raises(
        ConfigError, match=r"search\.yaml: project x cannot run: catalog: .*; observatories: "
    ):
        resolved.verify()


def test_parity_7_1_d_updates_do_not_change_the_callers_mapping() -> None:
    general = {"observatories": {"gap": 2, "sky": {}}}
    load({"name": "x"}, general)
    assert general == {"observatories": {"gap": 2, "sky": {}}}


def test_table_shows_value_origin_unit_and_meaning(tmp_path: Path) -> None:
    rows = {row.path: row for row in load(write(tmp_path, GOOD)).table()}
    row = rows["observatories.sky.radius"]
    assert (row.value, row.origin, row.unit, row.doc) == (10.0, "search.yaml:7", "arcsec", "Search radius")
    assert all(each.doc for each in rows.values())


def test_compare_names_the_differing_paths() -> None:
    one = load({"name": "x", "observatories": {"sky": {}}}).settings
    two = load({"name": "x", "observatories": {"sky": {"gap": 1}, "other": {}}}).settings
    assert one.compare(two) == {"observatories.sky.gap": (40.0, 1.0), "observatories.other.gap": (None, 10.0)}
    assert Parameters is ProjectSettings


def test_to_dict_shares_nothing_with_the_settings() -> None:
    settings = load({"name": "x", "catalog": {"rows": [{"ra": 1}]}, "keep": {"raw": False}}).settings
    plain = settings.to_dict()
    plain["keep"]["raw"] = True
    plain["catalog"]["rows"][0]["ra"] = 5
    assert settings.keep == {"raw": False}
    assert settings.catalog.rows == ({"ra": 1},)


def test_unresolved_sections_are_refused_by_the_class_itself() -> None:
    with pytest.raises(pydantic.ValidationError, match=r"config\.load"):
        ProjectSettings(name="x", observatories={"sky": {}})


def test_empty_sections_mean_defaults(tmp_path: Path) -> None:
    settings = load(write(tmp_path, "name: x\nrun:\ncatalog:\nobservatories:\n  sky:\nanalyses:\n")).settings
    assert settings == load({"name": "x", "observatories": ["sky"]}).settings


def test_name_is_required_where_there_is_no_file() -> None:
    with pytest.raises(ConfigError, match="mapping: name: is required"):
        load({})


def test_key_that_is_not_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="key 5 is not text"):
        load({"name": "x", "run": {5: 1}})


@pytest.mark.parametrize(
    ("section", "origin"),
    [
        ({"file": "a.csv"}, "file"),
        ({"filename": "a.csv"}, "file"),
        ({"cone": {"ra": 1, "dec": -5, "radius": 0.1}}, "cone"),
        ({"vizier": "J/x/y", "cone": {"ra": 1, "dec": -5, "radius": 0.1}}, "vizier"),
        ({"adql": "SELECT 1"}, "adql"),
        ({"test": 10}, "test"),
        ({}, None),
    ],
)
def test_catalogue_has_one_origin(section: dict[str, Any], origin: str | None) -> None:
    assert CatalogSettings(**section).origin == origin


def test_older_names_of_catalogue_settings_are_understood_in_files(tmp_path: Path) -> None:
    text = "catalog: {filename: a.csv, cat_name: mine, catalog_observation_year: 2015.5}\n"
    catalog = load(write(tmp_path, text)).settings.catalog
    assert (catalog.file, catalog.name, catalog.epoch) == (tmp_path / "a.csv", "mine", 2015.5)


def test_catalogue_columns_and_conditions_come_in_one_form() -> None:
    columns = CatalogSettings(columns={"ra": "RAX", "kind": "type", "extra": ["x"]}).columns
    assert columns.given == {"ra": "RAX", "kind": "type"}
    assert CatalogSettings(where="mag < 3").conditions == ("mag < 3",)
    assert CatalogSettings(where=["mag < 3", "dec > 0"]).conditions == ("mag < 3", "dec > 0")
    assert CatalogSettings().conditions == ()


@pytest.mark.parametrize(
    "section",
    [
        {"file": "a.csv", "rows": []},
        {"vizier": "x", "adql": "y"},
        {"file": "a.csv", "cone": {"ra": 1, "dec": 1, "radius": 1}},
        {"test": 3, "cone": {"ra": 1, "dec": 1, "radius": 1}},
        {"file": "a.csv", "test": 3},
        {"test": 0},
        {"cone": {"ra": 360, "dec": 1, "radius": 1}},
        {"cone": {"ra": 1, "dec": 91, "radius": 1}},
    ],
)
def test_impossible_catalogues_are_refused(section: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="catalog"):
        load({"name": "x", "catalog": section})


def test_json_schema_describes_plugins_with_units_and_refuses_unknown_keys() -> None:
    schema = json_schema(resolve, observatories=["sky"], analyses=["flares"])
    sky = schema["$defs"]["SkySettings"]
    assert sky["properties"]["radius"]["unit"] == "arcsec"
    assert sky["properties"]["radius"]["maximum"] == 60
    assert sky["additionalProperties"] is False
    assert "name" in schema["properties"]
    assert set(schema["$defs"]["Observatories"]["properties"]) == {"sky"}
    assert "threshold" in schema["$defs"]["FlareSettings"]["properties"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "catalog:\n  - {name: a, ra: 1, dec: 2}\n",
            ":1:1: catalog: should be a section, a line `key: value` for each",
        ),
        ("name: 2024\n", ":1:1: name: should be text, not the number 2024: put it in quotes, '2024'"),
        ("name:\n", ":1:1: name: should be text, and nothing stands there; give it, or leave the key out"),
        (
            "observatories:\n  demo: {}\n  analyses:\n    transients: {}\n",
            ":3:3: observatories.analyses: analyses stands in no other section: indent it as far as observatories",
        ),
        (
            "name: a\n---\nname: b\n",
            "expected a single document in the stream that begins in line 1, but found another",
        ),
        (
            'name: "a\nrun: {}\n',
            "while scanning a quoted scalar that begins in line 1, found unexpected end of stream",
        ),
        (
            "run: {batch: 5\nkeep: {}\n",
            "while parsing a flow mapping that begins in line 1, expected ',' or '}'",
        ),
        (
            "run: &r {batch: 5}\nkeep:\n  <<: *r\n",
            ":3:3: merge keys (<<) are not YAML 1.2; write their keys out",
        ),
        ("", ": holds no settings; `vo new project NAME` writes a file to start from"),
        ("# a comment alone\n", ": holds no settings; `vo new project NAME` writes a file to start from"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_what_to_do(tmp_path, text, says):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "p.yaml", resolve=plugins.settings_of)
    assert str(caught.value).startswith(str(tmp_path / "p.yaml"))
    assert says in str(caught.value)


def test_sections_that_are_no_plug_ins_are_those_of_a_project():
    from virtualobserver.config.sections import _TOP

    assert set(_TOP) == set(ProjectSettings.model_fields)
