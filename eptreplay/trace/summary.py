"""What a recording is: its counts, span, frequency, release, damage, lacks. The document of ``eptreplay info``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eptreplay.trace.frequency import Frequency, estimate_frequency, given_frequency
from eptreplay.trace.lacks import invisible_writes, missing_classes
from eptreplay.trace.schema import SCHEMA_VERSION
from eptreplay.xentrace import state as st
from eptreplay.xentrace.damage import NAMES, describe
from eptreplay.xentrace.reader import Batch, Reader
from eptreplay.xentrace.release import Release, given_release, infer_release, infer_vendor
from eptreplay.xentrace.table import slot_events

Document = dict[str, Any]

DAMAGE_LISTED = 1000
"""Damaged spots listed one by one; all of them are counted, and are rows of ``damage.parquet``."""


@dataclass(frozen=True)
class Assumptions:
    """What the caller says about a recording; None where it should be found out."""

    xen: Release | None = None
    tsc: Frequency | None = None

    @classmethod
    def given(cls, xen: str | None, tsc_hz: int | None) -> Assumptions:
        """Check and wrap what the user gave; raises UsageError."""
        return cls(given_release(xen) if xen else None, given_frequency(tsc_hz) if tsc_hz is not None else None)


@dataclass
class DamageLog:
    """Collects damaged spots from batches, in bounded memory."""

    spots: list[Document] = field(default_factory=list)
    count: int = 0
    windows: int = 0

    def add(self, batch: Batch) -> None:
        """Enter the windows and the damage of a batch; lost records are no damage."""
        self.windows += batch.windows.offset.size
        damages = batch.damages
        rows = np.flatnonzero(damages.reason != st.LOST)
        self.count += rows.size
        for i in rows[: max(0, DAMAGE_LISTED - len(self.spots))]:
            offset, reason, pcpu = int(damages.offset[i]), int(damages.reason[i]), int(damages.pcpu[i])
            self.spots.append(
                {
                    "source": batch.source,
                    "offset": offset,
                    "bytes": int(damages.bytes[i]),
                    "pcpu": None if pcpu == st.UNKNOWN else pcpu,
                    "reason": NAMES[reason],
                    "message": describe(offset, reason, int(damages.word[i])),
                }
            )


def summarise(reader: Reader, log: DamageLog, assumptions: Assumptions, *, with_p2m: bool = True) -> Document:
    """Return the document of ``info`` for a recording that ``reader`` has read to its end."""
    totals = reader.tally.totals
    events = _event_counts(reader)
    release = assumptions.xen or infer_release(reader.tally)
    tsc = assumptions.tsc or estimate_frequency(reader.tally.samples[:, : reader.cursor[st.SAMPLES]])
    vendor = infer_vendor(reader.tally)
    has_time = totals[st.TSC_HIGH] >= 0
    span = int(totals[st.TSC_HIGH] - totals[st.TSC_LOW]) if has_time else None
    sources = [{"name": s.name, "bytes": s.bytes, "sha256": s.sha256} for s in reader.sources]
    timed = int(reader.pcpus.timed.sum())
    return {
        "schema": SCHEMA_VERSION,
        "source": sources[0],
        "sources": sources,
        "records": reader.records,
        "windows": log.windows,
        "pcpus": np.flatnonzero(reader.pcpus.records).tolist(),
        "events": {f"0x{event:07x}": count for event, count in events.items()},
        "first_tsc": int(totals[st.TSC_LOW]) if has_time else None,
        "span_ticks": span,
        "span_ns": None if span is None else tsc.to_ns(span),
        "timed_records": timed,
        "tsc_hz": {"value": tsc.value, "how": tsc.how, "spread": tsc.spread},
        "tsc_steps_back": {"count": int(totals[st.TSC_STEPS_BACK]), "max_ticks": int(totals[st.TSC_STEP_BACK_MAX])},
        "xen": {"layout": release.layout, "how": release.how},
        "vendor": vendor,
        "bytes_decoded": int(totals[st.DECODED]),
        "bytes_skipped": int(totals[st.SKIPPED]),
        "damage": log.spots,
        "damage_total": log.count,
        "lost_records": int(totals[st.LOST_COUNT]),
        "p2m": _p2m(reader, vendor) if with_p2m else None,
        "missing": missing_classes(events, timed=timed, lost=int(totals[st.LOST_COUNT])),
    }


def _event_counts(reader: Reader) -> dict[int, int]:
    """Return the number of records by event id, ascending."""
    slots = np.flatnonzero(reader.tally.events)
    pairs = zip(slot_events()[slots].tolist(), reader.tally.events[slots].tolist(), strict=True)
    return dict(sorted(pairs))


def _p2m(reader: Reader, vendor: str | None) -> Document:
    domains = np.flatnonzero(reader.tally.sets)
    recorded = int(reader.tally.sets.sum())
    return {
        "sets": recorded,
        "by_domain": {str(d): int(reader.tally.sets[d]) for d in domains},
        "recorded": recorded,
        "inferred": None,
        "invisible": invisible_writes(vendor, recorded),
    }
