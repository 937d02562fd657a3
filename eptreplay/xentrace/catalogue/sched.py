"""Scheduling (class sched): runstates, the scheduler's core, and the schedulers themselves.

Since 4.13 what is called ``vcpu`` here is the scheduling unit, except in runstate records; the two are the same unless
Xen runs with ``sched-gran=core`` or ``socket``. The idle domain is 32767. Times in nanoseconds are cut to 32 bits where
they take one word. The arinc653 scheduler owns the ids from 0x22600 but writes no events. The format file of xentrace
has credit2's ids from 0x22212 on too low by one; hypervisor and xenalyze agree on the ids below.
"""

from __future__ import annotations

from itertools import product

from eptreplay.xentrace.catalogue.event import Event

RUNSTATES = ("running", "runnable", "blocked", "offline")
"""The states of a vCPU by their number in the id of a runstate change."""


def runstate_change(old: int, new: int) -> int:
    """Return the id of the record for a vCPU that goes from state ``old`` to ``new`` (positions in RUNSTATES)."""
    return 0x21001 + (old << 8) + (new << 4)


def _reworked(old: str | tuple[str, ...], new: str) -> dict[str, str | tuple[str, ...]]:
    """Layouts before and after the rework of scheduler tracing, which 4.8 has in full; 4.7 may have either."""
    return {"4.6": old, "4.7": (*((old,) if isinstance(old, str) else old), new), "4.8": new}


_RUNSTATES = tuple(
    Event(
        runstate_change(old, new),
        f"RUNSTATE_{RUNSTATES[old]}_TO_{RUNSTATES[new]}".upper(),
        timed=True,
        payload="vcpu:u16 domid:u16",
        about=f"a vCPU goes from {RUNSTATES[old]} to {RUNSTATES[new]}",
        ept=True,
    )
    for old, new in product(range(4), repeat=2)
)

