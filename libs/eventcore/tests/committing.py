"""What the tests of commits share: deliveries to settle, and pictures of all that stands in Redis."""

from __future__ import annotations

from typing import Any

from eventcore import Origin, Store, Transaction
from eventcore.commit.committer import CommitAnswer, Fence, Work

from .samples import GROUP, STREAM, publish_orders

ORIGIN = Origin.new("test")


async def commit(store: Store, transaction: Transaction, fence: Fence | None = None) -> CommitAnswer:
    """Commit one transaction; the bare answer."""
    [answer] = await store.committer.commit_all([Work(transaction, ORIGIN, fence)])
    return answer


async def delivered(store: Store, number: int = 1, *, stream: str = STREAM) -> list[Fence]:
    """The fences of so many deliveries that a consumer holds."""
    entry_ids = await publish_orders(store, *range(number))
    await store.redis.xgroup_create(store.key(stream), GROUP, id="0", mkstream=True)
    await store.redis.xreadgroup(GROUP, "reader", {store.key(stream): ">"})
    return [Fence(stream, GROUP, entry_id) for entry_id in entry_ids]


async def picture(redis: Any) -> dict[bytes, Any]:
    """Everything in the database, pending entries included, to be compared with another picture."""
    found: dict[bytes, Any] = {}
    async for key in redis.scan_iter(count=1000):
        kind = await redis.type(key)
        found[key] = (kind, await _content(redis, key, kind), await redis.pttl(key) >= 0)
    return found


async def _content(redis: Any, key: bytes, kind: bytes) -> Any:
    match kind:
        case b"hash":
            return await redis.hgetall(key)
        case b"string":
            return await redis.get(key)
        case b"zset":
            return await redis.zrange(key, 0, -1, withscores=True)
        case b"stream":
            groups = await redis.xinfo_groups(key)
            return await redis.xrange(key), [(group["name"], group["pending"]) for group in groups]
        case _:
            return await redis.dump(key)
