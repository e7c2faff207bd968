"""What the suite on Kubernetes is told by its environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy/helm/ecommerce"
CLUSTER_FILE = ROOT / "deploy/kind/cluster.yaml"
WORK = ROOT / "build/e2e/kind"

RELEASE = "shop"


@dataclass(frozen=True, slots=True)
class Settings:
    """Programs, images, and where to install them.

    `context` names an existing cluster, else one is made. `images_present` says that the cluster has the images already
    or gets them by itself, so that nothing is built or loaded. `keep` leaves everything standing at the end.
    """

    helm: str = "helm"
    kubectl: str = "kubectl"
    kind: str = "kind"
    engine: str = ""
    context: str = ""
    node_image: str = ""
    images_present: bool = False
    image_prefix: str = "localhost/ecommerce"
    image_tag: str = ""
    redis_image: str = ""
    namespace: str = "ecommerce-e2e"
    keep: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """From the variables that `make e2e` documents; empty ones count as not set."""
        given = {name: value for name, value in environment.items() if value}
        return cls(
            helm=given.get("HELM", "helm"),
            kubectl=given.get("KUBECTL", "kubectl"),
            kind=given.get("KIND", "kind"),
            engine=given.get("CONTAINER_ENGINE", ""),
            context=given.get("E2E_CONTEXT", ""),
            node_image=given.get("KIND_NODE_IMAGE", ""),
            images_present=given.get("E2E_IMAGES") == "present",
            image_prefix=given.get("IMAGE_PREFIX", "localhost/ecommerce"),
            image_tag=given.get("IMAGE_TAG", "") or app_version(),
            redis_image=given.get("REDIS_IMAGE", ""),
            namespace=given.get("NAMESPACE", "ecommerce-e2e"),
            keep=given.get("E2E_KEEP", "0") not in ("0", "false", "no"),
        )

    def image(self, service: str) -> str:
        """The whole name of a service's image."""
        return f"{self.image_prefix}/{service}:{self.image_tag}"

    @property
    def hands_namespace(self) -> str:
        """Where the privileged pods are that do harm: the system's own namespace refuses them."""
        return f"{self.namespace}-hands"


def app_version() -> str:
    """The version that `make images` gives the images, as the chart says it."""
    match = re.search(r'^appVersion: *"?([^"\s]+)', (CHART / "Chart.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    assert match is not None, f"{CHART}/Chart.yaml names no appVersion"
    return match[1]
