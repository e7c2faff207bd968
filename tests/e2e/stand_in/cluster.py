"""As much of a cluster as the driver asks for, made of processes on addresses of their own: its pods are real services.

It shows that the driver's commands, its agent and its watch fit together. What Kubernetes itself does with the commands
it can't show.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import secrets
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from demo.processes import Child
from eventcore.testing import Server
from tests.e2e.asking import SERVICES
from tests.e2e.driver import Version
from tests.e2e.kind import agent
from tests.e2e.kind.settings import RELEASE, ROOT
from tests.e2e.proxy import Proxy
from tests.e2e.receiver import SECRET
from tests.e2e.replica import Replica

PORTS = {"order": 8001, "inventory": 8002, "notification": 8003, "redis": 6379}
NODES = ("worker-1", "worker-2")
_GRACE, _PRE_STOP = 30, 1.2


class StandInPod:
    """One pod: a process, and what the API says of it."""

    def __init__(self, component: str, name: str, ip: str, node: str, version: Version = "today") -> None:
        self.component, self.name, self.ip, self.node, self.version = component, name, ip, node, version
        self.replica: Replica | None = None
        self.ready = False
        self.deleted_at: datetime | None = None
        self.ended: dict[str, Any] | None = None
        self.container = secrets.token_hex(32)

    @property
    def content(self) -> dict[str, Any]:
        """The object."""
        metadata: dict[str, Any] = {"name": self.name, "labels": {"app.kubernetes.io/component": self.component}}
        if self.deleted_at is not None:
            due = self.deleted_at + timedelta(seconds=_GRACE)
            metadata |= {"deletionTimestamp": _time(due), "deletionGracePeriodSeconds": _GRACE}
        state = {"terminated": self.ended} if self.ended else {"running": {}}
        status = {"name": self.component, "containerID": f"containerd://{self.container}", "state": state}
        return {
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"nodeName": self.node},
            "status": {"phase": "Running", "podIP": self.ip, "containerStatuses": [status]},
        }


class StandIn:
    """Holds the pods; `pods_changed` is called with every event that a watch would show."""

    def __init__(self, directory: Path, *, replicas: int = 2) -> None:
        self.directory = directory
        self.pods: list[StandInPod] = []
        self.replicas: dict[str, int] = dict.fromkeys(SERVICES, replicas)
        self.versions: dict[str, Version] = dict.fromkeys(SERVICES, "today")
        self.marks: dict[str, str] = {}
        self.agent: Child | None = None
        self.on_event: Callable[[str, StandInPod], None] = lambda kind, pod: None
        net = f"127.{secrets.randbelow(200) + 20}.{secrets.randbelow(250) + 1}"
        self._addresses = (f"{net}.{number}" for number in itertools.count(10))
        self.agent_ip, redis_ip = f"{net}.2", f"{net}.3"
        self.redis_pod = StandInPod("redis", f"{RELEASE}-redis-0", redis_ip, NODES[0])
        self.server = Server(
            directory=directory / "redis", append_only=True, password="pass word", options={"appendfsync": "always"}
        )
        self._proxies: dict[str, Proxy] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def environment(self) -> dict[str, str]:
        """What the agent is told."""
        return {
            "STAND_IN_NAMES": str(self.directory / "names.json"),
            "REDIS_URL": f"redis://{RELEASE}-redis:{PORTS['redis']}/0",
            "REDIS_PASSWORD_FILE": str(self.directory / "password"),
        }

    async def start(self) -> None:
        """Redis, at its Service's address."""
        await asyncio.to_thread(self.server.start)
        _write(self.directory / "password", "pass word")
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        self._front = await Proxy("127.0.0.1", self.server.port, at=(self.redis_pod.ip, PORTS["redis"])).start()
        self.pods.append(self.redis_pod)
        self.redis_pod.ready = True
        self.tell_names()

    async def stop(self) -> None:
        """End everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pod in self.pods:
            if pod.replica is not None:
                await asyncio.to_thread(pod.replica.child.kill)
        if self.agent is not None:
            self.agent.kill()
        for proxy in (self._front, *self._proxies.values()):
            await proxy.stop()
        await self.session.close()
        await asyncio.to_thread(self.server.stop)

    def start_agent(self) -> None:
        """The receiver of webhooks."""
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOST": self.agent_ip}
        self.agent = Child("agent", "tests.e2e.kind.agent", environment, self.directory / "agent.log")

    def of(self, component: str) -> list[StandInPod]:
        """The pods that are to stay."""
        return [pod for pod in self.pods if pod.component == component and pod.deleted_at is None]

    def tell_names(self) -> None:
        """What the names of Services mean now."""
        names = {f"{RELEASE}-{component}": [pod.ip for pod in self.of(component) if pod.ready] for component in PORTS}
        names["e2e-agent"] = [self.agent_ip]
        _write(self.directory / "names.json", json.dumps(names))

    async def reconcile(self, service: str) -> None:
        """As a Deployment does with one pod more than wanted and none missing: new ones first, then old ones go."""
        wanted, mark = self.replicas[service], self.marks.get(service, "")
        old = [pod for pod in self.of(service) if pod.version != self.versions[service] or mark not in pod.name]
        for pod in old[:wanted]:
            await self._add(service)
            await self.delete(pod)
        for pod in old[wanted:]:
            await self.delete(pod)
        await asyncio.gather(*(self._add(service) for _ in range(wanted - len(self.of(service)))))
        await asyncio.gather(*(self.delete(pod) for pod in self.of(service)[wanted:]))

    async def delete(self, pod: StandInPod) -> None:
        """Take it out of its Service, then ask it to end."""
        pod.deleted_at, pod.ready = datetime.now(UTC), False
        self.tell_names()
        self.on_event("MODIFIED", pod)
        await asyncio.sleep(_PRE_STOP)  # requests that were on the way to it arrive, late news of names among them
        assert pod.replica is not None
        ended = await pod.replica.retire()
        pod.ended = {"exitCode": ended.status, "finishedAt": _time(datetime.now(UTC))}
        self.pods.remove(pod)
        self.on_event("DELETED", pod)

    async def evict(self, pod: StandInPod, *, onto: str) -> None:
        """Have another one elsewhere once this one has gone: its budget allows one to be missing."""
        gone = asyncio.create_task(self.delete(pod))
        await self._add(pod.component, onto)
        await gone

    async def signal(self, container: str, number: int) -> bool:
        """To a container's first process; false if there is none. What is killed is started again."""
        pod = next((pod for pod in self.pods if pod.container == container), None)
        if pod is None:
            return False
        if pod is self.redis_pod:
            assert number == signal.SIGKILL
            await asyncio.to_thread(self.server.kill)
        elif pod.replica is not None:
            if number == signal.SIGKILL:
                await asyncio.to_thread(pod.replica.child.kill)
            else:
                pod.replica.signal(signal.Signals(number))
        if number == signal.SIGKILL:
            pod.container, pod.ready = secrets.token_hex(32), False
            self.begin(self._again(pod))
        return True

    def scale_redis(self, replicas: int) -> None:
        """Take its only pod away, or bring it back."""
        there = self.redis_pod in self.pods
        if there and not replicas:
            self.pods.remove(self.redis_pod)
            self.on_event("DELETED", self.redis_pod)
            self.begin(asyncio.to_thread(self.server.kill))
        elif replicas and not there:
            self.pods.append(self.redis_pod)
            self.on_event("ADDED", self.redis_pod)
            self.begin(self._again(self.redis_pod))

    def route(self, container: str, *, cut: bool) -> None:
        """Cut a pod from Redis, or mend that."""
        pod = next(pod for pod in self.pods if pod.container == container)
        proxy = self._proxies[pod.name]
        (proxy.cut if cut else proxy.mend)()

    async def _again(self, pod: StandInPod) -> None:
        """The kubelet starts a container that has ended."""
        await asyncio.sleep(0.5)
        if pod is self.redis_pod:
            await asyncio.to_thread(self.server.start)
        else:
            await self._run(pod)
        pod.ready = True
        self.tell_names()
        self.on_event("MODIFIED", pod)

    async def _add(self, service: str, node: str = "") -> None:
        name = f"{RELEASE}-{service}-{self.marks.get(service, '')}{secrets.token_hex(4)}"
        spread = NODES[len(self.of(service)) % len(NODES)]
        pod = StandInPod(service, name, next(self._addresses), node or spread, self.versions[service])
        self._proxies[name] = await Proxy("127.0.0.1", self.server.port).start()
        self.pods.append(pod)
        self.on_event("ADDED", pod)
        await self._run(pod)
        pod.ready = True
        self.tell_names()
        self.on_event("MODIFIED", pod)

    async def _run(self, pod: StandInPod) -> None:
        settings = {
            "REDIS_URL": f"redis://127.0.0.1:{self._proxies[pod.name].port}/0",
            "REDIS_PASSWORD": "pass word",
            "MANAGEMENT_PORT": "9090",
        }
        if pod.component == "notification":
            settings |= {"WEBHOOK_URL": f"http://{self.agent_ip}:{agent.PORT}/webhooks", "WEBHOOK_SECRET": SECRET}
        address = (pod.ip, PORTS[pod.component])
        pod.replica = Replica(pod.component, pod.name, pod.version, settings, self.directory, address=address)
        await pod.replica.ready(self.session)

    def begin(self, work: Any) -> None:
        """Do it beside."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _write(path: Path, text: str) -> None:
    """At once, for others read it at any moment."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
