"""As much of a Kubernetes API as Helm asks for: it keeps what is applied, and nothing runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.deploy.answering import serving

KINDS = {
    "v1": ("Pod", "Secret", "ConfigMap", "Service", "ServiceAccount", "Namespace", "PersistentVolumeClaim"),
    "apps/v1": ("Deployment", "StatefulSet"),
    "networking.k8s.io/v1": ("NetworkPolicy", "Ingress"),
    "policy/v1": ("PodDisruptionBudget",),
}


class Cluster:
    """The objects, by path of their resource."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.scaled: dict[str, int] = {}
        self.address = ""

    def get(self, kind: str, name: str) -> Any:
        """One object by kind and name."""
        return next(each for each in self.objects.values() if (each["kind"], each["metadata"]["name"]) == (kind, name))

    def scale(self, name: str, replicas: int) -> None:
        """What `kubectl scale deployment` does: kubectl owns the number from now on."""
        self.get("Deployment", name)["spec"]["replicas"] = replicas
        self.scaled[name] = replicas

    def _conflicts(self, manifest: Any) -> bool:
        """Whether a server-side apply would take a number from kubectl."""
        wanted = manifest["spec"].get("replicas") if manifest["kind"] == "Deployment" else None
        return wanted is not None and self.scaled.get(manifest["metadata"]["name"], wanted) != wanted

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """What the API says to a request: a status and an object."""
        path = path.partition("?")[0]
        if path == "/version":
            return 200, {"major": "1", "minor": "36", "gitVersion": "v1.36.1"}
        if (discovered := _discovery(path)) is not None:
            return 200, discovered
        if method in ("PATCH", "PUT"):
            if self._conflicts(body):
                return 409, _failure(409, "Conflict", 'conflict with "kubectl" using apps/v1: .spec.replicas')
            self.objects[path] = body
        elif method == "POST":
            self.objects[f"{path}/{body['metadata']['name']}"] = body
            return 201, body
        elif method == "DELETE":
            self.objects.pop(path, None)
            return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        if path in self.objects:
            return 200, self.objects[path]
        if path.rsplit("/", 1)[-1] in _plurals():
            version, kind = _plurals()[path.rsplit("/", 1)[-1]]
            items = [each for key, each in self.objects.items() if key.rsplit("/", 1)[0] == path]
            return 200, {"apiVersion": version, "kind": f"{kind}List", "metadata": {}, "items": items}
        return 404, _failure(404, "NotFound", f"{path} not found")


def _failure(code: int, reason: str, message: str) -> Any:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason}
    return status | {"code": code, "message": message, "details": {}}


def _plural(kind: str) -> str:
    lower = kind.lower()
    return lower[:-1] + "ies" if lower.endswith("y") else lower + ("es" if lower.endswith("s") else "s")


def _plurals() -> dict[str, tuple[str, str]]:
    return {_plural(kind): (version, kind) for version, kinds in KINDS.items() for kind in kinds}


def _discovery(path: str) -> Any:
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = []
        for version in KINDS:
            if "/" in version:
                entry = {"groupVersion": version, "version": version.split("/")[1]}
                groups.append({"name": version.split("/")[0], "versions": [entry], "preferredVersion": entry})
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if path == "/openapi/v3":
        return {"paths": {_base(each)[1:]: {"serverRelativeURL": f"/openapi/v3{_base(each)}"} for each in KINDS}}
    for version in KINDS:
        if path == f"/openapi/v3{_base(version)}":
            return _openapi(version)
        if path == _base(version):
            return _resources(version)
    return None


def _base(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _openapi(version: str) -> Any:
    """Just enough to say that the server validates fields itself, so that Helm doesn't."""
    group, _, name = version.rpartition("/")
    patch = {"parameters": [{"name": "fieldValidation", "in": "query"}], "responses": {}}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "1.36"},
        "paths": {
            f"{_base(version)}/{kind}": {
                "patch": patch | {"x-kubernetes-group-version-kind": {"group": group, "version": name, "kind": kind}}
            }
            for kind in KINDS[version]
        },
    }


def _resources(version: str) -> Any:
    resources = [
        {
            "name": _plural(kind),
            "singularName": kind.lower(),
            "namespaced": kind != "Namespace",
            "kind": kind,
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        }
        for kind in KINDS[version]
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


@contextmanager
def running() -> Iterator[Cluster]:
    """A cluster that answers on a local port."""
    cluster = Cluster()
    with serving(cluster.answer) as cluster.address:
        yield cluster
