"""Running helm, kubectl and kind: every command is printed so that it can be pasted, with what came of it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.driver import Broken

from .settings import WORK, Settings

_LONGEST_LINE = 64 * 1024 * 1024


class Tools:
    """The programs, told which cluster and namespace they work on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.context = settings.context
        self._environment: dict[str, str] = {}

    def use(self, context: str, kubeconfig: Path) -> None:
        """Work on the cluster that was made for us."""
        self.context, self._environment = context, {"KUBECONFIG": str(kubeconfig)}

    async def kubectl(self, *arguments: str, namespace: str | None = None, **options: Any) -> str:
        """Run kubectl in the system's namespace, or in another; what it has printed."""
        return await self.run(self.kubectl_command(*arguments, namespace=namespace), **options)

    def kubectl_command(self, *arguments: str, namespace: str | None = None) -> list[str]:
        """The whole command line."""
        where = ["--context", self.context, "--namespace", namespace or self.settings.namespace]
        return [*shlex.split(self.settings.kubectl), *where, *arguments]

    async def get(self, *arguments: str, namespace: str | None = None) -> Any:
        """What `kubectl get` says, as JSON."""
        return json.loads(await self.kubectl("get", *arguments, "-o", "json", namespace=namespace, quiet=True))

    async def apply(self, name: str, *manifests: Mapping[str, Any], namespace: str | None = None) -> str:
        """Apply manifests, from a file that stays."""
        path = WORK / "manifests" / f"{name}.json"
        content = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        await asyncio.to_thread(_write, path, json.dumps(content, indent=2))
        return await self.kubectl("apply", "-f", str(path), namespace=namespace)

    async def helm(self, *arguments: str) -> str:
        """Run helm in the system's namespace."""
        where = ["--kube-context", self.context, "--namespace", self.settings.namespace]
        return await self.run([*shlex.split(self.settings.helm), *arguments, *where])

    async def kind(self, *arguments: str) -> str:
        """Run kind."""
        return await self.run([*shlex.split(self.settings.kind), *arguments])

    async def run(
        self, command: Sequence[str], *, quiet: bool = False, stdin: Path | None = None, more: Mapping[str, str] = {}
    ) -> str:
        """Run a command to its end; its standard output. Raises `Broken` with its standard error.

        `quiet` ones are printed without what they say.
        """
        written = shlex.join(command) + (f" < {stdin}" if stdin else "")
        print(f"$ {written}", flush=True)
        content = await asyncio.to_thread(stdin.read_bytes) if stdin else None
        process = await self.spawn(command, stdin=PIPE if stdin else DEVNULL, more=more)
        try:
            out, err = await process.communicate(content)
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        said, complained = out.decode(errors="replace"), err.decode(errors="replace")
        if not quiet:
            _show(said)
        _show(complained)
        if process.returncode:
            raise Broken(f"{written}\nended with status {process.returncode}: {complained.strip() or said.strip()}")
        return said

    async def spawn(self, command: Sequence[str], *, stdin: int, more: Mapping[str, str] = {}) -> Process:
        """Start a command, with pipes to talk to it. Raises `Broken` where there is no such program."""
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=stdin,
                stdout=PIPE,
                stderr=PIPE,
                env={**os.environ, **self._environment, **more},
                limit=_LONGEST_LINE,
            )
        except FileNotFoundError as error:
            raise Broken(
                f"there is no program {command[0]!r}: install it, or name it by HELM, KUBECTL or KIND"
            ) from error


def _show(text: str) -> None:
    for line in text.splitlines():
        print(f"  {line}", flush=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
