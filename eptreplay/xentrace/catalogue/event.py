"""The row type of the event catalogue, and the releases that its layouts are keyed by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from eptreplay.xentrace.catalogue.layout import Layout

FIRST_RELEASE = "4.6"
"""The oldest Xen release whose traces we read; rows without history are valid from here on."""


@dataclass(frozen=True)
class Event:
    """One trace event.

    ``timed``: True if Xen writes the record with a TSC, False if without, None if either occurs.
    ``payload``: the layout since the first release, or a mapping from release to layout; one release may have several
    alternative layouts (a tuple) where call sites differ.
    ``ept``: kept by ``ingest --events ept``. ``until``: the first release that no longer emits it. ``where``, ``when``:
    of an event that no Xen writes, the function that its trace point belongs into, and what it stands before or behind.
    """

    id: int
    name: str
    timed: bool | None
    payload: str | Mapping[str, str | tuple[str, ...]]
    about: str
    ept: bool = False
    since: str = FIRST_RELEASE
    until: str | None = None
    where: str = ""
    when: str = ""

    @cached_property
    def layouts(self) -> tuple[Layout, ...]:
        """All layouts, oldest release first."""
        history = {self.since: self.payload} if isinstance(self.payload, str) else self.payload
        return tuple(
            Layout(since, text)
            for since, texts in history.items()
            for text in ((texts,) if isinstance(texts, str) else texts)
        )

    def layouts_in(self, xen: str) -> tuple[Layout, ...]:
        """Return the alternative layouts that release ``xen`` (such as ``4.17``) writes."""
        past = [x.since for x in self.layouts if release(x.since) <= release(xen)]
        newest = past[-1] if past else self.layouts[0].since
        return tuple(x for x in self.layouts if x.since == newest)

    @property
    def word_counts(self) -> frozenset[int]:
        """Every payload length that some release writes, in 32-bit words."""
        return frozenset(n for x in self.layouts for n in range(x.min_words, x.max_words + 1))


def release(text: str) -> tuple[int, ...]:
    """Return a release such as ``4.17`` as a comparable tuple; raises ValueError on anything else."""
    return tuple(int(part) for part in text.split("."))
