"""`log_event_duration` says how long people's own functions took, and leaves them as they are."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

import pytest

from eventcore import log_event_duration
from eventcore.telemetry.logs import fields


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    """What is logged, as facts."""
    caplog.set_level(logging.INFO)

    def facts() -> list[tuple[str, str]]:
        for record in caplog.records:
            assert fields(record)["durationMs"] >= 0
        return [(fields(record)["function"], fields(record)["outcome"]) for record in caplog.records]

    return facts


@log_event_duration
def brew(tea: str, *, minutes: int = 3) -> str:
    """Brew tea."""
    return f"{tea} for {minutes}"


@log_event_duration("waiting for tea")
async def wait(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "tea"


@log_event_duration()
def spill() -> None:
    raise ValueError("no tea")


def test_a_plain_function_is_timed_and_stays_what_it_was(said: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert brew("green", minutes=2) == "green for 2"
    assert said() == [("brew", "done")]
    assert caplog.messages[0].startswith("brew: done in ")
    assert (brew.__name__, brew.__doc__) == ("brew", "Brew tea.")


async def test_a_coroutine_is_timed_until_it_has_ended(said: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert inspect.iscoroutinefunction(wait)
    assert await wait(0.05) == "tea"
    assert said() == [("waiting for tea", "done")]
    assert fields(caplog.records[0])["durationMs"] >= 49


def test_a_failure_is_said_to_be_one_and_goes_on_its_way(said: Any) -> None:
    with pytest.raises(ValueError, match="no tea"):
        spill()
    assert said() == [("spill", "failed")]
