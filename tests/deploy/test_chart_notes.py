"""After an installation: the test that Helm runs, and the notes to paste from."""

from __future__ import annotations

from typing import Any

from tests.deploy import rendering
from tests.deploy.rendering import container, of_kind, only, rendered


def test_the_test_is_a_hook_that_runs_once_with_a_service_image() -> None:
    pod = only(rendered("default"), "Pod", "shop-test")
    assert pod["metadata"]["annotations"] == {
        "helm.sh/hook": "test",
        "helm.sh/hook-delete-policy": "before-hook-creation",
    }
    spec = pod["spec"]
    assert spec["restartPolicy"] == "Never"
    assert spec["activeDeadlineSeconds"] == 120
    [own] = spec["containers"]
    assert own["image"] == container(rendered("default"), "order")["image"]
    assert own["imagePullPolicy"] == "IfNotPresent"
    assert own["command"] == ["python", "-c"]
    compile(own["args"][0], "helm_test.py", "exec")
    assert {each["name"]: each["value"] for each in own["env"]} == {
        "TIMEOUT_SECONDS": "60",
        "ORDER_URL": "http://shop-order:8001",
        "INVENTORY_URL": "http://shop-inventory:8002",
        "NOTIFICATION_URL": "http://shop-notification:8003",
        "ORDER_MANAGEMENT_URL": "http://shop-order-management:9090",
        "INVENTORY_MANAGEMENT_URL": "http://shop-inventory-management:9090",
        "NOTIFICATION_MANAGEMENT_URL": "http://shop-notification-management:9090",
    }
    assert not of_kind(rendered("production-storage"), "Pod")


def notes(case: str, **more: Any) -> str:
    return rendering.render_text(rendering.case(case) | more)["NOTES.txt"]


# A port is forwarded a moment after the command: what is pasted at once has to wait for it.
PATIENT = "curl -s --retry 9 --retry-connrefused"
JSON = "-H 'Content-Type: application/json'"
STOCK = '{"available": 39}'
LOOKER = '"redis://eventcore-look:$look@shop-redis:6379/0"'
ORDER = '{"items": [{"productId": "11", "quantity": 12}]}'


def test_notes_can_be_pasted() -> None:
    text = notes("default")
    for line in (
        "kubectl -n ns rollout status deployment/shop-order",
        "kubectl -n ns rollout status deployment/shop-inventory",
        "kubectl -n ns port-forward service/shop-order 8001 &",
        "kubectl -n ns port-forward service/shop-inventory 8002 &",
        "kubectl -n ns port-forward service/shop-order-management 9090 &",
        f"{PATIENT} localhost:9090/readyz",
        f"{PATIENT} -X PUT localhost:8002/stock/11 {JSON} -d '{STOCK}'",
        f"curl -i localhost:8001/orders {JSON} -d '{ORDER}'",
        "curl localhost:8001/orders",
        "helm test shop -n ns --logs",
        "look=$(kubectl -n ns get secret shop-redis-users -o jsonpath='{.data.eventcore-look}' | base64 -d)",
        f"kubectl -n ns exec deployment/shop-order -- eventcore --redis-url {LOOKER} status",
        "kubectl -n ns scale deployment/shop-inventory --replicas=5",
        "kubectl -n ns get secret shop-redis -o jsonpath='{.data.password}' | base64 -d",
    ):
        assert f"\n  {line}\n" in text
    assert "ecommerce 0.1.0 is release shop in namespace ns" in text
    assert "Scale inventory by hand; later upgrades keep the number (now 2)" in text
    assert "up to one second of answered orders is lost" in text
    assert (
        "Redis is one node: while it restarts, the services answer 503 and go on afterwards. Their pods stay READY"
        in text
    )
    assert "The volume data-shop-redis-0 stays" in text
    assert "WARNING" not in text
    assert "\n\n\n" not in text


def test_notes_probe_where_probes_are() -> None:
    text = notes("default", managementPort=9090)
    assert "\n  kubectl -n ns port-forward service/shop-order-management 9090 &\n" in text
    assert f"\n  {PATIENT} localhost:9090/readyz\n" in text
    assert "8001/readyz" not in text


def test_notes_fit_the_values() -> None:
    assert "inventory is scaled by keda, between 1 and 6 pods" in notes("keda")
    assert "by hand; later upgrades keep the number:" in notes("release-b")
    everything = notes("everything")
    assert "up to one second" not in everything
    for warning in (
        "redis.persistence.enabled is false: all data is gone when the pod goes.",
        "redis.auth.enabled is false: nothing keeps strangers from Redis.",
        "networkPolicy.enabled is false: every pod of the cluster can reach the services and Redis.",
    ):
        assert f"WARNING: {warning}" in everything
    assert "only the NetworkPolicies keep strangers" in notes("default", redis={"auth": {"enabled": False}})
    assert "The volume" not in everything
    assert "your Secret b-redis" in notes("release-b")
    assert (
        "whoever can read this release's values can read it: a Secret of your own, named by\nredis.auth.existingSecret"
        in (notes("release-a"))
    )
    assert "Redis" not in notes("inventory-only").replace("Redis it", "")
    assert "The first order" not in notes("inventory-only")
    assert "stock/11" not in notes("order-only")
    assert "helm test" not in notes("production-storage")
    assert "eventcore status" not in notes("default", defaults={"enabled": False})
