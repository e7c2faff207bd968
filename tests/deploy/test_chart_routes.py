"""Ingress and route: which paths lead to which service."""

from __future__ import annotations

from tests.deploy import rendering
from tests.deploy.rendering import at, only, render, rendered


def test_the_ingress_sends_paths_to_their_services() -> None:
    spec = only(rendered("hpa"), "Ingress")["spec"]
    assert spec["ingressClassName"] == "nginx"
    assert spec["tls"] == [{"secretName": "shop-tls", "hosts": ["shop.example.com"]}]
    [rule] = spec["rules"]
    assert rule["host"] == "shop.example.com"
    found = {each["path"]: each["backend"]["service"] for each in rule["http"]["paths"]}
    assert found == {
        "/orders": {"name": "shop-order", "port": {"name": "http"}},
        "/stock": {"name": "shop-inventory", "port": {"name": "http"}},
        "/reservations": {"name": "shop-inventory", "port": {"name": "http"}},
    }
    assert {each["pathType"] for each in rule["http"]["paths"]} == {"Prefix"}
    bare = at(at(rendering.case("hpa"), ("ingress", "className"), ""), ("ingress", "tlsSecret"), "")
    assert set(only(render(bare), "Ingress")["spec"]) == {"rules"}
    noted = at(rendering.case("hpa"), ("ingress", "annotations"), {"a": "b"})
    assert only(render(noted), "Ingress")["metadata"]["annotations"] == {"a": "b"}


def test_the_route_sends_paths_to_their_services() -> None:
    route = only(render(at(rendering.case("hpa"), ("httpRoute", "annotations"), {"a": "b"})), "HTTPRoute")
    assert route["metadata"]["annotations"] == {"a": "b"}
    assert route["spec"]["parentRefs"] == [{"name": "gateway", "namespace": "gateways"}]
    assert route["spec"]["hostnames"] == ["shop.example.com"]
    found = [
        ([match["path"]["value"] for match in rule["matches"]], rule["backendRefs"]) for rule in route["spec"]["rules"]
    ]
    assert found == [
        (["/stock", "/reservations"], [{"name": "shop-inventory", "port": 8002}]),
        (["/orders"], [{"name": "shop-order", "port": 8001}]),
    ]
    assert {match["path"]["type"] for rule in route["spec"]["rules"] for match in rule["matches"]} == {"PathPrefix"}
