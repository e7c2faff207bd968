"""A consumer: joins its group, reads, hands deliveries to the processor, and leaves cleanly."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from eventcore.commit.store import Store
from eventcore.errors import EventcoreError, Forbidden
from eventcore.server.pipe import LONGEST_BLOCK
from eventcore.telemetry import measurements

from .aside import Aside
from .attempts import Retries
from .consumer_name import Naming
from .deciding import Decider
from .delivery import LetterReason
from .group_member import SHORTEST_BLOCK, GroupMember, NameTaken, NoGroup
from .in_flight import Holding
from .losses import Losses, notice_losses
from .pulse import Pulse
from .retry_policy import RetryPolicy
from .router import Router, united
from .settling import Processor
from .takeover import Takeover
from .waiting import cancel_all, either
from .watchdog import Watchdog

log = logging.getLogger(__name__)

_SURVIVABLE = (EventcoreError, NoGroup, NameTaken)
# One being read, one being decided upon, one being committed: so the server and we work at the same time.
_BATCHES_IN_HAND = 3
# What leaving the group may take beyond the drain budget: a server that is silent must not keep a process from its end.
LEAVE_SECONDS = 0.75
# In seconds.
_BETWEEN_PROBES = 1.0


class Consumer:
    """Runs the routers of one group as one consumer.

    Raises `TypeError` where they don't fit together. `run` returns after `stop`, when what was in hand is finished or
    the drain budget is spent, and the group is left.
    """

    def __init__(self, store: Store, *routers: Router) -> None:
        settings = self._settings = store.settings
        router = self.router = _one(united(routers, retry=RetryPolicy(attempts=settings.retry_attempts)))
        self._commands, self._committer, self._handled = store.commands, store.committer, store.handled
        self._reader = store.reader(f"reader of {router.group}")
        self.member = member = GroupMember(
            store.commands,
            self._reader,
            group=router.group,
            consumer=settings.pod_name,
            streams=router.streams,
            handles=router.types,
            prefix=settings.key_prefix,
            clock=store.clock,
        )
        self._naming = Naming(member, router.types, timedelta(seconds=settings.dead_after_seconds))
        self.holding = Holding(
            router.group,
            limit=settings.consumer_concurrency if router.is_async else _BATCHES_IN_HAND * settings.consumer_batch,
            waiting_limit=settings.consumer_waiting,
        )
        self._watchdog = Watchdog(self.holding, router)
        pulse = Pulse(timedelta(seconds=settings.dead_after_seconds), member.clock)
        self._losses = Losses(member, pulse)
        self._decider = Decider(
            router,
            consumer=member.consumer,
            source=store.source,
            dead_letter_cap=settings.dlq_keep_entries,
            rollout=timedelta(seconds=settings.rollout_seconds),
            holding=self.holding,
            concurrency=settings.consumer_concurrency,
        )
        self._processor = Processor(self._decider, store.committer, self.holding, self._losses)
        self._aside = Aside(member, self.holding, self._processor, self._losses, settings)
        self._retries = Retries(member, self.holding, self._processor, self._losses, batch=settings.consumer_batch)
        self._takeover = Takeover(member, pulse, self._retries, self.holding)
        self._stopping = asyncio.Event()
        self.joined = self._joined_before = False
        self._asked_to_join = 0
        self._trouble: Exception | None = None
        self._leave_by = 0.0
        self._turned_at: dict[str, float] = {}
        self._probed_at = float("-inf")

    @property
    def draining(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    @property
    def turned_at(self) -> float:
        """When the loop that has been silent for the longest has turned, by the monotonic clock."""
        return min(self._turned_at.values(), default=time.monotonic())

    @property
    def problem(self) -> str | None:
        """Why this consumer can't do its work now; `None` if it can."""
        if self.draining:
            return "draining"
        if not self.joined:
            trouble = self._trouble or self._naming.problem
            return f"{self.router.group} is not joined yet{f': {trouble}' if trouble else ''}"
        return self.holding.held_up or self._aside.problem or self._watchdog.problem

    def stop(self) -> None:
        """Stop reading, finish what is in hand and let `run` return."""
        self._takeover.resting = True
        self._stopping.set()
        self.holding.changed()

    async def run(self) -> None:
        """Consume until `stop`. Survives whatever happens to Redis; raises only for a defect of its own.

        `TypeError` if a consumer of the group with other handlers runs on the same store.
        """
        self._check_alone()
        self._reader.start()
        forget = self._measure()
        reading = self._loop(self._read_loop(), "read")
        retrying = [
            self._loop(self._repeat(self._retry), "retry"),
            self._loop(self._repeat(self._retry_suspect), "suspects"),
        ]
        beating = self._loop(self._beat_loop(), "heartbeat")
        ends = [asyncio.create_task(each.wait()) for each in (self._stopping, self._processor.broken)]
        loops = (reading, *retrying, beating)
        try:
            await asyncio.wait([*ends, *loops], return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            await self._drain(reading, retrying)
        finally:
            await cancel_all([*ends, *loops, *self._processor.tasks])
            await self._reader.close()
            self._handled.pop(self.router.group, None)
            forget()
        await self._leave()
        for loop in loops:
            if not loop.cancelled() and (error := loop.exception()) is not None:
                raise error
        if self._processor.defect is not None:
            raise self._processor.defect

    def _check_alone(self) -> None:
        """Each of two consumers with different handlers would acknowledge unhandled what only the other handles."""
        own = frozenset(self.router.handlers)
        other = self._handled.setdefault(self.router.group, own)
        if other != own:
            self.stop()
            only = ", ".join(sorted(other ^ own))
            raise TypeError(
                f"of two consumers of {self.router.group} only one handles {only}: one must have all routers"
            )

    def _measure(self) -> Callable[[], None]:
        """Let the metrics show this consumer, until the returned function is called."""
        for stream in self.member.streams:
            measurements.expect(stream, self.router.group, LetterReason)
        key = (self.router.group,)
        watched = [
            measurements.waiting.watch(lambda: {key: self.holding.waiting}),
            measurements.behind.watch(lambda: {key: self.holding.behind}),
            measurements.behind_age.watch(
                lambda: {key: max((wait for _, wait in self.holding.lane_waits()), default=0.0)}
            ),
            measurements.paused.watch(lambda: {key: int(self.holding.held_up is not None)}),
        ]

        def forget() -> None:
            for each in watched:
                each()

        return forget

    def _loop(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return asyncio.create_task(coroutine, name=f"{self.router.group}-{name}")

    # Reading

    async def _read_loop(self) -> None:
        attempt = 0
        while not self.draining:
            self._turned("read")
            try:
                if not self.joined:
                    await self._join()
                    continue
                count, block = self._wanted()
                if count:
                    entries = await self.member.read(count, block)
                    if batch := self.holding.take(entries):
                        self._processor.start(batch)
                else:
                    await self.holding.change(1)
                attempt = 0
            except _SURVIVABLE as error:
                # A lost reply may have left entries pending on us: joining again finds them.
                attempt += 1
                self._join_again()
                await self._survive(error, attempt)

    def _wanted(self) -> tuple[int, timedelta]:
        """How many entries to ask for now, and for how long to wait for them.

        While too many wait for another attempt it is a few each second: if these succeed, the others are at fault.
        """
        now = time.monotonic()
        if self._retries.recovering:
            return 0, LONGEST_BLOCK
        if not self.holding.paused:
            return min(self.holding.room, self.holding.portions.read(self._settings.consumer_batch)), LONGEST_BLOCK
        if not self.holding.may_probe or now < self._probed_at + _BETWEEN_PROBES:
            return 0, LONGEST_BLOCK
        self._probed_at = now
        return min(self.holding.room, max(1, self._settings.consumer_waiting // 8)), SHORTEST_BLOCK

    async def _join(self) -> None:
        """Before reading: create what is missing, take a name, send a heartbeat, resume pending entries."""
        asked = self._asked_to_join
        await self._create_groups()
        await self.member.require_rights()
        await notice_losses(self._commands, self.member.streams, self._settings.key_prefix)
        while not await self._naming.settle():
            self._turned("read")
            if self.draining:
                return
            await either(asyncio.sleep(5), self._stopping, self._settings.heartbeat_seconds / 4)
        self._decider.consumer = self.member.consumer
        await self._takeover.beat_once()
        await self._committer.load_script()
        for stream in self.member.streams:
            last = ""
            while pending := await self.member.pending(stream, after=last):
                self._retries.recover(pending)
                last = pending[-1].entry_id
        self._joined_before = True
        if asked == self._asked_to_join:  # else a heartbeat has failed meanwhile, and what was done here may be void
            self.joined, self._trouble = True, None

    def _join_again(self) -> None:
        """Let the reading loop join once more, even while it is joining."""
        self.joined = False
        self._asked_to_join += 1

    async def _create_groups(self) -> None:
        """Create what is missing: where the router says, and what was there before where GROUP_RECREATED_AT says."""
        known = set(self.member.streams) if self._joined_before else await self.member.known()
        again = self.router.start_id if self._settings.group_recreated_at == "start" else "0"
        starts = {each: again if each in known else self.router.start_id for each in self.member.main_streams}
        for stream in await self.member.create(starts):
            self._losses.forget()
            if stream in known:
                log.error(
                    "consumer group %(group)s on %(stream)s was missing; recreated at id %(startId)s, so every entry "
                    "still in the stream after it is delivered again, and none before it",
                    {"group": self.router.group, "stream": stream, "startId": starts.get(stream, "0")},
                )

    # Handling

    async def _retry(self) -> None:
        self._turned("retry")
        await self._retries.retry_due()
        await self._retries.retry_recovered()
        await self._aside.put()
        await self._losses.look()
        await self.holding.change(min(1.0, self.holding.next_due))

    async def _retry_suspect(self) -> None:
        if not await self._retries.retry_suspect():
            await self.holding.change(1)

    async def _repeat(self, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat a step until `stop`, whatever errors Redis gives."""
        attempt = 0
        while not self.draining:
            try:
                await step()
                attempt = 0
            except _SURVIVABLE as error:
                attempt += 1
                if isinstance(error, NoGroup | Forbidden):  # to join again is to ask for all rights
                    self._join_again()
                await self._survive(error, attempt)

    async def _beat_loop(self) -> None:
        """Send heartbeats until the end; after DEAD_AFTER_SECONDS without one, peers take over."""
        while True:
            self._turned("heartbeat", resting=self._settings.heartbeat_seconds)
            self._watchdog.look()
            try:
                if self._naming.settled:
                    await self._takeover.beat_once()
                    await self._aside.bring_back()
            except _SURVIVABLE as error:
                if isinstance(error, NameTaken):
                    self._naming.settled = False
                # What a takeover has claimed may be pending on us, its reply lost: joining again finds it.
                self._join_again()
                self._trouble = error
                log.debug(
                    "%(group)s could not send a heartbeat: %(error)s", {"group": self.router.group, "error": error}
                )
            await asyncio.sleep(self._settings.heartbeat_seconds)

    def _turned(self, loop: str, *, resting: float = 0) -> None:
        """Note that a loop is alive, and will sleep for `resting` seconds."""
        self._turned_at[loop] = time.monotonic() + resting

    async def _survive(self, error: Exception, attempt: int) -> None:
        """Wait longer after each attempt, up to five seconds; `stop` ends the wait.

        Without a connection there is nothing to wait for but the connection.
        """
        self._trouble = error
        if attempt == 1:
            log.warning("%(group)s is held up and tries again: %(error)s", {"group": self.router.group, "error": error})
        connected = asyncio.gather(self._reader.wait_connected(), self._commands.wait_connected())
        await either(connected, self._stopping, 5)
        await either(asyncio.sleep(5), self._stopping, min(attempt * 0.5, 5) * random.uniform(0.5, 1))

    # Leaving

    async def _drain(self, reading: asyncio.Task[None], retrying: Sequence[asyncio.Task[None]]) -> None:
        """End the current read, then finish what is in hand within the budget. Heartbeats go on."""
        budget = self._settings.drain_seconds
        deadline = self._leave_by = time.monotonic() + budget
        with suppress(TimeoutError):
            async with asyncio.timeout(min(LONGEST_BLOCK.total_seconds() + 1, max(budget, 0.5))):
                await self._end_read(reading)
        await cancel_all(retrying)
        tasks = self._processor.tasks
        while tasks and (left := deadline - time.monotonic()) > 0:
            await asyncio.wait(tasks, timeout=left)

    async def _end_read(self, reading: asyncio.Task[None]) -> None:
        while not reading.done():
            # More than once: the first may have come before the read that it was meant for.
            with suppress(EventcoreError):
                await self.member.unblock()
            await asyncio.wait([reading], timeout=0.2)

    async def _leave(self) -> None:
        """Leave the group; peers can take over at once what is still pending.

        Unfinished deliveries cost no attempt, unless a defect ended this consumer.
        """
        if not self._naming.settled:
            return
        seconds = max(LEAVE_SECONDS, min(5.0, self._leave_by - time.monotonic()))
        try:
            async with asyncio.timeout(seconds):
                left = await self.member.leave(self.holding.unspent if self._processor.defect is None else ())
        except (*_SURVIVABLE, TimeoutError) as error:
            reason = str(error) or f"no answer within {seconds:.1f} s"
            log.warning(
                "could not leave %(group)s, so peers take over only after DEAD_AFTER_SECONDS: %(error)s",
                {"group": self.router.group, "error": reason},
            )
        else:
            for stream, count in self.holding.by_stream.items():
                measurements.handed_back.add(stream, self.router.group, count=count)
            rest = "nothing is pending" if left else "peers take over what is pending"
            log.info("left %(group)s: %(rest)s", {"group": self.router.group, "rest": rest})


def _one(routers: Sequence[Router]) -> Router:
    if len(routers) != 1:
        groups = ", ".join(router.group for router in routers) or "none"
        raise TypeError(f"a consumer belongs to one group, not to {groups}")
    return routers[0]
