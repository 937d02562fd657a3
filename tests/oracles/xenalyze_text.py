"""What ``xenalyze -a`` prints for a record, worked out from the record's own words.

A ``...`` in a text stands for what depends on other records (cycles since the last exit) and for names that only repeat
a number that has been printed already.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import starmap

import polars as pl

GAP = "..."
WORDS = [f"w{i}" for i in range(7)]
RUNSTATES = ["running", "runnable", "blocked", "offline"]
SVM_EXITS = {
    0x14: "CR4_WRITE",
    0x47: "EXCEPTION_NM",
    0x60: "INTR",
    0x64: "VINTR",
    0x6E: "RDTSC",
    0x72: "CPUID",
    0x78: "HLT",
    0x7B: "IOIO",
    0x7C: "MSR",
    0x81: "VMMCALL",
    0x400: "NPF",
}


def u64(low: int, high: int) -> int:
    """Return the 64-bit value in two words."""
    return high << 32 | low


def i32(word: int) -> int:
    """Return a word as a signed number."""
    return word - (word >> 31 << 32)


def dv(word: int) -> str:
    """Name the vCPU in a word that has the domain in its high half."""
    return f"d{word >> 16}v{word & 0xFFFF}"


def do(word: int) -> str:
    """Name domain and order in a word that has the order in its high half."""
    return f"d{word & 0xFFFF} o{word >> 16}"


def us(ns: int) -> str:
    """Write nanoseconds as xenalyze does: microseconds, a point, and the rest without leading zeros."""
    return f"{ns // 1000}.{ns % 1000}us"


def load(value: int, shift: int) -> str:
    """Write a credit2 load, a fixed-point number with ``shift`` bits behind the point."""
    return f"{100 * value / (1 << shift):.3f}% ({value})"


def runstate_change(old: int, new: int) -> Callable[..., str]:
    """Return the text of a change between two runstates."""
    return lambda vcpu, *_: f"runstate_change {dv(vcpu)} {RUNSTATES[old]}->{RUNSTATES[new]}"


def time_slice(ns: int) -> str:
    """Write how long the vCPU may run; the idle vCPU has a negative slice, and nothing is printed."""
    return f", next slice {us(ns)}" if i32(ns) >= 0 else ""


TEXTS: dict[int, Callable[..., str]] = {
    0x1F001: lambda n, vcpu, lo, hi, *_: f"lost_records count {n} d{vcpu & 0xFFFF}v{vcpu >> 16} (cur ... {u64(lo, hi)}",
    0x21002: lambda vcpu, *_: f"runstate_continue {dv(vcpu)} running->running",
    **{0x21001 | old << 8 | new << 4: runstate_change(old, new) for old in range(4) for new in range(4)},
    0x22002: lambda d, v, n, *_: f"csched:acct_start d{d}v{v}, active_vcpus {n}",
    0x22003: lambda d, v, n, *_: f"csched:acct_stop d{d}v{v}, active_vcpus {n}",
    0x22004: lambda cpu, d, v, *_: f"csched:stolen_vcpu d{d}v{v} from cpu {cpu}",
    0x22005: lambda d, v, cpu, *_: f"csched:pick_cpu {cpu} for d{d}v{v}",
    0x22006: lambda cpu, *_: f"csched:runq_tickle, cpu {cpu}",
    0x22007: lambda d, v, *_: f"csched: d{d}v{v} boosted",
    0x22008: lambda d, v, *_: f"csched: d{d}v{v} unboosted",
    0x22009: lambda cpu, *_: f"csched:schedule cpu {cpu & 0xFFFF}, {'idle' if cpu >> 24 else 'busy'}",
    0x2200A: lambda vcpu, ns, *_: f"csched:ratelimit, {dv(vcpu)} run only {us(ns)}",
    0x2200B: lambda cpu, check, *_: f"csched:load_balance {'checking' if check else 'skipping'} {cpu}",
    0x22202: lambda vcpu, position, *_: f"csched2:runq_insert {dv(vcpu)}, position {position}",
    0x22203: lambda vcpu, credit, _budget, delta, *_: (
        f"csched2:burn_credits {dv(vcpu)}, credit = {i32(credit)}, delta = {i32(delta)}"
    ),
    0x22205: lambda vcpu, credit, score, *_: (
        f"csched2:tickle_check {dv(vcpu)}, credit = {i32(credit)}, score = {i32(score)}"
    ),
    0x22206: lambda cpu, *_: f"csched2:runq_tickle cpu {cpu}",
    0x22207: lambda vcpu, start, end, *_: (
        f"csched2:reset_credits {dv(vcpu)}, credit_start = {i32(start)}, credit_end = {i32(end)}"
    ),
    0x22208: lambda *_: "csched2:sched_tasklet",
    0x22209: lambda *_: "csched2:update_load",
    0x2220A: lambda vcpu, queue, *_: f"csched2:runq_assign {dv(vcpu)} on rq# {queue & 0xFFFF}",
    0x2220B: lambda lo, hi, vcpu, shift, *_: (
        f"csched2:update_vcpu_load {dv(vcpu)}, vcpu_load = {load(u64(lo, hi), shift & 0xFF)}"
    ),
    0x2220C: lambda lo, hi, b_lo, b_hi, queue, *_: (
        f"csched2:update_rq_load rq# {queue >> 16 & 0xFF}, load = {queue & 0xFFFF}, "
        f"avgload = {load(u64(lo, hi), queue >> 24)}, b_avgload = {load(u64(b_lo, b_hi), queue >> 24)}"
    ),
    0x2220D: lambda vcpu, cpu, credit, *_: (
        f"csched2:runq_tickle_new {dv(vcpu)}, processor = {cpu}, credit = {i32(credit)}"
    ),
    0x2220E: lambda weight, *_: f"csched2:update_max_weight rq# {weight & 0xFFFF}, max_weight = {weight >> 16}",
    0x22213: lambda _lo, _hi, vcpu, cpu, *_: f"csched2:picked_cpu {dv(vcpu)}, rq# {cpu & 0xFFFF}, cpu {cpu >> 16}",
    0x22214: lambda vcpu, tickled, credit, *_: (
        f"csched2:runq_candidate {dv(vcpu)}, credit = {i32(credit)}, "
        + ("no cpu was tickled" if i32(tickled) < 0 else f"cpu {tickled} was tickled")
    ),
    0x22215: lambda cpu, *_: f"csched2:schedule cpu {cpu & 0xFFFF}, rq# {cpu >> 16}, ...",
    0x22216: lambda vcpu, ns, *_: f"csched2:ratelimit, {dv(vcpu)} run only {us(ns)}",
    0x22217: lambda vcpu, *_: f"csched2:runq_cand_check {dv(vcpu)}",
    0x28001: lambda d, *_: f"sched_init_domain d{d}",
    0x28002: lambda d, *_: f"sched_destroy_domain d{d}",
    0x28003: lambda d, v, *_: f"vcpu_sleep d{d}v{v}",
    0x28004: lambda d, v, *_: f"vcpu_wake d{d}v{v}",
    0x28005: lambda d, v, *_: f"vcpu_yield d{d}v{v}",
    0x28006: lambda d, v, *_: f"vcpu_block d{d}v{v}",
    0x28007: lambda d, v, reason, *_: f"sched_shutdown d{d}v{v}, reason = {reason}",
    0x28009: lambda d, *_: f"sched_adjust d{d}",
    0x2800A: lambda d, v, next_d, next_v, *_: f"sched_switch prev d{d}v{v} next d{next_d}v{next_v}",
    0x2800E: lambda d, v, ns, *_: f"sched_switch prev d{d}v{v}, run for {us(ns)}",
    0x2800F: lambda d, v, since, ns, *_: f"sched_switch next d{d}v{v}, was runnable for {us(since)}{time_slice(ns)}",
    0x28011: lambda d, v, ran, ns, *_: f"sched_switch continue d{d}v{v}, run for {us(ran)}{time_slice(ns)}",
    0x81001: lambda *_: "vmentry...",
    0x81102: lambda reason, lo, hi, *_: f"vmexit exit_reason VMEXIT_{SVM_EXITS.get(reason)} eip {u64(lo, hi):x}",
    0x82004: lambda vector, fake, *_: f"inj_virq vec {vector}  {'fake' if fake else 'real'}",
    0x8200C: lambda number, lo, hi, *_: f"msr_read addr {number:x} val {u64(lo, hi):x}",
    0x8200D: lambda number, lo, hi, *_: f"msr_write addr {number:x} val {u64(lo, hi):x}",
    0x8200E: lambda leaf, subleaf, a, b, c, d, _: f"cpuid [ {leaf:x} {subleaf:x} {a:x} {b:x} {c:x} {d:x} ]",
    0x8200F: lambda vector, *_: f"intr vec {vector}",
    0x82012: lambda number, *_: f"vmcall {number:2x} (...",
    0x82013: lambda pending, *_: f"hlt [ {pending:x} ]",
    0x82016: lambda port, value, *_: f"io read port {port:x} val {value:x}",
    0x8201A: lambda lo, hi, *_: f"rdtsc {u64(lo, hi):x} {u64(lo, hi)} ",
    0x82020: lambda vector, source, pending, *_: (
        f"intr_window vec {vector} src {source}(lapic) intr " + ("#" if i32(pending) < 0 else f"{pending:x}")
    ),
    0x82021: lambda g_lo, g_hi, m_lo, m_hi, qualification, p2mt, _: (
        f"npf gpa {u64(g_lo, g_hi):x} q {qualification:x} mfn {u64(m_lo, m_hi):x} t {p2mt}"
    ),
    0x82109: lambda number, lo, hi, *_: f"cr_write cr{number} val {u64(lo, hi):x}",
    0x82216: lambda port, value, *_: f"io write port {port:x} val {value:x}",
    0x10F001: lambda d, *_: f"grant-map domain {d}",
    0x10F002: lambda d, *_: f"grant-unmap domain {d}",
    0x10F004: lambda g_lo, g_hi, m_lo, m_hi, p2mt, domain, _: (
        f"set_p2m_entry {do(domain)} t {p2mt} g {u64(g_lo, g_hi):x} m {u64(m_lo, m_hi):x}"
    ),
    0x10F005: lambda lo, hi, domain, *_: f"decrease_reservation {do(domain)} g {u64(lo, hi):x}",
    0x10F010: lambda g_lo, g_hi, m_lo, m_hi, domain, *_: (
        f"pod_populate {do(domain)} g {u64(g_lo, g_hi):x} m {u64(m_lo, m_hi):x}"
    ),
    0x10F011: lambda g_lo, g_hi, m_lo, m_hi, domain, *_: (
        f"pod_zero_reclaim {do(domain)} g {u64(g_lo, g_hi):x} m {u64(m_lo, m_hi):x} ctx ..."
    ),
    0x201008: lambda *_: "math state restore",
    0x20100D: lambda op, *_: f"hypercall {op & 0xFFFFF:2x} (...",
    0x201104: lambda a, b, c, d, e, *_: f"page_fault[ {a:x} {b:x} {c:x} {d:x} {e:x} ]",
    0x201105: lambda lo, hi, *_: f"forced_invalid_op[ {lo:x} {hi:x} ]",
    0x201106: lambda lo, hi, *_: f"emulate privop[ {lo:x} {hi:x} ]",
    0x20110B: lambda p_lo, p_hi, a_lo, a_hi, e_lo, e_hi, _: (
        f"ptwr l1e {u64(p_lo, p_hi):x} eip {u64(e_lo, e_hi):x} addr {u64(a_lo, a_hi):x}"
    ),
    0x20200E: lambda op, *_: f" hypercall {op & 0xFFFFF:2x} (...",
    0x802008: lambda irq, start, end, *_: (
        f"irq_handled irq {irq:x} {i32(end - start & 0xFFFFFFFF)} ({i32(start)},{i32(end)})"
    ),
}
"""Every event in the recordings, by id. Words absent from a record count as 0."""


def texts(records: pl.DataFrame) -> pl.Series:
    """Return the expected text of each record."""
    words = records.select(pl.col(WORDS).fill_null(0))
    parts = []
    for (event,), rows in records.select("event", *words).with_row_index().partition_by("event", as_dict=True).items():
        text = TEXTS.get(event, lambda *_: "an event that the recordings do not have")
        parts.append(rows.select("index", text=pl.Series(starmap(text, rows.select(WORDS).rows()))))
    return pl.concat(parts).sort("index")["text"]


def mismatches(records: pl.DataFrame, printed: pl.Series) -> pl.DataFrame:
    """Return those of ``records`` for which xenalyze printed something else, with the columns ``expected, printed``."""
    begin, end = (pl.col("expected").str.splitn(GAP, 2).struct.field(f"field_{i}").fill_null("") for i in range(2))
    partly = pl.col("printed").str.starts_with(begin) & pl.col("printed").str.ends_with(end)
    agree = (
        pl.when(pl.col("expected").str.contains(GAP, literal=True)).then(partly).otherwise(begin == pl.col("printed"))
    )
    return records.with_columns(expected=texts(records), printed=printed).filter(agree.not_())
