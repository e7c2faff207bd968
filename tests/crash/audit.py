"""What must be true once all is quiet: everything accepted came to one end, and nothing is left lying about."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable

from redis.exceptions import RedisError

from eventcore.server.keys import retry_stream
from eventcore.testing import until

from .shop import EACH_ORDERS, Basket, Shop
from .watching import STREAMS

_SETTLE_WITHIN = 20.0
_ENDS = {"confirmed": "inventory.reserved", "rejected": "inventory.rejected"}
_TOLD = {"confirmed": "order_confirmed", "rejected": "order_rejected"}


async def settle(shop: Shop, *baskets: Basket, letters: int = 0) -> None:
    """Wait until nothing is wrong any more. `AssertionError` that says what still is, when time is up.

    `letters` is how many dead letters there are to be.
    """
    deadline = time.monotonic() + _SETTLE_WITHIN
    wrong = ["nothing was looked at"]

    async def nothing_is_wrong() -> bool:
        nonlocal wrong
        try:
            wrong = [
                *await unfinished(shop),
                *await dead_letters(shop, letters),
                *[line for basket in baskets for line in await broken_promises(shop, basket)],
            ]
        except RedisError as error:
            wrong = [f"the server is out of reach: {error!r}"]
        return not wrong

    try:
        await until(nothing_is_wrong, timeout=deadline - time.monotonic())
    except AssertionError:
        raise AssertionError("\n  ".join(["when all should have been quiet:", *wrong])) from None
    shop.pods.check()
    shop.quiet = True


async def unfinished(shop: Shop) -> list[str]:
    """Groups that have something to do, and members that are no more."""
    wrong: list[str] = []
    for group, main in STREAMS.items():
        alive = {pod.name for pod in shop.pods.of_group(group)}
        for stream in (main, retry_stream(main, group)):
            rows = [row for row in await shop.redis.xinfo_groups(stream) if row["name"].decode() == group]
            wrong += [
                f"{group} on {stream}: {row['pending']} pending, lag {row['lag']}"
                for row in rows
                if row["pending"] or row["lag"] != 0
            ]
            aside = await shop.redis.zcard(f"{main}:{group}:aside")
            wrong += [f"{group} on {main}: {aside} put aside"] * bool(aside)
            wrong += [f"{group} is not there on {stream}"] * (not rows)
            members = [row["name"].decode() for row in await shop.redis.xinfo_consumers(stream, group)]
            wrong += [f"{name} is dead and still in {group} on {stream}" for name in members if name not in alive]
            beating = [name.decode() for name in await shop.redis.zrange(f"{stream}:{group}:beats", 0, -1)]
            wrong += [f"{name} is dead, its beats on {stream} are not" for name in beating if name not in alive]
    return wrong


async def dead_letters(shop: Shop, expected: int) -> list[str]:
    """Dead letters, where there are not as many as planned."""
    found = [fields for name in ("orders_dlq", "inventory_dlq") for _, fields in await shop.redis.xrange(name)]
    if len(found) == expected:
        return []
    return [f"{len(found)} dead letters, planned were {expected}", *(str(fields.get(b"error")) for fields in found)]


async def broken_promises(shop: Shop, basket: Basket) -> list[str]:
    """What does not hold of the orders of one basket."""
    created, outcomes = await shop.events("orders_stream"), await shop.events("inventory_stream")
    published = await shop.created_for(basket.product)
    wrong = [f"{order} was accepted twice" for order, times in Counter(basket.accepted).items() if times > 1]
    wrong += [f"{order} was accepted and is not there" for order in basket.accepted if order not in published]
    extra = set(published) - set(basket.accepted)
    if len(extra) > basket.unanswered:
        wrong.append(f"{len(extra)} orders of {basket.product} more than anybody asked for")
    statuses = [await _of_order(shop, order, created, outcomes, wrong) for order in sorted(set(published))]
    wrong += _stock(basket, statuses, await shop.hash("stock"))
    return wrong


async def _of_order(
    shop: Shop, order: str, created: Counter[tuple[str, str]], outcomes: Counter[tuple[str, str]], wrong: list[str]
) -> str:
    """Note what is wrong with one order; its status."""
    status = (await shop.hash(f"order:{order}")).get("status", "missing")
    if status not in _ENDS:
        wrong.append(f"{order} is {status}")
        return status
    if created["order.created", order] != 1:
        wrong.append(f"{order} was created {created['order.created', order]} times")
    told = {kind: times for (kind, about), times in outcomes.items() if about == order}
    if told != {_ENDS[status]: 1}:
        wrong.append(f"{order} is {status}, its outcome events are {told}")
    reservation = (await shop.hash(f"reservation:{order}")).get("status")
    if reservation != {"confirmed": "reserved"}.get(status, status):
        wrong.append(f"{order} is {status}, its reservation {reservation}")
    kinds = [json.loads(record)["kind"] for record in (await shop.hash(f"notifications:{order}")).values()]
    if kinds != [_TOLD[status]]:
        wrong.append(f"{order} is {status}, the records of its notifications say {kinds}")
    webhooks = {each.webhook_id for each in shop.receiver.received if each.order_id == order}
    if len(webhooks) != 1:
        wrong.append(f"{order}: webhooks with the ids {webhooks}")
    return status


def _stock(basket: Basket, statuses: Iterable[str], stock: dict[str, str]) -> list[str]:
    """What was put aside is what was confirmed, and as much was confirmed as there was."""
    available, reserved = (int(stock.get(f"{basket.product}:{name}", 0)) for name in ("available", "reserved"))
    listed = list(statuses)
    confirmed = listed.count("confirmed")
    wrong = []
    if confirmed != min(len(listed), basket.stock // EACH_ORDERS):
        wrong.append(
            f"{confirmed} of {len(listed)} orders of {basket.product} are confirmed, there were {basket.stock}"
        )
    if (available, reserved) != (basket.stock - EACH_ORDERS * confirmed, EACH_ORDERS * confirmed):
        wrong.append(f"{basket.product}: {available} available and {reserved} reserved of {basket.stock}")
    return wrong
