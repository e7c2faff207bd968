"""Rates and latencies are what they are said to be."""

from __future__ import annotations

import pytest

from demo.measures import latencies, percentile, rates
from demo.replay import Replay
from tests.demo.runs import a_run, an_order

EVIDENCE = a_run([an_order("first", a=1), an_order("second", a=5)], {"a": 3})


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([float(n) for n in range(1, 201)], 99) == 198.0
    assert percentile([7.0], 99) == 7.0


def test_latencies_count_from_the_post_for_confirmed_and_rejected_orders() -> None:
    found = {each.to: (each.p50, each.longest) for each in latencies(EVIDENCE)}
    assert found == {
        "answered 202": pytest.approx((10, 10), abs=0.01),
        "stock decided": pytest.approx((20, 20), abs=0.01),
        "order final": pytest.approx((30, 30), abs=0.01),
        "customer notified": pytest.approx((30, 30), abs=0.01),
    }


def test_rates_count_while_posting_and_until_nothing_is_pending() -> None:
    run = Replay(posted=list(EVIDENCE.posted), began_at=100.0, posted_at=101.0, settled_at=104.0)
    assert rates(run) == (2.0, 0.5, 1.0, 4.0)
