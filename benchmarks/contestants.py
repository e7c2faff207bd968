"""Who takes part: by which program, with how many of the events, and whether it can be run here."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from . import works

NODE_FOLDER = Path(__file__).parent / "node"

# Where the contestants written in Python are (`child` imports only the one that it needs).
MODULES = {
    "eventcore": "benchmarks.ours",
    "eventcore, at-least-once": "benchmarks.unguarded",
    "redis-py by hand": "benchmarks.by_hand",
    "redis-py by hand, our codec": "benchmarks.by_hand",
    "redis-py by hand, guards read": "benchmarks.by_hand",
    "redis-py, one by one": "benchmarks.by_hand",
    "FastStream": "benchmarks.with_faststream",
    "FastStream, batch": "benchmarks.with_faststream",
}


def always() -> str | None:
    """For those who need nothing more than eventcore does."""
    return None


def faststream() -> str | None:
    """Why FastStream can't take part, if it can't."""
    return None if find_spec("faststream") else "FastStream is not installed (`make bench PEERS=1` does)"


def node() -> str | None:
    """Why the programs for Node can't take part, if they can't."""
    if not shutil.which("node"):
        return "there is no node here"
    if not (NODE_FOLDER / "node_modules").is_dir():
        return "its packages are not installed (`make bench PEERS=1` does)"
    return None


@dataclass(frozen=True, slots=True)
class Contestant:
    """One way to do these works.

    Slow ones get only a `share` of the events, so that all take about as long. Those with a format `of_its_own` fill
    the stream themselves.
    """

    name: str
    works: tuple[str, ...] = works.WORKS
    share: float = 1
    of_its_own: bool = False
    missing: Callable[[], str | None] = always
    folder: Path | None = None

    def command(self, work: str, url: str, count: int) -> list[str]:
        """The program; see `child`."""
        if self.folder is not None:
            python = [str(self.folder / ".venv/bin/python"), "-m", "benchmarks.child", "eventcore"]
            return ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(self.folder), *python, work, url, str(count)]
        if self.name in MODULES:
            return [sys.executable, "-m", "benchmarks.child", self.name, work, url, str(count)]
        return ["node", str(NODE_FOLDER / "streams.mjs"), self.name, work, url, str(count)]


CONTESTANTS = (
    Contestant("eventcore"),
    Contestant("eventcore, at-least-once", works=(works.PIPE,)),
    Contestant("redis-py by hand", works=(works.PUBLISH_BATCHED, *works.CONSUMING)),
    Contestant("redis-py by hand, our codec", works=works.CONSUMING),
    Contestant("redis-py by hand, guards read", works=(works.RESERVE,)),
    Contestant("redis-py, one by one", works=(works.PUBLISH_AWAITING, *works.CONSUMING), share=0.2),
    Contestant(
        "FastStream",
        works=(works.PUBLISH_AWAITING, *works.CONSUMING),
        share=0.1,
        of_its_own=True,
        missing=faststream,
    ),
    Contestant("FastStream, batch", works=works.CONSUMING, share=0.2, of_its_own=True, missing=faststream),
    Contestant("ioredis as in the article", works=(works.PUBLISH_AWAITING, *works.CONSUMING), share=0.3, missing=node),
    Contestant("ioredis, batched", works=(works.PUBLISH_BATCHED, *works.CONSUMING), missing=node),
    Contestant(
        "BullMQ",
        works=(works.PUBLISH_AWAITING, works.ACKNOWLEDGE, works.PIPE),
        share=0.2,
        of_its_own=True,
        missing=node,
    ),
)


OTHER_BUILD = "eventcore, other build"


def beside(folder: Path | None) -> tuple[Contestant, ...]:
    """Eventcore as checked out in another folder, where one is named, as a contestant."""
    return () if folder is None else (Contestant(OTHER_BUILD, folder=folder.resolve()),)
