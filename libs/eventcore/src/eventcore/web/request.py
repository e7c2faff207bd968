"""Reading requests: bodies and parameters become models, or a problem that names what is wrong."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any, get_args, get_origin

from aiohttp import web
from aiohttp.hdrs import CONTENT_ENCODING, CONTENT_TYPE
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from eventcore.events.strict_json import parse
from eventcore.telemetry.measurements import clients_limited

from .clients import CLIENTS, BodyReceipt, no_memory
from .escapes import unreadable
from .problems import FieldError, Problem

JSON_MEDIA_TYPE = "application/json"
# A body of ten thousand wrong lines needs no answer of that length.
MOST_ERRORS_NAMED = 50

# Members, elements and what they stand in: each becomes an object of Python's, of a hundred bytes or more, before any
# rule of an endpoint is asked. `PUT /stock` may name 10,000 levels, which are 30,000.
MOST_VALUES = 100_000
# What is left to count once nothing else is: strings, and what begins or separates values. A string without its end is
# one too: a pattern that asks for the end would look for it again from each quote, for minutes.
_STRING = re.compile(rb'"[^"]*"?')
_NO_MARKS = bytes(set(range(256)) - set(b'",[{'))
_PORTION = 64 * 1024
# Larger ones are worked on one after the other.
LARGE_BODY = 128 * 1024

_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_FRACTION_OR_EXPONENT = re.compile(rb"[0-9][.eE]")
_LIST_TYPES = (list, tuple, set, frozenset)


async def read_body(request: web.Request, adapter: TypeAdapter[Any], limit: int) -> Any:
    """The request's JSON body as what `adapter` makes of it, strictly: `"12"` is no number.

    Raises `Problem`: 415 for another media type or an encoding, 413 above `limit` bytes (chunked bodies too) or for too
    many values, 408 for what does not arrive in time, 503 where all bodies together take too much memory, 400 for what
    is not JSON (or has two members of one name), 422 for JSON that breaks a rule.
    """
    if request.headers.get(CONTENT_TYPE) != JSON_MEDIA_TYPE:
        _check_media_type(request)
    if CONTENT_ENCODING in request.headers:
        _check_encoding(request)
    content = request.content
    # Whole, as it is when all of it came along with the headers.
    raw = content.read_nowait() if content.is_eof() else await _received(request, limit)
    if len(raw) > limit:
        raise _too_large(limit)
    if len(raw) > MOST_VALUES:
        _check_values(raw)
    try:
        parse(raw)
    except ValueError as error:
        raise Problem(400, detail=f"The body is not JSON: {error}") from None
    try:
        try:
            return _validated(adapter, raw)
        except ValidationError:
            if not _FRACTION_OR_EXPONENT.search(raw):
                raise
            return _validated(adapter, to_json(_whole_numbers(parse(raw))))
    except ValidationError as error:
        raise broken_rules(error, root="body") from None


def _validated(adapter: TypeAdapter[Any], raw: bytes) -> Any:
    return adapter.validator.validate_json(raw, strict=True, by_alias=True, by_name=False)


def _check_media_type(request: web.Request) -> None:
    given = request.headers.get("Content-Type")
    charset = (request.charset or "utf-8").lower()
    if given is None or request.content_type != JSON_MEDIA_TYPE or charset not in ("utf-8", "utf8", "us-ascii"):
        found = f"not {given}" if given else "and none was named"
        detail = f"The body must be {JSON_MEDIA_TYPE} in UTF-8, {found}."
        raise Problem(415, detail=detail, headers={"Accept": JSON_MEDIA_TYPE})


def _check_encoding(request: web.Request) -> None:
    """Refuse compressed bodies: a small one could unpack to more than any limit."""
    given = request.headers[CONTENT_ENCODING]
    if given.strip().lower() not in ("", "identity"):
        clients_limited.add("body_encoding")
        detail = f"The body is encoded as {given}; it must come as it is."
        raise Problem(415, detail=detail, headers={"Accept-Encoding": "identity"})


def _check_values(raw: bytes) -> None:
    """Refuse what would become too many objects, before it becomes any: each takes a byte at least."""
    if sum(map(raw.count, b",[{")) <= MOST_VALUES or _values(raw) <= MOST_VALUES:
        return
    clients_limited.add("body_values")
    raise Problem(413, detail=f"The body holds more than {MOST_VALUES:,} values.")


def _values(raw: bytes) -> int:
    """How many values begin outside of strings, found in portions: that takes little memory, and linear time."""
    marks = raw.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_MARKS)
    found, inside = 0, b""
    for start in range(0, len(marks), _PORTION):
        portion = inside + marks[start : start + _PORTION]
        found += len(_STRING.sub(b"", portion))
        inside = b'"' if portion.count(b'"') % 2 else b""
    return found


async def _received(request: web.Request, limit: int) -> bytes:
    """The body, once all of it has come, or as much of it as shows that it is too large."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    clients = request.config_dict[CLIENTS]
    with clients.receiving() as receipt:
        try:
            async with receipt.timer:
                body = await _read(request, limit, receipt)
        except TimeoutError:
            if receipt.given_up:
                raise no_memory() from None
            clients_limited.add("body_time")
            raise Problem(408, detail="The body did not arrive in time.") from None
        clients.have_arrived(receipt)
        if len(body) > LARGE_BODY:
            await _wait_for_turn(clients.large_bodies)
        return body


