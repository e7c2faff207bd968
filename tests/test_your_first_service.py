"""`docs/your-first-service.md` builds a service; here it is run, as a process and by the tests that it shows."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import signal
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession
from pydantic import SecretStr
from redis.asyncio import Redis

import eventcore
from contracts import InventoryReleased, InventoryReserved, Line
from demo.ports import free_port
from eventcore import Hash, Origin, Settings, Store, encode
from eventcore.cli.acl import rules_of
from eventcore.testing import Server, until
from libs.contracts.tests.calling import PATIENCE
from libs.contracts.tests.programs import started

DOCUMENT = Path(__file__).parents[1] / "docs/your-first-service.md"
PROGRAM, TESTS = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
[READS] = re.findall(r"```py\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ITEMS = (Line(product_id="11", quantity=12), Line(product_id="42", quantity=1))
ORIGIN = Origin("test", TRACE, f"00-{TRACE}-00f067aa0ba902b7-01")


@pytest.fixture
def loyalty(tmp_path: Path) -> Iterator[Path]:
    """The folder that the program stands in."""
    (tmp_path / "loyalty.py").write_text(PROGRAM)
    yield tmp_path
    sys.modules.pop("loyalty", None)


def test_the_whole_service_has_less_than_60_lines() -> None:
    assert len([line for line in PROGRAM.splitlines() if line.strip()]) < 60
    assert len(PROGRAM.splitlines()) < 70


@pytest.mark.timeout(4 * PATIENCE)
async def test_it_consumes_answers_measures_traces_and_ends_in_order(loyalty: Path) -> None:
    port = free_port()
    with Server() as server:
        client: Any = Redis.from_url(server.url)  # its own hints are unions that no caller can use
        variables = {"REDIS_URL": server.url, "HOST": "127.0.0.1", "PORT": str(port), "OTEL_TRACES_EXPORTER": "console"}
        async with client as redis, ClientSession(f"http://127.0.0.1:{port}") as http:
            with started("loyalty", PYTHONPATH=str(loyalty), LOG_LEVEL="ERROR", **variables) as process:

                async def answer(path: str) -> str | None:
                    try:
                        async with http.get(path) as response:
                            return await response.text() if response.status == 200 else None
                    except ClientError:
                        return None

                async def points_are(number: int) -> bool:
                    text = await answer("/points/VINET")
                    return text is not None and json.loads(text) == {"customerId": "VINET", "points": number}

                await until(lambda: answer("/readyz"), timeout=2 * PATIENCE)
                assert await answer("/livez")
                assert await points_are(0)

                bought = InventoryReserved(order_id="1", items=ITEMS, customer_id="VINET")
                anonymous = InventoryReserved(order_id="2", items=ITEMS)
                for event in (bought, anonymous):
                    await redis.xadd(event.stream, {"event": encode(event, ORIGIN)})
                await until(lambda: points_are(13), timeout=PATIENCE)
                cancelled = InventoryReleased(order_id="1", items=ITEMS, customer_id="VINET")
                await redis.xadd(cancelled.stream, {"event": encode(cancelled, ORIGIN)})
                await until(lambda: points_are(0), timeout=PATIENCE)

                metrics = await answer("/metrics") or ""
                assert re.search(r'messaging_process_duration_seconds_count\{.*"loyalty-group".*\} \d', metrics)
                assert "/points/{customerId}" in json.loads(await answer("/openapi.json") or "")["paths"]
                assert "Say how many points a customer has." in (await answer("/docs") or "")

                process.send_signal(signal.SIGTERM)
                output, errors = await asyncio.to_thread(process.communicate, timeout=2 * PATIENCE)
                assert (process.returncode, errors) == (0, b"")
                assert f'"trace_id": "0x{TRACE}"'.encode() in output
            [group] = await redis.xinfo_groups("inventory_stream")
            assert (group["consumers"], group["pending"], group["lag"]) == (0, 0, 0)


async def test_its_own_tests_pass(loyalty: Path) -> None:
    module(loyalty / "loyalty.py")
    (loyalty / "test_loyalty.py").write_text(TESTS)
    tests = [test for name, test in vars(module(loyalty / "test_loyalty.py")).items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        outcome = test()
        if inspect.isawaitable(outcome):
            await outcome


async def test_what_it_says_of_reading_can_be_read() -> None:
    names: dict[str, Any] = {**vars(eventcore), "points": Hash("points"), "names": ["VINET", "TOMSP"]}
    exec(f"async def look(store):\n{indent(READS, '    ')}", names)  # noqa: S102 - our own document
    with Server() as server:
        async with Store(Settings(redis_url=SecretStr(server.url)), source="test") as store:
            await names["look"](store)


def module(path: Path) -> Any:
    """The module that stands in this file, known by its name."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[path.stem] = loaded = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_its_redis_user_may_do_what_it_does_and_no_more(loyalty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(loyalty))
    rules = rules_of(["loyalty:create_app"])["loyalty-service"]
    assert "(+@hash ~loyalty:points)" in rules
    assert "~inventory_stream:loyalty-group:*" in rules
    assert "~orders_stream" not in rules
