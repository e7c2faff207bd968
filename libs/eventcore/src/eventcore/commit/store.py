"""The store: the Redis that holds state and streams. Transactions commit here, events are published here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from eventcore.errors import GuardFailed, OutcomeUnknown, StreamFull, Unavailable, Unreadable
from eventcore.events.envelope import Origin
from eventcore.events.event import Event
from eventcore.server.clock import Clock
from eventcore.server.connection import Connector
from eventcore.server.lookout import Lookout
from eventcore.server.pipe import LONGEST_BLOCK, Pipe
from eventcore.server.requirements import check_server
from eventcore.server.rights import Refusals
from eventcore.settings import Settings

from .committer import CommitAnswer, Committed, Committer, GuardsFailed, Work
from .durability import CONFIRM_WITHIN, Durability, Promise, Unproven
from .durable_commits import DurableCommitter
from .per_turn import GatheringCommitter
from .publishing import send, send_all
from .query import Readable, T, sound
from .reader import Reader
from .transaction import Transaction, plain

# A transaction whose guards fail again after each new decision is chasing a moving target.
_MOST_DECISIONS = 8

U = TypeVar("U")
V = TypeVar("V")
W = TypeVar("W")


class Store:
    """State and streams in one Redis, for one service.

    `source` is the service's name, as it appears in the events that it publishes; `durability` says what `commit` waits
    for (consumers need no more than memory: an event that is lost with its effects is delivered again), `unproven` what
    to do with a server that can't be trusted with it. `redis` is redis-py's client, for what neither `read` nor
    `commit` can say: it takes keys with their prefix, from `key`, and answers bytes. Use it as an async context
    manager.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        source: str,
        origin: Callable[[str], Origin] = Origin.new,
        durability: Durability = Durability.MEMORY,
        replicas: int = 1,
        unproven: Unproven = "refuse",
    ) -> None:
        self.settings, self.source, self.durability = settings, source, durability
        self._origin = origin
        self._connector = Connector(settings, role=source)
        # Any: redis-py's hints are unions over all protocols and callbacks, which no caller can use.
        self.redis: Any = self._connector.client()
        self.commands = Pipe(self._connector.connect)
        self._reader = Reader(self.commands, settings.key_prefix)
        self.clock = Clock()
        self.refusals = Refusals(self.commands)
        self.full_streams: set[str] = set()
        self.published_streams: set[str] = set()
        self.handled: dict[str, frozenset[str]] = {}
        """The event types that consumers on this store handle just now, by group."""
        self.committer = self._committer(self.commands)
        self._gathering = GatheringCommitter(self._commit_all)
        self._lookout = Lookout(self._connector)
        self._durable: DurableCommitter | None = None
        if durability is not Durability.MEMORY:
            promise = Promise(durability, replicas=replicas, prefix=settings.key_prefix, unproven=unproven)
            pipe = Pipe(
                self._connector.connect, name="durable commits", timeout=2 * CONFIRM_WITHIN, prove=promise.prove
            )
            self._durable = DurableCommitter(pipe, self._committer(pipe), promise)

    def _committer(self, pipe: Pipe) -> Committer:
        return Committer(pipe, prefix=self.settings.key_prefix, stream_cap=self.settings.stream_cap)

    def key(self, name: str) -> str:
        """The key as it stands in Redis."""
        return self.settings.key_prefix + name

    async def __aenter__(self) -> Self:
        self.commands.start()
        if self._durable is not None:
            self._durable.pipe.start()
        self._lookout.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._lookout.stop()
        await self.commands.close()
        if self._durable is not None:
            await self._durable.pipe.close()
        await self.redis.aclose()
        await self._connector.close()

    @property
    def durability_problem(self) -> str | None:
        """Why commits can't be made as durable as `durability` asks now; `None` where they can."""
        return None if self._durable is None else self._durable.problem

    async def check_durability(self) -> None:
        """Return once it is known that the server keeps the durability that was asked for: at once, or in seconds.

        Raises `SettingsError` where it can't, `Unavailable` where it doesn't now.
        """
        if self._durable is not None:
            await self._durable.check_server()

    async def check_server(self) -> None:
        """Refuse a server that is not fit for orders, warn of what else is wrong with it (docs/requirements.md).

        Raises `SettingsError`, or `Unavailable` where it can't answer now.
        """
        await check_server(self.commands, self.settings)

    @overload
    async def read(self, place: Readable[T], /) -> T: ...
    @overload
    async def read(self, place: Readable[T], second: Readable[U], /) -> tuple[T, U]: ...
    @overload
    async def read(self, place: Readable[T], second: Readable[U], third: Readable[V], /) -> tuple[T, U, V]: ...
    @overload
    async def read(
        self, place: Readable[T], second: Readable[U], third: Readable[V], fourth: Readable[W], /
    ) -> tuple[T, U, V, W]: ...

    async def read(self, *places: Readable[Any]) -> Any:
        """What stands in a place, or in several at one moment: `await store.read(points["VINET"].as_int, stock)`.

        Raises `Unreadable` where that is not what was asked for, `Unavailable`.
        """
        values = tuple(map(sound, await self.read_each(places)))
        return values[0] if len(values) == 1 else values

    async def read_each(self, places: Iterable[Readable[T]]) -> list[T | Unreadable]:
        """What stands in each of these places at one moment, an `Unreadable` where that is not what was asked for.

        Raises `Unavailable`.
        """
        return await self._reader.read_each([place.query for place in places])

    async def now(self) -> datetime:
        """The server's time, by which keys expire. Raises `Unavailable`."""
        seconds, microseconds = await self.commands.execute("TIME")
        return datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(microseconds))

    async def commit(
        self, transaction: Transaction, *, origin: Origin | None = None, resend: bool = False
    ) -> Committed:
        """Commit a transaction that settles no delivery: an HTTP request's, for example.

        Raises `GuardFailed` when a guard fails and the transaction has no `otherwise`, `Conflict`, `Unavailable`
        (nothing was written), `OutcomeUnknown` or `DurabilityUnknown`. With `resend` a commit whose reply was lost is
        sent once more; say so only where the transaction's own guards make a second run harmless.
        """
        origin, transaction = origin or self._origin(self.source), plain(transaction)
        for _ in range(_MOST_DECISIONS):
            work = Work(transaction, origin)
            try:
                answer = await self._answer(work)
            except OutcomeUnknown as error:
                answer = error
            if resend and type(answer) is OutcomeUnknown:  # what is not durable would not be so by another sending
                answer = await self._answer_again(work)
            if isinstance(answer, Committed):
                self.published_streams.update(work.streams)
                for tally in transaction.counts:
                    tally.add()
                return answer
            if not isinstance(answer, GuardsFailed):
                if not isinstance(answer, Exception):
                    raise TypeError(f"unfenced work was answered {answer}")
                self.refusals.note(answer)
                raise answer
            decision = transaction.decide_again(answer.found)
            if decision is None:
                failed = ", ".join(map(str, answer.found.failed))
                raise GuardFailed(f"guard failed: {failed}", answer.found)
            transaction = decision
        raise GuardFailed(f"guards failed after each of {_MOST_DECISIONS} decisions", {})

    def _answer(self, work: Work) -> Awaitable[CommitAnswer]:
        return self._gathering.commit(work) if self._durable is None else self._durable.commit(work)

    async def _answer_again(self, work: Work) -> CommitAnswer:
        """The answer to work that was sent before, whose answer was lost."""
        try:
            answer = await self._answer(work)
        except Unavailable as error:
            answer = error
        if isinstance(answer, Unavailable) and not isinstance(answer, StreamFull | OutcomeUnknown):
            # The second was not written; nobody can tell about the first. (A full stream is told of after the guards.)
            raise OutcomeUnknown(str(answer), retry_after=answer.retry_after) from answer
        return answer

    async def _commit_all(self, work: Sequence[Work]) -> list[CommitAnswer]:
        return await self.committer.commit_all(work)

    async def publish(self, event: Event, *, origin: Origin | None = None, event_id: str | None = None) -> str:
        """Append one event to its stream; its entry id. Many callers at once share one write to the server."""
        self._check_room(event.stream)
        origin = origin or self._origin(self.source)
        return await send(self.commands, event, origin, prefix=self.settings.key_prefix, event_id=event_id)

    async def publish_all(self, events: Sequence[Event], *, origin: Origin | None = None) -> list[str]:
        """Append events in order, in one write; their entry ids. Raises the first error, after all were sent."""
        for event in events:
            self._check_room(event.stream)
        origin = origin or self._origin(self.source)
        return await send_all(self.commands, events, origin, prefix=self.settings.key_prefix)

    def _check_room(self, stream: str) -> None:
        self.published_streams.add(stream)
        if stream in self.full_streams:
            raise StreamFull(f"{stream} is at its hard cap", retry_after=timedelta(seconds=5))

    def reader(self, name: str) -> Pipe:
        """A connection of its own for blocking reads; its timeout leaves room for the longest of them."""
        return Pipe(
            self._connector.connect,
            name=name,
            timeout=LONGEST_BLOCK + timedelta(seconds=5),
            on_connect=[("CLIENT", "ID")],
        )
