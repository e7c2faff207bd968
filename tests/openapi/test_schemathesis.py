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
from libs.contracts.tests.programs import PROGRAMS, running_shop

ROOT = Path(__file__).parents[2]
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES")
SEEN: tuple[Event, ...] = (
    OrderCreated(order_id="seen-before", items=(Line(product_id="11", quantity=1),)),
    InventoryReserved(order_id="seen-before", items=(Line(product_id="11", quantity=1),), email="a@b.c"),
)


@pytest.mark.timeout(10 * PATIENCE if EXAMPLES is None else 0)
@pytest.mark.parametrize("program", PROGRAMS)
async def test_schemathesis_finds_nothing(program: str, tmp_path: Path) -> None:
    with Server() as server:
        async with Store(Settings(redis_url=server.url), source="test") as store:
            for event in SEEN:
                await store.publish(event)
        async with running_shop(server.url, [program]) as shop:
            [(_, port)] = shop.processes.values()
            await run_schemathesis(f"http://127.0.0.1:{port}/openapi.json", tmp_path)


async def run_schemathesis(document: str, directory: Path) -> None:
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
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
