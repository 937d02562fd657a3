"""The four ways in which Xen addresses APICs: who shares a message, and how many register writes one takes.

``send_IPI_mask_flat()``, ``send_IPI_mask_phys()``, ``send_IPI_mask_x2apic_phys()``, ``send_IPI_mask_x2apic_cluster()``.
"""

from __future__ import annotations

from typing import NamedTuple

FLAT, FLAT_TOO_LARGE = "xapic-flat", "xapic-physical"
FLAT_PCPUS = 8
"""A logical address of a flat xAPIC has a bit for each of so many pCPUs; where more are online it is physical."""
CLUSTER_BITS = 4
"""A cluster of x2APICs has sixteen: its number is that of an APIC without the lowest four bits."""

NOBODY, CLUSTER, EVERYBODY = range(3)
"""With whom a target may share a message."""


class Addressing(NamedTuple):
    """A way to address APICs: who may share a message, and what one takes."""

    sharing: int
    writes: int
    """Register writes for each message: an xAPIC has its target in a register of its own."""
    is_busy: bool
    """The next message has to wait until this one is delivered (``apic_wait_icr_idle()``)."""


ADDRESSINGS = {
    FLAT: Addressing(EVERYBODY, 2, is_busy=True),
    FLAT_TOO_LARGE: Addressing(NOBODY, 2, is_busy=True),
    "x2apic-physical": Addressing(NOBODY, 1, is_busy=False),
    "x2apic-cluster": Addressing(CLUSTER, 1, is_busy=False),
}
APICS = tuple(ADDRESSINGS)
"""What ``topology.apic`` of a profile may be."""


def addressing(apic: str, online: int) -> Addressing:
    """Return how APICs are addressed where so many pCPUs are online."""
    return ADDRESSINGS[FLAT_TOO_LARGE if apic == FLAT and online > FLAT_PCPUS else apic]


def apic_id(pcpu: int, cores_per_socket: int, threads_per_core: int) -> int:
    """Return the number of a pCPU's APIC: socket, core and thread, the last two with the bits that they need."""
    core, thread = divmod(pcpu, threads_per_core)
    socket, core = divmod(core, cores_per_socket)
    thread_bits, core_bits = (threads_per_core - 1).bit_length(), (cores_per_socket - 1).bit_length()
    return (socket << core_bits | core) << thread_bits | thread
