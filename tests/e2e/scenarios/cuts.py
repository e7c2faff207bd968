"""Cuts: a service without Redis, and a shop without a service."""

from __future__ import annotations

from functools import partial

from tests.e2e.stage import Stage, until


async def cut_off(stage: Stage) -> None:
    """S8. Inventory is cut from Redis for a while: it says so, the others go on, and then it catches up."""
    driver = stage.driver
    refused = await driver.stranger()
    stage.notes.append(f"a stranger at Redis: {refused}")
    async with stage.under_load() as load:
        await driver.cut("inventory")
        await stage.others_go_on(stage.pace.cut_seconds, without="inventory")
        for replica in await driver.replicas("inventory"):
            await until(partial(_is_unready, stage, replica), what=f"{replica} says that it is not ready")
        await driver.mend("inventory")
        stage.mark("mended")
        await load.more(20)
    stage.demand_no_failed_request()


async def down(stage: Stage) -> None:
    """S10. There is no inventory for a while: orders are accepted, the others stay ready, and then it catches up."""
    driver = stage.driver
    async with stage.under_load() as load:
        before = len(await driver.replicas("inventory"))
        await driver.scale("inventory", 0)
        await stage.others_go_on(stage.pace.down_seconds, without="inventory")
        await driver.scale("inventory", before)
        stage.mark("inventory is back")
        await load.more(20)
    stage.demand_no_failed_request()
    stage.demand_clean_exits()


async def _is_unready(stage: Stage, replica: str) -> bool:
    return (await stage.driver.ask(replica, "/readyz")).status == 503
