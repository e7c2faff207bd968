"""How many notifications are with a receiver at once."""

from __future__ import annotations

import asyncio
import time

import pytest

from notification_service.channels.concurrency_limit import ConcurrencyLimit


async def waiting(limit: ConcurrencyLimit, count: int) -> list[asyncio.Task[None]]:
    """So many who wait for a place, in this order."""
    tasks = [asyncio.create_task(limit.acquire()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


def done(tasks: list[asyncio.Task[None]]) -> list[bool]:
    return [task.done() for task in tasks]


async def test_as_many_as_there_are_places_go_at_once_and_the_others_in_turn() -> None:
    limit = ConcurrencyLimit(2)
    tasks = await waiting(limit, 4)
    assert done(tasks) == [True, True, False, False]
    for expected in ([True, True, True, False], [True] * 4):
        limit.release()
        await asyncio.sleep(0)
        assert done(tasks) == expected


@pytest.mark.parametrize("called", [False, True])
async def test_who_gives_up_waiting_takes_nobodys_place(called: bool) -> None:
    limit = ConcurrencyLimit(1)
    first, second, third = await waiting(limit, 3)
    if called:
        limit.release()  # the second is called in, and cancelled before it comes
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    if not called:
        limit.release()
    await asyncio.wait_for(third, 5)
    assert first.done()


async def test_an_overload_halves_the_places_once_for_all_that_began_before_it() -> None:
    limit, began = ConcurrencyLimit(64), time.monotonic()
    for _ in range(10):
        limit.halve(began)
    assert limit.current == 32
    limit.halve(time.monotonic())
    assert limit.current == 16


async def test_there_is_always_one_place() -> None:
    limit = ConcurrencyLimit(3)
    for _ in range(5):
        limit.halve(time.monotonic())
    assert limit.current == 1


async def test_places_come_back_quickly_up_to_half_of_what_was_too_many_and_slowly_from_there() -> None:
    limit = ConcurrencyLimit(64)
    limit.restart_at_one()
    answers = 0
    while limit.current < 32:
        limit.grow()
        answers += 1
    assert answers == 31
    while limit.current < 64:
        limit.grow()
        answers += 1
    assert answers > 1000
    limit.grow()
    assert limit.current == 64


async def test_with_fewer_places_those_who_are_there_stay_and_the_next_wait_for_them() -> None:
    limit = ConcurrencyLimit(4)
    await waiting(limit, 4)
    limit.restart_at_one()
    [task] = await waiting(limit, 1)
    for _ in range(3):
        limit.release()
    await asyncio.sleep(0)
    assert not task.done()
    limit.release()
    await asyncio.wait_for(task, 5)
