"""What the tool concludes and how it puts it, from values alone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError, ResponseError

from eventcore.cli.complaints import ToolFailure, explain_error
from eventcore.cli.words import age, at_least, counted, head, last_characters, moment, rate, size
from eventcore.errors import StreamFull
from eventcore.operate.dead_letters import Letter
from eventcore.operate.entries import StreamEntry
from eventcore.operate.following import GroupProgress, TraceStep, in_order, with_fates
from eventcore.operate.inspection import DeadLetterState, GroupState, Lag, Progress, StreamState
from eventcore.operate.sought_id import SoughtId
from eventcore.operate.trends import Trends

START = datetime(2026, 11, 23, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0s"),
        (0.44, "0.4s"),
        (12.9, "12s"),
        (185, "3m05s"),
        (7800, "2h10m"),
        (367_200, "4d06h"),
        (86_400 * 20_000, "20,000d00h"),
    ],
)
def test_ages_are_short(seconds: float, words: str) -> None:
    assert age(timedelta(seconds=seconds)) == words


def test_sizes_and_counts_are_readable() -> None:
    assert [size(octets) for octets in (0, 1023, 1024, 1536, 5 * 1024**2, 2**60)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 KiB",
        "5.0 MiB",
        "1048576.0 TiB",
    ]
    assert (counted(1, "entry", "entries"), counted(1204, "entry", "entries")) == ("1 entry", "1,204 entries")
    assert counted(0, "event") == "0 events"
    assert (at_least(10_000, capped=True), at_least(3, capped=False)) == ("≥10,000", "3")
    assert [rate(each) for each in (0.04, 3.25, 1204.4)] == ["0.0/s", "3.2/s", "1,204/s"]
    assert moment(None) == "?"
    assert (head("abcdef", 4), last_characters("abcdef", 4), head("abcd", 4), last_characters("abcd", 4)) == (
        "abc…",
        "…def",
        "abcd",
        "abcd",
    )


def looked(second: float, lag: int, pending: int = 0, added: int = 0) -> StreamState:
    """A stream as it is found at one look."""
    main = Progress("s", 0, "0-0", Lag(lag, timedelta(seconds=1)), pending, None)
    letters = DeadLetterState("d", 0, None, None, {}, {}, partial=False)
    at = START + timedelta(seconds=second)
    return StreamState("s", True, at, 0, added, "0-0", None, None, None, (GroupState("g", main, None, (), 0),), letters)


def observed(*lags: int, every: float = 2) -> Trends:
    trends = Trends()
    for number, lag in enumerate(lags):
        trends.observe([looked(number * every, lag)])
    return trends


def test_lag_rises_when_it_has_grown_and_never_fallen_over_three_looks() -> None:
    assert observed(1, 2, 2).rising("s", "g")
    assert observed(9, 1, 2, 3).rising("s", "g")
    for lags in ((1, 2), (2, 2, 2), (1, 3, 2), (3, 2, 1)):
        assert not observed(*lags).rising("s", "g"), lags


def test_a_rate_is_entries_a_second_over_the_last_ten_seconds_or_three_looks() -> None:
    assert observed(0, 10, 20).lag("s", "g") == 5
    assert observed(30, 0, 0).lag("s", "g") == -7.5
    assert observed(*([100] * 5), *range(0, 120, 20)).lag("s", "g") == 10
    assert observed(500, 10, 20, 30, every=60).lag("s", "g") == pytest.approx(1 / 6)


def test_there_is_no_rate_without_something_to_compare() -> None:
    for trends in (observed(0, 10), observed(1, 2, 3, every=0), Trends()):
        assert (trends.lag("s", "g"), trends.done("s", "g"), trends.added("s")) == (None, None, None)


def test_what_is_done_is_what_came_in_and_no_longer_waits() -> None:
    trends = Trends()
    for second, (added, lag, pending) in enumerate([(100, 50, 10), (110, 40, 10), (120, 20, 20)]):
        trends.observe([looked(second, lag, pending, added)])
    assert (trends.added("s"), trends.lag("s", "g"), trends.done("s", "g")) == (10, -15, 20)


def test_a_group_that_is_gone_is_forgotten() -> None:
    trends = observed(1, 2, 3)
    trends.observe([])
    assert not trends.rising("s", "g")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ToolFailure("no such thing"), "no such thing"),
        (StreamFull("orders_stream is full"), "orders_stream is full"),
        (
            AuthenticationError("NOAUTH Authentication required."),
            "Redis at h:1 asks for a password: set REDIS_PASSWORD",
        ),
        (AuthenticationError("WRONGPASS invalid"), "Redis at h:1 does not accept this user or password"),
        (NoPermissionError("no permissions"), "Redis at h:1 does not allow this: no permissions"),
        (BusyLoadingError("loading"), "Redis at h:1 is loading its data: try again shortly"),
        (ResponseError("OOM"), "Redis at h:1 refused: OOM"),
        (OSError(), "Redis at h:1 is out of reach: OSError"),
        (KeyError("x"), "internal error, please report it: KeyError: 'x'"),
    ],
)
def test_every_error_has_its_line(error: Exception, line: str) -> None:
    assert explain_error(error, "h:1").startswith(line)


def step(stream: str, entry_id: str, event_id: str, cause: str | None = None, letter: Any = None) -> TraceStep:
    metadata = {"eventId": event_id, "timestamp": "2026-11-23T10:00:00Z", "causationId": cause}
    event = {"type": "a.b", "data": {}, "metadata": metadata}
    return TraceStep(StreamEntry(stream, entry_id, {b"event": json.dumps(event).encode()}), letter=letter)


@pytest.mark.parametrize(
    ("id", "earliest"),
    [
        ("01a2109a-034f-7c69-ba85-263ef7c74646", "1795571258575-0"),  # an hour before its own time
        ("00000000-0000-7c69-ba85-263ef7c74646", "0-0"),
        ("01a2109a-034f-4c69-ba85-263ef7c74646", "-"),
        ("1795574858191-3", "1795574858191-3"),
        ("4bf92f3577b34da6a3ce929d0e0e4736", "-"),
        ("order-1", "-"),
    ],
)
def test_an_id_that_tells_its_time_is_not_looked_for_before(id: str, earliest: str) -> None:
    assert SoughtId(id).earliest == earliest


def test_within_a_millisecond_causes_come_before_what_they_have_caused() -> None:
    steps = [step("c", "5-0", "3", "2"), step("b", "5-0", "2", "1"), step("a", "5-1", "1"), step("d", "4-9", "0")]
    assert [each.entry.stream for each in in_order(steps)] == ["d", "a", "b", "c"]


def test_within_a_millisecond_an_event_comes_before_its_dead_letter() -> None:
    steps = [step("dlq", "5-0", "1", letter=Letter("5-0", "s", None, {})), step("s", "5-1", "1")]
    assert [each.entry.stream for each in in_order(steps)] == ["s", "dlq"]


def test_events_that_cause_each_other_are_put_in_some_order() -> None:
    steps = [step("a", "5-0", "1", "2"), step("b", "5-0", "2", "1"), step("c", "5-0", "3", "3")]
    assert len(in_order(steps)) == 3


def test_only_what_its_group_has_dead_lettered_is_marked() -> None:
    letter = Letter("9-0", "s", None, {"stream": "s", "entryId": "1-0", "group": "g"})
    deliveries = [GroupProgress("g", "done"), GroupProgress("h", "done")]
    event, other = (replace(step("s", entry_id, "1"), deliveries=deliveries) for entry_id in ("1-0", "2-0"))
    held = replace(event, deliveries=[GroupProgress("g", "pending", "pod-1", 1)])
    marked = with_fates([event, other, held, step("d", "9-0", "1", letter=letter)])
    states = [[each.state for each in one.deliveries] for one in marked]
    assert states == [["dead_lettered", "done"], ["done", "done"], ["pending"], []]
