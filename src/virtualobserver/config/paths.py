"""Relative paths of a configuration: each starts at the folder of the file it stands in."""

from __future__ import annotations

import difflib
from pathlib import Path

import pydantic

from virtualobserver.config.settings import field_marks, model_in
from virtualobserver.config.tree import Tree
from virtualobserver.typing import Value

__all__ = ["anchor", "anchored", "nearest"]


def anchor(tree: Tree, model: type[pydantic.BaseModel]) -> Tree:
    """Return a section in which the settings declared as paths are absolute.

    Parameters
    ----------
    tree
        A section with proper names.
    model
        The class that declares its settings.
    """
    found: Tree = {}
    for key, entry in tree.items():
        field = model.model_fields.get(key)
        inner = model_in(field.annotation) if field is not None else None
        if inner is not None and entry.is_section:
            entry = entry.holding(anchor(entry.value, inner))  # noqa: PLW2901
        elif field is not None and (marks := field_marks(field)).path:
            entry = entry.holding(_absolute(entry.value, entry.folder, marks.words))  # noqa: PLW2901
        found[key] = entry
    return found


def anchored(path: str, folder: Path | None) -> str:
    """Return an absolute path: a relative one starts at `folder`, or at the working folder."""
    return str((folder or Path.cwd()) / Path(path).expanduser())


def nearest(path: Path) -> str:
    """Return what is there instead of a file or folder that is not: the name most like it, or the folder that lacks.

    Words to end a sentence with, empty where nothing is alike.
    """
    if not path.parent.is_dir():
        return f"; there is no folder {path.parent} either"
    try:
        names = [one.name for one in path.parent.iterdir()]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _absolute(value: object, folder: Path | None, words: tuple[str, ...]) -> Value:
    if isinstance(value, list | tuple):
        return [_absolute(item, folder, words) for item in value]
    if isinstance(value, Path):
        return Path(anchored(str(value), folder))
    if not isinstance(value, str) or value in words or "://" in value or not value:
        return value
    return anchored(value, folder)
