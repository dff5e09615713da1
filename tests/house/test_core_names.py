"""The core names no plug-in: what it knows of them it asks them."""

from __future__ import annotations

import ast
import re

from support.paths import ROOT

PACKAGE = ROOT / "src" / "virtualobserver"
FOLDERS = ("observatories", "analyses", "exports")
EXEMPT = {
    "": {"demo"},  # comes with the core: `vo demo`, and `VirtualDemoObs`
    "cli": {"skyportal"},  # the server that `vo upload` sends to; the way out writes a file for it
    "maths": {"kbmod"},  # the published method that this value of `masked` is named after
}


WORDS = {"folder"}
"""Names of plug-ins that are plain words too, which anybody may speak; importing one is another thing."""


def plugins():
    """Return the names of all plug-ins."""
    found = {path.stem for folder in FOLDERS for path in (PACKAGE / folder).iterdir()}
    return found - {"__init__", "__pycache__"}


def spoken(code):
    """Yield the names and the texts of a module, without docstrings and the comments of database columns."""
    silent = {
        id(keyword.value) for node in ast.walk(code) if isinstance(node, ast.Call)
        for keyword in node.keywords if keyword.arg == "comment"
    }  # fmt: skip
    for node in ast.walk(code):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            silent.add(id(node.value))
    for node in ast.walk(code):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.value


def imported(code):
    """Yield the plug-ins that a module imports."""
    inside = re.compile(rf"virtualobserver\.({'|'.join(FOLDERS)})\.(\w+)")
    for node in ast.walk(code):
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
        for module in modules:
            if found := inside.match(module):
                yield found[2]


def hits(code, room):
    """Return the plug-ins that a module of a room of the core names."""
    words = re.compile(r"\b(" + "|".join(sorted(plugins())) + r")\b")
    found = {word for text in spoken(code) for word in words.findall(text)}
    return (found - WORDS | set(imported(code))) - EXEMPT[""] - EXEMPT.get(room, set())


def test_the_core_names_no_plugin():
    named = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE).parts
        if inside[0] not in FOLDERS and (found := hits(ast.parse(path.read_text("utf-8")), inside[0])):
            named["/".join(inside)] = sorted(found)
    assert named == {}


def test_a_name_is_heard_wherever_it_is_spoken():
    for line in ("x = 'reduce:ztf'", "import virtualobserver.analyses.transients", "f(harps)", "a.kbmod",
                 "from virtualobserver.exports import skyportal", "import virtualobserver.observatories.folder.read",
                 "raise E('needs astep')"):  # fmt: skip
        assert hits(ast.parse(line), "run"), line
    assert not hits(ast.parse("def f():\n    'As ztf has it.'\n    return 'demo'"), "run")
