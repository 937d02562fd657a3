"""The value that describes a strategy: independent switches, and optionally a decision function."""

from __future__ import annotations

from dataclasses import dataclass, fields

from eptreplay.errors import UsageError, unknown_choice
from eptreplay.strategies.decision import DEFER, NOTHING, NOW, Decide

CHOICES: dict[str, tuple[str, ...]] = {
    "broadcast": ("sync", "unlock", "none"),
    "ipi": ("invept", "kick", "none"),
    "kick": ("dirty", "running"),
    "page_free": ("now", "tables", "unlock"),
    "pml_drain": ("entry", "batch"),
    "upgrades": ("sync", "elide"),
    "call_lock": ("serial", "lockless"),
    "tables": ("ept", "npt"),
}
"""Values of each switch that is not a yes or no."""

_TEXTS = ("summary", "commit", "dates", "releases", "plausible")
_DEFAULTS = {"sync": NOW, "unlock": DEFER, "none": NOTHING}


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """When a changed EPT entry is invalidated where. The defaults are those of Xen 4.7 (``deferred``)."""

    name: str
    """What rows of a result call it."""
    broadcast: str = "unlock"
    """pCPUs that may hold the old translation are interrupted when the entry is written (``sync``), when the p2m lock
    is released (``unlock``), or never (``none``; nothing is marked either)."""
    ipi: str = "kick"
    """The interrupt's handler executes INVEPT (``invept``; pCPUs that are not interrupted do so at their next switch to
    the domain), or does nothing but force a VM exit, INVEPT being executed before VM entry (``kick``); or nobody is
    interrupted (``none``)."""
    kick: str = "dirty"
    """All pCPUs of the dirty mask are interrupted (``dirty``) or those in guest mode (``running``)."""
    sync_misconfig: bool = False
    """Resolving a misconfigured entry is a sync."""
    sync_table_free: bool = True
    """What is owed is broadcast before a page of the p2m is freed."""
    sync_pod_superpage: bool = True
    """What is owed is broadcast before populate-on-demand looks into a superpage that it has unmapped."""
    sync_pod_sweep: bool = True
    """What is owed is broadcast before populate-on-demand, sweeping for zeroes, looks into pages that it has
    unmapped."""
    sync_pod_decrease: bool = True
    """What is owed is broadcast before pages that the guest gives back go to the cache of populate-on-demand."""
    page_free: str = "now"
    """Pages go back to their allocator at once (``now``), or wait until the broadcast is over, or, if none is sent, no
    pCPU is marked any more: all pages (``unlock``), or those of the p2m itself (``tables``)."""
    pml_drain: str = "entry"
    """A hold for each entry of a PML buffer (``entry``) or one for all (``batch``)."""
    upgrades: str = "sync"
    """Changes that only add rights are syncs too (``sync``), as in Xen, or nothing (``elide``)."""
    call_lock: str = "serial"
    """One broadcast at a time on the whole host (``serial``) or any number (``lockless``)."""
    tables: str = "ept"
    """What a recalculation of the recording is replayed as. Intel (``ept``): an exit for a misconfigured entry, which
    mends up to 512 of them. AMD (``npt``): one store, with an invalidation of its own."""
    decide: Decide | None = None
    """A function that decides in place of the switches, see ``eptreplay.strategies.decision``."""
    summary: str = ""
    """One sentence."""
    commit: str = ""
    """Commit of Xen that made it so."""
    dates: str = ""
    """When it was in Xen's tree, or proposed for it, by the dates of the commits before and after."""
    releases: str = ""
    """Releases that shipped it."""
    plausible: str = ""
    """Of a candidate that nobody has shipped: the fact that makes it plausible, and its source."""

    def __post_init__(self) -> None:
        name: object = self.name  # a user's file is not type-checked
        if not isinstance(name, str) or not name or not name.isprintable():
            raise UsageError(f"a strategy's name must be a printable text, not {name!r}")
        for switch, choices in CHOICES.items():
            if getattr(self, switch) not in choices:
                raise unknown_choice(f"strategy {self.name}: {switch}", str(getattr(self, switch)), choices)
        for field in fields(self):
            if field.name.startswith("sync_") and not isinstance(getattr(self, field.name), bool):
                raise UsageError(f"strategy {self.name}: {field.name} must be True or False")
            if field.name in _TEXTS and not isinstance(getattr(self, field.name), str):
                raise UsageError(f"strategy {self.name}: {field.name} must be a text")
        if self.decide is not None and not callable(self.decide):
            raise UsageError(f"strategy {self.name}: decide must be a function of one argument, the request")

    @property
    def default(self) -> int:
        """The decision that the switches make for a write that needs a sync."""
        return _DEFAULTS[self.broadcast]

    @property
    def invalidates_at_entry(self) -> bool:
        """Whether marks are looked at before a VM entry (8eb2235599) rather than at a switch of domains."""
        return self.ipi != "invept"
