"""Recognising the commands at which things may go wrong, by what goes over the wire."""

from __future__ import annotations

import hashlib

from eventcore.commit.committer import commit_script
from eventcore.server.keys import aside_key, retry_stream
from eventcore.server.script import Script

from .proxy import Command, Matches

# Which main stream each group reads.
STREAMS = {
    "inventory-group": "orders_stream",
    "order-group": "inventory_stream",
    "notification-group": "inventory_stream",
}


def delivery_to(group: str) -> Matches:
    """A read by the group that gets entries; it has no meaning before there is a reply."""
    start = [b"XREADGROUP", b"GROUP", group.encode()]
    return lambda command, reply: command.words[:3] == start and reply.startswith(b"*") and not reply.startswith(b"*-1")


def commit_by(group: str, *, pod: str | None = None) -> Matches:
    """A consumer's commit; once there is a reply, one that says that it was written."""
    sha, name = commit_script(allow_oom=True).sha, group.encode()

    def matches(command: Command, reply: bytes) -> bool:
        mine = _calls(command, sha) and name in command.words and pod in (None, command.pod)
        return mine and (not reply or _says_ok(reply))

    return matches


def order_placed(command: Command, reply: bytes) -> bool:
    """A producer's commit of an order and its event."""
    mine = _calls(command, commit_script(allow_oom=False).sha) and b"orders_stream" in command.words
    return mine and (not reply or _says_ok(reply))


def leaving(group: str, pod: str) -> Matches:
    """A pod's leaving of its group on the main stream; once there is a reply, with something handed back."""
    sha = Script.named("leave", allow_oom=True).sha
    end = [group.encode(), pod.encode()]

    def matches(command: Command, reply: bytes) -> bool:
        mine = _calls(command, sha) and command.words[3] == STREAMS[group].encode() and command.words[6:8] == end
        return mine and reply in (b"", b":1\r\n")

    return matches


def take_over(group: str, dead: str) -> Matches:
    """A takeover from a dead pod on the main stream; once there is a reply, one that took something."""
    sha = Script.named("take_over", allow_oom=True).sha

    def matches(command: Command, reply: bytes) -> bool:
        mine = _calls(command, sha) and command.words[3] == STREAMS[group].encode() and dead.encode() in command.words
        return mine and (not reply or (reply.startswith(b"*") and b"\r\n$" in reply))

    return matches


def putting_aside(group: str) -> Matches:
    """A call that puts deliveries of the group aside; once there is a reply, one that has put some there."""
    sha, main = Script.named("put_aside", allow_oom=False).sha, STREAMS[group].encode()

    def matches(command: Command, reply: bytes) -> bool:
        mine = _calls(command, sha) and command.words[3] == main and command.words[7] == group.encode()
        return mine and (not reply or b":1\r\n" in reply)

    return matches


def bringing_back(group: str) -> Matches:
    """A call that brings back what is due; once there is a reply, one that has brought some back."""
    sha, key = Script.named("bring_back", allow_oom=True).sha, aside_key(STREAMS[group], group).encode()
    return lambda command, reply: _calls(command, sha) and command.words[3] == key and reply != b"*1\r\n:0\r\n"


def redrive_to(group: str) -> Matches:
    """A redrive of one letter; once there is a reply, one that handed it back."""
    sha = Script.named("redrive", allow_oom=False).sha
    target = retry_stream(STREAMS[group], group).encode()
    return lambda command, reply: _calls(command, sha) and target in command.words and reply in (b"", b":1\r\n")


def _calls(command: Command, sha: str) -> bool:
    match command.words:
        case [b"EVALSHA", called, *_]:
            return called == sha.encode()
        case [b"EVAL", source, *_]:
            return hashlib.sha1(source, usedforsecurity=False).hexdigest() == sha
        case _:
            return False


def _says_ok(reply: bytes) -> bool:
    return b"\r\n$2\r\nok\r\n" in reply[:20]
