"""Result tables have the columns that they were promised to have, by these names and in this order."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from eptreplay.causes import CAUSES
from eptreplay.replay import replay
from eptreplay.replay.schema import RESULT_TABLES, result_schema
from eptreplay.workload.schema import workload_schema
from tests.replay.results import Guest
from tests.trace.made_recordings import GHZ, dataset

CONTRACT = {
    "runs": """run preset strategy lock profile seed recorded_as p2m_sets p2m_sets_recorded p2m_sets_inferred ept_stores
        holds syncs broadcasts broadcasts_min broadcasts_max broadcasts_under_lock ipis invepts vmenters vmenter_invepts
        hold_ns_total hold_ns_p50 hold_ns_p90 hold_ns_p99 hold_ns_p999 hold_ns_max
        write_wait_ns_total write_wait_ns_p50 write_wait_ns_p99 write_wait_ns_max
        read_wait_ns_total read_wait_ns_p50 read_wait_ns_p99 read_wait_ns_max
        op_latency_ns_p50 op_latency_ns_p99 op_latency_ns_max post_unlock_wait_ns_total call_lock_wait_ns_total
        lock_utilisation call_lock_utilisation guest_stolen_ns watchdog_fired watchdog_at_ns
        violations_p1 violations_p2 violations_p3 violations_p4 violations_p5
        exposures_p1 exposures_p2 exposures_p3 exposures_p4 exposures_p5 stale_ns_p50 stale_ns_p99 stale_ns_max
        assumed_rows interpolated_rows clamped_rows simulated_ns""",
    "causes": """run p2m_dom cause holds hold_ns_total p2m_sets p2m_sets_recorded p2m_sets_inferred ept_stores syncs
        broadcasts ipis invepts guest_stolen_ns""",
    "pcpus": "run pcpu guest_ns xen_ns irqoff_ns spin_ns idle_ns unknown_ns ipis_received invepts drift_ns",
    "holds": """run hold pcpu run_dom p2m_dom p2m_view cause t_request_ns t_acquire_ns t_release_ns sets broadcasts""",
    "broadcasts": """run broadcast hold pcpu p2m_dom cause under_lock t_request_ns t_locked_ns t_sent_ns t_done_ns
        targets slowest_pcpu""",
    "acks": "run broadcast pcpu mode t_deliver_ns t_ack_ns",
    "invepts": "run pcpu t_ns p2m_dom where",
    "modes": "run pcpu mode t0_ns t1_ns",
    "timeline": """run t0_ns t1_ns holds hold_ns_total p2m_sets p2m_sets_recorded p2m_sets_inferred ept_stores syncs
        broadcasts ipis invepts guest_stolen_ns""",
    "lookups": "run pcpu p2m_dom count wait_ns_total wait_ns_max elapsed_ns",
}
WORKLOAD = """pcpu seq gap_ns op run_dom run_vcpu p2m_dom p2m_view hold gfn order mfn old_type old_known new_type cause
    origin time_origin preemptible count edge"""
CONTRACT_CAUSES = """logdirty_fault pod_fault spurious misconfig populate decrease physmap grant foreign
    logdirty_global pml pod_reclaim mem_access other"""


@pytest.mark.parametrize("table", CONTRACT)
def test_columns(table: str) -> None:
    names = CONTRACT[table].split()
    assert result_schema(table).names[: len(names)] == names
    assert set(CONTRACT) == set(RESULT_TABLES)


def test_the_workload_begins_with_its_columns_and_may_have_more() -> None:
    names = WORKLOAD.split()
    assert workload_schema().names[: len(names)] == names


def test_causes_keep_their_numbers() -> None:
    assert list(CAUSES) == CONTRACT_CAUSES.split()


@pytest.mark.parametrize("detail", ["summary", "full"])
def test_files_have_what_the_schema_says(tmp_path: Path, detail: str) -> None:
    made = dataset(tmp_path, Guest(0, 1).busy(0, 1).trace, events="ept", tsc_hz=GHZ)
    manifest = replay(made, tmp_path / "result", detail=detail)
    expected = {"runs", "causes", "timeline", "pcpus", "lookups", "workload"} | (
        {"holds", "broadcasts", "acks", "invepts", "modes"} if detail == "full" else set()
    )
    assert set(manifest["tables"]) == expected
    assert {path.name for path in (tmp_path / "result").iterdir()} == {
        "manifest.json",
        *(f"{name}.parquet" for name in expected),
    }
    for name in expected:
        found = pq.read_table(tmp_path / "result" / f"{name}.parquet")
        assert found.schema == (workload_schema() if name == "workload" else result_schema(name))
        assert found.num_rows > 0 or name == "lookups"
        for field in found.schema:
            assert field.nullable or not found[field.name].null_count, (name, field.name)
            if field.name.endswith("_ns"):
                assert str(field.type) == "int64"
