"""The page about all events, in Markdown, made from the AsyncAPI document of the system and the schemas on file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from eventcore.events.event import Version

Schema = Mapping[str, Any]

_HEAD = """\
# Events

Made by `make contracts`; the same for programs: [asyncapi/{system}.yaml](asyncapi/{system}.yaml) for all of it, and one
document for each service beside it. How events change: [evolving-events.md](evolving-events.md).

A stream entry has one field, `event`, which holds a JSON object. Names are camelCase, times are UTC with milliseconds.
Unknown fields are ignored. What does not fit goes to the dead letters of the group that read it, with a reason that
names the field; so do objects in which a name stands twice, and events beyond 512 KiB.

"""
# What JSON Schema calls the limits of a value, in words.
_LIMITS = {
    "minimum": "at least",
    "maximum": "at most",
    "minLength": "characters: at least",
    "maxLength": "characters: at most",
    "minItems": "items: at least",
    "maxItems": "items: at most",
    "pattern": "matches",
    "format": "as",
}


def page(document: Schema, schemas: Path) -> str:
    """The page; `schemas` is where the schemas on file are."""
    components = document["components"]
    text = [_HEAD.format(system=document["info"]["title"])]
    text += ["## Every event\n\n| field | | what |\n|---|---|---|\n"]
    text += ["| `type` | required | text: the event's type, as below |\n"]
    text += ["| `data` | required | object: what happened, as below |\n"]
    text += _rows(components["schemas"]["Metadata"], "metadata.")
    text += ["\n## Streams\n\n| stream | published by | read by | dead letters |\n|---|---|---|---|\n"]
    text += [_stream(name, document) for name in document["channels"]]
    for message in components["messages"].values():
        text += _message(message, document, schemas)
    values = {name: schema for name, schema in components["schemas"].items() if name != "Metadata"}
    events = {_event_class(message) for message in components["messages"].values()}
    text += ["\n## Values\n"]
    for name, schema in sorted(values.items()):
        if name not in events:
            text += _value(name, schema)
    return "".join(text)


def _stream(name: str, document: Schema) -> str:
    said: list[str] = []
    heard: list[str] = []
    for operation in document["operations"].values():
        if operation["channel"]["$ref"] == f"#/channels/{name}":
            [tag] = operation["tags"]
            group = operation.get("x-consumer-group")
            (heard if group else said).append(f"{tag['name']} (`{group}`)" if group else tag["name"])
    letters = name.removesuffix("_stream") + "_dlq"
    return f"| `{name}` | {', '.join(said)} | {', '.join(heard)} | `{letters}` |\n"


def _message(message: Schema, document: Schema, schemas: Path) -> Iterator[str]:
    name = message["name"]
    stream = next(each for each, channel in document["channels"].items() if name in channel["messages"])
    yield f"\n## {message['title']}\n\n{message.get('summary', '')}\n\nOn `{stream}`. On file: "
    versions = sorted(Version.parse(path.name.removesuffix(".json")) for path in _of_versions(schemas / name))
    yield ", ".join(
        f"[{each}](../libs/contracts/schemas/{name}/{each}.json)"
        f" ([examples](../libs/contracts/schemas/{name}/{each}.examples.json))"
        for each in reversed(versions)
    )
    yield ".\n\n| field | | what |\n|---|---|---|\n"
    yield from _rows(document["components"]["schemas"][_event_class(message)], "data.")
    for example in message.get("examples", ())[:1]:
        yield f"\n```json\n{json.dumps(example['payload'], indent=2, ensure_ascii=False)}\n```\n"


def _of_versions(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.json") if not path.name.endswith(".examples.json")]


def _event_class(message: Schema) -> str:
    return str(message["payload"]["properties"]["data"]["$ref"]).rpartition("/")[2]


def _value(name: str, schema: Schema) -> Iterator[str]:
    yield f"\n### {name}\n\n{schema.get('description', '')}\n"
    if "properties" in schema:
        yield "\n| field | | what |\n|---|---|---|\n"
        yield from _rows(schema, "")
    else:
        yield f"\n{_kind(schema)}\n"


def _rows(schema: Schema, prefix: str) -> Iterator[str]:
    required = schema.get("required", ())
    for name, rule in schema["properties"].items():
        words = [_kind(rule), *_limited(rule), *filter(None, [rule.get("description")])]
        yield f"| `{prefix}{name}` | {'required' if name in required else ''} | {'; '.join(words)} |\n"


def _limited(rule: Schema) -> Iterator[str]:
    for name, words in _LIMITS.items():
        if name in rule:
            yield f"{words} `{str(rule[name]).replace('|', chr(92) + '|')}`"


def _kind(rule: Schema) -> str:
    """A schema in a few words, with links to the values that it names."""
    if "$ref" in rule:
        name = rule["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in rule:
        return " or ".join(f"`{value}`" for value in rule["enum"])
    if choices := rule.get("anyOf"):
        return " or ".join(map(_kind, choices))
    if rule.get("type") == "array":
        return f"list of {_kind(rule['items'])}"
    kinds = rule["type"] if isinstance(rule.get("type"), list) else [rule.get("type", "anything")]
    return " or ".join("text" if kind == "string" else kind for kind in kinds)
