"""What the server should hold and answer, as a model: it is told of each command that ran, and of the reply.

Where an entry is: unread, pending on somebody after so many attempts, aside, or at its end: done, ignored, or a dead
letter. What is aside comes back, and a letter may be redriven: then it is unread again, as another entry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import cast

from eventcore.commit.committer import commit_script
from eventcore.server.pipe import Command, Reply, ServerError
from eventcore.server.script import Script

from .happenings import LETTERS, MOST_ASIDE, MOST_ATTEMPTS, RETRIES, STREAM, Mode
from .messages import Asked, asked

STREAMS = (STREAM, RETRIES)
Place = tuple[str, str]
"""Stream and entry id."""

# From here on a delivery that was taken over is not tried any more.
_CRASH_LOOP_FROM = MOST_ATTEMPTS + 1


@cache
def script(name: str) -> Script:
    """One of the scripts that consumers call."""
    return Script.named(name, allow_oom=name not in ("redrive", "put_aside"))


@dataclass
class Held:
    """A pending entry; `earlier` attempts began before it was put aside."""

    by: str
    attempts: int
    earlier: int = 0


@dataclass(frozen=True)
class Aside:
    """An event that was put aside after so many attempts that count."""

    name: str
    attempts: int


def order(entry_id: str) -> tuple[int, int]:
    """Entry ids in the order in which they were given."""
    time, _, number = entry_id.partition("-")
    return int(time), int(number)


@dataclass
class Model:
    """Everything about one group."""

    modes: dict[str, Mode] = field(default_factory=dict)
    names: dict[Place, str] = field(default_factory=dict)
    unread: dict[str, list[str]] = field(default_factory=lambda: {stream: [] for stream in STREAMS})
    pending: dict[Place, Held] = field(default_factory=dict)
    aside: dict[str, Aside] = field(default_factory=dict)
    came_back: int = 0
    """How many have come back from there since it was last asked as which entries."""
    earlier: dict[Place, int] = field(default_factory=dict)
    letters: dict[str, str] = field(default_factory=dict)
    written_letters: list[str] = field(default_factory=list)
    """Of events whose letters were written since it was last asked how those are called."""
    done: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)
    stock: int = 0
    living: dict[Place, bool] = field(default_factory=dict)
    """Of consumers with a heartbeat, by stream and name: whether it is recent."""
    holders: dict[Place, str] = field(default_factory=dict)
    """The instances that have names, by stream and name."""
    begun: Counter[str] = field(default_factory=Counter)
    """How many attempts at each event have begun, those included that count for nothing."""
    created: set[str] = field(default_factory=set)
    """The streams that have the group."""

    # What happens beside the consumers

    def published(self, stream: str, entry_id: str, name: str, mode: Mode) -> None:
        """There is a new entry."""
        self.modes[name] = mode
        self.names[stream, entry_id] = name
        self.unread[stream].append(entry_id)

    def silenced(self, consumer: str) -> None:
        """The consumer's last heartbeat is long ago."""
        for stream in STREAMS:
            if (stream, consumer) in self.living:
                self.living[stream, consumer] = False

    def lettered(self, entry_ids: Sequence[str]) -> None:
        """The letters that were written are called so."""
        self.letters |= zip(entry_ids, self.written_letters, strict=True)
        self.written_letters.clear()

    def brought_back(self, entries: Sequence[tuple[str, dict[str, str]]]) -> None:
        """What was aside is these entries of the retry stream now."""
        self.came_back = 0
        for entry_id, fields in entries:
            names = (fields["entryId"], f"retry:{fields['entryId']}")
            [back] = [self.aside.pop(name) for name in names if name in self.aside]
            assert int(fields["attempts"]) == back.attempts
            self.published(RETRIES, entry_id, back.name, self.modes[back.name])
            self.earlier[RETRIES, entry_id] = back.attempts

    def redriven(self, letter: str, entry_id: str) -> None:
        """The letter's event is an entry of the retry stream now."""
        name = self.letters.pop(letter)
        self.published(RETRIES, entry_id, name, self.modes[name])

    # What consumers do

    def ran(self, command: Command, reply: Reply) -> None:
        """A command has run. `AssertionError` where the reply is not what it should have been."""
        words = [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in command]
        if isinstance(reply, ServerError) and reply.code == "NOSCRIPT":
            return
        match words:
            case ["EVALSHA", sha, count, *keys] if sha == commit_script(allow_oom=True).sha:
                first = 5 + int(count)  # behind the keys, the group and the fields that are looked at
                self._committed(keys[: int(count)], [bytes(cast("bytes", word)) for word in command[first:]], reply)
            case ["XGROUP", "CREATE", stream, *_]:
                self.created.add(stream)
            case ["XREADGROUP", "GROUP", _, consumer, "COUNT", count, "STREAMS", *_]:
                self._read(consumer, int(count), reply)
            case ["XACK", stream, _, *entry_ids]:
                self._acknowledged(stream, entry_ids, reply)
            case ["EVALSHA", sha, keys, *rest]:
                self._called(sha, rest[: int(keys)], rest[int(keys) :], reply)

    def _called(self, sha: str, keys: list[str], arguments: list[str], reply: Reply) -> None:
        if sha == script("claim").sha:
            self._claimed(keys[0], arguments[1], int(arguments[2]), arguments[3:], reply)
        elif sha == script("take_over").sha:
            _, consumer, dead, _, foreign_idle, count = arguments
            self._taken_over(keys[0], consumer, dead, int(foreign_idle), int(count), reply)
        elif sha == script("put_aside").sha:
            self._put_aside(keys, arguments[1], arguments[3:], reply)
        elif sha == script("bring_back").sha:
            assert len(reply) == 1, "an entry is gone that is aside"
            self.came_back += reply[0]
        elif sha == script("beat").sha:
            self._beaten(arguments[0], _instance(arguments[2]), reply)
        elif sha == script("take_name").sha:
            self._named(arguments[0], arguments[2], _instance(arguments[3]), reply)
        elif sha == script("losses").sha:
            assert reply == [], "an entry is gone that nobody has read"
        elif sha == script("missing").sha:
            assert set(reply) == {b"granted"}
        elif sha == script("leave").sha:
            self._left(keys[0], arguments[1], arguments[2], arguments[3:], reply)
        else:
            raise AssertionError(f"an unknown script was called: {sha}")

    def _read(self, consumer: str, count: int, reply: Reply) -> None:
        expected = {stream: unread[:count] for stream, unread in self.unread.items() if unread}
        assert {name.decode(): [row[0].decode() for row in rows] for name, rows in reply or ()} == expected
        for stream, entry_ids in expected.items():
            del self.unread[stream][: len(entry_ids)]
            for entry_id in entry_ids:
                self.pending[stream, entry_id] = Held(consumer, 1, self.earlier.get((stream, entry_id), 0))
                self.begun[self.names[stream, entry_id]] += 1

    def _claimed(self, stream: str, consumer: str, step: int, entry_ids: list[str], reply: Reply) -> None:
        expected = []
        for entry_id in entry_ids:
            held = self.pending.get((stream, entry_id))
            if held and held.by == consumer:
                held.attempts += step
                self.begun[self.names[stream, entry_id]] += 1
                expected.append((entry_id, held.attempts))
        assert [(row[0].decode(), row[1]) for row in reply] == expected
        assert all(len(row) == 3 for row in reply), "an entry is gone that nobody has finished with"

    def _taken_over(self, stream: str, consumer: str, dead: str, foreign_idle: int, count: int, reply: Reply) -> None:
        # A stranger is dead by the command's own measure: one that has long been on its way still has the old one.
        is_dead = not self.living.get((stream, dead), foreign_idle > 0)
        held = sorted((place for place, held in self.pending.items() if held.by == dead), key=lambda p: order(p[1]))
        taken = [place for place in held if place[0] == stream][:count] if is_dead else []
        assert [row[0].decode() for row in reply[0]] == [entry_id for _, entry_id in taken]
        assert reply[1] == [], "an entry is gone that nobody has finished with"
        for place in taken:
            self.pending[place].by = consumer
        if is_dead and not self._holds(stream, dead):
            self.living.pop((stream, dead), None)
            self.holders.pop((stream, dead), None)

    def _put_aside(self, keys: list[str], consumer: str, rest: list[str], reply: Reply) -> None:
        expected: list[int] = []
        while rest and len(self.aside) < MOST_ASIDE:
            number, entry_id, name, _, _, _, words = rest[:7]
            fields = dict(zip(*[iter(rest[7 : 7 + int(words)])] * 2, strict=True))
            rest = rest[7 + int(words) :]
            place = keys[int(number) - 1], entry_id
            held = self.pending.get(place)
            ours = held is not None and held.by == consumer
            expected.append(int(ours))
            if held is not None and ours:
                del self.pending[place]
                self._left_for_later(name, self.names[place], held, int(fields["attempts"]))
        assert reply == expected

    def _left_for_later(self, called: str, name: str, held: Held, attempts: int) -> None:
        begun = held.earlier + held.attempts
        assert attempts in ((begun - 1,) if self.modes[name] is Mode.NOT_NOW else (begun - 1, begun))
        assert called not in self.aside, f"{name} is aside twice"
        self.aside[called] = Aside(name, attempts)

    def _named(self, name: str, stale: str, instance: str, reply: Reply) -> None:
        others = [stream for stream in STREAMS if self.holders.get((stream, name)) != instance]
        if isinstance(reply, bytes) or stale:
            assert any(self.living.get((stream, name)) for stream in others), "a name was refused that nobody has"
            if isinstance(reply, bytes):
                return
        else:
            assert not any(self.living.get((stream, name)) for stream in others), f"{name} was taken from the living"
        for stream, peers in zip(STREAMS, reply, strict=True):
            self.living[stream, name], self.holders[stream, name] = True, instance
            expected = {
                peer
                for (where, peer), lives in self.living.items()
                if where == stream and lives and peer != name and (where, peer) in self.holders
            }
            assert {peer.decode() for peer in peers[::2]} == expected

    def _beaten(self, consumer: str, instance: str, reply: Reply) -> None:
        if any(self.holders.get((stream, consumer), instance) != instance for stream in STREAMS):
            assert reply is None, f"{consumer} beats, whose name is another's"
            return
        for stream, names in zip(STREAMS, reply[1:], strict=True):
            self.living[stream, consumer], self.holders[stream, consumer] = True, instance
            silent = {name for (where, name), lives in self.living.items() if where == stream and not lives}
            assert {name.decode() for name in names} == silent

    def _left(self, stream: str, consumer: str, instance: str, unspent: list[str], reply: Reply) -> None:
        if self.holders.get((stream, consumer), instance) != instance:
            assert reply == 0
            return
        if stream not in self.created:
            assert isinstance(reply, ServerError)  # there is nothing to leave
            return
        for held in (self.pending.get((stream, entry_id)) for entry_id in unspent):
            if held and held.by == consumer:
                held.attempts -= 1
        holds = self._holds(stream, consumer)
        assert reply == int(holds)
        if holds:
            self.living[stream, consumer] = False
        else:
            self.living.pop((stream, consumer), None)
        self.holders.pop((stream, consumer), None)

    def _holds(self, stream: str, consumer: str) -> bool:
        return any(held.by == consumer for place, held in self.pending.items() if place[0] == stream)

    # Ends

    def _acknowledged(self, stream: str, entry_ids: list[str], reply: Reply) -> None:
        ended = [place for entry_id in entry_ids if (place := (stream, entry_id)) in self.pending]
        assert reply == len(ended)
        for place in ended:
            del self.pending[place]
            name = self.names[place]
            assert self.modes[name] is Mode.UNKNOWN, f"{name} was acknowledged without effect"
            self.ignored.add(name)

    def _committed(self, keys: list[str], messages: list[bytes], replies: Reply) -> None:
        for message, reply in zip(messages, replies, strict=True):
            self._answered(asked(keys, message), keys[0], reply)

    def _answered(self, transaction: Asked, stream: str, reply: Reply) -> None:
        place = stream, transaction.entry_id
        short = "stock" in transaction.keys and self.stock < 1
        expected = "duplicate" if place not in self.pending else "guards" if short else "ok"
        assert reply == b"ok" if expected == "ok" else reply[0].decode() == expected, f"{reply} instead of {expected}"
        if expected != "ok":
            return
        held, name = self.pending.pop(place), self.names[place]
        if LETTERS in transaction.keys:
            self._dead_lettered(name, held, transaction.words)
        else:
            assert name not in self.done, f"{name} was done twice"
            self.done.add(name)
            self.stock -= "stock" in transaction.keys

    def _dead_lettered(self, name: str, held: Held, words: Sequence[str]) -> None:
        reason, attempts = (words[words.index(fact) + 1] for fact in ("reason", "attempts"))
        assert int(attempts) <= held.earlier + held.attempts
        mode = self.modes[name]
        assert {
            "undecodable": mode is Mode.UNREADABLE,
            "rejected": mode is Mode.REJECTED,
            "attempts_exhausted": mode in (Mode.FAILS, Mode.SLOWLY) and int(attempts) >= MOST_ATTEMPTS,
            "crash_loop": mode is not Mode.UNREADABLE and int(attempts) >= _CRASH_LOOP_FROM,
        }[reason], f"{name}, which goes {mode}, was dead-lettered after {attempts} attempts: {reason}"
        self.written_letters.append(name)


def _instance(about: str) -> str:
    """Whose text it is that stands beside heartbeats."""
    return about.partition(" ")[0]
