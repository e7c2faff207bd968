"""The events of random histories, and a handler that does about each what the event itself asks for."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from eventcore import Event, Found, Hash, Origin, Reject, RetryPolicy, Router, Transaction, Unavailable, Write, publish
from eventcore.events.envelope import encode

GROUP, STREAM = "history-group", "history_stream"
RETRIES, LETTERS, OUTCOMES = f"{STREAM}:{GROUP}:retry", "history_dlq", "outcome_stream"
ASIDE, MOST_ASIDE = f"{STREAM}:{GROUP}:aside", 5
MOST_ATTEMPTS = 3
EFFECTS, STOCK = Hash("effects"), Hash("stock")["pieces"]
_EAGER = RetryPolicy(attempts=MOST_ATTEMPTS, base=timedelta(0), ceiling=timedelta(0))


class Mode(StrEnum):
    """How it goes to handle an event, until it is healed: then it goes well."""

    WELL = "well"
    IF_IN_STOCK = "if in stock"
    SLOWLY = "slowly"
    FAILS = "fails"
    REJECTED = "rejected"
    KILLS = "kills"
    NOT_NOW = "not now"
    UNREADABLE = "unreadable"
    UNKNOWN = "unknown"


class Happened(Event, type="history.happened", stream=STREAM, lane="place"):
    """Something happened. What happens at one place is handled in order."""

    name: str
    mode: Mode
    place: str | None = None


class HappensSlowly(Event, type="history.happens_slowly", stream=STREAM, lane="place"):
    """Something happened, and the world outside has to be told of it."""

    name: str
    place: str | None = None


class Unheard(Event, type="history.unheard", stream=STREAM):
    """Something happened that the group has no handler for."""


class Done(Event, type="history.done", stream=OUTCOMES):
    """It has been handled."""

    name: str


def written(name: str, mode: Mode, place: str | None) -> bytes:
    """The event as it stands in its entry."""
    event: Event
    match mode:
        case Mode.UNREADABLE:
            return b"never mind"
        case Mode.UNKNOWN:
            event = Unheard()
        case Mode.SLOWLY:
            event = HappensSlowly(name=name, place=place)
        case _:
            event = Happened(name=name, mode=mode, place=place)
    return encode(event, Origin("history", "0" * 32, ""), name)


@dataclass(eq=False)
class Outside:
    """A call to the world outside that somebody waits for."""

    pod: str
    answer: asyncio.Future[None]


@dataclass
class World:
    """What handlers meet: what was healed, who was killed, which calls are under way; and how often each has run."""

    healed: set[str] = field(default_factory=set)
    killed: set[str] = field(default_factory=set)
    calls: list[Outside] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)

    def router(self, pod: str) -> Router:
        """The handlers of one pod."""
        router = Router(group=GROUP, retry=_EAGER)

        @router.on(Happened)
        def happen(event: Happened) -> Transaction:
            self.runs[event.name] += 1
            if event.name not in self.healed:
                self._interfere(pod, event.mode)
            return _if_in_stock(event.name) if event.mode is Mode.IF_IN_STOCK else _note(event.name)

        @router.on(HappensSlowly)
        async def happen_slowly(event: HappensSlowly) -> Transaction:
            self.runs[event.name] += 1
            call = Outside(pod, asyncio.get_running_loop().create_future())
            self.calls.append(call)
            try:
                await call.answer
            finally:
                self.calls.remove(call)
            return _note(event.name)

        return router

    def _interfere(self, pod: str, mode: Mode) -> None:
        match mode:
            case Mode.FAILS:
                raise ValueError("it fails")
            case Mode.REJECTED:
                raise Reject("it can't be")
            case Mode.NOT_NOW:
                raise Unavailable("not now")
            case Mode.KILLS:
                self.killed.add(pod)
                raise SystemExit  # nothing of this process goes on


def _note(name: str, *others: Write) -> Transaction:
    """Once is enough: whether it was once shows in the effects. Nothing but the fence sees to it."""
    return Transaction(then=[EFFECTS[name].add(1), publish(Done(name=name)), *others])


def _if_in_stock(name: str) -> Transaction:
    taking = _note(name, STOCK.add(-1))

    def otherwise(found: Found) -> Transaction:
        return _note(name)

    return Transaction(when=[STOCK >= 1], then=taking.then, otherwise=otherwise)
