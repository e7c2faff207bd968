"""Writes the chart's values.schema.json and the table of its README.md from values.yaml and the settings models."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic_settings import BaseSettings

from scripts.compact_json import compact_json

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy/helm/ecommerce"
SERVICES = ("order", "inventory", "notification")
BEGIN, END = "<!-- values: begin -->\n", "<!-- values: end -->\n"

# Variables that the chart sets by values of their own.
MANAGED = {"HOST", "PORT", "MANAGEMENT_PORT", "POD_NAME", "KEY_PREFIX", "DRAIN_SECONDS"}

Schema = dict[str, Any]


@dataclass
class Value:
    """One key of values.yaml: described, or a map of keys that are."""

    path: tuple[str, ...]
    default: Any
    text: str = ""
    hint: Schema = field(default_factory=dict)
    children: list[Value] = field(default_factory=list)

    def described(self) -> Iterator[Value]:
        """This key if it has a description, else those under it."""
        if self.text:
            yield self
        for child in self.children:
            yield from child.described()


def read_values(text: str) -> list[Value]:
    """The keys of a values file with the comments above them. Raises `ValueError` for a key without a description."""
    return _read(yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text), text.splitlines(), ())


def _read(node: Any, data: Any, lines: list[str], path: tuple[str, ...]) -> list[Value]:
    found = []
    for key, child in node.value:
        here = (*path, key.value)
        text, hint = _comment_above(lines, key.start_mark.line)
        value = Value(here, data[key.value], text, hint)
        if not text:
            if not (isinstance(child, yaml.MappingNode) and child.value):
                raise ValueError(f"values.yaml, line {key.start_mark.line + 1}: {'.'.join(here)} has no description")
            value.children = _read(child, data[key.value], lines, here)
        found.append(value)
    return found


def _comment_above(lines: list[str], line: int) -> tuple[str, Schema]:
    text, hint = "", dict[str, Any]()
    for above in reversed(lines[:line]):
        stripped = above.strip()
        if stripped.startswith("# @schema "):
            hint = json.loads(stripped.removeprefix("# @schema "))
        elif stripped.startswith("# -- "):
            text = stripped.removeprefix("# -- ")
        if text or not stripped.startswith("#"):
            break
    return text, hint


def schema(values: list[Value]) -> Schema:
    """The JSON schema of the values: strict at every level, but for `global` and `enabled`, which parent charts set."""
    top = _object(values, required=True)
    top["properties"] |= {
        "global": {"type": "object", "description": "Shared by all charts of a parent; not used here."},
        "enabled": {"type": "boolean", "description": "For a parent's `condition`; not used here."},
    }
    defaults = next(value for value in values if value.path == ("defaults",))
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart ecommerce",
        **top,
        "definitions": _definitions() | {"service": _object(defaults.children, required=False)},
    }


def _object(values: list[Value], *, required: bool) -> Schema:
    properties = {value.path[-1]: _property(value, required=required) for value in values}
    result: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    # A key that a user sets to null is gone: say so, rather than fail in a template.
    needed = [name for name, each in properties.items() if "null" not in each.get("type", ()) and "$ref" not in each]
    return result | {"required": needed} if required and needed else result


def _property(value: Value, *, required: bool) -> Schema:
    if not value.text:
        return _object(value.children, required=required)
    kinds: dict[type, Schema] = {
        bool: {"type": "boolean"},
        int: {"type": "integer"},
        float: {"type": "number"},
        str: {"type": "string"},
        list: {"type": "array"},
        type(None): {},  # its hint says what else it may be
    }
    inferred = {} if "$ref" in value.hint else kinds[type(value.default)]
    description = {} if "$ref" in value.hint else {"description": value.text}
    return {**inferred, **value.hint, **description}


def _definitions() -> Schema:
    nullable = ["object", "null"]
    scalar = {"type": ["string", "number", "boolean"]}
    quantity = {"type": ["string", "integer", "null"], "pattern": r"^[0-9.]+([mkMGT]|[KMGT]i)?$"}
    quantities = {"type": nullable, "additionalProperties": quantity}
    seconds = {"type": "integer", "minimum": 1}
    probe = ("periodSeconds", "timeoutSeconds", "failureThreshold", "successThreshold", "initialDelaySeconds")
    reference = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "key"],
        "properties": {"name": {"type": "string", "minLength": 1}, "key": {"type": "string", "minLength": 1}},
    }
    settings, secrets = _settings(scalar, reference)
    return {
        "strings": {"type": nullable, "additionalProperties": {"type": "string"}},
        "object": {"type": nullable},
        "objects": {"type": ["array", "null"], "items": {"type": "object"}},
        "names": {
            "type": ["array", "null"],
            "items": {"type": "object", "additionalProperties": False, "properties": {"name": {"type": "string"}}},
        },
        "resources": {
            "type": nullable,
            "additionalProperties": False,
            "properties": {"requests": quantities, "limits": quantities, "claims": {"type": "array"}},
        },
        "probe": {"type": "object", "additionalProperties": False, "properties": dict.fromkeys(probe, seconds)},
        "settings": {"type": nullable, "additionalProperties": False, "properties": settings},
        "secretSettings": {"type": nullable, "additionalProperties": False, "properties": secrets},
    }


def _settings(scalar: Schema, reference: Schema) -> tuple[Schema, Schema]:
    plain, secret = {}, {}
    for name, annotation in sorted(fields().items()):
        if name not in MANAGED and not name.startswith("REDIS_"):
            secret[name] = {"anyOf": [{"type": "null"}, reference]}
            if "SecretStr" not in annotation:
                plain[name] = {"type": [*scalar["type"], "null"]}
    return plain, secret


def fields() -> dict[str, str]:
    """All variables that any of the programs reads, with their types as text."""
    found: dict[str, str] = {}
    for name in SERVICES:
        module = importlib.import_module(f"{name}_service.settings")
        for model in vars(module).values():
            if isinstance(model, type) and issubclass(model, BaseSettings):
                found |= {key.upper(): str(each.annotation) for key, each in model.model_fields.items()}
    return found


def table(values: list[Value]) -> str:
    """The README's table: a row for each described key."""
    rows = ["| key | default | meaning |\n|---|---|---|\n"]
    for top in values:
        for value in top.described():
            default = f"`{json.dumps(value.default)}`" if value.path[0] != "services" else "see values.yaml"
            meaning = value.text.replace("|", r"\|")
            rows.append(f"| `{'.'.join(value.path)}` | {default} | {meaning} |\n")
    return "".join(rows)


def generated() -> dict[Path, str]:
    """What the files ought to hold."""
    values = read_values((CHART / "values.yaml").read_text())
    readme = (CHART / "README.md").read_text()
    return {
        CHART / "values.schema.json": compact_json(schema(values), depth=3),
        CHART / "README.md": re.sub(
            f"(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", lambda _: table(values), readme, flags=re.DOTALL
        ),
    }
