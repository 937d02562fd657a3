"""Which targets of a broadcast share a message, and how many register writes a message takes.

The four ways in which Xen addresses APICs (``send_IPI_mask_flat()``, ``send_IPI_mask_phys()``,
``send_IPI_mask_x2apic_phys()``, ``send_IPI_mask_x2apic_cluster()``), and the shorthand for all pCPUs but the sender
(Xen commit ``5500d265a2``, 4.14).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

FLAT = "xapic-flat"
FLAT_PCPUS = 8
"""A logical address of a flat xAPIC has a bit for each of so many pCPUs; where more are online it is physical."""
CLUSTER_BITS = 4
"""A cluster of x2APICs has sixteen: its number is that of an APIC without the lowest four bits."""


class Addressing(NamedTuple):
    """A way to address APICs: how many targets a message can have, and what one takes."""

    sharing: str
    """Who may share a message: ``none``, ``cluster`` or ``all``."""
    writes: int
    """Register writes for each message: an xAPIC has its target in a register of its own."""


ADDRESSINGS = {
    FLAT: Addressing("all", 2),
    "xapic-physical": Addressing("none", 2),
    "x2apic-physical": Addressing("none", 1),
    "x2apic-cluster": Addressing("cluster", 1),
}
APICS = tuple(ADDRESSINGS)
"""What ``topology.apic`` of a profile may be."""


def apic_id(pcpu: int, cores_per_socket: int, threads_per_core: int) -> int:
    """Return the number of a pCPU's APIC: socket, core and thread, the last two with the bits that they need."""
    core, thread = divmod(pcpu, threads_per_core)
    socket, core = divmod(core, cores_per_socket)
    thread_bits, core_bits = (threads_per_core - 1).bit_length(), (cores_per_socket - 1).bit_length()
    return (socket << core_bits | core) << thread_bits | thread


def messages(
    apic: str,
    shorthand: int,
    cores_per_socket: int,
    threads_per_core: int,
    sender: int,
    targets: Sequence[int],
    online: int,
) -> list[tuple[int, ...]]:
    """Return the targets of each message of a broadcast, in the order in which they are written.

    ``targets`` are pCPUs in ascending order, without the sender; of those online, ``0 .. online - 1``.
    """
    if not targets:
        return []
    sharing = ADDRESSINGS[apic].sharing
    if _takes_shorthand(shorthand, sender, targets, online) or (sharing == "all" and online <= FLAT_PCPUS):
        return [tuple(targets)]
    if sharing != "cluster":
        return [(target,) for target in targets]
    clusters: dict[int, list[int]] = {}
    for target in targets:
        clusters.setdefault(apic_id(target, cores_per_socket, threads_per_core) >> CLUSTER_BITS, []).append(target)
    return [tuple(members) for members in clusters.values()]


def writes_for(
    apic: str,
    shorthand: int,
    cores_per_socket: int,
    threads_per_core: int,
    sender: int,
    targets: Sequence[int],
    online: int,
) -> int:
    """Return how often a broadcast writes an APIC's registers; see :func:`messages`."""
    if _takes_shorthand(shorthand, sender, targets, online):
        return 1
    sent = messages(apic, shorthand, cores_per_socket, threads_per_core, sender, targets, online)
    return ADDRESSINGS[apic].writes * len(sent)


def _takes_shorthand(shorthand: int, sender: int, targets: Sequence[int], online: int) -> bool:
    return bool(shorthand and targets) and {sender, *targets} == set(range(online))
