"""What stands in the streams, and what a handler makes of it."""

from __future__ import annotations

import json
from typing import Any

from eventcore import Event, Router, Store, Transaction


async def entries(store: Store, stream: str) -> list[dict[bytes, bytes]]:
    """All entries of a stream, oldest first."""
    rows: Any = await store.redis.xrange(store.key(stream))
    return [fields for _, fields in rows]


async def events(store: Store, stream: str) -> list[dict[str, Any]]:
    """All events of a stream, as they stand on the wire."""
    return [json.loads(fields[b"event"]) for fields in await entries(store, stream)]


async def append(store: Store, stream: str, type_: str, data: dict[str, Any]) -> None:
    """Append an event as a program in another language might, with no more metadata than it must."""
    metadata = {"eventId": f"{type_} of another program", "timestamp": "2026-11-23T10:00:00Z"}
    event = {"type": type_, "data": data, "metadata": metadata}
    await store.redis.xadd(store.key(stream), {"event": json.dumps(event)})


def decided(router: Router, event: Event) -> Transaction:
    """What the handler for this event decides, called alone."""
    decision = router.handlers[event.type].function(event)
    assert isinstance(decision, Transaction)
    return decision
