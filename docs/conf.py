"""How the manual is built; needs no network and opens no database."""

from importlib.metadata import version as _version

project = "virtualobserver"
author = "The virtualobserver developers"
project_copyright = "2026, The virtualobserver developers"
release = version = _version("virtualobserver")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "truth_table.md"]  # part of truth.md
root_doc = "index"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["ref.python"]  # words in types of parameters, such as shape, are attributes of several classes too

napoleon_google_docstring = False
napoleon_numpy_docstring = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_class_signature = "mixed"

html_theme = "furo"
html_title = f"virtualobserver {release}"
html_show_sourcelink = False
html_copy_source = False
