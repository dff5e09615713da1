"""The pages of the manual on what can be imported: the package, the rooms meant for people, the mathematics."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

from markdown_text import first_paragraph, table
from pydantic import BaseModel

import virtualobserver
from virtualobserver import maths

ROOMS = (
    "observatory", "analysis", "export", "testing",  # for those who write plug-ins
    "data", "data.panels", "plot", "simulate", "catalog", "catalog.refcat", "catalog.orbits", "catalog.skybot",
    "config", "columns", "io.kbmod.tables", "io.kbmod.workunit", "run.views.reviewers",
)  # fmt: skip
"""Modules that people import from, beside the package itself and its mathematics."""

Named = tuple[str, object]


def is_row(thing: object) -> bool:
    """Whether a class maps a table: the schema page shows its columns."""
    return hasattr(thing, "__table__")


def root_names() -> list[Named]:
    """Return what can be imported from the package itself, surveys included."""
    return [(name, getattr(virtualobserver, name)) for name in dir(virtualobserver) if name[0] != "_"]


def names_of(module: ModuleType) -> list[Named]:
    """Return the public names of a module, in the order in which it says them."""
    return [(name, getattr(module, name)) for name in getattr(module, "__all__", ())]


def members_of(thing: type) -> Iterator[tuple[str, str]]:
    """Yield the documented public methods and properties of a row, its bases' included, with what they do."""
    for base in thing.__mro__:
        if base.__module__.partition(".")[0] != "virtualobserver":
            continue
        for name, member in vars(base).items():
            called = inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod)
            if name[0] != "_" and called and (text := first_paragraph(getattr(member, "__func__", member))):
                yield name, text


class Told:
    """What has been told already: every thing has one place, and is referred to elsewhere."""

    def __init__(self) -> None:
        self.seen: dict[int, str] = {}

    def lines(self, name: str, thing: object) -> list[str]:
        """Return the entry of a public name."""
        path = f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', name)}"
        if id(thing) in self.seen:
            return [f"`{name}`", f": see {{py:obj}}`{self.seen[id(thing)]}`", ""]
        if inspect.isclass(thing):
            self.seen[id(thing)] = path
            members = [] if issubclass(thing, BaseModel) else ["   :members:"]
            return ["```{eval-rst}", f".. autoclass:: {path}", *members, "```", ""]
        if inspect.isfunction(thing):
            self.seen[id(thing)] = path
            return ["```{eval-rst}", f".. autofunction:: {path}", "```", ""]
        return [f"`{name}`", f": `{type(thing).__name__}`", ""]


def rows_section(rows: dict[str, type]) -> list[str]:
    """Return the section of the rows: what each is, and what it can do besides holding its columns."""
    lines = ["## Rows", "", "One class for each table; the columns are on the [schema page](schema.md).", ""]
    head = ("name", "table", "meaning")
    lines += table(head, ((f"`{n}`", f"`{t.__tablename__}`", first_paragraph(t)) for n, t in rows.items()))
    for name, thing in rows.items():
        members = dict(reversed(list(members_of(thing))))
        if members:
            lines += [f"### Row {name}", ""]
            lines += table(("member", "what it does"), ((f"`{m}`", text) for m, text in members.items()))
    return lines


def api_names(told: Told) -> None:
    """Note what the page of the package tells already."""
    for room in ROOMS:
        for name, thing in names_of(import_module(f"virtualobserver.{room}")):
            told.lines(name, thing)


def api_page() -> list[str]:
    """Return the page of the public names, each once, under the module that defines it."""
    lines = [
        "# Python interface",
        "",
        "What can be imported. The mathematics has [a page of its own](maths.md).",
        "",
    ]
    lines += ["## virtualobserver", ""]
    told, rows = Told(), {}
    for name, thing in root_names():
        if is_row(thing):
            rows[name] = thing
        else:
            lines += told.lines(name, thing)
    lines += rows_section(rows)
    for room in ROOMS:
        module = import_module(f"virtualobserver.{room}")
        lines += [f"## virtualobserver.{room}", "", first_paragraph(module), ""]
        for name, thing in names_of(module):
            lines += [] if is_row(thing) else told.lines(name, thing)
    lines += ["## virtualobserver.errors", "", "```{eval-rst}", ".. automodule:: virtualobserver.errors"]
    return [*lines, "   :members:", "```", ""]


def maths_page() -> list[str]:
    """Return the page of the mathematics: every public function and class, by module."""
    lines = ["# Mathematics", "", first_paragraph(maths), ""]
    told = Told()
    api_names(told)
    for found in pkgutil.walk_packages(maths.__path__, "virtualobserver.maths."):
        module = import_module(found.name)
        named = [
            (name, thing)
            for name, thing in names_of(module)
            if getattr(thing, "__module__", "") == found.name
        ]
        if named:
            lines += [f"## {found.name.removeprefix('virtualobserver.')}", "", first_paragraph(module), ""]
            for name, thing in named:
                lines += told.lines(name, thing)
    return lines
