"""The event catalogue as kernels see it: one array that answers all questions about an event id with one load.

An id's class is one bit out of twelve, so ids are spread too thin for an array of their own. ``slot`` packs them: the
number of the class, then subclass and number as they are. Slots of the last class hold nothing: ids of no known class.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.jit import i64, kernel
from eptreplay.xentrace.catalogue import CLASSES, EVENTS, class_of

CLASS_COUNT = len(CLASSES)
SLOTS = (CLASS_COUNT + 1) << 16

KEEP = 1 << 16
"""Attribute: the event belongs to ``--events ept``."""
MEMORY = 1 << 17
"""Attribute: the event makes a row of ``p2m.parquet``."""
ACTION_SHIFT = 18

(
    NO_ACTION,
    ON_RUNSTATE,
    ON_LOST,
    ON_INFPREV,
    ON_INFNEXT,
    ON_INFCONT,
    ON_SET,
    ON_EXIT,
    ON_NPF,
    ON_INTR,
    ON_DECREASE,
    ON_POD,
    ON_SPLINTER,
    ON_SVM_EXIT,
) = range(14)

ACTIONS = {
    "LOST_RECORDS": ON_LOST,
    "SCHED_CONTINUE_RUNNING": ON_RUNSTATE,  # its id reads like that of a change to running
    "SCHED_SWITCH_INFPREV": ON_INFPREV,
    "SCHED_SWITCH_INFNEXT": ON_INFNEXT,
    "SCHED_SWITCH_INFCONT": ON_INFCONT,
    "MEM_SET_P2M_ENTRY": ON_SET,
    "P2M_SET": ON_SET,
    "HVM_VMEXIT": ON_EXIT,
    "HVM_VMEXIT64": ON_EXIT,
    "HVM_NPF": ON_NPF,
    "HVM_INTR": ON_INTR,
    "MEM_DECREASE_RESERVATION": ON_DECREASE,
    "MEM_POD_POPULATE": ON_POD,
    "MEM_POD_ZERO_RECLAIM": ON_POD,
    "MEM_POD_SUPERPAGE_SPLINTER": ON_SPLINTER,
    "HVM_SVM_EXIT": ON_SVM_EXIT,
    "HVM_SVM_EXIT64": ON_SVM_EXIT,
}
"""What the decoder does on an event beyond copying it, by catalogue name; runstate changes are added below."""


class Table(NamedTuple):
    """``classes``: class number by id bits 16-27 (UInt8, 4096). ``attributes``: by slot (UInt32).

    Attribute bits 0-15: bit s is set if a header whose upper four bits are s (TSC flag, word count) is legal. Then come
    KEEP, MEMORY and, from ACTION_SHIFT on, the action.
    """

    classes: NDArray[np.uint8]
    attributes: NDArray[np.uint32]


@kernel
def slot_of(classes: NDArray[np.uint8], head: int) -> int:
    """Return the slot of the event in header word ``head``."""
    return (i64(classes[(head >> 16) & 0xFFF]) << 16) | (head & 0xFFFF)


@cache
def event_table() -> Table:
    """Return the catalogue as arrays, built once per process."""
    classes = np.full(4096, CLASS_COUNT, np.uint8)
    for number, bits in enumerate(CLASSES.values()):
        classes[bits] = number
    attributes = np.zeros(SLOTS, np.uint32)
    for event in EVENTS:
        shapes = 0
        for words in event.word_counts:
            if event.timed is not True:
                shapes |= 1 << words
            if event.timed is not False:
                shapes |= 1 << (words + 8)
        action = ON_RUNSTATE if event.name.startswith("RUNSTATE_") else ACTIONS.get(event.name, NO_ACTION)
        slot = int(classes[event.id >> 16]) << 16 | event.id & 0xFFFF
        memory = MEMORY if class_of(event.id) == "mem" or event.name == "HVM_NPF" else 0
        attributes[slot] = shapes | (KEEP if event.ept else 0) | memory | action << ACTION_SHIFT
    return Table(classes, attributes)


def attributes_of(event: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the attributes of events by their 28-bit ids."""
    table, number = event_table(), event.astype(np.int64)
    slot = table.classes[number >> 16].astype(np.int64) << 16 | number & 0xFFFF
    attributes: NDArray[np.uint32] = table.attributes[slot]
    return attributes


@cache
def slot_events() -> NDArray[np.uint32]:
    """Return the event id of every slot; 0 for slots of no known class."""
    bits = np.array([*CLASSES.values(), 0], np.uint32)
    slots = np.arange(SLOTS, dtype=np.uint32)
    events = bits[slots >> 16] << 16 | slots & 0xFFFF
    return np.where(slots >> 16 == CLASS_COUNT, 0, events).astype(np.uint32)
