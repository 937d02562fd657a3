"""What a report rests on besides the recording, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eptreplay.report.units import duration
from eptreplay.workload.skew import skew_line
from eptreplay.workload.think import UNSCALED

MARKED_SHARE = 0.1
"""From this share of interpolated rows on quantiles are marked: they are as much the interpolation's as the host's."""
MARK = "~"
_TOLD = ("LOOKUP", "LOST", "SET")
"""Lacks that have no line among the consequences, and one of their own; that of lookups unless some are injected."""


def is_rough(assumptions: dict[str, Any]) -> bool:
    """Tell whether so many times are interpolated that quantiles are marked."""
    return bool(assumptions["interpolated_share"] > MARKED_SHARE)


def assumption_lines(assumptions: dict[str, Any]) -> list[str]:
    """Return one line for each thing that the numbers rest on."""
    tsc, xen, unseen = assumptions["tsc_hz"], assumptions["xen"], assumptions["unseen"]
    misconfigs = assumptions["misconfigs"]
    profiles = ", ".join(
        f"{p['name']} ({p['sourced']} sourced, {p['assumed']} assumed)" for p in assumptions["profiles"]
    )
    lines = [
        (
            f"TSC {tsc['value']} Hz ({tsc['how']}), layouts of Xen {xen['layout']} ({xen['how']}),"
            f" paths of Xen {assumptions['paths']}, p2m lock {', '.join(assumptions['locks'])},"
            f" profile {profiles}, seed {_seeds(assumptions['seeds'])}"
        )
    ]
    skew = skew_line(assumptions["tsc_skew"], tsc["value"])
    if skew:
        lines.append(f"TSC skew: {skew}")
    lines += [f"preset {line}" for line in assumptions["presets"]]
    lines += _given_lines(assumptions)
    if unseen["rows"]:
        lines.append(
            f"assumed: {unseen['rows']:,} writes to entries of which nothing tells what they were count as to"
            f" {unseen['as']} ones ({unseen['how']}); [ ] shows the broadcasts either way"
        )
    if misconfigs["doubtful"]:
        lines.append(
            f"assumed: of {sum(misconfigs.values()):,} NPT recalculations {misconfigs['ept']:,} would be EPT_MISCONFIG"
            f" exits; of {misconfigs['doubtful']:,} the frame is unknown, so that they may be, too: they are left out,"
            " and count in the upper bound in [ ] where a strategy broadcasts at such exits"
        )
    guessed = [
        f"d{d['domain']} {'HVM' if d['guest_mode'] else 'PV'}" for d in assumptions["domains"] if d["how"] == "assumed"
    ]
    if guessed:
        lines.append(f"assumed: {', '.join(guessed)}")
    if is_rough(assumptions):
        lines.append(
            f"{MARK}: {100 * assumptions['interpolated_share']:.0f} % of the rows have times spread between two"
            " records, so that these quantiles are rough"
        )
    lines += [f"missing: {line}" for line in assumptions["consequences"]]
    told = _TOLD[any(line.startswith("lookups") for line in assumptions["injected"]) :]
    lines += [f"missing: {line}" for line in assumptions["missing"] if line.startswith(told)]
    lines += [f"not modelled: {line}" for line in assumptions["not_modelled"]]
    return lines


def _given_lines(assumptions: dict[str, Any]) -> list[str]:
    """Return what was added to the recording, and taken from it, because the user, or another record, says so."""
    recorded, scale, calls = assumptions["recorded"], assumptions["think_scale"], assumptions["calls"]
    lines = []
    if recorded:
        lines.append(
            f"recorded as {recorded['as']}: {recorded['strategy']}, lock {recorded['lock']}, profile"
            f" {recorded['profile']}; what that cost, {duration(recorded['shortened_ns'])}, is taken out of"
            f" {recorded['shortened_rows']:,} gaps, of which {recorded['clamped_rows']:,} were too short, by"
            f" {duration(recorded['clamped_ns'])}; {recorded['kicks_removed']:,} of its interrupts are left out"
        )
    if scale != UNSCALED:
        lines.append(f"think time: gaps are multiplied by {scale:g}, but not those of idle pCPUs")
    lines += [f"injected: {line}" for line in assumptions["injected"]]
    if any(calls.values()):
        lines.append(
            f"inferred: {calls['vmcs_clears']:,} calls to clear a VMCS, {calls['calibrations']:,} to calibrate the time"
        )
    return lines


def _seeds(seeds: Sequence[int]) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
