"""Upgrades: two versions of the code side by side, the newer one writing newer events."""

from __future__ import annotations

from tests.e2e.asking import SERVICES
from tests.e2e.stage import Stage, until
from tests.e2e.streams import ORDERS_STREAM, Streams


async def roll_forward(stage: Stage) -> None:
    """S3. All services are upgraded under load: no request fails, old replicas end in order."""
    async with stage.under_load() as load:
        stage.mark("upgrade begins")
        await stage.driver.upgrade(SERVICES, "next")
        await load.more(20)
    assert await _versions(stage.streams) == {"1.1", "1.2"}, f"order.created is in {await _versions(stage.streams)}"
    stage.demand_no_failed_request()
    stage.demand_clean_exits()


async def roll_back(stage: Stage) -> None:
    """S4. All services are rolled back under load, with newer events in the streams: the old ones read them."""
    async with stage.under_load() as load:
        stage.mark("rollback begins")
        await stage.driver.upgrade(SERVICES, "today")
        await load.more(20)
    assert await _versions(stage.streams) == {"1.1", "1.2"}, f"order.created is in {await _versions(stage.streams)}"
    stage.demand_no_failed_request()
    stage.demand_clean_exits()


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
    assert await _versions(stage.streams) == {"1.1", "2.0"}, f"order.created is in {await _versions(stage.streams)}"
    stage.demand_no_failed_request()
    stage.demand_clean_exits()


async def _versions(streams: Streams) -> set[str]:
    return {str(event.metadata.get("version")) for event in await streams.events(ORDERS_STREAM)}
