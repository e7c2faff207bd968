"""Histograms for hot paths look from the outside like any other of OpenTelemetry's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventcore import Settings, telemetry
from eventcore.telemetry.configure import scrape, start_metrics
from eventcore.telemetry.durations import Durations, all_durations


@pytest.fixture
def durations() -> Iterator[Durations[str]]:
    """A histogram with three buckets, for this test alone."""
    made = Durations[str]("brew.duration", "Time to brew", (0.1, 1.0), lambda kind: {"tea.kind": kind})
    yield made
    all_durations.remove(made)


def scraped(name: str) -> list[str]:
    """What is scraped of one metric, without the tests' own labels."""
    start_metrics("tests", Settings())
    return [line for line in scrape().decode().splitlines() if line.startswith(name)]


def test_each_bucket_includes_its_upper_bound_and_all_below(durations: Durations[str]) -> None:
    for seconds in (0.05, 0.1, 0.5, 7):
        durations.record(seconds, "green")
    assert scraped("brew_duration_seconds") == [
        'brew_duration_seconds_bucket{le="0.1",tea_kind="green"} 2.0',
        'brew_duration_seconds_bucket{le="1.0",tea_kind="green"} 3.0',
        'brew_duration_seconds_bucket{le="+Inf",tea_kind="green"} 4.0',
        'brew_duration_seconds_count{tea_kind="green"} 4.0',
        'brew_duration_seconds_sum{tea_kind="green"} 7.65',
    ]


def test_keys_are_kept_apart_and_go_on_counting(durations: Durations[str]) -> None:
    durations.record(1, "green")
    assert 'brew_duration_seconds_count{tea_kind="green"} 1.0' in scraped("brew")
    durations.record(1, "green")
    durations.record(1, "black")
    assert {
        'brew_duration_seconds_count{tea_kind="green"} 2.0',
        'brew_duration_seconds_count{tea_kind="black"} 1.0',
    } <= {*scraped("brew")}


def test_what_was_never_recorded_is_not_shown(durations: Durations[str]) -> None:
    assert scraped("brew") == []


def test_deliveries_are_measured_by_stream_group_type_and_outcome() -> None:
    telemetry.processed("tea_stream", "tea-group", "tea.brewed", "handled", 0.002)
    [line] = scraped('messaging_process_duration_seconds_count{eventcore_event_type="tea.brewed"')
    labels = line.partition("{")[2].partition("}")[0].split(",")
    assert labels == [
        'eventcore_event_type="tea.brewed"',
        'eventcore_outcome="handled"',
        'messaging_consumer_group_name="tea-group"',
        'messaging_destination_name="tea_stream"',
        'messaging_system="redis"',
    ]


def test_there_is_always_something_to_scrape() -> None:
    assert scraped("process_uptime_seconds")
    assert scraped("target_info")
