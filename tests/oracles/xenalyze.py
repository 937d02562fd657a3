"""``xenalyze -a``: its dump taken apart, and the order in which it reads a file.

A dump has a line per record (CPU_CHANGE, WRAP_BUFFER and ids unknown to it excepted) between lines of commentary, which
are dropped here::

    ]  0.000039865 .x d7v1 vmexit exit_reason VMEXIT_MSR eip ffffffff81075059
    mark, time, pCPUs with an x at this one, who is running there, text

The time counts from the first TSC that it met and is blank up to there. ``d32768`` stands for a vCPU that it does not
know yet, and ``d?v?`` for nobody.
"""

from __future__ import annotations

import re

import polars as pl

from tests.oracles.struct_reader import CPU_CHANGE, WRAP_BUFFER

_LINE = r"^.(?: {14}| *(\d+)\.(\d{9})) ([ .x|l-]+) d(\d+|\?)v(\d+|\?)(?: (.*))?$"
_UNKNOWN_DOMAIN = "32768"

LAPIC_STOP_TIMER = 0x84008

UNPRINTED = [CPU_CHANGE, WRAP_BUFFER, LAPIC_STOP_TIMER]
"""Events without a line. xenalyze 4.17 does not know the timers that HVM emulates, and only comments on them."""

CPU_HZ = 2_596_121_000
"""The ``--cpu-hz`` that the dumps beside the recordings were made with."""


def read_dump(dump: bytes) -> pl.DataFrame:
    """Return the record lines of a dump: ``time_ns?, pcpu, run_dom?, run_vcpu?, text``."""
    parts = pl.Series("line", dump.decode("ascii").splitlines()).str.extract_groups(_LINE).struct.unnest()
    seconds, fraction, pcpus, dom, vcpu, text = (pl.col(name) for name in parts.columns)
    known = dom.is_in(["?", _UNKNOWN_DOMAIN]).not_()
    return parts.filter(text.is_not_null()).select(
        time_ns=(seconds + fraction).cast(pl.Int64),
        pcpu=pcpus.str.find("x", literal=True).cast(pl.UInt16),
        run_dom=pl.when(known).then(dom).cast(pl.UInt16),
        run_vcpu=pl.when(known).then(vcpu).cast(pl.UInt16),
        text=text,
    )


def printed_time_ns(records: pl.DataFrame, hz: int) -> pl.Series:
    """Return the time that a dump made with ``--cpu-hz`` shows for each of ``records``, which come in its order.

    xenalyze counts in units of 1e9 / 1024 Hz, rounded down, so its seconds are a little longer than real ones.
    """
    timed = pl.when("timed").then("tsc")
    own = timed.forward_fill().over("pcpu")
    elapsed = own - timed.drop_nulls().first()
    return records.select(pl.when(elapsed > 0).then(elapsed * 1024 // (hz * 1024 // 10**9))).to_series()


def reactivations(stderr: str) -> list[tuple[int, int]]:
    """Return ``(pcpu, offset)`` wherever xenalyze took up a pCPU once more, having read it to the end."""
    taken_up = [
        (int(pcpu), int(offset)) for pcpu, offset in re.findall(r": Activating pcpu (\d+) at offset (\d+)", stderr)
    ]
    return [taken for i, taken in enumerate(taken_up) if taken[0] in {pcpu for pcpu, _ in taken_up[:i]}]
