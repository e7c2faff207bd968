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

_LARGEST_USUAL = 2048
# In bytes. Collectors take no more than 4 MiB by gRPC, unless they are told to.
_LARGE = 2 << 20
# Of anything: spans, bytes, milliseconds. A thread can't wait for longer than 292 years.
LARGEST_LIMIT = 10**9


class Batching(SpanProcessor):
    """Exports sampled spans in batches, from a thread of its own, as the `OTEL_BSP_…` variables say.

    A larger queue makes for larger batches, unless it is said how large they may be.

    What does not fit into the queue, because nobody takes it off us, is dropped, and that said once.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._most = _number("OTEL_BSP_MAX_QUEUE_SIZE", 2048)
        # By default a quarter of the queue, as the specification has it: to post costs far more than to add a span.
        usual = max(1, min(self._most // 4, _LARGEST_USUAL))
        self.batch = min(_number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", usual), self._most)
        self._delay = _number("OTEL_BSP_SCHEDULE_DELAY", 5000) / 1000
        self._queue: deque[tuple[int, Any]] = deque()
        self._waiting, self._changing = 0, threading.Lock()
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

    def put(self, span: Any, count: int = 1) -> None:
        """Queue a span of the SDK's, or so many of ours, written together: no more than a `batch`."""
        with self._changing:
            waiting = self._waiting + count
            room = self._waiting < self._most  # for one at least: to refuse many that go together would lose them all
            if room:
                self._waiting = waiting
                self._queue.append((count, span))
        if not room:
            if not self._dropping:
                self._dropping = True
                log.warning("spans are dropped: %(count)d wait for the collector", {"count": waiting - count})
        elif waiting >= self.batch > waiting - count:
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
            while self._waiting >= (1 if everything else self.batch):
                count, spans = self._take()
                try:
                    if self._exporter.export(spans) is SpanExportResult.SUCCESS:
                        self._dropping = False
                except Exception:
                    log.warning("%(count)d spans could not be exported and are lost", {"count": count}, exc_info=True)

    def _take(self) -> tuple[int, list[Any]]:
        """As many of those that have waited longest as are a batch: how many, and what they were put as."""
        count, size = 0, 0
        spans: list[Any] = []
        with self._changing:
            while self._queue and (not spans or (count + self._queue[0][0] <= self.batch and size < _LARGE)):
                more, span = self._queue.popleft()
                count += more
                size += len(span) if isinstance(span, bytes) else 0
                spans.append(span)
            self._waiting -= count
        return count, spans


def _number(variable: str, default: int) -> int:
    try:
        return min(max(1, int(os.environ.get(variable) or default)), LARGEST_LIMIT)
    except ValueError:
        log.warning("%(variable)s is no number: taking %(default)d", {"variable": variable, "default": default})
        return default
