"""The SMTP channel's connections: shared, replaced where they ended, given back, closed politely."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import aiosmtplib
import pytest
from aiosmtpd import smtp

from notification_service.channels import ChannelUnavailable, Unanswered
from notification_service.channels.idle_connections import IdleConnections
from services.notification.tests.mail_server import (
    CONFIRMED,
    Hook,
    Receiver,
    hang_up,
    running,
    saying,
    sending,
    silence,
    third_of_three,
)


async def test_mails_one_after_the_other_share_a_connection_that_ends_with_quit() -> None:
    async with running(Receiver()) as receiver:
        async with sending(receiver) as channel:
            for _ in range(3):
                await channel.send(CONFIRMED)
        [connection] = receiver.connections
        assert connection.said_goodbye
    assert len(receiver.mails) == 3


async def test_many_mails_at_once_have_a_connection_each_and_arrive_once_each() -> None:
    arrived, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def wait(_: smtp.SMTP) -> str:
        arrived.release()
        await go_on.wait()
        return "250 OK"

    ids = [f"id-{i}" for i in range(40)]
    async with running(Receiver(RCPT=wait)) as receiver, sending(receiver) as channel:
        mails = asyncio.gather(*(channel.send(replace(CONFIRMED, id=id)) for id in ids))
        for _ in ids:
            await arrived.acquire()
        go_on.set()
        await mails
    assert sorted(message["message-id"] for message in receiver.messages) == sorted(f"<{id}@example.com>" for id in ids)


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_connection_that_the_server_closed_meanwhile_is_replaced(noticed: bool) -> None:
    async with running(Receiver()) as receiver, sending(receiver) as channel:
        await channel.send(CONFIRMED)
        [connection] = receiver.connections
        await hang_up(connection)
        if noticed:
            await connection.over.wait()
        await channel.send(CONFIRMED)
    assert len(receiver.mails) == len(receiver.connections) == 2


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
@pytest.mark.parametrize("end", [hang_up, saying("421 4.7.0 enough mails for one connection")], ids=["gone", "421"])
async def test_a_connection_that_ends_before_the_message_is_replaced(command: str, end: Hook) -> None:
    async with running(Receiver(**{command: third_of_three(end)})) as receiver, sending(receiver) as channel:
        for _ in range(3):
            await channel.send(CONFIRMED)
    assert len(receiver.connections) == 2
    assert len(receiver.mails) == 3


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
@pytest.mark.parametrize("end", [hang_up, saying("421 4.3.2 closing")], ids=["gone", "421"])
async def test_a_new_connection_that_ends_is_not_replaced(command: str, end: Hook) -> None:
    async with running(Receiver(**{command: end})) as receiver, sending(receiver) as channel:
        with pytest.raises(ChannelUnavailable):
            await channel.send(CONFIRMED)
    assert len(receiver.connections) == 1


async def test_a_mail_is_not_repeated_when_only_the_answer_was_lost() -> None:
    async with running(Receiver(DATA=third_of_three(hang_up))) as receiver, sending(receiver) as channel:
        await channel.send(CONFIRMED)
        await channel.send(CONFIRMED)
        with pytest.raises(Unanswered, match="it may have arrived"):
            await channel.send(CONFIRMED)
    assert len(receiver.mails) == 3


async def test_a_cancelled_mail_gives_its_connection_back() -> None:
    started = asyncio.Queue[None]()

    async def start(server: smtp.SMTP) -> str:
        started.put_nowait(None)
        return await silence(server)

    async with running(Receiver(DATA=start)) as receiver, sending(receiver) as channel:
        tasks = [asyncio.create_task(channel.send(CONFIRMED)) for _ in range(4)]
        for _ in tasks:
            await started.get()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(connection.over.wait() for connection in receiver.connections))
        assert all(task.cancelled() for task in tasks)

        receiver.hooks.clear()
        await channel.send(CONFIRMED)
        assert len(receiver.connections) == 4 + 1


async def test_closing_lets_a_mail_under_way_finish_and_keeps_nothing_open() -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_: smtp.SMTP) -> str:
        started.set()
        await go_on.wait()
        return "250 OK"

    async with running(Receiver(DATA=wait)) as receiver, sending(receiver) as channel:
        task = asyncio.create_task(channel.send(CONFIRMED))
        await started.wait()
        await channel.close()
        go_on.set()
        await task
        [connection] = receiver.connections
        await connection.over.wait()
        assert connection.said_goodbye


async def test_an_accepted_mail_stays_accepted_when_the_server_ignores_the_goodbye() -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_: smtp.SMTP) -> str:
        started.set()
        await go_on.wait()
        return "250 OK"

    async with running(Receiver(DATA=wait, QUIT=silence)) as receiver, sending(receiver, "&timeout=0.5") as channel:
        task = asyncio.create_task(channel.send(CONFIRMED))
        await started.wait()
        await channel.close()
        go_on.set()
        await task
        [connection] = receiver.connections
        await connection.over.wait()


async def test_a_connection_idle_for_too_long_is_not_trusted() -> None:
    async with running(Receiver()) as receiver:
        for max_idle, trusted in [(timedelta(0), False), (timedelta(minutes=1), True)]:
            client = aiosmtplib.SMTP(hostname="127.0.0.1", port=receiver.port)
            await client.connect()
            idle = IdleConnections(max_idle)
            await idle.keep(client)
            assert (idle.take() is client) is trusted
            assert client.is_connected is trusted
            client.close()
