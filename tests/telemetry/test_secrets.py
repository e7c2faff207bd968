"""What comes with a request (headers, query, body) is in no log, span, metric, mail, webhook or output of the tool."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from eventcore.testing import until
from libs.eventcore.tests.collector import over_http
from libs.eventcore.tests.tool import run

from .shop import Shop, shop

pytestmark = pytest.mark.timeout(240)

ADDRESS = "hunter2-mail@example.com"
LINE = {"productId": "11", "quantity": 1}
SETTINGS = {
    "OTEL_BSP_SCHEDULE_DELAY": "200",
    "OTEL_LOGS_EXPORTER": "otlp",
    "OTEL_BLRP_SCHEDULE_DELAY": "200",
    "LOG_LEVEL": "DEBUG",
}


def secret(place: str) -> str:
    return f"hunter2-{place}"


HEADERS = {
    "Authorization": f"Bearer {secret('authorization')}",
    "Proxy-Authorization": f"Basic {secret('proxy')}",
    "Cookie": f"session={secret('cookie')}",
    "X-Api-Key": secret("api-key"),
    "X-Anything": secret("header"),
    "Idempotency-Key": secret("idempotency"),
    "Referer": f"https://example.com/?{secret('referer')}",
    "baggage": f"who={secret('baggage')}",
    "tracestate": f"vendor={secret('tracestate')}",
}


async def ask(running: Shop, name: str, method: str, path: str, body: object = None, **headers: str) -> int:
    """A request with secrets in all of its headers and in its query; its status."""
    url = f"{running.replicas[name].url}{path}?token={secret('query')}&{secret('bare')}"
    data = body if isinstance(body, str | None) else None
    json = None if isinstance(body, str | None) else body
    kind = {"Content-Type": "application/json"} if data else {}
    asked = running.session.request(method, url, json=json, data=data, headers={**HEADERS, **kind, **headers})
    async with asked as answer:
        await answer.read()
        return answer.status


async def test_secrets_of_requests_appear_nowhere(tmp_path: Path) -> None:
    async with over_http() as collector, shop(tmp_path, collector, channels=True, **SETTINGS) as running:
        await running.start("order", "inventory", "notification")
        await running.ask("inventory", "PUT", "/stock/11", {"available": 10})
        note = {"password": secret("body"), "note": secret("body")}

        placed = {"items": [LINE], "customerId": "VINET", "email": ADDRESS}
        assert await ask(running, "order", "POST", "/orders", placed) == 202
        await until(lambda: bool(running.mailbox.mails and running.hooks.headers), what="both channels", timeout=60)
        again = {**HEADERS, "Idempotency-Key": secret("idempotency-2")}
        answers = [
            await ask(running, "order", "POST", "/orders", {**placed, "items": [LINE, {**LINE, **note}]}, **again),
            await ask(running, "order", "POST", "/orders", {"items": secret("body")}),
            await ask(running, "order", "POST", "/orders", f'{{"items": {secret("body")}'),
            await ask(running, "order", "POST", "/orders", secret("body"), **{"Content-Type": "text/plain"}),
            await ask(running, "order", "GET", "/orders"),
            await ask(running, "order", "GET", f"/nothing/{secret('path')}"),
            await ask(running, "inventory", "PUT", "/stock/11", {"available": secret("body")}),
            await ask(running, "inventory", "PUT", "/stock", {"levels": [note]}),
            await ask(running, "notification", "GET", "/notifications"),
        ]
        assert all(status < 500 for status in answers), answers
        await running.ask("order", "GET", "/livez")

        # Redis away: each request is refused with an error that is logged.
        running.server.kill()
        assert await ask(running, "order", "POST", "/orders", placed, **again) == 503
        assert await ask(running, "inventory", "PUT", "/stock/11", {"available": 10, **note}) in (422, 503)
        metrics = [await running.ask(name, "GET", "/metrics") for name in running.replicas]
        running.server.start()
        for name in running.replicas:
            await running.replicas[name].ready(running.session)
        shown = [
            await asyncio.to_thread(run, running.server, *command)
            for command in (("status", "--json"), ("dlq", "list", "orders_stream"), ("dlq", "list", "inventory_stream"))
        ]
        await running.end()

    said = {
        "logs": logs(tmp_path),
        **{f"exported {signal}": str(requests) for signal, requests in collector.requests.items()},
        "metrics": str(metrics),
        "mails": str([mail.content for mail in running.mailbox.mails]).replace(ADDRESS, ""),  # it goes there
        "headers of webhooks": str(running.hooks.headers),
        "the tool": str([each.stdout for each in shown]),
    }
    assert all(said.values())
    assert {name: spilled(text) for name, text in said.items() if spilled(text)} == {}


def logs(directory: Path) -> str:
    return "".join(path.read_text() for path in directory.glob("*.log"))


def spilled(text: str) -> set[str]:
    """The places of the secrets in a text; the path that was asked for is shown, as docs/observability.md has it."""
    return set(re.findall(r"hunter2-([a-z0-9-]+)", text)) - {"path"}
