"""The OpenAPI document says what the service does: it is made from the table that requests are validated with."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar

import pytest
import pytest_asyncio
from aiohttp import web
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from pydantic import BaseModel

from eventcore.web import Api, create_service, openapi

from .test_web import NOWHERE, notes_api, serving

T = TypeVar("T")


@pytest_asyncio.fixture
async def document() -> dict[str, Any]:
    """The document of the notes, as it is served."""
    async with serving(create_service(NOWHERE, name="notes", api=notes_api(), description="Keeps notes.")) as client:
        answer = await client.get("/openapi.json")
        assert answer.content_type == "application/json"
        content: dict[str, Any] = await answer.json()
        return content


def parameters(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in operation["parameters"] if "name" in each}


def schema(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}


def test_it_is_valid_and_says_what_it_is(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"] == "3.1.0"
    assert document["info"]["title"] == "notes"
    assert document["info"]["description"] == "Keeps notes."


def test_all_that_is_served_is_in_it(document: dict[str, Any]) -> None:
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == {
        ("/notes", "post"),
        ("/notes", "get"),
        ("/notes/{noteId}", "get"),
        ("/echo", "put"),
        ("/livez", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
        ("/openapi.json", "get"),
        ("/docs", "get"),
    }


def test_the_docstring_is_summary_and_description(document: dict[str, Any]) -> None:
    operation = document["paths"]["/notes"]["post"]
    assert operation["operationId"] == "put_note"
    assert operation["summary"] == "Put a note."
    assert operation["description"] == "It is answered once its event is published."


def test_errors_follow_from_what_is_read(document: dict[str, Any]) -> None:
    paths = document["paths"]
    assert set(paths["/notes"]["post"]["responses"]) == {"202", "400", "408", "409", "413", "415", "422", "500", "503"}
    assert set(paths["/notes"]["get"]["responses"]) == {"200", "422", "500", "503"}
    assert set(paths["/notes/{noteId}"]["get"]["responses"]) == {"200", "404", "422", "500", "503"}
    assert set(paths["/livez"]["get"]["responses"]) == {"200", "503"}
    assert set(paths["/metrics"]["get"]["responses"]) == {"200"}


def test_parameters_have_their_rules(document: dict[str, Any]) -> None:
    of_list = parameters(document["paths"]["/notes"]["get"])
    assert of_list["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}
    assert of_list["signedBy"] == {"name": "signedBy", "in": "query", "required": False, "schema": {"type": "string"}}
    of_note = parameters(document["paths"]["/notes/{noteId}"]["get"])
    assert of_note["noteId"] == {
        "name": "noteId",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "maxLength": 30},
    }
    assert parameters(document["paths"]["/notes"]["post"])["Idempotency-Key"]["in"] == "header"


def test_every_answer_has_its_correlation_id_and_a_503_says_when_to_come_back(document: dict[str, Any]) -> None:
    shared = document["components"]["responses"]
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                assert "X-Correlation-ID" in (shared[status] if "$ref" in answer else answer)["headers"]
    assert "Retry-After" in shared["503"]["headers"]


def test_a_limit_of_its_own_is_documented(document: dict[str, Any]) -> None:
    assert document["components"]["responses"]["413"]["description"] == "Content Too Large: more than 262144 bytes"
    assert "1000 bytes" in document["paths"]["/echo"]["put"]["responses"]["413"]["description"]


@pytest.mark.parametrize(
    ("body", "valid"),
    [
        ({"lines": [{"text": "a", "lineNumber": 1}]}, True),
        ({"lines": [{"text": "a", "lineNumber": 1.0}]}, True),
        ({"lines": [{"text": "a", "lineNumber": 1}], "signedBy": None, "colour": "red"}, True),
        ({"lines": [{"text": "a", "lineNumber": "1"}]}, False),
        ({"lines": [{"text": "a", "line_number": 1}]}, False),
        ({"lines": [{"text": "a", "lineNumber": 1.5}]}, False),
        ({"lines": [{"text": "a", "lineNumber": True}]}, False),
        ({"lines": []}, False),
        ([], False),
    ],
)
async def test_the_schema_and_the_service_agree_on_bodies(document: dict[str, Any], body: Any, valid: bool) -> None:
    assert Draft202012Validator(schema(document, "NewNote")).is_valid(body) == valid
    async with serving(create_service(NOWHERE, name="notes", api=notes_api())) as client:
        answer = await client.post("/notes", json=body)
        # Without Redis a valid one gets as far as to the store.
        assert answer.status == (503 if valid else 422)
        assert Draft202012Validator(schema(document, "Problem")).is_valid(await answer.json())


async def test_answers_are_as_documented(document: dict[str, Any]) -> None:
    async with serving(create_service(NOWHERE, name="notes", api=notes_api())) as client:
        page = await (await client.get("/notes")).json()
        note = await (await client.get("/notes/1")).json()
    Draft202012Validator(schema(document, "NotePage")).validate(page)
    Draft202012Validator(schema(document, "Note")).validate(note)


async def test_the_page_for_people_needs_nothing_from_elsewhere() -> None:
    async with serving(create_service(NOWHERE, name="<notes>", api=notes_api(), description="a & b")) as client:
        answer = await client.get("/docs")
        text = await answer.text()
    assert answer.content_type == "text/html"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert not re.search(r"https?://|<script|<link", text)
    assert "&lt;notes&gt;" in text
    assert "a &amp; b" in text
    for shown in ("/notes/{noteId}", "Put a note.", "Idempotency-Key", "lineNumber", "at most <code>1000</code>"):
        assert shown in text


class Status(StrEnum):
    """One of two models of one name, as `test_web_openapi.Other.Status` is the other."""

    OPEN = "open"


class Other:
    """Stands for another module."""

    class Status(BaseModel):
        """How it is."""

        code: Literal["a", "b"]


class Boxed(BaseModel, Generic[T]):
    """A model of several, by what it holds."""

    inside: T
    among: list[T] = []


class Problem(BaseModel):
    """Not the one that errors are answered with."""

    cause: str


class Everything(BaseModel):
    """Refers to all of them, and is written otherwise than it is read."""

    status: Status = Status.OPEN
    other: Other.Status
    boxed: Boxed[Other.Status]
    problem: Problem | None = None
    price: Decimal


def test_each_model_has_a_short_name_of_its_own_and_all_references_lead_to_it() -> None:
    api = Api()

    @api.post("/everything", body=Everything, answers={200: Everything})
    async def put_everything(request: web.Request, body: Everything) -> Everything:
        """Answer what was asked."""
        return body

    document = json.loads(openapi.document_bytes(openapi.openapi_document(api.endpoints, title="names")))
    validate(document)
    schemas = document["components"]["schemas"]
    both_ways = {"EverythingInput", "EverythingOutput"}
    assert set(schemas) == {*both_ways, "BoxedOtherStatus", "Problem", "Problem2", "Status", "Status2"}
    assert all(schema.get("title", name) == name for name, schema in schemas.items())
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert references == set(schemas)
    assert "title" not in schemas["Problem2"]["properties"]["cause"]


def test_two_operations_of_one_name_are_refused_where_one_is_a_probe() -> None:
    api = Api()

    @api.get("/figures", answers={200: dict})
    async def metrics(request: web.Request) -> dict[str, str]:
        """Say something else."""
        return {}

    with pytest.raises(TypeError, match="there are two endpoints called metrics"):
        create_service(NOWHERE, name="notes", api=api)
