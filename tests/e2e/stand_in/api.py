"""The stand-in's answers to command lines of kubectl and helm, served on a socket to `command.py`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from eventcore.testing import until
from tests.e2e.asking import SERVICES
from tests.e2e.kind.hand import NO_SUCH_PROCESS
from tests.e2e.kind.settings import RELEASE

from .cluster import NODES, StandIn, StandInPod

Say = Callable[[str], None]


class Refused(Exception):
    """The command ends with status 1, saying this."""


class Api:
    """Understands exactly the command lines that the driver writes; any other is refused."""

    def __init__(self, cluster: StandIn) -> None:
        self.cluster = cluster
        self.commands: list[list[str]] = []
        self._watches: set[asyncio.Queue[tuple[str, StandInPod]]] = set()
        self._namespaces: set[str] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        cluster.on_event = self._spread

    async def serve(self, path: Path) -> None:
        """Answer at this socket."""
        self._server = await asyncio.start_unix_server(self._accept, path)

    async def stop(self) -> None:
        """Answer no more; watches end."""
        self._server.close()
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        task = asyncio.create_task(self._answer(reader, writer))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)
        task.add_done_callback(lambda _: writer.close())

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(text: str) -> None:
            writer.write(json.dumps({"text": text}).encode() + b"\n")

        line = await reader.readline()
        if not line:  # whoever asked was killed before it could
            return
        arguments = json.loads(line)
        self.commands.append(arguments)
        complaint = ""
        try:
            await self._do(_without_flags(arguments), say, writer)
        except Refused as refusal:
            complaint = f"{refusal}\n"
        except ConnectionError:  # a watch that nobody looks at any more
            return
        finally:
            writer.write(json.dumps({"status": bool(complaint), "complaint": complaint}).encode() + b"\n")

    async def _do(self, command: Sequence[str], say: Say, writer: asyncio.StreamWriter) -> None:
        match command:
            case ["get", "pods", *_] if "--watch" in command:
                await self._watch(writer)
            case ["get", *rest]:
                say(self._get(rest))
            case ["apply", "-f", path]:
                self._apply(json.loads(await asyncio.to_thread(Path(path).read_text)))
            case ["scale", what, replicas]:
                self._scale(what, int(replicas.removeprefix("--replicas=")))
            case ["rollout", "status", deployment, _]:
                await self._rolled_out(deployment.removeprefix(f"deployment/{RELEASE}-"))
            case ["exec", *rest]:
                say(await self._exec(rest))
            case ["drain", node, *_]:
                await self._drain(node)
            case ["upgrade", "--install", *rest]:
                await self._helm_upgrade(rest[rest.index("-f") + 1])
            case ["version" | "wait" | "delete" | "uncordon" | "describe" | "logs" | "test" | "uninstall", *_]:
                say(f"{command[0]}: done\n")
            case _:
                raise Refused(f"the stand-in does not understand: {command}")

    def _scale(self, what: str, replicas: int) -> None:
        if what == f"statefulset/{RELEASE}-redis":
            self.cluster.scale_redis(replicas)
            return
        service = what.removeprefix(f"deployment/{RELEASE}-")
        self.cluster.replicas[service] = replicas
        self.cluster.begin(self.cluster.reconcile(service))

    def _get(self, what: Sequence[str]) -> str:
        cluster = self.cluster
        counts = {service: len(cluster.of(service)) for service in SERVICES}
        named: dict[str, Any] = {f"pod/{pod.name}": pod.content for pod in cluster.pods}
        named |= {
            "pods": {"items": [pod.content for pod in cluster.pods]},
            "nodes": {"items": [{"metadata": {"name": name}, "spec": {}} for name in NODES]},
            "pod/e2e-agent": {"spec": {"nodeName": NODES[0]}},
            f"service/{RELEASE}-redis": {"spec": {"clusterIP": cluster.redis_pod.ip}},
            "pdb": {"items": [_budget(service, count, cluster) for service, count in counts.items()]},
        }
        for service in SERVICES:
            annotations = {"e2e/mark": cluster.marks.get(service, "")}
            template = {"metadata": {"annotations": annotations}}
            named[f"deployment/{RELEASE}-{service}"] = {
                "spec": {"replicas": cluster.replicas[service], "template": template}
            }
        if what[0].startswith("namespace/"):
            return "Active" if what[0].removeprefix("namespace/") in self._namespaces else ""
        if what[0] not in named and what[0].startswith("pod/"):
            raise Refused(f"pods {what[0]} not found")
        return json.dumps(named.get(what[0], {"items": []}))

    def _apply(self, content: dict[str, Any]) -> None:
        for item in content["items"]:
            name = item["metadata"]["name"]
            if name == "e2e-privileged":
                raise Refused(f'pods "{name}" is forbidden: violates PodSecurity "restricted:latest": privileged')
            if item["kind"] == "Namespace":
                self._namespaces.add(name)
            if name == "e2e-agent" and item["kind"] == "Pod":
                self.cluster.start_agent()

    async def _rolled_out(self, service: str) -> None:
        def all_ready() -> bool:
            pods = self.cluster.of(service)
            return len(pods) >= self.cluster.replicas[service] and all(pod.ready for pod in pods)

        await until(all_ready, timeout=300, what=f"{service} is rolled out")

    async def _exec(self, what: Sequence[str]) -> str:
        match what:
            case ["-i", _, "--", "python", "-", "signal", container, number]:
                if not await self.cluster.signal(container, int(number)):
                    raise Refused(f"{NO_SUCH_PROCESS} {container} on this node")
            case ["-i", _, "--", "python", "-", "cut" | "mend" as how, container, _]:
                self.cluster.route(container, cut=how == "cut")
            case [_, "--", "python", "/code/agent.py", "knock", door, _]:
                return "closed: TimeoutError\n" if door.endswith("redis") else "open\n"
            case _:
                raise Refused(f"the stand-in does not understand: exec {what}")
        return ""

    async def _drain(self, node: str) -> None:
        for pod in [pod for pod in self.cluster.pods if pod.node == node and pod is not self.cluster.redis_pod]:
            await self.cluster.evict(pod, onto=next(each for each in NODES if each != node))

    async def _helm_upgrade(self, path: str) -> None:
        content = json.loads(await asyncio.to_thread(Path(path).read_text))
        for service in SERVICES:
            own = content["services"].get(service, {})
            told = {each["name"]: each["value"] for each in own.get("extraEnv", [])}
            self.cluster.versions[service] = told.get("E2E_VERSION", "today")
            self.cluster.marks[service] = own.get("podAnnotations", {}).get("e2e/mark", "")
        await asyncio.gather(*(self.cluster.reconcile(service) for service in SERVICES))

    async def _watch(self, writer: asyncio.StreamWriter) -> None:
        events: asyncio.Queue[tuple[str, StandInPod]] = asyncio.Queue()
        for pod in self.cluster.pods:
            events.put_nowait(("ADDED", pod))
        self._watches.add(events)
        try:
            while True:
                kind, pod = await events.get()
                document = json.dumps({"type": kind, "object": pod.content}, indent=4) + "\n"
                writer.write(json.dumps({"text": document}).encode() + b"\n")
                await writer.drain()
        finally:
            self._watches.discard(events)

    def _spread(self, kind: str, pod: StandInPod) -> None:
        for watch in self._watches:
            watch.put_nowait((kind, pod))


def _budget(service: str, count: int, cluster: StandIn) -> dict[str, Any]:
    healthy = sum(pod.ready for pod in cluster.of(service))
    status = {"expectedPods": cluster.replicas[service], "currentHealthy": healthy}
    return {"metadata": {"name": f"{RELEASE}-{service}"}, "spec": {"maxUnavailable": 1}, "status": status}


def _without_flags(arguments: Sequence[str]) -> list[str]:
    """The command itself: where it goes to is the same for all."""
    left = list(arguments)
    for flag in ("--context", "--kube-context", "--namespace"):
        while flag in left:
            at = left.index(flag)
            del left[at : at + 2]
    return left
