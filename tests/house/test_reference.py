"""The references that the build makes leave nothing out, and the pages of searches are all there."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.paths import ROOT

import virtualobserver
from virtualobserver import maths, plugins
from virtualobserver.config.load import load
from virtualobserver.config.shipped import demonstrations, find_config
from virtualobserver.data.panels import Facts

DOCS = ROOT / "docs"


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that imports a module of the build by name."""
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module


def told(lines: list[str]) -> set[str]:
    """Return the last words of all names that a page tells of."""
    text = "\n".join(lines)
    full = re.findall(r"auto(?:class|function):: ([\w.]+)", text)
    return {name.rpartition(".")[2] for name in full} | set(re.findall(r"^\|? ?`(\w+)`", text, re.MULTILINE))


def test_every_public_name_of_the_package_is_in_the_reference(builder: Any) -> None:
    api = builder("api")
    names = told(api.api_page())
    missing = {
        name for name, thing in api.root_names() if not {name, getattr(thing, "__name__", name)} & names
    }
    assert not missing
    for room in api.ROOMS:
        module = importlib.import_module(f"virtualobserver.{room}")
        assert module.__all__
        for name in module.__all__:
            thing = getattr(module, name)
            assert api.is_row(thing) or {name, getattr(thing, "__name__", name)} & names, f"{room}.{name}"


def test_every_public_name_of_the_mathematics_is_in_the_reference(builder: Any) -> None:
    page = "\n".join(builder("api").maths_page())
    found = 0
    for module in pkgutil.walk_packages(maths.__path__, "virtualobserver.maths."):
        loaded = importlib.import_module(module.name)
        for name in getattr(loaded, "__all__", ()):
            thing = getattr(loaded, name)
            if (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__ == module.name:
                assert f"{module.name}.{name}" in page
                found += 1
    assert found > 300


def test_what_rows_can_do_is_told(builder: Any) -> None:
    members = dict(builder("api").members_of(virtualobserver.Source))
    assert {"rows", "handles"} <= set(members)
    assert "### Row Source" in builder("api").api_page()


def test_every_public_name_says_what_it_is(builder: Any) -> None:
    api = builder("api")
    for name, thing in api.root_names():
        assert inspect.getdoc(thing), name
    for room in api.ROOMS:
        module = importlib.import_module(f"virtualobserver.{room}")
        for name, thing in api.names_of(module):
            if inspect.isfunction(thing) or inspect.isclass(thing):
                assert inspect.getdoc(thing), f"{room}.{name}"


def test_every_search_has_a_page() -> None:
    for name in plugins.names("analyses"):
        text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        assert f"`{name}`" in text
        assert re.search(r"^ {4}S/N|\$\$|Σ", text, re.MULTILINE) or name == "asteroids", f"{name}: no formula"


def test_the_first_page_shows_a_picture_of_every_demonstration(builder: Any) -> None:
    searches = builder("pictures").SEARCHES
    assert {search.config for search in searches} == set(demonstrations())
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    for search in searches:
        assert f"{{image}} generated/{search.config}.png" in index
        load(find_config(search.config), search.overrides, resolve=plugins.settings_of)


def test_a_picture_of_the_first_page_is_chosen_by_its_title(builder: Any) -> None:
    pictures = builder("pictures")
    titles = ("frames about the body", "Duna among 7 bodies", "residuals of K", "K")
    panels = [Facts(title, []) for title in titles]
    chosen = pictures.shown(panels, ["bodies", "K", "residuals"])
    assert [panel.title for panel in chosen] == ["Duna among 7 bodies", "K", "residuals of K"]
    with pytest.raises(LookupError, match="no panel is called 'path'"):
        pictures.shown(panels, ["path"])


def test_the_configuration_of_the_readme_is_one() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        assert load(yaml.safe_load(block), resolve=plugins.settings_of).settings.analyses


def test_formulas_are_drawn_or_refused(builder: Any) -> None:
    formulas = builder("formulas")
    drawn, depth = formulas.drawing(r"\frac{a}{b}")
    assert drawn.startswith("<svg")
    assert "currentColor" in drawn
    assert depth > 0
    assert formulas.drawing(r"\frac{a}{b}") == (drawn, depth)
    with pytest.raises(ValueError, match="Unknown symbol"):
        formulas.drawing(r"\nothing")


@pytest.mark.parametrize(
    ("failing", "code"),
    [("", 0), ("docs", 2), ("lint", 2), ("test", 2)],
    ids=["nothing", "docs", "lint", "test"],
)
def test_all_that_a_change_has_to_pass_is_run_and_the_tests_have_the_last_word(
    tmp_path: Path, failing: str, code: int
) -> None:
    make = (
        f'#!/bin/sh\necho "$1" >> {tmp_path}/asked\necho "= $1 done ="\n[ "$1" != "{failing}" ] || exit 2\n'
    )
    for name, text in {"make": make, "chromium": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        [ROOT / ".ci" / "run"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert (tmp_path / "asked").read_text().split() == ["lint", "docs", "test"]
    assert done.stdout.splitlines()[-1] == "= test done ="


def test_the_first_half_of_a_sentence_about_an_attribute_is_not_taken_for_its_type(builder: Any) -> None:
    from sphinx.ext.napoleon import Config, NumpyDocstring

    lines = ["What stands at the axes: a name, and the unit."]
    builder("conf")._whole_sentences(None, "attribute", "axes", None, None, lines)
    made = NumpyDocstring(lines, Config(), what="attribute", name="axes").lines()
    assert "What stands at the axes: a name, and the unit." in made
    assert not any(line.startswith(":type") for line in made)
