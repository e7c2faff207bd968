"""`eventcore tail` shows the newest entries one a line, and those that come, whatever stands in them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from eventcore.operate import entries
from eventcore.testing import Server

from .tool import SECONDS, STREAM, append, append_letter, client, one_line, popen, program, run

CORRELATION = "4bf92f3577b34da6a3ce929d0e0e4736"


def keys(server: Server, *arguments: str) -> list[str]:
    return [json.loads(line)["key"] for line in run(server, "tail", STREAM, "--json", *arguments).lines]


def test_the_newest_entries_are_shown_oldest_first(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with client(redis_server) as connected:
        for number in range(25):
            append(connected, orderId=str(number))
    assert keys(redis_server) == [str(number) for number in range(15, 25)]
    assert keys(redis_server, "-n", "2") == ["23", "24"]
    assert keys(redis_server, "--last", "0") == []

    monkeypatch.setattr(entries, "PAGE_SIZE", 7)
    assert keys(redis_server, "-n", "20") == [str(number) for number in range(5, 25)]
    assert keys(redis_server, "-n", "100") == [str(number) for number in range(25)]


def test_a_line_says_when_what_about_which_order_and_in_which_story(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(
            connected, STREAM, "1795422227446-7", customerId="VINET", orderId="order-1", meta_correlationId=CORRELATION
        )
    [line] = run(redis_server, "tail", STREAM).lines
    assert line.split() == ["2026-11-23T08:23:47.446Z", "1795422227446-7", "order.created", "order-1", CORRELATION]


def test_a_document_has_the_event_as_it_stands_there(redis_server: Server) -> None:
    with client(redis_server) as connected:
        entry_id, event = append(connected, STREAM, "1795422227446-7", customerId="VINET", more=[1.5, None])
    assert run(redis_server, "tail", STREAM, "--json").json == {
        "stream": STREAM,
        "id": entry_id,
        "time": "2026-11-23T08:23:47.446Z",
        "type": "order.created",
        "key": "VINET",
        "eventId": "e-1",
        "correlationId": None,
        "event": event,
        "error": None,
        "fields": None,
    }


def test_an_event_without_a_correlation_id_has_its_trace_id(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(connected, meta_traceparent=f"00-{CORRELATION}-00f067aa0ba902b7-01")
    assert run(redis_server, "tail", STREAM, "--json").json["correlationId"] == CORRELATION


@pytest.mark.parametrize(
    ("fields", "error", "event"),
    [
        ({"event": "{"}, "event: not JSON", None),
        ({"event": '{"type":"a.b"}'}, "data: missing", {"type": "a.b"}),
        ({"event": '{"type":"a.b","data":NaN}'}, "event: not JSON", None),
        ({"event": "[" * 100_000 + "]" * 100_000}, "event: not JSON", None),
        ({"other": "\udcff"}, "event: the entry has no such field", None),
    ],
    ids=["broken", "misshapen", "no number", "deep", "no event"],
)
def test_what_cannot_be_decoded_is_shown_as_such(
    redis_server: Server, fields: dict[str, str], error: str, event: Any
) -> None:
    raw: Any = {name: value.encode("utf-8", "surrogateescape") for name, value in fields.items()}
    with client(redis_server) as connected:
        connected.xadd(STREAM, raw)
    shown = run(redis_server, "tail", STREAM).stdout
    assert f"undecodable {error}" in shown
    document = run(redis_server, "tail", STREAM, "--json").json
    assert document["error"].startswith(error)
    assert (document["type"], document["event"]) == (None, event)
    assert document["fields"] == {name: value.replace("\udcff", "�") for name, value in fields.items()}


def test_a_number_out_of_range_leaves_the_document_json(redis_server: Server) -> None:
    with client(redis_server) as connected:
        event = json.dumps(append(connected, far="far")[1]).replace('"far"}', "1e999}")
        connected.xadd(STREAM, {"event": event})
    document = run(redis_server, "tail", STREAM, "-n", "1", "--json").json
    assert (document["type"], document["event"], document["fields"]) == ("order.created", None, {"event": event})


def test_entry_ids_that_are_no_times_are_shown(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(connected, STREAM, "18446744073709551615-1")
    assert run(redis_server, "tail", STREAM).stdout.startswith("? 18446744073709551615-1 order.created")
    assert run(redis_server, "tail", STREAM, "--json").json["time"] is None


def test_dead_letters_and_retry_streams_are_streams_as_well(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append_letter(connected)
        append(connected, "orders_stream:g:retry", orderId="o-2")
    assert run(redis_server, "tail", "orders_dlq", "--json").json["key"] == "o-1"
    assert run(redis_server, "tail", "orders_stream:g:retry", "--json").json["key"] == "o-2"


def test_a_stream_that_is_not_there_is_named_with_what_there_is(redis_server: Server) -> None:
    assert run(redis_server, "tail", "x", status=1).stderr == "eventcore: there is no stream x; there are: none\n"
    with client(redis_server) as connected:
        append(connected)
    missing = run(redis_server, "tail", "x", "--follow", status=1)
    assert missing.stderr == "eventcore: there is no stream x; there are: orders_stream\n"
    assert missing.stdout == ""


def test_following_shows_what_comes_until_ctrl_c(any_server: Server) -> None:
    with client(any_server) as connected:
        append(connected, orderId="old")
        append(connected, orderId="last")
        with program(any_server, "tail", STREAM, "-f", "-n", "1", "--json") as following:
            assert following.stdout
            assert json.loads(following.stdout.readline())["key"] == "last"
            for number in ("1", "2"):
                append(connected, orderId=number)
                assert json.loads(following.stdout.readline())["key"] == number


def test_following_an_emptied_stream_shows_what_comes(any_server: Server) -> None:
    with client(any_server) as connected:
        append(connected, orderId="old")
        connected.xtrim(STREAM, maxlen=0, approximate=False)
        with program(any_server, "tail", STREAM, "-f") as following:
            append(connected, orderId="new")
            assert following.stdout
            assert "new" in following.stdout.readline()


def test_following_outlasts_a_restart_and_misses_nothing() -> None:
    with Server(append_only=True) as server, client(server) as connected:
        append(connected, orderId="old")
        with program(server, "tail", STREAM, "--follow", "--json") as following:
            assert following.stdout
            assert following.stderr
            assert json.loads(following.stdout.readline())["key"] == "old"
            append(connected, orderId="before")
            assert json.loads(following.stdout.readline())["key"] == "before"
            server.kill()
            assert "out of reach" in one_line(following.stderr.readline())
            server.restart()
            append(connected, orderId="after")
            assert json.loads(following.stdout.readline())["key"] == "after"


@pytest.mark.parametrize("command", [("tail", STREAM, "--follow"), ("status", "--watch", "--interval", "0.2")])
def test_what_waits_for_more_ends_quietly_when_nobody_reads_its_pipe_any_more(
    any_server: Server, command: tuple[str, ...]
) -> None:
    with client(any_server) as connected:
        append(connected, orderId="last")
    with popen(any_server, *command) as following:
        assert following.stdout
        assert following.stderr
        assert following.stdout.readline()
        following.stdout.close()
        assert following.wait(SECONDS) == 1
        assert following.stderr.read() == ""
