"""An event: an immutable fact with a type, a version and a stream, read tolerantly and lifted from older versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from eventcore.errors import Undecodable, UnsupportedVersion
from eventcore.telemetry.trouble import summary_of

TYPE_PATTERN = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")

Data = dict[str, Any]
Upcaster = Callable[[Data], Data]


class Version(NamedTuple):
    """A schema version: a newer minor adds optional fields, a newer major breaks."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `"major.minor"`; raises `ValueError` for anything else."""
        major, dot, minor = text.partition(".")
        if not (dot and major.isascii() and major.isdigit() and minor.isascii() and minor.isdigit()):
            raise ValueError(f"{text!r} is not a version like '1.0'")
        return cls(int(major), int(minor))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


class Value(BaseModel):
    """A value inside an event or a request: immutable, camelCase on the wire. Unknown fields are ignored."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        allow_inf_nan=False,
        cache_strings="keys",  # most values are seen only once: to look for them among those seen before is lost time
    )


class Event(Value):
    """Base class of all events; a subclass says what it is in its class line.

        class OrderCreated(Event, type="order.created", version="1.1", stream="orders_stream"):
            order_id: str

    `upcasters` maps an older major version to the function that lifts its data to the next major one. A missing link
    raises `TypeError` at import. `lane` names the field whose equal values are handled in stream order.
    """

    type: ClassVar[str]
    version: ClassVar[Version]
    version_text: ClassVar[str]
    stream: ClassVar[str]
    lane: ClassVar[str | None]
    upcasters: ClassVar[Mapping[int, Upcaster]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # The class line's arguments are read below, once pydantic knows the fields.
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__()
        cls._declare(**kwargs)

    @classmethod
    def _declare(
        cls,
        *,
        type: str,
        stream: str,
        version: str = "1.0",
        lane: str | None = None,
        upcasters: Mapping[int, Upcaster] | None = None,
    ) -> None:
        if not TYPE_PATTERN.fullmatch(type):
            raise TypeError(f"{cls.__name__}: {type!r} is not an event type like 'order.created'")
        for name in ("type", "version", "version_text", "stream", "lane", "upcasters"):
            if name in cls.model_fields:
                raise TypeError(f"{cls.__name__}: a field can't be called {name!r}")
        if lane is not None and lane not in cls.model_fields:
            raise TypeError(f"{cls.__name__} has no field {lane!r} to be its lane")
        cls.type, cls.stream, cls.lane = type, stream, lane
        try:
            cls.version = Version.parse(version)
        except ValueError as error:
            raise TypeError(f"{cls.__name__}: {error}") from error
        cls.version_text = str(cls.version)
        cls.upcasters = dict(upcasters or {})
        for major in range(1, cls.version.major):
            if major not in cls.upcasters:
                raise TypeError(f"{cls.__name__} is at version {cls.version} but lacks an upcaster from {major}")

    @classmethod
    def read(cls, data: Data, version: Version) -> Self:
        """Make an event from `data` as it was written at `version`.

        Raises `UnsupportedVersion` for a newer major one, `Undecodable` (naming the field) for data that doesn't fit.
        """
        if version.major > cls.version.major:
            raise UnsupportedVersion(f"{cls.type} {version} is newer than {cls.version}, which is known here")
        for major in range(version.major, cls.version.major):
            data = cls._lift(data, major)
        try:
            return cls.model_validate(data, by_alias=True, by_name=False)
        except ValidationError as error:
            raise Undecodable(explain(error, within="data")) from error

    @classmethod
    def _lift(cls, data: Data, major: int) -> Data:
        upcaster = cls.upcasters.get(major)
        if upcaster is None:
            raise Undecodable(f"metadata.version: {cls.type} has no version {major}")
        try:
            return upcaster(data)
        except Exception as error:
            raise Undecodable(f"data: {cls.type} {major}.x could not be upcast: {summary_of(error)}") from error

    def to_json(self) -> bytes:
        """The data as it stands in an envelope: optional fields that are not there are left out."""
        # Straight from the model to bytes: this is the hot path of every publish.
        return self.__pydantic_serializer__.to_json(self, by_alias=True, exclude_none=True)

    def lane_key(self) -> str | None:
        """Events with the same lane key are handled in stream order within one consumer; `None` means no order."""
        value = None if self.lane is None else getattr(self, self.lane)
        return value if value is None or value.__class__ is str else str(value)


def explain(error: ValidationError, within: str = "") -> str:
    """One line for a failed validation that names the field: `data.items.0.quantity: Input should be …`."""
    first, others = error.errors(include_url=False, include_input=False)[0], error.error_count() - 1
    place = ".".join(part for part in (within, *map(str, first["loc"])) if part)
    more = f" (and {others} more)" if others else ""
    return f"{place}: {first['msg']}{more}" if place else f"{first['msg']}{more}"
