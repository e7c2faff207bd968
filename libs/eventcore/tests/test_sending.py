"""Sending is measured, and traced where the trace is recorded; what a transaction counts is counted when it commits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from eventcore import Conflict, Event, GuardFailed, Hash, Origin, Store, String, Transaction, decode, publish, telemetry
from eventcore.telemetry import CATALOGUE, Counts, Durations, quick
from eventcore.telemetry.measurements import commit_duration, publish_duration
from eventcore.telemetry.quick import QuickSpan

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = Origin("shop", TRACE, f"00-{TRACE}-{SPAN}-01", "a=1", baggage="tier=gold")
UNSAMPLED = Origin("shop", TRACE, f"00-{TRACE}-{SPAN}-00")
STREAM = "tea_stream"
MARK = String("mark")


class TeaBrewed(Event, type="tea.brewed", stream=STREAM):
    kind: str = "green"


class CoffeeBrewed(Event, type="coffee.brewed", stream="coffee_stream"):
    pass


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("mark",)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[QuickSpan]:
    """The spans that have ended, while spans are recorded."""
    spans: list[QuickSpan] = []
    monkeypatch.setattr(telemetry, "TRACING", True)
    monkeypatch.setattr(quick, "sink", spans.extend)
    return spans


@pytest.fixture
def measured() -> Callable[..., int]:
    """How often something was measured since the test began."""

    def count(durations: Durations, *key: str | None) -> int:
        cell = durations.cells.get(key)
        return sum(cell.counts) if cell else 0

    before = {(durations, key): count(durations, *key) for durations in ALL for key in durations.cells}  # type: ignore[arg-type]
    return lambda durations, *key: count(durations, *key) - before.get((durations, key), 0)


ALL = (publish_duration, commit_duration)


async def carried(store: Store) -> list[Any]:
    """The metadata of what stands in the stream."""
    return [decode(fields).metadata for _, fields in await store.redis.xrange(STREAM)]


async def test_an_event_carries_the_context_of_the_span_that_sends_it(store: Store, ended: list[QuickSpan]) -> None:
    await store.publish(TeaBrewed(), origin=SAMPLED)
    [span], [metadata] = ended, await carried(store)
    assert (span.template.name, span.template.kind) == ("send tea_stream", SpanKind.PRODUCER)
    assert span.parent == SAMPLED.traceparent
    assert metadata.traceparent == span.traceparent
    assert (span.message_id, span.entry_id) == (metadata.event_id, "")
    assert (metadata.correlation_id, metadata.tracestate, metadata.baggage) == (TRACE, "a=1", "tier=gold")


async def test_so_does_one_that_is_committed(store: Store, ended: list[QuickSpan]) -> None:
    await store.commit(Transaction(then=[publish(TeaBrewed()), publish(TeaBrewed(kind="black"))]), origin=SAMPLED)
    assert [each.traceparent for each in await carried(store)] == [span.traceparent for span in ended]
    assert [span.template.name for span in ended] == ["send tea_stream"] * 2


async def test_a_batch_has_a_span_that_is_linked_to_those_of_its_events(store: Store, ended: list[QuickSpan]) -> None:
    await store.publish_all([TeaBrewed(), TeaBrewed()], origin=SAMPLED)
    *events, batch = ended
    assert [each.traceparent for each in await carried(store)] == [span.traceparent for span in events]
    assert {span.template for span in events} == {events[0].template}
    assert (events[0].template.name, events[0].template.kind) == ("create tea_stream", SpanKind.PRODUCER)
    assert (batch.template.name, batch.template.kind) == ("send tea_stream", SpanKind.CLIENT)
    assert batch.parent == SAMPLED.traceparent
    assert [f"{link.span_id:016x}" for link in batch.links] == [span.id.hex() for span in events]
    assert batch.attributes == {"messaging.batch.message_count": 2}


async def test_a_batch_of_one_is_an_event_sent_alone(store: Store, ended: list[QuickSpan]) -> None:
    await store.publish_all([TeaBrewed()], origin=SAMPLED)
    assert [span.template.name for span in ended] == ["send tea_stream"]


async def test_what_is_not_sampled_has_no_span_and_keeps_its_context(store: Store, ended: list[QuickSpan]) -> None:
    await store.publish(TeaBrewed(), origin=UNSAMPLED)
    await store.commit(Transaction(then=[publish(TeaBrewed())]), origin=UNSAMPLED)
    assert [each.traceparent for each in await carried(store)] == [UNSAMPLED.traceparent] * 2
    assert ended == []


async def test_a_send_that_fails_says_why(store: Store, ended: list[QuickSpan], measured: Any) -> None:
    await store.redis.set(STREAM, "no stream")
    for attempt in (
        store.publish(TeaBrewed(), origin=SAMPLED),
        store.publish_all([TeaBrewed(), TeaBrewed()], origin=SAMPLED),
        store.commit(Transaction(then=[publish(TeaBrewed())]), origin=SAMPLED),
    ):
        with pytest.raises(Conflict):
            await attempt
    await store.redis.delete(STREAM)
    sends = [span for span in ended if span.template.name == "send tea_stream"]
    assert [span.attributes["error.type"] for span in sends] == ["Conflict"] * 3
    assert measured(publish_duration, STREAM, "Conflict") == 4


async def test_of_a_batch_each_event_is_measured_as_it_went(store: Store, measured: Any) -> None:
    await store.redis.set(STREAM, "no stream")
    with pytest.raises(Conflict):
        await store.publish_all([TeaBrewed(), CoffeeBrewed(), TeaBrewed()])
    await store.redis.delete(STREAM)
    assert measured(publish_duration, STREAM, "Conflict") == 2
    assert measured(publish_duration, CoffeeBrewed.stream, None) == 1


async def test_a_guard_that_fails_has_sent_nothing(store: Store, ended: list[QuickSpan], measured: Any) -> None:
    with pytest.raises(GuardFailed):
        await store.commit(Transaction(when=[MARK.present()], then=[publish(TeaBrewed())]), origin=SAMPLED)
    assert ended == []
    assert measured(publish_duration, STREAM, None) == 0
    assert measured(commit_duration, None, "guards_failed") == 1


async def test_publishing_and_committing_are_measured(store: Store, measured: Any) -> None:
    await store.publish(TeaBrewed())
    await store.publish_all([TeaBrewed(), TeaBrewed()])
    await store.commit(Transaction(then=[publish(TeaBrewed()), MARK.set("here")]))
    assert measured(publish_duration, STREAM, None) == 4
    assert measured(commit_duration, None, "committed") == 1


async def test_a_transaction_counts_once_it_is_committed_and_not_before(store: Store) -> None:
    cups = Counts("tea.cups.test", "{cup}", "Cups of tea", ("tea.kind",))
    CATALOGUE.remove(cups)
    mark = Hash("mark")["cup"]
    first = Transaction(
        when=[mark.absent()],
        then=[mark.set("full")],
        otherwise=lambda _: Transaction(then=[mark.set("more")], counts=[cups.one("second")]),
        counts=[cups.one("first")],
    )
    await store.commit(first)
    assert cups.cells == {("first",): 1}
    await store.commit(first)
    assert cups.cells == {("first",): 1, ("second",): 1}
