"""``eptreplay profiles``: what the steps of the modelled hosts take, and where each number is from."""

from __future__ import annotations

from typing import Annotated

import typer

from eptreplay.commands.options import FORMATS, Format
from eptreplay.errors import unknown_choice

EXAMPLES = "Examples: eptreplay profiles | eptreplay profiles two-socket | eptreplay profiles ./mine.toml --format json"


def run(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="a profile, or a file, to print all its numbers")
    ] = None,
    format_: Format = "table",
) -> None:
    """Print the cost profiles that ship with eptreplay, or every number of one and where it is from."""
    from eptreplay.commands.render import print_document, print_profile, print_profiles
    from eptreplay.machine.profile import load_profile, profile_document, profile_names

    if format_ not in FORMATS:
        raise unknown_choice("--format", format_, FORMATS)
    names = profile_names() if name is None else [name]
    profiles = [profile_document(load_profile(each)) for each in names]
    if format_ == "json":
        print_document({"schema": 1, "profiles": profiles})
    elif name is None:
        print_profiles(profiles)
    else:
        print_profile(profiles[0])
