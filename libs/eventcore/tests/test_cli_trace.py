"""`eventcore trace` follows one story through all streams, and says where each group is with each event."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from eventcore.operate import entries, following
from eventcore.testing import Server

from .tool import GROUP, STREAM, append, append_letter, client, one_line, run

CORRELATION = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "4bf92f3577b34da6ffffffffffffffff"


def tell_a_story(connected: redis.Redis) -> None:
    """An order that was refused by one group and has not reached another."""
    story = {"orderId": "order-1", "meta_correlationId": CORRELATION}
    append(connected, STREAM, "1000-0", **story, meta_eventId="e-1", meta_source="order-service")
    append(connected, STREAM, "1001-0", orderId="order-2", meta_correlationId=OTHER)
    append(
        connected,
        "inventory_stream",
        "1000-0",
        type="inventory.reserved",
        **story,
        meta_eventId="e-2",
        meta_causationId="e-1",
    )
    append(connected, "inventory_stream", "2500-0", type="inventory.released", **story, meta_eventId="e-3")
    for stream, group in ((STREAM, GROUP), ("inventory_stream", "order-group"), ("inventory_stream", "mail-group")):
        for each in (stream, f"{stream}:{group}:retry"):
            connected.xgroup_create(each, group, "0", mkstream=True)
    append(connected, f"{STREAM}:{GROUP}:retry", "3000-0", **story, meta_eventId="e-1")
    connected.xreadgroup(GROUP, "pod-1", {STREAM: ">"})
    connected.xack(STREAM, GROUP, "1000-0", "1001-0")
    connected.xreadgroup("order-group", "pod-2", {"inventory_stream": ">"}, count=1)
    kept: Any = connected.xrange(STREAM, "1000-0", "1000-0")
    append_letter(connected, "2000-0", event=kept[0][1][b"event"].decode(), entryId="1000-0", correlationId=CORRELATION)


def trace(server: Server, *arguments: str) -> Any:
    return run(server, "trace", *arguments, "--json").json


def test_a_story_is_told_in_order_with_where_each_group_is(redis_server: Server) -> None:
    with client(redis_server) as connected:
        tell_a_story(connected)
    document = trace(redis_server, CORRELATION)
    assert (document["id"], document["by"], document["correlationIds"]) == (CORRELATION, "correlationId", [CORRELATION])
    told = [
        (each["stream"], each["id"], each["eventId"], {one["group"]: one["state"] for one in each["deliveries"]})
        for each in document["events"]
    ]
    assert told == [
        (STREAM, "1000-0", "e-1", {GROUP: "dead_lettered"}),
        ("inventory_stream", "1000-0", "e-2", {"mail-group": "waiting", "order-group": "pending"}),
        ("orders_dlq", "2000-0", "e-1", {}),
        ("inventory_stream", "2500-0", "e-3", {"mail-group": "waiting", "order-group": "waiting"}),
        (f"{STREAM}:{GROUP}:retry", "3000-0", "e-1", {GROUP: "waiting"}),
    ]


def test_an_event_in_the_document_has_a_fixed_shape(redis_server: Server) -> None:
    with client(redis_server) as connected:
        tell_a_story(connected)
    first, second, letter, *_ = trace(redis_server, CORRELATION)["events"]
    assert first.keys() == second.keys() == letter.keys()
    event = second.pop("event")
    assert event["type"] == "inventory.reserved"
    [mail, order] = second.pop("deliveries")
    nothing = {"consumer": None, "attempts": None, "idleSeconds": None, "dueInSeconds": None, "error": None}
    assert mail == {"group": "mail-group", "state": "waiting", **nothing}
    assert order.pop("idleSeconds") >= 0
    held = {"consumer": "pod-2", "attempts": 1, "dueInSeconds": None, "error": None}
    assert order == {"group": "order-group", "state": "pending", **held}
    assert second == {
        "stream": "inventory_stream",
        "id": "1000-0",
        "time": "1970-01-01T00:00:01.000Z",
        "type": "inventory.reserved",
        "key": "order-1",
        "eventId": "e-2",
        "correlationId": CORRELATION,
        "error": None,
        "fields": None,
        "version": "1.0",
        "source": None,
        "causationId": "e-1",
        "deadLetter": None,
    }
    assert letter["deadLetter"]["reason"] == "attempts_exhausted"
    assert letter["deadLetter"]["entryId"] == "1000-0"


def test_people_read_a_timeline(redis_server: Server) -> None:
    with client(redis_server) as connected:
        tell_a_story(connected)
    lines = [line.strip() for line in run(redis_server, "trace", CORRELATION).lines]
    assert lines[:4] == [
        f"correlation  {CORRELATION}",
        "about        order-1",
        "1970-01-01 · 4 events · 1 dead letter · 2.0s from first to last",
        "",
    ]
    assert lines[4:7] == [
        "00:00:01.000           order.created 1.0 from order-service",
        "orders_stream 1000-0",
        f"✗ {GROUP}: dead-lettered",
    ]
    assert "00:00:01.000     +0ms  inventory.reserved 1.0" in lines
    assert "… mail-group: waiting" in lines
    assert any(line.startswith("↻ order-group: pending on pod-2 for ") for line in lines)
    assert f"00:00:02.000    +1.0s  dead letter of {GROUP}" in lines
    assert "attempts_exhausted at attempt 5" in lines
    assert "eventcore dlq show orders_stream --id 2000-0" in lines


def test_the_beginning_of_a_correlation_id_is_enough_if_it_fits_only_one(redis_server: Server) -> None:
    with client(redis_server) as connected:
        tell_a_story(connected)
    assert len(trace(redis_server, CORRELATION[:20])["events"]) == 5
    assert len(trace(redis_server, CORRELATION[:20] + "…")["events"]) == 5  # as `tail` shows it
    ambiguous = run(redis_server, "trace", CORRELATION[:16], status=1)
    assert one_line(ambiguous.stderr) == (
        f"eventcore: {CORRELATION[:16]} fits 2 correlation ids: {CORRELATION}, {OTHER}"
    )
    assert "nothing in" in run(redis_server, "trace", "4bf92", status=1).stderr  # would fit too much
    assert "must not be empty" in run(redis_server, "trace", "…", status=2).stderr


@pytest.mark.parametrize(("id", "by"), [("e-2", "eventId"), ("1000-0", "entryId"), ("2000-0", "entryId")])
def test_an_event_or_entry_leads_to_the_whole_story(redis_server: Server, id: str, by: str) -> None:
    with client(redis_server) as connected:
        tell_a_story(connected)
    document = trace(redis_server, id)
    assert (document["by"], document["correlationIds"], len(document["events"])) == (by, [CORRELATION], 5)


def test_an_entry_that_is_gone_is_followed_from_its_dead_letter(redis_server: Server) -> None:
    with client(redis_server) as connected:
        tell_a_story(connected)
        connected.xdel(STREAM, "1000-0")
        connected.delete("inventory_stream")
    events = trace(redis_server, "1000-0")["events"]
    assert [each["stream"] for each in events] == ["orders_dlq", f"{STREAM}:{GROUP}:retry"]


def test_what_events_are_about_is_followed_through_all_its_stories(redis_server: Server) -> None:
    with client(redis_server) as connected:
        tell_a_story(connected)
        append(connected, STREAM, "4000-0", type="order.cancelled", orderId="order-1", meta_correlationId=OTHER)
        append(connected, STREAM, "5000-0", type="bill.paid", billId=17, orderId="order-9")
    document = trace(redis_server, "order-1")
    assert (document["by"], document["correlationIds"]) == ("orderId", [CORRELATION, OTHER])
    assert len(document["events"]) == 6
    assert trace(redis_server, "17")["by"] == "billId"
    assert run(redis_server, "trace", "order-", status=1).stdout == ""


def test_the_end_of_an_id_is_enough_as_tail_shows_it(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(connected, orderId="01a20781-0bcd-73be-bccb-2cbf83c5aaeb")
        append(connected, orderId="01a20781-0bcd-73be-bccb-2cbf83c5ffff")
        append(connected, orderId="01a20781-0bcd-73be-bccb-99bf83c5ffff")
    assert len(trace(redis_server, "…2cbf83c5aaeb")["events"]) == 1
    assert "fits 2 ids" in one_line(run(redis_server, "trace", "…83c5ffff", status=1).stderr)
    run(redis_server, "trace", "2cbf83c5aaeb", status=1)


@pytest.mark.parametrize("order_id", ["Zoë-and-more", 'quoted"order', "12345678"])
def test_order_ids_of_any_kind_are_found(redis_server: Server, order_id: str) -> None:
    with client(redis_server) as connected:
        append(connected, orderId=int(order_id) if order_id.isdigit() else order_id)
        spelled = {
            "type": "a.b",
            "data": {"orderId": order_id},
            "metadata": {"eventId": "e", "timestamp": "2026-11-23T10:00:00Z"},
        }
        connected.xadd(STREAM, {"event": json.dumps(spelled, ensure_ascii=False)})
    assert len(trace(redis_server, order_id)["events"]) == 2


def test_an_event_without_a_correlation_id_is_found_by_its_trace_id(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(connected, meta_traceparent=f"00-{CORRELATION}-00f067aa0ba902b7-01")
    assert len(trace(redis_server, CORRELATION)["events"]) == 1


def test_what_cannot_be_decoded_is_found_if_it_mentions_the_id(redis_server: Server) -> None:
    with client(redis_server) as connected:
        connected.xadd(STREAM, {"event": '{"broken": "' + CORRELATION})
    [event] = trace(redis_server, CORRELATION)["events"]
    assert (event["type"], event["correlationId"]) == (None, None)
    assert event["error"].startswith("event: not JSON")
    assert "undecodable event: not JSON" in run(redis_server, "trace", CORRELATION).stdout


def test_an_id_in_another_place_is_not_meant(redis_server: Server) -> None:
    with client(redis_server) as connected:
        append(connected, note=CORRELATION, meta_correlationId=OTHER)
    missing = run(redis_server, "trace", CORRELATION, status=1)
    assert f"nothing in 1 stream has the id {CORRELATION}" in one_line(missing.stderr)


def test_long_streams_are_read_page_by_page(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "PAGE_SIZE", 3)
    with client(redis_server) as connected:
        for number in range(20):
            append(connected, orderId="order-1" if number % 5 == 0 else "another")
    assert len(trace(redis_server, "order-1")["events"]) == 4


def test_an_id_that_is_everywhere_does_not_fill_the_memory(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_MOST_STEPS", 3)
    with client(redis_server) as connected:
        for _ in range(4):
            append(connected, orderId="order-1")
    result = run(redis_server, "trace", "order-1", status=1)
    assert one_line(result.stderr) == "eventcore: orders_stream has more than 3 entries with order-1"


def states(server: Server, id: str) -> list[tuple[str, str]]:
    """The entries of a story, and what became of them."""
    events = trace(server, id)["events"]
    return [(each["id"], one["state"]) for each in events for one in each["deliveries"]]


def fail_and_redrive(connected: redis.Redis, letter: str, entry_id: str, named: str, **event: str) -> None:
    """The group gives up on an entry: its letter names one. It is redriven, as a given entry of the retry stream."""
    append_letter(connected, letter, entryId=named, **event)
    connected.xdel("orders_dlq", letter)
    connected.xadd(f"{STREAM}:{GROUP}:retry", {b"event": event["event"]}, id=entry_id)
    connected.xreadgroup(GROUP, "pod-1", {f"{STREAM}:{GROUP}:retry": ">"}, noack=True)


@pytest.mark.parametrize("named", ["1000-0", "4000-0"], ids=["the first entry", "the last entry"])
@pytest.mark.parametrize("event", [None, "not even JSON, but about order-1"], ids=["an event", "no event"])
def test_what_fails_again_after_a_redrive_is_no_more_done_than_before(
    redis_server: Server, event: str | None, named: str
) -> None:
    with client(redis_server) as connected:
        for stream in (STREAM, f"{STREAM}:{GROUP}:retry"):
            connected.xgroup_create(stream, GROUP, "0", mkstream=True)
        raw = event or json.dumps(append(connected, STREAM, "900-0", orderId="order-1")[1])
        connected.xadd(STREAM, {"event": raw}, id="1000-0")
        connected.xreadgroup(GROUP, "pod-1", {STREAM: ">"}, noack=True)
        fail_and_redrive(connected, "1001-0", "2000-0", "1000-0", event=raw)
        fail_and_redrive(connected, "2001-0", "4000-0", named, event=raw)
        redriven = dict(states(redis_server, "order-1"))
        append_letter(connected, "4001-0", event=raw, entryId=named)
    assert (redriven["1000-0"], redriven["2000-0"], redriven["4000-0"]) == ("handed_on", "handed_on", "done")
    failed = dict(states(redis_server, "order-1"))
    assert (failed["2000-0"], failed["4000-0"]) == ("handed_on", "dead_lettered")
    assert failed["1000-0"] == ("dead_lettered" if named == "1000-0" else "handed_on")
    assert "handed on to the retry stream" in run(redis_server, "trace", "order-1").stdout
