"""Parameters as OpenAPI describes them, made from the models that read them."""

from __future__ import annotations

from collections.abc import Mapping

from eventcore.schemas.model_names import Schema

from .endpoint import Endpoint
from .request import Parameters


def all_parameters(endpoint: Endpoint) -> list[Schema]:
    """What an endpoint reads from the path, the query and the headers."""
    return [
        *_of_model(endpoint.path_parameters, "path"),
        *_of_model(endpoint.query, "query"),
        *_of_model(endpoint.headers, "header"),
    ]


def can_fail(parameter: Schema) -> bool:
    """Whether a request can get it wrong: any text will do in a path where no more than text is asked for."""
    rule = {name: value for name, value in parameter["schema"].items() if name not in ("default", "examples")}
    return bool(parameter["in"] != "path" or rule != {"type": "string"})


def _of_model(model: Parameters | None, place: str) -> list[Schema]:
    if model is None:
        return []
    schema = model.model.model_json_schema(mode="validation", by_alias=True)
    definitions = schema.get("$defs", {})
    required = set(schema.get("required", ()))
    parameters = []
    for name, declared in schema.get("properties", {}).items():
        rule = _without_null(_inlined(declared, definitions))
        rule.pop("title", None)
        parameter: Schema = {"name": name, "in": place, "required": place == "path" or name in required}
        if text := rule.pop("description", None):
            parameter["description"] = text
        parameters.append({**parameter, "schema": rule})
    return parameters


def _inlined(rule: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Parameters are small: what they refer to stands where it is used."""
    if reference := rule.get("$ref"):
        rest = {key: value for key, value in rule.items() if key != "$ref"}
        return _inlined({**definitions[reference.rpartition("/")[2]], **rest}, definitions)
    inlined = dict(rule)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in rule:
            inlined[key] = [_inlined(each, definitions) for each in rule[key]]
    if isinstance(rule.get("items"), dict):
        inlined["items"] = _inlined(rule["items"], definitions)
    return inlined


def _without_null(rule: Schema) -> Schema:
    """A parameter can be left out, but text is never null."""
    rest = {key: value for key, value in rule.items() if key != "anyOf" and not (key == "default" and value is None)}
    choices = [each for each in rule.get("anyOf", ()) if each != {"type": "null"}]
    if len(choices) == 1:
        return {**choices[0], **rest}
    return {**rest, "anyOf": choices} if choices else rest
