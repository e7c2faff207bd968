"""What is made from the events: their schemas on file, AsyncAPI documents, and the page about them in docs/.

`python -m scripts.contracts` writes all of it anew; `--check` writes nothing and says what differs. What is on file of
an event's version is never changed: a changed type needs a new version, and this says which.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

import contracts
from eventcore import Event, Settings
from eventcore.schemas import check, write_schemas
from eventcore.schemas.asyncapi import Document, Participant, asyncapi_document
from eventcore.web.service import SERVICE

from .chart_reference import SERVICES
from .events_page import page

ROOT = Path(__file__).parents[1]
SCHEMAS = ROOT / "libs/contracts/schemas"
DOCUMENTS = ROOT / "docs/asyncapi"
PAGE = ROOT / "docs/events.md"
SYSTEM = "shop"

# All that the contracts offer.
EVENTS = [each for each in vars(contracts).values() if isinstance(each, type) and issubclass(each, Event)]


def participants() -> list[Participant]:
    """The services, as they are wired."""
    found = []
    for name in SERVICES:
        settings = import_module(f"{name}_service.settings")
        model = next(each for each in vars(settings).values() if _is_settings(each, settings.__name__))
        service = import_module(f"{name}_service.app").create_app(model())[SERVICE]
        routers = [consumer.router for consumer in service.consumers]
        found.append(Participant(service.name, service.description, routers, service.publishes))
    return found


def _is_settings(value: object, module: str) -> bool:
    return isinstance(value, type) and issubclass(value, Settings) and value.__module__ == module


def documents() -> dict[str, Document]:
    """The AsyncAPI document of each service, and of all of them together, by file name."""
    services = participants()
    examples = {event.type: _examples(event) for event in EVENTS}
    each = {
        service.name: asyncapi_document(service.name, [service], description=service.description, examples=examples)
        for service in services
    }
    whole = asyncapi_document(
        SYSTEM, services, description="All events of the shop, on all of its streams.", examples=examples
    )
    return {**each, SYSTEM: whole}


def _examples(event: type[Event]) -> Any:
    path = SCHEMAS / event.type / f"{event.version}.examples.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else []


def generated() -> dict[Path, str]:
    """What the files ought to hold; `SCHEMAS` look after themselves."""
    made = documents()
    texts = {DOCUMENTS / f"{name}.yaml": _HEADING + _yaml(content) for name, content in made.items()}
    return {**texts, PAGE: page(made[SYSTEM], SCHEMAS)}


_HEADING = "# Made by `make contracts` from the services and their events.\n"


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # anchors are for machines
        return True


def _yaml(content: Document) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def main(arguments: list[str]) -> int:
    """Write or check; 1 if something is left to do, which is then said on standard error."""
    # Nothing here depends on where it runs.
    os.environ.clear()
    if "--check" in arguments:
        problems = check(EVENTS, SCHEMAS) or [
            f"{path} is not what the events say: run make contracts"
            for path, text in generated().items()
            if not path.exists() or path.read_text("utf-8") != text
        ]
    else:
        problems = write_schemas(EVENTS, SCHEMAS)
        for path, text in generated().items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
    print("\n\n".join(each.replace(f"{ROOT}/", "") for each in problems), file=sys.stderr, end="")
    if problems:
        print("\n\ndocs/evolving-events.md explains; then run make contracts.", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
