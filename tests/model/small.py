"""Small recordings for tests in which every nanosecond is counted by hand.

Row ``r`` of pCPU ``n`` has the number ``100 * n + r``. Costs differ from each other, so that sums tell them apart.
pCPUs 0 and 1 share a core; 0 to 3, and 4 to 7, are a socket each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eptreplay.model import Costs, Domain, Recording, Result, Row, replay
from eptreplay.p2m_types import RAM_LOGDIRTY, RWX
from eptreplay.strategies import Request, Strategy
from eptreplay.strategies.registry import STRATEGIES

COSTS = Costs(
    cores_per_socket=2,
    threads_per_core=2,
    pcpus=0,
    apic="x2apic-physical",
    shorthand=0,
    acquire_ns=1,
    read_ns=1,
    handoff_ns=(2, 20, 200),
    poll_ns=0,
    weight=(1, 1, 1),
    set_ns=10,
    store_ns=1,
    lookup_ns=15,
    setup_ns=5,
    announce_ns=0,
    icr_ns=3,
    busy_ns=0,
    deliver_ns=(4, 40, 400),
    ack_ns=(6, 60, 600),
    line_ns=(0, 0, 0),
    handler_ns=50,
    call_ns=0,
    exit_ns=70,
    entry_ns=80,
    irqoff_ns=0,
    wake_ns=90,
    wake_deep_ns=90,
    deep_after_ns=0,
    flush_ns=35,
    unexplained_ns=0,
    invept_ns=30,
    refill_ns=25,
    timeout_ns=0,
)
"""What tests of one rule do not ask about is 0 or makes no difference; they set it by ``_replace``."""
FREE = COSTS._replace(
    **{name: (0, 0, 0) if isinstance(n, tuple) else 0 for name, n in COSTS._asdict().items() if name.endswith("_ns")}  # type: ignore[arg-type]
)

EAGER, VMENTER, DEFERRED, NEVER = (STRATEGIES[name] for name in ("eager", "vmenter", "deferred", "never"))

PV, ONE, TWO, CREATED = 0, 1, 2, 3
DOMAINS = {
    PV: Domain(PV, has_guest_mode=False, created=False),
    ONE: Domain(ONE, has_guest_mode=True, created=False),
    TWO: Domain(TWO, has_guest_mode=True, created=False),
    CREATED: Domain(CREATED, has_guest_mode=True, created=True),
}
P2M, P2M_TWO = (ONE, 0), (TWO, 0)


def recording(programs: Mapping[int, Sequence[Row]], *, has_vm_entries: bool = True) -> Recording:
    """Return a recording of the domains above."""
    numbered = {pcpu: (100 * pcpu, tuple(rows)) for pcpu, rows in programs.items()}
    return Recording(numbered, DOMAINS, has_vm_entries)


def run(
    programs: Mapping[int, Sequence[Row]],
    strategy: Strategy = DEFERRED,
    costs: Costs = COSTS,
    *,
    has_vm_entries: bool = True,
    lock: str = "queue",
    seed: int = 0,
) -> Result:
    """Replay programs."""
    return replay(recording(programs, has_vm_entries=has_vm_entries), strategy, costs, lock, seed)


def switch_in(gap_ns: int, dom: int = ONE, vcpu: int = 0, edge: int | None = None) -> Row:
    """Return a switch to a vCPU."""
    return Row("SWITCH_IN", gap_ns, dom, vcpu, edge=edge)


def vmenter(gap_ns: int, dom: int | None = ONE) -> Row:
    """Return a VM entry."""
    return Row("VMENTER", gap_ns, dom)


def begin(
    gap_ns: int, hold: int = 1, p2m: tuple[int, int] = P2M, edge: int | None = None, *, cause: str = "grant"
) -> Row:
    """Return the begin of a hold."""
    return Row("HOLD_BEGIN", gap_ns, p2m=p2m, hold=hold, cause=cause, edge=edge)


def end(gap_ns: int, hold: int = 1, p2m: tuple[int, int] = P2M) -> Row:
    """Return the end of a hold."""
    return Row("HOLD_END", gap_ns, p2m=p2m, hold=hold)


def write(
    gap_ns: int,
    hold: int = 1,
    p2m: tuple[int, int] = P2M,
    *,
    cause: str = "grant",
    present: bool = True,
    gfn: int | None = 7,
    order: int = 0,
    mfn: int = 8,
    count: int = 1,
    access: int = RWX,
    old_type: int | None = None,
    new_type: int = 0,
) -> Row:
    """Return a change of an entry that was present."""
    return Row(
        "SET",
        gap_ns,
        p2m=p2m,
        hold=hold,
        gfn=gfn,
        order=order,
        mfn=mfn,
        count=count,
        access=access,
        old_type=old_type,
        present=present,
        new_type=new_type,
        cause=cause,
    )


def misconfig(gap_ns: int, gfn: int | None = 7, hold: int = 1, p2m: tuple[int, int] = P2M) -> Row:
    """Return an exit for EPT_MISCONFIG."""
    return Row("MISCONFIG", gap_ns, p2m=p2m, hold=hold, gfn=gfn, new_type=None, cause="misconfig")


def change(
    gap_ns: int,
    new_type: int | None = RAM_LOGDIRTY,
    frames: tuple[int, int] | None = None,
    hold: int = 1,
    p2m: tuple[int, int] = P2M,
) -> Row:
    """Return a change of the type of a range, or of everything; without a new type, of memory types."""
    first, last = frames or (None, None)
    return Row(
        "GLOBAL_CHANGE",
        gap_ns,
        p2m=p2m,
        hold=hold,
        gfn=first,
        last_gfn=last,
        new_type=new_type,
        cause="logdirty_global",
    )


def one_write(gap_ns: int, hold: int = 1, p2m: tuple[int, int] = P2M, cause: str = "grant") -> list[Row]:
    """Return a hold with one write that needs a sync, and no gaps within."""
    return [begin(gap_ns, hold, p2m), write(0, hold, p2m, cause=cause), end(0, hold, p2m)]


def deciding(*decisions: int, ipi: str = "kick") -> Strategy:
    """Return a strategy that decides by the number of the write in its hold."""
    return Strategy(name="deciding", ipi=ipi, decide=lambda request: decisions[request.sets - 1])


def asked(rows: list[Row], others: dict[int, list[Row]] | None = None, **switches: str | bool) -> list[Request]:
    """Return what a decision function is asked about these rows of pCPU 0."""
    requests: list[Request] = []

    def decide(request: Request) -> int:
        requests.append(request)
        return request.default

    run({0: rows, **(others or {})}, Strategy(name="asked", decide=decide, **switches))  # type: ignore[arg-type]
    return requests
