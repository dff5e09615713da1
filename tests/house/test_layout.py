"""The house is as its page says: layers, rooms with signs, names that the core never speaks."""

from __future__ import annotations

import ast
import re
import tomllib

import pytest
from support.paths import ROOT

PACKAGE = ROOT / "src" / "virtualobserver"
PAGE = (ROOT / "docs" / "house.md").read_text(encoding="utf-8")
LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
PLUGIN_FOLDERS = tuple(name for name in ("observatories", "analyses", "exports") if (PACKAGE / name).is_dir())
SIGNS = sorted(PACKAGE.rglob("__init__.py"))


def rooms(line):
    """Return the rooms of one layer."""
    return tuple(part.strip(" ()") for part in re.split(r"[|:]", line) if part.strip(" ()"))


def test_the_drawing_shows_the_layers_that_the_linter_keeps():
    (layers,) = [contract for contract in LINTER["contracts"] if contract["name"] == "Layers"]
    drawing = re.findall(r"```\n(cli .*?)```", PAGE, re.DOTALL)[0].strip().splitlines()
    drawn = [rooms(re.split(r"\s{2,}", line)[0]) for line in drawing]
    assert drawn == [rooms(layer) for layer in layers["layers"]]
    assert layers["exhaustive"] is True


@pytest.mark.parametrize("path", SIGNS, ids=lambda path: path.parent.relative_to(ROOT).as_posix())
def test_every_room_has_a_sign(path):
    sign = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert len(sign.split()) >= 5, "say what is inside"
    inside = path.relative_to(PACKAGE).parts
    if len(inside) != 3 or inside[0] not in PLUGIN_FOLDERS:  # of plug-ins their folder says it
        assert re.search(r"\b(no|nothing|never|not)\b", sign, re.IGNORECASE), "say what never"


def test_rooms_and_files_the_page_speaks_of_are_there():
    named = re.findall(
        r"`((?:run|maths|io|data|catalog|config|models|cli|observatories|analyses|exports|ccd)(?:/[a-z_]+)?)/?`",
        PAGE,
    )
    assert len(named) > 8
    for name in named:
        assert (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file(), name
    (run,) = re.findall(r"```\n(project .*?)```", PAGE, re.DOTALL)
    for name in re.findall(r"^ *([a-z]+)\b", run, re.MULTILINE):
        assert [*(PACKAGE / "run").rglob(f"{name}.py"), *(PACKAGE / "run").glob(name)], name
    for wing in re.findall(r"`maths/SUBJECT`: `([a-z ]+)`", PAGE)[0].split():
        assert (PACKAGE / "maths" / wing).is_dir(), wing
