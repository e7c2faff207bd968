"""Telling a customer by several channels, some of which fail."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from eventcore import Consumer, Reject, RetryPolicy, Router, Settings, Store, Unavailable, Unreadable
from eventcore.testing import run_until_idle, running, until
from libs.contracts.tests.calling import PATIENCE
from libs.contracts.tests.streams import entries
from notification_service.channels import ChannelUnavailable as Unreachable
from notification_service.channels import Declined, Refused, Unanswered
from notification_service.channels import NotSent as SentAway
from notification_service.domain.record import Record, records_of
from notification_service.failures import REPEAT_AFTER, MayHaveArrived, ReceiverDown
from notification_service.handlers import notification_router
from notification_service.notifier import Notifier
from services.notification.tests.outcomes import RESERVED, TOLD, Fake

KEEP = timedelta(days=30)


class Weather:
    """Raises this error until it clears."""

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error

    def __call__(self) -> None:
        if self.error is not None:
            raise self.error

    def clear(self) -> None:
        self.error = None


async def recorded(store: Store, order_id: str = "1") -> dict[str, Record]:
    """The records of an order, by channel."""
    kept = await store.redis.hvals(store.key(records_of(order_id).key))
    return {record.channel: record for record in map(Record.model_validate_json, kept)}


async def test_every_channel_is_used_and_recorded_by_the_transaction(store: Store) -> None:
    channels = Fake("smtp"), Fake("webhook")
    transaction = await Notifier(store, channels, KEEP).notify(TOLD)
    assert [channel.told for channel in channels] == [[TOLD], [TOLD]]
    assert await recorded(store) == {}
    await store.commit(transaction)
    found = await recorded(store)
    assert {name: record.status for name, record in found.items()} == {"smtp": "sent", "webhook": "sent"}
    assert found["smtp"].recipient == "VINET"


async def test_a_channel_that_was_recorded_is_not_used_again(store: Store) -> None:
    channels = Fake("smtp"), Fake("webhook")
    notifier = Notifier(store, channels, KEEP)
    await store.commit(await notifier.notify(TOLD))
    before = await recorded(store)
    await store.commit(await notifier.notify(TOLD))
    assert [len(channel.told) for channel in channels] == [1, 1]
    assert await recorded(store) == before


async def test_when_one_channel_is_out_of_reach_only_that_one_is_tried_again(store: Store) -> None:
    weather = Weather(Unreachable("no route", timedelta(seconds=7)))
    mail, web = Fake("smtp", behave=weather), Fake("webhook")
    notifier = Notifier(store, (mail, web), KEEP)
    with pytest.raises(Unavailable, match="smtp: no route") as failure:
        await notifier.notify(TOLD)
    assert failure.value.retry_after == timedelta(seconds=7)
    assert (await recorded(store)).keys() == {"webhook"}

    weather.clear()
    await store.commit(await notifier.notify(TOLD))
    assert (len(mail.told), len(web.told)) == (1, 1)
    assert (await recorded(store)).keys() == {"smtp", "webhook"}


@pytest.mark.parametrize(("refusal", "raised"), [(Refused, Reject), (Declined, Declined)])
async def test_a_refusal_is_recorded_as_failed_and_goes_on_to_a_dead_letter(
    store: Store, refusal: type[Exception], raised: type[Exception]
) -> None:
    refusing = Fake("smtp", behave=Weather(refusal("no such mailbox")))
    with pytest.raises(raised, match="smtp: no such mailbox"):
        await Notifier(store, (refusing, Fake("webhook")), KEEP).notify(TOLD)
    statuses = {name: record.status for name, record in (await recorded(store)).items()}
    assert statuses == {"smtp": "failed", "webhook": "sent"}


async def test_what_is_recorded_as_failed_does_not_count_as_told(store: Store) -> None:
    weather = Weather(Refused("no such mailbox"))
    mail, web = Fake("smtp", behave=weather), Fake("webhook")
    notifier = Notifier(store, (mail, web), KEEP)
    with pytest.raises(Reject):
        await notifier.notify(TOLD)
    weather.clear()
    await store.commit(await notifier.notify(TOLD))
    assert [len(channel.told) for channel in (mail, web)] == [1, 1]
    assert (await recorded(store))["smtp"].status == "sent"


async def test_a_record_of_a_newer_version_counts_as_told(store: Store) -> None:
    mail = Fake("smtp")
    key = store.key(records_of("1").key)
    await store.redis.hset(key, "event-1:smtp", '{"status":"read"}')
    await store.redis.expire(key, KEEP)
    await Notifier(store, (mail,), KEEP).notify(TOLD)
    assert mail.told == []


async def test_what_holds_no_records_does_not_count_as_told(store: Store) -> None:
    key = store.key(records_of("1").key)
    await store.redis.set(key, "poison", ex=60)
    with pytest.raises(Unreadable, match="holds no hash"):
        await Notifier(store, (Fake("smtp"),), KEEP).notify(TOLD)


async def test_a_defect_of_one_channel_does_not_make_the_others_repeat_themselves(store: Store) -> None:
    broken, web = Fake("smtp", behave=Weather(KeyError("defect"))), Fake("webhook")
    notifier = Notifier(store, (broken, web), KEEP)
    for _ in range(2):
        with pytest.raises(KeyError, match="defect"):
            await notifier.notify(TOLD)
    assert len(web.told) == 1


@pytest.mark.parametrize(
    "other", [KeyError("defect"), Declined("no"), Refused("never")], ids=lambda e: type(e).__name__
)
async def test_while_one_channel_is_out_of_reach_no_other_ends_its_chance(store: Store, other: Exception) -> None:
    broken, away = Fake("smtp", behave=Weather(other)), Fake("away", behave=Weather(Unreachable("later")))
    with pytest.raises(Unavailable, match=r"smtp: .*; away: later"):
        await Notifier(store, (broken, away), KEEP).notify(TOLD)


async def test_a_channel_that_is_spared_is_waited_for_aside_by_those_whom_another_has_told(store: Store) -> None:
    away = Fake("webhook", behave=Weather(SentAway("down", timedelta(seconds=3))))
    for channels, least in (((away,), 3.0), ((away, Fake("smtp")), 1.25 * store.settings.aside_after_seconds)):
        with pytest.raises(ReceiverDown) as failure:
            await Notifier(store, channels, KEEP).notify(TOLD)
        assert failure.value.retry_after == timedelta(seconds=least)


async def test_what_may_have_arrived_is_repeated_with_patience(store: Store) -> None:
    silent = Fake("smtp", behave=Weather(Unanswered("no reply to a whole mail")))
    with pytest.raises(MayHaveArrived) as failure:
        await Notifier(store, (silent,), KEEP).notify(TOLD)
    assert failure.value.retry_after == REPEAT_AFTER
    for handler in notification_router(Notifier(store, (silent,), KEEP), attempts=5).handlers.values():
        # At least REPEAT_AFTER, so three copies in the first ten seconds at most, and doubled each time.
        longest = [handler.policy(failure.value).base * 2**attempt for attempt in range(13)]
        assert handler.policy(failure.value).ceiling >= longest[12] > timedelta(hours=20)


async def test_of_several_that_are_out_of_reach_the_most_patient_one_decides(store: Store) -> None:
    channels = [Fake(str(wait), behave=Weather(Unreachable("later", wait))) for wait in (None, timedelta(seconds=9))]
    with pytest.raises(Unavailable) as failure:
        await Notifier(store, channels, KEEP).notify(TOLD)
    assert failure.value.retry_after == timedelta(seconds=9)


async def test_a_customer_whom_no_channel_reaches_is_told_in_the_log(store: Store) -> None:
    notifier = Notifier(store, (Fake("smtp", reaches=lambda told: None),), KEEP)
    await store.commit(await notifier.notify(TOLD))
    assert (await recorded(store)).keys() == {"log"}


async def test_a_silent_channel_costs_the_event_no_attempt(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Fake):
        async def send(self, n: object) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr("notification_service.notifier.PATIENCE", timedelta(milliseconds=10))
    with pytest.raises(Unavailable, match="smtp: took more than"):
        await Notifier(store, (Silent("smtp"),), KEEP).notify(TOLD)


def router(notifier: Notifier) -> Router:
    """The service's router, so impatient that tests need not wait."""
    made = notification_router(notifier, attempts=3)
    eager = RetryPolicy(attempts=3, base=timedelta(milliseconds=1), ceiling=timedelta(milliseconds=2))
    made.handlers = {name: replace(handler, retry=eager) for name, handler in made.handlers.items()}
    return made


