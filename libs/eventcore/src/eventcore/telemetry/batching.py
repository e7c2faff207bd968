"""Batching spans for export. The SDK's own processor asks the system for the process id at each span.

In a sandboxed container that takes ten microseconds: as much as all the rest of a span.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = logging.getLogger(__name__)


class Batching(SpanProcessor):
    """Exports sampled spans in batches, from a thread of its own, as the `OTEL_BSP_…` variables say.

    What does not fit into the queue, because nobody takes it off us, is dropped, and that said once.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._most = _number("OTEL_BSP_MAX_QUEUE_SIZE", 2048)
        self._batch = min(_number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512), self._most)
        self._delay = _number("OTEL_BSP_SCHEDULE_DELAY", 5000) / 1000
        self._queue: deque[Any] = deque()
        self._wake = threading.Event()
        self._exporting = threading.Lock()
        self._ending = self._dropping = False
        self._thread = threading.Thread(target=self._run, name="export-spans", daemon=True)
        self._thread.start()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span of the SDK's."""
        if span.context is not None and span.context.trace_flags.sampled:
            self.put(span)

    def put(self, span: Any) -> None:
        """Queue a span, of the SDK's or ours."""
        waiting = len(self._queue)
        if waiting >= self._most:
            if not self._dropping:
                self._dropping = True
                log.warning("spans are dropped: %d wait for the collector", waiting)
            return
        self._queue.append(span)
        if waiting + 1 == self._batch:
            self._wake.set()

    def shutdown(self) -> None:
        """Export what waits, and stop."""
        self._ending = True
        self._wake.set()
        self._thread.join()
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what waits, here and now: an exporter has its own limit for how long that takes."""
        self._export(everything=True)
        return True

    def _run(self) -> None:
        while not self._ending:
            woken = self._wake.wait(self._delay)
            self._wake.clear()
            self._export(everything=not woken)
        self._export(everything=True)

    def _export(self, *, everything: bool) -> None:
        """Export whole batches; and what is left, if everything is to go."""
        with self._exporting:
            while len(self._queue) >= (1 if everything else self._batch):
                count = min(len(self._queue), self._batch)
                spans = [self._queue.popleft() for _ in range(count)]
                try:
                    if self._exporter.export(spans) is SpanExportResult.SUCCESS:
                        self._dropping = False
                except Exception:
                    log.warning("%d spans could not be exported", count, exc_info=True)


def _number(variable: str, default: int) -> int:
    try:
        return max(1, int(os.environ.get(variable) or default))
    except ValueError:
        log.warning("%s is no number: taking %d", variable, default)
        return default
