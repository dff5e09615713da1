"""Relative paths of a configuration: each starts at the folder of the file it stands in."""

from __future__ import annotations

from pathlib import Path

import pydantic

from virtualobserver.config.settings import field_marks, model_in
from virtualobserver.config.tree import Tree
from virtualobserver.typing import Value

__all__ = ["anchor", "anchored"]


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


def _absolute(value: object, folder: Path | None, words: tuple[str, ...]) -> Value:
    if isinstance(value, list | tuple):
        return [_absolute(item, folder, words) for item in value]
    if isinstance(value, Path):
        return Path(anchored(str(value), folder))
    if not isinstance(value, str) or value in words or "://" in value or not value:
        return value
    return anchored(value, folder)
