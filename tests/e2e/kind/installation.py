"""The release in its namespace, and the suite's own agent beside it: installed once, upgraded, taken away."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

from tests.e2e.asking import SERVICES
from tests.e2e.driver import Version
from tests.e2e.receiver import SECRET

from . import manifests
from .settings import CHART, RELEASE, WORK
from .tools import Tools
from .values import values

PATIENCE = 240.0


class Installation:
    """Remembers which version each service has, how many seconds it took to be ready, and what is ours to remove."""

    def __init__(self, tools: Tools) -> None:
        self.versions: dict[str, Version] = dict.fromkeys(SERVICES, "today")
        self.present = False
        self.took = 0.0
        self._begun = False
        self._tools = tools
        self._settings = tools.settings
        self._made_namespace = False

    async def install(self) -> None:
        """Make the namespace unless it is there; install the chart, then the agent, which needs Redis's password."""
        namespace = self._settings.namespace
        self._made_namespace = not await self._namespace_is_there()
        self._begun = True
        await self._tools.apply("namespace", manifests.namespace(namespace, "restricted"))
        await self._tools.apply("code", *manifests.code(), manifests.webhook_secret(SECRET))
        began = time.monotonic()
        await self.upgrade()
        self.took = time.monotonic() - began
        await self._tools.apply("agent", *manifests.agent_pod(self._settings))
        await self.ready(f"pod/{manifests.AGENT_NAME}")
        self.present = True

    async def _namespace_is_there(self) -> bool:
        """Whether it is there to stay; one that an earlier run left behind on its way out is waited for."""
        name = f"namespace/{self._settings.namespace}"
        phase = await self._tools.kubectl("get", name, "--ignore-not-found", "-o", "jsonpath={.status.phase}")
        if phase.strip() == "Terminating":
            await self._tools.kubectl("wait", "--for=delete", name, f"--timeout={PATIENCE:g}s")
            return False
        return bool(phase.strip())

    async def upgrade(self, *, mark: str = "") -> None:
        """Bring the release to `versions`, and install it where it isn't there; return when everything is ready."""
        path = WORK / "values.json"
        content = json.dumps(values(self._settings, self.versions, mark=mark), indent=2)
        await asyncio.to_thread(path.write_text, content)
        await self._tools.helm(
            "upgrade", "--install", RELEASE, str(CHART), "-f", str(path), "--wait", "--timeout", "5m"
        )

    async def ready(self, what: str) -> None:
        """Return when it is."""
        await self._tools.kubectl("wait", "--for=condition=Ready", what, f"--timeout={PATIENCE:g}s")

    async def rolled_out(self, service: str) -> None:
        """Return when all pods of a service that there shall be are ready."""
        await self._tools.kubectl("rollout", "status", f"deployment/{RELEASE}-{service}", f"--timeout={PATIENCE:g}s")

    async def remove(self) -> None:
        """Take everything away: with the namespace, or, where that was there before, piece by piece."""
        if self._made_namespace:
            await self._tools.kubectl("delete", "namespace", self._settings.namespace, "--ignore-not-found")
        elif self._begun:
            await self._tools.helm("uninstall", RELEASE, "--ignore-not-found")
            await self._tools.kubectl("delete", _KINDS, *_names(), "--ignore-not-found")
            await self._tools.kubectl("delete", "pvc", "-l", f"app.kubernetes.io/instance={RELEASE}")


_KINDS = "pod,service,configmap,secret"


def _names() -> Sequence[str]:
    own = [manifests.AGENT_NAME, manifests.STRANGER_NAME, manifests.CODE_NAME]
    return [*own, manifests.NEXT_VERSION_NAME, manifests.WEBHOOK_SECRET_NAME]
