"""Losses: deliveries that somebody deleted, trimmed or acknowledged before they were handled."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache

from eventcore.server.pipe import Pipe, argument_shown
from eventcore.server.script import Call, Script, run_all
from eventcore.telemetry.measurements import trimmed_unread

from .delivery import Delivery, DeliveryKey
from .group_member import GroupMember, NoGroup
from .pulse import Pulse

log = logging.getLogger(__name__)

_DELETED = "was deleted while it was pending"
_LET_GO = "was acknowledged by somebody else, or its consumer was deleted"


@cache
def _losses_script() -> Script:
    return Script.named("losses", allow_oom=True)


async def notice_losses(commands: Pipe, streams: Sequence[str], prefix: str) -> None:
    """Log and count entries that were trimmed before a group had read them, once among all processes.

    A group that reads on before anybody looks is past the gap: then it goes unnoticed.
    """
    calls = [Call(_losses_script(), [prefix + stream]) for stream in streams]
    for stream, reply in zip(streams, await run_all(commands, calls), strict=True):
        if isinstance(reply, Exception):
            raise reply
        for name, count in reply:
            group = argument_shown(name)
            log.error(
                "%(count)d entries of %(stream)s were trimmed before %(group)s had read them: they are lost",
                {"count": count, "stream": stream, "group": group},
            )
            trimmed_unread.add(stream, group, count=count)


def note_loss(group: str, stream: str, entry_id: str, how: str) -> None:
    """Log and count an entry that the group can't handle any more."""
    said = {"entryId": entry_id, "stream": stream, "how": how}
    log.error("entry %(entryId)s of %(stream)s %(how)s: it is lost", said, extra={"group": group})
    trimmed_unread.add(stream, group)


class Losses:
    """Tells deliveries that somebody took from us, by hand, from those that a peer has committed.

    As long as our heartbeats were not late, no peer has taken anything from us. What was ours then and is gone from the
    stream nobody has handled: retention trims nothing that is pending. Nor has anybody handled what still stands there
    and is pending on nobody.
    """

    def __init__(self, member: GroupMember, pulse: Pulse) -> None:
        self._member, self._pulse = member, pulse
        self._missing: dict[DeliveryKey, bool] = {}

    def missing(self, delivery: Delivery) -> None:
        """The server says that this delivery is not pending on us."""
        if self._pulse.surely_ours(delivery.received_at) and not delivery.maybe_aside:
            # Another server, after a failover, may not know yet of what was pending: it gives that out once more.
            self._missing[delivery.key] = delivery.received_at > self._member.connected_at

    def forget(self) -> None:
        """The group was recreated, so all is delivered again and nothing is missing."""
        self._missing.clear()

    async def look(self) -> None:
        """Log and count what is lost of all that was missing. Raises what Redis raises; call it again then."""
        if not (missing := sorted(self._missing)):
            return
        try:
            found = await self._member.look_for(missing)
        except NoGroup:
            self.forget()
            raise
        for key, (there, held) in zip(missing, found, strict=True):
            same_server = self._missing.pop(key, False)
            if not there or (not held and same_server):
                note_loss(self._member.group, *key, _LET_GO if there else _DELETED)
