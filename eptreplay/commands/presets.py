"""``eptreplay presets``: the releases of Xen that can be compared."""

from __future__ import annotations

from eptreplay.commands.options import FORMATS, Format
from eptreplay.errors import unknown_choice

EXAMPLES = "Examples: eptreplay presets | eptreplay presets --format json"


def run(
    format_: Format = "table",
) -> None:
    """Print the presets: which strategy and which lock each release of Xen had, and when it came out."""
    from eptreplay.commands.render import print_document, print_presets
    from eptreplay.strategies.document import presets_document

    if format_ not in FORMATS:
        raise unknown_choice("--format", format_, FORMATS)
    document = presets_document()
    if format_ == "json":
        print_document(document)
    else:
        print_presets(document)
