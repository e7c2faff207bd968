"""Writing answers: models become JSON with camelCase names, without absent fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from msgspec import Raw
from msgspec.json import Encoder
from pydantic import BaseModel
from pydantic_core import to_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Content: TypeAlias = "BaseModel | DataclassInstance | Mapping[str, Any]"


def _model(value: Any) -> Raw:
    """A model within a dataclass."""
    if isinstance(value, BaseModel):
        return Raw(body_bytes(value))
    raise TypeError(f"{type(value).__name__} can't be written as JSON")


_encoded = Encoder(enc_hook=_model).encode


def body_bytes(model: Content) -> bytes:
    """JSON for a model, or for plain data as it is.

    A field of a model that is `None` is left out, unless it is required: then `null` says something (`nextCursor`).
    """
    return _writer(type(model))(model)


@cache
def _writer(kind: type[Any]) -> Callable[[Any], bytes]:
    """The writer for a type, cached: inspecting a type takes longer than writing a small model."""
    if issubclass(kind, BaseModel):
        return _write_model
    return _encoded if is_dataclass(kind) else partial(to_json, by_alias=True)


def _write_model(model: BaseModel) -> bytes:
    text = model.__pydantic_serializer__.to_json(model, by_alias=True, exclude_none=True)
    nulls = [f'"{alias}":null' for name, alias in _nullable(type(model)).items() if getattr(model, name) is None]
    if not nulls:
        return text
    return text[:-1] + (b"," if len(text) > 2 else b"") + ",".join(nulls).encode() + b"}"


def check_nulls(answer: Any) -> None:
    """Raise `TypeError` where a required field may be `None` below the top level: `body_bytes` would lose it."""
    for model in _models_in(answer, seen=set()):
        if model is not answer and (names := _nullable(model)):
            raise TypeError(f"{model.__name__}.{next(iter(names))} may be None and has no default: give it one")


@cache
def _nullable(model: type[BaseModel]) -> Mapping[str, str]:
    """Required fields that may be `None`, with their names on the wire."""
    return {
        name: field.serialization_alias or field.alias or name
        for name, field in model.model_fields.items()
        if field.is_required() and type(None) in get_args(field.annotation)
    }


def _models_in(annotation: Any, seen: set[Any]) -> Iterator[type[BaseModel]]:
    """The models that a type is made of."""
    if annotation in seen:
        return
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        seen.add(annotation)
        yield annotation
        for field in annotation.model_fields.values():
            yield from _models_in(field.annotation, seen)
    for argument in get_args(annotation):
        yield from _models_in(argument, seen)
