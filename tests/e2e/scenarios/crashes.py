"""Crashes: consumers and Redis are killed with work in hand."""

from __future__ import annotations

from tests.e2e.stage import Stage, until
from tests.e2e.streams import GROUP_OF

# A handler that takes so long is in the middle of its work when its process is killed.
SLOW_HANDLER = 1.0


async def kill_consumers(stage: Stage) -> None:
    """S2. A notification replica dies while its webhooks are being answered, an inventory one with deliveries in hand.

    A poisoned entry is among them: it becomes a dead letter, and the only one.
    """
    driver = stage.driver
    stage.late_after = SLOW_HANDLER + 1.0
    await driver.slow_webhooks(SLOW_HANDLER)
    async with stage.under_load() as load:
        stage.poisoned.append(await stage.streams.poison())
        victim = (await driver.replicas("notification"))[0]
        await stage.kill_holding("notification", victim, what="killed in mid-handler", least=3, frozen=False)
        await load.more(60)
        victim = (await driver.replicas("inventory"))[0]
        await stage.kill_holding("inventory", victim, what="killed with deliveries in hand")
        await load.more(20)


async def kill_redis(stage: Stage) -> None:
    """S5. Redis dies twice under load, once for as long as clients notice: what was answered 202 is still there.

    Then it is away for longer than a readiness probe waits: who asks the Service is still answered.
    """
    driver = stage.driver
    async with stage.under_load() as load:
        stage.poisoned.append(await stage.streams.poison())
        await driver.kill_redis()
        await load.felt(5)  # where something starts it at once, perhaps nobody notices
        await driver.start_redis()
        stage.mark("Redis answers again")
        await load.more(50)
        await driver.kill_redis()
        await driver.start_redis()
        stage.mark("Redis answers once more")
        await load.more(50)
        begun = driver.now()
        await driver.take_redis_away()
        await stage.answered_without_redis(stage.pace.outage_seconds)
        await driver.start_redis()
        stage.mark("Redis is back", begun=begun)
        await load.more(50)

        async def all_consume() -> bool:
            names = {service: await driver.replicas(service) for service in GROUP_OF}
            held = {service: await stage.streams.consumers(service) for service in GROUP_OF}
            return all(held[service].keys() >= set(names[service]) for service in GROUP_OF)

        await until(all_consume, what="every replica is a consumer of its group again")
