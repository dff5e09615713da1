"""Formulas as drawings within the pages, made by Matplotlib: the manual is read without any network.

A Sphinx extension that gives the renderer of formulas ``mathtext``. What it does not know stops the build, so that no
page shows the source of a formula.
"""

from __future__ import annotations

import html
import io
import re
import zlib
from typing import Any

from docutils import nodes
from matplotlib import mathtext, rc_context
from matplotlib.font_manager import FontProperties

SIZE = 12  # points, about that of the text around


def drawing(formula: str) -> tuple[str, float]:
    """Return a formula as SVG in the colour of the text, and how far it reaches below the line, in points."""
    source = " ".join(formula.split())
    file = io.BytesIO()
    with rc_context({"mathtext.fontset": "cm", "svg.hashsalt": "formulas", "savefig.facecolor": "none"}):
        font = FontProperties(size=SIZE)
        depth = mathtext.math_to_image(f"${source}$", file, prop=font, dpi=72, format="svg")
    text = file.getvalue().decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    # names in one page must differ from drawing to drawing
    mark = f"f{zlib.crc32(source.encode()):x}"
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{mark}", text)
    return text.replace("<svg ", '<svg fill="currentColor" ', 1), float(depth)


def inline(translator: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    drawn, depth = drawing(node.astext())
    said = html.escape(node.astext(), quote=True)
    style = f"vertical-align: -{depth:.1f}pt"
    translator.body.append(
        f'<span class="formula" role="img" aria-label="{said}" style="{style}">{drawn}</span>'
    )
    raise nodes.SkipNode


def display(translator: Any, node: nodes.math_block) -> None:
    """Write a formula of its own; ``\\`` begins another line."""
    for part in node.astext().split(r"\\"):
        drawn, _ = drawing(part.replace(r"\frac", r"\dfrac"))
        said = html.escape(part, quote=True)
        translator.body.append(f'<div class="formula" role="img" aria-label="{said}">{drawn}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Give Sphinx the renderer."""
    app.add_html_math_renderer("mathtext", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
