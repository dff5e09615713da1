"""What the manual tells users of the older scripts to type is understood, down to keys, steps and SQL."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from support.paths import ROOT

from virtualobserver import Project, plugins
from virtualobserver.cli.entry import app
from virtualobserver.config.load import load
from virtualobserver.run.steps import build_steps

PAGE = (ROOT / "docs" / "old_scripts.md").read_text(encoding="utf-8")
SPECTRA = yaml.safe_load(re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0])
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")] for line in PAGE.splitlines() if line[:2] == "| "
]
TABLES = "\n".join(cell for row in ROWS for cell in row[1:])
COMMANDS = sorted({said for said in re.findall(r"`([^`\n]+)`", TABLES) if "vo " in said})
SCRIPTS = sorted(set(re.findall(r"`(scripts/[^`\n]+)`", TABLES)))
LSSS = ("-d", "-skip_filabres", "-skip_recalibration", "-SSOS", "-check", "-plot_sc", "-re_sc", "-period")


@cache
def root() -> Any:
    return typer.main.get_command(app)


@cache
def parsed(said: str) -> tuple[list[str], dict[str, Any]]:
    """Return the words of the command and its parameters, as the program itself understands them."""
    words = shlex.split(said)
    words = words[words.index("vo") + 1 :]
    command = root()
    names = []
    while hasattr(command, "commands"):
        word = words.pop(0)
        if word.startswith("-"):
            known = {option for parameter in command.params for option in parameter.opts}
            assert word in known or set(word[1:]) == {"v"}, f"vo has no option {word}"
            continue
        assert word in command.commands, f"there is no command {word}"
        names.append(word)
        command = command.commands[word]
    return names, command.make_context(names[-1], words).params


def settings_of(config: str, changes: Sequence[str]) -> Any:
    """Return the settings that a command of the page gets."""
    source: Any = SPECTRA if config == "spectra.yaml" else ROOT / config
    return load(source, changes, resolve=plugins.settings_of).settings


@pytest.mark.parametrize("said", COMMANDS)
def test_the_new_command_is_understood(said: str) -> None:
    _, given = parsed(said)
    config = given.get("config")
    if config is None:
        return
    settings = settings_of(config, overrides_of(given))
    if step := given.get("step"):
        steps = build_steps(settings)
        assert step in {known.name for known in steps} | {known.kind for known in steps}, step


@pytest.mark.parametrize("said", SCRIPTS)
def test_the_new_script_is_there_and_knows_its_options(said: str) -> None:
    script, *options = said.split()
    text = (ROOT / script).read_text(encoding="utf-8")
    for option in options:
        assert not option.startswith("--") or re.search(rf"^  {option}\b", text, re.MULTILINE), option


def test_every_set_of_a_command_changes_what_the_search_is_given() -> None:
    shown = [parsed(said)[1] for said in COMMANDS]
    keys = {change.partition("=")[0] for given in shown for change in overrides_of(given)}
    assert "observatories.lsss.photometry.SIGM" in keys
    assert len(keys) > 20
    changed = settings_of("configs/lsss.yaml", ["observatories.lsss.photometry.SIGM=2.25"])
    assert changed.observatories["lsss"].photometry.zero_clip == 2.25


def overrides_of(given: dict[str, Any]) -> list[str]:
    return [str(change) for change in given.get("overrides") or ()]


def test_queries_of_the_page_are_answered(tmp_path: Path, url: str) -> None:
    statements = [given["statement"] for names, given in map(parsed, COMMANDS) if names == ["sql"]]
    assert len(statements) == 2
    with Project.open(SPECTRA | {"catalog": {"rows": []}}, data=tmp_path, url=url) as project:
        for statement in statements:
            assert project.sql(statement).empty


def test_every_option_of_autossos_has_a_command() -> None:
    for option in LSSS:
        (row,) = (row for row in ROWS if re.search(rf"autossos (DIR )?{option}\b", row[0]))
        assert "`vo " in row[1], option


def test_names_of_python_are_there() -> None:
    named = set(re.findall(r"`Project\.(\w+)`", PAGE))
    assert len(named) > 6
    assert not {name for name in named if not hasattr(Project, name)}


def test_old_keys_of_the_framework_are_understood() -> None:
    old = {"threshold": 6.0, "snr_threshold_sidebands": 3.0, "max_det_per_lc": 2, "abs_snr": False}
    old["remove_failed"] = True
    given = {
        "analyses": {"transients": old},
        "observatories": {"ztf": {"drop_bad": True, "cone_search_radius": 2}},
    }
    base = {"name": "old", "catalog": {"rows": [{"name": "a", "ra": 1, "dec": 2}]}}
    settings = load(base | given, resolve=plugins.settings_of).settings
    assert settings.analyses["transients"].snr_threshold == 6.0  # type: ignore[attr-defined]
    assert all(f"`{name}`" in PAGE for name in (*old, "drop_bad", "cone_search_radius"))
