"""An id that comes by a path or a query is the text that was meant, whatever stands in it, or is refused."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from eventcore.web import Api, create_service
from eventcore.web.escapes import is_text, unreadable

from .test_web import NOWHERE, Client, serving

IDS = [
    "{x}",
    "a{b",
    "}",
    "{id}",
    "%",
    "%ff",
    "%25ff",
    "50%25",
    "a/b",
    "a b",
    "a+b",
    "é",
    "..",
    "?",
    "#",
    "\n",
    "\x00",
    "😀",
]
NO_TEXT = ["%ff", "%C3", "%ED%A0%80", "%", "%f", "%zz", "a%FFb"]


class Asked(BaseModel):
    """What is asked for."""

    id: str = "nothing"


def service() -> web.Application:
    api = Api()

    @api.get("/things/{id}", answers={200: dict})
    async def of_path(request: web.Request, id: str) -> dict[str, Any]:
        """Say which thing."""
        return {"id": id}

    @api.get("/things/{id}/parts", answers={200: dict})
    async def of_parts(request: web.Request, id: str) -> dict[str, Any]:
        """Say whose parts."""
        return {"id": id, "parts": True}

    @api.get("/things", query=Asked, answers={200: dict})
    async def of_query(request: web.Request, query: Asked) -> dict[str, Any]:
        """Say which thing."""
        return {"id": query.id}

    return create_service(NOWHERE, name="things", api=api)


async def test_every_id_is_found_under_its_escaped_form() -> None:
    async with serving(service()) as client:
        for name in IDS:
            escaped = quote(name, safe="")
            assert await raw(client, f"/things/{escaped}") == (200, {"id": name})
            assert await raw(client, f"/things/{escaped}/parts") == (200, {"id": name, "parts": True})
            assert await raw(client, f"/things?id={escaped}") == (200, {"id": name})


@pytest.mark.parametrize("escaped", NO_TEXT)
async def test_what_is_no_text_is_not_taken_for_another_id(escaped: str) -> None:
    async with serving(service()) as client:
        status, said = await raw(client, f"/things/{escaped}")
        assert (status, "UTF-8" in said["detail"]) == (404, True)
        status, said = await raw(client, f"/things?id={escaped}")
        assert (status, said["detail"]) == (422, "id: is no text in UTF-8")
        assert await raw(client, f"/things?other={escaped}") == (200, {"id": "nothing"})


@given(st.binary(max_size=20))
def test_only_utf_8_is_text(content: bytes) -> None:
    try:
        content.decode()
    except UnicodeDecodeError:
        assert not is_text(quote(content, safe=""))
    else:
        assert is_text(quote(content, safe=""))


def test_only_what_is_asked_for_is_looked_at() -> None:
    assert [*unreadable("a=%ff&b=%ff&c=x&%61=%zz", ["a", "c"])] == ["a", "a"]


async def raw(client: Client, target: str) -> tuple[int, Any]:
    """Status and JSON of the answer to a request for exactly this: clients would escape it anew."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), json.loads(body)
