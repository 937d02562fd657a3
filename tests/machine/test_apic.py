"""How a broadcast is split into messages: the table of APIC accesses of Xen's four ways to address APICs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import ceil
from typing import NamedTuple, cast

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from eptreplay.machine.apic import APICS, apic_id
from eptreplay.machine.fields import Records
from eptreplay.machine.profile import load_profile
from eptreplay.machine.sending import shares_message, writes_of
from eptreplay.replay.simulate import _costs, _places

TOPOLOGIES = [(1, 1), (4, 1), (2, 2), (10, 2), (16, 2), (18, 2), (128, 2), (5, 3), (64, 4)]


Int64s = NDArray[np.int64]


def _split(place: Records, cost: Int64s, targets: Int64s, numbers: Int64s) -> int:
    """Enter the number of each target's message, as the engine has them; returns the writes of all messages."""
    messages = 0
    for k in range(targets.size):
        if k == 0 or not shares_message(place, cost, targets[k - 1], targets[k], targets.size):
            messages += 1
        numbers[k] = messages
    return messages * writes_of(cost, targets.size)


split = cast("Callable[..., int]", numba.njit()(_split))
"""Not cached: what is kept would not notice that the kernels that it calls have changed."""


class Sent(NamedTuple):
    """A broadcast that is to be sent, without how."""

    cores: int
    threads: int
    sender: int
    targets: tuple[int, ...]
    online: int

    def split(self, apic: str, shorthand: int) -> tuple[list[tuple[int, ...]], int]:
        """Return the targets of each message, and all writes, as the engine has them."""
        topology: dict[str, int | str] = {
            "apic": apic, "shorthand": shorthand, "cores_per_socket": self.cores, "threads_per_core": self.threads
        }  # fmt: skip
        costs = {**load_profile("zero").costs(), **topology}
        targets = np.array(self.targets, np.int64)
        numbers = np.zeros(targets.size, np.int64)
        place = _places(np.arange(self.online), costs)
        writes = split(place, _costs(costs, self.online), targets, numbers)
        found: dict[int, list[int]] = {}
        for number, target in zip(numbers.tolist(), self.targets, strict=True):
            found.setdefault(number, []).append(target)
        return [tuple(message) for message in found.values()], writes

    def messages(self, apic: str, shorthand: int = 0) -> list[tuple[int, ...]]:
        return self.split(apic, shorthand)[0]

    def writes(self, apic: str, shorthand: int = 0) -> int:
        return self.split(apic, shorthand)[1]

    @property
    def to_all(self) -> bool:
        return len(self.targets) == self.online - 1


@st.composite
def broadcasts(draw: st.DrawFn, most: int = 200) -> Sent:
    """Draw any broadcast that is no broadcast to nobody."""
    cores, threads = draw(st.sampled_from(TOPOLOGIES))
    online = draw(st.integers(2, most))
    sender = draw(st.integers(0, online - 1))
    others = [pcpu for pcpu in range(online) if pcpu != sender]
    targets = draw(st.one_of(st.just(set(others)), st.sets(st.sampled_from(others), min_size=1)))
    return Sent(cores, threads, sender, tuple(sorted(targets)), online)


