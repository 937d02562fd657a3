"""What a result says of itself: its recording, its options, and everything that it rests on besides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eptreplay.replay.plan import UNSEEN, Plan
from eptreplay.replay.recorded import Taken
from eptreplay.replay.unknown import consequences
from eptreplay.trace.summary import Document
from eptreplay.workload.calls import calls_document
from eptreplay.workload.schema import ASSUMED, INTERPOLATED, MISCONFIG, SYNTHETIC
from eptreplay.workload.workload import Workload, shares_document

_OF_TRACE = ("sources", "records", "bytes_decoded", "bytes_skipped", "damage", "damage_total", "lost_records")
"""What a result says of its recording, so that damage can be told without it."""


def manifest_of(
    source: Document, workload: Workload, wanted: Plan, taken: Taken | None, injected: Sequence[str]
) -> dict[str, Any]:
    """Return what the manifest of a result says besides its tables."""
    return {
        "source": source["source"],
        "sources": source["sources"],
        "trace": {name: source[name] for name in _OF_TRACE},
        "options": {
            "strategies": [subject.label for subject in wanted.subjects if subject.preset is None],
            "presets": [subject.label for subject in wanted.subjects if subject.preset],
            "locks": wanted.locks,
            "profiles": [profile.name for profile in wanted.profiles],
            "seeds": list(wanted.seeds),
            "unseen": wanted.unseen,
            "detail": wanted.detail,
            "paths": wanted.paths,
            "recorded_as": wanted.recorded.label if wanted.recorded else None,
            "recorded_on": wanted.recorded.profile.name if wanted.recorded else None,
            "inject": [injection.text for injection in wanted.injections],
            "think_scale": wanted.think_scale,
        },
        "assumptions": assumptions(source, workload, wanted, taken, injected),
    }


def assumptions(
    source: Document, workload: Workload, wanted: Plan, taken: Taken | None, injected: Sequence[str]
) -> dict[str, Any]:
    """Return everything that a result rests on besides its recording.

    ``taken``: from its gaps; ``injected``: in words, what was added to it.
    """
    assumed = int((workload.present("present") != workload.present("absent")).sum())
    return {
        "tsc_hz": source["tsc_hz"],
        "tsc_skew": workload.skew and workload.skew.document(),
        "xen": source["xen"],
        "vendor": source["vendor"],
        "paths": wanted.paths,
        "presets": list(wanted.presets),
        "locks": wanted.locks,
        "profiles": [
            {
                "name": profile.name,
                "sourced": sum(number.source is not None for number in profile.numbers.values()),
                "assumed": sum(number.assumed is not None for number in profile.numbers.values()),
            }
            for profile in wanted.profiles
        ],
        "seeds": list(wanted.seeds),
        "recorded": _recorded(workload, wanted, taken),
        "think_scale": wanted.think_scale,
        "injected": list(injected),
        "calls": calls_document(workload),
        "misconfigs": _misconfigs(workload),
        "unseen": {"as": wanted.unseen or UNSEEN[0], "how": "given" if wanted.unseen else "assumed", "rows": assumed},
        "domains": [
            {
                "domain": domain.number,
                "guest_mode": domain.has_guest_mode,
                "how": "assumed" if domain.assumed else "seen",
                "created": domain.created,
            }
            for domain in workload.domains
        ],
        "rules": shares_document(workload.shares),
        "interpolated_share": _share(workload),
        "damage": source["damage_total"],
        "missing": source["missing"],
        "consequences": consequences(workload.facts),
        "not_modelled": list(NOT_MODELLED),
    }


NOT_MODELLED = (
    "entries from before the recording are known only where it tells of them, and ept_stores counts only those",
    "nothing reacts to time or staleness: a guest writes no less, and a stale entry causes no further fault",
)
"""What this version's replay leaves out, in every result."""


def _recorded(workload: Workload, wanted: Plan, taken: Taken | None) -> dict[str, Any] | None:
    """Return what ran while recording, what was taken out for that, and how many of its interrupts were left out."""
    if wanted.recorded is None or taken is None:
        return None
    strategy, lock, profile, label = wanted.recorded
    return {
        "as": label,
        "strategy": strategy.name,
        "lock": lock,
        "profile": profile.name,
        "kicks_removed": workload.kicks_removed,
        "shortened_rows": taken.rows,
        "shortened_ns": taken.ns,
        "clamped_rows": taken.clamped,
        "clamped_ns": taken.clamped_ns,
    }


def _misconfigs(workload: Workload) -> dict[str, int]:
    """Return how many recalculations there are: on EPT, those that only NPT has, and those of which nobody knows."""
    every = workload.op == MISCONFIG
    doubtful = every & (workload.old_known == ASSUMED)
    npt = every & (workload.count == 0)
    return {"ept": int((every & ~doubtful & ~npt).sum()), "npt_only": int(npt.sum()), "doubtful": int(doubtful.sum())}


def _share(workload: Workload) -> float:
    """Return the share of interpolated rows among those that come from the recording."""
    told = workload.time_origin[workload.origin != SYNTHETIC]
    return round(float((told == INTERPOLATED).mean()), 4) if told.size else 0.0
