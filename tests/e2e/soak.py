"""The long run: many thousand orders on processes, disturbed at random all the while, and judged at the end."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress

from .catalogue import Scenario
from .disturbances import LAYOUT, Disturbances
from .processes import Processes
from .stage import Stage, until

_CALMEST = 6.0
# How often a disturbance waits until nothing is left of the one before, so that what it does can be told from that.
_ALONE = 0.7


def soak(*, orders: int, seconds: float, seed: int) -> Scenario:
    """A scenario that lasts for so many orders and so many seconds at least."""

    async def play(stage: Stage) -> None:
        assert isinstance(stage.driver, Processes), "the long run is for processes only"
        chance = random.Random(seed)
        disturbances = Disturbances(stage, stage.driver, chance)
        ends = time.monotonic() + seconds
        async with stage.under_load() as load:
            while len(load.accepted) < orders or time.monotonic() < ends:
                await asyncio.sleep(chance.uniform(1, _CALMEST))
                if chance.random() < _ALONE:
                    with suppress(AssertionError):
                        await until(stage.calm, what="nobody waits")
                stage.poisoned += [await stage.streams.poison()] if chance.random() < 0.2 else []
                await chance.choice(disturbances.every)()
                what = stage.moments[-1].what
                print(
                    f"{load.placed[-1].number:>8,} orders posted, {len(load.accepted):,} accepted; {what}", flush=True
                )
        stage.notes.append(f"{len(stage.moments)} disturbances, seed {seed}")

    return Scenario("soak", f"random disturbances, seed {seed}", play, LAYOUT, drivers=("process",))
