"""The report says the same to people and to programs; what replicas count is added up over all that ever lived."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e import catalogue, report
from tests.e2e.counters import Counters

ROW = report.Row("S2", "kill", "process", accepted=7, final=7, recoveries={"killed": 6.25, "again": 5.0}, notes=("n",))


def metrics(handled: int, retries: int, fenced: int) -> str:
    place = 'messaging_destination_name="orders_stream",eventcore_event_type="a\\"b"'
    return "\n".join(
        [
            "# TYPE eventcore_retries_total counter",
            f'messaging_process_duration_seconds_count{{eventcore_outcome="handled",{place}}} {handled}.0',
            f'messaging_process_duration_seconds_count{{eventcore_outcome="duplicate",{place}}} {fenced}.0',
            f'messaging_process_duration_seconds_bucket{{eventcore_outcome="handled",le="1"}} {handled}.0',
            f"eventcore_retries_total{{{place}}} {retries}.0",
            "process_cpu_seconds_total 1.5",
        ]
    )


def test_the_table_shows_the_slowest_recovery_and_what_is_amiss() -> None:
    bad = report.Row("S5", "redis", "process", problems=("lost: order 1",))
    skipped = report.Row("S6", "drain", "kind", skipped="a single node")
    lines = report.table([ROW, bad, skipped]).splitlines()
    assert lines[0].split()[:4] == ["scenario", "accepted", "final", "lost"]
    assert "6.2 s" in lines[1]
    assert lines[-2:] == ["S5: FAILED: lost: order 1", "S6: not run: a single node"]


def test_what_is_written_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a" / "report.json"
    report.write([ROW], path)
    assert report.read(path) == [ROW]
    assert json.loads(path.read_text())[0]["slowest_recovery"] == 6.25
    assert report.read(tmp_path / "none.json") == []


def test_figures_are_added_over_replicas_and_outlive_them() -> None:
    counters = Counters()
    counters.note("a", metrics(5, 1, 0))
    counters.note("b", metrics(2, 0, 3))
    assert (counters.total("handled"), counters.total("redelivered"), counters.total("fenced")) == (7, 1, 3)
    assert counters.of("a", "handled") == 5
    assert counters.of("nobody", "handled") == 0


def test_a_replica_that_starts_again_from_nothing_adds_to_what_it_had() -> None:
    counters = Counters()
    counters.note("a", metrics(5, 1, 0))
    counters.note("a", metrics(2, 0, 0))
    assert (counters.of("a", "handled"), counters.of("a", "redelivered")) == (7, 1)


def test_what_was_counted_before_the_beginning_does_not_count() -> None:
    counters = Counters()
    counters.note("a", metrics(5, 1, 0))
    counters.begin()
    counters.note("a", metrics(6, 1, 0))
    assert (counters.total("handled"), counters.total("redelivered")) == (1, 0)
    counters.note("a", metrics(3, 2, 0))
    assert (counters.total("handled"), counters.total("redelivered")) == (4, 2)


def test_all_scenarios_of_the_table_are_there() -> None:
    process = {"S1", "S2", "S3", "S4", "S5", "S7", "S8", "S10"}
    assert process <= {each.name for each in catalogue.on("process")}
    assert process | {"S0", "S6", "S9"} <= {each.name for each in catalogue.on("kind")}
    with pytest.raises(LookupError, match="S6: not a scenario on process"):
        catalogue.on("process", ("S6",))
