"""Disturbances for a long run on processes, drawn at random: each does harm, and mends what would not mend itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .asking import SERVICES
from .driver import Layout
from .processes import Processes
from .stage import Stage

# Who is silent for longer than five seconds is taken for dead: some of these are shorter, and some are longer.
_SHORTEST, _LONGEST = 1.0, 9.0
# What is promised, in seconds: after everything, and after what is done in good order.
_RECOVERS, _HANDS_OVER = 10.0, 2.0

LAYOUT = Layout(order=2, inventory=3, notification=2, every_write_synced=True, cuttable=SERVICES)


@dataclass(frozen=True, slots=True)
class Disturbances:
    """All that may happen to a system of processes. Each marks its moment, and leaves nothing broken behind."""

    stage: Stage
    driver: Processes
    random: random.Random

    @property
    def every(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """What to draw from."""
        return (
            self.kill_one,
            self.kill_one_holding,
            self.replace_one,
            self.freeze_one,
            self.kill_redis,
            self.freeze_redis,
            self.restart_redis,
            self.cut_one_off,
            self.drop_connections,
            self.flush_scripts,
            self.scale_inventory,
        )

    async def kill_one(self) -> None:
        """A replica is killed, and another one started in its place."""
        service, name = await self._victim()
        self._mark(f"killed {name}")
        await self.driver.kill(name)
        await self._restore(service)

    async def kill_one_holding(self) -> None:
        """A consumer is killed with deliveries in hand."""
        service, name = await self._victim()
        await self._restore_one_left(service)
        what = self._numbered(f"killed {name} with deliveries in hand")
        await self.stage.kill_holding(service, name, what=what, within=_RECOVERS)
        await self._restore(service)

    async def replace_one(self) -> None:
        """A replica is asked to end, and another one started in its place."""
        service, name = await self._victim()
        await self._restore_one_left(service)
        self._mark(f"replaced {name}", within=_HANDS_OVER)
        await self.driver.retire(name)
        await self._restore(service)

    async def freeze_one(self) -> None:
        """A replica stands still for a while, perhaps long enough to be robbed, and goes on as if nothing had been."""
        _, name = await self._victim()
        seconds = self._while()
        with self._harm(f"froze {name} for {seconds:.1f} s"):
            await self.driver.pause(name)
            await asyncio.sleep(seconds)
            await self.driver.resume(name)

    async def kill_redis(self) -> None:
        """Redis is killed, and is away for a while."""
        seconds = self._while() / 3
        with self._harm(f"killed Redis for {seconds:.1f} s"):
            await self.driver.kill_redis()
            await asyncio.sleep(seconds)
            await self.driver.start_redis()

    async def freeze_redis(self) -> None:
        """Redis stands still for a while."""
        seconds = self._while()
        with self._harm(f"froze Redis for {seconds:.1f} s"):
            await self.driver.pause_redis(seconds)

    async def restart_redis(self) -> None:
        """Redis is restarted in good order."""
        with self._harm("restarted Redis"):
            await self.driver.restart_redis()

    async def cut_one_off(self) -> None:
        """A whole service is cut from Redis for a while."""
        service, seconds = self.random.choice(SERVICES), self._while()
        with self._harm(f"cut {service} from Redis for {seconds:.1f} s"):
            await self.driver.cut(service)
            await asyncio.sleep(seconds)
            await self.driver.mend(service)

    async def drop_connections(self) -> None:
        """Redis drops all connections at once."""
        self._mark("dropped all connections")
        await self.driver.redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def flush_scripts(self) -> None:
        """Redis forgets all scripts."""
        self._mark("flushed the scripts")
        await self.driver.redis("SCRIPT", "FLUSH")

    async def scale_inventory(self) -> None:
        """There are more or fewer inventory replicas from now on."""
        replicas = self.random.randint(1, 4)
        self._mark(f"scaled inventory to {replicas}", within=_HANDS_OVER)
        await self.driver.scale("inventory", replicas)

    def _numbered(self, what: str) -> str:
        return f"{len(self.stage.moments) + 1}: {what}"

    def _mark(self, what: str, *, within: float = _RECOVERS) -> None:
        self.stage.mark(self._numbered(what), within=within)

    @contextmanager
    def _harm(self, what: str) -> Iterator[None]:
        """Nobody can do without what is away within the block: recovery counts from its end."""
        begun = self.driver.now()
        yield
        self.stage.mark(self._numbered(what), begun=begun, within=_RECOVERS)

    async def _victim(self) -> tuple[str, str]:
        service = self.random.choice(SERVICES)
        return service, self.random.choice(await self.driver.replicas(service))

    async def _restore_one_left(self, service: str) -> None:
        """Somebody has to be there to take over."""
        if len(await self.driver.replicas(service)) == 1:
            await self._restore(service)

    async def _restore(self, service: str) -> None:
        await self.driver.scale(service, LAYOUT.replicas(service))

    def _while(self) -> float:
        return self.random.uniform(_SHORTEST, _LONGEST)
