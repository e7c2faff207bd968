"""`python -m eventcore.schemas check|write MODULE FOLDER`: the schemas of all events that a module offers."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from eventcore.events.event import Event

from . import check, write_schemas


def main() -> int:
    """Do it; 1 if something is wrong, which is then said on standard error."""
    parser = argparse.ArgumentParser(prog="python -m eventcore.schemas", description=__doc__)
    parser.add_argument("action", choices=("check", "write"))
    parser.add_argument("module", help="whose events: contracts")
    parser.add_argument("folder", type=Path, help="where the files stand: libs/contracts/schemas")
    options = parser.parse_args()
    events = [each for each in vars(import_module(options.module)).values() if _is_event(each)]
    problems = (write_schemas if options.action == "write" else check)(events, options.folder)
    print("\n\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    return 1 if problems else 0


def _is_event(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Event) and value is not Event


if __name__ == "__main__":
    sys.exit(main())
