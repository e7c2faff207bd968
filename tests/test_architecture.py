"""Imports point down only: the layers of eventcore, of the services, and who may know whom.

The tables come first, the rules after them; the last tests plant one violation of each rule and see it found.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from scripts import modules_page

ROOT = Path(__file__).parents[1]

# The rooms of eventcore, from top to bottom, as docs/architecture.md has them. A module imports from its own floor or a
# lower one. `__init__` is the face of eventcore, which its own modules don't look at.
ROOMS = {room.name: room for room in modules_page.rooms()}

# A service, from top to bottom. Modules with other names stand outside this order.
SERVICE_LAYERS = (frozenset({"__main__"}), frozenset({"app"}), frozenset({"api", "handlers"}), frozenset({"domain"}))
FORBIDDEN_IN_DOMAIN = frozenset({"aiohttp", "redis"})

# The published language knows the standard library and these.
CONTRACTS_MAY_IMPORT = frozenset({"contracts", "eventcore", "pydantic"})

# Only these know how telemetry is exported; all else knows OpenTelemetry's API.
SDK = frozenset({"opentelemetry.sdk", "opentelemetry.exporter"})
MAY_IMPORT_SDK = frozenset({"eventcore.telemetry.batching", "eventcore.telemetry.configure"})


@dataclass(frozen=True)
class Module:
    """A module of a member, and the dotted names that it imports (`from a import b` is `a.b`), by line."""

    name: str
    path: Path
    imports: tuple[tuple[int, str], ...]

    @property
    def member(self) -> str:
        """The member's import name."""
        return self.name.partition(".")[0]

    @property
    def part(self) -> str:
        """The module's, or its package's, name directly under the member."""
        return self.name.split(".")[1] if "." in self.name else "__init__"


@dataclass(frozen=True)
class Tree:
    """The members' sources under one root."""

    root: Path

    @cached_property
    def modules(self) -> Mapping[str, Module]:
        """All modules by name."""
        return {
            module.name: module
            for source in sorted([*self.root.glob("libs/*/src"), *self.root.glob("services/*/src")])
            for path in sorted(source.rglob("*.py"))
            for module in [parse(path, path.relative_to(source))]
        }

    @cached_property
    def services(self) -> frozenset[str]:
        """The import names of the services."""
        return frozenset(path.name for path in self.root.glob("services/*/src/*") if path.is_dir())

    def of(self, *members: str) -> Iterator[Module]:
        """The modules of these members."""
        return (module for module in self.modules.values() if module.member in members)

    def resolve(self, imported: str) -> Module | None:
        """The member's module that this import reaches, if it reaches one."""
        while imported not in self.modules and "." in imported:
            imported = imported.rpartition(".")[0]
        return self.modules.get(imported)

    def links(self, module: Module) -> Iterator[tuple[int, Module]]:
        """The modules of the same member that this one imports, by line."""
        for line, imported in module.imports:
            target = self.resolve(imported)
            if target and target.member == module.member and target != module:
                yield line, target


def parse(path: Path, relative: Path) -> Module:
    """Read a module's imports, relative ones made absolute, those inside functions and `TYPE_CHECKING` included."""
    parts = list(relative.with_suffix("").parts)
    package = parts[:-1]
    name = ".".join(package if parts[-1] == "__init__" else parts)
    imports: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            imports += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            imports += [(node.lineno, f"{origin}.{alias.name}") for alias in node.names]
    return Module(name, path, tuple(sorted(imports)))


def among(imported: str, packages: frozenset[str]) -> bool:
    """Whether the import reaches one of these packages."""
    return any(imported == package or imported.startswith(f"{package}.") for package in packages)


def forbidden(tree: Tree, module: Module) -> Iterator[tuple[str, frozenset[str]]]:
    """What a module must not import, and what that is to it."""
    if module.member in tree.services:
        yield "another service", tree.services - {module.member}  # what they say to each other goes through events
    else:
        yield "from above", tree.services | ({"contracts"} - {module.member})
    if module.member == "eventcore" and module.part in ROOMS:
        yield "what its room keeps out", frozenset(ROOMS[module.part].forbidden)
    if module.name not in MAY_IMPORT_SDK:  # without a configured exporter telemetry costs next to nothing
        yield f"what only {sorted(MAY_IMPORT_SDK)} may", SDK


