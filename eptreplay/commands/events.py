"""``eptreplay events``: the catalogue of trace events."""

from __future__ import annotations

from eptreplay.commands.options import FORMATS, Format
from eptreplay.errors import unknown_choice

EXAMPLES = "Examples: eptreplay events | eptreplay events --format json"


def run(
    format_: Format = "table",
) -> None:
    """Print the event catalogue: every event that is decoded by name, its id, and its payload in each Xen release."""
    from eptreplay.commands.render import print_document, print_events
    from eptreplay.xentrace.catalogue.document import catalogue_document

    if format_ not in FORMATS:
        raise unknown_choice("--format", format_, FORMATS)
    document = catalogue_document()
    if format_ == "json":
        print_document(document)
    else:
        print_events(document)
