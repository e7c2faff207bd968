"""Real consumers on a real server, but with time and network in our hands: nothing moves unless it is told to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from eventcore import Consumer, Settings, Store
from eventcore.commit.committer import Committer
from eventcore.consume import group_member as streams
from eventcore.consume import takeover
from eventcore.server.clock import Clock
from eventcore.server.keys import beats_key
from eventcore.server.pipe import Command, Reply

from .gate import Gate
from .happenings import ASIDE, GROUP, LETTERS, MOST_ASIDE, OUTCOMES, RETRIES, STREAM, Mode, World, written
from .model import STREAMS, Model, script
from .virtual import VirtualLoop, virtual_time
from .wire import Wire

_SETTINGS = Settings(
    heartbeat_seconds=1,
    dead_after_seconds=3600,  # who is dead is for the history to say, not for the clock
    drain_seconds=5,
    consumer_batch=3,
    consumer_concurrency=4,
    consumer_waiting=3,
    consumer_aside=MOST_ASIDE,
    aside_after_seconds=4,
)


@dataclass(eq=False)
class Pod:
    """A running consumer, and its two connections."""

    name: str
    """Nobody else's, whatever its `POD_NAME` is."""
    pod_name: str
    consumer: Consumer
    commands: Gate
    reader: Gate
    task: asyncio.Task[None]

    @property
    def gates(self) -> tuple[Gate, Gate]:
        """Both connections."""
        return self.commands, self.reader


