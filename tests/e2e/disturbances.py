"""Disturbances for a long run on processes, drawn at random: each does harm, and mends what would not mend itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .asking import services
from .driver import Layout
from .processes import Processes
from .stage import Stage

# Who is silent for longer than five seconds is taken for dead: some of these are shorter, and some are longer.
_shortest, _longest = 1.0, 9.0

layout = Layout(order=2, inventory=3, notification=2, every_write_synced=True, cuttable=services)


@dataclass(frozen=True, slots=True)
class Disturbances:
    """All that may happen to a system of processes. Each returns when the system could be whole again."""

    stage: Stage
    driver: Processes
    random: random.Random

    @property
    def every(self) -> tuple[Callable[[], Awaitable[str]], ...]:
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

    async def kill_one(self) -> str:
        """A replica is killed, and another one started in its place."""
        service, name = await self._victim()
        await self.driver.kill(name)
        await self._restore(service)
        return f"killed {name}"

    async def kill_one_holding(self) -> str:
        """A consumer is killed with deliveries in hand."""
        service, name = await self._victim()
        await self._restore_one_left(service)
        await self.stage.kill_holding(service, name, what=f"{len(self.stage.moments)}: {name}")
        await self._restore(service)
        return f"killed {name} with deliveries in hand"

    async def replace_one(self) -> str:
        """A replica is asked to end, and another one started in its place."""
        service, name = await self._victim()
        await self.driver.retire(name)
        await self._restore(service)
        return f"replaced {name}"

    async def freeze_one(self) -> str:
        """A replica stands still for a while, perhaps long enough to be robbed, and goes on as if nothing had been."""
        _, name = await self._victim()
        seconds = self._while()
        await self.driver.pause(name)
        await asyncio.sleep(seconds)
        await self.driver.resume(name)
        return f"froze {name} for {seconds:.1f} s"

    async def kill_redis(self) -> str:
        """Redis is killed, and is away for a while."""
        await self.driver.kill_redis()
        seconds = self._while() / 3
        await asyncio.sleep(seconds)
        await self.driver.start_redis()
        return f"killed Redis for {seconds:.1f} s"

    async def freeze_redis(self) -> str:
        """Redis stands still for a while."""
        seconds = self._while()
        await self.driver.pause_redis(seconds)
        return f"froze Redis for {seconds:.1f} s"

    async def restart_redis(self) -> str:
        """Redis is restarted in good order."""
        await self.driver.restart_redis()
        return "restarted Redis"

    async def cut_one_off(self) -> str:
        """A whole service is cut from Redis for a while."""
        service, seconds = self.random.choice(services), self._while()
        await self.driver.cut(service)
        await asyncio.sleep(seconds)
        await self.driver.mend(service)
        return f"cut {service} from Redis for {seconds:.1f} s"

    async def drop_connections(self) -> str:
        """Redis drops all connections at once."""
        await self.driver.redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        return "dropped all connections"

    async def flush_scripts(self) -> str:
        """Redis forgets all scripts."""
        await self.driver.redis("SCRIPT", "FLUSH")
        return "flushed the scripts"

    async def scale_inventory(self) -> str:
        """There are more or fewer inventory replicas from now on."""
        replicas = self.random.randint(1, 4)
        await self.driver.scale("inventory", replicas)
        return f"scaled inventory to {replicas}"

    async def _victim(self) -> tuple[str, str]:
        service = self.random.choice(services)
        return service, self.random.choice(await self.driver.replicas(service))

    async def _restore_one_left(self, service: str) -> None:
        """Somebody has to be there to take over."""
        if len(await self.driver.replicas(service)) == 1:
            await self._restore(service)

    async def _restore(self, service: str) -> None:
        await self.driver.scale(service, layout.replicas(service))

    def _while(self) -> float:
        return self.random.uniform(_shortest, _longest)
