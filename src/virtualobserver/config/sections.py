"""The sections of surveys and analyses: old names made new, general keys handed to each plug-in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import pydantic

from virtualobserver.config.messages import translate, unknown_key
from virtualobserver.config.paths import anchor, anchored
from virtualobserver.config.project import ProjectSettings
from virtualobserver.config.settings import Settings, model_in, names_of
from virtualobserver.config.tree import Entry, Tree, plain
from virtualobserver.errors import ConfigError, PluginError
from virtualobserver.typing import Value

__all__ = ["KINDS", "canonical_names", "resolve_sections"]

Kind: TypeAlias = Literal["observatories", "analyses"]
Resolve: TypeAlias = Callable[[Kind, str], type[Settings]]

KINDS: tuple[Kind, ...] = ("observatories", "analyses")
_TOP: tuple[str, ...] = ("name", "description", "catalog", *KINDS, "run", "keep")
"""Sections of a file, none of which is a plug-in: one that stands in another is indented too far."""


def canonical_names(tree: Tree, resolve: Resolve) -> Tree:
    """Return a layer of a configuration with old names replaced by the proper ones.

    Lists of plug-ins (``analyses: [transients]``) become sections, names of plug-ins lower case, and the paths
    of plug-in files absolute. Done before
    layers are merged, so that an old name in one layer and the new one in another mean the same.

    Raises
    ------
    ConfigError
        One layer gives the same setting twice, under an old and a new name.
    """
    tree = _renamed(tree, ProjectSettings)
    for kind in KINDS:
        if kind in tree:
            entry = tree[kind]
            tree[kind] = entry.holding(_canonical_plugins(kind, entry, resolve))
    return tree


def resolve_sections(
    tree: Tree, resolve: Resolve, *, label: str
) -> tuple[Tree, dict[str, dict[str, Settings]]]:
    """Validate the sections of all plug-ins, each with its own class.

    Keys beside the plug-ins' sections go to every plug-in that knows them, below what its own section says.

    Parameters
    ----------
    tree
        Merged configuration with canonical names.
    resolve
        Finds the settings class of a plug-in.
    label
        What to call the configuration where no line can be named.

    Returns
    -------
    tree, sections
        The tree with general keys handed out, and for each kind the settings by plug-in.

    Raises
    ------
    UnknownKeyError
        A key that the plug-in, or for a general key no plug-in, knows.
    ConfigError
        A value of the wrong type or out of range.
    """
    tree = dict(tree)
    resolved: dict[str, dict[str, Settings]] = {}
    for kind in KINDS:
        entry = tree.get(kind)
        if entry is None:
            continue
        classes = {key: resolve(kind, key) for key, below in entry.value.items() if below.is_section}
        handed = _hand_out(kind, entry.value, classes)
        tree[kind] = entry.holding(handed)
        resolved[kind] = {}
        for name, model in classes.items():
            try:
                resolved[kind][name] = model.model_validate(plain(anchor(handed[name].value, model)))
            except pydantic.ValidationError as error:
                raise translate(error, tree, model, label=label, prefix=(kind, name)) from None
    return tree, resolved


def _renamed(tree: Tree, model: type[pydantic.BaseModel]) -> Tree:
    names = names_of(model)
    renamed: Tree = {}
    for key, entry in tree.items():
        name = names.get(key, key)
        if name in renamed:
            msg = f"{entry.place}: {key}: {name} was given already, under its new or an older name"
            raise ConfigError(msg)
        field = model.model_fields.get(name)
        inner = model_in(field.annotation) if field is not None else None
        if inner is not None and field is not None and entry.value is None and field.annotation is inner:
            entry = entry.holding({})  # noqa: PLW2901
        if inner is not None and entry.is_section:
            entry = entry.holding(_renamed(entry.value, inner))  # noqa: PLW2901
        renamed[name] = entry
    return renamed


def _canonical_plugins(kind: Kind, entry: Entry, resolve: Resolve) -> Tree:
    section = _as_section(kind, entry)
    tree: Tree = {}
    for key, below in section.items():
        if not below.is_section and not (below.value is None and _is_plugin(kind, key, below, resolve)):
            tree[key] = below  # a general key
            continue
        name = _plugin_name(key, below)
        if name in tree:
            msg = f"{below.place}: {kind}.{key} was given already"
            raise ConfigError(msg)
        try:
            model = resolve(kind, name)
        except PluginError as error:
            own = f"{key} stands in no other section: indent it as far as {kind}"
            msg = f"{below.place}: {kind}.{key}: {own if key in _TOP else error}"
            raise ConfigError(msg) from error
        tree[name] = below.holding(_renamed(below.value or {}, model))
    return tree


def _as_section(kind: Kind, entry: Entry) -> Tree:
    value: Value = entry.value
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{entry.place}: {kind}: {_shape(kind, names)}")
    return {name: entry.holding({}) for name in names}


def _shape(kind: Kind, given: Value) -> str:
    """Say how plug-ins are written, by those that were given where they can be told."""
    said: list[str] = []
    for one in given if isinstance(given, list | tuple) else ():
        said += [str(key) for key in one] if isinstance(one, dict) else [str(one)]
    names = said or ["NAME"]
    return (
        f"should be a section with one key for each, or a list of names alone; as {kind}: "
        f"{{{', '.join(f'{name}: {{…}}' for name in names)}}} or {kind}: [{', '.join(names)}]"
    )


def _plugin_name(key: str, entry: Entry) -> str:
    return anchored(key, entry.folder) if key.endswith(".py") else key.lower()


def _is_plugin(kind: Kind, key: str, entry: Entry, resolve: Resolve) -> bool:
    try:
        resolve(kind, _plugin_name(key, entry))
    except PluginError:
        return False
    return True


def _hand_out(kind: Kind, section: Tree, classes: dict[str, type[Settings]]) -> Tree:
    handed: Tree = {name: section[name] for name in classes}
    known = {name: names_of(model) for name, model in classes.items()}
    for key, entry in section.items():
        if key in classes:
            continue
        takers = [name for name in classes if key in known[name]]
        if not takers:
            valid = sorted({*classes, *(each for names in known.values() for each in names)})
            raise unknown_key(entry.place, f"{kind}.{key}", valid)
        for name in takers:
            own: Entry = handed[name]
            proper = known[name][key]
            if proper not in own.value:
                handed[name] = own.holding({**own.value, proper: entry})
    return handed
