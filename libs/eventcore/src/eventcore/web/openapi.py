"""The OpenAPI 3.1 document of a service, made from the very table that its requests are validated with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic_core import to_json

from eventcore.schemas.model_names import Schema, named_once

from .correlation import HEADER as CORRELATION_HEADER
from .endpoint import BODY_LIMIT, Endpoint
from .middleware import UNOBSERVED
from .parameters import all_parameters, can_fail
from .problems import PROBLEM_MEDIA_TYPE, title_of
from .request import JSON_MEDIA_TYPE

_REFERENCE = "#/components/schemas/{model}"
_PROBLEM = "Problem"
_PROBLEM_SCHEMA: Schema = {
    "type": "object",
    "description": "An error, as RFC 9457 has it.",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "description": "The fields that break a rule.",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                "required": ["field", "message"],
            },
        },
        "shared": {
            "type": "boolean",
            "description": "Of `/readyz` alone: whether the reason is Redis, which all replicas share.",
        },
        "correlationId": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    },
    "required": ["type", "title", "status", "correlationId"],
}
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "A token of the provider that this service trusts; operations name the scope that it must grant.",
}
_CORRELATION_PARAMETERS = [
    {"$ref": "#/components/parameters/traceparent"},
    {"$ref": f"#/components/parameters/{CORRELATION_HEADER}"},
]
_COMPONENTS: Schema = {
    "parameters": {
        "traceparent": {
            "name": "traceparent",
            "in": "header",
            "description": "W3C trace context: the request becomes part of that trace.",
            "schema": {"type": "string"},
        },
        CORRELATION_HEADER: {
            "name": CORRELATION_HEADER,
            "in": "header",
            "description": "The trace id to use where there is no traceparent: 32 hexadecimal digits, or a UUID. "
            "Anything else is ignored.",
            "schema": {"type": "string"},
        },
    },
    "headers": {
        CORRELATION_HEADER: {
            "description": "The trace id of the request.",
            "required": True,
            "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        },
        "WWW-Authenticate": {
            "description": "What is wrong with the token, or what it must grant (RFC 6750).",
            "schema": {"type": "string"},
        },
        "Retry-After": {
            "description": "Seconds to wait before trying again.",
            "required": True,
            "schema": {"type": "integer", "minimum": 1},
        },
    },
}


def openapi_document(
    endpoints: Sequence[Endpoint], *, title: str, description: str = "", version: str = "1.0.0", secured: bool = False
) -> Schema:
    """The document for these endpoints, as plain data; `secured` where the scopes that they name are asked for."""
    _check_names(endpoints)
    schemas, definitions = _schemas(endpoints)
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas, secured)
    errors = sorted({status for endpoint in endpoints for status in _errors(endpoint, secured)})
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, **({"description": description} if description else {})},
        "paths": paths,
        "components": {
            **_COMPONENTS,
            "responses": {str(status): _error(status) for status in errors},
            "schemas": {**definitions, _PROBLEM: _PROBLEM_SCHEMA},
            **({"securitySchemes": {"bearer": _BEARER}} if secured else {}),
        },
    }


def _check_names(endpoints: Sequence[Endpoint]) -> None:
    """Each operation has an id of its own, those of the probes included."""
    for name, count in Counter(endpoint.name for endpoint in endpoints).items():
        if count > 1:
            raise TypeError(f"there are two endpoints called {name}")


OperationPart = tuple[str, str]  # operation id, and "body" or the status of an answer


def _schemas(endpoints: Iterable[Endpoint]) -> tuple[Mapping[OperationPart, Schema], Mapping[str, Schema]]:
    """The schema of each body and answer, and the definitions that they refer to."""
    inputs: list[tuple[OperationPart, Literal["validation", "serialization"], TypeAdapter[Any]]] = []
    for endpoint in endpoints:
        name = endpoint.name
        if endpoint.body is not None:
            inputs.append(((name, "body"), "validation", endpoint.body))
        inputs += [
            ((name, str(status)), "serialization", TypeAdapter(answer))
            for status, answer in endpoint.answers.items()
            if answer is not None and not isinstance(answer, str)
        ]
    found, rest = TypeAdapter.json_schemas(inputs, ref_template=_REFERENCE)
    bodies = {place: schema for (place, _), schema in found.items()}
    return named_once(rest.get("$defs", {}), bodies, _REFERENCE, taken=[_PROBLEM])


def _operation(endpoint: Endpoint, schemas: Mapping[OperationPart, Schema], secured: bool) -> Schema:
    summary, description = endpoint.documentation
    operation: Schema = {"operationId": endpoint.name}
    operation |= {name: text for name, text in (("summary", summary), ("description", description)) if text}
    if parameters := _parameters(endpoint):
        operation["parameters"] = parameters
    if endpoint.body is not None:
        content = {JSON_MEDIA_TYPE: {"schema": schemas[endpoint.name, "body"]}}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = {
        **{str(status): _answer(endpoint, status, schemas) for status in endpoint.answers},
        **{str(status): _refusal(endpoint, status) for status in _errors(endpoint, secured)},
    }
    if secured and endpoint.scope is not None:
        operation["security"] = [{"bearer": [endpoint.scope]}]
    return operation


def _answer(endpoint: Endpoint, status: int, schemas: Mapping[OperationPart, Schema]) -> Schema:
    kind = endpoint.answers[status]
    headers = {
        CORRELATION_HEADER: {"$ref": f"#/components/headers/{CORRELATION_HEADER}"},
        **{name: {"description": text, "schema": {"type": "string"}} for name, text in endpoint.answer_headers.items()},
    }
    answer: Schema = {"description": title_of(status), "headers": headers}
    if endpoint.links:
        answer["links"] = {
            name: {"operationId": name, "parameters": dict(found)} for name, found in endpoint.links.items()
        }
    if isinstance(kind, str):
        answer["content"] = {kind: {"schema": {"type": "object" if kind == JSON_MEDIA_TYPE else "string"}}}
    elif kind is not None:
        answer["content"] = {JSON_MEDIA_TYPE: {"schema": schemas[endpoint.name, str(status)]}}
    return answer


def _errors(endpoint: Endpoint, secured: bool) -> list[int]:
    """The errors that an endpoint names, and those that follow from what it reads and asks for."""
    statuses = set(endpoint.errors)
    if secured and endpoint.scope is not None:
        statuses |= {401, 403}
    if endpoint.path not in UNOBSERVED:
        statuses |= {500, 503}
    if endpoint.body is not None:
        statuses |= {400, 408, 413, 415, 422}
    if any(can_fail(rule) for rule in all_parameters(endpoint)):
        statuses.add(422)
    if endpoint.path_parameters is not None:
        statuses.add(404)  # a parameter such as `..` leads elsewhere
    return sorted(statuses - endpoint.answers.keys())


def _refusal(endpoint: Endpoint, status: int) -> Schema:
    if status == 413 and endpoint.max_body != BODY_LIMIT:
        return _error(status, endpoint.max_body)
    return {"$ref": f"#/components/responses/{status}"}


def _error(status: int, max_body: int = BODY_LIMIT) -> Schema:
    limit = f": more than {max_body} bytes" if status == 413 else ""
    headers = {CORRELATION_HEADER: {"$ref": f"#/components/headers/{CORRELATION_HEADER}"}}
    if status == 503:
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    if status in (401, 403):
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/WWW-Authenticate"}
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model=_PROBLEM)}}}
    return {"description": title_of(status) + limit, "headers": headers, "content": content}


def _parameters(endpoint: Endpoint) -> list[Schema]:
    described: list[Schema] = [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in endpoint.described_headers.items()
    ]
    everywhere = [] if endpoint.path in UNOBSERVED else _CORRELATION_PARAMETERS
    return [*all_parameters(endpoint), *described, *everywhere]


def document_bytes(content: Schema) -> bytes:
    """The document as it is served."""
    return to_json(content, indent=2)
