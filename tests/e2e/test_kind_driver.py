"""The driver for Kubernetes on its stand-in: commands, agent, relay and watch fit together."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e import catalogue, report
from tests.e2e.asking import NoAnswer
from tests.e2e.kind.driver import Cluster
from tests.e2e.kind.relay import AgentProblem, Relay
from tests.e2e.kind.settings import Settings
from tests.e2e.kind.tools import Tools
from tests.e2e.running import run
from tests.e2e.stand_in.api import Api
from tests.e2e.stand_in.cluster import StandIn

Play = Callable[[str], Awaitable[report.Row]]

pytestmark = pytest.mark.timeout(180)


@pytest_asyncio.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """A stand-in, and what was asked of it."""
    cluster = StandIn(tmp_path, replicas=1)
    await cluster.start()
    api = Api(cluster)
    socket = tmp_path / "socket"
    await api.serve(socket)
    for name, value in {**cluster.environment, "STAND_IN": str(socket)}.items():
        monkeypatch.setenv(name, value)
    for module in ("installation", "tools"):
        monkeypatch.setattr(f"tests.e2e.kind.{module}.WORK", tmp_path)
    yield api
    await api.stop()
    await cluster.stop()


@pytest.fixture
def tools() -> Tools:
    """The programs that speak to it."""
    program = f"{sys.executable} {Path(__file__).parent}/stand_in/command.py"
    return Tools(Settings(helm=program, kubectl=program, context="stand-in", image_tag="1"))


@pytest_asyncio.fixture
async def play(api: Api, tools: Tools, tmp_path: Path) -> AsyncIterator[Play]:
    """Play a scenario, with few orders."""
    cluster = Cluster(tools)
    # The stand-in has no probes to wait for, and shares its two cores with other tests.
    cluster.pace = replace(cluster.pace, outage_seconds=3, answer_seconds=5)

    async def play(name: str) -> report.Row:
        [scenario] = catalogue.on("kind", (name,))
        return await run(cluster, scenario, tmp_path / "artefacts", orders=40)

    yield play
    await cluster.remove()


async def test_install_kill_and_upgrade(play: Play, api: Api) -> None:
    for name in ("S0", "S3", "S5"):
        row = await play(name)
        assert row.good, report.table([row])
        assert row.accepted >= 40
    verbs = [command[command.index("--namespace") + 2] for command in api.commands if command[0] == "--context"]
    assert {"apply", "wait", "rollout", "scale", "get", "exec"} <= set(verbs)


async def test_a_relay_that_breaks_is_begun_anew(api: Api, tools: Tools) -> None:
    relay = Relay(tools)
    assert abs(await relay.ask("time") - time.time()) < 5
    assert await relay.ask("redis", command=["PING"]) == "PONG"
    with pytest.raises(AgentProblem, match="unknown command"):
        await relay.ask("redis", command=["NO-SUCH-COMMAND"])
    slow = asyncio.create_task(relay.ask("redis", command=["BLPOP", "nothing", 4]))
    await asyncio.wait([slow], timeout=0.1)
    assert relay.process is not None
    relay.process.kill()
    with pytest.raises(NoAnswer, match="the relay broke"):
        await slow
    assert await relay.ask("redis", command=["PING"]) == "PONG"
    await relay.close()


async def test_a_service_that_is_out_of_reach_is_no_answer(api: Api, tools: Tools) -> None:
    cluster = Cluster(tools)
    with pytest.raises(NoAnswer, match="no endpoints for shop-order"):
        await cluster.request("order", "GET", "/orders/1")
    with pytest.raises(NoAnswer, match="shop-order-1 is gone"):
        await cluster.ask("shop-order-1", "/readyz")
    await cluster.leave()
