"""The name of a consumer: POD_NAME, or POD_NAME~2 and so on while other living processes have it."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta

from .group_member import GroupMember, Peer

log = logging.getLogger(__name__)


class Naming:
    """Finds a free name for a consumer: two of one name would each handle what the other has in hand.

    A restart after a crash gets its old name back, and what is pending on it, as soon as the old process is dead.
    """

    def __init__(self, member: GroupMember, handles: Mapping[str, Iterable[str]], dead_after: timedelta) -> None:
        self._member, self._dead_after = member, dead_after
        self._handles = {stream: frozenset(types) for stream, types in handles.items()}
        self._pod, self._number = member.consumer, 1
        self._seen: str | None = None
        self._seen_at = 0.0
        self._said: set[tuple[str, frozenset[str], bool]] = set()
        self.settled = False

    async def settle(self) -> bool:
        """Try to take a name; whether it succeeded. Call it again soon until it does."""
        name = self._pod if self._number == 1 else f"{self._pod}~{self._number}"
        before = self._member.consumer
        answer = await self._member.take_name(name, self._dead_after, stale=self._stale())
        self.settled = not isinstance(answer, str)
        if isinstance(answer, str):
            self._watch(answer)
            return False
        if name != before:
            log.warning(
                "another process consumes as %(taken)s in %(group)s: this one is %(consumer)s",
                {"taken": self._pod, "group": self._member.group, "consumer": name},
            )
        self._seen = None
        self._compare(answer)
        return True

    @property
    def problem(self) -> str | None:
        """Why there is no name yet, if a living process may have it."""
        return None if self._seen is None else f"a process named {self._pod} has beaten lately: is it alive?"

    def _watch(self, beat: str) -> None:
        """Note the holder's last beat; one that comes after it shows that the holder lives."""
        if self._seen is None:
            self._seen, self._seen_at = beat, _now()
        elif self._seen != beat:
            self._seen, self._number = None, self._number + 1

    def _stale(self) -> str:
        """The heartbeat that has not changed for `dead_after`, so its process is dead; else empty."""
        is_old = self._seen is not None and _now() - self._seen_at > self._dead_after.total_seconds()
        return self._seen or "" if is_old else ""

    def _compare(self, peers: Iterable[Peer]) -> None:
        """Log which events this consumer or a peer acknowledges unhandled because only the other has a handler."""
        lacking: defaultdict[tuple[str, frozenset[str], bool], list[str]] = defaultdict(list)
        for peer in peers:
            own = self._handles.get(peer.stream, peer.handles)
            for types, here in ((peer.handles - own, True), (own - peer.handles, False)):
                if types:
                    lacking[peer.stream, types, here].append(peer.name)
        for difference, names in lacking.items():
            if difference in self._said:
                continue  # joining again, after trouble
            self._said.add(difference)
            stream, types, here = difference
            us, others = self._member.consumer, ", ".join(sorted(names)[:3])
            sides = {"consumer": us, "peer": others} if here else {"consumer": others, "peer": us}
            log.warning(
                "%(consumer)s of %(group)s has no handler for %(eventTypes)s of %(stream)s, which %(peer)s has: "
                "it acknowledges such events unseen",
                sides | {"group": self._member.group, "eventTypes": ", ".join(sorted(types)), "stream": stream},
            )


def _now() -> float:
    return asyncio.get_running_loop().time()
