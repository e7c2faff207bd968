"""A whole service in one call; the other tests of `eventcore.web` use it too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import BaseModel, Field

from eventcore import Event, Router, Settings, Store, Transaction, Value
from eventcore.testing import until
from eventcore.web import STORE, Answer, Api, Page, Problem, create_service

Client = TestClient[web.Request, web.Application]
NOWHERE = Settings(redis_url="redis://127.0.0.1:1/0")
"""Nobody listens there."""


class Kind(StrEnum):
    """What there is."""

    NOTE = "note"


class NotePut(Event, type="note.put", stream="notes_stream"):
    """A note was put."""

    note_id: str
    text: str


class Line(Value):
    """A line of a note."""

    text: Annotated[str, Field(min_length=1, max_length=20)]
    line_number: Annotated[int, Field(ge=1, le=100)]


class NewNote(Value):
    """What a note is made from."""

    lines: Annotated[list[Line], Field(min_length=1, max_length=10_000)]
    signed_by: str | None = None


class Note(Value):
    """A note."""

    note_id: str
    signed_by: str | None = None


class NotePage(Value):
    """Some notes."""

    notes: list[Note]
    next_cursor: str | None


class NoteQuery(Page):
    """Which notes."""

    signed_by: str | None = None
    tag: tuple[str, ...] = ()
    since: int | None = None


class Once(BaseModel):
    """Headers of a request that shall have an effect once only."""

    key: str | None = Field(None, alias="Idempotency-Key", max_length=10)


def notes_api() -> Api:
    """A few endpoints of every kind."""
    api = Api()

    @api.post(
        "/notes",
        body=NewNote,
        headers=Once,
        answers={202: Note},
        answer_headers={"Location": "Where the note is."},
        errors=(409,),
    )
    async def put_note(request: web.Request, body: NewNote, headers: Once) -> Answer:
        """Put a note.

        It is answered once its event is published.
        """
        note = Note(note_id=headers.key or "1", signed_by=body.signed_by)
        await request.app[STORE].publish(NotePut(note_id=note.note_id, text=body.lines[0].text))
        return Answer(note, headers={"Location": f"/notes/{note.note_id}"})

    @api.get("/notes/{noteId}", answers={200: Note}, errors=(404,))
    async def get_note(request: web.Request, note_id: Annotated[str, Field(max_length=30)]) -> Note:
        """Show a note."""
        if note_id == "unknown":
            raise Problem(404, detail=f"There is no note {note_id}.")
        return Note(note_id=note_id)

    @api.get("/notes", query=NoteQuery, answers={200: NotePage})
    async def list_notes(request: web.Request, query: NoteQuery) -> NotePage:
        """List notes."""
        notes = [
            Note(note_id=query.position or "none", signed_by=query.signed_by),
            *(Note(note_id=tag) for tag in query.tag),
        ]
        return NotePage(notes=notes, next_cursor=query.cursor_at("1") if query.limit == 1 else None)

    @api.put("/echo", body=dict[str, Any], answers={200: dict}, max_body=1000)
    async def echo(request: web.Request, body: dict[str, Any]) -> dict[str, Any]:
        """Show what was sent."""
        return body

    return api


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[Client]:
    """A client of the application, which listens on a port of its own."""
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_a_request_publishes_an_event_that_a_consumer_handles(store: Store, settings: Settings) -> None:
    router, handled = Router(group="notes-group"), list[str]()

    @router.on(NotePut)
    def remember(note: NotePut) -> Transaction:
        handled.append(note.text)
        return Transaction()

    app = create_service(settings, name="notes", routers=[router], api=notes_api())
    async with serving(app) as client:
        answer = await client.post("/notes", json={"lines": [{"text": "hello", "lineNumber": 1}]})
        assert (answer.status, await answer.json()) == (202, {"noteId": "1"})
        assert answer.headers["Location"] == "/notes/1"
        await until(lambda: handled == ["hello"])
    await store.redis.delete("notes_stream", "notes_stream:notes-group:retry", "notes_stream:notes-group:beats")


async def test_routers_can_be_made_from_the_store_that_the_application_opens_and_closes(settings: Settings) -> None:
    given: list[Store] = []

    def routers(store: Store) -> list[Router]:
        given.append(store)
        return []

    app = create_service(settings, name="notes", routers=routers)
    async with serving(app):
        assert given == [app[STORE]]
        assert await given[0].commands.execute("PING") == b"PONG"
    assert not given[0].commands.connected


async def test_a_given_store_is_opened_and_closed_too(settings: Settings) -> None:
    mine = Store(settings, source="mine")
    app = create_service(settings, name="notes", store=mine)
    async with serving(app):
        assert app[STORE] is mine
        assert await mine.commands.execute("PING") == b"PONG"
    assert not mine.commands.connected


async def test_resources_start_after_the_store_and_stop_before_it(settings: Settings) -> None:
    seen: list[str] = []

    def resource(name: str) -> Any:
        async def start_and_stop(app: web.Application) -> AsyncIterator[None]:
            seen.append(f"{name} starts: {await app[STORE].commands.execute('PING')}")
            yield
            seen.append(f"{name} stops: {await app[STORE].commands.execute('PING')}")

        return start_and_stop

    async with serving(create_service(settings, name="notes", resources=[resource("a"), resource("b")])):
        pass
    assert seen == ["a starts: b'PONG'", "b starts: b'PONG'", "b stops: b'PONG'", "a stops: b'PONG'"]


async def test_optional_fields_are_left_out_and_the_next_cursor_never() -> None:
    async with serving(create_service(NOWHERE, name="notes", api=notes_api())) as client:
        last = await client.get("/notes", params={"limit": "2"})
        assert await last.json() == {"notes": [{"noteId": "none"}], "nextCursor": None}
        first = await client.get("/notes", params={"limit": "1"})
        cursor = (await first.json())["nextCursor"]
        second = await client.get("/notes", params={"limit": "1", "cursor": cursor})
        assert (await second.json())["notes"] == [{"noteId": "1"}]


async def test_a_dataclass_is_an_answer_and_documented() -> None:
    @dataclass(slots=True)
    class Counted:
        """How many there are."""

        kind: Kind
        count: int
        unit: str | None = None

    api = Api()

    @api.get("/count", answers={200: Counted})
    async def count(request: web.Request) -> Counted:
        return Counted(Kind.NOTE, 2)

    async with serving(create_service(NOWHERE, name="notes", api=api)) as client:
        answer = await client.get("/count")
        assert (await answer.text(), answer.content_type) == (
            '{"kind":"note","count":2,"unit":null}',
            "application/json",
        )
        schemas = (await (await client.get("/openapi.json")).json())["components"]["schemas"]
    assert schemas["Counted"]["required"] == ["kind", "count"]


async def test_a_dataclass_may_hold_models() -> None:
    class Note(Value):
        note_id: str
        signed_by: str | None = None

    @dataclass(slots=True)
    class Notes:
        """All of them."""

        notes: list[Note]

    api = Api()

    @api.get("/all", answers={200: Notes})
    async def everything(request: web.Request) -> Notes:
        return Notes([Note(note_id="1")])

    async with serving(create_service(NOWHERE, name="notes", api=api)) as client:
        assert await (await client.get("/all")).text() == '{"notes":[{"noteId":"1"}]}'


async def test_a_list_can_be_given_one_by_one_in_the_query() -> None:
    async with serving(create_service(NOWHERE, name="notes", api=notes_api())) as client:
        answer = await client.get("/notes?tag=a&tag=b&signedBy=me")
        assert (await answer.json())["notes"] == [
            {"noteId": "none", "signedBy": "me"},
            {"noteId": "a"},
            {"noteId": "b"},
        ]


async def test_what_can_be_got_can_be_asked_for_by_head() -> None:
    async with serving(create_service(NOWHERE, name="notes", api=notes_api())) as client:
        answer = await client.head("/notes/7")
        assert (answer.status, await answer.read()) == (200, b"")


class TestDeclarations:
    """What doesn't fit together fails at once, and says why."""

    def declare(self, function: Any, *, path: str = "/notes", **options: Any) -> None:
        Api().post(path, **{"answers": {200: Note}, **options})(function)

    def test_a_handler_must_take_the_body_that_its_endpoint_reads(self) -> None:
        async def put(request: web.Request) -> None: ...

        with pytest.raises(TypeError, match="put doesn't take body, which its endpoint names"):
            self.declare(put, body=NewNote)

    def test_a_handler_can_take_only_what_its_endpoint_reads(self) -> None:
        async def put(request: web.Request, query: Any) -> None: ...

        with pytest.raises(TypeError, match="put asks for query, which its endpoint doesn't name"):
            self.declare(put)

    def test_a_handler_must_be_async(self) -> None:
        def put(request: web.Request) -> None: ...

        with pytest.raises(TypeError, match="put must be an async function"):
            self.declare(put)

    def test_an_endpoint_has_one_handler(self) -> None:
        api = Api()

        async def first(request: web.Request) -> None: ...
        async def second(request: web.Request) -> None: ...

        api.get("/notes", answers={200: Note})(first)
        with pytest.raises(TypeError, match="GET /notes is answered by first already"):
            api.get("/notes", answers={200: Note})(second)
        with pytest.raises(TypeError, match="two endpoints called first"):
            api.put("/notes", answers={200: Note})(first)

    def test_a_null_that_would_be_lost_is_refused(self) -> None:
        class Outer(Value):
            pages: list[NotePage]

        async def put(request: web.Request) -> None: ...

        with pytest.raises(TypeError, match=r"NotePage.next_cursor may be None and has no default"):
            self.declare(put, answers={200: Outer})

    async def test_an_answer_that_was_not_promised_is_a_defect(self) -> None:
        api = Api()

        @api.get("/teapot", answers={200: Note})
        async def brew(request: web.Request) -> Answer:
            return Answer(status=418)

        async with serving(create_service(NOWHERE, name="notes", api=api)) as client:
            assert (await client.get("/teapot")).status == 500
