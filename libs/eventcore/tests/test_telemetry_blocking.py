"""The watch over the event loop: its delay is measured, and who blocks it is named, also when they never let go."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from eventcore.telemetry import blocking
from eventcore.telemetry.blocking import LoopWatch
from eventcore.telemetry.measurements import event_loop_delay
from eventcore.testing import until


def blocks(until_told: threading.Event) -> None:
    """What a handler must not do."""
    until_told.wait(20)


class Blocker:
    """An object that is a handler."""

    def __call__(self, until_told: threading.Event) -> None:
        blocks(until_told)


async def blocks_as_coroutine(until_told: threading.Event) -> None:
    await asyncio.sleep(0)
    until_told.wait(20)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wants to be blocked for long in a test."""
    monkeypatch.setattr(blocking, "BLOCKED_SECONDS", 0.2)


@asynccontextmanager
async def watching(functions: dict[str, Callable[..., Any]]) -> AsyncIterator[None]:
    task = asyncio.create_task(LoopWatch(functions).run())
    await asyncio.sleep(0)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Told(logging.Handler):
    """Hears of a blockade, in whatever thread, and ends it if it is ours (a busy machine may block us, too)."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if self.records or "threading.py" in record.getMessage():
            self.records.append(record)
            self.event.set()

    @property
    def said(self) -> list[str]:
        """What was said of our blockade, and since."""
        return [record.getMessage() for record in self.records]


@pytest.fixture
def told() -> Any:
    """What the watch logs."""
    handler = Told()
    blocking.log.addHandler(handler)
    yield handler
    blocking.log.removeHandler(handler)


@pytest.mark.parametrize("function", [blocks, partial(blocks), Blocker()], ids=["function", "partial", "object"])
async def test_who_blocks_is_named_while_they_still_do(told: Told, function: Callable[..., Any]) -> None:
    async with watching({"tea-group's handler of tea.brewed": function}):
        function(told.event)  # would take twenty seconds if nobody noticed
        await until(lambda: len(told.said) > 1, what="the end of the blockade")
    assert "s by tea-group's handler of tea.brewed, at " in told.said[0]
    assert "until_told.wait(20)" in vars(told.records[0])["stack"]
    assert told.said[1].startswith("the event loop runs again: tea-group's handler of tea.brewed blocked it for ")


async def test_a_coroutine_that_blocks_is_named_too(told: Told) -> None:
    async with watching({"the handler of GET /tea": blocks_as_coroutine}):
        await blocks_as_coroutine(told.event)
    assert "by the handler of GET /tea, at " in told.said[0]


async def test_what_has_no_name_is_said_to_be_where_it_is(told: Told) -> None:
    async with watching({}):
        blocks(told.event)
    assert " s by Condition.wait, at " in told.said[0]


async def test_a_loop_that_gets_no_processor_is_not_accused(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "starved", lambda thread: time.monotonic())
    async with watching({"blocks": blocks}):
        told.event.wait(0.8)
    assert told.said == []


async def test_the_delay_is_measured(told: Told) -> None:
    def longest() -> float:
        cell = event_loop_delay.cells.get(())
        return cell.highest if cell else 0.0

    before = longest()
    async with watching({}):
        time.sleep(before + 0.2)  # noqa: ASYNC251 - that is what is measured
        await until(lambda: longest() > before, what="a record delay")


async def test_waiting_is_not_blocking(told: Told) -> None:
    async with watching({"blocks": blocks}):
        await asyncio.sleep(0.6)
    assert told.said == []
