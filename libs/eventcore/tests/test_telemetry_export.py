"""Export: as the standard variables say, to real receivers; without them nothing is sent and nothing is said."""

from __future__ import annotations

import json
import signal
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from eventcore.telemetry import configure
from eventcore.testing import Server, available_kinds, until

from .collector import Received, attributes, over_grpc, over_http
from .test_web_run import Program, program

SECRET = "hunter2-of-somebody"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
async def http_receiver() -> AsyncIterator[Received]:
    """A collector that speaks OTLP over HTTP."""
    async with over_http() as received:
        yield received


@pytest.fixture
def grpc_receiver() -> Iterator[Received]:
    """A collector that speaks OTLP over gRPC."""
    with over_grpc() as received:
        yield received


@pytest.fixture
def server() -> Iterator[Server]:
    """A server for the programs, as it must be: none of them warns of it."""
    with Server(kind=available_kinds()[0], maxmemory="256mb", append_only=True) as running:
        yield running


async def put_a_note(running: Program, *, text: str = "hello", **headers: str) -> str:
    """Let a note be put and handled; the correlation id."""
    await running.until_status("/readyz", 200)
    async with running.session.post(f"{running.url}/notes/{text}", headers=headers) as answer:
        assert answer.status == 202
        return answer.headers["X-Correlation-ID"]


async def test_a_request_and_its_event_are_one_trace(tmp_path: Path, server: Server, http_receiver: Received) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": http_receiver.endpoint, "OTEL_RESOURCE_ATTRIBUTES": "a.b=c"}
    async with program(tmp_path, REDIS_URL=server.url, POD_NAME="pod-1", **variables) as running:
        await put_a_note(running, traceparent=f"00-{TRACE}-{SPAN}-01")
        status, lines = await running.end(signal.SIGTERM)
    assert (status, [line for line in lines if json.loads(line)["level"] != "INFO"]) == (0, [])

    request, sending, processing = (
        http_receiver.span(name) for name in ("POST /notes/{text}", "send notes_stream", "process notes_stream")
    )
    assert {span.trace for span in http_receiver.spans} == {TRACE}
    assert (request.parent, sending.parent, processing.parent) == (SPAN, request.id, sending.id)
    assert (request.kind, sending.kind, processing.kind) == ("SERVER", "PRODUCER", "CONSUMER")
    assert (
        attributes(request.message).items()
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
    redis = {"messaging.system": "redis", "server.address": "127.0.0.1", "server.port": server.port}
    assert attributes(sending.message) == redis | {
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "notes_stream",
        "messaging.message.id": sending["messaging.message.id"],
        "eventcore.event.type": "note.put",
    }
    assert attributes(processing.message) == redis | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "notes_stream",
        "messaging.consumer.group.name": "notes-group",
        "messaging.client.id": "pod-1",
        "messaging.message.id": sending["messaging.message.id"],
        "eventcore.event.type": "note.put",
        "eventcore.entry.id": processing["eventcore.entry.id"],
        "eventcore.attempt": 1,
        "eventcore.outcome": "handled",
    }
    assert len(http_receiver.spans) == 3, "nothing polls into traces, and nobody traces probes"
    assert (
        http_receiver.resource.items()
        >= {"service.name": "notes-service", "service.instance.id": "pod-1", "a.b": "c"}.items()
    )
    assert {
        "http.server.request.duration",
        "messaging.process.duration",
        "messaging.client.operation.duration",
        "eventcore.commit.duration",
        "eventcore.event_loop.delay",
        "process.uptime",
    } <= http_receiver.metrics.keys()
    assert http_receiver.logs == [], "logs are exported only where that is asked for"


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
    request = grpc_receiver.span("POST /notes/{text}")
    assert (chosen, request.trace, request.parent) == (TRACE, TRACE, "")
    assert grpc_receiver.resource["service.name"] == "renamed"
    assert "http.server.request.duration" in grpc_receiver.metrics


async def test_the_sampler_decides(tmp_path: Path, server: Server, http_receiver: Received) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": http_receiver.endpoint, "OTEL_TRACES_SAMPLER": "always_off"}
    async with program(tmp_path, REDIS_URL=server.url, **variables) as running:
        assert len(await put_a_note(running)) == 32
        assert (await running.end(signal.SIGTERM))[0] == 0
    assert http_receiver.spans == []
    assert http_receiver.metrics


async def test_a_span_has_no_value_of_a_query_and_no_secret_of_a_path(
    tmp_path: Path, server: Server, http_receiver: Received
) -> None:
    async with program(tmp_path, REDIS_URL=server.url, OTEL_EXPORTER_OTLP_ENDPOINT=http_receiver.endpoint) as running:
        await running.until_status("/readyz", 200)
        path = f"/nothing/anna%40example.com?token={SECRET}&after={SECRET}&{SECRET}"
        async with running.session.get(running.url + path, headers={"Authorization": f"Bearer {SECRET}"}) as answer:
            assert answer.status == 404
        assert (await running.end(signal.SIGTERM))[0] == 0
    [span] = [span for span in http_receiver.spans if span.kind == "SERVER"]
    assert span["url.query"] == "token=***&after=***&***"
    assert span["url.path"] == "/nothing/a***@example.com"
    assert SECRET not in str(span.message)