async def test_an_outage_of_the_mail_server_delays_notifications_and_loses_none(
    store: Store, settings: Settings
) -> None:
    weather = Weather(Unreachable("no route"))
    mail, web = Fake("smtp", behave=weather), Fake("webhook")
    consumer = Consumer(store, router(Notifier(store, (mail, web), KEEP)))
    events = [RESERVED.model_copy(update={"order_id": str(number)}) for number in range(10)]
    async with running(consumer):
        await store.publish_all(events)
        await until(lambda: len(web.told) == 10 and consumer.holding.waiting > 0, timeout=PATIENCE)
        weather.clear()
    await run_until_idle(store, Consumer(store, router(Notifier(store, (mail, web), KEEP))), timeout=PATIENCE)
    assert sorted(told.order_id for told in mail.told) == [str(number) for number in range(10)]
    assert len(web.told) == 10
    assert await entries(store, "inventory_dlq") == []


async def test_a_defect_becomes_a_dead_letter_when_its_attempts_are_spent(store: Store) -> None:
    broken = Fake("smtp", behave=Weather(KeyError("defect")))
    await store.publish(RESERVED)
    await run_until_idle(store, Consumer(store, router(Notifier(store, (broken,), KEEP))), timeout=PATIENCE)
    [letter] = await entries(store, "inventory_dlq")
    assert (letter[b"reason"], letter[b"errorType"]) == (b"attempts_exhausted", b"KeyError")
