"""Metrics of the running services say what has happened, over OTLP and on `/metrics` alike; each thing is said once."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from eventcore.testing import until
from libs.eventcore.tests.collector import over_grpc

from .shop import Shop, shop

# Starting four interpreters takes its time on a busy machine.
pytestmark = pytest.mark.timeout(240)

ORDERS, IN_STOCK = 120, 90
LINE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)")


async def scraped(running: Shop, *names: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """What these replicas show, by the names that Prometheus sees."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for name in names:
        for line in (await running.ask(name, "GET", "/metrics")).splitlines():
            if match := LINE.fullmatch(line):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', match["labels"] or ""))
                found.setdefault(match["name"], []).append((labels, float(match["value"])))
    return found


async def test_metrics_under_load_are_what_happened(tmp_path: Path) -> None:
    with over_grpc() as collector:
        async with shop(
            tmp_path,
            collector,
            channels=False,
            OTEL_METRIC_EXPORT_INTERVAL="60000",  # so that what arrives was flushed at the end
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
            OTEL_TRACES_EXPORTER="none",
        ) as running:
            await running.start("order", "inventory", "inventory-2", "notification")
            await running.ask("inventory", "PUT", "/stock/11", {"available": IN_STOCK})
            placed = await asyncio.gather(*(running.place() for _ in range(ORDERS)))
            for order_id in placed:
                await running.until_told(order_id, by=1)
            await until(lambda: settled(running), what="the reporters to have seen the end", timeout=30)
            shown = await scraped(running, "order", "inventory", "inventory-2", "notification")
            await running.end()

    value = collector.value
    outcomes = {each: value("shop.orders", shop__order__outcome=each) for each in ("accepted", "confirmed", "rejected")}
    assert outcomes == {"accepted": ORDERS, "confirmed": IN_STOCK, "rejected": ORDERS - IN_STOCK}
    assert value("shop.notifications", shop__notification__channel="log", shop__notification__status="sent") == ORDERS
    assert value("http.server.request.duration", http__route="/orders", http__response__status_code=202) == ORDERS
    for name in collector.metrics:
        assert any(each.startswith(re.sub(r"\W", "_", name)) for each in shown), f"{name} is not on /metrics"
    assert total(shown, "shop_reservation_failures_total", shop_reservation_reason="out_of_stock") == ORDERS - IN_STOCK
    for stream, group, each in (
        ("orders_stream", "inventory-group", "order.created"),
        ("inventory_stream", "order-group", "inventory.reserved"),
        ("inventory_stream", "notification-group", "inventory.rejected"),
    ):
        handled = total(
            shown,
            "messaging_process_duration_seconds_count",
            messaging_destination_name=stream,
            messaging_consumer_group_name=group,
            eventcore_event_type=each,
            eventcore_outcome="handled",
        )
        assert handled == {"order.created": ORDERS, "inventory.reserved": IN_STOCK}.get(each, ORDERS - IN_STOCK)
    for stream in ("orders_stream", "inventory_stream"):
        sent = total(shown, "messaging_client_operation_duration_seconds_count", messaging_destination_name=stream)
        assert sent == ORDERS
        assert once(shown, "eventcore_stream_length", messaging_destination_name=stream) == ORDERS
        assert once(shown, "eventcore_stream_memory_bytes", messaging_destination_name=stream) > 1000
        assert once(shown, "eventcore_dead_letter_length", messaging_destination_name=stream) == 0
    for group, consumers in (("inventory-group", 2), ("order-group", 1), ("notification-group", 1)):
        of = {"messaging_consumer_group_name": group, "messaging_destination_name": ".*_stream"}
        for name in ("lag", "lag_age_seconds", "pending", "pending_age_seconds"):
            assert once(shown, f"eventcore_{name}", **of) == 0
        assert once(shown, "eventcore_consumers", **of, eventcore_consumer_state="alive") == consumers
        assert once(shown, "eventcore_consumers", **of, eventcore_consumer_state="dead") == 0
        committed = {"messaging_consumer_group_name": group, "eventcore_outcome": "committed"}
        assert total(shown, "eventcore_commit_duration_seconds_count", **committed) > 0
        for name in ("trimmed_unread", "duplicates", "handed_back", "takeovers", "retries", "dead_letters"):
            assert found(shown, f"eventcore_{name}_total", messaging_consumer_group_name=group), (
                "shown before it happens"
            )
            assert total(shown, f"eventcore_{name}_total", messaging_consumer_group_name=group) == 0
        assert total(shown, "eventcore_waiting", messaging_consumer_group_name=group) == 0
        assert total(shown, "eventcore_paused", messaging_consumer_group_name=group) == 0
    assert len(found(shown, "eventcore_event_loop_delay_seconds_count")) == 4


async def settled(running: Shop) -> bool:
    """Whether what is shown of Redis is as it was after the last order."""
    shown = await scraped(running, "order", "inventory", "inventory-2", "notification")
    lengths = [value for _, value in shown.get("eventcore_stream_length", [])]
    unfinished = [value for name in ("lag", "pending") for _, value in shown.get(f"eventcore_{name}", [])]
    return lengths == [ORDERS, ORDERS] and not any(unfinished)


def found(shown: dict[str, Any], name: str, **labels: str) -> list[float]:
    """The values of a metric with these labels."""
    return [
        value
        for has, value in shown.get(name, [])
        if all(re.fullmatch(wanted, has.get(label, "")) for label, wanted in labels.items())
    ]


def total(shown: dict[str, Any], name: str, **labels: str) -> float:
    return sum(found(shown, name, **labels))


def once(shown: dict[str, Any], name: str, **labels: str) -> float:
    """The value of what must not be shown twice."""
    [value] = found(shown, name, **labels)
    return value
