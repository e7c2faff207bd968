"""What the suite on Kubernetes is told, and what it installs."""

from __future__ import annotations

import pytest

from tests.deploy.rendering import environment, invalid, of_kind, only, pods, render
from tests.e2e.driver import Version
from tests.e2e.kind import manifests
from tests.e2e.kind.settings import Settings, app_version
from tests.e2e.kind.values import values

SETTINGS = Settings(image_tag="1.2.3", redis_image="example.com/redis:8")
TODAY: dict[str, Version] = {"order": "today", "inventory": "today", "notification": "today"}

# What is told


def test_nothing_said_means_kind_with_images_of_our_own() -> None:
    assert Settings.read({"PATH": "/bin", "E2E_CONTEXT": ""}) == Settings(image_tag=app_version())


def test_everything_can_be_said() -> None:
    told = {
        "HELM": "helm4",
        "KUBECTL": "kubectl.1",
        "KIND": "/opt/kind",
        "E2E_CONTEXT": "prod",
        "E2E_IMAGES": "present",
        "IMAGE_PREFIX": "registry.example.com/x",
        "IMAGE_TAG": "9",
        "REDIS_IMAGE": "r:1",
        "NAMESPACE": "elsewhere",
        "E2E_KEEP": "1",
        "CONTAINER_ENGINE": "podman",
        "KIND_NODE_IMAGE": "n:1",
    }
    assert Settings.read(told) == Settings(
        helm="helm4",
        kubectl="kubectl.1",
        kind="/opt/kind",
        context="prod",
        images_present=True,
        image_prefix="registry.example.com/x",
        image_tag="9",
        redis_image="r:1",
        namespace="elsewhere",
        keep=True,
        engine="podman",
        node_image="n:1",
    )
    assert not Settings.read({"E2E_KEEP": "0"}).keep


# What is installed


@pytest.mark.parametrize("version", ["today", "next", "major"])
def test_the_chart_takes_the_values(version: Version) -> None:
    rendered = render(values(SETTINGS, dict.fromkeys(TODAY, version), mark="m"), namespace=SETTINGS.namespace)
    told = environment(rendered, "notification")
    for name, key in (("WEBHOOK_URL", "url"), ("WEBHOOK_SECRET", "secret")):
        assert told[name] == {"secretKeyRef": {"name": manifests.WEBHOOK_SECRET_NAME, "key": key}}
        assert key in manifests.webhook_secret("whsec_x")["stringData"]
    assert told.get("E2E_VERSION", "today") == version
    assert [problem for each in rendered for problem in invalid(each, "1.36")] == []
    [redis] = [spec for name, _, spec in pods(rendered) if name == "shop-redis"]
    assert redis["containers"][0]["image"] == "example.com/redis:8"
    config = only(rendered, "ConfigMap", "shop-redis")["data"]["redis.conf"]
    assert "appendfsync always" in config


def test_the_agent_and_nobody_else_is_let_at_redis() -> None:
    rendered = render(values(SETTINGS, TODAY), namespace=SETTINGS.namespace)
    [policy] = [each for each in of_kind(rendered, "NetworkPolicy") if each["metadata"]["name"] == "shop-redis"]
    let_in = [peer["podSelector"]["matchLabels"] for peer in policy["spec"]["ingress"][0]["from"]]
    [agent_pod] = [each for each in manifests.agent_pod(SETTINGS) if each["kind"] == "Pod"]
    stranger = manifests.stranger_pod(SETTINGS)
    assert any(labels.items() <= agent_pod["metadata"]["labels"].items() for labels in let_in)
    assert not any(labels.items() <= stranger["metadata"]["labels"].items() for labels in let_in)


def test_the_suites_own_objects_are_valid() -> None:
    own = [
        manifests.namespace("a", "restricted"),
        *manifests.code(),
        manifests.webhook_secret("whsec_x"),
        *manifests.agent_pod(SETTINGS),
        manifests.stranger_pod(SETTINGS),
        manifests.privileged_pod(SETTINGS),
        manifests.hand_pod(SETTINGS, "worker-1"),
    ]
    for version in ("1.33", "1.36"):
        assert [problem for each in own for problem in invalid(each, version)] == []


def test_a_hands_name_fits_whatever_the_nodes_is() -> None:
    assert manifests.hand_name("worker-1") == "hand-worker-1"
    assert len(manifests.hand_name(f"{'n' * 57}.example.com")) <= 63
    assert manifests.hand_name(f"{'n' * 57}.example.com")[-1].isalnum()
