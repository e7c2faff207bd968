"""The system's pods, watched: which there are, and how those ended that were asked to."""

from __future__ import annotations

import asyncio
import codecs
import json
from asyncio.subprocess import DEVNULL
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.e2e.driver import Broken, Exit
from tests.e2e.shop import seconds

from .settings import RELEASE
from .tools import Tools

_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as the API has it."""

    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name, which is its consumer's name."""
        return str(self.content["metadata"]["name"])

    @property
    def component(self) -> str:
        """Which service it is of, or `redis`, or `test`."""
        return str(self.content["metadata"].get("labels", {}).get("app.kubernetes.io/component", ""))

    @property
    def node(self) -> str:
        """Where it runs."""
        return str(self.content["spec"].get("nodeName", ""))

    @property
    def ip(self) -> str:
        """Its address; empty as long as it has none."""
        return str(self.content["status"].get("podIP", ""))

    @property
    def leaving(self) -> bool:
        """Whether it was asked to end."""
        return "deletionTimestamp" in self.content["metadata"]

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.content["status"].get("phase") in ("Succeeded", "Failed")

    @property
    def container(self) -> str:
        """The id of its container as the node has it; empty as long as there is none."""
        return str(self._status.get("containerID", "")).rpartition("//")[2]

    @property
    def running(self) -> bool:
        """Whether its container runs."""
        return "running" in self._status.get("state", {})

    @property
    def exit(self) -> Exit | None:
        """How it ended that was asked to; the status is `None` where that was not seen."""
        if not self.leaving:
            return None
        metadata = self.content["metadata"]
        due = seconds(metadata["deletionTimestamp"])
        asked = due - metadata.get("deletionGracePeriodSeconds", 0)
        if not (ended := self._status.get("state", {}).get("terminated")):
            return Exit(self.name, None, 0.0, in_time=False)
        took = seconds(ended["finishedAt"]) - asked
        # The API's times are whole seconds.
        return Exit(self.name, ended["exitCode"], took, in_time=seconds(ended["finishedAt"]) <= due + 1)

    @property
    def _status(self) -> Mapping[str, Any]:
        statuses: Sequence[Mapping[str, Any]] = self.content["status"].get("containerStatuses", [])
        return next((each for each in statuses if each["name"] == self.component), {})


class Pods:
    """Follows `kubectl get pods --watch`, begun anew whenever it ends."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.present: dict[str, Pod] = {}
        self.exits: list[Exit] = []
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="pods")

    async def stop(self) -> None:
        """Watch no more."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def of(self, component: str) -> list[Pod]:
        """The pods of a service that are to stay, by name."""
        chosen = [pod for pod in self.present.values() if pod.component == component]
        return sorted((pod for pod in chosen if not pod.leaving and not pod.over), key=lambda pod: pod.name)

    def leaving(self) -> list[str]:
        """The pods that are about to end."""
        return [pod.name for pod in self.present.values() if pod.leaving]

    def see(self, kind: str, content: Mapping[str, Any]) -> None:
        """One event of the watch."""
        pod = Pod(content)
        if kind == "DELETED":
            self.present.pop(pod.name, None)
            if (ended := pod.exit) is not None and pod.component != "test":
                self.exits.append(ended)
        elif kind in ("ADDED", "MODIFIED"):
            self.present[pod.name] = pod

    async def _watch(self) -> None:
        selector = f"app.kubernetes.io/instance={RELEASE}"
        command = ("get", "pods", "-l", selector, "--watch", "--output-watch-events", "-o", "json")
        while True:
            with suppress(Broken):
                # The watch begins with all that there are, but does not name what has gone since the last one.
                there = (await self._tools.get("pods", "-l", selector))["items"]
                self.present = {pod.name: pod for pod in map(Pod, there)}
                process = await self._tools.spawn(self._tools.kubectl_command(*command), stdin=DEVNULL)
                try:
                    await self._follow(process)
                finally:
                    if process.returncode is None:
                        process.kill()
                    await process.wait()
            await asyncio.sleep(1)

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        complaints = asyncio.create_task(process.stderr.read())
        decoder, text = codecs.getincrementaldecoder("utf-8")(), ""
        while chunk := await process.stdout.read(_CHUNK):
            text += decoder.decode(chunk)
            events, text = documents(text)
            for event in events:
                self.see(event["type"], event["object"])
        print(f"  the watch of pods ended, and begins anew: {(await complaints).decode().strip()}", flush=True)


def documents(text: str) -> tuple[list[dict[str, Any]], str]:
    """The JSON documents that a text begins with, one after another, and what is left."""
    found, rest = list(_documents(text)), text
    if found:
        rest = text[found[-1][1] :]
    return [document for document, _ in found], rest


def _documents(text: str) -> Iterator[tuple[dict[str, Any], int]]:
    at, decoder = 0, json.JSONDecoder()
    while True:
        at += len(text[at:]) - len(text[at:].lstrip())
        try:
            document, at = decoder.raw_decode(text, at)
        except ValueError:
            return
        yield document, at
