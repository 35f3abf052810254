"""Sphinx: `sphinx-build -W docs docs/_build`."""

from __future__ import annotations

from allframe import __version__

project = "allframe"
author = "the allframe contributors"
copyright = "the allframe contributors"  # noqa: A001 - Sphinx's name for it
version = release = __version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
nitpicky = True

myst_enable_extensions = ["colon_fence", "fieldlist"]
#: Headings down to the third level can be linked to: errors.md#af301.
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"allframe {release}"
html_show_sphinx = False
pygments_style = "default"
