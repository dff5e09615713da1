"""Pieces of Markdown that the pages made from the code share."""

from __future__ import annotations

import inspect
from collections.abc import Iterable


def cell(text: object) -> str:
    """Return `text` for one cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """Return a Markdown table, or nothing where there are no rows."""
    body = ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    names = list(head)
    return ["| " + " | ".join(names) + " |", "|" + "---|" * len(names), *body, ""] if body else []


def first_paragraph(thing: object) -> str:
    """Return the first paragraph of a docstring that is the thing's own."""
    own = vars(thing).get("__doc__") if isinstance(thing, type) else getattr(thing, "__doc__", None)
    return inspect.cleandoc(own).split("\n\n")[0].replace("`", "") if own else ""