@pytest.mark.parametrize(("ratio", "flag"), [("0", "01"), ("1", "00")])
async def test_a_stranger_does_not_choose_what_is_recorded(
    tmp_path: Path, server: Server, http_receiver: Received, ratio: str, flag: str
) -> None:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": http_receiver.endpoint,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": ratio,
    }
    async with program(tmp_path, REDIS_URL=server.url, **variables) as running:
        assert await put_a_note(running, traceparent=f"00-{TRACE}-{SPAN}-{flag}") == TRACE
        assert (await running.end(signal.SIGTERM))[0] == 0
    found = {(span.trace, span.parent) for span in http_receiver.spans if span.kind == "SERVER"}
    assert found == ({(TRACE, SPAN)} if ratio == "1" else set())


@pytest.mark.parametrize("state", ["dead", "slow"])
async def test_a_collector_in_trouble_neither_slows_nor_breaks_anything(
    tmp_path: Path, server: Server, state: str
) -> None:
    async with over_http(answers=False) as received:
        endpoint = received.endpoint if state == "slow" else "http://127.0.0.1:1"
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_BSP_SCHEDULE_DELAY": "10",
        }
        async with program(tmp_path, REDIS_URL=server.url, **variables) as running:
            await put_a_note(running)
            if state == "slow":
                await until(lambda: bool(received.spans), what="an export that gets no answer")
            took = []
            for _ in range(50):
                began = time.monotonic()
                await put_a_note(running)
                took.append(time.monotonic() - began)
            assert statistics.median(took) < 0.5, "an export under way takes ten seconds"
            began = time.monotonic()
            status, lines = await running.end(signal.SIGTERM)
        assert status == 0
        assert time.monotonic() - began < 15
        assert not any("Traceback" in line for line in lines)


async def test_logs_are_exported_where_that_is_asked_for(
    tmp_path: Path, server: Server, http_receiver: Received
) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": http_receiver.endpoint, "OTEL_LOGS_EXPORTER": "otlp"}
    async with program(tmp_path, REDIS_URL=server.url, **variables) as running:
        await put_a_note(running, traceparent=f"00-{TRACE}-{SPAN}-01", text="trouble")
        await until(lambda: any("trouble" in str(record.body) for record in http_receiver.logs), what="the log")
        assert (await running.end(signal.SIGTERM))[0] == 0
    [record] = [each for each in http_receiver.logs if "trouble" in str(each.body)]
    assert (record.severity_text, record.trace_id.hex()) == ("WARNING", TRACE)
    assert record.span_id.hex() == http_receiver.span("process notes_stream").id
    said = attributes(record)
    assert said["correlationId"] == TRACE
    assert said["eventId"] == http_receiver.span("send notes_stream")["messaging.message.id"]
    assert record.body.string_value == "trouble for a***@example.com"


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
    assert (http_receiver.spans, http_receiver.metrics) == ([], {})


@pytest.mark.parametrize(
    ("variables", "looks"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "HTTP_PROXY": "http://proxy:3128"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "NETRC": "netrc"}, True),
        ({}, True),
    ],
)
def test_proxies_and_passwords_are_looked_for_at_each_request_only_where_there_may_be_some(
    variables: dict[str, str], looks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine collector login me password secret\n")
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NETRC", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    session = configure._session()
    assert (session is None or session.trust_env) is looks


async def test_limits_of_spans_hold_for_all_of_them(tmp_path: Path, server: Server, http_receiver: Received) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": http_receiver.endpoint, "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "9"}
    async with program(tmp_path, REDIS_URL=server.url, **variables) as running:
        await put_a_note(running)
        await running.end(signal.SIGTERM)
    texts = [
        each for span in http_receiver.spans for each in attributes(span.message).values() if isinstance(each, str)
    ]
    assert {span.kind for span in http_receiver.spans} == {"SERVER", "PRODUCER", "CONSUMER"}
    assert max(map(len, texts)) == 9


async def test_a_limit_that_is_no_number_stops_the_program_with_one_line(tmp_path: Path, server: Server) -> None:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_SPAN_EVENT_COUNT_LIMIT": "many"}
    async with program(tmp_path, REDIS_URL=server.url, **variables) as running:
        status, lines = await running.end()
    assert status == 2
    assert lines[-1].endswith("OTEL_SPAN_EVENT_COUNT_LIMIT must be a non-negative integer but got many")
