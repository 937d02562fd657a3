"""Work that no recording has: ``--inject`` adds pCPUs on which a toolstack, or other users of the call lock, do theirs.

A spec is a kind and its parts, such as ``lookups:batch=1024,every=10ms``. ``KINDS`` is the table of both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from eptreplay.errors import UsageError, unknown_choice
from eptreplay.workload import schema as s
from eptreplay.workload.calls import OTHER
from eptreplay.workload.programs import Row, periodic_program, with_programs
from eptreplay.workload.times import LONGEST_NS, longest_ns
from eptreplay.workload.workload import NONE, Workload

CONTROL_DOMAIN = 0
MOST_ROWS = 10_000_000
"""So many rows may be made up, by all specs together: some 2 GB."""
MOST_LOOKUPS = 1 << 20
MAX_BATCH_SIZE = 1024
"""Entries that the toolstack asks for in one hypercall while it migrates a guest (its ``MAX_BATCH_SIZE``)."""
MOST_MAPPINGS = 16
SHORTEST_NS = 1000
HIGHEST_PCPU, HIGHEST_DOMAIN = (1 << 16) - 1, s.FIRST_RESERVED_DOMAIN - 1
UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_TIME = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)([a-zA-Z]*)")
_DIGITS = re.compile(r"[0-9]{1,20}")

Value = int | None
Read = Callable[[str, str], Value]
"""Turns the text of a part into its value; is told where it stands, for an error."""


class Part(NamedTuple):
    """A part of a spec: how its text is read, and what it is if it is not given."""

    read: Read
    default: Value = None
    required: bool = False


class Injection(NamedTuple):
    """A spec, checked as far as it can be without a recording. ``parts``: all of its kind; times in ns."""

    text: str
    kind: str
    parts: Mapping[str, Value]

    def number(self, name: str) -> int:
        """Return a part that always has a value."""
        return self.parts[name] or 0

    def wrong(self, what: str) -> UsageError:
        """Return the error about something that does not suit the recording."""
        return UsageError(f"--inject {self.text}: {what}")


class Work(NamedTuple):
    """What a pCPU does in each period, row by row, and that in words."""

    rows: tuple[Row, ...]
    about: str


class Kind(NamedTuple):
    """A kind of work. ``makes``: what is done in each of a number of periods; ``rows``: how many rows that is."""

    parts: Mapping[str, Part]
    makes: Callable[[Injection, Workload, int], Work]
    rows: Callable[[Injection], int]
    example: str


# Specs.


def parse_injections(specs: Sequence[str]) -> tuple[Injection, ...]:
    """Return what the user asks for; raises UsageError, which names the part that is wrong."""
    return tuple(_parse(spec) for spec in specs)


def _parse(spec: str) -> Injection:
    name, _, rest = spec.partition(":")
    if name not in KINDS:
        raise unknown_choice("--inject", name, KINDS)
    kind = KINDS[name]
    given: dict[str, Value] = {}
    for text in rest.split(",") if rest else ():
        key, _, value = text.partition("=")
        where = f"--inject {spec}: {key}"
        if key not in kind.parts:
            raise unknown_choice(f"--inject {spec}:", key, kind.parts)
        if key in given:
            raise UsageError(f"{where}: given twice")
        given[key] = kind.parts[key].read(where, value)
    missing = [key for key, part in kind.parts.items() if part.required and key not in given]
    if missing:
        raise UsageError(f"--inject {spec}: expected {missing[0]}=, as in {name}:{kind.example}")
    return Injection(spec, name, {key: given.get(key, part.default) for key, part in kind.parts.items()})


def _number(lowest: int, highest: int) -> Read:
    def read(where: str, text: str) -> Value:
        if not _DIGITS.fullmatch(text) or not lowest <= int(text) <= highest:
            raise UsageError(f"{where}={text}: expected a number from {lowest} to {highest}")
        return int(text)

    return read


def _time(lowest: int) -> Read:
    def read(where: str, text: str) -> Value:
        found = _TIME.fullmatch(text)
        if not found or not found[2]:
            raise UsageError(f"{where}={text}: expected a time with its unit, such as 10ms or 2.5us")
        if found[2] not in UNITS:
            raise unknown_choice(f"{where}={text}: unit", found[2], UNITS)
        ns = Fraction(found[1]) * UNITS[found[2]]
        if ns.denominator != 1 or not lowest <= ns <= LONGEST_NS:
            raise UsageError(f"{where}={text}: expected whole nanoseconds, {lowest} at least and {LONGEST_NS} at most")
        return int(ns)

    return read


def _targets(where: str, text: str) -> Value:
    if text not in _TARGETS:
        raise unknown_choice(f"{where}=", text, _TARGETS)
    return _TARGETS[text]


_TARGETS: dict[str, Value] = {"1": 1, "all": None}


# What is done.


def _lookups(injection: Injection, workload: Workload, periods: int) -> Work:
    """Return a batch of the toolstack's: XEN_DOMCTL_getpageframeinfo3, and then the foreign map of what it asked for.

    The former cannot be preempted. The latter, in hypercalls of 16 entries, makes ``map`` lookups for each entry: one
    in ``mod_l1_entry()`` today, and before that one in ``do_mmu_update()`` of Xen 4.6.
    """
    batch, mapped = injection.number("batch"), injection.number("batch") * injection.number("map")
    dom = _domain(injection, workload)
    row: Row = {"op": s.LOOKUP, "run_dom": CONTROL_DOMAIN, "p2m_dom": dom, "p2m_view": s.HOST_VIEW}
    rows = [{**row, "count": batch, "preemptible": 0}, {**row, "count": mapped, "preemptible": 1}]
    then = f" and {mapped:,} to map them" if mapped else ""
    about = f"{periods:,} times {batch:,} lookups in the p2m of d{dom} at one go{then}"
    return Work(tuple(rows[: _rows_of_lookups(injection)]), about)


def _rows_of_lookups(injection: Injection) -> int:
    return 2 if injection.parts["map"] else 1


def _calls(injection: Injection, workload: Workload, periods: int) -> Work:
    """Return a call by another user of the call lock, such as a flush of a guest's TLBs."""
    one = injection.parts["targets"] is not None
    target = workload.pcpus[np.arange(periods) % workload.pcpus.size] if one else NONE
    row: Row = {"op": s.CALL, "run_dom": CONTROL_DOMAIN, "cause": OTHER, "target": target}
    return Work((row,), f"{periods:,} calls of {'one pCPU each, in turn' if one else 'all pCPUs'}")


