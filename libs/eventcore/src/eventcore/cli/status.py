"""`eventcore status`: every stream, its groups and consumers, and what is wrong with them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, NoReturn

import typer
from redis.exceptions import AuthenticationError
from rich.live import Live

from eventcore.events.envelope import timestamp
from eventcore.operate.inspection import ServerState, StreamState, WrongType
from eventcore.operate.trends import Trends

from .complaints import OUT_OF_REACH, explain_error
from .options import Json
from .problems import FoundProblem, problems
from .status_json import problem_documents, server_document, stream_document
from .status_view import Fitted, screen
from .tool import Tool

# Whether it is getting better can't be seen at one look: where something waits, there are two more, so far apart.
_MORE_LOOKS, _GLANCE_SECONDS = 2, 0.5
# The keyspace is searched for new streams only so often while watching.
_SEARCH_SECONDS = 15.0
_LONGEST_INTERVAL = 86_400

Streams = Annotated[list[str] | None, typer.Argument(metavar="STREAM", help="Only these.", show_default=False)]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")]


def _interval(seconds: float) -> float:
    if not 0.1 <= seconds <= _LONGEST_INTERVAL:  # not by `min` and `max`, which let NaN through
        raise typer.BadParameter(f"{seconds} is not from 0.1 to {_LONGEST_INTERVAL}", param_hint="--interval")
    return seconds


Interval = Annotated[
    float, typer.Option("--interval", metavar="SECONDS", callback=_interval, help="Time between two looks.")
]


@dataclass(frozen=True, slots=True)
class Look:
    """What one look has found."""

    server: ServerState | None
    states: Sequence[StreamState]
    problems: Sequence[FoundProblem]


async def status(
    tool: Tool, streams: Streams = None, watch: Watch = False, interval: Interval = 2.0, as_json: Json = False
) -> None:
    """Show streams, groups, consumers with their last heartbeat, lag, pending entries, dead letters, and problems.

    All streams whose names end in _stream or that have been consumed by eventcore, unless some are named. Lag is what
    a group has not been given yet, in entries and as the age of the first of them. Where something waits it takes a
    second to see whether it gets less.
    """
    eye = _Eye(tool, [await tool.stream(given) for given in streams or ()])
    look = await eye.look()
    if not watch:
        look = await _settled(eye, look)
        tool.output.document(_document(tool, eye, look)) if as_json else tool.output.show(_screen(tool, eye, look))
        return
    tool.endless = True
    if tool.output.is_terminal and not as_json:
        with Live(console=tool.output.console, screen=True, auto_refresh=False) as live:
            await _watch(tool, eye, look, interval, partial(_draw, tool, eye, live))
    await _watch(tool, eye, look, interval, partial(_log, tool, eye, as_json))


async def _settled(eye: _Eye, look: Look) -> Look:
    """The last of a few looks, until nothing waits any more."""
    for _ in range(_MORE_LOOKS):
        if not any(group.unfinished for state in look.states for group in state.groups):
            break
        await asyncio.sleep(_GLANCE_SECONDS)
        look = await eye.look()
    return look


def _draw(tool: Tool, eye: _Eye, live: Live, look: Look, trouble: str | None) -> None:
    """The last look there was, in place of the one before."""
    live.update(Fitted(_screen(tool, eye, look, trouble)), refresh=True)


def _log(tool: Tool, eye: _Eye, as_json: bool, look: Look, trouble: str | None) -> None:
    """One look after the other, for pipes and programs."""
    if trouble:
        tool.output.complain(trouble)
    elif as_json:
        tool.output.json_line(_document(tool, eye, look))
    else:
        tool.output.show(_screen(tool, eye, look))


async def _watch(
    tool: Tool, eye: _Eye, look: Look, interval: float, show: Callable[[Look, str | None], None]
) -> NoReturn:
    """Go on looking; a server that is away for a while is waited for."""
    trouble = None
    while True:
        show(look, trouble)
        tool.output.flush()
        await asyncio.sleep(interval)
        try:
            look, trouble = await eye.look(), None
        except AuthenticationError:
            raise
        except OUT_OF_REACH as error:
            trouble = explain_error(error, tool.settings.redis_address)


class _Eye:
    """Looks at the streams again and again, and remembers how lag develops."""

    def __init__(self, tool: Tool, streams: Sequence[str]) -> None:
        self._tool, self._fixed = tool, list(streams)
        self._found: list[str] = []
        self._searched = float("-inf")
        self.trends = Trends()

    async def look(self) -> Look:
        if not self._fixed and time.monotonic() - self._searched > _SEARCH_SECONDS:
            self._found = await self._tool.inspector.streams()
            self._searched = time.monotonic()
        server = await self._tool.inspector.server()
        states, misplaced = [], []
        for name in self._fixed or self._found:
            try:
                states.append(await self._tool.inspector.stream(name))
            except WrongType as error:
                misplaced.append(FoundProblem("wrong_type", name, None, str(error)))
        self.trends.observe(states)
        others = problems(server, states, self.trends, cap=self._tool.settings.stream_cap)
        return Look(server, states, [*misplaced, *others])


def _document(tool: Tool, eye: _Eye, look: Look) -> dict[str, Any]:
    return {
        "redis": tool.settings.redis_address,
        "prefix": tool.settings.key_prefix,
        "time": timestamp(look.states[0].at) if look.states else timestamp(),
        "server": server_document(look.server),
        "streams": [stream_document(state, eye.trends) for state in look.states],
        "problems": problem_documents(look.problems),
    }


def _screen(tool: Tool, eye: _Eye, look: Look, trouble: str | None = None) -> Any:
    place = f"{tool.settings.redis_address} {tool.settings.key_prefix}".strip()
    return screen(place, look.server, look.states, look.problems, eye.trends, trouble)
