"""What only a cluster can do: install, drain, and upgrade what was scaled by hand."""

from __future__ import annotations

import asyncio

from tests.e2e.asking import SERVICES
from tests.e2e.driver import Broken, NotHere
from tests.e2e.kind import manifests
from tests.e2e.kind.driver import Cluster
from tests.e2e.kind.settings import RELEASE
from tests.e2e.stage import Stage, until


def _cluster(stage: Stage) -> Cluster:
    assert isinstance(stage.driver, Cluster), "this scenario is for clusters only"
    return stage.driver


async def install(stage: Stage) -> None:
    """S0. The chart is in a `restricted` namespace, `helm test` passes, and a privileged pod is refused there."""
    cluster = _cluster(stage)
    stage.notes.append(f"installed and ready within {cluster.installation.took:.0f} s")
    await cluster.tools.helm("test", RELEASE, "--logs", "--timeout", "5m")
    refusal = await _refusal(cluster)
    assert refusal, "a privileged pod was let into a restricted namespace"
    assert "PodSecurity" in refusal, f"a privileged pod was refused for another reason: {refusal}"
    async with stage.under_load():
        pass


async def drain(stage: Stage) -> None:
    """S6. A node is drained under load: never is more of a service missing than its budget says."""
    cluster = _cluster(stage)
    node = await _node_to_drain(cluster)
    moved = [pod.name for service in SERVICES for pod in cluster.pods.of(service) if pod.node == node]
    stage.notes.append(f"{node} drained, with {len(moved)} pods of the services on it")
    await cluster.hands.withdraw(node)
    async with stage.under_load() as load:
        stage.mark("drain begins")
        options = ["--ignore-daemonsets", "--delete-emptydir-data", "--timeout=240s"]
        draining = asyncio.create_task(cluster.tools.kubectl("drain", node, *options))
        try:
            while not draining.done():
                await _budgets_are_honoured(cluster)
                await asyncio.wait([draining], timeout=0.5)
            await draining
            await load.more(20)
        finally:
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
            await cluster.tools.kubectl("uncordon", node)
        left = [pod.name for service in SERVICES for pod in cluster.pods.of(service) if pod.node == node]
        assert not left, f"still on {node}: {', '.join(left)}"
    stage.demand_no_failed_request()
    if moved:
        stage.demand_clean_exits()


async def scale_then_upgrade(stage: Stage) -> None:
    """S9. What `kubectl scale` has set outlives `helm upgrade`, under load: five stay five."""
    cluster = _cluster(stage)
    async with stage.under_load() as load:
        await cluster.scale("inventory", 5)
        await cluster.installation.upgrade(mark="upgraded")

        async def five() -> bool:
            return len(cluster.pods.of("inventory")) == 5 and not cluster.pods.leaving()

        await until(five, what="five pods of inventory are left after the upgrade", timeout=120)
        deployment = await cluster.tools.get(f"deployment/{RELEASE}-inventory")
        assert deployment["spec"]["replicas"] == 5, f"inventory was set to {deployment['spec']['replicas']} replicas"
        marks = deployment["spec"]["template"]["metadata"]["annotations"]
        assert marks.get("e2e/mark") == "upgraded", "the upgrade has changed nothing"
        await load.more(20)
    stage.demand_no_failed_request()
    stage.demand_clean_exits()


async def _refusal(cluster: Cluster) -> str:
    """Why a privileged pod was refused; empty if it wasn't."""
    try:
        await cluster.tools.apply("privileged", manifests.privileged_pod(cluster.tools.settings))
    except Broken as error:
        return str(error)
    return ""


async def _node_to_drain(cluster: Cluster) -> str:
    """A node that takes pods, and has neither Redis (its volume stays there) nor the agent on it."""
    nodes = (await cluster.tools.get("nodes"))["items"]
    usable: list[str] = [
        node["metadata"]["name"]
        for node in nodes
        if not node["spec"].get("unschedulable")
        and not [taint for taint in node["spec"].get("taints", []) if taint["effect"] in ("NoSchedule", "NoExecute")]
    ]
    if len(usable) < 2:
        raise NotHere("the cluster has a single node that takes pods, so there is none to drain")
    agent = await cluster.tools.get(f"pod/{manifests.AGENT_NAME}")
    taken = {agent["spec"]["nodeName"], *(pod.node for pod in cluster.pods.of("redis"))}
    if not (free := [node for node in usable if node not in taken]):
        raise NotHere("every node has Redis or the suite's own agent on it")
    counts = {node: sum(pod.node == node for pod in cluster.pods.present.values()) for node in free}
    return max(free, key=lambda node: counts[node])


async def _budgets_are_honoured(cluster: Cluster) -> None:
    for budget in (await cluster.tools.get("pdb"))["items"]:
        status = budget["status"]
        missing = status["expectedPods"] - status["currentHealthy"]
        allowed = budget["spec"]["maxUnavailable"]
        name = budget["metadata"]["name"]
        assert missing <= allowed, f"{name}: {missing} pods are missing, and {allowed} may"
