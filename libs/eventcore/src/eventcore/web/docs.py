"""The OpenAPI document as a page for people, which needs neither network nor script."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from eventcore.schemas.model_names import Schema

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
article, section { border-top: 1px solid #8884; margin-top: 2rem }
code { font: 0.9em ui-monospace, monospace }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: 0.3rem 1rem 0.3rem 0; border-bottom: 1px solid #8882 }
h2 b { display: inline-block; min-width: 4.5rem }
"""
# What JSON Schema calls the limits of a value, in words.
_LIMITS = {
    "minimum": "at least",
    "maximum": "at most",
    "minLength": "at least (characters)",
    "maxLength": "at most (characters)",
    "minItems": "at least (items)",
    "maxItems": "at most (items)",
    "pattern": "matches",
    "default": "otherwise",
}


def docs_page(document: Schema) -> str:
    """The document as HTML."""
    info = document["info"]
    operations = "".join(
        _operation(method, path, operation, document["components"]["responses"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "".join(_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{escape(info['title'])}</h1><p>{escape(info.get('description', ''))}</p>"
        f'<p>The same for programs: <a href="openapi.json">openapi.json</a></p>{operations}<h1>Models</h1>{schemas}'
    )


def _operation(method: str, path: str, operation: Schema, shared: Schema) -> str:
    parts = [f"<article><h2><b>{method.upper()}</b> <code>{escape(path)}</code></h2>"]
    parts += [f"<p>{escape(operation[part])}</p>" for part in ("summary", "description") if part in operation]
    rows = [
        (f"<code>{escape(each['name'])}</code>", each["in"], _required(each.get("required")), *_rule(each))
        for each in operation.get("parameters", ())
        if "name" in each  # those of correlation are the same everywhere
    ]
    if rows:
        parts.append(_table(("parameter", "in", "", "type", ""), rows))
    if body := operation.get("requestBody"):
        parts.append(f"<p>Body: {_content(body)}</p>")
    responses = {status: shared[status] if "$ref" in each else each for status, each in operation["responses"].items()}
    answers = [(status, escape(each["description"]), _content(each)) for status, each in responses.items()]
    return "".join(parts) + _table(("status", "", "answer"), answers) + "</article>"


def _schema(name: str, schema: Schema) -> str:
    required = schema.get("required", ())
    rows = [
        (f"<code>{escape(field)}</code>", _required(field in required), *_rule({**rule, "schema": rule}))
        for field, rule in schema.get("properties", {}).items()
    ]
    fields = _table(("field", "", "type", ""), rows) if rows else f"<p>{_type(schema)}</p>"
    text = escape(schema.get("description", ""))
    return f'<section id="{escape(name)}"><h2>{escape(name)}</h2><p>{text}</p>{fields}</section>'


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = "".join(f"<th>{name}" for name in head)
    return f"<table><tr>{cells}" + "".join("<tr>" + "".join(f"<td>{cell}" for cell in row) for row in rows) + "</table>"


def _required(required: object) -> str:
    return "required" if required else ""


def _rule(described: Schema) -> tuple[str, str]:
    """The type of a parameter or field, and what else there is to say about it."""
    schema = described["schema"]
    choices = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(choices) == 1:  # it may be null, or left out
        schema = {**choices[0], **{name: value for name, value in schema.items() if name != "anyOf"}}
    limits = [
        f"{word} <code>{escape(str(schema[name]))}</code>"
        for name, word in _LIMITS.items()
        if schema.get(name) is not None
    ]
    return _type(schema), "<br>".join([*filter(None, [escape(described.get("description", ""))]), *limits])


def _content(described: Schema) -> str:
    return ", ".join(
        f"{_type(content['schema'])} <small>{escape(kind)}</small>"
        for kind, content in described.get("content", {}).items()
    )


def _type(schema: Schema) -> str:
    """A schema in a few words, with links to the models that it names."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in values)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(map(_type, choices))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return escape(str(schema.get("format") or schema.get("type") or "anything"))
