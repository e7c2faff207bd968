"""The long run: many thousand orders on processes, disturbed at random all the while, and judged at the end."""

from __future__ import annotations

import asyncio
import random
import time

from .catalogue import Scenario
from .disturbances import Disturbances, layout
from .processes import Processes
from .stage import Stage

_calmest = 6.0


def soak(*, orders: int, seconds: float, seed: int) -> Scenario:
    """A scenario that lasts for so many orders and so many seconds at least."""

    async def play(stage: Stage) -> None:
        assert isinstance(stage.driver, Processes), "the long run is for processes only"
        chance = random.Random(seed)
        disturbances = Disturbances(stage, stage.driver, chance)
        done: list[str] = []
        ends = time.monotonic() + seconds
        async with stage.under_load() as load:
            while len(load.accepted) < orders or time.monotonic() < ends:
                await asyncio.sleep(chance.uniform(1, _calmest))
                stage.poisoned += [await stage.streams.poison()] if chance.random() < 0.2 else []
                what = await chance.choice(disturbances.every)()
                stage.mark(f"{len(done) + 1}: {what}")
                done.append(what)
                print(
                    f"{load.placed[-1].number:>8,} orders posted, {len(load.accepted):,} accepted; {what}", flush=True
                )
        stage.notes.append(f"{len(done)} disturbances, seed {seed}")

    return Scenario("soak", f"random disturbances, seed {seed}", play, layout, drivers=("process",))