def clusters_touched(sent: Sent) -> int:
    """Count clusters in another way: lay out all APIC numbers in order, and look where the pCPUs are."""
    core_slots, thread_slots = 1, 1
    while core_slots < sent.cores:
        core_slots *= 2
    while thread_slots < sent.threads:
        thread_slots *= 2
    sockets = sent.online // (sent.cores * sent.threads) + 1
    numbers = product(range(sockets), range(core_slots), range(thread_slots))
    present = [at for at, (_, core, thread) in enumerate(numbers) if core < sent.cores and thread < sent.threads]
    return len({present[target] // 16 for target in sent.targets})


@given(sent=broadcasts(), apic=st.sampled_from(APICS), shorthand=st.integers(0, 1))
def test_every_target_has_one_message_and_nobody_else_any(sent: Sent, apic: str, shorthand: int) -> None:
    sent_to = [target for message in sent.messages(apic, shorthand) for target in message]
    assert sorted(sent_to) == list(sent.targets)


@given(sent=broadcasts(), apic=st.sampled_from(APICS), shorthand=st.integers(0, 1))
def test_messages_go_by_their_first_targets_and_list_them_ascending(sent: Sent, apic: str, shorthand: int) -> None:
    sent_to = sent.messages(apic, shorthand)
    assert all(message == tuple(sorted(message)) for message in sent_to)
    assert [message[0] for message in sent_to] == sorted(message[0] for message in sent_to)


@given(sent=broadcasts())
def test_physical_addresses_take_a_message_for_each_target(sent: Sent) -> None:
    each = [(target,) for target in sent.targets]
    assert sent.messages("xapic-physical") == sent.messages("x2apic-physical") == each
    assert sent.writes("xapic-physical") == 2 * len(sent.targets)
    assert sent.writes("x2apic-physical") == len(sent.targets)


@given(sent=broadcasts())
def test_a_cluster_takes_one_write_for_all_its_targets(sent: Sent) -> None:
    assert sent.writes("x2apic-cluster") == len(sent.messages("x2apic-cluster")) == clusters_touched(sent)


@given(sent=broadcasts())
def test_clusters_have_sixteen_at_most(sent: Sent) -> None:
    count = len(sent.targets)
    assert ceil(count / 16) <= sent.writes("x2apic-cluster") <= count


@given(sent=broadcasts(most=16))
def test_a_flat_xapic_takes_two_writes_up_to_eight_pcpus(sent: Sent) -> None:
    if sent.online <= 8:
        assert sent.messages("xapic-flat") == [sent.targets]
        assert sent.writes("xapic-flat") == 2
    else:
        assert sent.messages("xapic-flat") == sent.messages("xapic-physical")
        assert sent.writes("xapic-flat") == sent.writes("xapic-physical")


@given(sent=broadcasts(), apic=st.sampled_from(APICS))
def test_the_shorthand_takes_one_write_if_all_others_are_targets(sent: Sent, apic: str) -> None:
    if sent.to_all:
        assert sent.messages(apic, shorthand=1) == [sent.targets]
        assert sent.writes(apic, shorthand=1) == 1
    else:
        assert sent.messages(apic, shorthand=1) == sent.messages(apic)
        assert sent.writes(apic, shorthand=1) == sent.writes(apic)


@pytest.mark.parametrize("apic", APICS)
@pytest.mark.parametrize("shorthand", [0, 1])
def test_without_targets_nothing_is_written(apic: str, shorthand: int) -> None:
    nobody = Sent(4, 2, 0, (), 1)
    assert nobody.messages(apic, shorthand) == []
    assert nobody.writes(apic, shorthand) == 0


def test_a_whole_epyc_is_written_to_as_often_as_its_figures_say() -> None:
    """Xen commit e3c409d59a: 512 CPUs, so 511 writes against 32."""
    everybody = Sent(128, 2, 0, tuple(range(1, 512)), 512)
    assert everybody.writes("x2apic-physical") == 511
    assert everybody.writes("x2apic-cluster") == 32


@given(topology=st.sampled_from(TOPOLOGIES), pcpus=st.integers(1, 600))
def test_apics_are_numbered_in_the_order_of_their_pcpus(topology: tuple[int, int], pcpus: int) -> None:
    numbers = [apic_id(pcpu, *topology) for pcpu in range(pcpus)]
    assert numbers == sorted(set(numbers))


def test_ten_cores_leave_a_gap_in_the_numbers_of_a_socket() -> None:
    """Socket, four bits of core, one bit of thread: a socket of 20 threads has two clusters, of 16 and of 4."""
    assert [apic_id(pcpu, 10, 2) for pcpu in (0, 1, 19, 20, 159)] == [0, 1, 19, 32, 7 * 32 + 19]
    socket = Sent(10, 2, 159, tuple(range(20)), 160)
    assert [len(message) for message in socket.messages("x2apic-cluster")] == [16, 4]
