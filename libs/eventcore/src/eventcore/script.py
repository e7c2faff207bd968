"""Lua scripts on the server: called by hash, loaded when the server doesn't know them (any more)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from .pipe import Argument, Command, Pipe, Reply, ServerError


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the hash under which the server knows it."""

    source: str
    sha: str

    @classmethod
    def named(cls, name: str, *, allow_oom: bool) -> Script:
        """Read `lua/<name>.lua`; `allow_oom` lets it run on a server whose memory is full."""
        body = (files(__package__) / "lua" / f"{name}.lua").read_text()
        source = f"#!lua{' flags=allow-oom' if allow_oom else ''}\n{body}"
        return cls(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@dataclass(slots=True)
class Call:
    """One call of a script."""

    script: Script
    keys: Sequence[Argument]
    arguments: Sequence[Argument] = ()

    @property
    def command(self) -> Command:
        """As it goes to the server."""
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.arguments)


async def run_all(pipe: Pipe, calls: Sequence[Call], *, beside: Sequence[Command] = ()) -> list[Reply]:
    """Call scripts, and send other commands beside them, in one pipeline; replies in order, exceptions among them.

    A restarted, failed-over or flushed server answers NOSCRIPT: those calls did not run, so they alone are sent again.
    """
    commands = [call.command for call in calls]
    replies = await pipe.pipeline([*commands, *beside])
    missing = [i for i, reply in enumerate(replies) if isinstance(reply, ServerError) and reply.code == "NOSCRIPT"]
    if missing:
        sources = dict.fromkeys(calls[i].script.source for i in missing)
        loads: list[Command] = [("SCRIPT", "LOAD", source) for source in sources]
        again = await pipe.pipeline([*loads, *(commands[i] for i in missing)])
        for i, reply in zip(missing, again[len(loads) :], strict=True):
            replies[i] = reply
    return replies


async def run(pipe: Pipe, call: Call) -> Reply:
    """Call one script; its reply. Raises what the server's error means."""
    [reply] = await run_all(pipe, [call])
    if isinstance(reply, Exception):
        raise reply
    return reply
