"""One request is one trace: through all services, retries, takeover, dead letters and redrive, to mail and webhook."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from eventcore import timestamp
from eventcore.operate.dead_letters import DeadLetters
from eventcore.testing import until
from libs.eventcore.tests.collector import Span, over_http

from .shop import shop

# Starting seven interpreters takes its time on a busy machine.
pytestmark = pytest.mark.timeout(240)

SETTINGS = {"OTEL_BSP_SCHEDULE_DELAY": "200", "TRUST_TRACE_FLAGS": "true", "WEBHOOK_BAGGAGE": "true"}
CALLER = "00f067aa0ba902b7"
RETRIED, TAKEN_OVER, REDRIVEN, UNSAMPLED = (f"{number}bf92f3577b34da6a3ce929d0e0e4736" for number in "4567")


def caller(trace: str, *, sampled: bool = True) -> dict[str, str]:
    """The headers of somebody who has begun this trace."""
    return {"traceparent": f"00-{trace}-{CALLER}-0{int(sampled)}", "tracestate": "a=1", "baggage": "tier=gold"}


def tree(spans: Sequence[Span], trace: str, parent: str, depth: int = 0) -> list[str]:
    """The spans of a trace below one of them, one a line: by service, and in the order in which they began."""
    below = [span for span in spans if (span.trace, span.parent) == (trace, parent)]
    lines = []
    for span in sorted(below, key=lambda span: (span.service, span.message.start_time_unix_nano)):
        lines += ["  " * depth + line(span), *tree(spans, trace, span.id, depth + 1)]
    return lines


def line(span: Span) -> str:
    """A span in a few words."""
    said = [span.service.removesuffix("-service"), span.kind, span.name]
    if span.kind == "CONSUMER":
        said += [str(span["eventcore.attempt"]), span["eventcore.outcome"]]
    if span.get("http.response.status_code"):
        said.append(str(span["http.response.status_code"]))
    return " ".join([*said, *(["FAILED"] if span.failed else [])])


async def test_one_request_is_one_trace_whatever_happens(tmp_path: Path) -> None:
    async with (
        over_http() as collector,
        shop(tmp_path, collector, channels=True, **SETTINGS) as running,
        Redis.from_url(running.server.url, protocol=2) as redis,
    ):
        await running.start("order", "inventory", "notification")
        await running.ask("inventory", "PUT", "/stock/11", {"available": 1000})
        hooks = running.hooks

        hooks.answers = [503]
        await running.until_told(await running.place(**caller(RETRIED)), by=2)
        retried = hooks.headers[:]

        await running.until_told(await running.place(**caller(UNSAMPLED, sampled=False)), by=2)
        unsampled = hooks.headers[-1]

        await redis.xadd("inventory_stream", {"event": undecodable(REDRIVEN)})
        letters = DeadLetters(redis, "inventory_stream")
        for _ in range(2):
            await until(lambda: has(letters, 2), what="both groups to give up")
            assert await letters.redrive([letter async for letter in letters.list()]) == 2
        await until(lambda: has(letters, 2), what="both groups to give up again")

        hooks.open.clear()
        order_id = await running.place(**caller(TAKEN_OVER))
        await until(lambda: len(hooks.headers) > len(retried) + 1, what="the webhook to be under way")
        await until(lambda: len(tree(collector.spans, RETRIED, CALLER)) == 10, what="what must not die with it")
        running.kill("notification")
        await running.start("notification-2")
        hooks.open.set()
        await running.until_told(order_id, by=2, asking="notification-2")
        await running.end()
        spans = collector.spans

    assert tree(spans, RETRIED, CALLER) == [
        "order SERVER POST /orders 202",
        "  order PRODUCER send orders_stream",
        "    inventory CONSUMER process orders_stream 1 handled",
        "      inventory PRODUCER send inventory_stream",
        "        notification CONSUMER process inventory_stream 1 failed FAILED",
        "          notification CLIENT send mail",
        "          notification CLIENT POST 503 FAILED",
        "        notification CONSUMER process inventory_stream 1 handled",  # it could not know: no attempt is spent
        "          notification CLIENT POST 204",
        "        order CONSUMER process inventory_stream 1 handled",
    ]
    assert tree(spans, TAKEN_OVER, CALLER)[4:] == [
        "        notification CONSUMER process inventory_stream 2 handled",
        "          notification CLIENT send mail",
        "          notification CLIENT POST 204",
        "        order CONSUMER process inventory_stream 1 handled",
    ]
    first, second, third = (
        [span for span in spans if span.trace == REDRIVEN and span.service == "order-service"][number]
        for number in range(3)
    )
    for span in (first, second, third):
        assert line(span) == "order CONSUMER process " + (
            "inventory_stream 1 dead_lettered FAILED"
            if span is first
            else "inventory_stream:order-group:retry 1 dead_lettered FAILED"
        )
        assert span.parent == CALLER
    assert (first.links, second.links, third.links) == ([], [first.id], [second.id])
    assert not [span for span in spans if span.trace == UNSAMPLED]

    posts = [span for span in spans if span.trace == RETRIED and span.name == "POST"]
    assert [headers["traceparent"] for headers in retried] == [f"00-{RETRIED}-{post.id}-01" for post in posts]
    assert unsampled["traceparent"].startswith(f"00-{UNSAMPLED}-")
    assert unsampled["traceparent"].endswith("-00")
    for headers in (*retried, unsampled):
        assert (headers["tracestate"], headers["baggage"]) == ("a=1", "tier=gold")
    assert {post["url.full"].rpartition("/")[2] for post in posts} == {"REDACTED"}
    said = str([span.message for span in spans])
    assert "anna" not in said
    assert "s3cret" not in said


async def has(letters: DeadLetters, count: int) -> bool:
    return await letters.count() == count


def undecodable(trace: str) -> str:
    """An event whose data is not what its type says."""
    metadata = {"eventId": "e-1", "timestamp": timestamp(), "traceparent": caller(trace)["traceparent"]}
    return json.dumps({"type": "inventory.reserved", "data": {}, "metadata": metadata})
