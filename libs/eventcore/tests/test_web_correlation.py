"""Correlation: a request's trace continues the caller's, is told to everybody, and gets into its events."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from opentelemetry import trace

from eventcore import Settings, Store
from eventcore.telemetry.measurements import request_duration
from eventcore.web import Api, Problem, correlation_id, create_service, current_origin
from eventcore.web.correlation import incoming

from .test_web import NOWHERE, notes_api, serving

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
NEW = re.compile("[0-9a-f]{32}")


def trace_of(**headers: str) -> str:
    """The trace id that a request with these headers gets."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return incoming(CIMultiDictProxy(CIMultiDict(named))).traceparent[3:35]


def test_a_valid_traceparent_continues_its_trace() -> None:
    caller = incoming(CIMultiDictProxy(CIMultiDict(traceparent=PARENT, tracestate="a=1,b=2"))).get_span_context()
    assert f"{caller.trace_id:032x}-{caller.span_id:016x}" == f"{TRACE}-{SPAN}"
    assert caller.is_remote
    assert caller.trace_flags.sampled
    assert caller.trace_state.to_header() == "a=1,b=2"


def test_a_newer_version_of_traceparent_is_read_as_far_as_it_is_known() -> None:
    assert trace_of(traceparent=f"01-{TRACE}-{SPAN}-01-more") == TRACE


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        PARENT.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"{PARENT}-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f" {PARENT}x",
    ],
)
def test_an_invalid_traceparent_is_ignored(traceparent: str) -> None:
    other = "0af7651916cd43dd8448eb211c80319c"
    assert trace_of(traceparent=traceparent, X_Correlation_ID=other) == other
    assert trace_of(traceparent=traceparent) != TRACE


@pytest.mark.parametrize("given", [TRACE, TRACE.upper(), "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"])
def test_a_correlation_id_that_can_be_one_becomes_the_trace_id(given: str) -> None:
    assert trace_of(X_Correlation_ID=given) == TRACE
    assert incoming(CIMultiDictProxy(CIMultiDict({"X-Correlation-ID": given}))).traceparent.endswith("-00")


def test_traceparent_goes_before_the_correlation_id() -> None:
    assert trace_of(traceparent=PARENT, X_Correlation_ID="0af7651916cd43dd8448eb211c80319c") == TRACE


@pytest.mark.parametrize("given", ["", "17", "x" * 32, "0" * 32, f"{TRACE}0", "4bf92f35-77b34da6-a3ce-929d0e0e4736"])
def test_any_other_correlation_id_gives_way_to_a_new_one(given: str) -> None:
    first, second = trace_of(X_Correlation_ID=given), trace_of(X_Correlation_ID=given)
    assert NEW.fullmatch(first)
    assert first != second


