"""An endpoint: one method on one path, with everything that is read from a request and promised about its answers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Required, TypedDict, get_type_hints

from aiohttp import HttpVersion11, web
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from .correlation import correlation_id
from .escapes import is_text
from .problems import Problem
from .request import JSON_MEDIA_TYPE, Parameters, read_body
from .response import Content, body_bytes, check_nulls
from .scopes import AUTHORITY, require_scope

EndpointFunction = Callable[..., Awaitable[Any]]
AnswerType = type[Any] | str | None
# Unless an endpoint says otherwise.
BODY_LIMIT = 256 * 1024

_PATH_PARAMETER = re.compile(r"{(\w+)}")


class Options(TypedDict, total=False):
    """What can be said of an endpoint; `Api` explains it."""

    answers: Required[Mapping[int, AnswerType]]
    body: Any
    query: type[BaseModel]
    path: type[BaseModel]
    headers: type[BaseModel] | Mapping[str, str]
    answer_headers: Mapping[str, str]
    links: Mapping[str, Mapping[str, str]]
    errors: Iterable[int]
    max_body: int
    scope: str


class Answer(Struct):
    """What a handler answers: a model (or plain data), a status (the first one of `answers`, by default), headers.

    A dataclass of texts, numbers and lists of them takes a fifth of the time that a model takes to be made and written;
    its fields are written under their own names.
    """

    model: Content | None = None
    status: int | None = None
    headers: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method on one path. `taken` are the path's parameters that the handler takes one by one."""

    method: str
    path: str
    function: EndpointFunction
    answers: Mapping[int, AnswerType]
    body: TypeAdapter[Any] | None
    query: Parameters | None
    headers: Parameters | None
    path_parameters: Parameters | None
    taken: frozenset[str]
    takes_path: bool
    described_headers: Mapping[str, str]
    answer_headers: Mapping[str, str]
    links: Mapping[str, Mapping[str, str]]
    errors: frozenset[int]
    max_body: int
    scope: str | None

    @classmethod
    def of(cls, function: EndpointFunction, method: str, path: str, options: Options) -> Endpoint:
        """Check what is said of an endpoint against its handler. Raises `TypeError` where they don't agree."""
        asked = _asked(function)
        headers = options.get("headers", {})
        header_model = None if isinstance(headers, Mapping) else headers
        path_model = options.get("path") or _path_model(function, path)
        one_by_one = frozenset() if "path" in options else frozenset(path_model.model_fields)
        given = ({"body", "query", "path"} & options.keys()) | ({"headers"} if header_model else set())
        _agree(function, asked, given, one_by_one)
        for answer in options["answers"].values():
            check_nulls(answer)
        return cls(
            method=method,
            path=path,
            function=function,
            answers=dict(options["answers"]),
            body=TypeAdapter(options["body"]) if "body" in options else None,
            query=Parameters(options["query"]) if "query" in options else None,
            headers=Parameters(header_model) if header_model else None,
            path_parameters=Parameters(path_model) if path_model.model_fields else None,
            taken=one_by_one & asked.keys(),
            takes_path="path" in given,
            described_headers=headers if isinstance(headers, Mapping) else {},
            answer_headers=dict(options.get("answer_headers", {})),
            links=dict(options.get("links", {})),
            errors=frozenset(options.get("errors", ())),
            max_body=options.get("max_body", BODY_LIMIT),
            scope=options.get("scope"),
        )

    @property
    def name(self) -> str:
        """What it is called in documents: the handler's name."""
        return self.function.__name__

    @property
    def documentation(self) -> tuple[str, str]:
        """Summary and description: the first line of the handler's docstring, and the rest."""
        summary, _, description = inspect.cleandoc(self.function.__doc__ or "").partition("\n")
        return summary.strip(), description.strip()

    def add_to(self, app: web.Application) -> None:
        """Serve it from `app`; what can be got can be asked for by HEAD too."""
        # Not aiohttp's own idea of a parameter: it takes no braces.
        resource = app.router.add_resource(_PATH_PARAMETER.sub(r"{\1:[^/]+}", self.path))
        respond = self.respond if self.scope is None or AUTHORITY not in app else self.respond_where_granted
        for method in ("HEAD", "GET") if self.method == "GET" else (self.method,):
            resource.add_route(method, respond, expect_handler=_expect)

    async def respond_where_granted(self, request: web.Request) -> web.StreamResponse:
        """Read a request whose token grants the endpoint's scope, call the handler, write its answer."""
        if self.scope is not None:
            require_scope(request, self.scope)
        return await self.respond(request)

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Read a request, call the handler, write its answer."""
        arguments: dict[str, Any] = {}
        if self.path_parameters is not None:
            match = request.match_info
            if not is_text(request.rel_url.raw_path):
                raise Problem(404, detail="There is nothing at this path: what is escaped in it is no UTF-8.")
            path = self.path_parameters.read(lambda name, default: [match[name]])
            arguments |= {name: getattr(path, name) for name in self.taken}
            if self.takes_path:
                arguments["path"] = path
        if self.query is not None:
            arguments["query"] = self.query.read_query(request.query.getall, request.rel_url.raw_query_string)
        if self.headers is not None:
            arguments["headers"] = self.headers.read(request.headers.getall)
        if self.body is not None:
            arguments["body"] = await read_body(request, self.body, self.max_body)
        answer = await self.function(request, **arguments)
        if isinstance(answer, Answer):
            return self._write(answer)
        return answer if isinstance(answer, web.StreamResponse) else self._write(Answer(answer))

    def _write(self, answer: Answer) -> web.Response:
        status = next(iter(self.answers)) if answer.status is None else answer.status
        if status not in self.answers:
            raise TypeError(f"{self.name} answered {status}, which its `answers` don't promise")
        if answer.model is None:
            return web.Response(status=status, headers=answer.headers)
        return web.Response(
            body=body_bytes(answer.model), status=status, headers=answer.headers, content_type=JSON_MEDIA_TYPE
        )


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """Tell a client that waits for it to send its body; what else could be expected is unknown here."""
    if request.version < HttpVersion11:
        return None
    if request.headers.get("Expect", "").lower() != "100-continue":
        return Problem(417, detail="Only 100-continue can be expected here.").response(correlation_id(request))
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # so that the answer proper is still to be sent
    return None


def _asked(function: EndpointFunction) -> dict[str, bool]:
    """The arguments that a handler takes beside the request, and whether it needs each."""
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{function.__qualname__} must be an async function")
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        raise TypeError(f"{function.__qualname__} must take the request first")
    return {each.name: each.default is each.empty for each in parameters[1:]}


def _agree(function: EndpointFunction, asked: Mapping[str, bool], given: set[str], one_by_one: Iterable[str]) -> None:
    unknown = sorted({name for name, needed in asked.items() if needed} - given - set(one_by_one))
    if unknown:
        raise TypeError(f"{function.__qualname__} asks for {', '.join(unknown)}, which its endpoint doesn't name")
    unwanted = sorted(given - asked.keys())
    if unwanted:
        raise TypeError(f"{function.__qualname__} doesn't take {', '.join(unwanted)}, which its endpoint names")


def _path_model(function: EndpointFunction, path: str) -> type[BaseModel]:
    """A model of the path's parameters, from the types by which the handler takes them, in snake case."""
    names = {_snake(name): name for name in _PATH_PARAMETER.findall(path)}
    hints = get_type_hints(function, include_extras=True) if names.keys() & _asked(function).keys() else {}
    fields: dict[str, Any] = {name: (hints.get(name, str), Field(alias=alias)) for name, alias in names.items()}
    return create_model("Path", __config__=ConfigDict(populate_by_name=True), **fields)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
