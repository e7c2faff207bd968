"""The store: events are published, transactions committed, and what failed says so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from eventcore import (
    Conflict,
    Event,
    Found,
    GuardFailed,
    Hash,
    Origin,
    OutcomeUnknown,
    Store,
    StreamFull,
    String,
    Transaction,
    Unavailable,
    Write,
    decode,
    publish,
)
from eventcore.commit.committer import CommitAnswer, Work
from eventcore.testing.fixtures import Connect

from .samples import STREAM, Ordered, Shipped

STOCK = Hash("stock")["available"]


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return ("stock", "mark")


async def published(store: Store, stream: str = STREAM) -> list[Event]:
    return [decode(fields).open(Ordered) for _, fields in await store.redis.xrange(store.key(stream)) or ()]


async def test_an_event_is_appended_to_its_stream(store: Store) -> None:
    origin = Origin.new("shop")
    entry_id = await store.publish(Ordered(order_id="7"), origin=origin, event_id="e-1")
    [(found, fields)] = await store.redis.xrange(STREAM)
    assert found.decode() == entry_id
    assert list(fields) == [b"event"]
    metadata = decode(fields).metadata
    assert (metadata.event_id, metadata.source, metadata.correlation_id) == ("e-1", "shop", origin.correlation_id)


async def test_events_are_appended_in_order(store: Store) -> None:
    events = [Ordered(order_id=str(number)) for number in range(500)]
    entry_ids = await store.publish_all(events)
    assert await published(store) == events
    assert [found.decode() for found, _ in await store.redis.xrange(STREAM)] == entry_ids
    assert await store.publish_all([]) == []


async def test_sixty_four_publishers_at_once_lose_and_mix_up_nothing(store: Store) -> None:
    async def publish_some(name: int) -> list[str]:
        return [await store.publish(Ordered(order_id=f"{name}-{n}")) for n in range(20)]

    entry_ids = await asyncio.gather(*map(publish_some, range(64)))
    stored = {found.decode(): decode(fields).data["orderId"] for found, fields in await store.redis.xrange(STREAM)}
    assert [[stored[each] for each in mine] for mine in entry_ids] == [
        [f"{name}-{n}" for n in range(20)] for name in range(64)
    ]
    assert len(stored) == 64 * 20


async def test_without_an_origin_each_event_begins_a_story_of_its_own(store: Store) -> None:
    await store.publish(Ordered(order_id="1"))
    await store.publish(Ordered(order_id="2"))
    first, second = [decode(fields).metadata for _, fields in await store.redis.xrange(STREAM)]
    assert first.source == second.source == "test"
    assert first.correlation_id != second.correlation_id


async def test_the_key_prefix_stands_before_streams(connect: Connect) -> None:
    store = await connect(key_prefix="{shop}:")
    await store.publish(Ordered(order_id="7"))
    await store.commit(Transaction(then=[publish(Ordered(order_id="8"))]))
    assert store.key(STREAM) == f"{{shop}}:{STREAM}"
    assert await published(store) == [Ordered(order_id="7"), Ordered(order_id="8")]
    assert await store.redis.keys("*") == [b"{shop}:" + STREAM.encode()]


async def test_publishing_over_a_key_of_another_type_is_a_conflict(store: Store) -> None:
    await store.redis.set(STREAM, "not a stream", px=60_000)
    with pytest.raises(Conflict):
        await store.publish(Ordered(order_id="7"))
    with pytest.raises(Conflict):
        await store.publish_all([Shipped(order_id="7"), Ordered(order_id="7")])


async def test_a_stream_known_to_be_full_refuses_events_without_asking(store: Store) -> None:
    store.full_streams.add(STREAM)
    with pytest.raises(StreamFull, match=STREAM) as raised:
        await store.publish(Ordered(order_id="7"))
    assert raised.value.retry_after
    with pytest.raises(StreamFull):
        await store.publish_all([Shipped(order_id="7"), Ordered(order_id="7")])
    assert not await store.redis.exists(STREAM, "shipments_stream")


async def test_a_commit_tells_the_ids_of_what_it_appended(store: Store) -> None:
    answer = await store.commit(Transaction(then=[STOCK.set(5), publish(Ordered(order_id="7"))]))
    [(entry_id, _)] = await store.redis.xrange(STREAM)
    assert answer.entry_ids == (entry_id.decode(),)


async def test_a_failed_guard_is_raised_with_what_was_found(store: Store) -> None:
    await store.commit(Transaction(then=[STOCK.set(2)]))
    with pytest.raises(GuardFailed, match=r"guard failed: stock\[available\] at least 3") as raised:
        await store.commit(Transaction(when=[STOCK >= 3], then=[STOCK.add(-3)]))
    assert raised.value.found == {STOCK: "2"}
    assert await store.redis.hget("stock", "available") == b"2"


async def test_otherwise_is_committed_instead(store: Store) -> None:
    seen: list[Found] = []

    def sorry(found: Found) -> list[Write]:
        seen.append(found)
        return [publish(Shipped(order_id="none"))]

    await store.commit(Transaction(when=[STOCK >= 3], then=[STOCK.add(-3)], otherwise=sorry))
    [found] = seen
    assert dict(found) == {STOCK: None}
    assert await store.redis.xlen("shipments_stream") == 1
    assert not await store.redis.exists("stock")


async def test_otherwise_may_guard_again_and_so_on(store: Store) -> None:
    def take(left: int) -> Transaction:
        return Transaction(when=[left <= STOCK], then=[STOCK.add(-left)], otherwise=lambda _: take(left - 1))

    await store.commit(Transaction(then=[STOCK.set(2)]))
    await store.commit(take(5))
    assert await store.redis.hget("stock", "available") == b"0"


async def test_who_never_stops_deciding_again_is_stopped(store: Store) -> None:
    decisions = 0

    def insist(_: object = None) -> Transaction:
        nonlocal decisions
        decisions += 1
        return Transaction(when=[STOCK.present()], otherwise=insist)

    with pytest.raises(GuardFailed, match="after each of"):
        await store.commit(insist())
    assert decisions < 20


class LosesReplies:
    """A committer whose first replies are lost after the commits have run."""

    def __init__(self, store: Store, lost: int) -> None:
        self.committer, self.lost, self.sent = store.committer, lost, 0

    async def commit_all(self, work: Sequence[Work]) -> list[CommitAnswer]:
        self.sent += 1
        answers = await self.committer.commit_all(work)
        if self.sent <= self.lost:
            raise OutcomeUnknown("lost the connection to Redis")
        return answers


@pytest.mark.parametrize(("resend", "sent"), [(False, 1), (True, 2)])
async def test_a_commit_whose_reply_was_lost_is_sent_again_only_if_asked_and_only_once(
    resend: bool, sent: int, store: Store
) -> None:
    store.committer = losing = LosesReplies(store, lost=2)  # type: ignore[assignment]
    with pytest.raises(OutcomeUnknown):
        await store.commit(Transaction(then=[STOCK.add(1)]), resend=resend)
    assert losing.sent == sent
    assert await store.redis.hget("stock", "available") == str(sent).encode()


async def test_guards_make_a_second_run_harmless(store: Store) -> None:
    store.committer = LosesReplies(store, lost=1)  # type: ignore[assignment]
    mark, mine = String("mark"), "this very request"
    once = Transaction(when=[mark.absent()], then=[mark.set(mine), STOCK.add(1)])
    with pytest.raises(GuardFailed) as raised:
        await store.commit(once, resend=True)
    assert raised.value.found == {mark: mine}
    assert await store.redis.hget("stock", "available") == b"1"


class RefusesThen(LosesReplies):
    """Loses the first reply, and can't be reached, or refuses work, from then on."""

    def __init__(self, store: Store, refusal: Unavailable, *, answered: bool) -> None:
        super().__init__(store, lost=1)
        self.refusal, self.answered = refusal, answered

    async def commit_all(self, work: Sequence[Work]) -> list[CommitAnswer]:
        if self.sent == 0:
            return await super().commit_all(work)
        if self.answered:
            return [self.refusal]
        raise self.refusal


@pytest.mark.parametrize("answered", [True, False])
async def test_a_refused_second_sending_does_not_claim_that_the_first_wrote_nothing(
    answered: bool, store: Store
) -> None:
    store.committer = RefusesThen(store, Unavailable("LOADING"), answered=answered)  # type: ignore[assignment]
    with pytest.raises(OutcomeUnknown, match="LOADING"):
        await store.commit(Transaction(then=[STOCK.add(1)]), resend=True)
    assert await store.redis.hget("stock", "available") == b"1"
