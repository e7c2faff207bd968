"""Instruments for hot paths look from the outside like any other of OpenTelemetry's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventcore import Settings
from eventcore.telemetry import CATALOGUE, Counts, Durations, Gauges, Instrument, measurements
from eventcore.telemetry.configure import scrape, start_metrics
from eventcore.telemetry.instruments import LabelValues


@pytest.fixture(autouse=True)
def only_for_this_test() -> Iterator[None]:
    """The instruments that a test makes are gone after it."""
    before = list(CATALOGUE)
    yield
    CATALOGUE[:] = before


@pytest.fixture
def durations() -> Durations:
    """A histogram with three buckets."""
    return Durations("brew.duration", "s", "Time to brew", ("tea.kind",), bounds=(0.1, 1.0))


def scraped(name: str) -> list[str]:
    """What is scraped of one metric, without the tests' own labels."""
    start_metrics("tests", Settings())
    return [line for line in scrape().decode().splitlines() if line.startswith(name)]


def test_each_bucket_includes_its_upper_bound_and_all_below(durations: Durations) -> None:
    for seconds in (0.05, 0.1, 0.5, 7):
        durations.record(seconds, "green")
    assert scraped("brew_duration_seconds") == [
        'brew_duration_seconds_bucket{le="0.1",tea_kind="green"} 2.0',
        'brew_duration_seconds_bucket{le="1.0",tea_kind="green"} 3.0',
        'brew_duration_seconds_bucket{le="+Inf",tea_kind="green"} 4.0',
        'brew_duration_seconds_count{tea_kind="green"} 4.0',
        'brew_duration_seconds_sum{tea_kind="green"} 7.65',
    ]


def test_keys_are_kept_apart_and_go_on_counting(durations: Durations) -> None:
    durations.record(1, "green")
    assert 'brew_duration_seconds_count{tea_kind="green"} 1.0' in scraped("brew")
    durations.record(1, "green")
    durations.record(1, "black")
    assert {
        'brew_duration_seconds_count{tea_kind="green"} 2.0',
        'brew_duration_seconds_count{tea_kind="black"} 1.0',
    } <= {*scraped("brew")}


def test_what_was_never_recorded_is_not_shown(durations: Durations) -> None:
    assert scraped("brew") == []


def test_the_same_time_for_many_is_recorded_at_once(durations: Durations) -> None:
    durations.record(0.5, "green", count=3)
    assert {
        'brew_duration_seconds_bucket{le="0.1",tea_kind="green"} 0.0',
        'brew_duration_seconds_bucket{le="1.0",tea_kind="green"} 3.0',
        'brew_duration_seconds_sum{tea_kind="green"} 1.5',
    } <= {*scraped("brew")}


def test_a_counter_counts_by_its_attributes() -> None:
    cups = Counts("tea.cups", "{cup}", "Cups of tea", ("tea.kind",), constant={"tea.pot": "blue"})
    assert scraped("tea_cups") == []
    cups.add("green", count=0)
    cups.add("black")
    cups.add("black", count=2)
    assert scraped("tea_cups") == [
        'tea_cups_total{tea_kind="green",tea_pot="blue"} 0.0',
        'tea_cups_total{tea_kind="black",tea_pot="blue"} 3.0',
    ]


def test_a_tally_is_counted_when_it_has_happened() -> None:
    cups = Counts("tea.cups", "{cup}", "Cups of tea", ("tea.kind",))
    tally = cups.one("green")
    assert scraped("tea_cups") == []
    tally.add()
    assert scraped("tea_cups") == ['tea_cups_total{tea_kind="green"} 1.0']


def test_a_gauge_shows_what_its_sources_say_for_as_long_as_it_has_them() -> None:
    left = Gauges("tea.left", "By", "Tea left", ("tea.kind", "tea.pot"))
    shelf: dict[LabelValues, float] = {("green", None): 2.0}
    forget = left.watch(lambda: shelf)
    left.watch(lambda: {("black", "blue"): 7})
    assert scraped("tea_left") == [
        'tea_left_bytes{tea_kind="green",tea_pot=""} 2.0',
        'tea_left_bytes{tea_kind="black",tea_pot="blue"} 7.0',
    ]
    shelf.clear()
    assert scraped("tea_left") == ['tea_left_bytes{tea_kind="black",tea_pot="blue"} 7.0']
    forget()
    assert len(scraped("tea_left")) == 1


def test_the_catalogue_describes_every_metric_once() -> None:
    names = [each.name for each in CATALOGUE]
    assert len(names) == len(set(names))
    for each in CATALOGUE:
        assert isinstance(each, Instrument)
        assert each.description
        assert each.kind in ("counter", "gauge", "histogram")
        assert not any(word.endswith(("_id", ".id")) for word in each.attributes), "an id would be a label without end"


def test_a_key_must_have_a_value_for_each_attribute() -> None:
    with pytest.raises(ValueError, match="argument"):
        measurements.lag.attributes_of(("tea_stream",))


def test_deliveries_are_measured_by_stream_group_type_and_outcome() -> None:
    measurements.process_duration.record(0.002, "tea_stream", "tea-group", "tea.brewed", "handled")
    [line] = scraped('messaging_process_duration_seconds_count{eventcore_event_type="tea.brewed"')
    labels = line.partition("{")[2].partition("}")[0].split(",")
    assert labels == [
        'eventcore_event_type="tea.brewed"',
        'eventcore_outcome="handled"',
        'messaging_consumer_group_name="tea-group"',
        'messaging_destination_name="tea_stream"',
        'messaging_operation_name="process"',
        'messaging_system="redis"',
    ]


def test_there_is_always_something_to_scrape() -> None:
    assert scraped("process_uptime_seconds")
    assert scraped("target_info")
