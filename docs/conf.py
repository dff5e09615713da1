"""How the manual is built; needs no network and opens no database."""

import sys as _sys
from importlib.metadata import version as _version
from pathlib import Path as _Path

_sys.path.insert(0, str(_Path(__file__).parent))  # the extension beside this file

project = "virtualobserver"
author = "The virtualobserver developers"
project_copyright = "2026, The virtualobserver developers"
release = version = _version("virtualobserver")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "formulas"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "truth_table.md"]  # part of truth.md
root_doc = "index"
highlight_language = "text"  # drawings are no code; blocks of code say their language

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = [
    "ref.python"
]  # words in types of parameters, such as shape, are attributes of several classes too

napoleon_google_docstring = False
napoleon_numpy_docstring = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_class_signature = "mixed"

html_math_renderer = "mathtext"
html_static_path = ["static"]
html_css_files = ["formulas.css"]
html_theme = "furo"
html_title = f"virtualobserver {release}"
html_show_sourcelink = False
html_copy_source = False


def _whole_sentences(_app, what, *told):
    """Keep napoleon from taking the words before a colon for the type of an attribute."""
    lines = told[-1]
    if what in {"attribute", "data", "property"} and lines:
        lines.insert(0, "\\ ")  # an escaped blank is nothing, and holds no colon


def setup(app):
    app.connect("autodoc-process-docstring", _whole_sentences, priority=400)  # napoleon has 500