@pytest.mark.parametrize(
    "path", ["/notes", "/notes/unknown", "/nothing", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_every_answer_says_its_trace(method: str, path: str) -> None:
    async with serving(create_service(NOWHERE, name="notes", api=notes_api())) as client:
        given = await client.request(method, path, headers={"traceparent": PARENT})
        assert given.headers["X-Correlation-ID"] == TRACE
        new = await client.request(method, path)
        assert NEW.fullmatch(new.headers["X-Correlation-ID"])


async def test_events_of_a_request_are_part_of_its_trace(store: Store, settings: Settings) -> None:
    body = {"lines": [{"text": "hello", "lineNumber": 1}]}
    async with serving(create_service(settings, name="notes", api=notes_api())) as client:
        continued = await client.post("/notes", json=body, headers={"traceparent": PARENT, "tracestate": "a=1"})
        chosen = await client.post("/notes", json=body, headers={"X-Correlation-ID": TRACE})
        new = await client.post("/notes", json=body)
    assert (continued.headers["X-Correlation-ID"], chosen.headers["X-Correlation-ID"]) == (TRACE, TRACE)
    first, second, third = await published(store)
    assert (first["source"], first["correlationId"]) == ("notes", TRACE)
    assert (first["traceparent"], first["tracestate"]) == (f"00-{TRACE}-{SPAN}-00", "a=1")
    assert second["correlationId"] == TRACE
    assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-00", second["traceparent"])
    assert third["correlationId"] == new.headers["X-Correlation-ID"]
    assert third["correlationId"] in third["traceparent"]
    await store.redis.delete("notes_stream")


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
async def test_a_caller_who_is_trusted_says_whether_its_trace_is_recorded(
    store: Store, settings: Settings, flags: str
) -> None:
    trusting = settings.model_copy(update={"trust_trace_flags": True})
    body = {"lines": [{"text": "hello", "lineNumber": 1}]}
    async with serving(create_service(trusting, name="notes", api=notes_api())) as client:
        await client.post("/notes", json=body, headers={"traceparent": f"{PARENT[:-2]}{flags}"})
    [event] = await published(store)
    assert event["traceparent"] == f"{PARENT[:-2]}{flags}"
    await store.redis.delete("notes_stream")


async def test_baggage_travels_with_the_events_of_a_request(store: Store, settings: Settings) -> None:
    body = {"lines": [{"text": "hello", "lineNumber": 1}]}
    async with serving(create_service(settings, name="notes", api=notes_api())) as client:
        await client.post("/notes", json=body, headers=[("baggage", "tier=gold"), ("baggage", "user=a%20b;p=1")])
        await client.post("/notes", json=body, headers={"baggage": "no baggage at all, " * 1000})
        await client.post("/notes", json=body)
    first, *others = await published(store)
    assert first["baggage"] == "tier=gold,user=a%20b;p=1", "as it came"
    assert all("baggage" not in each for each in others)
    await store.redis.delete("notes_stream")


async def published(store: Store) -> list[dict[str, Any]]:
    """The metadata of all events published."""
    entries: Any = await store.redis.xrange("notes_stream")
    return [json.loads(fields[b"event"])["metadata"] for _, fields in entries]


async def test_requests_at_the_same_time_keep_their_traces_apart() -> None:
    api = Api()

    @api.get("/who", answers={200: dict})
    async def who(request: web.Request) -> dict[str, str]:
        origin = current_origin("who")
        return {"request": correlation_id(request), "event": origin.correlation_id}

    async with serving(create_service(NOWHERE, name="notes", api=api)) as client:
        answers = [await (await client.get("/who")).json() for _ in range(5)]
    assert all(answer["request"] == answer["event"] for answer in answers)
    assert len({answer["request"] for answer in answers}) == 5


async def test_a_handler_finds_its_callers_span_to_be_the_current_one() -> None:
    api = Api()

    @api.get("/span", answers={200: dict})
    async def span(request: web.Request) -> dict[str, Any]:
        found = trace.get_current_span().get_span_context()
        assert repr(trace.get_current_span()).endswith(f"-{found.span_id:016x}-{found.trace_flags:02x})")
        return {
            "ids": f"{found.trace_id:032x}-{found.span_id:016x}",
            "sampled": found.trace_flags.sampled,
            "state": found.trace_state.to_header(),
            "remote": found.is_remote,
        }

    async with serving(create_service(NOWHERE, name="notes", api=api)) as client:
        given = await (await client.get("/span", headers={"traceparent": PARENT, "tracestate": "a=1"})).json()
        made_up = await client.get("/span")
        assert given == {"ids": f"{TRACE}-{SPAN}", "sampled": False, "state": "a=1", "remote": True}
        found = await made_up.json()
    assert found["ids"].startswith(made_up.headers["X-Correlation-ID"])
    assert (found["sampled"], found["state"], found["remote"]) == (False, "", False)


async def test_what_a_handler_does_and_raises_is_measured_with_its_status() -> None:
    api = Api()

    @api.get("/measured/{how}", answers={200: dict}, errors=(409,))
    async def measured(request: web.Request, how: str) -> dict[str, str]:
        match how:
            case "moved":
                raise web.HTTPFound("/elsewhere")
            case "refused":
                raise Problem(409)
            case "broken":
                raise ZeroDivisionError
        return {}

    expected = {"fine": 200, "moved": 302, "refused": 409, "broken": 500}
    before = {how: measured_with(status) for how, status in expected.items()}
    async with serving(create_service(NOWHERE, name="notes", api=api)) as client:
        for how, status in expected.items():
            answer = await client.get(f"/measured/{how}", allow_redirects=False)
            assert answer.status == status
            assert NEW.fullmatch(answer.headers["X-Correlation-ID"])
    after = {how: measured_with(status) - before[how] for how, status in expected.items()}
    assert after == dict.fromkeys(expected, 1)


def measured_with(status: int) -> int:
    """How many requests of `/measured/{how}` were measured with this status."""
    error = str(status) if status >= 500 else None
    cell = request_duration.cells.get(("GET", "http", "/measured/{how}", status, error))
    return 0 if cell is None else sum(cell.counts)


def test_outside_of_a_request_each_event_begins_a_trace() -> None:
    assert current_origin("nobody").correlation_id != current_origin("nobody").correlation_id
