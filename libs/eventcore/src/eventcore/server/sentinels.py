"""Who is the master, by the word of several Sentinels, of which some may be cut off, late or wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis, Sentinel
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import AuthenticationError, RedisError, ResponseError

# A Sentinel that takes longer is not waited for, as long as another answers.
PROMPT_SECONDS = 0.5

Address = tuple[str, int]


class MasterReply(NamedTuple):
    """What a Sentinel says: the master's address, since which epoch, and whether it finds that server down."""

    address: Address
    epoch: int
    down: bool


def believed(answers: Sequence[MasterReply], *, sentinels: int, followed: int) -> MasterReply | None:
    """The answer to follow, of those that came from so many Sentinels; `None` if none can be trusted.

    What more than half of all Sentinels say holds. Short of that it is the highest epoch, as among Sentinels
    themselves, unless we have `followed` a higher one: then those who know better are out of our reach.
    """
    votes = Counter(answer.address for answer in answers)
    newest = max(answers, key=lambda answer: (votes[answer.address] > sentinels / 2, answer.epoch), default=None)
    if newest is None or (votes[newest.address] <= sentinels / 2 and newest.epoch < followed):
        return None
    return newest


class Sentinels(Sentinel):
    """Asks all Sentinels at once, where redis-py takes the word of the first that answers.

    It also says so where they do not let us ask; to redis-py that is one of many reasons why there is no master.
    """

    def __init__(self, addresses: Iterable[tuple[str, int]], **options: Any) -> None:
        Sentinel.__init__(self, addresses, sentinel_kwargs=options)
        self._asking: dict[Redis, asyncio.Task[MasterReply | None]] = {}
        self._followed = 0
        self.heard = 0
        """How many answered when they were asked last."""

    async def discover_master(self, service_name: str) -> Address:
        """Where to connect to. Raises `MasterNotFoundError`, `AuthenticationError`."""
        answer = await self.answer(service_name)
        if answer is None or answer.down:
            raise MasterNotFoundError(f"No master found for {service_name!r}")
        return answer.address

    async def answer(self, name: str) -> MasterReply | None:
        """What to believe; `None` where no Sentinel that can be trusted knows such a master. Raises as above."""
        answers, errors = await self._ask_all(name)
        if len(errors) == len(self.sentinels):
            _refuse(name, errors)
        found = believed(answers, sentinels=len(self.sentinels), followed=self._followed)
        if found is not None:
            self._followed = found.epoch
        return found

    async def _ask_all(self, name: str) -> tuple[list[MasterReply], list[Exception]]:
        """What they say, or why they don't; without those that are late, unless all are.

        One that hangs is asked once, and not again until it has answered.
        """
        for each in self.sentinels:
            if each not in self._asking:
                self._asking[each] = asyncio.create_task(_ask(each, name), name="ask-sentinel")
        asked = set(self._asking.values())
        done, late = await asyncio.wait(asked, timeout=PROMPT_SECONDS)
        while late and not any(task.exception() is None for task in done):
            more, late = await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        self._asking = {each: task for each, task in self._asking.items() if task in late}
        errors = [error for task in done if isinstance(error := task.exception(), Exception)]
        said = [task.result() for task in done if task.exception() is None]
        self.heard = len(said)
        return [answer for answer in said if answer is not None], errors

    async def aclose(self) -> None:
        """Close the connections to all of them."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        for each in self.sentinels:
            await each.aclose()


async def _ask(sentinel: Redis, name: str) -> MasterReply | None:
    """What one Sentinel says; `None` where it knows no master of that name. Raises redis-py's errors."""
    # Asked for the address alone it names the new master as soon as that is one: before a failover is over.
    asked: Any = sentinel
    named = await asked.sentinel_get_master_addr_by_name(name)
    if named is None:
        return None
    try:
        state = await asked.sentinel_master(name)
    except AuthenticationError:
        raise
    except ResponseError:
        return None
    host = named[0].decode() if isinstance(named[0], bytes) else str(named[0])
    address = host, int(named[1])
    is_it = address == (state["ip"], state["port"])
    down = is_it and bool(state["is_sdown"] or state["is_odown"] or not state["is_master"])
    return MasterReply(address, int(state["config-epoch"]), down)


def _refuse(name: str, errors: Sequence[Exception]) -> None:
    if all(isinstance(error, AuthenticationError) for error in errors):
        raise AuthenticationError("the Sentinels want another REDIS_SENTINEL_PASSWORD") from errors[0]
    unexpected = [error for error in errors if not isinstance(error, RedisError | OSError)]
    if unexpected:
        raise unexpected[0]
    raise MasterNotFoundError(f"No master found for {name!r} : {'; '.join(map(str, errors))}") from errors[0]
