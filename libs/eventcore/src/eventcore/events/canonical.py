"""Opening entries: from the bytes of one to the event in it, in one pass where it is as we write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from pydantic_core import CoreConfig, SchemaValidator

from eventcore.errors import Undecodable

from .envelope import LARGEST_EVENT, EventClass, Metadata, decode_written, encode_json, read_version
from .event import Event


class Opened(Struct, frozen=True):
    """What stood in an entry."""

    type: str
    metadata: Metadata
    event: Event


class Opener:
    """Opens entries with events of the given classes that are, byte for byte, what `encode` would write of them.

    What we would write has no name twice and nothing in it that JSON doesn't have. All else (another version, spaces,
    an unknown field, anything missing or wrong) is left to `decode`, which knows what to do with it and explains.
    """

    def __init__(self, events: Sequence[EventClass]) -> None:
        self._known = {
            event.type: (SchemaValidator(event.__pydantic_core_schema__, _NAMES_ONLY), event.version.major)
            for event in events
        }

    def open(self, fields: Mapping[bytes, bytes]) -> Opened | None:
        """The event in an entry; `None` if that takes a closer look."""
        raw = fields.get(b"event")
        if raw is None or len(raw) > LARGEST_EVENT:
            return None
        try:
            written = decode_written(raw)
            known = self._known.get(written.type)
            if known is None:
                return None
            validator, major = known
            data = bytes(written.data)
            event: Event = validator.validate_json(data, by_alias=True, by_name=False)
            if event.to_json() != data or encode_json(written) != raw:
                return None
            metadata = Metadata.read(written.metadata)
            if read_version(metadata.version).major != major:
                return None
        except (ValueError, RecursionError, Undecodable):
            return None
        return Opened(written.type, metadata, event)


# Most values are seen only once: to look for them among those seen before would be lost time.
_NAMES_ONLY = CoreConfig(cache_strings="keys")
