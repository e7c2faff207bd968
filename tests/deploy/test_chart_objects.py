"""What holds for the objects of every values file under ci/ and of the production values."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from helm_python import lint

from tests.deploy import rendering
from tests.deploy.rendering import CASES, SERVICES, chosen, identities, of_kind, only, pods, rendered

OLDEST, NEWEST = "1.33", "1.36"
NAMES = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component")

every_case = pytest.mark.parametrize("case", CASES)


def fullname(case: str) -> str:
    return "store" if case == "everything" else "shop"


@every_case
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_all_objects(case: str, version: str) -> None:
    assert [problem for each in rendered(case) for problem in rendering.invalid(each, version)] == []


@every_case
def test_helm_lint_is_content(case: str) -> None:
    report = lint(rendering.CHART, rendering.case(case), strict=True)
    assert [each for each in report["messages"] if each["severity"] > 1] == []


@every_case
def test_two_renders_are_equal(case: str) -> None:
    values = rendering.case(case)
    assert rendering.render_text(values) == rendering.render_text(values)


@every_case
def test_no_object_is_there_twice(case: str) -> None:
    found = identities(rendered(case))
    assert sorted(found) == sorted(set(found))


@every_case
def test_names_begin_with_the_release_and_labels_say_whose_an_object_is(case: str) -> None:
    for each in rendered(case):
        name, labels = each["metadata"]["name"], each["metadata"]["labels"]
        assert re.fullmatch(rf"{fullname(case)}(-[a-z]+)*", name)
        assert len(name) <= 63
        assert "namespace" not in each["metadata"]
        assert labels["app.kubernetes.io/name"] == labels["app.kubernetes.io/part-of"] == "ecommerce"
        assert labels["app.kubernetes.io/instance"] == fullname(case)
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/version"] == "0.1.0"
        assert labels["helm.sh/chart"] == "ecommerce-0.1.0"
        component = labels["app.kubernetes.io/component"]
        assert component in (*SERVICES, "redis", "test", "monitoring", "ingress")
        assert name.removeprefix(fullname(case)).removeprefix("-").startswith(component) or component in (
            "monitoring",
            "ingress",
        )


@every_case
def test_pods_bear_what_selectors_ask_for_and_nothing_that_changes_with_the_chart(case: str) -> None:
    for name, metadata, _ in pods(rendered(case)):
        assert set(NAMES) < set(metadata["labels"])
        assert metadata["labels"]["app.kubernetes.io/part-of"] == "ecommerce"
        if not name.endswith("-test"):
            assert "helm.sh/chart" not in metadata["labels"], "each new chart would start all pods anew"


@every_case
def test_selectors_are_name_instance_and_component(case: str) -> None:
    for each in rendered(case):
        if each["kind"] in ("Deployment", "StatefulSet"):
            assert set(each["spec"]["selector"]["matchLabels"]) == set(NAMES)
        if each["kind"] == "StatefulSet":
            for claim in each["spec"].get("volumeClaimTemplates", []):
                assert set(claim["metadata"]["labels"]) == set(NAMES), "claims can't be changed"


@every_case
def test_every_selector_picks_exactly_its_own_pods(case: str) -> None:
    manifests = rendered(case)
    for each in manifests:
        name, spec = each["metadata"]["name"], each.get("spec", {})
        match each["kind"]:
            case "Service":
                own = name.removesuffix("-headless").removesuffix("-management")
                assert chosen({"matchLabels": spec["selector"]}, manifests) == {own}
            case "Deployment" | "StatefulSet" | "PodDisruptionBudget":
                assert chosen(spec["selector"], manifests) == {name}
            case "NetworkPolicy":
                assert chosen(spec["podSelector"], manifests) == {name}
            case "PodMonitor":
                assert chosen(spec["selector"], manifests) == set(deployments(manifests))
            case _:
                pass
    for name, metadata, spec in pods(manifests):
        for constraint in spec.get("topologySpreadConstraints", []):
            assert constraint["matchLabelKeys"] == ["pod-template-hash"]
            assert chosen(constraint["labelSelector"], manifests) == {name}
        assert metadata["labels"]["app.kubernetes.io/component"] == name.removeprefix(f"{fullname(case)}-")


def deployments(manifests: list[Any]) -> list[str]:
    return [each["metadata"]["name"] for each in of_kind(manifests, "Deployment")]


@every_case
def test_every_pod_fits_the_level_restricted_and_has_no_token(case: str) -> None:
    for name, _, spec in pods(rendered(case)):
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for each in [*spec["containers"], *spec.get("initContainers", [])]:
            own = each["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert not own.get("privileged")
            if each["name"] in (*SERVICES, "redis", "test"):
                assert own["readOnlyRootFilesystem"] is True
        for volume in spec.get("volumes", []):
            assert set(volume) - {"name"} <= {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected"}


@pytest.mark.parametrize("case", [each for each in CASES if each != "everything"])
def test_pods_run_as_10001_unless_told_otherwise(case: str) -> None:
    for _, _, spec in pods(rendered(case)):
        security = spec["securityContext"]
        assert (security["runAsUser"], security["runAsGroup"], security["fsGroup"]) == (10001, 10001, 10001)
        assert security["fsGroupChangePolicy"] == "OnRootMismatch"


@every_case
def test_every_mount_has_its_volume_and_every_reference_its_object(case: str) -> None:
    manifests = rendered(case)
    there = set(identities(manifests))
    for _, _, spec in pods(manifests):
        volumes = {each["name"] for each in spec.get("volumes", [])}
        claims = (
            only(manifests, "StatefulSet")["spec"].get("volumeClaimTemplates", [])
            if "redis" in str(spec) and any(each["name"] == "redis" for each in spec["containers"])
            else []
        )
        volumes |= {each["metadata"]["name"] for each in claims}
        mounted = {mount["name"] for each in spec["containers"] for mount in each.get("volumeMounts", [])}
        assert mounted == volumes, "each volume is mounted, and each mount has one"
        for volume in spec.get("volumes", []):
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there
        account = spec.get("serviceAccountName", "default")
        assert account in ("default", "shared") or ("ServiceAccount", account) in there
    for each in of_kind(manifests, "StatefulSet"):
        assert ("Service", each["spec"]["serviceName"]) in there
    for each in [*of_kind(manifests, "HorizontalPodAutoscaler"), *of_kind(manifests, "ScaledObject")]:
        assert ("Deployment", each["spec"]["scaleTargetRef"]["name"]) in there
        for trigger in each["spec"].get("triggers", []):
            assert ("TriggerAuthentication", trigger["authenticationRef"]["name"]) in there


@every_case
def test_ports_are_those_that_programs_listen_on(case: str) -> None:
    manifests = rendered(case)
    for each in of_kind(manifests, "Deployment"):
        name = each["metadata"]["labels"]["app.kubernetes.io/component"]
        own = rendering.container(manifests, name)
        port, *others = own["ports"]
        assert port == {
            "name": "http",
            "containerPort": int(rendering.environment(manifests, name)["PORT"]),
            "protocol": "TCP",
        }
        [offered] = only(manifests, "Service", each["metadata"]["name"])["spec"]["ports"]
        assert (offered["port"], offered["targetPort"], offered["name"]) == (port["containerPort"], "http", "http")
        assert offered["appProtocol"] == "http"
        probed = others[0]["name"] if others else "http"
        for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            assert own[probe]["httpGet"] == {"path": path, "port": probed}
            assert own[probe]["failureThreshold"] > 1
            assert own[probe]["timeoutSeconds"] >= 1


@pytest.mark.parametrize("service", SERVICES)
def test_an_outage_of_redis_leaves_pods_in_their_services_that_were_ready(service: str) -> None:
    probe = rendering.container(rendered("default"), service)["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 600, "a new Redis on another node takes minutes"
    assert probe["periodSeconds"] <= 3, "clients are served again soon after a longer outage"
    assert probe.get("successThreshold", 1) == 1


@every_case
def test_every_container_of_ours_has_requests_and_a_memory_limit_and_no_cpu_limit(case: str) -> None:
    for _, _, spec in pods(rendered(case)):
        for each in spec["containers"]:
            if each["name"] in (*SERVICES, "redis", "test") and case != "everything":
                assert {"cpu", "memory"} <= set(each["resources"]["requests"])
                assert set(each["resources"]["limits"]) == {"memory"}


@every_case
def test_numbers_stay_numbers(case: str) -> None:
    for text in rendering.render_text(rendering.case(case)).values():
        assert not re.search(r"\b\d(\.\d+)?e\+\d", text)
        assert "%!" not in text
        assert "<nil>" not in text
        assert "<no value>" not in text


@every_case
def test_environment_variables_are_fields_of_the_settings(case: str) -> None:
    from scripts.chart_reference import fields

    known = set(fields())
    manifests = rendered(case)
    for each in of_kind(manifests, "Deployment"):
        variables = rendering.environment(manifests, each["metadata"]["labels"]["app.kubernetes.io/component"])
        referred = {name for value in variables.values() for name in re.findall(r"\$\((\w+)\)", str(value))}
        strangers = {name for name in variables if not name.startswith("OTEL_")} - known - referred - {"TZ"}
        assert strangers == set()
        order = list(variables)
        for name, value in variables.items():
            for used in re.findall(r"\$\((\w+)\)", str(value)):
                assert order.index(used) < order.index(name), "$(VAR) refers to earlier entries only"


def test_two_releases_in_one_namespace_share_nothing() -> None:
    first = rendering.render(rendering.case("release-a"), name="a")
    second = rendering.render(rendering.case("release-b"), name="b")
    assert set(identities(first)) & set(identities(second)) == set()
    both = first + second
    for each in both:
        spec = each.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector")
        if each["kind"] in ("Service", "Deployment", "StatefulSet", "PodDisruptionBudget", "NetworkPolicy"):
            wrapped = {"matchLabels": selector} if each["kind"] == "Service" else selector
            assert chosen(wrapped, both) == {
                each["metadata"]["name"].removesuffix("-headless").removesuffix("-management")
            }
    prefixes = {rendering.environment(each, "order")["KEY_PREFIX"] for each in (first, second)}
    assert prefixes == {"{a}:", "{b}:"}


def test_long_release_names_stay_apart_and_short_enough() -> None:
    names = ["x" * 50 + tail for tail in "ab"]
    one, two = (rendering.render(name=name) for name in names)
    assert set(identities(one)) & set(identities(two)) == set()
    for each in itertools.chain(one, two):
        most = 63 if each["kind"] == "Service" else 52  # StatefulSets and ReplicaSets add a hash to it
        assert len(each["metadata"]["name"]) <= most
    assert ("Deployment", "y" * 36 + "-order") in identities(rendering.render(name="y" * 36))
    assert ("Deployment", "shop-v1-order") in identities(rendering.render(name="shop.v1"))


def test_a_management_port_is_one_of_its_own_for_who_probes_and_scrapes() -> None:
    manifests = rendered("management")
    for name in SERVICES:
        own = rendering.container(manifests, name)
        assert own["ports"][1] == {"name": "management", "containerPort": 9090, "protocol": "TCP"}
        assert rendering.environment(manifests, name)["MANAGEMENT_PORT"] == "9090"
        spec = only(manifests, "Service", f"shop-{name}-management")["spec"]
        assert spec["type"] == "ClusterIP"
        assert [(each["port"], each["targetPort"]) for each in spec["ports"]] == [(9090, "management")]
    [endpoint] = only(manifests, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == "management"


@pytest.mark.parametrize("service", SERVICES)
def test_one_release_for_each_service_has_that_service_only(service: str) -> None:
    manifests = rendering.render(rendering.case(f"{service}-only"), name=service)
    assert deployments(manifests) == [f"{service}-{service}"]
    assert bool(of_kind(manifests, "StatefulSet")) == (service == "order")
    url = rendering.environment(manifests, service)["REDIS_URL"]
    assert url == f"redis://{service}-service@order-redis:6379/0", "all three meet in one Redis"
    [test] = of_kind(manifests, "Pod")
    assert f"{service.upper()}_URL" in str(test)
