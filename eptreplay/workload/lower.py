"""From a trace dataset to its workload: the rows that the rules make, in program order, with their times and edges."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eptreplay.p2m_types import (
    ACCESSES,
    GRANT_MAP_RO,
    GRANT_MAP_RW,
    INVALID,
    MAP_FOREIGN,
    POPULATE_ON_DEMAND,
    PRESENT,
    RAM_RW,
    RWX,
    TYPES,
    is_present,
)
from eptreplay.trace.lacks import TIMED_SHARE
from eptreplay.workload import records as r
from eptreplay.workload import rules as rule
from eptreplay.workload import schema as s
from eptreplay.workload.additions import with_additions
from eptreplay.workload.calls import CallCounts, count_calls, with_calls
from eptreplay.workload.draft import Draft, Drafts, inferred_rows, insert, p2m_keys
from eptreplay.workload.edges import Edges, find_edges
from eptreplay.workload.entries import PATHS, cut_into_entries
from eptreplay.workload.episodes import Episodes, find_episodes, first_of_pcpu
from eptreplay.workload.fold import Folding, fold
from eptreplay.workload.holds import add_operations
from eptreplay.workload.kicks import without_recorded_kicks
from eptreplay.workload.letters import spell
from eptreplay.workload.old_state import NONE, TABLE, earlier_writes
from eptreplay.workload.pages import last_frees
from eptreplay.workload.recalculations import sort_out
from eptreplay.workload.scheduling import add_scheduling
from eptreplay.workload.skew import Skew, find_skew
from eptreplay.workload.times import longest_ns, slot_times, to_ns
from eptreplay.workload.toolstack import add_toolstack
from eptreplay.workload.workload import Domain, Facts, Share, Workload

POPULATE = rule.CAUSE_NUMBERS["populate"]
PHYSMAP = rule.CAUSE_NUMBERS["physmap"]
PML = rule.CAUSE_NUMBERS["pml"]

MOST_ACCESS = len(ACCESSES) - 1
_PRESENT = np.array([[is_present(kind, access) for access in range(len(ACCESSES))] for kind in range(len(TYPES))])


def lower(dataset: str | os.PathLike[str], paths: str = PATHS[-1], *, without_kicks: bool = False) -> Workload:
    """Return the workload of a trace dataset; ``paths``: how Xen writes, as its release 4.6, 4.9 or 4.21 does.

    ``without_kicks``: leave out the interrupts with which the recorded host invalidated itself, as far as they can be
    told; ``kicks_removed`` of the workload says how many. Raises InputError if ``dataset`` is none, or lost a file.
    """
    records, manifest = r.read_records(dataset)
    return lower_records(records, manifest, paths, without_kicks=without_kicks)


def lower_records(
    records: r.Records, manifest: dict[str, Any], paths: str = PATHS[-1], *, without_kicks: bool = False
) -> Workload:
    """Return the workload of records; ``manifest``: the document of ``info``, of which vendor and TSC are needed."""
    vendor = _vendor(records, manifest["vendor"])
    episodes, folding = _fold(records, vendor)
    only_dom = _only_domain(records)
    drafts = Drafts()
    add_scheduling(drafts, records, episodes, only_dom)
    add_toolstack(drafts, records)
    add_operations(drafts, folding, only_dom)
    rows = cut_into_entries(drafts.collect(), paths)
    rows["pcpu"] = records.pcpu[rows["at"]]
    _number_holds(rows)
    t_ns, time_origin = _times(records, rows, manifest)
    rows["time_origin"] = time_origin
    facts = _facts(records)
    created = _created(records)
    _find_old_states(records, rows, t_ns if facts.has_times else records.rank[rows["at"]], created)
    rows, t_ns = with_additions(records, rows, t_ns, has_times=facts.has_times)
    sort_out(rows, t_ns if facts.has_times else records.rank[rows["at"]])
    kicks_removed = 0
    if without_kicks and facts.has_times and vendor == rule.VMX:
        rows, t_ns, kicks_removed = without_recorded_kicks(records, episodes, rows, t_ns)
    when = t_ns if facts.has_times else records.rank[rows["at"]]
    rows, t_ns = _with_edges(rows, t_ns, find_edges(rows, when, _wakes(records, rows)))
    domains = _domains(rows, set(created))
    if facts.has_sched and facts.has_times:
        rows, t_ns = with_calls(rows, t_ns, domains)
    rows["freed_by"] = last_frees(rows, t_ns if facts.has_times else records.rank[rows["at"]])
    first = first_of_pcpu(rows["pcpu"])
    gap = np.diff(t_ns, prepend=0)
    gap[first] = t_ns[first]
    return Workload(
        pcpus=rows["pcpu"][first].astype(np.int64),
        begin=np.append(first, rows["op"].size),
        t_ns=t_ns,
        gap_ns=gap,
        cut_ns=np.zeros(gap.size, np.int64),
        domains=domains,
        facts=facts,
        shares=_shares(folding),
        kicks_removed=kicks_removed,
        skew=find_skew(records),
        **{name: rows[name] for name in Workload._fields if name in rows},
    )


class Inference(NamedTuple):
    """What the rules make of a recording: writes that no record shows, and what each rule did.

    ``calls``: how many calls of other functions it implies, and ``skew``: what it tells of differences between TSCs;
    None where it does not tell.
    """

    inferred: int
    shares: tuple[Share, ...]
    calls: CallCounts | None
    skew: Skew | None


def infer_writes(records: r.Records, manifest: dict[str, Any]) -> Inference:
    """Apply the rules, make up calls and compare clocks, and nothing else; ``manifest`` as for ``lower_records``."""
    episodes, folding = _fold(records, _vendor(records, manifest["vendor"]))
    only_dom = _only_domain(records)
    drafts = Drafts()
    add_operations(drafts, folding, only_dom)
    add_scheduling(drafts, records, episodes, only_dom)
    rows = drafts.collect()
    inferred = (rows["op"] == s.SET) & (rows["origin"] == s.INFERRED)
    return Inference(
        inferred=int(rows["count"][inferred].sum()),
        shares=_shares(folding),
        calls=_calls(records, rows, manifest),
        skew=find_skew(records),
    )


def _calls(records: r.Records, rows: Draft, manifest: dict[str, Any]) -> CallCounts | None:
    """Return how many calls a recording implies: those of its workload, whose other rows do not matter for that."""
    facts = _facts(records)
    if not (facts.has_sched and facts.has_times):
        return None
    rows["pcpu"] = records.pcpu[rows["at"]]
    _number_holds(rows)
    t_ns, rows["time_origin"] = _times(records, rows, manifest)
    rows, _ = with_calls(rows, t_ns, _domains(rows, set()))
    return count_calls(rows["op"], rows["origin"], rows["target"])


def _fold(records: r.Records, vendor: str) -> tuple[Episodes, Folding]:
    """Return what lies between VM exits and entries, and what the rules of the vendor make of the records."""
    episodes = find_episodes(records)
    return episodes, fold(records, spell(records, episodes, vendor), vendor)


def _vendor(records: r.Records, vendor: str | None) -> str:
    """Return whose rules hold. Where no record tells, recorded writes do: stock Xen traces none on EPT."""
    if vendor:
        return vendor
    return rule.SVM if (records.what == r.SET).any() or not (records.what == r.DECREASE).any() else rule.VMX


def _only_domain(records: r.Records) -> int:
    """Return the domain whose p2m is written, if it is only one: then it is also the one that exits. Else -1."""
    if (records.dom >= 0).any():
        return r.UNKNOWN
    domains = np.unique(records.p2m_dom[records.p2m_dom >= 0])
    return int(domains[0]) if domains.size == 1 else r.UNKNOWN


def _facts(records: r.Records) -> Facts:
    return Facts(
        has_sched=bool(np.isin(records.what, (r.SWITCH_IN, r.SWITCH_OUT, r.CONTINUE)).any()),
        has_vm_entries=bool((records.what == r.VMENTER).any()),
        has_times=bool(records.timed.sum() >= TIMED_SHARE * max(1, records.timed.size)),
    )


def _number_holds(rows: Draft) -> None:
    """Enter for each row the number of the innermost hold around it, and where the outermost one begins and ends.

    Its cause is that of the rows which have none of their own.
    """
    op, size = rows["op"], rows["op"].size
    begins, ends = op == s.HOLD_BEGIN, op == s.HOLD_END
    depth = np.cumsum(begins.astype(np.int64) - ends)
    number = np.cumsum(begins) - 1
    acts = np.isin(op, s.ACTS) & (depth > 0)
    hold = np.where(begins | ends | acts, number, NONE)
    if depth.size and depth.max() > 1:
        hold = _nested(op, hold)
    # What a recorded hold says of itself holds for all in it.
    silent = np.flatnonzero((hold >= 0) & (rows["cause"] < 0))
    rows["cause"][silent] = rows["cause"][np.flatnonzero(begins)[hold[silent]]]
    rows["hold"] = _spaced(rows, hold, begins)
    rows["depth"] = depth - begins  # a row that begins the outermost hold is not within one
    outermost = begins & (depth == 1)
    starts = np.flatnonzero(outermost)
    stops = np.flatnonzero(ends & (depth == 0))
    outer = np.cumsum(outermost) - 1
    rows["outer"] = outer
    rows["outer_begin"] = starts[np.maximum(outer, 0)] if starts.size else np.zeros(size, np.int64)
    rows["outer_end"] = stops[np.maximum(outer, 0)] if stops.size else np.zeros(size, np.int64)


def _spaced(rows: Draft, hold: NDArray[np.int64], begins: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the numbers of holds with as many numbers free behind each PML drain as it may be cut into holds."""
    at = np.flatnonzero(begins)
    drains = rows["cause"][at] == PML
    if not drains.any():
        return hold
    writes = np.flatnonzero((rows["op"] == s.SET) & (hold >= 0))
    entries = np.zeros(at.size, np.int64)
    np.add.at(entries, hold[writes], rows["count"][writes])
    taken = np.where(drains, np.maximum(entries, 1), 1)
    first = np.cumsum(taken) - taken
    return np.where(hold >= 0, first[hold], NONE)


