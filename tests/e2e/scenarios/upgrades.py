"""Upgrades: two versions of the code side by side, the newer one writing newer events."""

from __future__ import annotations

from tests.e2e.asking import SERVICES
from tests.e2e.driver import Version
from tests.e2e.stage import Stage, until
from tests.e2e.streams import ORDERS_STREAM


async def roll_forward(stage: Stage) -> None:
    """S3. All services are upgraded under load: no request fails, old replicas end in order."""
    await _roll(stage, "next", "upgrade begins")


async def roll_back(stage: Stage) -> None:
    """S4. All services are rolled back under load, with newer events in the streams: the old ones read them."""
    await _roll(stage, "today", "rollback begins")


async def _roll(stage: Stage, version: Version, what: str) -> None:
    async with stage.under_load() as load:
        stage.mark(what)
        await stage.driver.upgrade(SERVICES, version)
        await load.more(20)
    await _demand(stage, {"1.1", "1.2"})


async def newer_major(stage: Stage) -> None:
    """S4b. Events of a newer major version wait for a reader that knows it, and are no dead letters meanwhile."""
    driver = stage.driver
    async with stage.under_load() as load:
        await driver.upgrade(["order"], "major")

        async def some_wait() -> bool:
            return sum((await stage.streams.consumers("inventory")).values()) >= 20

        await until(some_wait, what="events of version 2.0 are waiting")
        assert not await stage.streams.dead_letters(), "events of version 2.0 were dead-lettered"
        stage.mark("inventory rolled forward")
        await driver.upgrade(["inventory"], "major")
        await load.more(20)
    await _demand(stage, {"1.1", "2.0"})


async def _demand(stage: Stage, versions: set[str]) -> None:
    found = {str(event.metadata.get("version")) for event in await stage.streams.events(ORDERS_STREAM)}
    assert found == versions, f"order.created is in {found}"
    stage.demand_no_failed_request()
    stage.demand_clean_exits()
