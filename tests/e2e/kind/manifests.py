"""What the suite itself puts into the cluster: an agent, a stranger, hands, and the next version's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import agent
from .settings import RELEASE, Settings

Manifest = dict[str, Any]

AGENT_NAME, STRANGER_NAME = "e2e-agent", "e2e-stranger"
CODE_NAME, NEXT_VERSION_NAME, WEBHOOK_SECRET_NAME = "e2e-code", "e2e-next-version", "e2e-webhook"
# The label by which the chart's `networkPolicy.redisFrom` lets the agent at Redis.
AGENT_LABELS = {"e2e": "agent"}
_HERE = Path(__file__).parent
_NEXT_VERSION = _HERE.parent / "next_version/sitecustomize.py"


def namespace(name: str, level: str) -> Manifest:
    """A namespace whose pods are held to this Pod Security level."""
    labels = {"pod-security.kubernetes.io/enforce": level, "pod-security.kubernetes.io/enforce-version": "latest"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def code() -> list[Manifest]:
    """The agent's program, and the next version of the services."""
    return [
        _files(CODE_NAME, _HERE / "agent.py"),
        _files(NEXT_VERSION_NAME, _NEXT_VERSION),
    ]


def webhook_secret(secret: str) -> Manifest:
    """Where webhooks go, and what they are signed with."""
    content = {"url": f"http://{AGENT_NAME}:{agent.PORT}/webhooks", "secret": secret}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": WEBHOOK_SECRET_NAME}, "stringData": content}


def agent_pod(settings: Settings) -> list[Manifest]:
    """The agent, on Redis's node if it can be (so that another node can be drained), and its address."""
    pod = _pod(settings, AGENT_NAME, AGENT_LABELS)
    spec = pod["spec"]
    near = {"matchLabels": {"app.kubernetes.io/instance": RELEASE, "app.kubernetes.io/component": "redis"}}
    term = {"labelSelector": near, "topologyKey": "kubernetes.io/hostname"}
    spec["affinity"] = {
        "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}
    }
    container = spec["containers"][0]
    container["env"] = [
        {"name": "REDIS_URL", "value": f"redis://{RELEASE}-redis:6379/0"},
        {"name": "REDIS_PASSWORD_FILE", "value": "/run/secrets/redis/password"},
    ]
    container["readinessProbe"] = {"tcpSocket": {"port": agent.PORT}, "periodSeconds": 1}
    container["volumeMounts"].append({"name": "password", "mountPath": "/run/secrets/redis", "readOnly": True})
    password = {"secretName": f"{RELEASE}-redis", "items": [{"key": "password", "path": "password"}]}
    spec["volumes"].append({"name": "password", "secret": password})
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": AGENT_NAME},
        "spec": {"selector": AGENT_LABELS, "ports": [{"name": "http", "port": agent.PORT}]},
    }
    return [pod, service]


def stranger_pod(settings: Settings) -> Manifest:
    """Somebody in the namespace whom nobody has let at Redis."""
    return _pod(settings, STRANGER_NAME, {"e2e": "stranger"})


def privileged_pod(settings: Settings) -> Manifest:
    """A pod that the level `restricted` refuses."""
    pod = _pod(settings, "e2e-privileged", {"e2e": "privileged"})
    pod["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    return pod


def hand_pod(settings: Settings, node: str) -> Manifest:
    """Reaches every process on a node; see `hand.py`."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": hand_name(node), "labels": {"e2e": "hand"}},
        "spec": {
            "nodeName": node,
            "hostPID": True,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsUser": 0},
            "containers": [
                {
                    "name": "hand",
                    "image": settings.image("order"),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-c", "import signal; signal.pause()"],
                    "securityContext": {"privileged": True},
                }
            ],
        },
    }


def hand_name(node: str) -> str:
    """The name of the hand on a node."""
    return f"hand-{node}"[:63].rstrip("-.")


def _pod(settings: Settings, name: str, labels: dict[str, str]) -> Manifest:
    """A pod with the agent's program that the level `restricted` lets in, made from a service's image."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "agent",
                    "image": settings.image("order"),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "/code/agent.py", "serve"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    # Without a share of its own it would starve first where the system under test is busy.
                    "resources": {"requests": {"cpu": "200m", "memory": "64Mi"}},
                    "volumeMounts": [{"name": "code", "mountPath": "/code", "readOnly": True}],
                }
            ],
            "volumes": [{"name": "code", "configMap": {"name": CODE_NAME}}],
        },
    }


def _files(name: str, *paths: Path) -> Manifest:
    data = {path.name: path.read_text(encoding="utf-8") for path in paths}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