def nothing_forbidden_is_imported(tree: Tree) -> Iterator[str]:
    """Services know no other service, libraries no service, rooms what they need, one module the SDK."""
    for module in tree.modules.values():
        for what, packages in forbidden(tree, module):
            for line, imported in module.imports:
                if among(imported, packages):
                    yield f"{module.path}:{line}: {module.name} imports {what}: {imported}"


def contracts_know_only_eventcore(tree: Tree) -> Iterator[str]:
    """A program in another language could have published these events."""
    for module in tree.of("contracts"):
        for line, imported in module.imports:
            package = imported.partition(".")[0]
            if package not in CONTRACTS_MAY_IMPORT and package not in sys.stdlib_module_names:
                yield f"{module.path}:{line}: {module.name} imports {imported}; contracts know only eventcore"


def private_names_stay_at_home(tree: Tree) -> Iterator[str]:
    """A member uses the public names of the others."""
    for module in tree.modules.values():
        for line, imported in module.imports:
            target = tree.resolve(imported)
            names = imported.split(".")
            if target and target.member != module.member and any(is_private(name) for name in names):
                yield f"{module.path}:{line}: {module.name} imports a private name of {target.member}: {imported}"


def is_private(name: str) -> bool:
    """Whether a name is for its own package only."""
    return name.startswith("_") and not name.endswith("__")


def domains_know_no_machinery(tree: Tree) -> Iterator[str]:
    """A domain imports neither a client nor a server, nor anything of its service that does."""
    for module in tree.of(*tree.services):
        if module.part == "domain":
            yield from machinery_behind(tree, module)


def machinery_behind(tree: Tree, domain: Module) -> Iterator[str]:
    """Follow the imports within the service, and say the way to each forbidden one."""
    ways = {domain.name: domain.name}
    waiting = [domain]
    while waiting:
        module = waiting.pop()
        for line, imported in module.imports:
            if among(imported, FORBIDDEN_IN_DOMAIN):
                yield f"{module.path}:{line}: a domain reaches {imported}: {ways[module.name]}"
        for _, target in tree.links(module):
            if target.name not in ways:
                ways[target.name] = f"{ways[module.name]} -> {target.name}"
                waiting.append(target)


def services_import_downwards(tree: Tree) -> Iterator[str]:
    """__main__, app, api and handlers, domain."""
    heights = {name: height for height, names in enumerate(SERVICE_LAYERS) for name in names}
    for module in tree.of(*tree.services):
        for line, target in tree.links(module):
            if module.part in heights and heights.get(target.part, len(heights)) < heights[module.part]:
                yield f"{module.path}:{line}: {module.name} imports upwards: {target.name}"


def eventcore_modules_have_a_room(tree: Tree) -> Iterator[str]:
    """A new room is put into the table of docs/architecture.md by whoever builds it."""
    for module in tree.of("eventcore"):
        if module.part not in ROOMS:
            yield f"{module.path}:1: {module.name} is in no room of docs/architecture.md"


def eventcore_imports_downwards(tree: Tree) -> Iterator[str]:
    """From its own floor or a lower one."""
    for module in tree.of("eventcore"):
        room = ROOMS.get(module.part)
        for line, target in tree.links(module):
            above = ROOMS.get(target.part)
            if room and above and above.floor > room.floor:
                yield f"{module.path}:{line}: {module.name} (floor {room.floor}) imports upwards: {target.name}"


Rule = Callable[[Tree], Iterator[str]]

RULES: tuple[Rule, ...] = (
    nothing_forbidden_is_imported,
    contracts_know_only_eventcore,
    private_names_stay_at_home,
    domains_know_no_machinery,
    services_import_downwards,
    eventcore_modules_have_a_room,
    eventcore_imports_downwards,
)

