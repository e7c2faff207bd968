"""Losses: what became of deliveries that are neither pending on us any more nor committed by us."""

from __future__ import annotations

import logging
from collections.abc import Callable

from .delivery import Delivery, Key
from .streams import GroupMember
from .telemetry.measurements import trimmed_unread

log = logging.getLogger(__name__)


class Losses:
    """Tells deliveries that somebody deleted, with all references to them, from those that a peer has committed.

    `surely_ours` says whether no peer can have taken anything from us since a time of the monotonic clock. What was
    ours and is gone from the stream nobody has handled: retention trims nothing that is pending.
    """

    def __init__(self, member: GroupMember, surely_ours: Callable[[float], bool]) -> None:
        self._member, self._surely_ours = member, surely_ours
        self._missing: set[Key] = set()

    def missing(self, delivery: Delivery) -> None:
        """The server says that this delivery is not pending on us."""
        if self._surely_ours(delivery.received_at) and not delivery.maybe_aside:
            self._missing.add(delivery.key)

    async def look(self) -> None:
        """Say what is lost of all that was missing. Raises what Redis raises, and forgets nothing then."""
        if not (missing := sorted(self._missing)):
            return
        for (stream, entry_id), there in zip(missing, await self._member.exist(missing), strict=True):
            if there:
                continue
            log.error("entry %s of %s was deleted while it was pending: it is lost", entry_id, stream)
            trimmed_unread.add(stream, self._member.group)
        self._missing.difference_update(missing)
