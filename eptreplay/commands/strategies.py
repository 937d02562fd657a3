"""``eptreplay strategies``: the invalidation strategies that can be compared."""

from __future__ import annotations

from eptreplay.commands.options import FORMATS, Format
from eptreplay.errors import unknown_choice

EXAMPLES = "Examples: eptreplay strategies | eptreplay strategies --format json"


def run(
    format_: Format = "table",
) -> None:
    """Print the strategies that ship with eptreplay: who is interrupted when, which Xen did so, and since when."""
    from eptreplay.commands.render import print_document, print_strategies
    from eptreplay.strategies.document import strategies_document

    if format_ not in FORMATS:
        raise unknown_choice("--format", format_, FORMATS)
    document = strategies_document()
    if format_ == "json":
        print_document(document)
    else:
        print_strategies(document)
