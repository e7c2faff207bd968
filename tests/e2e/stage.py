"""What a scenario works with: a system under load, whose orders are held against the ledger's demands at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from .asking import SERVICES, NoAnswer
from .counters import Counters
from .driver import Driver
from .evidence import Evidence, gather
from .ledger import Verdict, judge
from .load import Load
from .recovery import Flow, Moment, Recovery, recoveries, slowest
from .shop import Shop
from .streams import GROUP_OF, RedisProblem, Streams

T = TypeVar("T")

_GLANCE = 0.05
_SCRAPE_EVERY = 0.5
_REPEATED = 10
# How long a consumer's read lasts at most, and some.
_LONGEST_READ = 2.5


async def until(condition: Callable[[], Awaitable[T]], *, what: str, timeout: float = 30.0) -> T:
    """Wait until the condition gives something true, and return it. `AssertionError` naming `what` after `timeout`.

    While there is no answer from a service or from Redis it does not hold.
    """
    deadline = time.monotonic() + timeout
    problem: Exception | None = None
    while True:
        try:
            if found := await condition():
                return found
        except (NoAnswer, RedisProblem) as error:
            problem = error
        if time.monotonic() > deadline:
            raise AssertionError(
                f"within {timeout:g} s this did not come true: {what}{f' ({problem})' * bool(problem)}"
            )
        await asyncio.sleep(_GLANCE)


class Stage:
    """One run of one scenario."""

    def __init__(self, driver: Driver, *, rate: float | None = None, orders: int | None = None, seed: int = 1) -> None:
        self.driver = driver
        self.pace = driver.pace
        self.shop = Shop(driver)
        self.streams = Streams(driver)
        self.counters = Counters()
        self.load = Load(self.shop, rate=rate or self.pace.rate, now=driver.now, seed=seed)
        self.moments: list[Moment] = []
        self.poisoned: list[str] = []
        self.notes: list[str] = []
        self.held_for: list[Recovery] = []
        self.late_after = 1.0
        self.evidence: Evidence | None = None
        self._least = orders or self.pace.orders

    @asynccontextmanager
    async def under_load(self) -> AsyncIterator[Load]:
        """Load beside the block; at its end all orders are decided and, where that is possible, everything is done."""
        await self.streams.remember_starts()
        await self.scrape()
        self.counters.begin()
        scraping = asyncio.create_task(self._scrape_on(), name="scrape")
        try:
            await self.load.start()
            await self.load.more(10)
            yield self.load
            await self.load.finish(self._least)
            await self.load.repeat(_REPEATED)
            # What is still on its way then is the ledger's business.
            with suppress(AssertionError):
                await until(self.settled, what="all is done", timeout=self.pace.settle_seconds)
            await self.scrape()
        finally:
            scraping.cancel()
            await asyncio.gather(scraping, return_exceptions=True)
            await self.load.abandon()

    def mark(self, what: str, *, begun: float | None = None, within: float | None = None) -> None:
        """Something is done to the system just now, or is over after it has `begun`: recovery counts from here."""
        self.moments.append(Moment(what, self.driver.now(), begun, within))

    async def kill_holding(
        self,
        service: str,
        replica: str,
        *,
        what: str,
        least: int = 1,
        frozen: bool = True,
        within: float | None = None,
    ) -> None:
        """Kill a replica that holds deliveries, and wait until each of them is handled.

        A `frozen` one is stopped first: plain handlers are so quick that otherwise it might hold none at the moment.
        """
        begun = self.driver.now()

        async def enough() -> bool:
            return len(await self.streams.held(service, replica)) >= least

        async def caught() -> bool:
            await self.driver.pause(replica)
            with suppress(AssertionError):
                await until(enough, what="it holds enough", timeout=_LONGEST_READ)
                return True
            await self.driver.resume(replica)  # stopped between two reads, it would never hold any
            return False

        await until(caught if frozen else enough, what=f"{replica} holds {least} deliveries")
        held = await self.streams.held(service, replica)
        self.mark(what, begun=begun, within=within)
        await self.driver.kill(replica)

        async def all_handled() -> bool:
            return not held & await self.streams.held(service)

        await until(all_handled, what=f"what {replica} held is handled")
        seconds = self.driver.now() - self.moments[-1].at
        self.held_for.append(Recovery(f"{what}: what it held", seconds, within))
        await self.scrape()  # who took it over may be asked to end next

    async def others_go_on(self, seconds: float, *, without: str) -> None:
        """Let a disturbance last so long, and see that nobody else suffers: all others stay ready, no request fails.

        As a readiness probe counts, that is: one failure in passing is none, two in a row are.
        """
        others = [name for service in SERVICES if service != without for name in await self.driver.replicas(service)]
        until_then = time.monotonic() + seconds
        unready: dict[str, int] = dict.fromkeys(others, 0)
        while time.monotonic() < until_then:
            for replica in others:
                ready = await self._is_ready(replica)
                unready[replica] = 0 if ready else unready[replica] + 1
                assert unready[replica] < 2, f"{replica} is not ready while {without} is away"
            await asyncio.sleep(_SCRAPE_EVERY)
        assert not self.load.failures, f"requests failed while {without} is away: {self.load.failures[:3]}"

    async def answered_without_redis(self, seconds: float) -> None:
        """Let Redis be away for so long, and see that the Service tells its clients at once: 503 and Retry-After."""
        end, slowest, count = time.monotonic() + seconds, 0.0, 0
        while (began := time.monotonic()) < end:
            try:
                async with asyncio.timeout(self.pace.answer_seconds):
                    answer = await self.driver.request("order", "GET", "/orders?limit=1")
            except (NoAnswer, TimeoutError) as error:
                raise AssertionError(f"without Redis the Service does not answer in time: {error!r}") from error
            assert answer.status == 503, f"without Redis the Service answers {answer.status} {answer.content}"
            assert int(answer.headers["retry-after"]) >= 1
            slowest, count = max(slowest, time.monotonic() - began), count + 1
            await asyncio.sleep(_GLANCE)
        self.notes.append(f"without Redis for {seconds:g} s, {count} requests answered 503 within {slowest:.1f} s")

    def demand_no_failed_request(self) -> None:
        """No attempt at posting has failed, not even one that was repeated with success."""
        failures = self.load.failures
        assert not failures, f"{len(failures)} requests failed: {'; '.join(failures[:5])}"

    def demand_clean_exits(self) -> None:
        """Whoever was asked to end did so with status 0, within its grace period."""
        assert self.driver.exits, "nobody was asked to end"
        unclean = [each for each in self.driver.exits if not each.clean]
        assert not unclean, f"did not end in order: {unclean}"

    async def settled(self) -> bool:
        """Whether nothing is on its way any more."""
        groups = await self.streams.groups()
        here = {(group.stream, group.name) for group in groups}
        return here >= set(GROUP_OF.values()) and all(group.idle for group in groups)

    async def calm(self) -> bool:
        """Whether nobody waits for longer than usual, neither for an answer nor for a decision, load or no load."""
        since = self.driver.now()
        held = await self._held()
        await asyncio.sleep(self.late_after)
        answered = all(order.order_ids or order.sent_at > since for order in self.load.placed)
        lag = max((group.lag for group in await self.streams.groups()), default=0)
        return answered and lag < self.load.rate * self.late_after and not held & await self._held()

    async def _held(self) -> set[tuple[str, str, str]]:
        return {(service, *entry) for service in GROUP_OF for entry in await self.streams.held(service)}

    async def judge(self) -> Verdict:
        """Gather the evidence and hold it against the demands."""
        self.evidence = await gather(
            self.load, self.shop, self.streams, poisoned=self.poisoned, webhooks=await self.driver.webhooks()
        )
        return judge(self.evidence)

    @property
    def flows(self) -> list[Flow]:
        """When each order came and was done; one that never was, was not done until now."""
        lives = self.evidence.lives if self.evidence else ()
        return [Flow(life.placed.sent_at, life.done_at or self.driver.now()) for life in lives]

    @property
    def recoveries(self) -> list[Recovery]:
        """How long it took from each moment until the flow of orders was whole again."""
        return [*recoveries(self.moments, self.flows, late_after=self.late_after), *self.held_for]

    @property
    def slowest_order(self) -> float:
        """The longest that any order took, in seconds."""
        return slowest(self.flows)

    async def scrape(self) -> None:
        """Ask every living replica for its figures."""
        names = [name for service in SERVICES for name in await self.driver.replicas(service)]
        await asyncio.gather(*map(self._scrape_one, names))

    async def _is_ready(self, replica: str) -> bool:
        with suppress(NoAnswer):
            return (await self.driver.ask(replica, "/readyz")).status == 200
        return False

    async def _scrape_one(self, replica: str) -> None:
        with suppress(NoAnswer):
            answer = await self.driver.ask(replica, "/metrics")
            if answer.status == 200:
                self.counters.note(replica, str(answer.content))

    async def _scrape_on(self) -> None:
        while True:
            await self.scrape()
            await asyncio.sleep(_SCRAPE_EVERY)
