"""The end of every history: once nothing goes wrong any more, everything comes to its end by itself."""

from __future__ import annotations

from .happenings import GROUP, Mode
from .model import STREAMS
from .simulation import Simulation

# Many times what the longest histories need: a pod that dies of an event takes some ten rounds until another has it.
_MOST_ROUNDS = 1000


def drain(simulation: Simulation) -> None:
    """Let all requests arrive and time pass until all is done. `AssertionError` where it is not done in good time.

    Whoever has crashed has by now been silent for long enough, and somebody is there to notice.
    """
    model, world = simulation.model, simulation.world
    world.healed |= {name for name, mode in model.modes.items() if mode is Mode.NOT_NOW}
    simulation.grow_old()
    for _ in range(_MOST_ROUNDS):
        if not simulation.pods:
            simulation.start()
        while simulation.in_flight:
            simulation.run(simulation.in_flight.pop(0))
        _bury_the_dead(simulation)
        if _all_is_done(simulation):
            break
        simulation.let_all_fall_due()
        _one_round(simulation)
        simulation.compare()
    else:
        raise AssertionError(f"this is never going to end: {model.unread}, {model.pending}, {model.aside}")
    _look_for_the_dead(simulation)


def _bury_the_dead(simulation: Simulation) -> None:
    model, alive = simulation.model, {pod.consumer.member.instance for pod in simulation.pods}
    for consumer in {name for stream, name in model.living if model.holders.get((stream, name)) not in alive}:
        simulation.silence(consumer)


def _one_round(simulation: Simulation) -> None:
    """Everybody goes on, and the world outside answers."""
    for call in list(simulation.world.calls):
        if not call.answer.done():
            call.answer.set_result(None)
    simulation.settle()
    simulation.one_round(2.0)


def _all_is_done(simulation: Simulation) -> bool:
    """Nothing unread or pending, nobody dead in the group, nobody who holds what is not theirs any more."""
    model = simulation.model
    alive = {pod.consumer.member.consumer for pod in simulation.pods}
    return (
        not any(model.unread.values())
        and not model.pending
        and not model.aside
        and {name for _, name in model.living} <= alive
        and all(pod.consumer.joined and not len(pod.consumer.holding) for pod in simulation.pods)
    )


def _look_for_the_dead(simulation: Simulation) -> None:
    """Consumers that hold something belong to living pods; whoever has a heartbeat, too."""
    alive = {pod.consumer.member.consumer for pod in simulation.pods}
    for stream in STREAMS:
        rows = simulation.wire.do("XINFO", "CONSUMERS", stream, GROUP)
        held = {row[1].decode(): row[3] for row in rows}
        assert not {name for name, pending in held.items() if pending and name not in alive}
