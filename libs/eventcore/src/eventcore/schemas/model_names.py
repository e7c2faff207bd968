"""The names of models in a document: short, and each once, since generators of clients name classes by them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Schema = dict[str, Any]


def names_for(schemas: Mapping[str, Schema], *, taken: Iterable[str]) -> dict[str, str]:
    """The name of each schema, by what pydantic calls it: its title, without the path of a module.

    Of several with one title the first, in the order of pydantic's names, has it alone, the next is `Title2`.
    """
    names: dict[str, str] = {}
    used = set(taken)
    for called in sorted(schemas):
        base = _base(called, str(schemas[called].get("title", called)))
        name, number = base, 1
        while name.lower() in used:  # generators write files, and some file systems know no case
            number += 1
            name = f"{base}{number}"
        used.add(name.lower())
        names[called] = name
    return names


def renamed(schemas: Mapping[str, Schema], names: Mapping[str, str]) -> dict[str, Schema]:
    """The schemas under their names, which are their titles too."""
    return {names[called]: {**_titled(schema), "title": names[called]} for called, schema in schemas.items()}


def named_once(
    schemas: Mapping[str, Schema], references: Any, place: str, *, taken: Iterable[str]
) -> tuple[Any, dict[str, Schema]]:
    """What refers to models, with their names, and the models by their names; `place` is where a reference leads."""
    names = names_for(schemas, taken=[each.lower() for each in taken])
    new = {place.format(model=called): place.format(model=name) for called, name in names.items()}
    return with_references(references, new), with_references(renamed(schemas, names), new)


def with_references(content: Any, references: Mapping[str, str]) -> Any:
    """The content with each reference to a model in place of the one that pydantic made."""
    match content:
        case {"$ref": str(old), **rest}:
            return {"$ref": references.get(old, old), **with_references(rest, references)}
        case {"discriminator": {"mapping": dict() as mapping, **how}, **rest}:
            chosen = {value: references.get(old, old) for value, old in mapping.items()}
            return {**with_references(rest, references), "discriminator": {**how, "mapping": chosen}}
        case dict():
            return {name: with_references(each, references) for name, each in content.items()}
        case list():
            return [with_references(each, references) for each in content]
        case _:
            return content


def _titled(schema: Schema) -> Schema:
    """The schema without the titles that pydantic makes of fields' names: generators take them for models' names."""
    fields: dict[str, Schema] = schema.get("properties", {})
    if not fields:
        return schema
    kept = {
        name: {key: value for key, value in rule.items() if (key, value) != ("title", _made_of(name))}
        for name, rule in fields.items()
    }
    return {**schema, "properties": kept}


def _made_of(field: str) -> str:
    return field.title().replace("_", " ").strip()


def _base(called: str, title: str) -> str:
    """`Page[Note]` → `PageNote`; a model that is read otherwise than it is written → `NoteInput`, `NoteOutput`."""
    words = re.split(r"[^A-Za-z0-9_]+", title)
    name = "".join(word[:1].upper() + word[1:] for word in words) or "Model"
    way = re.search(r"-(Input|Output)(__\d+)?$", called)
    return name + (way[1] if way else "")
