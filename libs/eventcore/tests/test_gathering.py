"""Commits that are asked for in one moment are made together; each caller gets an answer of their own."""

from __future__ import annotations

import asyncio

import pytest

from eventcore import Conflict, Hash, Origin, Store, Transaction, Unavailable
from eventcore.commit.committer import CommitAnswer, Committed, Work
from eventcore.commit.per_turn import MOST_AT_ONCE, GatheringCommitter


async def in_turn(work: list[Work]) -> list[CommitAnswer]:
    """Commit nothing, and answer with a number for each."""
    await asyncio.sleep(0)
    return [Committed((b"%d" % number,)) for number, _ in enumerate(work)]


def work() -> Work:
    return Work(Transaction(), Origin.new("test"))


async def test_commits_of_one_moment_are_made_together() -> None:
    batches: list[list[Work]] = []

    async def commit_all(work: list[Work]) -> list[CommitAnswer]:
        batches.append(work)
        return await in_turn(work)

    gathering, asked, later = GatheringCommitter(commit_all), [work() for _ in range(3)], work()
    answers = await asyncio.gather(*map(gathering.commit, asked))
    await gathering.commit(later)
    assert answers == [Committed((b"0",)), Committed((b"1",)), Committed((b"2",))]
    assert batches == [asked, [later]]


async def test_the_first_of_a_crowd_go_ahead() -> None:
    sizes: list[int] = []

    async def commit_all(work: list[Work]) -> list[CommitAnswer]:
        sizes.append(len(work))
        return await in_turn(work)

    gathering = GatheringCommitter(commit_all)
    answers = await asyncio.gather(*(gathering.commit(work()) for _ in range(2 * MOST_AT_ONCE + 1)))
    assert sizes == [MOST_AT_ONCE, MOST_AT_ONCE, 1]
    numbers = [answer.entry_ids for answer in answers if isinstance(answer, Committed)]
    assert numbers == [(str(number % MOST_AT_ONCE),) for number in range(2 * MOST_AT_ONCE + 1)]


async def test_who_gives_up_waiting_hurts_nobody() -> None:
    gathering = GatheringCommitter(in_turn)
    first, second = gathering.commit(work()), gathering.commit(work())
    first.cancel()
    assert await second == Committed((b"1",))


@pytest.mark.parametrize("error", [Unavailable("out of reach"), ZeroDivisionError("a defect")], ids=repr)
async def test_when_nothing_could_be_sent_everybody_is_told(error: Exception) -> None:
    async def commit_all(work: list[Work]) -> list[CommitAnswer]:
        raise error

    gathering = GatheringCommitter(commit_all)
    answers = await asyncio.gather(*(gathering.commit(work()) for _ in range(2)), return_exceptions=True)
    assert answers == [error, error]


async def test_of_commits_that_are_made_together_each_has_its_own_outcome(store: Store) -> None:
    await store.redis.set("text", "no hash", px=60_000)
    thing = Hash("thing")
    good, impossible, unsendable, conflicting = await asyncio.gather(
        store.commit(Transaction(then=[thing["a"].set(1)])),
        store.commit(Transaction(then=[thing["b"].set(1), thing["b"].add(1)])),
        store.commit(Transaction(then=[thing["c"].set("\ud800")])),
        store.commit(Transaction(then=[Hash("text")["d"].set(1)])),
        return_exceptions=True,
    )
    assert isinstance(good, Committed)
    assert isinstance(impossible, TypeError)
    assert isinstance(unsendable, ValueError)
    assert isinstance(conflicting, Conflict)
    assert await store.redis.hgetall("thing") == {b"a": b"1"}
    await store.redis.delete("thing")
