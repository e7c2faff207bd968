"""`eventcore publish` appends an event that any consumer can decode, or nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eventcore.events.envelope import decode
from eventcore.testing import Server
from eventcore.testing.fixtures import StartServer

from .tool import STREAM, client, one_line, run

CORRELATION = "4bf92f3577b34da6a3ce929d0e0e4736"


def entries(server: Server, stream: str = STREAM) -> list[tuple[str, dict[bytes, bytes]]]:
    with client(server) as connected:
        rows: Any = connected.xrange(stream)
        return [(entry_id.decode(), fields) for entry_id, fields in rows]


def test_it_publishes_a_whole_envelope_and_says_its_ids(redis_server: Server) -> None:
    result = run(redis_server, "publish", STREAM, "order.created", '{"orderId": "Zoë", "n": 12345678901234567890}')
    [(entry_id, fields)] = entries(redis_server)
    event = json.loads(fields[b"event"])
    metadata = event["metadata"]
    assert fields.keys() == {b"event"}
    assert result.stdout == f"{entry_id} {metadata['eventId']}\n"
    assert (event["type"], event["data"]) == ("order.created", {"orderId": "Zoë", "n": 12345678901234567890})
    assert (metadata["version"], metadata["source"], metadata["causationId"]) == ("1.0", "eventcore-cli", None)
    assert len(metadata["correlationId"]) == 32
    assert metadata["traceparent"].startswith(f"00-{metadata['correlationId']}-")
    assert metadata["timestamp"].endswith("Z")
    assert decode(fields).type == "order.created"


def test_version_correlation_and_event_id_can_be_given(redis_server: Server) -> None:
    options = ["--version", "2.1", "--correlation-id", CORRELATION.upper(), "--event-id", "my-event"]
    document = run(redis_server, "publish", STREAM, "a", "{}", *options, "--json").json
    [(entry_id, fields)] = entries(redis_server)
    assert document == {
        "stream": STREAM,
        "entryId": entry_id,
        "eventId": "my-event",
        "correlationId": CORRELATION,
        "created": True,
    }
    metadata = decode(fields).metadata
    assert (metadata.version, metadata.correlation_id, metadata.event_id) == ("2.1", CORRELATION, "my-event")


def test_data_can_come_from_a_pipe(redis_server: Server) -> None:
    run(redis_server, "publish", STREAM, "order.created", "-", stdin='{"orderId": "1"}\n')
    [(_, fields)] = entries(redis_server)
    assert decode(fields).data == {"orderId": "1"}


def test_the_prefix_is_put_before_the_stream_once(redis_server: Server) -> None:
    for name in ("orders_stream", "{shop}:orders_stream"):
        run(redis_server, "publish", name, "a.b", "{}", env={"KEY_PREFIX": "{shop}:"})
    assert len(entries(redis_server, "{shop}:orders_stream")) == 2


def test_a_stream_that_had_to_be_created_is_mentioned(redis_server: Server) -> None:
    first = run(redis_server, "publish", STREAM, "a.b", "{}", "--json")
    assert first.json["created"]
    assert one_line(first.stderr) == "the stream orders_stream was not there before"
    second = run(redis_server, "publish", STREAM, "a.b", "{}", "--json")
    assert (second.json["created"], second.stderr) == (False, "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([STREAM, "a.b", "{x"], "not JSON"),
        ([STREAM, "a.b", ""], "not JSON"),
        ([STREAM, "a.b", '{"n": NaN}'], "not JSON"),
        ([STREAM, "a.b", '{"n": "\\ud800"}'], "not JSON"),
        ([STREAM, "a.b", "[1]"], "must be a JSON object"),
        ([STREAM, "a.b", "null"], "must be a JSON object"),
        ([STREAM, " ", "{}"], "must not be empty"),
        (["", "a.b", "{}"], "must not be empty"),
        ([STREAM, "a.b", "{}", "--version", "1"], "not a version"),
        ([STREAM, "a.b", "{}", "--correlation-id", "xyz"], "32 hexadecimal digits"),
        ([STREAM, "a.b", "{}", "--correlation-id", "0" * 32], "32 hexadecimal digits"),
        ([STREAM, "a.b", "{}", "--event-id", ""], "metadata.eventId"),
        ([STREAM, "a.b", "{}", "--event-id", "x" * 201], "metadata.eventId"),
    ],
)
def test_what_no_consumer_could_use_is_wrong_usage(redis_server: Server, arguments: list[str], complaint: str) -> None:
    result = run(redis_server, "publish", *arguments, status=2)
    assert complaint in " ".join(result.stderr.replace("│", " ").split())
    with client(redis_server) as connected:
        assert connected.dbsize() == 0


def test_a_full_stream_refuses_more(redis_server: Server) -> None:
    cap = {"STREAM_CAP": "2"}
    for _ in range(2):
        run(redis_server, "publish", STREAM, "a.b", "{}", env=cap)
    refused = run(redis_server, "publish", STREAM, "a.b", "{}", env=cap, status=1)
    assert "orders_stream is at its hard cap of 2 entries (STREAM_CAP)" in one_line(refused.stderr)
    assert len(entries(redis_server)) == 2


def test_a_server_without_memory_refuses_more(start_server: StartServer) -> None:
    server = start_server(maxmemory="1")
    refused = run(server, "publish", STREAM, "a.b", "{}", status=1)
    assert "refused" in one_line(refused.stderr)
    assert entries(server) == []
