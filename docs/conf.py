"""The documentation site: these pages, and the reference of all public names from their docstrings."""

import espalier

project, author, release = "Espalier", "The Espalier authors", espalier.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "alabaster"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
nitpicky = False
suppress_warnings = ["myst.header", "docutils"]  # docstrings are plain text: their asterisks and bars are no markup
