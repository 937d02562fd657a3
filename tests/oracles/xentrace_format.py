"""``xentrace_format``: its lines taken apart, and what it should show for a record.

It writes a line per record in file order: pCPU, TSC (0 without one), ticks since the last TSC of that pCPU, a name, and
some of the words, here joined, there masked, as a table tells it for each event::

    CPU0  1178858559820 (+   94432)  switch_infprev    [ dom:vcpu = 0x00030001, runtime = 882063 ]

Words that a record lacks are 0. The labels are left aside here: the *values* of a line are what stands behind each
``=``, or every hexadecimal number where there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import starmap

import polars as pl

_LINE = r"^CPU(\d+)  (\d+) \(\+ *(\d+)\)  (.*)$"
_NAME = r"^ *([^\[(0]*[^\[(0 ])"
_VALUE = r"= *([0-9a-fx]+)|0x([0-9a-f]{8,})"
_WORDS = [f"w{i}" for i in range(7)]

Values = Callable[..., str]


def read_lines(text: bytes) -> pl.DataFrame:
    """Return ``pcpu, tsc, ticks, name, values`` of every line; ``tsc`` is null where it writes 0, values are joined."""
    parts = pl.Series("line", text.decode("ascii").splitlines()).str.extract_groups(_LINE).struct.unnest()
    pcpu, tsc, ticks, rest = (pl.col(name) for name in parts.columns)
    return parts.select(
        pcpu=pcpu.cast(pl.UInt16),
        tsc=tsc.replace("0", None).cast(pl.Int64),
        ticks=ticks.cast(pl.Int64),
        name=rest.str.extract(_NAME),
        values=rest.str.extract_all(_VALUE).list.join(" ").str.replace_all("= *", ""),
    )


def expected_lines(records: pl.DataFrame) -> pl.DataFrame:
    """Return what ``read_lines`` should find for ``records``, which come in file order."""
    own = pl.when("timed").then("tsc")
    words = records.select(pl.col(_WORDS).fill_null(0)).rows()
    shown = [_SHOWN.get(event, _unknown(event)) for event in records["event"]]
    return records.select(
        "pcpu",
        tsc=own,
        ticks=(own - own.forward_fill().shift(1).over("pcpu")).fill_null(0),
        name=pl.Series([name for name, _ in shown], dtype=pl.String),
        values=pl.Series([values(*w) for (_, values), w in zip(shown, words, strict=True)], dtype=pl.String),
    )


def _unknown(event: int) -> tuple[str, Values]:
    return "unknown", lambda *words: " ".join(starmap("0x{:0{}x}".format, [(event, 16), *((w, 8) for w in words)]))


def _word(name: str) -> tuple[str, Values]:
    return name, lambda word, *_: f"0x{word:08x}"


def _decimal(name: str) -> tuple[str, Values]:
    return name, lambda word, *_: f"{word}"


def _two_words(name: str) -> tuple[str, Values]:
    return name, lambda low, high, *_: f"0x{high:08x}{low:08x}"


def _vcpu(name: str) -> tuple[str, Values]:
    return name, lambda dom, vcpu, *_: f"0x{dom:04x}{vcpu:04x}"


def _nothing(name: str) -> tuple[str, Values]:
    return name, lambda *_: ""


_SHOWN: dict[int, tuple[str, Values]] = {
    0x1F001: _word("lost_records"),
    0x1F002: _word("wrap_buffer"),
    0x1F003: _word("cpu_change"),
    0x21002: _word("continue_running"),
    0x21011: _word("running_to_runnable"),
    0x21021: _word("running_to_blocked"),
    0x21031: _word("running_to_offline"),
    0x21101: _word("runnable_to_running"),
    0x21131: _word("runnable_to_offline"),
    0x21211: _word("blocked_to_runnable"),
    0x21311: _word("offline_to_runnable"),
    0x22002: ("csched:account_start", lambda d, v, active, *_: f"0x{d:04x}{v:04x} {active}"),
    0x22003: ("csched:account_stop", lambda d, v, active, *_: f"0x{d:04x}{v:04x} {active}"),
    0x22004: ("csched:stolen_vcpu", lambda cpu, d, v, *_: f"0x{d:04x}{v:04x} {cpu}"),
    0x22005: ("csched:picked_cpu", lambda d, v, cpu, *_: f"0x{d:04x}{v:04x} {cpu}"),
    0x22006: _decimal("csched:tickle"),
    0x22007: _vcpu("csched:boost"),
    0x22008: _vcpu("csched:unboost"),
    0x22009: ("csched:schedule", lambda cpu, *_: f"{cpu:08x}"),
    0x2200A: ("csched:ratelimit", lambda vcpu, ns, *_: f"0x{vcpu:08x} {ns}"),
    0x2200B: ("csched:steal_check", lambda cpu, check, *_: f"{cpu} {check}"),
    0x22202: ("csched2:runq_pos", lambda vcpu, position, *_: f"0x{vcpu:08x} {position}"),
    0x22203: ("csched2:credit burn", lambda vcpu, *w: f"0x{vcpu:08x} {w[0]} {w[1]} {w[2]}"),
    0x22206: _decimal("csched2:tickle"),
    0x22207: ("csched2:credit_reset", lambda vcpu, start, end, *_: f"0x{vcpu:08x} {start} {end}"),
    0x22209: _nothing("csched2:update_load"),
    0x2220B: ("csched2:updt_vcpu_load", lambda lo, hi, vcpu, shift, *_: f"0x{vcpu:08x} 0x{hi:08x}{lo:08x} {shift}"),
    0x2220C: ("csched2:updt_runq_load", lambda *w: f"0x{w[4]:08x} 0x{w[1]:08x}{w[0]:08x} 0x{w[3]:08x}{w[2]:08x}"),
    0x2220D: ("csched2:tickle_new", lambda vcpu, cpu, credit, *_: f"0x{vcpu:08x} {cpu} {credit}"),
    # RUNQ_CANDIDATE and SCHEDULE, shown with the names and words of the two events after them.
    0x22214: ("csched2:schedule", lambda cpu, flags, *_: f"0x{cpu:08x} {flags:08x}"),
    0x22215: ("csched2:ratelimit", lambda vcpu, ns, *_: f"0x{vcpu:08x} {ns}"),
    0x28001: _word("sched_add_domain"),
    0x28002: _word("sched_rem_domain"),
    0x28003: _vcpu("domain_sleep"),
    0x28004: _vcpu("domain_wake"),
    0x28006: _vcpu("do_block"),
    0x2800A: ("__enter_scheduler", lambda d, v, next_d, next_v, *_: f"0x{d:04x}{v:04x} 0x{next_d:04x}{next_v:04x}"),
    0x2800E: ("switch_infprev", lambda d, v, ns, *_: f"0x{d:04x}{v:04x} {ns}"),
    0x2800F: ("switch_infnext", lambda d, v, since, ns, *_: f"0x{d:04x}{v:04x} {since} {ns}"),
    0x28011: ("switch_infcont", lambda d, v, ran, ns, *_: f"0x{d:04x}{v:04x} {ran} {ns}"),
    0x81001: _nothing("VMENTRY"),
    0x81102: ("VMEXIT", lambda reason, lo, hi, *_: f"0x{reason:08x} 0x{hi:08x}{lo:08x}"),
    0x82004: ("INJ_VIRQ", lambda vector, fake, *_: f"0x{vector:02x} {fake}"),
    0x8200D: ("MSR_WRITE", lambda msr, lo, hi, *_: f"0x{msr:08x} 0x{hi:08x}{lo:08x}"),
    0x8200E: ("CPUID", lambda *w: " ".join(f"0x{word:08x}" for word in w[:5])),
    0x8200F: ("INTR", lambda vector, *_: f"0x{vector:02x}"),
    0x82012: _word("VMMCALL"),
    0x82013: _decimal("HLT"),
    0x8201A: _two_words("RDTSC"),
    0x82020: _word("INTR_WINDOW"),
    0x82021: ("NPF", lambda *w: f"0x{w[1]:08x}{w[0]:08x} 0x{w[3]:08x}{w[2]:08x} 0x{w[4]:04x} 0x{w[5]:04x}"),
    0x82109: ("CR_WRITE", lambda number, lo, hi, *_: f"{number} 0x{hi:08x}{lo:08x}"),
    0x10F001: _decimal("page_grant_map"),
    0x201008: _nothing("math_state_restore"),
    # It masks the bits that tell which arguments follow; for the same call within a multicall it does not.
    0x20100D: ("hypercall", lambda op, *_: f"0x{op & 0xFFFFF:08x}"),
    0x20200E: _word("hypercall"),
    0x201104: ("page_fault", lambda *w: f"0x{w[1]:08x}{w[0]:08x} 0x{w[3]:08x}{w[2]:08x} 0x{w[4]:08x}"),
    0x201105: _two_words("forced_invalid_op"),
    0x201106: _two_words("emulate_privop"),
    0x20110B: ("ptwr_emulation", lambda *w: f"0x{w[3]:08x}{w[2]:08x} 0x{w[5]:08x}{w[4]:08x} 0x{w[1]:08x}{w[0]:08x}"),
    0x802008: ("do_irq", lambda irq, start, end, *_: f"{irq} {start} {end}"),
}
"""Name and values of every event in the recordings that it knows; its table has no P2M, PoD and other newer events."""
