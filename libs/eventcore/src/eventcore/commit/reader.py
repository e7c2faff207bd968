"""Reads places over a pipe: all of one call at one moment, in one round trip."""

from __future__ import annotations

from collections.abc import Sequence

from eventcore.errors import Conflict, Forbidden, OutcomeUnknown, Unavailable, Unreadable
from eventcore.server.pipe import Command, Pipe, Reply, argument_shown

from .query import Query, T


class Reader:
    """Reads over this pipe; `prefix` stands before all keys."""

    def __init__(self, pipe: Pipe, prefix: str) -> None:
        self._pipe, self._prefix = pipe, prefix

    async def read_each(self, queries: Sequence[Query[T]]) -> list[T | Unreadable]:
        """What each query finds, an `Unreadable` where that is not what it asks for. Raises `Unavailable`."""
        groups: dict[object, list[int]] = {}  # the fields of one hash are one group, all else stands alone
        for i, query in enumerate(queries):
            groups.setdefault(query.key if query.command == "HGET" else i, []).append(i)
        answers = await self._ask([self._command([queries[i] for i in group]) for group in groups.values()])
        replies: list[Reply] = [None] * len(queries)
        for group, answer in zip(groups.values(), answers, strict=True):
            of_fields = queries[group[0]].command == "HGET" and isinstance(answer, list)
            for i, reply in zip(group, answer if of_fields else [answer] * len(group), strict=True):
                replies[i] = reply
        return list(map(_understood, queries, replies))

    def _command(self, group: Sequence[Query[T]]) -> Command:
        """One command for all fields of one hash."""
        first, key = group[0], self._prefix + group[0].key
        if first.command == "HGET":
            return ("HMGET", key, *(query.arguments[0] for query in group))
        return (first.command, key, *first.arguments)

    async def _ask(self, commands: Sequence[Command]) -> Sequence[Reply]:
        """The replies, a `Conflict` where a key holds something of another type."""
        try:
            if len(commands) < 2:
                return _sound(commands, await self._pipe.pipeline(commands))
            begun, *queued, replies = await self._pipe.pipeline([("MULTI",), *commands, ("EXEC",)])
        except OutcomeUnknown as error:  # of what changes nothing
            raise Unavailable(str(error), retry_after=error.retry_after) from error
        if isinstance(replies, Exception):
            _sound(commands, queued)
            raise begun if isinstance(begun, Exception) else replies
        return _sound(commands, replies)


def _sound(commands: Sequence[Command], replies: Sequence[Reply]) -> Sequence[Reply]:
    """The replies. Raises what the server refuses, but for a type."""
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, Exception) and not isinstance(reply, Conflict):  # of a refusal the server names no key
            raise (
                Forbidden.to_run(str(command[0]), argument_shown(command[1])) if isinstance(reply, Forbidden) else reply
            )
    return replies


def _understood(query: Query[T], reply: Reply) -> T | Unreadable:
    try:
        return query.understand(reply)
    except Unreadable as error:
        return error