# Sources that break one rule, and what is then said.
ORDER, EVENTCORE = "services/order/src/order_service", "libs/eventcore/src/eventcore"
VIOLATIONS: tuple[tuple[Mapping[str, str], str], ...] = (
    (
        {f"{ORDER}/app.py": "def start():\n    from inventory_service.domain import Stock\n"},
        "app.py:2: order_service.app imports another service: inventory_service.domain.Stock",
    ),
    (
        {f"{EVENTCORE}/web/page.py": "import contracts\n"},
        "page.py:1: eventcore.web.page imports from above: contracts",
    ),
    (
        {"libs/contracts/src/contracts/orders.py": "import json\nimport pydantic\nimport eventcore\nimport aiohttp\n"},
        "orders.py:4: contracts.orders imports aiohttp; contracts know only eventcore",
    ),
    (
        {f"{ORDER}/app.py": "from eventcore.events.event import __doc__, _registry\n"},
        "app.py:1: order_service.app imports a private name of eventcore: eventcore.events.event._registry",
    ),
    (
        {
            f"{ORDER}/domain/order.py": "from order_service import keys\n",
            f"{ORDER}/keys.py": "import redis.asyncio\n",
        },
        "keys.py:1: a domain reaches redis.asyncio: order_service.domain.order -> order_service.keys",
    ),
    (
        {f"{ORDER}/api.py": "", f"{ORDER}/domain.py": "from . import api, views\n", f"{ORDER}/views.py": ""},
        "domain.py:1: order_service.domain imports upwards: order_service.api",
    ),
    ({f"{EVENTCORE}/misc.py": ""}, "misc.py:1: eventcore.misc is in no room of docs/architecture.md"),
    (
        {
            f"{EVENTCORE}/consume/loop.py": "from ..commit.retry import delay\n",
            f"{EVENTCORE}/commit/retry.py": "from typing import Any\nfrom ..consume.loop import turn\n",
        },
        "retry.py:2: eventcore.commit.retry (floor 4) imports upwards: eventcore.consume.loop",
    ),
    (
        {
            f"{EVENTCORE}/server/streams.py": "import redis\n",
            f"{EVENTCORE}/events/retry.py": "from redis.exceptions import RedisError\n",
        },
        "retry.py:1: eventcore.events.retry imports what its room keeps out: redis.exceptions.RedisError",
    ),
    (
        {
            f"{EVENTCORE}/telemetry/configure.py": "from opentelemetry.sdk import trace\n",
            f"{EVENTCORE}/telemetry/__init__.py": "from opentelemetry import sdk, trace\n",
        },
        "telemetry/__init__.py:1: eventcore.telemetry imports what only ",
    ),
)


@pytest.mark.parametrize("document", modules_page.generated(), ids=lambda path: path.name)
def test_documents_say_of_rooms_and_modules_what_these_say_of_themselves(document: Path) -> None:
    assert document.read_text() == modules_page.generated()[document], "run python -m scripts.modules_page"


@pytest.fixture(scope="module")
def repository() -> Tree:
    return Tree(ROOT)


def test_every_member_is_looked_at(repository: Tree) -> None:
    members = {module.member for module in repository.modules.values()}
    assert members == {"contracts", "eventcore", "inventory_service", "notification_service", "order_service"}


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_holds(rule: Rule, repository: Tree) -> None:
    violations = "\n".join(rule(repository))
    assert not violations, violations


@pytest.mark.parametrize(("planted", "said"), VIOLATIONS)
def test_a_violation_is_found_and_nothing_else(planted: Mapping[str, str], said: str, tmp_path: Path) -> None:
    sound = {
        "libs/contracts/src/contracts/__init__.py": "from eventcore import Event\n",
        "libs/eventcore/src/eventcore/__init__.py": "from .events.event import Event\n",
        "libs/eventcore/src/eventcore/events/event.py": "import pydantic\n",
        "services/inventory/src/inventory_service/domain.py": "from contracts import OrderCreated\n",
        "services/order/src/order_service/app.py": "import aiohttp\nfrom eventcore import Event\n",
    }
    for name, text in {**sound, **planted}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    [found] = [violation for rule in RULES for violation in rule(Tree(tmp_path))]
    assert said in found
