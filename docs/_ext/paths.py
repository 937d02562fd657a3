"""Generator on write paths: what each does, and what the executable specification counts for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from _ext.markdown import list_table
from eptreplay.model import Costs, Domain, Recording, Row, replay
from eptreplay.p2m_types import ACCESSES, RWX, TYPES
from eptreplay.strategies.registry import STRATEGIES
from eptreplay.workload.paths import ERAS, GROUPS, TODAY, Act, Era, Path, number_holds
from eptreplay.workload.paths.act import NESTED_VIEW

SHOWN = ("eager", "deferred", "deferred-2026")
"""Strategies whose counts are shown."""

BEFORE = "spurious"
"""The cause of what comes before a path; no path has it."""

SAME_IN_ROWS = (set(Act._fields) & set(Row._fields)) - {"op", "dom"}
NO_COST = Costs._make((0, 0, 0) if "Triple" in str(kind) else 0 for kind in Costs.__annotations__.values())._replace(
    cores_per_socket=1, threads_per_core=1, apic="x2apic-physical", weight=(1, 1, 1)
)

SIZES = {0: "", 9: " 2M", 18: " 1G"}


class Count(NamedTuple):
    """What a path costs by default."""

    holds: int
    sets: int
    stores: int
    under_lock: int
    after: int


def paths() -> str:
    """Return every path below the heading of its group."""
    parts = []
    for heading, group in GROUPS.items():
        parts.append(f"## {heading}")
        parts += [_path(path) for path in group]
    return "\n\n".join(parts)


def _path(path: Path) -> str:
    """Return what a path is, does and costs."""
    parameters = ", ".join(f"`{name} = {_value(name, default)}`" for name, default in path.parameters.items())
    found = (path.before.__doc__ or "").rstrip(".") if path.before else ""
    acts = "\n".join(lines(path.acts()))
    return "\n\n".join(
        [
            f"### {path.name}",
            f"{_code(path.summary)} In Xen: `{path.xen}`.",
            *([_code(path.about)] if path.about else []),
            f"Parameters: {parameters}." + (f" Before: {found[0].lower()}{found[1:]}." if found else ""),
            f"```text\n{acts}\n```",
            _counts(path),
        ]
    )


def _counts(path: Path) -> str:
    """Return what strategies cost, in the releases that differ."""
    rows = []
    for strategy in SHOWN:
        eras: dict[Count, list[str]] = {}
        for era in ERAS if path.depends_on_era else (TODAY,):
            eras.setdefault(count(path, strategy, era), []).append(era)
        for cost, same in eras.items():
            label = f" ({', '.join(same)})" if len(eras) > 1 else ""
            rows.append((f"`{strategy}`{label}", *map(str, cost)))
    return list_table(("strategy", "holds", "sets", "stores", "under a lock", "after"), rows, (35, 13, 13, 13, 13, 13))


def count(path: Path, strategy: str, era: Era = TODAY) -> Count:
    """Return what a path costs by default, where it finds what it is about, on a guest with one vCPU in guest mode."""
    before = [act._replace(cause=BEFORE) for act in (path.before() if path.before else ())]
    result = replay(_recording(before, path.acts(era)), STRATEGIES[strategy], NO_COST)
    measures = [measures for (_, cause), measures in result.measures.items() if cause != BEFORE]
    broadcasts = [broadcast.under_lock for broadcast in result.broadcasts if broadcast.cause != BEFORE]
    return Count(
        sum(x["holds"] for x in measures),
        sum(x["p2m_sets"] for x in measures),
        sum(x["ept_stores"] for x in measures),
        broadcasts.count(True),
        broadcasts.count(False),
    )


def _recording(before: Sequence[Act], acts: Sequence[Act]) -> Recording:
    """Return a recording in which a toolstack, on pCPU 0, does both, while each guest runs on a pCPU of its own."""
    doms = sorted({act.dom for act in acts})
    domains = {dom: Domain(dom, has_guest_mode=dom > 0, created=False) for dom in (0, *doms)}
    programs = {0: (0, (Row("SWITCH_IN", 0, 0, 0), *_rows(before, 1, 0), *_rows(acts, 10**6, 1)))}
    for dom in doms:
        programs[dom] = (10**6 * dom, (Row("SWITCH_IN", 0, dom, 0), Row("VMENTER", 0, dom)))
    return Recording(programs, domains, has_vm_entries=True)


def _rows(acts: Sequence[Act], first_hold: int, gap_ns: int) -> Iterator[Row]:
    """Yield acts as rows. Holds' numbers leave room, as draining a log may make as many holds as there are writes."""
    room = sum(act.count for act in acts) + 1
    for number, (hold, act) in enumerate(number_holds(acts)):
        yield Row(
            act.op,
            gap_ns if number == 0 else 0,
            dom=act.dom,
            p2m=None if act.op in {"PAUSE", "UNPAUSE"} else (act.dom, act.view),
            hold=None if hold is None else first_hold + room * hold,
        )._replace(**{name: getattr(act, name) for name in SAME_IN_ROWS})


