"""Posting goes on through refusals that pass; waiting ends when nothing moves any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import aiohttp
import pytest

from demo import replay as module
from demo.orders import Workload
from demo.replay import Replay, Stuck, replay
from demo.shop import Reply, Shop
from demo.streams import INVENTORY_STREAM, ORDERS_STREAM, Group, Snapshot, Streams
from tests.demo.runs import an_order

ACCEPTED = Reply(202, {"id": "id-1", "status": "processing"}, "trace", 0)
LATER = Reply(503, {"title": "Service Unavailable"}, "trace", 0)


@dataclass
class Answers:
    """A shop that gives these answers, and remembers under which keys it was asked."""

    answers: list[Reply | Exception]
    keys: list[str] = field(default_factory=list)

    async def post(self, body: Mapping[str, object], key: str) -> Reply:
        self.keys.append(key)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Snapshots:
    """Streams that look like this, and then always like the last one."""

    snapshots: list[Snapshot]

    async def snapshot(self) -> Snapshot:
        return self.snapshots.pop(0) if len(self.snapshots) > 1 else self.snapshots[0]


def a_snapshot(lag: int) -> Snapshot:
    groups = [(ORDERS_STREAM, "inventory-group"), (INVENTORY_STREAM, "order-group")]
    return Snapshot({}, tuple(Group(stream, name, lag, 0, 1) for stream, name in groups), ())


async def replay_of(answers: Sequence[Reply | Exception], *lags: int) -> tuple[Replay, Answers]:
    shop = Answers(list(answers))
    streams = Snapshots([a_snapshot(lag) for lag in lags or (0,)])
    work = Workload("one order", {}, [an_order("first", a=1)], 1)
    run = await replay(cast(Shop, shop), cast(Streams, streams), work, lambda run, snapshot: None)
    return run, shop


async def test_an_accepted_order_is_remembered_with_its_id_and_trace() -> None:
    run, _ = await replay_of([ACCEPTED])
    [posted] = run.posted
    assert (posted.order.name, posted.order_id, posted.trace_id) == ("first", "id-1", "trace")
    assert run.began_at <= posted.sent_at <= posted.answered_at <= run.posted_at <= run.settled_at


async def test_an_order_is_posted_again_under_its_key_until_somebody_has_time_for_it() -> None:
    run, shop = await replay_of([LATER, aiohttp.ClientConnectionError("reset"), ACCEPTED])
    assert len(run.posted) == 1
    assert shop.keys == ["demo-1"] * 3


async def test_an_order_that_breaks_a_rule_is_refused_at_once_with_the_reason() -> None:
    run, shop = await replay_of([Reply(422, {"title": "Unprocessable", "detail": "items: too many"}, "trace", 0)])
    assert [refused.why for refused in run.refused] == ["422 items: too many"]
    assert len(shop.keys) == 1


async def test_an_order_that_nobody_takes_is_refused_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_ATTEMPTS", 3)
    run, shop = await replay_of([LATER] * 3)
    assert [refused.why for refused in run.refused] == ["503 Service Unavailable"]
    assert len(shop.keys) == 3


async def test_it_waits_until_nothing_is_on_its_way() -> None:
    run, _ = await replay_of([ACCEPTED], 3, 2, 1, 0)
    assert run.settled_at >= run.posted_at


async def test_what_does_not_move_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STUCK_AFTER", 0.05)
    with pytest.raises(Stuck, match="inventory-group has lag 2 and 0 pending; order-group has lag 2"):
        await replay_of([ACCEPTED], 2)
