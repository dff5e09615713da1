"""How containers and rows show themselves in a notebook."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any, Final

from virtualobserver.errors import VirtualObserverError
from virtualobserver.hooks import draw
from virtualobserver.typing import Record

__all__ = ["facts_html", "figure_html", "picture_html"]

_DPI: Final = 72
"""Small, since a notebook that lists things shows many; below, numbers at the axes are lower than 10 pixels."""


def facts_html(title: str, facts: Record) -> str:
    """Return a heading and a small table of facts; every text is escaped."""
    rows = "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in facts.items()
    )
    return f"<p>{escape(title)}</p>" + (f"<table>{rows}</table>" if rows else "")


def picture_html(thing: object, **options: object) -> str:
    """Return a small picture of anything that can be drawn, inside the page; nothing where it cannot."""
    try:
        return figure_html(draw(thing, **options))
    except VirtualObserverError:
        return ""  # the facts beside it stand by themselves


def figure_html(figure: Any) -> str:
    """Return a figure, as `hooks.draw` makes it, as a small picture inside the page."""
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=_DPI)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}">'
