"""Lua scripts on the server: called by hash, loaded when the server doesn't know them (any more)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from eventcore.errors import EventcoreError, Forbidden, StreamFull

from .pipe import Argument, Command, Pipe, Reply, ServerError, argument_shown


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the hash under which the server knows it."""

    source: str
    sha: str

    @classmethod
    def named(cls, name: str, *, allow_oom: bool) -> Script:
        """Read `lua/<name>.lua`, to stand behind `rights.lua`; `allow_oom` lets it run where memory is full."""
        lua = files("eventcore") / "lua"
        rights, body = ((lua / f"{each}.lua").read_text() for each in ("rights", name))
        source = f"#!lua{' flags=allow-oom' if allow_oom else ''}\n{rights}{body}"
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
    Where the server refuses a call before it begins, for a key, it does not say which: that is asked.
    """
    replies = await _run_all(pipe, calls, beside)
    for i, call in enumerate(calls):
        reply = replies[i]
        if isinstance(reply, Forbidden) and reply.command is None:
            replies[i] = await _with_key(pipe, call, reply)
    return replies


async def _run_all(pipe: Pipe, calls: Sequence[Call], beside: Sequence[Command]) -> list[Reply]:
    commands = [call.command for call in calls]
    replies = await pipe.pipeline([*commands, *beside])
    missing = [i for i, reply in enumerate(replies) if isinstance(reply, ServerError) and reply.code == "NOSCRIPT"]
    if missing:
        sources = dict.fromkeys(calls[i].script.source for i in missing)
        loads: list[Command] = [("SCRIPT", "LOAD", source) for source in sources]
        again = await pipe.pipeline([*loads, *(commands[i] for i in missing)])
        refused = next((reply for reply in again[: len(loads)] if isinstance(reply, Exception)), None)
        for i, reply in zip(missing, again[len(loads) :], strict=True):
            replies[i] = refused or reply
    return replies


Need = tuple[str, Argument]
"""A command and a key that it is to be run on. The command may be several words."""


@cache
def _missing_script() -> Script:
    return Script.named("missing", allow_oom=True)


async def missing(pipe: Pipe, needs: Sequence[Need]) -> dict[Need, Forbidden | StreamFull]:
    """Those of the needs that the server would refuse now, and how. Raises as `run` does."""
    call = Call(_missing_script(), (), [word for need in needs for word in need])
    [reply] = await _run_all(pipe, [call], ())
    if isinstance(reply, Exception):
        raise reply
    found: dict[Need, Forbidden | StreamFull] = {}
    for need, verdict in zip(needs, reply, strict=True):
        command, key = need
        if verdict == b"forbidden":
            found[need] = (
                _touch_refused(argument_shown(key))
                if command == _TOUCH
                else Forbidden.to_run(command, argument_shown(key))
            )
        elif verdict == b"out of entry ids":
            found[need] = StreamFull(f"{argument_shown(key)} is out of entry ids", key=argument_shown(key))
    return found


async def _with_key(pipe: Pipe, call: Call, refused: Forbidden) -> Forbidden:
    """The refusal with the first key that it is about; as it is where that can't be told."""
    try:
        found = await missing(pipe, [(_TOUCH, key) for key in call.keys])
    except EventcoreError:
        return refused
    return next((each for each in found.values() if isinstance(each, Forbidden)), refused)


def _touch_refused(key: str) -> Forbidden:
    said = f"the Redis user has no permission to read and write {key}"
    return Forbidden(said, command=_TOUCH, key=key)


# As the server sees a call with one key, whatever the script: it wants the right to read and to write.
_TOUCH = "EVALSHA 0 1"


async def run_script(pipe: Pipe, call: Call) -> Reply:
    """Call one script; its reply. Raises what the server's error means."""
    [reply] = await run_all(pipe, [call])
    if isinstance(reply, Exception):
        raise reply
    return reply
