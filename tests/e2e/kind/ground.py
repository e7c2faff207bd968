"""What a run stands on: a cluster, made or given, with the images in it; and taking away what was made."""

from __future__ import annotations

import asyncio
import shutil

from tests.e2e.asking import SERVICES
from tests.e2e.driver import Broken

from .settings import CLUSTER_FILE, ROOT, WORK
from .tools import Tools

CLUSTER_NAME = "ecommerce-e2e"


class Ground:
    """Knows whether the cluster is ours to remove."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._settings = tools.settings
        self._made = False

    async def prepare(self) -> None:
        """Make the cluster unless one is given; build the images and load them, unless they are present."""
        if not self._settings.images_present:
            await self._build()
        if not self._settings.context:
            await self._make()
        if not self._settings.images_present:
            await self._load()
        await self._tools.kubectl("version")
        await self._tools.kubectl("get", "nodes", "-o", "wide")

    async def remove(self) -> None:
        """Take the cluster away that was made for this run."""
        if self._made:
            await self._tools.kind("delete", "cluster", "--name", CLUSTER_NAME)

    async def _make(self) -> None:
        kubeconfig = WORK / "kubeconfig"
        self._tools.use(f"kind-{CLUSTER_NAME}", kubeconfig)
        await asyncio.to_thread(kubeconfig.parent.mkdir, parents=True, exist_ok=True)
        if CLUSTER_NAME in (await self._tools.kind("get", "clusters")).split():
            print(f"» the cluster {CLUSTER_NAME} is there already: it is used, and stays")
            await self._tools.kind("export", "kubeconfig", "--name", CLUSTER_NAME, "--kubeconfig", str(kubeconfig))
            return
        image = ["--image", self._settings.node_image] if self._settings.node_image else []
        where = ["--config", str(CLUSTER_FILE), "--kubeconfig", str(kubeconfig)]
        self._made = not self._settings.keep
        await self._tools.kind("create", "cluster", "--name", CLUSTER_NAME, *where, "--wait", "5m", *image)

    async def _build(self) -> None:
        names = {"IMAGE_PREFIX": self._settings.image_prefix, "IMAGE_TAG": self._settings.image_tag}
        await self._tools.run([str(ROOT / "scripts/images")], more=names)

    async def _load(self) -> None:
        """By archives: loading by name fails for images that could be of several platforms."""
        name = self._kind_cluster()
        engine = self._engine()
        for image in [*(self._settings.image(service) for service in SERVICES), *await self._redis_image(engine)]:
            archive = WORK / "images" / f"{image.rpartition('/')[2].replace(':', '-')}.tar"
            await asyncio.to_thread(archive.parent.mkdir, parents=True, exist_ok=True)
            await self._tools.run([engine, "save", "--output", str(archive), image])
            await self._tools.kind("load", "image-archive", str(archive), "--name", name)
            await asyncio.to_thread(archive.unlink, missing_ok=True)

    def _kind_cluster(self) -> str:
        if not self._settings.context:
            return CLUSTER_NAME
        if not self._settings.context.startswith("kind-"):
            raise Broken(
                f"images can't be loaded into {self._settings.context}: push them to where it gets images, "
                "name them by IMAGE_PREFIX and IMAGE_TAG, and set E2E_IMAGES=present"
            )
        return self._settings.context.removeprefix("kind-")

    async def _redis_image(self, engine: str) -> list[str]:
        """The image that REDIS_IMAGE names, if it is here; else the nodes get it themselves."""
        image = self._settings.redis_image
        if not image or "@" in image:  # an archive would lose the digest
            return []
        try:
            await self._tools.run([engine, "image", "inspect", image], quiet=True)
        except Broken:
            return []
        return [image]

    def _engine(self) -> str:
        candidates = [self._settings.engine] if self._settings.engine else ["docker", "podman"]
        found = next((each for each in candidates if shutil.which(each)), None)
        if found is None:
            raise Broken(
                "neither Docker nor Podman is here to get images from; set E2E_IMAGES=present if they are there"
            )
        return found
