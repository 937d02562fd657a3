"""A small host that carries write paths out, and what they cost there.

The toolstack, on pCPU 0, carries out all acts. The vCPUs of domains 1, 2 and 3 are in guest on pCPUs 1, 2 and 3. The
domains are created in the recording, so their p2ms begin empty: what a path is to find is written before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from eptreplay.model import Costs, Domain, Recording, Row, replay
from eptreplay.p2m_types import INVALID, RAM_RW
from eptreplay.strategies import Strategy
from eptreplay.workload.paths import Act, Acts, number_holds
from tests.model.small import COSTS

TOOLSTACK, GUESTS = 0, (1, 2, 3)
DOMAINS = {
    TOOLSTACK: Domain(TOOLSTACK, has_guest_mode=False, created=False),
    **{dom: Domain(dom, has_guest_mode=True, created=True) for dom in GUESTS},
}

BEFORE = "spurious"
"""The cause of what comes before a path; no path has it."""

SAME_IN_ROWS = (set(Act._fields) & set(Row._fields)) - {"op", "dom"}

FIRST_HOLD = 100_000
"""Of the path, behind all numbers of holds before it."""

LATER = 1_000_000
"""Until then all guests have been entered."""

Tables = Mapping[str, Any]
Replayer = Callable[[Recording, Strategy, Costs], Tables]
"""Returns ``holds``, ``broadcasts`` and ``measures`` of a replay, as ``tests.replay.both`` has them."""


class Cost(NamedTuple):
    """What a path costs.

    ``points``: broadcasts before the lock of their own p2m is released. ``after``: those behind that release.
    ``beneath``: how many of the latter are sent with the lock of another p2m held.
    """

    holds: int
    sets: int
    stores: int
    points: int
    after: int
    beneath: int


def by_model(recording: Recording, strategy: Strategy, costs: Costs) -> Tables:
    """Return what the executable specification says."""
    result = replay(recording, strategy, costs)
    return {
        "holds": [tuple(hold) for hold in result.holds],
        "broadcasts": [(x.broadcast, x.hold, x.pcpu, x.p2m[0], *x[4:]) for x in result.broadcasts],
        "measures": result.measures,
    }


def cost_of(acts: Iterable[Act], before: Iterable[Act], strategy: Strategy, replayed: Replayer) -> Cost:
    """Return what acts cost, without what came before them."""
    tables = replayed(recording_of(before, acts), strategy, COSTS)
    holds = {hold[0]: hold for hold in tables["holds"] if hold[3] != BEFORE}
    broadcasts = [broadcast for broadcast in tables["broadcasts"] if broadcast[4] != BEFORE]
    released = [broadcast for broadcast in broadcasts if broadcast[6] == holds[broadcast[1]][6]]
    assert all(x[6] < holds[x[1]][6] and x[5] for x in broadcasts if x not in released), "others are under the lock"
    assert all(broadcast[10] == 1 for broadcast in broadcasts), "each finds the domain's only vCPU"
    measures = [measures for (_, cause), measures in tables["measures"].items() if cause != BEFORE]
    return Cost(
        len(holds),
        sum(x["p2m_sets"] for x in measures),
        sum(x["ept_stores"] for x in measures),
        len(broadcasts) - len(released),
        len(released),
        sum(broadcast[5] for broadcast in released),
    )


def recording_of(before: Iterable[Act], acts: Iterable[Act]) -> Recording:
    """Return a recording in which the toolstack does what is to come before, and then the acts."""
    program = [*_rows([act._replace(cause=BEFORE) for act in before], 1), *_rows(tuple(acts), FIRST_HOLD)]
    programs = {TOOLSTACK: (0, (Row("SWITCH_IN", 0, TOOLSTACK, 0), *program))}
    for dom in GUESTS:
        programs[dom] = (10**6 * dom, (Row("SWITCH_IN", 0, dom, 0), Row("VMENTER", 0, dom)))
    return Recording(programs, DOMAINS, has_vm_entries=True)


def _rows(acts: Sequence[Act], first_hold: int) -> Iterable[Row]:
    """Yield acts as rows. A hold's number leaves room, as draining a log may make as many holds as there are writes."""
    room = sum(act.count for act in acts) + 1
    for number, (hold, act) in enumerate(number_holds(acts)):
        yield Row(
            act.op,
            LATER if number == 0 else 0,
            dom=act.dom,
            p2m=None if act.op in {"PAUSE", "UNPAUSE"} else (act.dom, act.view),
            hold=None if hold is None else first_hold + room * hold,
        )._replace(**{name: getattr(act, name) for name in SAME_IN_ROWS})


# What a path finds. Written without the helpers of the package, whose doing is under test.


def mapped(
    gfn: int, *, leaf: int = 0, count: int = 1, kind: int = RAM_RW, dom: int = 1, view: int = 0, offset: int = 1 << 20
) -> Acts:
    """Map ``count`` leaves of order ``leaf`` in a row; the machine frame is the guest's and an offset."""
    sets = [
        Act(
            "SET", dom, view, gfn=gfn + (n << leaf), order=leaf, mfn=gfn + (n << leaf) + offset, old_type=INVALID,
            new_type=kind,
        )
        for n in range(count)
    ]  # fmt: skip
    return [Act("HOLD_BEGIN", dom, view), *sets, Act("HOLD_END", dom, view)]


def tracked_from_now(dom: int = 1, view: int = 0, new_type: int | None = 2) -> Acts:
    """Change the type of everything, so that the root is marked."""
    return [
        Act("HOLD_BEGIN", dom, view),
        Act("GLOBAL_CHANGE", dom, view, new_type=new_type),
        Act("HOLD_END", dom, view),
    ]
