"""Hands on the nodes of a cluster: privileged pods in a namespace of their own, made when they are first needed."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.e2e.driver import Broken

from . import manifests
from .hand import NO_SUCH_PROCESS
from .pods import Pod
from .tools import Tools

_SCRIPT = Path(__file__).with_name("hand.py")


class Hands:
    """One on each node that harm is to be done on."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._namespace = tools.settings.hands_namespace
        self._ready: set[str] = set()
        self._making = asyncio.Lock()

    async def signal(self, pod: Pod, name: str) -> bool:
        """Send SIG`name` to the first process of a pod's container; false if that has ended meanwhile."""
        number = signal.Signals[f"SIG{name}"].value
        try:
            await self._do(pod, "signal", pod.container, str(number))
        except Broken as error:
            if NO_SUCH_PROCESS in str(error):
                return False
            raise
        return True

    async def route(self, what: str, pod: Pod, address: str) -> None:
        """`cut` a pod's network from an address, or `mend` it."""
        await self._do(pod, what, pod.container, address)

    async def withdraw(self, node: str) -> None:
        """Take the hand away from a node: nobody but us would start it elsewhere."""
        self._ready.discard(node)
        pod = f"pod/{manifests.hand_name(node)}"
        await self._tools.kubectl("delete", pod, "--ignore-not-found", namespace=self._namespace)

    async def remove(self) -> None:
        """Take all of them away."""
        if self._ready:
            await self._tools.kubectl("delete", "namespace", self._namespace, "--ignore-not-found")

    async def _do(self, pod: Pod, *what: str) -> None:
        async with self._making:
            if pod.node not in self._ready:
                await self._make(pod.node)
        hand = manifests.hand_name(pod.node)
        command = self._tools.kubectl_command("exec", "-i", hand, "--", "python", "-", *what, namespace=self._namespace)
        await self._tools.run(command, stdin=_SCRIPT)

    async def _make(self, node: str) -> None:
        name = manifests.hand_name(node)
        await self._tools.apply("hands", manifests.namespace(self._namespace, "privileged"))
        await self._tools.apply(name, manifests.hand_pod(self._tools.settings, node), namespace=self._namespace)
        wait = ["wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s"]
        await self._tools.kubectl(*wait, namespace=self._namespace)
        self._ready.add(node)
