"""What is aimed at, and what a run says about it. Nothing here ever fails: a goal that is not met is told as such."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import figures, posting, saga, telemetry, works
from .figures import Of, Runs
from .plan import AT_REST, COMPUTING, FLAT, IN_TELEMETRY, SAGA_AT_RATE, SAGA_FOR_LONG, TWO_PROCESSES
from .running import cores

_OURS, _BY_HAND = "eventcore", "redis-py by hand"
# What the guarantees cost: no more than a quarter of the rate.
_UNGUARDED = "eventcore, at-least-once"


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that shall be at least, or at most, so much. `of` gives `None` where a run has not measured it.

    `unless` says what no program could have changed, where there is such a reason for missing the goal.
    """

    number: str
    name: str
    limit: float
    of: Callable[[Runs], float | None]
    at_least: bool = True
    unit: str = ""
    by_cpu: Callable[[Runs], float | None] = lambda runs: None
    unless: Callable[[Runs], str | None] = lambda runs: None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal, and what became of it; `word` is `met`, `not met` (or why it could not be) or `not measured`.

    `by_cpu` is the same by the CPU that both used, which a busy machine distorts less; it decides nothing.
    """

    number: str
    goal: str
    wanted: str
    measured: str
    by_cpu: str
    word: str


def verdicts(runs: Runs) -> list[Verdict]:
    """One for each goal."""
    return [_judge(goal, runs) for goal in goals()]


def _judge(goal: Goal, runs: Runs) -> Verdict:
    value, by_cpu = goal.of(runs), goal.by_cpu(runs)
    wanted = f"{'≥' if goal.at_least else '≤'} {goal.limit:,g} {goal.unit}".rstrip()
    if value is None:
        return Verdict(goal.number, goal.name, wanted, "", "", "not measured")
    met = value >= goal.limit if goal.at_least else value <= goal.limit
    shown = f"{value:,.0f}" if value >= 1000 else f"{value:,.2f}"
    also = "" if by_cpu is None else f"{by_cpu:,.2f}"
    word = "met" if met else goal.unless(runs) or "not met"
    return Verdict(goal.number, goal.name, wanted, f"{shown} {goal.unit}".rstrip(), also, word)


def goals() -> Iterator[Goal]:
    """All, in the order in which the project states them."""
    yield from _publishing()
    yield from _consuming()
    yield from _scaling()
    yield from _serving()
    yield from _telemetry()
    yield from _resting()


def _publishing() -> Iterator[Goal]:
    for limit, peer in ((6, "FastStream"), (4, "redis-py, one by one"), (1, "ioredis as in the article")):
        yield _beside("1", "publish with 64 awaiters", works.PUBLISH_AWAITING, peer, limit)
    yield _beside("1", "publish in batches", works.PUBLISH_BATCHED, _BY_HAND, 0.9)


def _consuming() -> Iterator[Goal]:
    for limit, peer in ((12, "FastStream"), (2, "FastStream, batch"), (0.8, f"{_BY_HAND}, our codec")):
        yield _beside("2", "consume and acknowledge", works.ACKNOWLEDGE, peer, limit)
    for limit, peer in ((0.9, _BY_HAND), (12, "FastStream"), (6, "ioredis as in the article")):
        yield _beside("3", "exactly-once reservation", works.RESERVE, peer, limit)
    for which, peer in (("its single commands", f"{_BY_HAND}, guards read"), ("those that only write", _BY_HAND)):
        server = _times(works.RESERVE, _OURS, peer, figures.server)
        yield Goal("3", f"Redis's CPU for it beside {which}", 1, server, at_least=False, unit="times")
    for limit, peer in ((12, "FastStream"), (0.7, _BY_HAND), (0.75, _UNGUARDED)):
        yield _beside("3", "plain pipe", works.PIPE, peer, limit)


def _scaling() -> Iterator[Goal]:
    for name, work in (("computing 0.2 ms", COMPUTING), ("an empty handler", TWO_PROCESSES)):
        two = _times(work, "2 processes", "1 process")
        yield Goal("4", f"two processes beside one, {name}", 1.7, two, unit="times", unless=_full(work, "2 processes"))
    for where, of_what in (
        ("entries in the stream", "an event"),
        ("lines in an order", "a line"),
        ("groups", "a delivery"),
        ("pending for a peer", "an event"),
    ):
        yield Goal(
            "4", f"cost of {of_what}: most {where} beside fewest", 1.2, _flat(where), at_least=False, unit="times"
        )


def _serving() -> Iterator[Goal]:
    for limit, peer in ((0.6, posting.BARE), (3, posting.NEST)):
        yield _beside("5", "POST /orders", posting.WORK, peer, limit)
    yield Goal("5", "its p99 at half load", 10, _figure(posting.WORK, _OURS, "p99"), at_least=False, unit="ms")
    yield Goal("6", "whole saga on this machine, sustained", 2000, _sustained, unit="orders/s")
    for limit, percent in ((15, "p50"), (60, "p99")):
        latency = _figure(SAGA_AT_RATE, saga.OURS, f"confirmed {percent}")
        yield Goal("6", f"POST to confirmed at 500 orders/s, {percent}", limit, latency, at_least=False, unit="ms")


def _telemetry() -> Iterator[Goal]:
    for work in IN_TELEMETRY.values():
        for limit, way in ((5, telemetry.UNSAMPLED), (40, telemetry.EXPORTED)):
            lost = _lost(work, way)
            name = f"{work}, {way}: rate lost"
            yield Goal("7", name, limit, lost, at_least=False, unit="%")


def _resting() -> Iterator[Goal]:
    for name, key, limit, unit in (
        ("a service at rest, CPU", "percent", 1, "% of a core"),
        ("a service at rest, memory", "megabytes", 70, "MB"),
        ("ready after its start", "ready", 1.5, "s"),
    ):
        yield Goal("8", name, limit, _worst(key), at_least=False, unit=unit)
    most = _figure(saga.WORK, saga.OURS, "megabytes")
    yield Goal("8", "a replica under full load, memory", 110, most, at_least=False, unit="MB")
    grown = _figure(SAGA_FOR_LONG, saga.OURS, "memory grown")
    name = "memory after long load beside that after a sixth of it"
    yield Goal("8", name, 1.05, grown, at_least=False, unit="times")


def _full(work: str, who: str) -> Callable[[Runs], str | None]:
    """More processes can't do more where those that run, and Redis, leave no core free (a tenth is the kernel's)."""

    def full(runs: Runs) -> str | None:
        used = figures.median(_of(runs, work, who), figures.cores_in_use)
        there = len(cores())
        return f"not met: {used:.2f} of {there} cores in use" if used and used >= 0.9 * there else None

    return full


def _of(runs: Runs, work: str, who: str) -> list[figures.Run]:
    return runs.get(work, {}).get(who, [])


def _sustained(runs: Runs) -> float | None:
    return figures.median(_of(runs, saga.WORK, saga.OURS), figures.rate)


def _times(work: str, who: str, base: str, of: Of = figures.rate) -> Callable[[Runs], float | None]:
    return lambda runs: figures.ratio(_of(runs, work, who), _of(runs, work, base), of)


def _beside(number: str, name: str, work: str, peer: str, limit: float) -> Goal:
    return Goal(
        number,
        f"{name} beside {peer}",
        limit,
        _times(work, _OURS, peer),
        unit="times",
        by_cpu=_times(work, peer, _OURS, figures.client),
    )


def _figure(work: str, who: str, name: str) -> Callable[[Runs], float | None]:
    return lambda runs: figures.median(_of(runs, work, who), figures.named(name))


def _lost(work: str, way: str) -> Callable[[Runs], float | None]:
    """Per cent of the rate that telemetry costs, by CPU: one core has nothing else to give."""

    def lost(runs: Runs) -> float | None:
        more = figures.ratio(_of(runs, work, way), _of(runs, work, telemetry.OFF), figures.client)
        return None if more is None else (1 - 1 / more) * 100

    return lost


def _flat(where: str) -> Callable[[Runs], float | None]:
    def most(runs: Runs) -> float | None:
        sizes = list(runs.get(FLAT + where, {}).values())
        return figures.ratio(sizes[-1], sizes[0], figures.both) if sizes else None

    return most


def _worst(name: str) -> Callable[[Runs], float | None]:
    def worst(runs: Runs) -> float | None:
        found = [figures.median(measured, figures.named(name)) for measured in runs.get(AT_REST, {}).values()]
        return max((value for value in found if value is not None), default=None)

    return worst
