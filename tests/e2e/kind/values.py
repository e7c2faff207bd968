"""The chart's values for a system under test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.e2e.asking import SERVICES
from tests.e2e.driver import Version

from . import agent, manifests
from .settings import Settings

_MOUNTED_AT = "/next-version"


def values(settings: Settings, versions: Mapping[str, Version], *, mark: str = "") -> dict[str, Any]:
    """Defaults wherever possible, so that the chart is tested as it is installed.

    Redis syncs every write before it answers, because S5 demands that nothing acknowledged is lost when it is killed;
    the agent may ask the management ports, and Redis, as the user who may do everything; customers are told by a
    webhook to the agent. `mark` changes the pods of inventory.
    """
    own: dict[str, dict[str, Any]] = {service: _next_version(versions[service]) for service in SERVICES}
    own["notification"] |= {
        "secretSettings": {
            "WEBHOOK_URL": {"name": manifests.WEBHOOK_SECRET_NAME, "key": "url"},
            "WEBHOOK_SECRET": {"name": manifests.WEBHOOK_SECRET_NAME, "key": "secret"},
        },
        "egress": [
            {
                "to": [{"podSelector": {"matchLabels": manifests.AGENT_LABELS}}],
                "ports": [{"protocol": "TCP", "port": agent.PORT}],
            }
        ],
    }
    if mark:
        own["inventory"]["podAnnotations"] = {"e2e/mark": mark}
    agent_pods = [{"podSelector": {"matchLabels": manifests.AGENT_LABELS}}]
    redis = {"appendfsync": "always", "acl": {"keepDefaultUser": True}}
    return {
        "image": {"prefix": settings.image_prefix, "tag": settings.image_tag},
        "redis": redis | ({"image": settings.redis_image} if settings.redis_image else {}),
        "networkPolicy": {"redisFrom": agent_pods, "metricsFrom": agent_pods},
        "services": {service: each for service, each in own.items() if each},
    }


def _next_version(version: Version) -> dict[str, Any]:
    """Python imports `sitecustomize` from there before it runs the service; see `next_version`."""
    if version == "today":
        return {}
    return {
        "extraEnv": [
            {"name": "PYTHONPATH", "value": _MOUNTED_AT},
            {"name": "E2E_VERSION", "value": version},
        ],
        "volumes": [{"name": "next-version", "configMap": {"name": manifests.NEXT_VERSION_NAME}}],
        "volumeMounts": [{"name": "next-version", "mountPath": _MOUNTED_AT, "readOnly": True}],
    }
