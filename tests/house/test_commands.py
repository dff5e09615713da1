"""What the manual says of the command line is true, and it leaves no command out."""

from __future__ import annotations

import re

import pytest
import typer
from support.paths import ROOT

from virtualobserver.cli.entry import app

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = sorted((ROOT / "src").rglob("*.py")) + sorted((ROOT / "src").rglob("templates/*"))
SPOKEN = re.compile(r"(?:^\$ |`)(vo [^`\n#]*[^`\n#\s])", re.MULTILINE)


def tree(command=None, words=("vo",)):
    """Return all commands by their words."""
    command = command or typer.main.get_command(app)
    found = {words: command}
    for name, child in getattr(command, "commands", {}).items():
        found |= tree(child, (*words, name))
    return found


COMMANDS = tree()
ENDS = {words: command for words, command in COMMANDS.items() if not getattr(command, "commands", None)}


def options_of(words):
    """Return the options that may stand with a command: its own and those of the commands above it."""
    own = {name for n in range(1, len(words) + 1) for p in COMMANDS[words[:n]].params for name in p.opts}
    return own | {"--help", "-h"}


def command_in(said):
    """Return the command a line names, and its options."""
    parts = said.split("|")[0].split(">")[0].split()
    flags = [part for part in parts if part.startswith("-")]
    names = [part for part in parts if not part.startswith("-")]
    words = ("vo",)
    for name in names[1:]:
        if (*words, name) not in COMMANDS:
            break
        words = (*words, name)
    return words, names[len(words) :], flags


def sayings(path):
    """Return what a page or a module says of the command line."""
    return [" ".join(said.split()) for said in SPOKEN.findall(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_that_is_spoken_of_exists_with_its_options(path):
    for said in sayings(path):
        words, rest, flags = command_in(said)
        known = words in ENDS or (words in COMMANDS and not rest and (len(words) > 1 or flags))
        assert known, f"{path.name}: `{said}`: there is no such command"
        strange = {flag.split("=")[0] for flag in flags if not re.fullmatch(r"-v+", flag)} - options_of(words)
        assert not strange, f"{path.name}: `{said}`: no option {', '.join(strange)}"


@pytest.mark.parametrize("words", ENDS, ids=" ".join)
def test_every_command_is_in_the_manual(words):
    said = [command_in(line)[0] for page in PAGES for line in sayings(page)]
    assert words in said


@pytest.mark.parametrize("words", ENDS, ids=" ".join)
def test_every_command_and_option_says_what_it_is_for(words):
    command = ENDS[words]
    assert command.help
    for parameter in command.params:
        assert parameter.help or parameter.param_type_name == "argument", parameter.name


def test_the_checks_above_see_what_is_wrong():
    assert command_in("vo run x.yaml --set a.b=c --frob")[2] == ["--set", "--frob"]
    assert "--frob" not in options_of(("vo", "run"))
    assert command_in("vo frobnicate x")[0] == ("vo",)
    assert len(ENDS) > 15