# fmt: off
_CORE = (
    Event(0x21002, "SCHED_CONTINUE_RUNNING", True, "vcpu:u16 domid:u16", "the same vCPU goes on", ept=True),
    Event(0x28001, "SCHED_DOM_ADD",          True, _reworked("domid vcpu", "domid"),
          "a domain is scheduled from now on", ept=True),
    Event(0x28002, "SCHED_DOM_REM",          True, _reworked("domid vcpu", "domid"),
          "a domain is scheduled no more", ept=True),
    Event(0x28003, "SCHED_SLEEP",            True, "domid vcpu", "a vCPU is put to sleep"),
    Event(0x28004, "SCHED_WAKE",             True, "domid vcpu", "a vCPU is woken up"),
    Event(0x28005, "SCHED_YIELD",            True, "domid vcpu", "a vCPU yields"),
    Event(0x28006, "SCHED_BLOCK",            True, "domid vcpu", "a vCPU blocks"),
    Event(0x28007, "SCHED_SHUTDOWN",         True, "domid vcpu reason", "a domain shuts itself down"),
    Event(0x28008, "SCHED_CTL",              True, "", "scheduler settings changed"),
    Event(0x28009, "SCHED_ADJDOM",           True, "domid", "scheduler settings of a domain changed"),
    Event(0x2800A, "SCHED_SWITCH",           True, "prev_domid prev_vcpu next_domid next_vcpu", "another vCPU runs"),
    Event(0x2800B, "SCHED_S_TIMER_FN",       True, "", "the scheduler's timer fired"),
    Event(0x2800C, "SCHED_T_TIMER_FN",       True, "", "the tick fired"),
    Event(0x2800D, "SCHED_DOM_TIMER_FN",     True, "", "a vCPU's timer fired"),
    Event(0x2800E, "SCHED_SWITCH_INFPREV",   True, {"4.6": "domid runtime[ns]", "4.8": "domid vcpu runtime[ns]"},
          "who ran, and how long"),
    Event(0x2800F, "SCHED_SWITCH_INFNEXT",   True, {"4.6": "domid wait[ns] slice:i32[ns]",
                                                    "4.8": "domid vcpu wait[ns] slice:i32[ns]"},
          "who runs next, how long it waited, how long it may run (-1: no limit)"),
    Event(0x28010, "SCHED_SHUTDOWN_CODE",    True, "domid vcpu reason", "a domain sets its shutdown reason"),
    Event(0x28011, "SCHED_SWITCH_INFCONT",   True, "domid vcpu runtime[ns] slice:i32[ns]",
          "who goes on running, how long so far, how long it may (-1: no limit)", since="4.9"),
)
_CREDIT = (
    Event(0x22001, "CSCHED_SCHED_TASKLET",   True, "", "a tasklet goes first"),
    Event(0x22002, "CSCHED_ACCOUNT_START",   True, "domid vcpu active", "a vCPU takes part in accounting"),
    Event(0x22003, "CSCHED_ACCOUNT_STOP",    True, "domid vcpu active", "a vCPU takes no part any more"),
    Event(0x22004, "CSCHED_STOLEN_UNIT",     True, "peer_cpu domid vcpu", "a vCPU is taken from another pCPU"),
    Event(0x22005, "CSCHED_PICKED_CPU",      True, "domid vcpu cpu", "a pCPU is chosen for a vCPU"),
    Event(0x22006, "CSCHED_TICKLE",          True, "cpu", "a pCPU is told to schedule"),
    Event(0x22007, "CSCHED_BOOST_START",     True, "domid vcpu", "a vCPU is boosted"),
    Event(0x22008, "CSCHED_BOOST_END",       True, "domid vcpu", "the boost is over"),
    Event(0x22009, "CSCHED_SCHEDULE",        True, "cpu:u16 tasklet:u8 idle:u8", "the scheduler runs", since="4.7"),
    Event(0x2200A, "CSCHED_RATELIMIT",       True, "vcpu:u16 domid:u16 runtime[ns]",
          "too early to switch", since="4.7"),
    Event(0x2200B, "CSCHED_STEAL_CHECK",     True, "peer_cpu checked",
          "another pCPU's queue is looked at", since="4.9"),
)
_CREDIT2 = (
    Event(0x22201, "CSCHED2_TICK",             True, "", "reserved for a tick; no release writes it"),
    Event(0x22202, "CSCHED2_RUNQ_POS",         None, _reworked("domid:u16 vcpu:u16 position",
          "vcpu:u16 domid:u16 position"),
          "a vCPU's place in the queue; without TSC in 4.6"),
    Event(0x22203, "CSCHED2_CREDIT_BURN",      True, {
          **_reworked("domid:u16 vcpu:u16 credit:i32 delta:i32", "vcpu:u16 domid:u16 credit:i32 delta:i32"),
          "4.10": "vcpu:u16 domid:u16 credit:i32 budget:i32 delta:i32"}, "a vCPU pays for its time"),
    Event(0x22204, "CSCHED2_CREDIT_ADD",       True, "", "reserved for added credit; no release writes it"),
    Event(0x22205, "CSCHED2_TICKLE_CHECK",     True, {
          **_reworked("domid:u16 vcpu:u16 credit:i32", "vcpu:u16 domid:u16 credit:i32"),
          "4.9":  ("vcpu:u16 domid:u16 credit:i32", "vcpu:u16 domid:u16 credit:i32 score:i32"),
          "4.10": "vcpu:u16 domid:u16 credit:i32 score:i32"}, "may a running vCPU be displaced?"),
    Event(0x22206, "CSCHED2_TICKLE",           None, "cpu:u16 pad:u16",
          "a pCPU is told to schedule; without TSC in 4.6"),
    Event(0x22207, "CSCHED2_CREDIT_RESET",     True, {
          **_reworked("domid:u16 vcpu:u16 before:i32 after:i32 multiplier",
                      "vcpu:u16 domid:u16 before:i32 after:i32 multiplier"),
          "4.13": ("vcpu:u16 domid:u16 before:i32 after:i32 multiplier", "vcpu:u16 domid:u16 before:i32 after:i32"),
          "4.14": "vcpu:u16 domid:u16 before:i32 after:i32"}, "credit handed out"),
    Event(0x22208, "CSCHED2_SCHED_TASKLET",    True, "", "a tasklet goes first"),
    Event(0x22209, "CSCHED2_UPDATE_LOAD",      True, "", "load is about to be updated"),
    Event(0x2220A, "CSCHED2_RUNQ_ASSIGN",      True, _reworked("domid:u16 vcpu:u16 runq:u16 pad:u16",
                                                               "vcpu:u16 domid:u16 runq:u16 pad:u16"),
          "a vCPU goes to a queue"),
    Event(0x2220B, "CSCHED2_UPDATE_UNIT_LOAD", True, _reworked("domid:u16 vcpu:u16 load",
                                                               "load:u64 vcpu:u16 domid:u16 shift"),
          "average load of a vCPU"),
    Event(0x2220C, "CSCHED2_UPDATE_RUNQ_LOAD", True, _reworked("load_and_average runq_and_balance",
                                                               "average:u64 balance:u64 load:u16 runq:u8 shift:u8 pad"),
          "average load of a queue; up to 4.7 bits 0-3 load and queue, bits 4-31 the averages"),
    Event(0x2220D, "CSCHED2_TICKLE_NEW",       True, "vcpu:u16 domid:u16 cpu credit:i32",
          "a vCPU looks for a pCPU to run on", since="4.7"),
    Event(0x2220E, "CSCHED2_RUNQ_MAX_WEIGHT",  True, "runq:u16 weight:u16", "largest weight in a queue", since="4.7"),
    Event(0x2220F, "CSCHED2_MIGRATE",          True, "vcpu:u16 domid:u16 from_runq:u16 to_runq:u16",
          "a vCPU goes from queue to queue", since="4.7"),
    Event(0x22210, "CSCHED2_LOAD_CHECK",       True, "own_runq:u16 other_runq:u16 delta",
          "two queues compared", since="4.7"),
    Event(0x22211, "CSCHED2_LOAD_BALANCE",     True, "own_load:u64 other_load:u64 own_runq:u16 other_runq:u16 pad",
          "two queues are to be balanced", since="4.7"),
    Event(0x22213, "CSCHED2_PICKED_CPU",       True, "load:u64 vcpu:u16 domid:u16 runq:u16 cpu:u16",
          "a pCPU is chosen for a vCPU", since="4.7"),
    Event(0x22214, "CSCHED2_RUNQ_CANDIDATE",   True, {
          "4.7": ("vcpu:u16 domid:u16 tickled_cpu:i32", "vcpu:u16 domid:u16 tickled_cpu:i32 skipped"),
          "4.8": "vcpu:u16 domid:u16 tickled_cpu:i32 skipped",
          "4.10": ("vcpu:u16 domid:u16 tickled_cpu:i32 skipped", "vcpu:u16 domid:u16 tickled_cpu:i32 credit:i32"),
          "4.13": "vcpu:u16 domid:u16 tickled_cpu:i32 credit:i32"}, "best vCPU of a queue", since="4.7"),
    Event(0x22215, "CSCHED2_SCHEDULE",         True, "cpu:u16 runq:u16 tasklet:u8 idle:u8 smt_idle:u8 tickled:u8",
          "the scheduler runs", since="4.7"),
    Event(0x22216, "CSCHED2_RATELIMIT",        True, "vcpu:u16 domid:u16 runtime[ns]",
          "too early to switch", since="4.7"),
    Event(0x22217, "CSCHED2_RUNQ_CAND_CHECK",  True, "vcpu:u16 domid:u16",
          "a vCPU of the queue is considered", since="4.9"),
)
_RTDS_OLD = "domid:u16 vcpu:u16 deadline:u64[ns] budget:u64[ns]"
_RTDS = (
    Event(0x22801, "RTDS_TICKLE",           None, "cpu:u16 pad:u16", "a pCPU is told to schedule; without TSC in 4.6"),
    Event(0x22802, "RTDS_RUNQ_PICK",        True, _reworked((_RTDS_OLD, ""),
          "vcpu:u16 domid:u16 deadline:u64[ns] budget:u64[ns]"),
          "a vCPU is chosen; in 4.6 empty if there is none"),
    Event(0x22803, "RTDS_BUDGET_BURN",      True, {
          **_reworked("domid:u16 vcpu:u16 budget:u64[ns] delta:i32[ns]",
                      "vcpu:u16 domid:u16 budget:u64[ns] delta:i32[ns]"),
          "4.10": ("vcpu:u16 domid:u16 budget:u64[ns] delta:i32[ns]",
                   "vcpu:u16 domid:u16 budget:u64[ns] delta:i32[ns] priority extratime:u8 pad0:u8 pad1:u16"),
          "4.11": "vcpu:u16 domid:u16 budget:u64[ns] delta:i32[ns] priority extratime:u8 pad0:u8 pad1:u16",
          "4.19": "vcpu:u16 domid:u16 budget:u64[ns] delta:i32[ns] priority extratime"}, "a vCPU pays for its time"),
    Event(0x22804, "RTDS_BUDGET_REPLENISH", True, {
          **_reworked(_RTDS_OLD, "vcpu:u16 domid:u16 deadline:u64[ns] budget:u64[ns]"),
          "4.10": ("vcpu:u16 domid:u16 deadline:u64[ns] budget:u64[ns]",
                   "vcpu:u16 domid:u16 priority deadline:u64[ns] budget:u64[ns]"),
          "4.11": "vcpu:u16 domid:u16 priority deadline:u64[ns] budget:u64[ns]"}, "a vCPU gets a new budget"),
    Event(0x22805, "RTDS_SCHED_TASKLET",    True, _reworked(_RTDS_OLD, ""),
          "a tasklet goes first; in 4.6 who runs next"),
    Event(0x22806, "RTDS_SCHEDULE",         True, "cpu:u16 tasklet:u8 tickled_and_idle:u8",
          "the scheduler runs; low 4 bits tickled, high 4 idle", since="4.7"),
)
_NULL = (
    Event(0x22A01, "SNULL_PICKED_CPU",      True, "vcpu:u16 domid:u16 cpu", "a pCPU is chosen for a vCPU", since="4.9"),
    Event(0x22A02, "SNULL_UNIT_ASSIGN",     True, "vcpu:u16 domid:u16 cpu",
          "a vCPU gets a pCPU of its own", since="4.9"),
    Event(0x22A03, "SNULL_UNIT_DEASSIGN",   True, "vcpu:u16 domid:u16 cpu", "a vCPU gives its pCPU up", since="4.9"),
    Event(0x22A04, "SNULL_MIGRATE",         True, "vcpu:u16 domid:u16 old_cpu:u16 new_cpu:u16",
          "a vCPU moves", since="4.9"),
    Event(0x22A05, "SNULL_SCHEDULE",        True, "tasklet:u16 cpu:u16 vcpu:u16 domid:u16",
          "the scheduler runs; 65535: no vCPU has this pCPU", since="4.9"),
    Event(0x22A06, "SNULL_TASKLET",         True, "", "a tasklet goes first", since="4.9"),
)
# fmt: on

EVENTS: tuple[Event, ...] = _RUNSTATES + _CORE + _CREDIT + _CREDIT2 + _RTDS + _NULL
