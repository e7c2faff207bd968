"""Committing transactions: a few with each call of one script, all calls together in one pipeline."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

from msgspec import Struct

from eventcore.errors import ENDS_PROCESS, Conflict, EventcoreError, Forbidden, StreamFull
from eventcore.server.pipe import Command, Pipe, Reply
from eventcore.server.script import Call, Script, run_all
from eventcore.telemetry import RecordedSpan, end_spans
from eventcore.telemetry.measurements import commit_duration
from eventcore.telemetry.trouble import summary_of

from .compiler import LARGEST_INTEGER, Fence, Work, compile_transaction, guards_in_script_order
from .key_numbers import KeyNumbers
from .publishing import measure
from .transaction import Found, Transaction

__all__ = ["Acknowledgement", "CommitAnswer", "Committed", "Committer", "Duplicate", "Fence", "GuardsFailed", "Work"]

# Transactions in one call, and how many bytes of them: enough to share what a call costs and what they look at, few
# enough that nobody waits much longer than a millisecond until it is over.
_MOST_IN_A_CALL, _ENOUGH_BYTES = 128, 128 * 1024


class Committed(Struct, frozen=True, gc=False):
    """Everything was written; `told` are the entry ids of what was appended to streams. A consumer is not told them."""

    told: tuple[bytes, ...] = ()

    @property
    def entry_ids(self) -> tuple[str, ...]:
        """The entry ids of what was appended to streams, in order."""
        return tuple(map(bytes.decode, self.told))


class Acknowledgement(Struct, frozen=True, gc=False):
    """Deliveries of one stream and group that have nothing to commit but their acknowledgement."""

    stream: str
    group: str
    entry_ids: list[str]


class Duplicate(Struct, frozen=True, gc=False):
    """Another consumer had already committed this delivery; nothing was written."""


class GuardsFailed(Struct, frozen=True):
    """A guard did not hold; nothing was written or acknowledged."""

    found: Found


CommitAnswer = Committed | Duplicate | GuardsFailed | Exception
_COMMITTED = Committed()


@cache
def commit_script(*, allow_oom: bool) -> Script:
    """The commit script: that of consumers runs on a full server, that of producers is refused there."""
    return Script.named("commit", allow_oom=allow_oom)


class Committer:
    """Commits transactions over a pipe. Many callers at once share one write to the server."""

    def __init__(self, pipe: Pipe, *, prefix: str = "", stream_cap: int | None = None) -> None:
        self.pipe = pipe
        self._prefix, self._cap = prefix, None if stream_cap is None else min(stream_cap, LARGEST_INTEGER)
        self._unfenced, self._fenced = commit_script(allow_oom=False), commit_script(allow_oom=True)

    async def load_script(self) -> None:
        """Load the script before it is called, so that commits sent one after another run in that order.

        Else those sent before the first answer would have to be sent again, after later ones. Raises as `execute` does.
        """
        await self.pipe.execute("SCRIPT", "LOAD", self._fenced.source)

    async def commit_all(
        self, work: Sequence[Work], acknowledgements: Sequence[Acknowledgement] = ()
    ) -> list[CommitAnswer]:
        """Commit each piece of work on its own, in order, then acknowledge; the answers, an exception where one failed.

        Raises `Unavailable` when the server could not be reached, `OutcomeUnknown` when the connection died with the
        commands on their way. Fenced work and acknowledgements may then be sent again without harm.
        """
        began = time.perf_counter()
        try:
            replies = await self._run(work, acknowledgements)
        except EventcoreError as error:
            _measure(work, acknowledgements, [error] * (len(work) + len(acknowledgements)), time.perf_counter() - began)
            raise
        answers = [_answer(reply, each.transaction) for reply, each in zip(replies, work, strict=False)]
        answers += [
            _acknowledged(reply, each) for reply, each in zip(replies[len(work) :], acknowledgements, strict=True)
        ]
        _measure(work, acknowledgements, answers, time.perf_counter() - began)
        return answers

    async def _run(self, work: Sequence[Work], acknowledgements: Sequence[Acknowledgement]) -> list[Reply]:
        """The replies to each piece of work, and to each acknowledgement."""
        replies: list[Reply] = [None] * len(work)
        batches: list[_Batch] = []
        for i, each in enumerate(work):
            if not batches or not batches[-1].takes(each.fence):
                batches.append(_Batch(each.fence, self._prefix))
            try:
                batches[-1].add(i, compile_transaction(each, batches[-1].keys, self._cap))
            except ENDS_PROCESS:
                raise
            except BaseException as error:  # noqa: BLE001 - what one handler decided must not hurt its neighbours
                replies[i] = error if isinstance(error, Exception) else RuntimeError(summary_of(error))
        batches = [batch for batch in batches if batch.places]
        calls = [self._call(batch) for batch in batches]
        xacks: list[Command] = [
            ("XACK", self._prefix + each.stream, each.group, *each.entry_ids) for each in acknowledgements
        ]
        answers = await run_all(self.pipe, calls, beside=xacks)
        for batch, answer in zip(batches, answers, strict=False):
            for place, reply in batch.replies(answer):
                replies[place] = reply
            if len(batch.places) > 1 and isinstance(answer, Forbidden) and answer.key:
                # The server looks at all keys before the script begins: whose are allowed shall not suffer for others'.
                for place in batch.places:
                    [replies[place]] = await self._run([work[place]], ())
        return replies + answers[len(calls) :]

    def _call(self, batch: _Batch) -> Call:
        return Call(self._unfenced if batch.fence is None else self._fenced, batch.keys.names, batch.arguments())


class _Batch:
    """Transactions that are committed by one call: all settle deliveries to one group from one stream, or none.

    `places` are where they stand among all.
    """

    def __init__(self, fence: Fence | None, prefix: str) -> None:
        self.fence = fence
        self.keys = KeyNumbers(prefix)
        self.places: list[int] = []
        self._transactions: list[bytes] = []
        self._bytes = 0
        if fence is not None:
            self.keys.number(fence.stream)  # the script expects it to be the first

    def takes(self, fence: Fence | None) -> bool:
        """Whether a transaction that settles this may be added."""
        if len(self.places) == _MOST_IN_A_CALL or self._bytes >= _ENOUGH_BYTES:
            return False
        mine = self.fence
        if fence is None or mine is None:
            return fence is mine
        return fence.stream == mine.stream and fence.group == mine.group

    def add(self, place: int, transaction: bytes) -> None:
        """Let it be committed after those that are there."""
        self.places.append(place)
        self._transactions.append(transaction)
        self._bytes += len(transaction)

    def arguments(self) -> list[str | bytes]:
        """What the script is given beside the keys."""
        group = "" if self.fence is None else self.fence.group
        return [group, self.keys.looked_at(), *self._transactions]

    def replies(self, answer: Reply) -> Iterable[tuple[int, Reply]]:
        """What the answer to the call means for each, with its place."""
        each = [answer] * len(self.places) if isinstance(answer, Exception) else answer
        return zip(self.places, each, strict=True)


_OUTCOMES: dict[type, str] = {Committed: "committed", Duplicate: "duplicate", GuardsFailed: "guards_failed"}


def _measure(
    work: Sequence[Work], acknowledgements: Sequence[Acknowledgement], answers: Sequence[CommitAnswer], seconds: float
) -> None:
    """Commits that were sent together took equally long."""
    settling = next((each.fence for each in work if each.fence), None) or next(iter(acknowledgements), None)
    kinds = Counter(map(type, answers[: len(work)]))
    for each, answer in zip(acknowledgements, answers[len(work) :], strict=True):
        kinds[type(answer)] += len(each.entry_ids)
    for kind, count in kinds.items():
        commit_duration.record(
            seconds, settling.group if settling else None, _OUTCOMES.get(kind, "failed"), count=count
        )
    sent: list[str] = []
    spans: list[RecordedSpan] = []
    for piece, answer in zip(work, answers, strict=False):
        if isinstance(answer, Committed):
            sent += piece.streams
            spans += piece.spans
        elif isinstance(answer, Exception) and piece.streams:
            measure(piece.streams, seconds, answer)
            end_spans(piece.spans, answer)
    end_spans(spans)
    measure(sent, seconds)


def _acknowledged(reply: Reply, acknowledgement: Acknowledgement) -> CommitAnswer:
    if isinstance(reply, Forbidden):  # the server says what, but not of which stream
        return Forbidden.to_run("XACK", acknowledgement.stream)
    return reply if isinstance(reply, Exception) else _COMMITTED


def _guards_failed(replies: Sequence[Reply], transaction: Transaction) -> CommitAnswer:
    guards, reads = guards_in_script_order(transaction.when), transaction.reads
    values = [None if value is None else value.decode("utf-8", "replace") for value in replies[: len(guards)]]
    try:
        read = [place.query.understand(reply) for place, reply in zip(reads, replies[len(guards) :], strict=True)]
    except EventcoreError as error:
        return error
    return GuardsFailed(Found(zip(guards, values, strict=True), zip(reads, read, strict=True)))


def _answer(reply: Reply, transaction: Transaction) -> CommitAnswer:
    if reply == b"ok":
        return _COMMITTED
    if isinstance(reply, Exception):
        return reply
    match reply[0]:
        case b"ok":
            return Committed(tuple(reply[1:]))
        case b"duplicate":
            return Duplicate()
        case b"guards":
            return _guards_failed(reply[1:], transaction)
        case b"full":
            key, why = reply[1].decode("utf-8", "replace"), reply[2].decode()
            return StreamFull(f"{key} is {why}", key=key)
        case b"forbidden":
            command, key = reply[1].decode(), reply[2].decode("utf-8", "replace")
            return Forbidden.to_run(command, key)
        case _:
            key, name, value = (part.decode("utf-8", "replace") for part in reply[1:4])
            return Conflict(f"{key}[{name}] holds {value!r}: no integer, or one that would leave the range of 2**53")