def _nested(op: NDArray[np.uint8], hold: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the innermost hold of each row where holds contain holds."""
    stack: list[int] = []
    innermost = hold.copy()
    for row in np.flatnonzero(hold >= 0).tolist():
        if op[row] == s.HOLD_BEGIN:
            stack.append(int(hold[row]))
        innermost[row] = stack[-1]
        if op[row] == s.HOLD_END:
            stack.pop()
    return innermost


def _times(records: r.Records, rows: Draft, manifest: dict[str, Any]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return when each row was recorded, and how that is known; rows of one hold without times of its own are one."""
    slot = rows["slot"]
    inferred_hold = (rows["hold"] >= 0) & (rows["origin"][rows["outer_begin"]] == s.INFERRED)
    unit = np.where(inferred_hold, rows["outer_begin"], np.arange(slot.size))
    units, which = np.unique(unit, return_inverse=True)
    tsc, how = slot_times(records, slot[units])
    tsc, how = tsc[which], how[which]
    # Whatever a record says of the time before it, that was not after it.
    given = rows["tsc"] >= 0
    tsc[given] = np.minimum(rows["tsc"][given], tsc[given])
    start = manifest["first_tsc"]
    ticks = np.where((tsc < 0) | (start is None), 0, tsc - (start or 0))
    first = first_of_pcpu(rows["pcpu"])
    t_ns = to_ns(np.maximum(ticks, 0), manifest["tsc_hz"]["value"], longest_ns(first.size))
    # The clock of a pCPU never steps back in a workload, even where its TSC did.
    for begin, end in pairwise([*first.tolist(), slot.size]):
        t_ns[begin:end] = np.maximum.accumulate(t_ns[begin:end])
    return t_ns, how


def _created(records: r.Records) -> dict[int, int]:
    """Return the domains that are created in the recording, and at which record for the first time."""
    at = np.flatnonzero(records.what == r.DOMAIN_ADD)
    at = at[np.argsort(-records.rank[at])]
    return dict(zip(records.w[0][at].tolist(), at.tolist(), strict=True))


def _find_old_states(records: r.Records, rows: Draft, when: NDArray[np.int64], created: dict[int, int]) -> None:
    """Enter what each entry was before it was written, and how that is known.

    ``when`` orders the rows of different pCPUs: by time, or by their place in the file where there are no times.
    """
    sets = np.flatnonzero(rows["op"] == s.SET)
    sets = sets[np.lexsort((sets, when[sets]))]
    latest = np.full(sets.size, NONE, np.int64)
    known_frame = np.flatnonzero(rows["gfn"][sets] != s.NO_GFN)
    latest[known_frame] = _earlier_writes(rows, sets[known_frame])
    latest[latest >= 0] = known_frame[latest[latest >= 0]]
    earlier = np.where(latest >= 0, rows["new_type"][sets][latest], latest).astype(np.int64)
    access = np.where(latest >= 0, rows["access"][sets][latest], NONE).astype(np.int64)
    old_type, known = rows["old_type"][sets].astype(np.int64), rows["old_known"][sets].astype(np.int64)
    by_earlier = (known < 0) & (latest != NONE)
    access[~by_earlier] = NONE
    old_type[by_earlier] = np.where(latest == TABLE, NONE, earlier)[by_earlier]
    known[by_earlier] = s.EARLIER
    # Memory that a domain gives back is memory that it has, unless something says otherwise.
    decrease = rows["cause"][sets] == rule.CAUSE_NUMBERS["decrease"]
    # Who has entries that wait for a page gives those back as well.
    p2m = p2m_keys(rows, sets)
    waits = np.unique(p2m[(rows["new_type"][sets] == POPULATE_ON_DEMAND) | (old_type == POPULATE_ON_DEMAND)])
    given_back = (known < 0) & decrease & (rows["new_type"][sets] == INVALID) & ~np.isin(p2m, waits)
    old_type[given_back], known[given_back] = RAM_RW, s.BY_CAUSE
    fresh = np.zeros(sets.size, np.bool_)
    for dom, birth in created.items():
        fresh |= (rows["p2m_dom"][sets] == dom) & (records.rank[birth] < records.rank[rows["at"][sets]])
    fresh &= known < 0
    old_type[fresh], known[fresh] = INVALID, s.CREATED
    known[known < 0] = s.ASSUMED
    rows["old_type"][sets], rows["old_known"][sets] = old_type, known
    present = _PRESENT[np.clip(old_type, 0, len(TYPES) - 1), np.where(access < 0, RWX, np.minimum(access, MOST_ACCESS))]
    present = (old_type < 0) | (present & (old_type < len(TYPES)))  # without a type it was a table
    told = rows["old_present"][sets]
    rows["old_present"][sets] = np.where(told >= 0, told, np.where(known == s.ASSUMED, NONE, present))
    _refine_causes(rows, sets)


def _earlier_writes(rows: Draft, sets: NDArray[np.int64]) -> NDArray[np.int64]:
    return earlier_writes(p2m_keys(rows, sets), rows["gfn"][sets], rows["order"][sets].astype(np.int64))


def _refine_causes(rows: Draft, sets: NDArray[np.int64]) -> None:
    """Name causes that hang on what the entry was before."""
    cause, old, new = rows["cause"][sets], rows["old_type"][sets], rows["new_type"][sets]
    # A domain that maps what was not there before has not written to a tracked page.
    absent = (old >= 0) & ~np.isin(old, sorted(PRESENT))
    changes = [((cause == rule.CAUSE_NUMBERS["logdirty_fault"]) & absent, POPULATE)]
    removed = (cause == PHYSMAP) & (new == INVALID)
    changes.append((removed & (old == MAP_FOREIGN), rule.CAUSE_NUMBERS["foreign"]))
    changes.append((removed & np.isin(old, (GRANT_MAP_RW, GRANT_MAP_RO)), rule.CAUSE_NUMBERS["grant"]))
    for chosen, name in changes:
        rows["cause"][sets[chosen]] = name
        for end in ("outer_begin", "outer_end"):
            around = rows[end][sets[chosen]]
            same = rows["cause"][around] == cause[chosen]
            rows["cause"][around[same]] = name


def _wakes(records: r.Records, rows: Draft) -> Edges:
    """Return for each wake-up of a vCPU the row at which it happened and the SWITCH_IN that follows it."""
    at = np.flatnonzero(records.what == r.WOKEN)
    row = np.searchsorted(rows["at"], at, side="right") - 1
    there = row >= 0
    there[there] = rows["pcpu"][row[there]] == records.pcpu[at[there]]
    at, row = at[there], row[there]
    word = records.w[0][at].astype(np.int64)
    switches = np.flatnonzero(rows["op"] == s.SWITCH_IN)
    who = rows["run_dom"][switches].astype(np.int64) << 16 | rows["run_vcpu"][switches]
    tsc = records.tsc[rows["at"][switches]]
    key = np.concatenate([who, word])
    order = np.lexsort((np.concatenate([np.ones(switches.size), np.zeros(at.size)]),
                        np.concatenate([tsc, records.tsc[at]]), key))  # fmt: skip
    is_switch = order < switches.size
    position = np.arange(order.size)
    upcoming = np.minimum.accumulate(np.where(is_switch, position, order.size)[::-1])[::-1]
    waking = np.flatnonzero(~is_switch & (upcoming < order.size))
    target = order[upcoming[waking]]
    same = key[target] == key[order[waking]]
    return Edges(row[order[waking[same]] - switches.size], switches[target[same]])


def _with_edges(rows: Draft, t_ns: NDArray[np.int64], edges: Edges) -> tuple[Draft, NDArray[np.int64]]:
    """Enter edges; a row that waits for more than one gets rows before it that wait for the others."""
    rows["edge"] = np.full(t_ns.size, NONE, np.int64)
    last = np.append(np.diff(edges.target) != 0, True)[: edges.target.size]
    rows["edge"][edges.target[last]] = edges.source[last]
    place, source = edges.target[~last], edges.source[~last]
    if not place.size:
        return rows, t_ns
    new = inferred_rows(rows, place.size)
    for name in ("pcpu", "run_dom", "run_vcpu", "time_origin", "at"):
        new[name][:] = rows[name][place]
    new["op"][:], new["edge"][:] = s.WAIT, source
    return insert(rows, t_ns, place, new, t_ns[place])


def _domains(rows: Draft, created: set[int]) -> tuple[Domain, ...]:
    """Return all domains by number. One with VM entries or a p2m has guest mode; else domain 0 is assumed to be PV."""
    runs = np.unique(rows["run_dom"][rows["run_dom"] >= 0]).tolist()
    owns = set(np.unique(rows["p2m_dom"][(rows["p2m_dom"] >= 0) & (rows["op"] == s.SET)]).tolist())
    entered = rows["run_dom"][rows["op"] == s.VMENTER]
    shown = owns | set(np.unique(entered[entered >= 0]).tolist())
    known = set(np.unique(rows["p2m_dom"][rows["p2m_dom"] >= 0]).tolist()) | set(runs)
    return tuple(
        Domain(dom, has_guest_mode=dom in shown or dom != 0, assumed=dom not in shown, created=dom in created)
        for dom in sorted(known)
        if dom < s.FIRST_RESERVED_DOMAIN
    )


def _shares(folding: Folding) -> tuple[Share, ...]:
    """Return what each rule did, in the order of the table; rules without a match are left out."""
    lengths = folding.matches.stop - folding.matches.start
    count = np.bincount(folding.matches.rule, minlength=len(folding.rules))
    records = np.bincount(folding.matches.rule, lengths, minlength=len(folding.rules)).astype(np.int64)
    return tuple(
        Share(x.name, int(count[number]), int(records[number]), x.about)
        for number, x in enumerate(folding.rules)
        if count[number]
    )
