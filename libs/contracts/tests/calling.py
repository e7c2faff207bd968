"""Calling a service over HTTP, with every answer held against the service's own OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp.test_utils import TestClient
from aiohttp.web import Application, Request
from jsonschema import Draft202012Validator
from multidict import CIMultiDictProxy

from eventcore import Consumer, Store
from eventcore.testing import until, until_idle
from eventcore.web.service import SERVICE

Client = TestClient[Request, Application]

# Seconds that a busy machine may take; an idle one needs milliseconds.
PATIENCE = 30.0


@dataclass(frozen=True)
class Reply:
    """What a service answered."""

    status: int
    headers: CIMultiDictProxy[str]
    body: Any


@dataclass(frozen=True)
class Caller:
    """Asks for JSON and gets it: `await call("PUT", "/stock/11", 200, json={"available": 39})`."""

    client: Client
    document: Mapping[str, Any]

    @classmethod
    async def of(cls, client: Client) -> Caller:
        """One that knows what the service promises, once the service is ready."""
        caller = cls(client, {})
        await until(lambda: all(consumer.joined for consumer in caller.consumers), timeout=PATIENCE)
        async with client.get("/openapi.json") as response:
            return cls(client, await response.json())

    @property
    def consumers(self) -> tuple[Consumer, ...]:
        """Those of the service."""
        app = self.client.app
        assert app is not None
        return app[SERVICE].consumers

    async def __call__(self, method: str, path: str, expected: int = 200, **request: Any) -> Any:
        """The answer's body. Fails where the status is another, or the answer is none that the document promises."""
        reply = await self.ask(method, path, **request)
        assert reply.status == expected, reply.body
        return reply.body

    async def settled(self, store: Store) -> None:
        """Wait until the service has consumed everything there is."""
        await until_idle(store, *self.consumers, timeout=PATIENCE)

    async def pages(self, path: str) -> list[Any]:
        """All pages of a list, from the first one on."""
        found = [await self("GET", path)]
        while cursor := found[-1]["nextCursor"]:
            found.append(await self("GET", f"{path}&cursor={cursor}"))
        return found

    async def ask(self, method: str, path: str, **request: Any) -> Reply:
        """The answer, whatever its status; but it must be one that the document promises."""
        async with self.client.request(method, path, **request) as response:
            body = await response.json(content_type=None)
            promised = self._operation(method, path)["responses"].get(f"{response.status}")
            assert promised, f"{response.status} is not documented: {body}"
            [(media_type, content)] = self._resolved(promised)["content"].items()
            assert response.content_type == media_type
            assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Correlation-ID"])
            Draft202012Validator({**content["schema"], "components": self.document["components"]}).validate(body)
            return Reply(response.status, response.headers, body)

    def _resolved(self, part: Any) -> Any:
        """What a reference in the document stands for."""
        found: Any = self.document if "$ref" in part else part
        for name in part.get("$ref", "#").split("/")[1:]:
            found = found[name]
        return found

    def _operation(self, method: str, path: str) -> Any:
        path = path.partition("?")[0]
        for template, operations in sorted(self.document["paths"].items()):  # "/x" comes before "/{y}"
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path):
                return operations[method.lower()]
        raise AssertionError(f"{path} is not documented")
