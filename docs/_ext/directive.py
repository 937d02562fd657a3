"""The Sphinx directive that puts generated text into a page.

::

    ```{generated} table p2m
    ```

The first word names a generator of :mod:`_ext.pages`, the others are its arguments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from docutils.nodes import Node  # type: ignore[import-untyped]  # docutils carries no types
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import eptreplay
from _ext.golden import FOLDER
from _ext.pages import GENERATORS

PACKAGE = Path(eptreplay.__file__).parent


class Generated(SphinxDirective):
    """Parses the text of a generator as if it stood in the page."""

    required_arguments = 1
    optional_arguments = 2
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[Node]:
        """Return the nodes of the generated text."""
        name, *arguments = self.arguments
        if name not in GENERATORS:
            raise self.error(f"no generator is called '{name}'; expected one of {', '.join(GENERATORS)}")
        # Whatever changes in the package, or in the golden reports, may change the text, so the page is read again.
        for path in (*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.toml"), *FOLDER.glob("*.json")):
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(GENERATORS[name](*arguments), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("generated", Generated)
    return {"version": eptreplay.__version__, "parallel_read_safe": True, "parallel_write_safe": True}
