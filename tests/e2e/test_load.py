"""The load is steady, repeats under one key until an order is decided, and knows what failed on the way."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e import load
from tests.e2e.asking import Answer, NoAnswer
from tests.e2e.load import Load
from tests.e2e.shop import Shop


class Service:
    """Answers what it is told to, in turn, and 202 when that is used up."""

    def __init__(self, *answers: Answer | NoAnswer) -> None:
        self.answers = list(answers)
        self.keys: list[str] = []
        self.traces: set[str] = set()

    async def request(
        self, service: str, method: str, path: str, *, json: Any = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        if method == "PUT":
            return Answer(200, {"updated": 1})
        self.keys.append(headers["Idempotency-Key"])
        self.traces.add(headers["traceparent"].split("-")[1])
        answer = self.answers.pop(0) if self.answers else Answer(202, {"id": f"id-of-{self.keys[-1]}"})
        if isinstance(answer, NoAnswer):
            raise answer
        return answer


def a_load(service: Service, rate: float = 200) -> Load:
    return Load(Shop(service), rate=rate, now=time.time)


async def test_an_order_is_repeated_under_its_key_and_trace_until_it_is_accepted() -> None:
    busy = Answer(503, {"detail": "Redis is out of reach"}, {"retry-after": "0.01"})
    service = Service(busy, NoAnswer("refused"), busy)
    orders = a_load(service)
    await orders.start()
    await orders.finish(1)
    assert len(orders.accepted) == len(orders.placed) == len(service.traces) == len(set(service.keys))
    assert max(Counter(service.keys).values()) > 1
    assert sorted(failure.partition(": ")[2] for failure in orders.failures) == [
        "503 Redis is out of reach",
        "503 Redis is out of reach",
        "no answer: refused",
    ]


async def test_an_answer_that_is_no_reason_to_repeat_is_a_refusal() -> None:
    service = Service(Answer(422, {"detail": "no"}))
    orders = a_load(service)
    await orders.start()
    await orders.finish(2)
    assert [order.refused for order in orders.placed if order.refused] == ["422 no"]
    assert len(orders.accepted) == len(orders.placed) - 1


async def test_what_nobody_decides_is_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "PATIENCE", 0.05)
    service = Service(*[NoAnswer("silence")] * 1000)
    orders = a_load(service, rate=10)
    await orders.start()
    await orders.finish(1)
    assert orders.placed[0].refused == "not decided within 0.05 s: no answer: silence"


async def test_the_same_order_posted_again_must_get_the_same_id() -> None:
    service = Service()
    orders = a_load(service)
    await orders.start()
    await orders.finish(3)
    await orders.repeat(2)
    assert all(len(order.order_ids) == 1 for order in orders.placed)
    service.answers = [Answer(202, {"id": "another"})]
    await orders.repeat(1)
    assert sum(len(order.order_ids) == 2 for order in orders.placed) == 1


async def test_orders_are_posted_at_their_time_however_long_others_take() -> None:
    service = Service(*[Answer(503, "", {"retry-after": "0.4"})] * 5)
    orders = a_load(service, rate=50)
    began = time.monotonic()
    await orders.start()
    await orders.more(10)
    elapsed = time.monotonic() - began
    assert len(orders.placed) >= 15
    assert elapsed >= 14 / 50
    await orders.abandon()


async def test_some_orders_ask_for_too_much_or_for_what_is_unknown() -> None:
    orders = a_load(Service(), rate=2000)
    await orders.start()
    await orders.finish(60)
    products = Counter(product for order in orders.placed for product, _ in order.items)
    assert products[orders.scarce] * 2 > orders.stock[orders.scarce]
    assert products[orders.unknown] >= 2
    assert orders.unknown not in orders.stock
