"""Releases of Xen: the strategy and the lock of the p2m that each had. A strategy alone is no release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eptreplay.errors import unknown_choice
from eptreplay.strategies.registry import refuse_twins


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A strategy and a lock under the name of the release that had both."""

    name: str
    """What rows of a result call it."""
    strategy: str
    """Name of a strategy that ships."""
    lock: str
    """Policy of the p2m lock: ``unfair``, ``queue`` or ``percpu``."""
    released: str = ""
    """Date of the release, as far as a source was found for it."""
    summary: str = ""
    """One sentence."""


# Dates: 4.6 was out on 2015-11-03 (centos-virt, 2015-11, 010716); 4.7 as announced on xenproject.org; 4.17.0 and 4.21.0
# as in Xen's CHANGELOG.md; 4.22.0 is tagged and has commits of 2026-03.
# Locks: per-CPU since 66ea5ed478 (2016-01-22), with a queue inside since 55d8424e4e (2016-02-03).
_RELEASES = (
    Preset(
        name="xen-4.6",
        strategy="eager",
        lock="unfair",
        released="2015",
        summary="the last release that invalidates in the handler, with a lock that favours writers",
    ),
    Preset(
        name="xen-4.7",
        strategy="deferred",
        lock="percpu",
        released="2016-06-23",
        summary="the first release that invalidates before VM entry and broadcasts after the unlock",
    ),
    Preset(
        name="xen-4.17.0",
        strategy="deferred-xsa480",
        lock="percpu",
        released="2022-12-12",
        summary="the first release with XSA-480",
    ),
    Preset(
        name="xen-4.21.0",
        strategy="deferred-xsa480-pml",
        lock="percpu",
        released="2025-11-19",
        summary="the last release with XSA-480, and the first that drains a PML log in one hold",
    ),
    Preset(
        name="xen-4.22",
        strategy="deferred-2026",
        lock="percpu",
        released="2026",
        summary="the first release after XSA-480 was fixed",
    ),
)
PRESETS: dict[str, Preset] = {preset.name: preset for preset in _RELEASES}
"""All that there are, oldest first."""


def find_presets(names: Sequence[str]) -> list[Preset]:
    """Return the presets that the user named, in that order; raises UsageError for unknown names and for twins."""
    for name in names:
        if name not in PRESETS:
            raise unknown_choice("--preset", name, PRESETS)
    refuse_twins("--preset", names)
    return [PRESETS[name] for name in names]
