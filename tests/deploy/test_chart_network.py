"""Network policies: who may talk to whom."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deploy import rendering
from tests.deploy.rendering import PROGRAMS, SERVICES, of_kind, only, render, rendered


def rules(case: str, name: str) -> Any:
    return only(rendered(case), "NetworkPolicy", name)["spec"]


def components(peers: Any) -> set[str]:
    return {
        each["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for each in peers
        if each.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/instance") == "shop"
    }


def test_redis_hears_the_services_and_nobody_else_and_calls_nobody() -> None:
    spec = rules("default", "shop-redis")
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []
    [rule] = spec["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 6379}]
    assert components(rule["from"]) == set(SERVICES)
    assert len(rule["from"]) == 3
    for peer in rule["from"]:
        assert set(peer) == {"podSelector"}
        assert set(peer["podSelector"]["matchLabels"]) == {
            "app.kubernetes.io/name",
            "app.kubernetes.io/instance",
            "app.kubernetes.io/component",
        }


def test_redis_hears_keda_only_with_keda_and_others_only_when_named() -> None:
    [rule] = rules("keda", "shop-redis")["ingress"]
    assert {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}},
        "podSelector": {"matchLabels": {"app": "keda-operator"}},
    } in rule["from"]
    assert len(rule["from"]) == 4
    [rule] = only(rendering.render(rendering.case("order-only"), name="order"), "NetworkPolicy", "order-redis")["spec"][
        "ingress"
    ]
    assert len(rule["from"]) == 2
    assert rule["from"][0]["podSelector"]["matchExpressions"][0]["values"] == ["inventory", "notification"]


def test_redis_alone_hears_nobody_rather_than_everybody() -> None:
    alone = only(render({"defaults": {"enabled": False}}), "NetworkPolicy", "shop-redis")["spec"]
    assert alone["ingress"] == []
    assert "Ingress" in alone["policyTypes"]


@pytest.mark.parametrize("name", SERVICES)
def test_services_hear_their_namespace_and_call_dns_and_redis(name: str) -> None:
    spec = rules("default", f"shop-{name}")
    port = PROGRAMS[name][0]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    api, management = spec["ingress"]
    assert api == {"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": port}]}
    assert management["ports"] == [{"protocol": "TCP", "port": 9090}]
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert management["from"][0] == prometheus, "or whoever metricsFrom names, also without a PodMonitor"
    dns, to_redis = spec["egress"]
    assert dns == {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}
    assert components(to_redis["to"]) == {"redis"}
    assert to_redis["ports"] == [{"protocol": "TCP", "port": 6379}]


def test_services_hear_controllers_and_prometheus_when_told() -> None:
    rule, _ = rules("hpa", "shop-order")["ingress"]
    assert rule["from"][1:] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}
    ]
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    _, rule = rules("monitoring", "shop-order")["ingress"]
    assert rule["from"][0] == prometheus


def test_services_call_the_collector_and_what_is_named() -> None:
    collector = rules("monitoring", "shop-order")["egress"][2]
    assert collector["ports"] == [{"protocol": "TCP", "port": 4318}]
    assert collector["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}}}]
    assert rules("production", "shop-order")["egress"][2] == {"ports": [{"protocol": "TCP", "port": 4317}]}
    mail = rules("notification-only", "shop-notification")["egress"][2]
    assert mail == {"ports": [{"protocol": "TCP", "port": 587}]}


def test_the_management_port_hears_prometheus_and_the_test_alone_and_the_api_no_prometheus() -> None:
    api, management = rules("management", "shop-order")["ingress"]
    assert [each["port"] for each in (*api["ports"], *management["ports"])] == [8001, 9090]
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert prometheus not in api["from"]
    assert management["from"][0] == prometheus
    assert components(management["from"]) == {"test"}
    assert len(management["from"]) == 2
    calls = rules("management", "shop-test")["egress"][1:]
    assert [[each["port"] for each in call["ports"]] for call in calls] == [[8002, 9090], [8003, 9090], [8001, 9090]]


def test_a_management_port_that_nobody_asks_hears_nobody() -> None:
    values = {"managementPort": 9090, "tests": {"enabled": False}, "networkPolicy": {"metricsFrom": []}}
    [api] = only(render(values), "NetworkPolicy", "shop-order")["spec"]["ingress"]
    assert [each["port"] for each in api["ports"]] == [8001]


@pytest.mark.parametrize(
    ("address", "port"),
    [("https://id.example.com/certs", 443), ("http://id.example.com", 80), ("https://id.example.com:8443/certs", 8443)],
)
def test_services_fetch_the_keys_of_tokens_where_they_are(address: str, port: int) -> None:
    values = rendering.at({}, ("services", "order", "settings"), {"AUTH_JWKS": address})
    manifests = render(values)
    assert {"ports": [{"protocol": "TCP", "port": port}]} in only(manifests, "NetworkPolicy", "shop-order")["spec"][
        "egress"
    ]
    assert len(only(manifests, "NetworkPolicy", "shop-inventory")["spec"]["egress"]) == 2
    mounted = rendering.at({}, ("services", "order", "settings"), {"AUTH_JWKS": "/keys/jwks.json"})
    assert len(only(render(mounted), "NetworkPolicy", "shop-order")["spec"]["egress"]) == 2


def test_services_call_another_redis_where_it_is() -> None:
    there = {"ports": [{"protocol": "TCP", "port": 6380}], "to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}]}
    assert rules("external-tls", "shop-order")["egress"][1] == there
    assert rules("keda-tls", "shop-order")["egress"][1] == {"ports": [{"protocol": "TCP", "port": 6379}]}
    assert rules("sentinel", "shop-order")["egress"][1] == {}, "Sentinels say which port; so any"


def test_the_test_calls_the_services_and_is_called_by_nobody() -> None:
    spec = rules("default", "shop-test")
    assert spec["ingress"] == []
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    dns, *calls = spec["egress"]
    assert len(dns["ports"]) == 2
    assert [(components(each["to"]), each["ports"][0]["port"]) for each in calls] == [
        ({"inventory"}, 8002),
        ({"notification"}, 8003),
        ({"order"}, 8001),
    ]
    assert not of_kind(rendered("everything"), "NetworkPolicy")
    assert "shop-test" not in str(rendered("production-storage"))
