"""What a person needs to try the system by hand: addresses, and commands that work when pasted."""

from __future__ import annotations

import os
from collections.abc import Mapping

import aiohttp
from rich.console import Console

from .system import System

# Tried in this order on each service; shown where something answers.
_PAGES = ("/docs", "/openapi.json", "/metrics", "/readyz")


async def show_addresses(console: Console, system: System, session: aiohttp.ClientSession) -> None:
    """Print addresses and commands."""
    console.print("\n[bold]Addresses[/]")
    for service in system.services:
        pages = [page for page in _PAGES if await _answers(session, f"{service.url}{page}")]
        console.print(f"  {service.name:<22}[cyan]{service.url}[/]  [dim]{'  '.join(pages)}[/]", soft_wrap=True)
    console.print(f"  {'redis':<22}[cyan]{system.server.url}[/]", soft_wrap=True)
    console.print(
        "\n[bold]Try it[/]  [dim]paste this into another terminal: stock, an order and what became of it[/]\n"
    )
    for line in commands(system.url("order"), system.url("inventory"), system.url("notification"), system.server.url):
        console.print(line, markup=False, soft_wrap=True)
    console.print("\n[bold]Traces, metrics, logs[/]")
    for line in telemetry(os.environ):
        console.print(f"  {line}", markup=False, soft_wrap=True)
    console.print(
        f"\n[dim]Data and logs are in {system.directory} until Ctrl-C, which stops everything.[/]", soft_wrap=True
    )


def commands(orders: str, inventory: str, notifications: str, redis: str) -> list[str]:
    """Lines for a shell: put stock, order, look, cancel. No comments: zsh would take them for commands."""
    json = "-H content-type:application/json"
    return [
        f"""curl -sS -w '\\n' -X PUT {inventory}/stock/11 {json} \\""",
        """     -d '{"available":39}'""",
        f"""ORDER=$(curl -sS {orders}/orders {json} \\""",
        """     -d '{"items":[{"productId":"11","quantity":12}],"customerId":"VINET"}' | cut -d'"' -f4)""",
        f"curl -sS -w '\\n' {orders}/orders/$ORDER",
        f"""curl -sS -w '\\n' "{notifications}/notifications?orderId=$ORDER\"""",
        f"curl -sS -w '\\n' {inventory}/stock/11",
        f"curl -sS -w '\\n' -X POST {orders}/orders/$ORDER/cancel",
        f"curl -sS -w '\\n' {inventory}/stock/11",
        f"REDIS_URL={redis} .venv/bin/eventcore status",
    ]


def telemetry(environment: Mapping[str, str]) -> list[str]:
    """Where telemetry goes, or how to have it go somewhere."""
    endpoint = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if endpoint:
        return [f"sent to {endpoint} (OTEL_EXPORTER_OTLP_ENDPOINT)"]
    return [
        "metrics are on /metrics, logs on disk; to send all to any OpenTelemetry collector, stop this and run",
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 make up",
        "one, with Jaeger, Prometheus and Grafana beside it, is in compose.yaml:",
        "docker compose up collector jaeger prometheus grafana",
    ]


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    async with session.get(url) as response:
        return response.status == 200
