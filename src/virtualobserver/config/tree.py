"""A parsed configuration whose every value remembers where it was written.

Layers (file, overrides) are trees of `Entry`; they are merged as trees, so that an error found much later
still names the line it comes from.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from virtualobserver.errors import ConfigError
from virtualobserver.typing import Record, RecordDict, Value

__all__ = ["Entry", "Tree", "from_mapping", "lookup", "merge", "place_of", "plain"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a configuration.

    Attributes
    ----------
    value
        A scalar, a list, or a section (``dict[str, Entry]``).
    place
        Where the key stands, for messages: ``search.yaml:3:5``, ``override``.
    origin
        The same, short: ``search.yaml:3``, ``override``.
    folder
        Where a relative path in the value starts: the folder of the file, None for the working folder.
    """

    value: Value
    place: str
    origin: str
    folder: Path | None = None

    @property
    def is_section(self) -> bool:
        """Whether keys stand below this one."""
        return isinstance(self.value, dict)

    def holding(self, value: object) -> Entry:
        """Return an entry of the same place with another value."""
        return replace(self, value=value)


Tree: TypeAlias = dict[str, Entry]


def from_mapping(mapping: Record, *, origin: str) -> Tree:
    """Make a tree of a plain mapping; nothing in it is shared with the original.

    Raises
    ------
    ConfigError
        A key is not text.
    """
    tree: Tree = {}
    for key, value in mapping.items():
        if not isinstance(key, str):
            msg = f"{origin}: the key {key!r} is not text; quote it"
            raise ConfigError(msg)
        below = from_mapping(value, origin=origin) if isinstance(value, Mapping) else copy.deepcopy(value)
        tree[key] = Entry(below, origin, origin)
    return tree


def merge(base: Tree, over: Tree) -> Tree:
    """Lay one tree over another, section by section; both stay as they are."""
    merged = dict(base)
    for key, entry in over.items():
        below = base.get(key)
        if below is not None and below.is_section and entry.is_section:
            merged[key] = entry.holding(merge(below.value, entry.value))
        else:
            merged[key] = entry
    return merged


def plain(tree: Tree) -> RecordDict:
    """Return the values of a tree as ordinary dictionaries, lists and scalars."""
    return {
        key: plain(entry.value) if entry.is_section else copy.deepcopy(entry.value)
        for key, entry in tree.items()
    }


def lookup(tree: Tree, path: Sequence[str | int], *, exact: bool = False) -> Entry | None:
    """Find the entry at a path, or the deepest one on the way to it.

    Parameters
    ----------
    tree
        Where to look.
    path
        Keys from the top.
    exact
        Accept no section above the path itself (a list or scalar above it still counts: it wrote the value).
    """
    found: Entry | None = None
    level: Value = tree
    for key in path:
        if not isinstance(level, dict) or key not in level:
            break
        found = level[key]
        level = found.value
    else:
        return found
    if exact and isinstance(level, dict):
        return None
    return found


def place_of(tree: Tree, path: Sequence[str | int], *, default: str) -> str:
    """Say where a path was written, or where the section stands that should hold it."""
    entry = lookup(tree, path)
    return default if entry is None else entry.place