class Simulation:
    """All that a history consists of: pods, the world outside, the server, and the model of what should be there."""

    def __init__(self, wire: Wire) -> None:
        self.wire, self.world, self.model = wire, World(), Model()
        self.loop = VirtualLoop()
        self.pods: list[Pod] = []
        self.in_flight: list[tuple[Command, ...]] = []
        """What dead pods had sent and the server has not yet received."""
        self.sound = True
        """Whether nothing has been found yet that should not be."""
        self._named = 0
        wire.ask([("FLUSHALL",), ("SCRIPT", "FLUSH")])

    # Pods

    def start(self, pod_name: str | None = None) -> Pod:
        """Another pod, of a new name if none is given."""
        self._named += 1
        name = f"pod-{self._named}"
        pod_name = pod_name or name
        commands, reader = Gate(f"commands of {name}"), Gate(f"reader of {name}")
        store = SimpleNamespace(
            settings=_SETTINGS.model_copy(update={"pod_name": pod_name}),
            commands=commands,
            committer=Committer(commands),
            source="history",
            handled={},
            clock=Clock(),
            reader=lambda _: reader,
        )
        consumer = Consumer(cast(Store, store), self.world.router(name))
        pod = Pod(name, pod_name, consumer, commands, reader, self.loop.create_task(consumer.run(), name=name))
        self.pods.append(pod)
        self.settle()
        return pod

    def crash(self, pod: Pod) -> None:
        """The process is gone; what it had sent is still on its way."""
        self.pods.remove(pod)
        for gate in pod.gates:
            self.in_flight += [request.commands for request in gate.waiting]
            gate.waiting.clear()
        pod.task.cancel()
        while not pod.task.done():
            self.loop.settle()
        for gate in pod.gates:
            gate.waiting.clear()  # what it says while it dies is never sent

    def close(self) -> None:
        """End all tasks."""
        for pod in list(self.pods):
            self.crash(pod)
        self.loop.close()

    def settle(self, seconds: float = 0.0) -> None:
        """Let everybody do what can be done without an answer, for so long. Whoever was killed is gone then."""
        self.loop.settle(seconds)
        while killed := [pod for pod in self.pods if pod.name in self.world.killed]:
            for pod in killed:
                self.crash(pod)
        self.world.killed.clear()
        for pod in [pod for pod in self.pods if pod.task.done()]:
            pod.task.result()  # raises what is a defect
            self.pods.remove(pod)

    # Network

    @property
    def waiting(self) -> list[Gate]:
        """The connections on which something waits to be sent."""
        return [gate for pod in self.pods for gate in pod.gates if gate.waiting]

    def flow(self, pod: Pod, requests: int) -> None:
        """Let a pod's requests through, so many of them, and time pass where it sends none."""
        for number in range(requests):
            waiting = [gate for gate in pod.gates if gate.waiting]
            if pod not in self.pods:
                return
            if waiting:
                self.carry(waiting[number % len(waiting)])
            else:
                self.settle(1.0)

    def carry(self, gate: Gate) -> None:
        """The oldest request reaches the server, and its replies come back."""
        for command in gate.waiting[0].commands:
            self._judge(gate, command)
        gate.answer(self.run(gate.waiting[0].commands))
        self.settle()

    def one_round(self, seconds: float = 0.5) -> None:
        """Whatever was sent arrives; then time passes."""
        for gate in self.waiting:
            for _ in range(len(gate.waiting)):  # what is sent meanwhile waits for the next round: reads never end
                if gate.waiting:
                    self.carry(gate)
        self.settle(seconds)

    def lose(self, gate: Gate, ran: int) -> None:
        """The connection dies; `ran` says how many commands of the oldest request had reached the server."""
        self.run(gate.waiting[0].commands[:ran])
        gate.lose()
        self.settle()

    def run(self, commands: Sequence[Command]) -> list[Reply]:
        """Let commands run, and compare what the server answers with what the model does."""
        sent = [_unblocked(command) for command in commands]
        replies = self.wire.ask(sent)
        self.sound = False
        for command, reply in zip(sent, replies, strict=True):
            self.model.ran(command, reply)
        if self.model.came_back:
            newest = self.wire.do("XREVRANGE", RETRIES, "+", "-", "COUNT", self.model.came_back)
            self.model.brought_back([(row[0].decode(), dict(_pairs(row[1]))) for row in reversed(newest)])
        if written := len(self.model.written_letters):
            newest = self.wire.do("XREVRANGE", LETTERS, "+", "-", "COUNT", written)
            self.model.lettered([row[0].decode() for row in reversed(newest)])
        self.sound = True
        return replies

    def _judge(self, gate: Gate, command: Command) -> None:
        """Whoever lives and holds a delivery has no attempt counted after one that was no fault of the delivery's."""
        match command:
            case ("EVALSHA", sha, 1, stream, _, _, 1, *entry_ids) if sha == script("claim").sha:
                [holding] = [pod.consumer.holding for pod in self.pods if gate in pod.gates]
                held = [(str(stream), str(entry_id)) for entry_id in entry_ids]
                modes = [self.model.modes[self.model.names[place]] for place in held if place in holding]
                assert Mode.NOT_NOW not in modes, "an attempt is counted, and the one before was nobody's fault"

    # The rest of the world

    def publish(self, mode: Mode, place: str | None) -> None:
        """An event that goes like this when it is handled."""
        name = f"event-{len(self.model.modes) + 1}"
        entry_id = self.wire.do("XADD", STREAM, "*", "event", written(name, mode, place))
        self.model.published(STREAM, entry_id.decode(), name, mode)

    def silence(self, consumer: str) -> None:
        """The consumer's last heartbeat was long ago, whether it lives or not."""
        self.wire.ask([("ZADD", beats_key(stream, GROUP), "XX", 0, consumer) for stream in STREAMS])
        self.model.silenced(consumer)

    def let_all_fall_due(self) -> None:
        """The time of all that is aside has come; its order stays."""
        for number, name in enumerate(self.wire.do("ZRANGE", ASIDE, 0, -1)):
            self.wire.do("ZADD", ASIDE, number, name)

    def redrive(self, letter: str) -> None:
        """Somebody redrives a letter, which may have been redriven before."""
        redriving = script("redrive")
        reply = self.wire.do("EVAL", redriving.source, 2, LETTERS, RETRIES, letter, GROUP)
        assert reply == int(letter in self.model.letters), f"a redrive was answered {reply}"
        if reply:
            [[entry_id, _]] = self.wire.do("XREVRANGE", RETRIES, "+", "-", "COUNT", 1)
            self.model.redriven(letter, entry_id.decode())

    def trim(self) -> None:
        """Everything goes that everybody has finished with, however young it is."""
        for stream in STREAMS:
            if self.wire.do("EXISTS", stream):
                self.wire.do("EVAL", script("trim").source, 1, stream, 0, 0)

    def restock(self, pieces: int) -> None:
        """There is so much more of what some events take."""
        self.wire.do("HINCRBY", "stock", "pieces", pieces)
        self.model.stock += pieces

    # What is there

    def compare(self) -> None:
        """What the server holds is what the model holds."""
        model = self.model
        aside, entries, main, retries, letters, done, pieces, outcomes, *held = self.wire.ask(
            [
                ("ZRANGE", ASIDE, 0, -1),
                ("HKEYS", f"{ASIDE}:entries"),
                ("XRANGE", STREAM, "-", "+"),
                ("XRANGE", RETRIES, "-", "+"),
                ("XRANGE", LETTERS, "-", "+"),
                ("HGETALL", "effects"),
                ("HGET", "stock", "pieces"),
                ("XLEN", OUTCOMES),
                *(("XPENDING", stream, GROUP, "-", "+", 1000) for stream in STREAMS),
            ]
        )
        found = {
            (stream, row[0].decode()): (row[1].decode(), row[3])
            for stream, rows in zip(STREAMS, held, strict=True)
            for row in (rows if isinstance(rows, list) else [])
        }
        assert found == {place: (each.by, each.attempts) for place, each in model.pending.items()}
        assert [row[0].decode() for row in letters] == list(model.letters)
        assert {name.decode() for name in aside} == {name.decode() for name in entries} == model.aside.keys()
        assert dict(_pairs(done)) == dict.fromkeys(model.done, "1")
        assert (outcomes, int(pieces or 0)) == (len(model.done), model.stock)
        both = zip(STREAMS, (main, retries), strict=True)
        there = {(stream, row[0].decode()) for stream, rows in both for row in rows}
        unread = {(stream, entry_id) for stream, entry_ids in model.unread.items() for entry_id in entry_ids}
        assert unread | model.pending.keys() <= there, "something is gone that nobody has finished with"
        self._account(unread)

    def _account(self, unread: set[tuple[str, str]]) -> None:
        """Each event is in exactly one place, and no handler has run that was not counted before."""
        model = self.model
        places = [model.names[place] for place in (*unread, *model.pending)]
        places += [each.name for each in model.aside.values()]
        assert Counter([*places, *model.letters.values(), *model.done, *model.ignored]) == dict.fromkeys(model.modes, 1)
        assert all(runs <= model.begun[name] for name, runs in self.world.runs.items())

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Time and loop are ours within the block."""
        with (
            virtual_time(self.loop),
            mock.patch.object(streams, "FOREIGN_IDLE", streams.FOREIGN_IDLE),
            mock.patch.object(takeover, "LOST_AFTER", takeover.LOST_AFTER),
        ):
            yield

    def grow_old(self) -> None:
        """From now on everything on the server has been as it is for a long time."""
        streams.FOREIGN_IDLE = takeover.LOST_AFTER = timedelta(0)


def _unblocked(command: Command) -> Command:
    """A read that answers at once, as if its time were over."""
    return command[:6] + command[8:] if command[0] == "XREADGROUP" else command


def _pairs(flat: Any) -> Iterator[tuple[str, str]]:
    return zip((name.decode() for name in flat[::2]), (value.decode() for value in flat[1::2]), strict=True)