def _rows_of_calls(_: Injection) -> int:
    return 1


def _domain(injection: Injection, workload: Workload) -> int:
    """Return whose p2m is looked at: the domain named, else the one whose p2m others write most, or that is held most.

    Of several the lowest number.
    """
    known = [domain.number for domain in workload.domains]
    dom = injection.parts["dom"]
    if dom is not None:
        if dom not in known:
            raise injection.wrong(f"dom={dom}: expected one of the recording's, {', '.join(map(str, known))}")
        return dom
    owner = np.where(np.isin(workload.p2m_dom, known), workload.p2m_dom, NONE)
    by_others = (workload.op == s.SET) & (workload.run_dom >= 0) & (workload.run_dom != owner)
    for chosen in (by_others & (owner >= 0), (workload.op == s.HOLD_BEGIN) & (owner >= 0)):
        if chosen.any():
            return int(np.bincount(owner[chosen], workload.count[chosen]).argmax())
    raise injection.wrong("no p2m is written or locked in the recording; name a domain with dom=")


_SCHEDULE = {
    "every": Part(_time(SHORTEST_NS), required=True),
    "pcpu": Part(_number(0, HIGHEST_PCPU)),
    "start": Part(_time(0), 0),
}
KINDS = {
    "lookups": Kind(
        {
            "batch": Part(_number(1, MOST_LOOKUPS), MAX_BATCH_SIZE),
            "map": Part(_number(0, MOST_MAPPINGS), 1),
            "dom": Part(_number(0, HIGHEST_DOMAIN)),
            **_SCHEDULE,
        },
        _lookups,
        _rows_of_lookups,
        "batch=1024,every=10ms",
    ),
    "calls": Kind({"targets": Part(_targets), **_SCHEDULE}, _calls, _rows_of_calls, "every=1ms"),
}
"""What can be injected."""


# Into a workload.


def with_injections(workload: Workload, injections: Sequence[Injection]) -> tuple[Workload, tuple[str, ...]]:
    """Add the programs of pCPUs of their own, for as long as the recording lasts; also says in words what was added.

    Raises UsageError for what does not suit the recording: a pCPU that it has, a domain that it does not have, more
    rows than ``MOST_ROWS``, more pCPUs than a replay can count such times for.
    """
    if not injections:
        return workload, ()
    if not workload.facts.has_times:
        raise injections[0].wrong("the recording has next to no times, so that nobody knows how long it lasts")
    end, left = int(workload.t_ns.max(initial=0)), MOST_ROWS
    longest = longest_ns(workload.pcpus.size + len(injections))
    if end > longest:
        raise injections[0].wrong(f"the recording ends after {end} ns; with so many pCPUs it may last {longest} ns")
    programs, about = {}, []
    for injection, pcpu in zip(injections, _own_pcpus(workload, injections), strict=True):
        kind, every, start = KINDS[injection.kind], injection.number("every"), injection.number("start")
        if start > end:
            raise injection.wrong(f"the recording ends after {end} ns, before start")
        periods = (end - start) // every + 1
        left -= 1 + periods * (2 + kind.rows(injection))
        if left < 0:
            raise injection.wrong(f"expected {MOST_ROWS:,} rows at most; in {end} ns there are {periods:,} periods")
        work = kind.makes(injection, workload, periods)
        programs[pcpu] = periodic_program(workload, work.rows, start_ns=start, every_ns=every, periods=periods)
        about.append(f"{injection.text}: {work.about}, on pCPU {pcpu}")
    return with_programs(workload, programs), tuple(about)


def _own_pcpus(workload: Workload, injections: Sequence[Injection]) -> list[int]:
    """Return a pCPU for each: the one that it names, else the lowest that is left."""
    taken = set(workload.pcpus.tolist())
    for injection in injections:
        pcpu = injection.parts["pcpu"]
        if pcpu in taken:
            raise injection.wrong(f"pcpu={pcpu}: expected one that neither the recording nor another --inject has")
        taken |= set() if pcpu is None else {pcpu}
    free = (pcpu for pcpu in range(HIGHEST_PCPU + 1) if pcpu not in taken)
    pcpus = []
    for injection in injections:
        pcpu = injection.parts["pcpu"] if injection.parts["pcpu"] is not None else next(free, None)
        if pcpu is None:
            raise injection.wrong("the recording has all pCPUs that there can be")
        pcpus.append(pcpu)
    return pcpus