def lines(acts: Iterable[Act]) -> Iterator[str]:
    """Yield acts, one a line; writes of the same kind side by side are one line."""
    depth = 0
    for (_, *_), similar in groupby(enumerate(acts), key=_kind):
        run = [act for _, act in similar]
        depth -= run[0].op in {"HOLD_END", "UNPAUSE"}
        yield "  " * depth + _line(run)
        depth += run[0].op in {"HOLD_BEGIN", "PAUSE"}


def _kind(numbered: tuple[int, Act]) -> tuple[object, ...]:
    """Return what is the same of acts that are shown in one line."""
    number, act = numbered
    if act.op != "SET" or act.gfn is None:
        return number, act
    return act._replace(gfn=act.gfn - (number << act.order), mfn=0)


def _line(run: Sequence[Act]) -> str:
    act = run[0]
    detail = {
        "HOLD_BEGIN": f"{_p2m(act)}, {act.cause}",
        "HOLD_END": _p2m(act),
        "PAUSE": f"d{act.dom}",
        "UNPAUSE": f"d{act.dom}",
        "CALL": _p2m(act),
    }.get(act.op, "")
    if act.op == "SET":
        detail = f"{_frames(run)}: {_type(act.old_type)} -> {_type(act.new_type)}{_access(act)}"
    elif act.op == "GLOBAL_CHANGE":
        what = "all" if act.gfn is None or act.last_gfn is None else f"{act.gfn:#x} .. {act.last_gfn:#x}"
        detail = f"{what}: {'memory types' if act.new_type is None else '-> ' + TYPES[act.new_type].name}"
    elif act.op in {"MISCONFIG", "POD_RECLAIM"}:
        detail = _frames(run)
    return f"{act.op} {detail}".rstrip()


def _p2m(act: Act) -> str:
    if act.view >= NESTED_VIEW:
        return f"d{act.dom} nested {act.view - NESTED_VIEW}"
    return f"d{act.dom} view {act.view}" if act.view else f"d{act.dom}"


def _frames(run: Sequence[Act]) -> str:
    first, last = run[0], run[-1]
    if first.gfn is None or last.gfn is None:
        return f"{first.count} unknown frames"
    several = f" .. {last.gfn:#x}" if len(run) > 1 else ""
    return f"{first.gfn:#x}{several}{SIZES[first.order]}"


def _type(number: int | None) -> str:
    return "table" if number is None else TYPES[number].name


def _access(act: Act) -> str:
    return "" if act.access == RWX else f", access {ACCESSES[act.access].name}"


def _value(name: str, value: object) -> str:
    """Return a default; types and accesses by name, frames as hexadecimal numbers."""
    if isinstance(value, bool) or not isinstance(value, int):
        items = ", ".join(_value(name, item) for item in value) if isinstance(value, tuple) else str(value)
        return f"({items})" if isinstance(value, tuple) else items
    if name in {"old", "new"}:
        return TYPES[value].name
    if name in {"access", "old_access"}:
        return ACCESSES[value].name
    return f"{value:#x}" if value >= 4096 else str(value)


def _code(text: str) -> str:
    return text.replace("``", "`")
