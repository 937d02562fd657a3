"""Generators on recording: what a mask of events lets replay know, and where extension events are recorded."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from _ext.markdown import documented, list_table
from eptreplay.causes import CAUSES
from eptreplay.p2m_types import ACCESSES
from eptreplay.replay.schema import RESULT_TABLES
from eptreplay.replay.unknown import is_unknown, unknown_columns
from eptreplay.strategies.registry import STRATEGIES
from eptreplay.strategies.strategy import Strategy
from eptreplay.trace.lacks import LACKS
from eptreplay.workload.schema import OPS
from eptreplay.workload.workload import Facts
from eptreplay.xentrace.catalogue import by_name
from eptreplay.xentrace.catalogue import extension as ext
from eptreplay.xentrace.catalogue.event import Event
from eptreplay.xentrace.catalogue.layout import Field

RECOMMENDED = 0x001AF000

MASKS = {
    0x0010F000: "MEM",
    0x0018F000: "MEM, HVM",
    0x0012F000: "MEM, SCHED",
    0x00129000: "MEM, SCHED without the scheduler's bookkeeping",
    RECOMMENDED: "MEM, HVM, SCHED",
    0x009AF000: "MEM, HVM, SCHED, HW",
    0x0FFFF000: "all",
}
"""Masks that are of use, and the classes in them."""

_CLASSES, _SUBCLASSES = 0xFFF_0000, 0xF000
_EXTENSION = {event.name for event in ext.EVENTS}

REPLAYED: dict[str, tuple[str | None, str]] = {
    "P2M_HOLD_BEGIN": (
        "HOLD_BEGIN",
        "The gaps between the records in a hold are kept. The recorded host's wait for the lock is in the gap before.",
    ),
    "P2M_HOLD_END": ("HOLD_END", ""),
    "P2M_SET": ("SET", "What the entry was is `recorded` then, so whether a sync is needed is no assumption."),
    "P2M_GLOBAL_CHANGE": ("GLOBAL_CHANGE", "Which entries are recalculated later follows from it."),
    "PT_PAGE_FREE": ("FREE_TABLE", "The sync point *table free*."),
    "PAGE_FREE": ("PAGE_FREE", "The frames may soon be somebody else's."),
    "PAGE_ALLOC": ("PAGE_ALLOC", "They are now: nobody may have a translation that leads to them."),
    "POD_CACHE_ADD": ("POD_RECLAIM", "A sync point of populate-on-demand."),
    "FOREIGN_LOOKUP": ("LOOKUP", "How long the toolstack waits for the lock becomes observable."),
    "PML_DRAIN": ("PML_DRAIN", "The writes that follow say which pages the log held."),
    "LOGDIRTY_CLEAN_BEGIN": (
        "LOGDIRTY_CLEAN",
        "Of a clean (`op` 0); what else is asked for shows in its writes. Cleans are not inferred then.",
    ),
    "LOGDIRTY_CLEAN_END": (None, "How long it took is in the gaps between rows."),
    "DOMAIN_PAUSE": ("PAUSE", "A pause counts if the same pCPU ends it and none of the vCPUs ran meanwhile."),
    "DOMAIN_UNPAUSE": ("UNPAUSE", ""),
    "BCAST_BEGIN": (None, "It tells what the recorded host did, which replay decides anew."),
    "BCAST_END": (None, "It tells how long that took."),
    "INVEPT": (None, "It tells what the recorded host did, which replay decides anew."),
}
"""The row of a workload that each extension event becomes, and what is gained."""


def passes(mask: int, event: Event) -> bool:
    """Tell whether Xen writes an event under a mask: its class and its subclass both have to be in it."""
    return bool(mask & event.id & _CLASSES) and bool(mask & event.id & _SUBCLASSES)


def facts(mask: int) -> Facts:
    """Return what a recording under a mask can tell, of a busy host with a stock Xen.

    VM entries and runstate changes always carry a TSC and are frequent; without either, hardly any record has one.
    """
    has = {lack.name: any(passes(mask, by_name(name)) for name in lack.events) for lack in LACKS}
    return Facts(has_sched=has["SCHED"], has_vm_entries=has["HVM"], has_times=has["SCHED"] or has["HVM"])


def masks() -> str:
    """Return masks with what ``info`` misses under each of them and what is null in the table ``runs``."""
    rows = []
    for mask, classes in MASKS.items():
        known = facts(mask)
        missing = [
            lack.name
            for lack in LACKS
            if not any(passes(mask, by_name(name)) for name in lack.events if name not in _EXTENSION)
        ]
        missing += [] if known.has_times else ["TSC"]
        name = f"**`0x{mask:08x}`**" if mask == RECOMMENDED else f"`0x{mask:08x}`"
        some, every = _null(known, any), _null(known, all)
        rows.append(
            (
                f"{name}\n\n{classes}",
                ", ".join(f"`{word}`" for word in missing),
                "recorded" if passes(mask, by_name("MEM_SET_P2M_ENTRY")) else "none",
                "inferred" if passes(mask, by_name("HVM_NPF")) else "only what ballooning and PoD tell",
                ", ".join(every) or "nothing",
                ", ".join(column for column in some if column not in every) or "nothing",
            )
        )
    head = ("mask", "`missing`", "p2m writes, AMD", "p2m writes, Intel", "null", "null for some strategies")
    return list_table(head, rows, (16, 12, 12, 16, 30, 24))


def _null(known: Facts, which: Callable[[Iterable[bool]], bool]) -> list[str]:
    """Return the columns of ``runs`` that are null for any, or all, strategies; quantiles of one thing as one."""

    def unknown(column: str, strategy: Strategy) -> bool:
        return is_unknown(column, unknown_columns(known, strategy, under_lock=True))

    names = [
        column.name
        for column in RESULT_TABLES["runs"]
        if which(unknown(column.name, strategy) for strategy in STRATEGIES.values())
    ]
    return [f"`{name}`" for name in dict.fromkeys(re.sub(r"_ns_.*", "_ns_*", name) for name in names)]


def trace_points() -> str:
    """Return a section for each extension event: where and when to record it, its words, and what becomes of it."""
    parts = []
    for event in ext.EVENTS:
        (layout,) = event.layouts
        op, gain = REPLAYED[event.name]
        row = f"the row `{op}`: {OPS[op]}" if op else "no row"
        rows = [
            (_word(field), _bits(field), f"`{field.name}`", in_code(ext.about_field(event.name, field.name)))
            for field in layout.fields
        ]
        parts += [
            f"### {event.name}",
            f"`0x{event.id:07x}`, {event.about}.",
            f"**Where:** {in_code(event.where)}.",
            f"**When:** {in_code(event.when)}.",
            f"**Becomes** {row}. {gain}".rstrip(),
            list_table(("word", "bits", "field", "what it holds"), rows, (10, 10, 20, 60)),
        ]
    return "\n\n".join(parts)


def _word(field: Field) -> str:
    return f"{field.word}, {field.word + 1}" if field.bits == 64 else str(field.word)


def _bits(field: Field) -> str:
    return "low, high" if field.bits == 64 else f"{field.shift} to {field.shift + field.bits - 1}"


def in_code(text: str) -> str:
    """Return a text with functions, files and field names in backquotes."""
    return re.sub(r"(?<!`)\b(\w+\(\)|[\w/-]+/[\w-]+\.[ch]|[A-Za-z0-9]+_\w+)(?!`)", r"`\1`", text)


def numbers() -> str:
    """Return the named numbers that stand in fields of extension events."""
    texts = documented(ext)
    rows = [
        (f"`{name}`", f"`{value:#x}`", in_code(text))
        for name, text in texts.items()
        if isinstance(value := getattr(ext, name), int)
    ]
    return list_table(("name", "number", "meaning"), rows, (24, 14, 62))


def accesses() -> str:
    """Return Xen's numbers of access."""
    rows = [(str(x.number), f"`{x.name}`", f"`{x.rights}`" if x.rights else "none") for x in ACCESSES]
    return list_table(("number", "access", "rights at most"), rows, (12, 30, 20))


def cause_sites() -> str:
    """Return the causes by number, and who takes the lock for them."""
    rows = [(str(number), f"`{name}`", in_code(ext.CAUSE_SITES[name])) for number, name in enumerate(CAUSES)]
    return list_table(("number", "cause", "set by"), rows, (10, 22, 70))
