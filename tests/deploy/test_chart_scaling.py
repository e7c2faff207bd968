"""Autoscalers: what they look at, and for whom."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy import rendering
from tests.deploy.rendering import PROGRAMS, SERVICES, at, of_kind, only, render, rendered


def scalers(case: str) -> list[Any]:
    return of_kind(rendered(case), "ScaledObject")


@pytest.mark.parametrize("name", SERVICES)
def test_keda_looks_at_lag_and_at_pending_of_the_right_group(name: str) -> None:
    [scaler] = [each for each in scalers("keda") if each["metadata"]["name"] == f"shop-{name}"]
    spec = scaler["spec"]
    _, stream, group = PROGRAMS[name]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["pollingInterval"]) == (1, 6, 5)
    scale_down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert scale_down == {"stabilizationWindowSeconds": 300}
    assert [set(each["metadata"]) & {"lagCount", "pendingEntriesCount"} for each in spec["triggers"]] == [
        {"lagCount"},
        {"pendingEntriesCount"},
    ]
    assert spec["triggers"][0]["metadata"]["lagCount"] == "50"
    assert spec["triggers"][1]["metadata"]["pendingEntriesCount"] == "200"
    for trigger in spec["triggers"]:
        assert trigger["type"] == "redis-streams"
        metadata = trigger["metadata"]
        assert metadata["address"] == "shop-redis.ns.svc:6379", "KEDA asks from a namespace of its own"
        assert metadata["stream"] == "{shop}:" + stream
        assert metadata["consumerGroup"] == group
        assert metadata["databaseIndex"] == "0"
        assert "enableTLS" not in metadata
        assert metadata["username"] == "eventcore-look"
        assert trigger["authenticationRef"] == {"name": "shop-redis"}
    assert only(rendered("keda"), "TriggerAuthentication")["spec"] == {
        "secretTargetRef": [{"parameter": "password", "name": "shop-redis-users", "key": "eventcore-look"}]
    }


def test_keda_reaches_sentinels_and_tls() -> None:
    [scaler] = scalers("sentinel")
    for trigger in scaler["spec"]["triggers"]:
        assert trigger["type"] == "redis-sentinel-streams"
        assert trigger["metadata"]["addresses"].split(",")[2] == "sentinel-2.redis:26379"
        assert trigger["metadata"]["sentinelMaster"] == "shop"
        assert "address" not in trigger["metadata"]
    assert only(rendered("sentinel"), "TriggerAuthentication")["spec"]["secretTargetRef"] == [
        {"parameter": "password", "name": "sentinel-redis", "key": "password"},
        {"parameter": "sentinelPassword", "name": "sentinels", "key": "watchword"},
    ]
    [scaler] = scalers("keda-tls")
    for trigger in scaler["spec"]["triggers"]:
        assert trigger["type"] == "redis-streams"
        assert trigger["metadata"]["address"] == "redis.example.com:6379"
        assert trigger["metadata"]["enableTLS"] == "true"
    assert only(rendered("keda-tls"), "TriggerAuthentication")["spec"]["secretTargetRef"] == [
        {"parameter": "password", "name": "managed-redis", "key": "password"},
        {"parameter": "ca", "name": "managed-ca", "key": "ca.crt"},
    ]
    named = at(rendering.case("external-tls"), ("services", "order", "autoscaling", "mode"), "keda")
    metadata = only(render(named), "ScaledObject")["spec"]["triggers"][0]["metadata"]
    assert metadata["address"] == "redis.example.com:6380"
    assert (metadata["username"], metadata["databaseIndex"]) == ("shop", "2")


def test_keda_needs_no_password_where_there_is_none() -> None:
    values = {"redis": {"auth": {"enabled": False}}, "services": {"order": {"autoscaling": {"mode": "keda"}}}}
    manifests = render(values)
    assert of_kind(manifests, "TriggerAuthentication") == []
    assert "authenticationRef" not in str(of_kind(manifests, "ScaledObject"))
    assert of_kind(rendered("external-tls"), "TriggerAuthentication") == [], "nor is it there without KEDA"


def test_cpu_scales_where_told() -> None:
    [scaler] = of_kind(rendered("hpa"), "HorizontalPodAutoscaler")
    spec = scaler["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop-order"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 8)
    [metric] = spec["metrics"]
    assert metric == {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
    }
    assert spec["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 300}}
