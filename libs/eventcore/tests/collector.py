"""A collector of OpenTelemetry's protocol, over HTTP and over gRPC, that keeps what arrives."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

_REQUESTS: dict[str, Any] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
_SERVICES = {
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
}


@dataclass(frozen=True)
class Span:
    """A span that has arrived, and who sent it."""

    service: str
    message: Any

    @property
    def name(self) -> str:
        return str(self.message.name)

    @property
    def kind(self) -> str:
        """`SERVER`, `CLIENT`, `PRODUCER`, `CONSUMER` or `INTERNAL`."""
        return str(SpanMessage.SpanKind.Name(self.message.kind)).removeprefix("SPAN_KIND_")

    @property
    def id(self) -> str:
        return str(self.message.span_id.hex())

    @property
    def parent(self) -> str:
        return str(self.message.parent_span_id.hex())

    @property
    def trace(self) -> str:
        return str(self.message.trace_id.hex())

    @property
    def links(self) -> list[str]:
        """The ids of the spans that it is linked to."""
        return [each.span_id.hex() for each in self.message.links]

    @property
    def failed(self) -> bool:
        """Whether its status is an error."""
        return int(self.message.status.code) == 2

    def __getitem__(self, name: str) -> Any:
        return attributes(self.message)[name]

    def get(self, name: str) -> Any:
        """An attribute, or `None`."""
        return attributes(self.message).get(name)


@dataclass
class Received:
    """What has arrived at a collector, which is at `endpoint`."""

    endpoint: str = ""
    requests: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _REQUESTS})

    def take(self, signal: str, body: bytes) -> None:
        """Keep one request."""
        self.requests[signal].append(_REQUESTS[signal].FromString(body))

    @property
    def spans(self) -> list[Span]:
        """All spans."""
        return [
            Span(str(attributes(resource.resource).get("service.name")), span)
            for request in list(self.requests["traces"])
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def span(self, name: str) -> Span:
        """The only span of this name."""
        [found] = [span for span in self.spans if span.name == name]
        return found

    @property
    def logs(self) -> list[Any]:
        """All log records."""
        return [
            record
            for request in list(self.requests["logs"])
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics by their names, the latest of each."""
        return {metric.name: metric for metric in self._metrics()}

    def _metrics(self) -> Iterator[Any]:
        for request in list(self.requests["metrics"]):
            for resource in request.resource_metrics:
                for scope in resource.scope_metrics:
                    yield from scope.metrics

    def value(self, name: str, **wanted: str | int) -> float:
        """The value of a metric's point with these attributes (dots as `__`), or a histogram's count; 0 without one."""
        asked = {key.replace("__", "."): value for key, value in wanted.items()}
        found = 0.0
        for metric in self._metrics():
            if metric.name == name:
                for point in points(metric):
                    if asked.items() <= attributes(point).items():
                        found = float(point.count if metric.HasField("histogram") else point.as_int or point.as_double)
        return found

    @property
    def resource(self) -> dict[str, Any]:
        """What the sender of the last metrics says of itself."""
        return attributes(self.requests["metrics"][-1].resource_metrics[0].resource)


def attributes(holder: Any) -> dict[str, Any]:
    """The attributes of a span, point or resource, as plain values."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in holder.attributes}


def points(metric: Any) -> Sequence[Any]:
    """The data points of a metric of any kind."""
    found: Sequence[Any] = getattr(metric, metric.WhichOneof("data")).data_points
    return found


def names(spans: Sequence[Span]) -> Counter[str]:
    """How many spans there are of each name."""
    return Counter(span.name for span in spans)


@asynccontextmanager
async def over_http(*, answers: bool = True) -> AsyncIterator[Received]:
    """A collector that speaks OTLP over HTTP, or one that listens and never answers."""
    received, leaving = Received(), asyncio.Event()

    def taking(signal: str) -> Callable[[web.Request], Any]:
        async def take(request: web.Request) -> web.Response:
            received.take(signal, await request.read())
            if not answers:
                await leaving.wait()
            return web.Response()

        return take

    app = web.Application(client_max_size=2**26)
    for signal in _REQUESTS:
        app.router.add_post(f"/v1/{signal}", taking(signal))
    async with TestServer(app) as server:
        received.endpoint = str(server.make_url("")).rstrip("/")
        yield received
        leaving.set()


@contextmanager
def over_grpc() -> Iterator[Received]:
    """A collector that speaks OTLP over gRPC."""
    received = Received()

    def taking(signal: str) -> grpc.RpcMethodHandler:
        def take(body: bytes, context: object) -> bytes:
            received.take(signal, body)
            return b""

        return grpc.unary_unary_rpc_method_handler(take)

    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(service, {"Export": taking(signal)})
            for signal, service in _SERVICES.items()
        ]
    )
    received.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield received
    finally:
        server.stop(None).wait()
