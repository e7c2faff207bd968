"""Scaling: more replicas share the work, fewer leave nothing behind."""

from __future__ import annotations

from tests.e2e.stage import Stage, until


async def scale_up(stage: Stage) -> None:
    """S1. Inventory from one replica to five under load: all five are consumers of the group, and all handle some."""
    driver = stage.driver
    async with stage.under_load():
        stage.mark("scaled to five")
        await driver.scale("inventory", 5)
        names = await driver.replicas("inventory")
        assert len(names) == 5, f"there are {len(names)} replicas"

        async def all_are_consumers() -> bool:
            return set(names) <= (await stage.streams.consumers("inventory")).keys()

        async def all_have_handled_some() -> bool:
            await stage.scrape()
            return all(stage.counters.of(name, "handled") > 0 for name in names)

        await until(all_are_consumers, what=f"{', '.join(names)} are consumers of the group")
        await until(all_have_handled_some, what="each of the five has handled a delivery")


async def scale_down(stage: Stage) -> None:
    """S7. One of five inventory replicas dies, then one is left: nothing is orphaned, all other consumers are gone."""
    driver = stage.driver
    async with stage.under_load() as load:
        doomed = (await driver.replicas("inventory"))[-1]
        await stage.kill_holding("inventory", doomed, what="one of five killed")
        stage.mark("scaled to one")
        await driver.scale("inventory", 1)
        await load.more(20)
    survivors = set(await driver.replicas("inventory"))
    assert len(survivors) == 1, f"there are {len(survivors)} replicas"

    async def only_the_survivor_is_a_consumer() -> bool:
        return (await stage.streams.consumers("inventory")).keys() == survivors

    await until(only_the_survivor_is_a_consumer, what="the group's only consumer is the replica that is left")
    stage.demand_clean_exits()
