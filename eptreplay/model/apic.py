"""How interrupts are sent: messages to APICs, and the writes of the interrupt command register that each needs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from eptreplay.model.rows import Costs

FLAT_APICS = 8
"""An xAPIC in flat mode tells no more apart."""
CLUSTER_BITS = 4


class Message(NamedTuple):
    """One message: for whom, by their numbers, and how many writes it takes."""

    targets: tuple[int, ...]
    writes: int


def messages(costs: Costs, online: int, targets: Sequence[int]) -> list[Message]:
    """Return the messages of a pCPU to others, all by their numbers, in the order in which they are written."""
    if not targets:
        return []
    if costs.shorthand and len(targets) + 1 == online:  # 5500d265a2
        return [Message(tuple(targets), 1)]
    if costs.apic == "xapic-flat" and online <= FLAT_APICS:
        return [Message(tuple(targets), 2)]
    if costs.apic == "x2apic-cluster":
        return [Message(group, 1) for group in _clusters(costs, targets)]
    writes = {"xapic-flat": 2, "xapic-physical": 2, "x2apic-physical": 1}[costs.apic]
    return [Message((target,), writes) for target in targets]


def _clusters(costs: Costs, targets: Iterable[int]) -> list[tuple[int, ...]]:
    groups: dict[int, tuple[int, ...]] = {}
    for target in targets:
        cluster = apic_number(costs, target) >> CLUSTER_BITS
        groups[cluster] = (*groups.get(cluster, ()), target)
    return list(groups.values())


def apic_number(costs: Costs, pcpu: int) -> int:
    """Return the number of a pCPU's APIC: its socket, its core there, its thread, each in bits of its own."""
    core, thread = divmod(pcpu, costs.threads_per_core)
    socket, core = divmod(core, costs.cores_per_socket)
    core_bits, thread_bits = ((n - 1).bit_length() for n in (costs.cores_per_socket, costs.threads_per_core))
    return (socket << core_bits | core) << thread_bits | thread


def written(costs: Costs, sent: Iterable[Message]) -> list[int]:
    """Return when each message has been written, in ns from the beginning of the first write.

    An xAPIC is busy for a while behind each message (``apic_wait_icr_idle()``).
    """
    busy_ns = costs.busy_ns if costs.apic.startswith("xapic") else 0
    ends: list[int] = []
    for message in sent:
        begin = ends[-1] + busy_ns if ends else 0
        ends.append(begin + message.writes * costs.icr_ns)
    return ends
