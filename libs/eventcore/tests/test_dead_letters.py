"""Dead letters are read, handed back to the group that failed them and to no other, and purged."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from eventcore import Consumer, Reject, Router, Store, Transaction, decode
from eventcore.operate.dead_letters import DeadLetters, Letter
from eventcore.testing import run_until_idle
from eventcore.testing.fixtures import Connect

from .samples import DEAD_LETTERS, EAGER, GROUP, RETRY_STREAM, STREAM, Ordered, publish_orders


class Clinic:
    """A consumer group that rejects events as long as it is ill."""

    def __init__(self, store: Store, group: str = GROUP, *, ill: bool = True) -> None:
        self.store, self.ill, self.seen = store, ill, list[str]()
        self.router = Router(group=group, retry=EAGER)
        self.router.on(Ordered)(self.handle)

    def handle(self, order: Ordered) -> Transaction:
        self.seen.append(order.order_id)
        if self.ill:
            raise Reject(f"no bed for {order.order_id}")
        return Transaction()

    async def run(self) -> None:
        await run_until_idle(self.store, Consumer(self.store, self.router))


@pytest.fixture
def letters(store: Store) -> DeadLetters:
    return DeadLetters(store.redis, STREAM)


async def listed(letters: DeadLetters, **chosen: Any) -> list[Letter]:
    return [each async for each in letters.list(**chosen)]


async def test_letters_are_listed_from_the_oldest_on_over_all_pages(store: Store, letters: DeadLetters) -> None:
    await publish_orders(store, *range(25))
    await Clinic(store).run()
    found = await listed(letters, page=10)
    assert [each.as_json()["event"]["data"]["orderId"] for each in found] == [str(number) for number in range(25)]
    assert await letters.count() == 25
    assert (letters.name, found[0].stream, found[0].group) == (DEAD_LETTERS, STREAM, GROUP)


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (b'{"type": "sample.ordered", "data": {"orderId": "7"}}', "sample.ordered"),
        (b'{"type": "' + b"x" * 300 + b'", "data": {}}', "x" * 200),
        (b'{"type": "", "data": {}}', "unknown"),
        (b'{"type": 7, "data": {}}', "unknown"),
        (b"[" * 100_000, "unknown"),
        (b"sample.ordered", "unknown"),
    ],
    ids=["no metadata", "a long type", "an empty type", "no text", "nested", "no JSON"],
)
async def test_a_letter_tells_the_type_as_far_as_it_can_be_read(
    event: bytes, told: str, store: Store, letters: DeadLetters
) -> None:
    await store.redis.xadd(STREAM, {"event": event})
    await Clinic(store).run()
    [letter] = await listed(letters)
    assert letter.facts["type"] == told


async def test_there_are_no_letters_before_the_first(letters: DeadLetters) -> None:
    assert await listed(letters) == []
    assert await listed(letters, ids=["1-1"]) == []
    assert await letters.count() == 0
    assert await letters.redrive([]) == 0
    assert await letters.purge([]) == 0


async def test_letters_are_chosen_by_group_or_id(store: Store, letters: DeadLetters) -> None:
    await publish_orders(store, 1, 2)
    await Clinic(store, "one").run()
    await Clinic(store, "two").run()
    first, _, third, _ = await listed(letters)

    assert [each.group for each in await listed(letters, group="two")] == ["two", "two"]
    assert await listed(letters, ids=[third.id, "1-1", first.id]) == [third, first]
    assert await listed(letters, ids=[third.id, first.id], group="two") == [third]


async def test_a_redriven_event_reaches_the_group_that_failed_it_and_no_other(
    store: Store, letters: DeadLetters
) -> None:
    failing, healthy = Clinic(store, "failing"), Clinic(store, "healthy", ill=False)
    await publish_orders(store, 1, 2)
    await failing.run()
    await healthy.run()
    failing.ill = False

    assert await letters.redrive(await listed(letters)) == 2
    await failing.run()
    await healthy.run()
    assert failing.seen == ["1", "2", "1", "2"]
    assert healthy.seen == ["1", "2"]
    assert await letters.count() == 0


async def test_a_redriven_event_keeps_its_id_and_trace_byte_for_byte(store: Store, letters: DeadLetters) -> None:
    await publish_orders(store, 1)
    await Clinic(store).run()
    await letters.redrive(await listed(letters))
    [(_, published)] = await store.redis.xrange(STREAM)
    [(_, redriven)] = await store.redis.xrange(RETRY_STREAM)
    assert redriven[b"event"] == published[b"event"]
    assert decode(redriven).metadata == decode(published).metadata


async def test_redriving_twice_or_by_many_at_once_hands_back_once(store: Store, letters: DeadLetters) -> None:
    clinic = Clinic(store)
    await publish_orders(store, *range(10))
    await clinic.run()
    clinic.ill = False
    found = await listed(letters)

    assert sum(await asyncio.gather(*(letters.redrive(found) for _ in range(5)))) == 10
    assert await letters.redrive(found) == 0
    await clinic.run()
    assert len(clinic.seen) == 20


async def test_a_redriven_event_that_fails_again_comes_back_as_a_letter(store: Store, letters: DeadLetters) -> None:
    clinic = Clinic(store)
    await publish_orders(store, 1)
    for _ in range(3):
        await clinic.run()
        [letter] = await listed(letters)
        assert letter.facts["stream"] == STREAM
        assert letter.facts["reason"] == "rejected"
        assert letter.facts["attempts"] == "1"
        assert await letters.redrive([letter]) == 1
    clinic.ill = False
    await clinic.run()
    assert clinic.seen == ["1"] * 4
    assert await letters.count() == 0


async def test_redriving_to_a_group_that_has_lost_its_retry_stream_waits_for_it(
    store: Store, letters: DeadLetters
) -> None:
    clinic = Clinic(store)
    await publish_orders(store, 1)
    await clinic.run()
    await store.redis.delete(RETRY_STREAM)
    clinic.ill = False
    assert await letters.redrive(await listed(letters)) == 1
    await clinic.run()
    assert clinic.seen == ["1", "1"]


async def test_a_letter_without_an_event_stays_where_it_is(store: Store, letters: DeadLetters) -> None:
    await store.redis.xadd(STREAM, {"something": "else", b"\xff": b"\xfe"})
    await Clinic(store).run()
    [letter] = await listed(letters)
    assert letter.event is None
    assert json.loads(letter.facts["fields"])["something"] == "else"
    assert await letters.redrive([letter]) == 0
    assert await listed(letters) == [letter]


async def test_a_letter_is_json_for_programs(store: Store, letters: DeadLetters) -> None:
    await store.redis.xadd(STREAM, {"event": b"\xff{"})
    await store.redis.xadd(STREAM, {"event": b"[" * 100_000})
    await publish_orders(store, 7)
    await Clinic(store).run()
    broken, deep, whole = [json.loads(json.dumps(each.as_json())) for each in await listed(letters)]
    assert broken["event"] == "\N{REPLACEMENT CHARACTER}{"
    assert deep["event"] == "[" * 100_000
    assert whole["event"]["data"] == {"orderId": "7"}
    assert whole["reason"] == "rejected"
    assert whole["id"]


async def test_purged_letters_are_gone_for_good(store: Store, letters: DeadLetters) -> None:
    await publish_orders(store, 1, 2, 3)
    await Clinic(store).run()
    first, second, third = await listed(letters)
    assert await letters.purge([first, third]) == 2
    assert await letters.purge([first]) == 0
    assert await letters.redrive([first]) == 0
    assert await listed(letters) == [second]


async def test_with_a_key_prefix_letters_stand_behind_it(connect: Connect) -> None:
    store = await connect(key_prefix="{shop}:")
    letters, clinic = DeadLetters(store.redis, STREAM, prefix="{shop}:"), Clinic(store)
    await publish_orders(store, 1)
    await clinic.run()
    clinic.ill = False
    assert await letters.redrive(await listed(letters)) == 1
    await clinic.run()
    assert clinic.seen == ["1", "1"]
    assert all(key.startswith(b"{shop}:") for key in await store.redis.keys("*"))


async def test_after_a_redrive_a_letter_names_the_entry_that_stands_in_the_stream(
    store: Store, letters: DeadLetters
) -> None:
    [entry_id] = await publish_orders(store, 1)
    clinic = Clinic(store)
    for _ in range(3):
        await clinic.run()
        [letter] = await listed(letters)
        assert (letter.facts["stream"], letter.facts["entryId"]) == (STREAM, entry_id)
        await letters.redrive([letter])
    clinic.ill = False
    await clinic.run()
    assert await listed(letters) == []
