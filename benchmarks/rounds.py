"""Rounds: every work by every contestant, again and again, each time with another one going first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from rich.console import Console

from .figures import Runs
from .plan import Cell, Servers
from .running import WrongCount


def interleaved(cells: Sequence[Cell], servers: Servers, rounds: int, console: Console) -> Runs:
    """Run every cell once in each round; who can't take part, or fails, is told of and left out."""
    for who, reason in sorted({(cell.who, cell.missing) for cell in cells if cell.missing}):
        console.print(f"without {who}: {reason}", style="yellow")
    cells = [cell for cell in cells if not cell.missing]
    runs: Runs = {}
    for cell in cells:
        runs.setdefault(cell.work, {})[cell.who] = []
    for number, work in itertools.product(range(rounds), runs):
        taking_part = [cell for cell in cells if cell.work == work and cell.who in runs[work]]
        first = number % max(1, len(taking_part))
        for cell in taking_part[first:] + taking_part[:first]:
            if cell.once and number:
                continue
            with console.status(f"round {number + 1} of {rounds}: {work}: {cell.who}"):
                try:
                    runs[work][cell.who].append(cell.measure(getattr(servers, cell.server)))
                except (WrongCount, OSError) as error:
                    console.print(f"left out: {work}: {cell.who}: {error}", style="red")
                    del runs[work][cell.who]
    return {work: by_whom for work, by_whom in runs.items() if by_whom}
