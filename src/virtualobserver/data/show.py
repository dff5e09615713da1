"""How containers and rows show themselves in a notebook."""

from __future__ import annotations

from html import escape

from virtualobserver.typing import Record

__all__ = ["facts_html"]


def facts_html(title: str, facts: Record) -> str:
    """Return a heading and a small table of facts; every text is escaped."""
    rows = "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items()
    )
    return f"<p>{escape(title)}</p>" + (f"<table>{rows}</table>" if rows else "")
