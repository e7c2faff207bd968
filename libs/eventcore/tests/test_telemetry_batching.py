"""Batches of spans: whole ones soon, the rest in time, everything at the end; what does not fit is dropped."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from eventcore.telemetry.batching import Batching
from eventcore.testing import until


class Collector(SpanExporter):
    """Keeps what is exported, while its gate is open."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Any]] = []
        self.gate, self.called = threading.Event(), threading.Event()
        self.gate.set()
        self.breaks = self.stopped = False

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        self.called.set()
        self.gate.wait(20)
        if self.breaks:
            raise RuntimeError("a defect")
        self.batches.append(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.stopped = True


Start = Callable[..., tuple[Collector, Batching]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts to batch, with these settings."""
    started: list[tuple[Collector, Batching]] = []

    def make(*, queue: int = 100, batch: int = 3, delay: int = 60_000) -> tuple[Collector, Batching]:
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", str(queue))
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", str(batch))
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", str(delay))
        collector = Collector()
        started.append((collector, Batching(collector)))
        return started[-1]

    yield make
    for collector, batching in started:
        collector.gate.set()
        batching.shutdown()


async def test_whole_batches_go_at_once_and_the_rest_at_the_end(start: Start) -> None:
    collector, batching = start()
    for number in range(7):
        batching.put(number)
    await until(lambda: len(collector.batches) >= 2, what="two whole batches")
    batching.shutdown()
    assert [each for batch in collector.batches for each in batch] == list(range(7))
    assert max(map(len, collector.batches)) == 3
    assert collector.stopped


async def test_spans_that_were_written_together_stay_together_and_count_for_what_they_are(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    collector, batching = start(queue=7, batch=4)
    collector.gate.clear()
    batching.put(b"three", 3)
    batching.put(b"two", 2)
    await until(collector.called.is_set, what="the first export")
    for content, count in ((b"four", 4), (b"one", 1), (b"too many", 2)):
        batching.put(content, count)
    collector.gate.set()
    batching.shutdown()
    assert collector.batches == [[b"three"], [b"two"], [b"four"], [b"one"]]
    assert caplog.messages == ["spans are dropped: 7 wait for the collector"]


async def test_a_batch_as_large_as_the_queue_goes_when_its_pieces_do_not_add_up_to_it(start: Start) -> None:
    collector, batching = start(queue=100, batch=100)
    for _ in range(50):
        batching.put(b"sixty", 60)  # nothing would ever wake the export if the second of these were refused
        await until(lambda: batching._waiting <= 60, what="room")
    batching.shutdown()
    assert sum(map(len, collector.batches)) == 50


async def test_a_batch_is_no_larger_than_collectors_take(start: Start) -> None:
    collector, batching = start(batch=100)
    for _ in range(5):
        batching.put(b"x" * 1_000_000)
    assert batching.force_flush()
    assert list(map(len, collector.batches)) == [3, 2]


@pytest.mark.parametrize(("queue", "batch"), [("", 512), ("4096", 1024), ("100000", 2048), ("1", 1)])
def test_a_larger_queue_makes_for_larger_batches(monkeypatch: pytest.MonkeyPatch, queue: str, batch: int) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", queue)
    monkeypatch.delenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", raising=False)
    batching = Batching(Collector())
    batching.shutdown()
    assert batching.batch == batch


def test_everything_goes_when_somebody_asks_for_that(start: Start) -> None:
    collector, batching = start()
    batching.put("one")
    assert batching.force_flush()
    assert collector.batches == [["one"]]


async def test_a_few_spans_go_when_their_time_has_come(start: Start) -> None:
    collector, batching = start(delay=20)
    batching.put("one")
    await until(lambda: collector.batches == [["one"]], what="the only span")


async def test_what_does_not_fit_is_dropped_and_that_is_said_once(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    collector, batching = start(queue=4, batch=1)
    collector.gate.clear()
    batching.put("under way")
    await until(collector.called.is_set, what="the first export")
    with caplog.at_level(logging.WARNING):
        for number in range(10):
            batching.put(number)
    collector.gate.set()
    batching.shutdown()
    assert [each for batch in collector.batches for each in batch] == ["under way", 0, 1, 2, 3]
    assert caplog.messages == ["spans are dropped: 4 wait for the collector"]


async def test_a_defect_of_an_exporter_does_not_end_the_export(start: Start) -> None:
    collector, batching = start(batch=1)
    collector.breaks = True
    batching.put("lost")
    await until(collector.called.is_set, what="the first export")
    collector.breaks = False
    batching.put("kept")
    batching.shutdown()
    assert collector.batches[-1:] == [["kept"]]


def test_a_setting_that_is_no_number_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "many")
    Batching(Collector()).shutdown()
    assert "OTEL_BSP_MAX_QUEUE_SIZE is no number: taking 2048" in caplog.messages
