"""How many notifications are with a receiver at once."""

from __future__ import annotations

import asyncio
import time

import pytest

from notification_service.channels.concurrency_limit import ConcurrencyLimit


async def waiting(turns: ConcurrencyLimit, count: int) -> list[asyncio.Task[None]]:
    """So many who wait for a place, in this order."""
    tasks = [asyncio.create_task(turns.take()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


def done(tasks: list[asyncio.Task[None]]) -> list[bool]:
    return [task.done() for task in tasks]


async def test_as_many_as_there_are_places_go_at_once_and_the_others_in_turn() -> None:
    turns = ConcurrencyLimit(2)
    tasks = await waiting(turns, 4)
    assert done(tasks) == [True, True, False, False]
    for expected in ([True, True, True, False], [True] * 4):
        turns.give_back()
        await asyncio.sleep(0)
        assert done(tasks) == expected


@pytest.mark.parametrize("called", [False, True])
async def test_who_gives_up_waiting_takes_nobodys_place(called: bool) -> None:
    turns = ConcurrencyLimit(1)
    first, second, third = await waiting(turns, 3)
    if called:
        turns.give_back()  # the second is called in, and cancelled before it comes
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    if not called:
        turns.give_back()
    await asyncio.wait_for(third, 5)
    assert first.done()


async def test_an_overload_halves_the_places_once_for_all_that_began_before_it() -> None:
    turns, began = ConcurrencyLimit(64), time.monotonic()
    for _ in range(10):
        turns.fewer(began)
    assert turns.places == 32
    turns.fewer(time.monotonic())
    assert turns.places == 16


async def test_there_is_always_one_place() -> None:
    turns = ConcurrencyLimit(3)
    for _ in range(5):
        turns.fewer(time.monotonic())
    assert turns.places == 1


async def test_places_come_back_quickly_up_to_half_of_what_was_too_many_and_slowly_from_there() -> None:
    turns = ConcurrencyLimit(64)
    turns.one()
    answers = 0
    while turns.places < 32:
        turns.more()
        answers += 1
    assert answers == 31
    while turns.places < 64:
        turns.more()
        answers += 1
    assert answers > 1000
    turns.more()
    assert turns.places == 64


async def test_with_fewer_places_those_who_are_there_stay_and_the_next_wait_for_them() -> None:
    turns = ConcurrencyLimit(4)
    await waiting(turns, 4)
    turns.one()
    [task] = await waiting(turns, 1)
    for _ in range(3):
        turns.give_back()
    await asyncio.sleep(0)
    assert not task.done()
    turns.give_back()
    await asyncio.wait_for(task, 5)
