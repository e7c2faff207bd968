"""Access: the Redis users of a set of services, each with the rights that its code needs and with no others.

Rights are written in Redis's own language of access control lists (Redis 7.0 or later, any Valkey). Only scripts may be
called on all of a user's keys; what they do inside, the server checks command by command, so that a user has each
command on those keys alone for which a selector names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eventcore.commit.durability import MARKER, Durability
from eventcore.commit.transaction import Hash, SortedSet, String
from eventcore.events.personal_data import PersonalData
from eventcore.server.keys import aside_entries_key, aside_key, beats_key, dead_letter_stream, members_key, retry_stream
from eventcore.server.rights import BEATS_COMMANDS, STREAM_COMMANDS
from eventcore.server.script_needs import commands_by_key

Kept = Hash | SortedSet | String

LOOKER, OPERATOR, CONSOLE = "eventcore-look", "eventcore-operator", "eventcore-console"

# On no key. `INFO` is how a service finds out whether the server is fit for it; `CLIENT UNBLOCK` ends its own read when
# it stops. Neither harms others: a read that is ended is begun again.
_EVERYBODY = ("ping", "select", "info", "time", "client|setname")
_SERVICES = (*_EVERYBODY, "client|id", "client|unblock", "script|load", "multi", "exec", "discard")
_TOOL = (*_EVERYBODY, "scan")

# To be sure of the disk takes knowing the server's `appendfsync`. `CONFIG GET` shows everything else, too: `masterauth`
# and `requirepass` among it, where these are set.
_WAITING = {Durability.DISK: ("waitaof", "config|get"), Durability.REPLICA: ("wait",)}

# What looking at a stream, its groups and its letters takes, beside scripts.
LOOK_COMMANDS = frozenset(
    {
        "exists", "hget", "hgetall", "hscan", "memory|usage", "type", "xinfo|consumers", "xinfo|groups", "xinfo|stream",
        "xlen", "xpending", "xrange", "xread", "xrevrange", "zcard", "zrange", "zscore",
    }
)  # fmt: skip
# On keys of a service's own, of whatever type: what `commit` asks of them all, and what people ask of keys.
_ANY_TYPE = ("del", "exists", "pexpire", "pttl", "type")
# All that Redis can do to one type: the service's own records are its own affair.
_OF_TYPE = {Hash: "@hash", SortedSet: "@sortedset", String: "@string"}


def _on(*keys: tuple[str, int]) -> frozenset[str]:
    """What these scripts do to these of their keys."""
    return frozenset(command for script, number in keys for command in commands_by_key(script).get(number, ()))


def _in_acl(commands: Iterable[str]) -> frozenset[str]:
    return frozenset(command.lower().replace(" ", "|") for command in commands)


# What a member of a group does to the streams that it reads, retry streams included.
_MEMBER = (
    {"xreadgroup"}
    | _in_acl(STREAM_COMMANDS)
    | _on(*((script, 1) for script in ("claim", "leave", "losses", "put_aside", "take_over", "trim")))
)
# What it does to all that stands beside these streams for its group alone.
_GROUP = _in_acl(BEATS_COMMANDS) | _on(
    *(
        (script, number)
        for script in ("beat", "bring_back", "leave", "put_aside", "take_name", "take_over")
        for number in commands_by_key(script)
    )
)
# What retention does to all that stands beside a stream for a group that has stopped for good.
_DROP = _on(*(("drop_group", number) for number in range(2, 6)))


@dataclass(frozen=True, slots=True)
class Activity:
    """What a service does on the server: which streams each of its groups reads, where it publishes, what it keeps.

    Names of streams and keys are without the prefix; in a key of `keeps`, `*` stands for anything.
    """

    name: str
    groups: Mapping[str, Sequence[str]]
    publishes: frozenset[str] = frozenset()
    keeps: tuple[Kept, ...] = ()
    durability: Durability = Durability.MEMORY
    drops_groups: bool = False

    @property
    def reads(self) -> frozenset[str]:
        """The streams of all its groups."""
        return frozenset(stream for streams in self.groups.values() for stream in streams)

    @property
    def streams(self) -> frozenset[str]:
        """All streams that it knows."""
        return self.reads | self.publishes


@dataclass(frozen=True, slots=True)
class Selector:
    """These commands, on keys of these patterns; `only_reads` lets a command read them and no more."""

    commands: tuple[str, ...]
    patterns: tuple[str, ...]
    only_reads: bool = False

    def __str__(self) -> str:
        mark = "%R~" if self.only_reads else "~"
        return " ".join([*(f"+{each}" for each in self.commands), *(mark + each for each in self.patterns)])


@dataclass(frozen=True, slots=True)
class User:
    """A Redis user: what it is for, what it may do on the keys of its scripts, and on which keys it has more."""

    name: str
    purpose: str
    scripts: Selector
    selectors: tuple[Selector, ...]

    @property
    def rules(self) -> str:
        """Its rights, as `ACL SETUSER` and ACL files take them; they replace all that it had but its passwords."""
        cleared = "resetkeys resetchannels clearselectors -@all"
        return " ".join([cleared, str(self.scripts), *(f"({each})" for each in self.selectors)])


def users(activities: Iterable[Activity], *, prefix: str = "", personal: Iterable[PersonalData] = ()) -> list[User]:
    """One user for each service, one that may only look, one for the operator, one for a console.

    `personal` says which records the operator may take customers out of.
    """
    services = sorted(activities, key=lambda each: each.name)
    streams = sorted({stream for each in services for stream in each.streams})
    return [
        *(_service(each, prefix) for each in services),
        User(LOOKER, "may only look: status, tail, trace, dlq list", *_looking(streams, prefix)),
        User(
            OPERATOR, "may look, redrive, replay, purge and forget customers", *_forgetting(streams, personal, prefix)
        ),
        User(CONSOLE, "may look, redrive and replay", *_redriving(streams, prefix)),
    ]


def _service(does: Activity, prefix: str) -> User:
    keys = _Keys(does, prefix)
    kept = [pattern for kind in _OF_TYPE for pattern in _patterns(prefix, does.keeps, kind)]
    selectors = [
        _selector(_MEMBER, [*keys.reads, *keys.own]),
        _selector(_GROUP, keys.own),
        _selector({"xadd"} | commands_by_key("trim_letters")[1], keys.letters),
        _selector({"xadd"}, keys.publishes),
        _selector(commands_by_key("lease")[1], keys.leases),
        _selector(_ANY_TYPE, kept),
        *(_selector([right], _patterns(prefix, does.keeps, kind)) for kind, right in _OF_TYPE.items()),
        _selector(LOOK_COMMANDS, keys.looks, only_reads=True),
    ]
    commands = [*_SERVICES, "evalsha"]
    if does.durability is not Durability.MEMORY:
        commands += _WAITING[does.durability]
        selectors.append(_selector(["set"], [prefix_pattern(prefix, MARKER)]))
    if does.drops_groups:
        selectors += [_selector({"xgroup|destroy"}, keys.reads), _selector(_DROP, keys.of_all_groups)]
    touched = [*keys.reads, *keys.own, *keys.letters, *keys.publishes, *keys.leases, *kept]
    touched += keys.of_all_groups if does.drops_groups else []
    scripts = Selector(tuple(commands), tuple(dict.fromkeys(touched)))
    return User(does.name, f"the service {does.name}", scripts, tuple(each for each in selectors if each.patterns))


def _looking(streams: Sequence[str], prefix: str) -> tuple[Selector, tuple[Selector, ...]]:
    return Selector(_TOOL, ()), (_selector(LOOK_COMMANDS, _looked_at(streams, prefix), only_reads=True),)


def _redriving(streams: Sequence[str], prefix: str) -> tuple[Selector, tuple[Selector, ...]]:
    """`dlq purge` needs no more than a redrive, which takes the letter away, too."""
    _, looks = _looking(streams, prefix)
    letters = [prefix_pattern(prefix, dead_letter_stream(stream)) for stream in streams]
    retries = [prefix_pattern(prefix, retry_stream(stream, "*")) for stream in streams]
    replayed = [prefix_pattern(prefix, name) for each in streams for name in (each, aside_entries_key(each, "*"))]
    on_retries = _on(("redrive", 2), ("replay", 2))
    scripts = Selector((*_TOOL, "eval"), (*letters, *retries, *replayed))
    return scripts, (*looks, _selector(_on(("redrive", 1)), letters), _selector(on_retries, retries))


def _forgetting(
    streams: Sequence[str], personal: Iterable[PersonalData], prefix: str
) -> tuple[Selector, tuple[Selector, ...]]:
    scripts, redriving = _redriving(streams, prefix)
    records = sorted({prefix_pattern(prefix, each.keys) for declared in personal for each in declared.records})
    if not records:
        return scripts, redriving
    letters = [prefix_pattern(prefix, dead_letter_stream(stream)) for stream in streams]
    finished = [prefix_pattern(prefix, name) for stream in streams for name in (stream, retry_stream(stream, "*"))]
    return Selector(scripts.commands, (*scripts.patterns, *records)), (
        *redriving,
        _selector({"hgetall"} | commands_by_key("forget")[1], records),
        _selector(commands_by_key("rewrite_letter")[1], letters),
        _selector({"xdel"}, finished),
    )


class _Keys:
    """The keys of a service, as patterns."""

    def __init__(self, does: Activity, prefix: str) -> None:
        def patterns(names: Iterable[str]) -> list[str]:
            return [prefix_pattern(prefix, name) for name in sorted(names)]

        self.reads = patterns(does.reads)
        self.publishes = patterns(does.publishes)
        self.own = patterns({f"{stream}:{group}:*" for group, streams in does.groups.items() for stream in streams})
        self.letters = patterns({dead_letter_stream(stream) for stream in does.reads})
        self.leases = patterns({f"{stream}:reporter" for stream in (*does.streams, "redis")})
        self.looks = _looked_at(sorted(does.streams), prefix)
        belongings = (beats_key, members_key, aside_key, aside_entries_key)
        self.of_all_groups = [
            prefix_pattern(prefix, key(stream, "*")) for stream in sorted(does.reads) for key in belongings
        ]


def _looked_at(streams: Sequence[str], prefix: str) -> list[str]:
    """Streams, with all that stands beside them, and their dead letters."""
    names = [name for stream in streams for name in (stream, f"{stream}:*", dead_letter_stream(stream))]
    return [prefix_pattern(prefix, name) for name in dict.fromkeys(names)]


def _patterns(prefix: str, keeps: Iterable[Kept], kind: type) -> list[str]:
    return sorted({prefix_pattern(prefix, each.key) for each in keeps if type(each) is kind})


def _selector(commands: Iterable[str], patterns: Iterable[str], *, only_reads: bool = False) -> Selector:
    return Selector(tuple(sorted(set(commands))), tuple(patterns), only_reads)


def prefix_pattern(prefix: str, name: str) -> str:
    """The pattern of a key under the prefix; in the name, `*` stands for anything."""
    return escaped_pattern(prefix) + "*".join(escaped_pattern(part) for part in name.split("*"))


def escaped_pattern(text: str) -> str:
    """A text as a pattern that matches it alone, or hardly more where the language of ACLs can't write a character."""
    return re.sub(r"[\s()]", "?", re.sub(r"[*?\[\]\\]", r"\\\g<0>", text))
