"""Schemathesis finds nothing in any service: what the OpenAPI document promises is what the running program does.

It tries what the document allows and what it forbids, on every operation and along the links from one to the next.
`SCHEMATHESIS_EXAMPLES=500` looks for longer, and elsewhere each time.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from contracts import InventoryReserved, Line, OrderCreated
from eventcore import Event, Settings, Store
from eventcore.testing import Server
from libs.contracts.tests.calling import PATIENCE
from libs.contracts.tests.programs import running_shop
from libs.eventcore.tests.tokens import AUDIENCE, ISSUER, Provider
from tests.e2e.asking import SERVICES

ROOT = Path(__file__).parents[2]
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES")
SEEN: tuple[Event, ...] = (
    OrderCreated(order_id="seen-before", items=(Line(product_id="11", quantity=1),)),
    InventoryReserved(order_id="seen-before", items=(Line(product_id="11", quantity=1),), email="a@b.c"),
)


@pytest.mark.timeout(10 * PATIENCE if EXAMPLES is None else 0)
@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("tokens", [False, True], ids=["open", "with tokens"])
async def test_schemathesis_finds_nothing(service: str, tokens: bool, tmp_path: Path) -> None:
    settings, token = asking_for_tokens(tmp_path) if tokens else ({}, "none")
    with Server() as server:
        async with Store(Settings(redis_url=server.url), source="test") as store:
            for event in SEEN:
                await store.publish(event)
        async with running_shop(server.url, tmp_path, [service], **settings) as shop:
            await run_schemathesis(f"{shop.replicas[service].url}/openapi.json", tmp_path, token)


def asking_for_tokens(directory: Path) -> tuple[dict[str, str], str]:
    """A program's settings to ask for tokens, and one that grants all scopes."""
    provider = Provider()
    token = provider.token("orders:write", "orders:read", "stock:write", "stock:read", "notifications:read")
    keys = provider.write(directory / "keys.json")
    settings = {"AUTH_JWKS": str(keys), "AUTH_ISSUER": ISSUER, "AUTH_AUDIENCE": AUDIENCE}
    return settings, token


async def run_schemathesis(document: str, directory: Path, token: str) -> None:
    """Run it in a directory of its own, because it keeps notes there."""
    how = ["--generation-deterministic", "--max-examples=12"] if EXAMPLES is None else [f"--max-examples={EXAMPLES}"]
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "schemathesis.cli",
            "--config-file",
            str(CONFIGURATION),
            "run",
            "--no-color",
            *how,
            document,
        ),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TOKEN": token},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
