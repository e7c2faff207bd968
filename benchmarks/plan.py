"""All that is measured: which work by whom, and how."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial

from eventcore.testing.server import Server, ServerKind

from . import durability, flatness, posting, processes, programs, resting, running, saga, telemetry, works
from .contestants import CONTESTANTS, beside
from .figures import Run
from .running import on_core

AT_REST = "service at rest"
SAGA_AT_RATE = "whole saga, 500 orders/s"
SAGA_FOR_LONG, LASTING_RATE = "whole saga, for long", 300
TWO_PROCESSES, COMPUTING = "processes: consume, acknowledge", "processes: consume, compute 0.2 ms, acknowledge"
IN_TELEMETRY = {work: f"telemetry: {work}" for work in (works.ACKNOWLEDGE, works.RESERVE)}
DURABLE = "durability: POST /orders"
FLAT = "flatness: "


@dataclass(frozen=True, slots=True)
class Cell:
    """One contestant at one work; `measure` runs it once on the given server, which is one of `Servers`.

    One that is `missing` says why it can't be run. What hardly varies is measured `once`, not in every round.
    """

    work: str
    who: str
    measure: Callable[[str], Run]
    server: str = "alone"
    missing: str | None = None
    once: bool = False


class Servers:
    """The servers that are needed, each started when it is first asked for; ended with the stack."""

    def __init__(self, kind: ServerKind, stack: ExitStack) -> None:
        self._kind, self._stack = kind, stack

    @cached_property
    def alone(self) -> str:
        """On the first core."""
        with on_core(0):
            return self._stack.enter_context(Server(kind=self._kind).start()).url

    @cached_property
    def anywhere(self) -> str:
        """On any core."""
        return self._stack.enter_context(Server(kind=self._kind)).url

    @cached_property
    def durable(self) -> str:
        """With an append-only file and a replica."""
        return self._stack.enter_context(durability.servers(self._kind))


def plan(options: argparse.Namespace) -> list[Cell]:
    """Everything, in the order in which it is told."""
    cells = [*_streams(options), *_http(options), *_saga(options), *_scaling(options.events)]
    cells += [*_flatness(options), *_telemetry(options.events), *_services(options)]
    parts = [part.strip() for part in options.only.split(";")]
    return [cell for cell in cells if any(part in cell.work for part in parts) and _wanted(cell, options.who)]


def _wanted(cell: Cell, who: str) -> bool:
    posts = (*posting.CONTESTANTS, *posting.GUARDED)
    others = ({each.name for each in CONTESTANTS} | {each.name for each in posts}) - {"eventcore"}
    return cell.who not in others or who in cell.who


def _streams(options: argparse.Namespace) -> Iterator[Cell]:
    for work in works.WORKS:
        for each in (*CONTESTANTS, *beside(options.beside)):
            if work in each.works:
                count = int(options.events * each.share)
                measure = partial(running.run, contestant=each, work=work, count=count)
                yield Cell(work, each.name, measure, missing=each.missing())


def _http(options: argparse.Namespace) -> Iterator[Cell]:
    for each in (*posting.CONTESTANTS, *posting.GUARDED, *posting.beside(options.beside)):
        measure = partial(posting.measure, contestant=each, count=options.events // 4)
        yield Cell(posting.WORK, each.name, measure, missing=each.missing())


def _saga(options: argparse.Namespace) -> Iterator[Cell]:
    for who, count in ((saga.OURS, options.sustained), (saga.BY_HAND, options.events // 2)):
        yield Cell(saga.WORK, who, partial(saga.measure, who=who, count=count), "anywhere")
    count = 500 * (30 if options.full else 8)
    yield Cell(SAGA_AT_RATE, saga.OURS, partial(saga.measure, who=saga.OURS, count=count, rate=500), "anywhere")
    if options.minutes:
        measure = partial(saga.measure, who=saga.OURS, count=options.minutes * 60 * LASTING_RATE, rate=LASTING_RATE)
        yield Cell(SAGA_FOR_LONG, saga.OURS, measure, "anywhere", once=True)


def _scaling(events: int) -> Iterator[Cell]:
    # As many as take both about a second: what a process needs to join, and to find that nothing is left, is no work.
    for work, count, computes in ((TWO_PROCESSES, events * 5, False), (COMPUTING, events // 4, True)):
        for number, who in ((1, "1 process"), (2, "2 processes")):
            measure = partial(processes.measure, how_many=number, count=count, computing=computes)
            yield Cell(work, who, measure, "anywhere")


def _flatness(options: argparse.Namespace) -> Iterator[Cell]:
    for where in flatness.circumstances(full=options.full):
        measure = partial(flatness.measure, where=where, count=options.events)
        yield Cell(FLAT + where.name, f"{where.size:,}", measure, once=not options.full)


def _telemetry(count: int) -> Iterator[Cell]:
    for work, name in IN_TELEMETRY.items():
        for way in telemetry.WAYS:
            # Long enough for a few per cent of it to be more than what a program needs to begin and to end.
            yield Cell(name, way, partial(telemetry.measure, way=way, work=work, count=count * 3))


def _services(options: argparse.Namespace) -> Iterator[Cell]:
    for way in durability.WAYS:
        measure = partial(durability.measure, way=way, count=options.events // 5)
        yield Cell(DURABLE, way, measure, "durable", once=not options.full)
    for module in programs.SERVICES:
        measure = partial(resting.measure, module=module, seconds=20 if options.full else 4)
        yield Cell(AT_REST, module, measure, "anywhere", once=not options.full)
