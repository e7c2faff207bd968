"""The driver for Kubernetes: the chart on a real cluster, by helm and kubectl, and hands on its nodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.asking import SERVICES, Answer, NoAnswer
from tests.e2e.driver import Broken, Exit, Kind, Layout, Pace, Version, Webhook
from tests.e2e.stage import until
from tests.e2e.streams import RedisProblem

from . import agent, manifests
from .hands import Hands
from .installation import PATIENCE, Installation
from .pods import Pod, Pods
from .relay import AgentProblem, Relay
from .settings import RELEASE
from .tools import Tools

_PORTS = {"order": 8001, "inventory": 8002, "notification": 8003}
_MANAGEMENT_PORT = 9090


class Cluster:
    """One release in one namespace, installed once; scenarios bring it to their layouts one after another."""

    kind: Kind = "kind"
    pace = Pace(
        rate=20, orders=200, cut_seconds=10, down_seconds=60, outage_seconds=20, answer_seconds=2, settle_seconds=120
    )

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.pods = Pods(tools)
        self.hands = Hands(tools)
        self.installation = Installation(tools)
        self._settings = tools.settings
        self._relay = Relay(tools)
        self._ahead = 0.0
        self._webhooks_before = 0
        self._exits_before = 0

    # Starting and stopping

    async def start(self, layout: Layout) -> None:
        """Install the release the first time; then bring it to the layout."""
        if not self.installation.present:
            await self.installation.install()
            self.pods.start()
            self._ahead = await self._clock_ahead()
        if self.installation.versions != dict.fromkeys(SERVICES, layout.version):
            await self.upgrade(SERVICES, layout.version)
        for service in SERVICES:
            await self.scale(service, layout.replicas(service))
        await self.slow_webhooks(0)
        self._webhooks_before += len(await self.webhooks())
        self._exits_before = len(self.pods.exits)

    async def stop(self) -> Sequence[str]:
        """The release stays for the next scenario."""
        return ()

    async def leave(self) -> None:
        """Look no more, and leave everything as it is."""
        await self._relay.close()
        await self.pods.stop()

    async def remove(self) -> None:
        """Take away all that was installed."""
        await self.leave()
        await self.hands.remove()
        await self.installation.remove()

    # Asking

    @property
    def exits(self) -> Sequence[Exit]:
        """Of pods that were deleted."""
        return self.pods.exits[self._exits_before :]

    def now(self) -> float:
        """The clock of the agent's node."""
        return time.time() + self._ahead

    async def request(
        self, service: str, method: str, path: str, *, json: Any = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """Ask the Service, from inside the cluster."""
        url = f"http://{RELEASE}-{service}:{_PORTS[service]}{path}"
        return await self._http(method, url, json=json, headers=dict(headers))

    async def ask(self, replica: str, path: str) -> Answer:
        """Ask a pod at its own address, where it shows how it is."""
        return await self._http("GET", f"http://{self._pod(replica).ip}:{_MANAGEMENT_PORT}{path}")

    async def redis(self, *command: str | int) -> Any:
        """Run a command, as the agent."""
        try:
            return await self._relay.ask("redis", command=command)
        except (NoAnswer, AgentProblem) as error:
            raise RedisProblem(f"{command[0]}: {error}") from error

    async def replicas(self, service: str) -> list[str]:
        """The pods that are to stay."""
        return [pod.name for pod in self.pods.of(service)]

    async def _clock_ahead(self) -> float:
        """How far the agent's clock is ahead of ours: as the quickest of some answers has it."""
        best = (float("inf"), 0.0)
        for _ in range(5):
            before = time.time()
            there = await self._relay.ask("time")
            after = time.time()
            best = min(best, (after - before, there - (before + after) / 2))
        return best[1]

    async def _http(self, method: str, url: str, **details: Any) -> Answer:
        try:
            answer = await self._relay.ask("http", method=method, url=url, **details)
        except AgentProblem as error:
            raise NoAnswer(str(error)) from error
        return Answer(answer["status"], answer["content"], answer["headers"])

    def _pod(self, name: str) -> Pod:
        pod = self.pods.present.get(name)
        if pod is None or not pod.ip:
            raise NoAnswer(f"{name} is gone")
        return pod

    # Scaling and upgrading

    async def scale(self, service: str, replicas: int) -> None:
        """By `kubectl scale`, once all are ready that there are."""
        await self.installation.rolled_out(service)
        await self.tools.kubectl("scale", f"deployment/{RELEASE}-{service}", f"--replicas={replicas}")
        await self.installation.rolled_out(service)
        await self._gone(service, replicas)

    async def upgrade(self, services: Sequence[str], version: Version) -> None:
        """By `helm upgrade`; return when the old pods have gone."""
        self.installation.versions |= dict.fromkeys(services, version)
        counts = {service: len(self.pods.of(service)) for service in services}
        await self.installation.upgrade()
        for service, count in counts.items():
            await self.installation.rolled_out(service)
            await self._gone(service, count)

    async def _gone(self, service: str, left: int) -> None:
        async def done() -> bool:
            leaving = [name for name in self.pods.leaving() if self.pods.present[name].component == service]
            return not leaving and len(self.pods.of(service)) == left

        await until(done, what=f"{left} pods of {service} are left", timeout=PATIENCE)

    # Doing harm

    async def pause(self, replica: str) -> None:
        """SIGSTOP to the container's first process."""
        await self._signal(replica, "STOP")

    async def resume(self, replica: str) -> None:
        """SIGCONT to the same."""
        await self._signal(replica, "CONT")

    async def kill(self, replica: str) -> None:
        """SIGKILL to it: Kubernetes starts the container again, under the same name."""
        await self._signal(replica, "KILL")

    async def kill_redis(self) -> None:
        """The same to Redis."""
        await self._signal(f"{RELEASE}-redis-0", "KILL")

    async def _signal(self, name: str, signal: str) -> None:
        async def sent() -> bool:
            pod = Pod(await self.tools.get(f"pod/{name}"))
            return pod.running and await self.hands.signal(pod, signal)

        # A container that has just been started again is told of a moment later.
        await until(sent, what=f"{name} runs, and gets SIG{signal}", timeout=PATIENCE)

    async def take_redis_away(self) -> None:
        """By `kubectl scale`: Kubernetes would start it again."""
        await self.tools.kubectl("scale", f"statefulset/{RELEASE}-redis", "--replicas=0")

        async def away() -> bool:
            return not self.pods.of("redis")

        await until(away, what="Redis has gone", timeout=PATIENCE)

    async def start_redis(self) -> None:
        """Kubernetes starts it by itself where it was killed, after a second death only when ten seconds are over."""
        await self.tools.kubectl("scale", f"statefulset/{RELEASE}-redis", "--replicas=1")

        async def answers() -> bool:
            return bool(await self.redis("PING"))

        await until(answers, what="Redis answers", timeout=PATIENCE)

    async def cut(self, service: str) -> None:
        """By a route into nothing in each pod: connections that there are fall silent, new ones fail."""
        await self._routes("cut", service)

    async def mend(self, service: str) -> None:
        """By taking it away."""
        await self._routes("mend", service)

    async def _routes(self, what: str, service: str) -> None:
        redis = await self.tools.get(f"service/{RELEASE}-redis")
        address = redis["spec"]["clusterIP"]
        await asyncio.gather(*(self.hands.route(what, pod, address) for pod in self.pods.of(service)))

    async def stranger(self) -> str:
        """A pod of the same namespace that may talk to the order service, and must not to Redis."""
        name = manifests.STRANGER_NAME
        await self.tools.apply("stranger", manifests.stranger_pod(self._settings))
        await self.installation.ready(f"pod/{name}")

        async def knock(component: str, port: int) -> str:
            door = [f"{RELEASE}-{component}", str(port)]
            return (await self.tools.kubectl("exec", name, "--", "python", "/code/agent.py", "knock", *door)).strip()

        async def refused() -> str:
            said = await knock("redis", 6379)
            return said if said.startswith("closed") else ""

        # A new pod is known to those who enforce NetworkPolicies a moment later.
        said = await until(refused, what="a pod without leave can't connect to Redis")
        assert await knock("order", _PORTS["order"]) == "open", "the stranger can't connect to anything at all"
        await self.tools.kubectl("delete", "pod", name, "--wait=false")
        return f"{said} by NetworkPolicy"

    # Webhooks and artefacts

    async def slow_webhooks(self, seconds: float) -> None:
        """By the agent's receiver."""
        await self._http("PUT", f"http://{manifests.AGENT_NAME}:{agent.PORT}/delay", json={"seconds": seconds})

    async def webhooks(self) -> Sequence[Webhook]:
        """What that has received."""
        url = f"http://{manifests.AGENT_NAME}:{agent.PORT}/webhooks?after={self._webhooks_before}"
        return [Webhook(*each) for each in (await self._http("GET", url)).content]

    async def keep_artefacts(self, directory: Path) -> None:
        """Descriptions, events, and the logs of all containers, the previous ones too."""
        commands = {
            "objects.yaml": ["get", "all,networkpolicy,pdb,pvc", "-o", "yaml"],
            "describe.txt": ["describe", "pods"],
            "events.txt": ["get", "events", "--sort-by=.lastTimestamp"],
            "nodes.txt": ["describe", "nodes"],
        }
        for pod in self.pods.present.values():
            commands[f"{pod.name}.log"] = ["logs", pod.name, "--all-containers"]
            commands[f"{pod.name}.previous.log"] = ["logs", pod.name, "--all-containers", "--previous"]
        for name, command in commands.items():
            try:
                said = await self.tools.kubectl(*command, quiet=True)
            except Broken as error:  # most pods have no previous container
                said = str(error)
            await asyncio.to_thread((directory / name).write_text, said)
