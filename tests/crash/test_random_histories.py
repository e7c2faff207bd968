"""Whatever happens to consumers, in whatever order: each event has its effect once, or is a dead letter that says why.

A history is made of steps that hypothesis chooses: events are published, requests reach the server or are lost, replies
come back or are lost, pods crash, fall silent, leave, come back; letters are redriven, streams trimmed, scripts
forgotten. The consumers and the server are real; network and time are not, so that every history can be told again and
shortened. The same few are told each time; `RANDOM_HISTORIES=5000` tells so many new ones on each server, and shortens
what fails, which takes minutes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as limits
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from eventcore import Unavailable
from eventcore.testing.server import Server, ServerKind, available_kinds

from .drain import drain
from .gate import Gate
from .happenings import Mode
from .simulation import Pod, Simulation
from .wire import Wire

VARIABLE = "RANDOM_HISTORIES"
_FEW: dict[ServerKind, int] = {"valkey": 120, "redis": 60, "other": 60}
_MOST_PODS = 3
which = st.integers(0, 5)
_OFTEN = [Mode.WELL] * 4 + [Mode.IF_IN_STOCK] * 4 + [Mode.SLOWLY] * 3 + [Mode.FAILS] * 2
_MEANWHILE = ("time passes", "much time passes", "what is aside falls due", "heal", "restock", "trim", "forget scripts")
modes = st.sampled_from([*_OFTEN, *Mode])


class History(RuleBasedStateMachine):
    """One history: its rules are what can happen. `which` is a number that chooses among what there is."""

    wire: Wire

    def __init__(self) -> None:
        super().__init__()
        self.simulation = Simulation(self.wire)
        self.telling = self.simulation.going_on()
        self.telling.__enter__()
        self.former: list[str] = []
        self.letters: list[str] = []
        self.simulation.restock(2)
        for _ in range(2):
            self.simulation.flow(self.simulation.start(), 6)

    def teardown(self) -> None:
        try:
            if self.simulation.sound:
                drain(self.simulation)
        finally:
            self.telling.__exit__(None, None, None)
            self.simulation.close()

    def pod(self, which: int) -> Pod:
        return self.simulation.pods[which % len(self.simulation.pods)]

    def gate(self, which: int) -> Gate:
        waiting = self.simulation.waiting
        return waiting[which % len(waiting)]

    def somebody_lives(self) -> bool:
        return bool(self.simulation.pods)

    def something_waits(self) -> bool:
        return bool(self.simulation.waiting)

    @invariant()
    def the_server_holds_what_the_model_holds(self) -> None:
        self.simulation.compare()
        self.letters += [letter for letter in self.simulation.model.letters if letter not in self.letters]

    # What there is to do

    @rule(mode=modes, place=st.sampled_from([None, None, "here", "there"]), times=st.integers(1, 3))
    def publish(self, mode: Mode, place: str | None, times: int) -> None:
        for _ in range(times):
            self.simulation.publish(mode, place)

    @precondition(lambda self: self.letters)
    @rule(which=which)
    def redrive(self, which: int) -> None:
        self.simulation.redrive(self.letters[which % len(self.letters)])

    @rule(what=st.sampled_from([*_MEANWHILE]))
    def meanwhile(self, what: str) -> None:
        match what:
            case "time passes":
                self.simulation.settle(1)
            case "much time passes":
                self.simulation.settle(6)
            case "what is aside falls due":
                self.simulation.let_all_fall_due()
            case "heal":
                self.simulation.world.healed |= self.simulation.model.modes.keys()
            case "restock":
                self.simulation.restock(2)
            case "trim":
                self.simulation.trim()
            case _:
                self.wire.do("SCRIPT", "FLUSH")

    # What goes well

    @precondition(something_waits)
    @rule(which=which)
    def carry(self, which: int) -> None:
        self.simulation.carry(self.gate(which))

    @precondition(somebody_lives)
    @rule(which=which, requests=st.integers(2, 20))
    def one_goes_on(self, which: int, requests: int) -> None:
        self.simulation.flow(self.pod(which), requests)

    @precondition(somebody_lives)
    @rule(rounds=st.integers(1, 8))
    def all_go_on(self, rounds: int) -> None:
        for _ in range(rounds):
            self.simulation.one_round()

    @precondition(lambda self: self.simulation.world.calls)
    @rule(which=which, well=st.sampled_from([True, True, False]))
    def the_outside_answers(self, which: int, well: bool) -> None:
        call = self.simulation.world.calls[which % len(self.simulation.world.calls)].answer
        if well:
            call.set_result(None)
        else:
            call.set_exception(Unavailable("the outside is not there"))
        self.simulation.settle()

    # What goes wrong

    @precondition(something_waits)
    @rule(which=which, ran=st.integers(0, 4))
    def the_connection_dies(self, which: int, ran: int) -> None:
        self.simulation.lose(self.gate(which), ran)

    @precondition(something_waits)
    @rule(which=which)
    def the_server_refuses(self, which: int) -> None:
        self.gate(which).refuse()
        self.simulation.settle()

    @precondition(somebody_lives)
    @rule(which=which)
    def crash(self, which: int) -> None:
        pod = self.pod(which)
        self.former.append(pod.pod_name)
        self.simulation.crash(pod)

    @precondition(lambda self: self.simulation.in_flight)
    @rule(which=which, arrives=st.booleans())
    def what_the_dead_had_sent_arrives_or_not(self, which: int, arrives: bool) -> None:
        commands = self.simulation.in_flight.pop(which % len(self.simulation.in_flight))
        if arrives:
            self.simulation.run(commands)

    @precondition(lambda self: len(self.simulation.pods) < _MOST_PODS)
    @rule(name=st.sampled_from(["new", "of the last to go", "of one that lives"]), requests=st.integers(0, 15))
    def start(self, name: str, requests: int) -> None:
        alive = [pod.pod_name for pod in self.simulation.pods]
        gone = [name for name in self.former if name not in alive]
        names = {"of the last to go": gone[-1:], "of one that lives": alive[:1]}.get(name)
        pod = self.simulation.start(names[0] if names else None)
        self.simulation.flow(pod, requests)

    @precondition(somebody_lives)
    @rule(which=which)
    def stop(self, which: int) -> None:
        self.pod(which).consumer.stop()
        self.simulation.settle()

    @precondition(lambda self: self.simulation.model.living)
    @rule(which=which)
    def fall_silent(self, which: int) -> None:
        consumers = sorted({name for _, name in self.simulation.model.living})
        self.simulation.silence(consumers[which % len(consumers)])


@pytest.fixture(params=available_kinds())
def kind(request: pytest.FixtureRequest) -> ServerKind:
    chosen: ServerKind = request.param
    return chosen


@pytest.fixture
def wire(kind: ServerKind) -> Iterator[Wire]:
    """A server of our own, which trims exactly."""
    logging.disable(logging.CRITICAL)
    with Server(kind=kind, options={"stream-node-max-entries": "1"}) as server:
        wire = Wire(server.url)
        yield wire
        wire.close()
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(1800)
def test_each_event_has_its_effect_once_or_is_a_dead_letter(kind: ServerKind, wire: Wire) -> None:
    wanted = os.environ.get(VARIABLE)
    machine = type("History", (History,), {"wire": wire})
    run_state_machine_as_test(
        machine,
        settings=limits(
            max_examples=int(wanted or _FEW[kind]),
            derandomize=wanted is None,
            phases=tuple(Phase) if wanted else (Phase.generate,),
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
