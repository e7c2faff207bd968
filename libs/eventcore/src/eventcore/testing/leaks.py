"""The check for leaks: keys without a time to live that no pattern permits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from fnmatch import fnmatchcase

from eventcore.commit.store import Store

# Heartbeats stay for as long as a group has consumers, what is aside until it comes back.
_PERMANENT = ("*:beats", "*:members", "*:aside", "*:aside:entries")


async def leaked_keys(store: Store, permanent: Iterable[str] = ()) -> list[str]:
    """The keys of the store's database without a time to live, sorted; not counting streams and permanent ones.

    `permanent` holds patterns as for `fnmatch` (`"stock:*"`), without the store's key prefix. A key that lacks the
    prefix is a leak unless a pattern names it as it is.
    """
    patterns = (*_PERMANENT, *permanent)
    return sorted([name async for name in _everlasting(store) if not _matches(name, store, patterns)])


async def _everlasting(store: Store) -> AsyncIterator[str]:
    cursor: int | None = None
    while cursor != 0:
        cursor, keys = await store.redis.scan(cursor or 0, count=1000)
        look = store.redis.pipeline(transaction=False)
        for key in keys:
            look.pttl(key).type(key)
        answers = await look.execute()
        for key, lifetime, kind in zip(keys, answers[::2], answers[1::2], strict=True):
            if lifetime == -1 and kind != b"stream":
                yield key.decode("utf-8", "backslashreplace")


def _matches(name: str, store: Store, patterns: Iterable[str]) -> bool:
    bare = name.removeprefix(store.settings.key_prefix)
    return any(fnmatchcase(bare, pattern) for pattern in patterns)
