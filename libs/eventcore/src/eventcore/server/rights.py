"""Rights: what our user must be allowed to do on the server, asked beforehand, and again once it was refused."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from eventcore.errors import EventcoreError, Forbidden, StreamFull

from .pipe import Pipe
from .script import Need, missing

MOST_NEEDS = 64
_MOST_TOLD = 3

log = logging.getLogger(__name__)

# What a member of a group does to the streams that it reads, beside reading them.
STREAM_COMMANDS = (
    "XACK", "XCLAIM", "XPENDING", "XRANGE", "XINFO STREAM", "XINFO GROUPS", "XINFO CONSUMERS", "XGROUP CREATE",
    "XGROUP DELCONSUMER", "XGROUP SETID",
)  # fmt: skip
BEATS_COMMANDS = ("ZADD", "ZREM", "ZSCORE", "ZRANGE", "ZRANGEBYSCORE")

_DUE_COMMANDS = ("ZADD", "ZREM", "ZSCORE", "ZCARD", "ZRANGEBYSCORE")
_ENTRIES_COMMANDS = ("HSET", "HGET", "HDEL", "HLEN", "HKEYS", "HEXISTS")


def needs_of_member(streams: Iterable[str], beats: Iterable[str], dead_letters: Iterable[str]) -> list[Need]:
    """What a member of a group will surely have to do, sooner or later, to these keys."""
    return [
        *((command, stream) for stream in streams for command in STREAM_COMMANDS),
        *((command, key) for key in beats for command in BEATS_COMMANDS),
        *(("XADD", key) for key in dead_letters),
    ]


def needs_of_aside(retries: Iterable[str], aside: Iterable[Sequence[str]]) -> list[Need]:
    """What it needs to put aside, and to bring back to the retry streams; `aside` are sorted sets with their hashes."""
    needs: list[Need] = [(command, stream) for stream in retries for command in ("XADD", "XDEL")]
    for due, entries in aside:
        needs += [(command, due) for command in _DUE_COMMANDS]
        needs += [(command, entries) for command in _ENTRIES_COMMANDS]
    return needs


async def require_rights(pipe: Pipe, needs: Sequence[Need], *, later: Sequence[Need] = ()) -> None:
    """Raise `Forbidden` with all of these that the server would refuse; of those for `later`, for lack of a right."""
    refused = await missing(pipe, [*needs, *later])
    if told := [error for need, error in refused.items() if need in needs or isinstance(error, Forbidden)]:
        raise Forbidden(_told(told))


class Refusals:
    """What the server has refused to run, until it would run it: a service that meets one can't do its work."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._needs: dict[Need, None] = {}
        self._told: str | None = None

    def expect(self, needs: Iterable[Need]) -> None:
        """Ask for these, too, at the next look; not for all, where each request has a key of its own."""
        for need in needs:
            if len(self._needs) < MOST_NEEDS:
                self._needs[need] = None

    def note(self, error: BaseException) -> None:
        """Remember what this error was about, if it was a refusal that names its key."""
        if isinstance(error, Forbidden) and error.command is not None and error.key is not None:
            self.expect([(error.command, error.key)])
        elif isinstance(error, StreamFull) and error.key is not None:
            self.expect([("XADD", error.key)])

    async def still(self) -> str | None:
        """What would still be refused; `None` if nothing. Raises as `Pipe.execute` does."""
        if not self._needs:
            return None
        asked = [*self._needs]
        refused = await missing(self._pipe, asked)
        for need in asked:
            if need not in refused:
                self._needs.pop(need, None)
        told = _told(refused.values()) if refused else None
        if told != self._told:
            if told:
                log.warning("not ready, Redis refuses what this service needs: %(error)s", {"error": told})
            else:
                log.info("Redis refuses nothing that this service needs any more")
        self._told = told
        return told


def _told(refused: Iterable[EventcoreError]) -> str:
    reasons = [str(each) for each in refused]
    more = f"; and {len(reasons) - _MOST_TOLD} more" if len(reasons) > _MOST_TOLD else ""
    return "; ".join(reasons[:_MOST_TOLD]) + more
