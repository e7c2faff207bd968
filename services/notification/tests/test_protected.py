"""A channel behind its queue and its circuit breaker."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from eventcore.testing import until
from libs.contracts.tests.calling import PATIENCE
from notification_service.channels import ChannelUnavailable, Declined, Notification, NotSent, Unanswered
from notification_service.channels.breaker import OPENS_AFTER
from notification_service.channels.protected import ProtectedChannel
from services.notification.tests.outcomes import TOLD, Fake


class Receiver(Fake):
    """Holds what it is sent until it is told to go on, then behaves as a fake does."""

    def __init__(self, *, held: bool = False) -> None:
        super().__init__("webhook")
        self.under_way = self.most_under_way = 0
        self.go_on = asyncio.Event()
        if not held:
            self.go_on.set()

    async def send(self, n: Notification) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.go_on.wait()
            await super().send(n)
        finally:
            self.under_way -= 1


def protected(receiver: Receiver, *, at_once: int = 64, timeout: float = 10) -> ProtectedChannel:
    return ProtectedChannel(receiver, at_once=at_once, timeout=timedelta(seconds=timeout))


def told(number: int) -> Notification:
    return replace(TOLD, id=f"event-{number}")


def raising(error: Exception) -> None:
    raise error


async def fail(channel: ProtectedChannel, receiver: Receiver, error: Exception, count: int = OPENS_AFTER) -> None:
    """So many different notifications fail with this error."""
    receiver.behave = lambda: raising(error)
    for number in range(count):
        with pytest.raises(type(error)):
            await channel.send(told(number))
    receiver.behave = lambda: None


async def probing(channel: ProtectedChannel, receiver: Receiver, number: int) -> asyncio.Task[None]:
    """This notification on its way to a receiver that is down, as soon as it may."""
    while True:
        task = asyncio.create_task(channel.send(told(number)))
        await asyncio.wait([task], timeout=0.1)
        if not task.done() or task.exception() is None:
            return task
        assert isinstance(task.exception(), NotSent)
        await asyncio.sleep(0.05)


async def test_no_more_than_a_number_are_under_way_and_each_arrives_once() -> None:
    receiver = Receiver(held=True)
    channel = protected(receiver, at_once=4)
    sending = [asyncio.create_task(channel.send(told(number))) for number in range(20)]
    await until(lambda: receiver.under_way == 4, timeout=PATIENCE)
    receiver.go_on.set()
    await asyncio.gather(*sending)
    assert receiver.most_under_way == 4
    assert sorted(each.id for each in receiver.told) == sorted(told(number).id for number in range(20))


async def test_who_has_waited_in_the_queue_for_too_long_is_turned_away_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notification_service.channels.protected.LONGEST_WAIT", timedelta(milliseconds=20))
    receiver = Receiver(held=True)
    channel = protected(receiver, at_once=1)
    first = asyncio.create_task(channel.send(told(1)))
    await until(lambda: receiver.under_way == 1, timeout=PATIENCE)
    with pytest.raises(NotSent, match=r"not sent, its receiver has enough to do \(1 at once\)"):
        await channel.send(told(2))
    receiver.go_on.set()
    await first
    assert [each.id for each in receiver.told] == ["event-1"]


async def test_a_receiver_that_is_down_is_spared() -> None:
    receiver = Receiver()
    channel = protected(receiver)
    await fail(channel, receiver, ChannelUnavailable("connection refused"))
    assert channel.is_down
    for number in range(100, 120):
        with pytest.raises(NotSent, match="not sent, its receiver is down: connection refused") as failure:
            await channel.send(told(number))
        assert failure.value.retry_after is not None
    assert receiver.told == []


async def test_those_who_wait_in_the_queue_of_a_receiver_that_goes_down_are_turned_away() -> None:
    receiver = Receiver(held=True)
    receiver.behave = lambda: raising(Unanswered("did not answer"))
    channel = protected(receiver, at_once=OPENS_AFTER)
    sending = [asyncio.create_task(channel.send(told(number))) for number in range(4 * OPENS_AFTER)]
    await until(lambda: receiver.under_way == OPENS_AFTER, timeout=PATIENCE)
    receiver.go_on.set()
    outcomes = await asyncio.gather(*sending, return_exceptions=True)
    assert [type(each) for each in outcomes] == [Unanswered] * OPENS_AFTER + [NotSent] * 3 * OPENS_AFTER


@pytest.mark.parametrize(
    "error",
    [Declined("answered 422"), ChannelUnavailable("450 try later", only_this_one=True)],
    ids=["4xx", "greylisted"],
)
async def test_a_receiver_that_says_no_to_one_is_not_down(error: Exception) -> None:
    receiver = Receiver()
    channel = protected(receiver)
    await fail(channel, receiver, error, count=10 * OPENS_AFTER)
    assert not channel.is_down


async def test_after_it_was_down_it_is_given_one_at_first() -> None:
    receiver = Receiver()
    channel = protected(receiver)
    await fail(channel, receiver, ChannelUnavailable("connection refused"))

    await probing(channel, receiver, 200)
    receiver.go_on.clear()
    sending = [asyncio.create_task(channel.send(told(number))) for number in range(300, 310)]
    await until(lambda: receiver.under_way > 0, timeout=PATIENCE)
    assert receiver.under_way <= 2
    receiver.go_on.set()
    await asyncio.gather(*sending)


async def test_a_receiver_that_is_too_slow_for_so_many_gets_fewer() -> None:
    receiver = Receiver()
    channel = protected(receiver, at_once=8)
    await fail(channel, receiver, Unanswered("did not answer"), count=2)
    receiver.go_on.clear()
    sending = [asyncio.create_task(channel.send(told(number))) for number in range(8)]
    await until(lambda: receiver.under_way > 0, timeout=PATIENCE)
    assert receiver.under_way == 4
    receiver.go_on.set()
    await asyncio.gather(*sending)


async def test_one_notification_that_is_never_answered_takes_no_place_from_others() -> None:
    receiver = Receiver()
    channel = protected(receiver, at_once=8)
    for _ in range(20):
        await fail(channel, receiver, Unanswered("did not answer"), count=1)
    receiver.go_on.clear()
    sending = [asyncio.create_task(channel.send(told(number))) for number in range(8)]
    await until(lambda: receiver.under_way == 8, timeout=PATIENCE)
    receiver.go_on.set()
    await asyncio.gather(*sending)


async def test_a_cancelled_probe_makes_way_for_the_next() -> None:
    receiver = Receiver()
    channel = protected(receiver)
    await fail(channel, receiver, ChannelUnavailable("connection refused"))
    receiver.go_on.clear()

    first = await probing(channel, receiver, 100)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = await probing(channel, receiver, 101)
    receiver.go_on.set()
    await second
    assert not channel.is_down