async def _wait_for_turn(turns: asyncio.Semaphore) -> None:
    """Wait until no other large body is being handled; this one is until its request is answered."""
    await turns.acquire()
    if (task := asyncio.current_task()) is None:
        raise RuntimeError("requests are tasks of their own")
    task.add_done_callback(lambda _: turns.release())


async def _read(request: web.Request, limit: int, receipt: BodyReceipt) -> bytes:
    if request.transport is None:  # aiohttp would say RuntimeError, which is the word for a defect
        raise ConnectionResetError("Connection lost")
    async for chunk in request.content.iter_any():
        receipt.take(chunk)
        if len(receipt.body) > limit:
            break
    return bytes(receipt.body)


def _too_large(limit: int) -> Problem:
    return Problem(413, detail=f"The body is larger than {limit} bytes.")


def _whole_numbers(content: Any) -> Any:
    """`12.0` is an integer to JSON Schema, so it is one to us; strict validation would only take `12`."""
    match content:
        case float() if content.is_integer():
            return int(content)
        case dict():
            return {name: _whole_numbers(value) for name, value in content.items()}
        case list():
            return [_whole_numbers(value) for value in content]
        case _:
            return content


class Parameters:
    """The parameters of a query, a path or headers, as a model declares them. All of them arrive as text."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model
        self._validator = model.__pydantic_validator__
        self._names: list[str] = []
        self._lists: set[str] = set()
        self._integers: set[str] = set()
        self._nothing = _nothing(model)
        for name, field in model.model_fields.items():
            alias = field.validation_alias if isinstance(field.validation_alias, str) else field.alias or name
            kinds = {field.annotation, *get_args(field.annotation)}
            self._names.append(alias)
            if any(kind in _LIST_TYPES or get_origin(kind) in _LIST_TYPES for kind in kinds):
                self._lists.add(alias)
            elif int in kinds and not {str, float} & kinds:
                self._integers.add(alias)

    def read_query(self, values_of: Callable[[str, list[str]], list[str]], raw: str) -> BaseModel:
        """The same for a query, of which this is the raw text. Raises `Problem` 422 for what is no text."""
        errors: list[FieldError] = [
            {"field": name, "message": "is no text in UTF-8"} for name in unreadable(raw, self._names)
        ]
        if errors:
            raise problem_naming(errors)
        return self.read(values_of)

    def read(self, values_of: Callable[[str, list[str]], list[str]]) -> BaseModel:
        """A model of the parameters, given what is found under a name (or else the default, which is nothing).

        Parameters that the model doesn't know are ignored. Raises `Problem` 422 naming what is wrong.
        """
        found: dict[str, Any] = {}
        errors: list[FieldError] = []
        for name in self._names:
            given = values_of(name, [])
            if name in self._lists:
                found[name] = given
            elif len(given) > 1:
                errors.append({"field": name, "message": "is given more than once"})
            # Python reads `1_0` and `١٢` as integers; OpenAPI does not.
            elif name in self._integers and given and not _INTEGER.fullmatch(given[0]):
                errors.append({"field": name, "message": "is not an integer"})
            elif given:
                found[name] = given[0]
        if errors:
            raise problem_naming(errors)
        if not found and self._nothing is not None:
            return self._nothing
        try:
            read: BaseModel = self._validator.validate_python(found, by_alias=True, by_name=False)
            return read
        except ValidationError as error:
            raise broken_rules(error, root="parameters") from None


def _nothing(model: type[BaseModel]) -> BaseModel | None:
    """The model for a request without parameters, where that is valid and can be shared by all."""
    made_anew = any(field.default_factory for field in model.model_fields.values())
    if made_anew or not model.model_config.get("frozen"):
        return None
    try:
        return model()
    except ValidationError:
        return None


def broken_rules(error: ValidationError, *, root: str) -> Problem:
    """422 for a failed validation; `root` is the field of an error that concerns all of them."""
    return problem_naming(
        {
            "field": ".".join(map(str, each["loc"])) or root,
            "message": each["msg"].removeprefix("Value error, "),
        }
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    )


def problem_naming(errors: Iterable[FieldError]) -> Problem:
    """422 that names fields; the first one in the detail too."""
    first, *others = errors
    more = f" (and {len(others)} more)" if others else ""
    detail = f"{first['field']}: {first['message']}{more}"
    return Problem(422, detail=detail, errors=[first, *others][:MOST_ERRORS_NAMED])
