"""Export: as the standard variables say, to real receivers; without them nothing is sent and nothing is said."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from eventcore.testing import Server, available_kinds

from .test_web_run import Program, program

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACE_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
METRICS_SERVICE = "opentelemetry.proto.collector.metrics.v1.MetricsService"


@dataclass
class Received:
    """What has arrived at a receiver."""

    endpoint: str = ""
    traces: list[ExportTraceServiceRequest] = field(default_factory=list)
    metrics: list[ExportMetricsServiceRequest] = field(default_factory=list)

    def take_traces(self, body: bytes) -> None:
        self.traces.append(ExportTraceServiceRequest.FromString(body))

    def take_metrics(self, body: bytes) -> None:
        self.metrics.append(ExportMetricsServiceRequest.FromString(body))

    @property
    def spans(self) -> dict[str, Any]:
        """Spans by name."""
        return {
            span.name: span
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }

    @property
    def metric_names(self) -> set[str]:
        return {
            metric.name
            for request in self.metrics
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def resource(self) -> dict[str, str]:
        """What the sender of traces says of itself."""
        return attributes(self.traces[0].resource_spans[0].resource)


def attributes(holder: Any) -> dict[str, Any]:
    """The attributes of a span or resource, as plain values."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in holder.attributes}


@pytest.fixture
async def http_receiver() -> AsyncIterator[Received]:
    """A collector that speaks OTLP over HTTP."""
    received = Received()
    app = web.Application()

    def take(with_body: Callable[[bytes], None]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            with_body(await request.read())
            return web.Response()

        return handle

    app.router.add_post("/v1/traces", take(received.take_traces))
    app.router.add_post("/v1/metrics", take(received.take_metrics))
    async with TestServer(app) as server:
        received.endpoint = str(server.make_url("")).rstrip("/")
        yield received


@pytest.fixture
def grpc_receiver() -> Iterator[Received]:
    """A collector that speaks OTLP over gRPC."""
    received = Received()

    def taking(with_body: Callable[[bytes], None]) -> grpc.RpcMethodHandler:
        def take(body: bytes, context: object) -> bytes:
            with_body(body)
            return b""

        return grpc.unary_unary_rpc_method_handler(take)

    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(TRACE_SERVICE, {"Export": taking(received.take_traces)}),
            grpc.method_handlers_generic_handler(METRICS_SERVICE, {"Export": taking(received.take_metrics)}),
        ]
    )
    received.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield received
    server.stop(None)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server for the programs."""
    with Server(kind=available_kinds()[0]) as running:
        yield running


async def put_a_note(running: Program, **headers: str) -> str:
    """Let a note be put and handled; the correlation id."""
    await running.until_status("/readyz", 200)
    async with running.session.post(running.url + "/notes/hello", headers=headers) as answer:
        assert answer.status == 202
        return answer.headers["X-Correlation-ID"]


async def test_a_request_and_its_event_are_one_trace(tmp_path: Path, server: Server, http_receiver: Received) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": http_receiver.endpoint, "OTEL_RESOURCE_ATTRIBUTES": "a.b=c"}
    async with program(tmp_path, REDIS_URL=server.url, POD_NAME="pod-1", **variables) as running:
        await put_a_note(running, traceparent=f"00-{TRACE}-{SPAN}-01")
        status, lines = await running.end(signal.SIGTERM)
    assert (status, [line for line in lines if json.loads(line)["level"] != "INFO"]) == (0, [])

    request = http_receiver.spans["POST /notes/{text}"]
    assert (request.trace_id.hex(), request.parent_span_id.hex(), request.kind) == (TRACE, SPAN, Span.SPAN_KIND_SERVER)
    assert (
        attributes(request).items()
        >= {
            "http.request.method": "POST",
            "http.route": "/notes/{text}",
            "http.response.status_code": 202,
            "url.path": "/notes/hello",
            "url.scheme": "http",
            "server.address": "127.0.0.1",
            "server.port": running.port,
            "network.protocol.version": "1.1",
        }.items()
    )
    sending = http_receiver.spans["send notes_stream"]
    assert (sending.trace_id, sending.parent_span_id) == (request.trace_id, request.span_id)
    processing = http_receiver.spans["process notes_stream"]
    assert (processing.trace_id, processing.parent_span_id) == (request.trace_id, sending.span_id)
    assert not any("readyz" in name for name in http_receiver.spans)
    assert (
        http_receiver.resource.items()
        >= {
            "service.name": "notes-service",
            "service.instance.id": "pod-1",
            "a.b": "c",
        }.items()
    )
    assert {
        "http.server.request.duration",
        "messaging.process.duration",
        "process.uptime",
    } <= http_receiver.metric_names


async def test_a_chosen_correlation_id_becomes_the_trace_id_over_grpc_too(
    tmp_path: Path, server: Server, grpc_receiver: Received
) -> None:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": grpc_receiver.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_SERVICE_NAME": "renamed",
    }
    async with program(tmp_path, REDIS_URL=server.url, **variables) as running:
        chosen = await put_a_note(running, **{"X-Correlation-ID": TRACE})
        assert (await running.end(signal.SIGTERM))[0] == 0
    request = grpc_receiver.spans["POST /notes/{text}"]
    assert (chosen, request.trace_id.hex(), request.parent_span_id) == (TRACE, TRACE, b"")
    assert grpc_receiver.resource["service.name"] == "renamed"
    assert "http.server.request.duration" in grpc_receiver.metric_names


async def test_the_sampler_decides(tmp_path: Path, server: Server, http_receiver: Received) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": http_receiver.endpoint, "OTEL_TRACES_SAMPLER": "always_off"}
    async with program(tmp_path, REDIS_URL=server.url, **variables) as running:
        assert len(await put_a_note(running)) == 32
        assert (await running.end(signal.SIGTERM))[0] == 0
    assert http_receiver.spans == {}
    assert http_receiver.metric_names


async def test_a_dead_collector_neither_slows_nor_breaks_anything(tmp_path: Path, server: Server) -> None:
    async with program(tmp_path, REDIS_URL=server.url, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1") as running:
        await put_a_note(running)
        began = asyncio.get_running_loop().time()
        status, lines = await running.end(signal.SIGTERM)
    assert status == 0
    assert asyncio.get_running_loop().time() - began < 15
    assert not any("Traceback" in line for line in lines)


async def test_without_an_endpoint_nothing_is_exported_imported_or_said(tmp_path: Path, server: Server) -> None:
    async with program(tmp_path, REDIS_URL=server.url) as running:
        await put_a_note(running)
        async with running.session.get(running.url + "/metrics") as answer:
            assert "http_server_request_duration_seconds_count" in await answer.text()
        status, lines = await running.end(signal.SIGTERM)
    assert (status, {json.loads(line)["level"] for line in lines}) == (0, {"INFO"})
    source = """if True:
        import sys
        import eventcore.web
        from eventcore import Settings
        from eventcore.telemetry.configure import configure

        configure("notes", Settings())
        assert not {"grpc", "requests", "opentelemetry.sdk.trace.export"} & sys.modules.keys()
    """
    async with program(tmp_path, source=source) as running:
        assert await running.end() == (0, [])


async def test_a_disabled_sdk_is_silent(tmp_path: Path, server: Server, http_receiver: Received) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": http_receiver.endpoint, "OTEL_SDK_DISABLED": "true"}
    async with program(tmp_path, REDIS_URL=server.url, **variables) as running:
        assert await put_a_note(running, traceparent=f"00-{TRACE}-{SPAN}-01") == TRACE
        assert await running.status("/metrics") == 200
        assert (await running.end(signal.SIGTERM))[0] == 0
    assert (http_receiver.traces, http_receiver.metrics) == ([], [])
