"""Every error of the contract: an honest status, `application/problem+json`, and what is wrong by name."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any

import pytest
import pytest_asyncio
from aiohttp import ClientResponse, web
from pydantic import BaseModel, Field
from redis import exceptions as redis_errors

from eventcore import Conflict, DurabilityUnknown, NotDurable, OutcomeUnknown, Settings, StreamFull, Unavailable, Value
from eventcore.testing import Server, until
from eventcore.testing.fixtures import StartServer
from eventcore.web import Api, FieldError, Problem, create_service
from eventcore.web.problems import unavailable
from eventcore.web.request import Parameters

from .test_web import NOWHERE, Client, notes_api, serving

JSON = {"Content-Type": "application/json"}
GOOD = {"lines": [{"text": "hello", "lineNumber": 1}]}


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    """A client of a service that has no Redis: none of these errors needs one."""
    async with serving(create_service(NOWHERE, name="notes", api=notes_api())) as client:
        yield client


async def problem(answer: ClientResponse, status: int) -> dict[str, Any]:
    """The problem that was answered, which must have this status."""
    text = await answer.text()
    assert (answer.status, answer.content_type) == (status, "application/problem+json"), text
    content: dict[str, Any] = json.loads(text)
    assert content["status"] == status
    assert content["title"]
    assert content["correlationId"] == answer.headers["X-Correlation-ID"]
    assert "Traceback" not in text
    return content


def field_errors(content: dict[str, Any]) -> dict[str, str]:
    errors: list[FieldError] = content["errors"]
    return {error["field"]: error["message"] for error in errors}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"lines": NaN}',
        b'{"lines": Infinity}',
        b'"\xff\xfe"',
        b'"\\ud800"',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 10_000,
        b"1 2",
        b"9" * 100_000,
        b'{"lines": [{"text": "a", "text": "b", "lineNumber": 1}]}',
    ],
    ids=lambda body: repr(body[:12]),
)
async def test_what_is_no_json_is_malformed(client: Client, body: bytes) -> None:
    content = await problem(await client.post("/notes", data=body, headers=JSON), 400)
    assert content["detail"].startswith("The body is not JSON: ")


async def test_a_name_that_stands_twice_is_named(client: Client) -> None:
    content = await problem(await client.post("/notes", data=b'{"lines":[],"lines":[]}', headers=JSON), 400)
    assert content["detail"] == "The body is not JSON: lines: stands twice in one object"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "lines"),
        ({"lines": []}, "lines"),
        ({"lines": [{"text": "a", "lineNumber": 0}]}, "lines.0.lineNumber"),
        ({"lines": [{"text": "a", "lineNumber": "1"}]}, "lines.0.lineNumber"),
        ({"lines": [{"text": "a", "lineNumber": True}]}, "lines.0.lineNumber"),
        ({"lines": [{"text": "a", "lineNumber": 1.5}]}, "lines.0.lineNumber"),
        ({"lines": [{"text": "a", "lineNumber": 10**40}]}, "lines.0.lineNumber"),
        ({"lines": [{"text": "a", "lineNumber": 1e300}]}, "lines.0.lineNumber"),
        ({"lines": [{"text": 1, "lineNumber": 1}]}, "lines.0.text"),
        ({"lines": [{"text": "a", "line_number": 1}]}, "lines.0.lineNumber"),
        ({**GOOD, "signedBy": 7}, "signedBy"),
        ([], "body"),
        ("text", "body"),
    ],
)
async def test_a_body_that_breaks_a_rule_is_told_which_field_does(client: Client, body: Any, field: str) -> None:
    content = await problem(await client.post("/notes", json=body), 422)
    assert list(field_errors(content)) == [field]
    assert content["detail"].startswith(f"{field}: ")


async def test_many_wrong_fields_are_counted_but_not_all_named(client: Client) -> None:
    body = {"lines": [{"text": "", "lineNumber": 1}] * 900}
    content = await problem(await client.post("/notes", json=body), 422)
    assert len(content["errors"]) == 50
    assert content["detail"].endswith("(and 899 more)")


async def test_a_whole_number_may_be_written_with_a_fraction(client: Client) -> None:
    body = b'{"a": 12.0, "b": [1e2, -0.0], "c": {"d": 1.5}, "e": "1.0"}'
    answer = await client.put("/echo", data=body, headers=JSON)
    assert await answer.json() == {"a": 12, "b": [100, 0], "c": {"d": 1.5}, "e": "1.0"}
    assert (
        await client.post("/notes", data=b'{"lines":[{"text":"a","lineNumber":101.0}]}', headers=JSON)
    ).status == 422


def test_where_nothing_is_given_requests_share_what_nobody_can_change() -> None:
    class Shared(Value):
        limit: int = 7

    class Mutable(BaseModel):
        limit: int = 7

    class MadeAnew(Value):
        tags: Annotated[list[str], Field(default_factory=list)]

    class Needed(Value):
        limit: int

    def read_twice(model: type[BaseModel]) -> list[BaseModel]:
        parameters = Parameters(model)
        return [parameters.read(lambda name, default: default) for _ in range(2)]

    for model in (Shared, Mutable, MadeAnew):
        first, second = read_twice(model)
        assert first == second == model()
        assert (first is second) == (model is Shared)
    with pytest.raises(Problem, match="limit: Field required"):
        read_twice(Needed)


async def test_unknown_fields_and_parameters_are_ignored(client: Client) -> None:
    assert (await client.get("/notes?colour=red")).status == 200
    content = await problem(await client.post("/notes", json={"lines": [], "colour": "red"}), 422)
    assert list(field_errors(content)) == ["lines"]


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/cloudevents+json",
        "json",
        "application/json; charset=latin-1",
    ],
)
async def test_another_media_type_is_refused(client: Client, media_type: str) -> None:
    answer = await client.post("/notes", data=json.dumps(GOOD), headers={"Content-Type": media_type})
    content = await problem(answer, 415)
    assert media_type in content["detail"]
    assert answer.headers["Accept"] == "application/json"


async def test_no_media_type_is_refused(client: Client) -> None:
    answer = await client.post("/notes", data=b"{}", skip_auto_headers=["Content-Type"])
    await problem(answer, 415)


@pytest.mark.parametrize("media_type", ["application/json; charset=UTF-8", "Application/JSON", "application/json;v=1"])
async def test_json_may_have_parameters(client: Client, media_type: str) -> None:
    answer = await client.put("/echo", data=b"{}", headers={"Content-Type": media_type})
    assert answer.status == 200


def padded(size: int) -> bytes:
    """A JSON body of just this size."""
    return b"{" + b" " * (size - 2) + b"}"


@pytest.mark.parametrize(("size", "status"), [(256 * 1024, 422), (256 * 1024 + 1, 413), (1_000_000, 413)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_may_have_256_kib(client: Client, size: int, status: int, chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        body = padded(size)
        for start in range(0, size, 65_536):
            yield body[start : start + 65_536]

    data: Any = chunks() if chunked else padded(size)
    await problem(await client.post("/notes", data=data, headers=JSON), status)


async def test_an_endpoint_can_set_another_limit(client: Client) -> None:
    assert (await client.put("/echo", data=padded(1000), headers=JSON)).status == 200
    await problem(await client.put("/echo", data=padded(1001), headers=JSON), 413)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "x-gzip", "rot13"])
async def test_a_body_that_is_encoded_is_refused(client: Client, encoding: str) -> None:
    answer = await client.post("/notes", data=b"?", headers={**JSON, "Content-Encoding": encoding})
    assert encoding in (await problem(answer, 415))["detail"]
    assert answer.headers["Accept-Encoding"] == "identity"


async def test_a_body_may_say_that_it_is_not_encoded(client: Client) -> None:
    answer = await client.post("/notes", data=b"{}", headers={**JSON, "Content-Encoding": "identity"})
    await problem(answer, 422)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%201", "limit"),
        ("limit=10.0", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("since=x", "since"),
        ("cursor=", "cursor"),
        ("cursor=*", "cursor"),
        ("cursor=MQ%3D%3D", "cursor"),
        ("cursor=MQMQM", "cursor"),
        ("cursor=" + "A" * 1025, "cursor"),
    ],
)
async def test_a_parameter_that_breaks_a_rule_is_named(client: Client, query: str, field: str) -> None:
    content = await problem(await client.get(f"/notes?{query}"), 422)
    assert list(field_errors(content)) == [field]


async def test_headers_and_path_are_checked_like_the_rest(client: Client) -> None:
    content = await problem(await client.post("/notes", json=GOOD, headers={"Idempotency-Key": "x" * 11}), 422)
    assert list(field_errors(content)) == ["Idempotency-Key"]
    content = await problem(await client.get("/notes/" + "x" * 31), 422)
    assert list(field_errors(content)) == ["noteId"]


async def test_an_unknown_path_is_not_found(client: Client) -> None:
    content = await problem(await client.get("/nothing/here"), 404)
    assert content["detail"] == "There is nothing at /nothing/here."


async def test_a_problem_that_the_handler_raises_is_the_answer(client: Client) -> None:
    content = await problem(await client.get("/notes/unknown"), 404)
    assert (content["title"], content["detail"]) == ("Not Found", "There is no note unknown.")


async def test_a_wrong_method_is_told_the_right_ones(client: Client) -> None:
    answer = await client.delete("/notes")
    await problem(answer, 405)
    assert set(answer.headers["Allow"].replace(" ", "").split(",")) == {"GET", "HEAD", "POST"}


async def test_nothing_but_100_continue_can_be_expected(client: Client) -> None:
    assert (await client.put("/echo", json={}, headers={"Expect": "100-continue"})).status == 200
    await problem(await client.put("/echo", json={}, headers={"Expect": "a miracle"}), 417)


async def test_what_is_no_unicode_can_still_be_complained_about(client: Client) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(
        b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Type: \xff\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 415 ")


async def test_baggage_that_is_no_text_is_left_out(client: Client) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\nbaggage: a=b,\xff=c\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_a_connection_that_a_handler_loses_is_not_the_clients_fault() -> None:
    api = Api()

    @api.get("/", answers={204: None})
    async def fail(request: web.Request) -> None:
        raise ConnectionResetError("somebody else has hung up")

    async with serving(create_service(NOWHERE, name="notes", api=api)) as client:
        await problem(await client.get("/"), 500)


class TestUnavailable:
    """What will pass is answered 503 with `Retry-After`."""

    @pytest.mark.parametrize(
        ("error", "seconds"),
        [
            (Unavailable("no"), "1"),
            (Unavailable("not yet", retry_after=timedelta(seconds=2.1)), "3"),
            (OutcomeUnknown("lost"), "1"),
            (DurabilityUnknown("ORDER_DURABILITY=disk: not synced within 3 s"), "1"),
            (NotDurable("ORDER_DURABILITY=disk: the server's appendfsync is no"), "1"),
            (Conflict("orders_stream holds a string"), "1"),
            (StreamFull("full", retry_after=timedelta(seconds=5)), "5"),
            (redis_errors.ConnectionError("refused"), "1"),
            (redis_errors.TimeoutError("late"), "1"),
            (redis_errors.BusyLoadingError("LOADING"), "1"),
            (redis_errors.OutOfMemoryError("OOM command not allowed"), "1"),
            (redis_errors.ReadOnlyError("READONLY"), "1"),
            (redis_errors.MovedError("3808 127.0.0.1:7001"), "1"),
            (redis_errors.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "1"),
            (redis_errors.ResponseError("NOREPLICAS Not enough good replicas to write."), "1"),
        ],
        ids=str,
    )
    async def test_errors_of_the_store(self, error: Exception, seconds: str) -> None:
        api = Api()

        @api.get("/", answers={204: None})
        async def fail(request: web.Request) -> None:
            raise error

        async with serving(create_service(NOWHERE, name="notes", api=api)) as client:
            answer = await client.get("/")
            await problem(answer, 503)
            assert answer.headers["Retry-After"] == seconds

    def test_errors_that_will_not_pass_are_no_503(self) -> None:
        assert unavailable(redis_errors.ResponseError("WRONGTYPE Operation against a key")) is None
        assert unavailable(ValueError("no")) is None

    def test_a_503_always_says_when_to_come_back(self) -> None:
        assert Problem(503).headers["Retry-After"] == "1"

    async def test_a_server_that_went_away(self, start_server: StartServer, settings: Settings) -> None:
        server: Server = start_server()
        mine = settings.model_copy(update={"redis_url": server.url})
        async with serving(create_service(mine, name="notes", api=notes_api())) as client:
            assert (await client.post("/notes", json=GOOD)).status == 202
            server.kill()
            answer = await client.post("/notes", json=GOOD)
            await problem(answer, 503)
            assert int(answer.headers["Retry-After"]) >= 1
            server.start()

            async def accepted() -> bool:
                return (await client.post("/notes", json=GOOD)).status == 202

            back: Callable[[], Awaitable[bool] | bool] = accepted
            await until(back)

    async def test_a_server_whose_memory_is_full(self, start_server: StartServer, settings: Settings) -> None:
        server: Server = start_server(maxmemory="1")
        mine = settings.model_copy(update={"redis_url": server.url})
        async with serving(create_service(mine, name="notes", api=notes_api())) as client:
            await problem(await client.post("/notes", json=GOOD), 503)


async def test_a_defect_is_logged_with_its_traceback_and_answered_without(caplog: pytest.LogCaptureFixture) -> None:
    api = Api()

    @api.get("/broken", answers={204: None})
    async def fail(request: web.Request) -> None:
        raise RuntimeError("the secret of the defect")

    async with serving(create_service(NOWHERE, name="notes", api=api)) as client:
        content = await problem(await client.get("/broken"), 500)
    assert "secret" not in json.dumps(content)
    [record] = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert "the secret of the defect" in str(record.exc_info[1])
