"""Configuration of Sphinx; `make docs` builds with it, and a warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
# The extension lies beside the pages, and the package in the folder above needs not be installed.
sys.path[:0] = [str(HERE), str(HERE.parent)]

from eptreplay import __version__  # noqa: E402  (found through the path set above)

project = "eptreplay"
author = "The eptreplay developers"
copyright = author
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "_ext.directive"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_ext"]

myst_heading_anchors = 3
myst_enable_extensions = ["deflist", "colon_fence"]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"eptreplay {release}"
html_copy_source = False
html_show_sourcelink = False
highlight_language = "none"
