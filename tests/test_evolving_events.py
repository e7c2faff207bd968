"""`docs/evolving-events.md` shows a breaking change; here it is made, read, and rolled out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import contracts
from contracts import Line
from eventcore import Consumer, Event, Router, Settings, Store
from eventcore.schemas import check, data_schema
from eventcore.testing import Server, run_until_idle, running, until
from libs.eventcore.tests.samples import noting

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs/evolving-events.md").read_text()
CODE = "\n\n".join(re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL))
SCHEMAS = ROOT / "libs/contracts/schemas"


def defined(code: str) -> SimpleNamespace:
    """What this code defines."""
    names: dict[str, Any] = {"__name__": "evolving_events"}
    exec(compile(code, "evolving-events.md", "exec", dont_inherit=True), names)  # noqa: S102 - our own document
    return SimpleNamespace(**names)


@pytest.fixture
def shown() -> SimpleNamespace:
    """What the document's code defines."""
    return defined(CODE)


def test_every_order_that_was_ever_written_is_read(shown: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    shown.test_every_order_that_was_ever_written_is_read()


def test_without_a_new_version_the_check_says_what_the_document_shows(tmp_path: Path) -> None:
    unversioned = defined(CODE.replace('version="2.0"', 'version="1.1"'))
    folder = tmp_path / "order.created"
    folder.mkdir()
    on_file: dict[str, Any] = data_schema(contracts.OrderCreated)
    for name in ("1.0.json", "1.1.json"):
        (folder / name).write_text(json.dumps(on_file))
    [problem, *_] = check([unversioned.OrderCreated], tmp_path)
    assert f"```text\n{problem}\n```" in DOCUMENT


async def test_an_old_program_leaves_a_new_event_to_a_newer_one(shown: SimpleNamespace) -> None:
    handled: list[Event] = []
    old, new = Router(group="inventory-group"), Router(group="inventory-group")
    for router, event in ((old, contracts.OrderCreated), (new, shown.OrderCreated)):
        router.on(event)(noting(handled, lambda event: event))
    order = shown.OrderCreated(order_id="1", items=(Line(product_id="11", quantity=1),), customer={"id": "VINET"})

    with Server() as server:
        settings = Settings(redis_url=server.url, heartbeat_seconds=0.1, dead_after_seconds=0.8)
        async with Store(settings, source="test") as store:
            await store.publish(order)
            consumer = Consumer(store, old)
            async with running(consumer):
                await until(lambda: consumer.holding.waiting == 1)
            assert handled == []
            await run_until_idle(store, Consumer(store, new))
            assert handled == [order]
            assert await store.redis.exists("orders_dlq") == 0
