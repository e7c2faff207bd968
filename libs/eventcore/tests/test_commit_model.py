"""Random transactions on the server end as they end in a model of twenty lines."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from eventcore import Append, Conflict, Hash, SortedSet, Store, String, Transaction, Write, delete
from eventcore.commit.committer import Committed, Duplicate, GuardsFailed, Work
from eventcore.commit.transaction import (
    AddMember,
    AddToField,
    Delete,
    Expire,
    Guard,
    HashField,
    RemoveMember,
    SetFields,
    SetText,
)

from .committing import ORIGIN, commit, delivered
from .samples import STREAM, pending

HOUR = timedelta(hours=1)
KEYS = ("k1", "k2", "k3")
keys = st.sampled_from(KEYS)
fields = st.builds(lambda key, name: Hash(key)[name], keys, st.sampled_from("abc"))
texts = st.builds(String, keys)
small = st.integers(-3, 3)
values = st.sampled_from(["", "0", "1", "2", "-1", "many"])
guards = st.one_of(
    st.builds(lambda place, least: place >= least, fields, small),
    st.builds(lambda place, value: place.equals(value), fields | texts, values),
    st.builds(lambda place: place.absent(), fields | texts),
    st.builds(lambda place: place.present(), fields | texts),
)
writes: st.SearchStrategy[Write] = st.one_of(
    st.builds(lambda place, value: place.set(value), fields, values),
    st.builds(lambda place, amount: place.add(amount), fields, small),
    st.builds(lambda place, value, ttl: place.set(value, ttl=ttl), texts, values, st.sampled_from([None, HOUR])),
    st.builds(lambda key, member: SortedSet(key).add(member, 1), keys, st.sampled_from("xy")),
    st.builds(lambda key, member: SortedSet(key).remove(member), keys, st.sampled_from("xy")),
    st.builds(lambda key: Append(key, (("a", "b"),)), keys),
    st.builds(lambda key: Expire(key, HOUR), keys),
    st.builds(delete, keys),
)
transactions = st.builds(Transaction, st.lists(guards, max_size=2), st.lists(writes, max_size=4))


@dataclass
class Model:
    """What Redis holds: the kind and content of each key, and which keys have a time to live."""

    content: dict[str, Any] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    expiring: set[str] = field(default_factory=set)

    def commit(self, transaction: Transaction) -> type:
        """What becomes of the transaction; writes only if that is `Committed`."""
        touched = [kind_of(each) for each in (*transaction.when, *transaction.then)]
        if refused(transaction.then) or any(
            a[0] == b[0] and a[1] != b[1] for a in touched for b in touched if a[1] and b[1]
        ):
            return TypeError
        if any(kind and self.kinds.get(key, kind) != kind for key, kind in touched):
            return Conflict
        added = {write.field for write in transaction.then if isinstance(write, AddToField)}
        counted = {guard.place for guard in transaction.when if guard.operator == "at_least"} | added
        if any(self.value(place) in {"", "many"} for place in counted):
            return Conflict
        if not all(self.holds(guard) for guard in transaction.when):
            return GuardsFailed
        in_hashes = [write for write in transaction.then if isinstance(write, SetFields | AddToField)]
        for write in [*in_hashes, *(write for write in transaction.then if write not in in_hashes)]:
            self.write(write)
        return Committed

    def value(self, place: Any) -> str | None:
        content = self.content.get(place.key)
        found: str | None = content if isinstance(place, String) else (content or {}).get(place.name)
        return found

    def holds(self, guard: Guard) -> bool:
        value = self.value(guard.place)
        return {
            "absent": value is None,
            "present": value is not None,
            "equals": value == guard.operand,
            "at_least": value is not None and guard.operator == "at_least" and int(value) >= int(guard.operand),
        }[guard.operator]

    def put(self, key: str, kind: str, empty: Any) -> Any:
        self.kinds[key] = kind
        return self.content.setdefault(key, empty)

    def write(self, write: Write) -> None:
        match write:
            case SetFields(key, fields):
                self.put(key, "hash", {}).update(fields)
            case AddToField(place, amount):
                self.put(place.key, "hash", {})[place.name] = str(int(self.value(place) or 0) + amount)
            case SetText(text, value, ttl):
                self.drop(text.key)
                self.put(text.key, "string", value)
                self.expiring |= {text.key} if ttl else set()
            case AddMember(key, member):
                self.put(key, "zset", set()).add(member)
            case RemoveMember(key, member):
                self.content.get(key, set()).discard(member)
                if not self.content.get(key):
                    self.drop(key)
            case Append(stream):
                self.put(stream, "stream", []).append(1)
            case Expire(key):
                self.expiring |= {key} & self.content.keys()
            case Delete(key):
                self.drop(key)

    def drop(self, key: str) -> None:
        self.content.pop(key, None)
        self.kinds.pop(key, None)
        self.expiring.discard(key)


def kind_of(each: Write | Guard) -> tuple[str, str | None]:
    """The key that it is about, and what that must hold, if anything."""
    match each:
        case Guard(place):
            return place.key, "string" if isinstance(place, String) else "hash"
        case SetFields(key):
            return key, "hash"
        case AddToField(place):
            return place.key, "hash"
        case SetText(text):
            return text.key, "string"
        case AddMember(key) | RemoveMember(key):
            return key, "zset"
        case Append(stream):
            return stream, "stream"
        case Expire(key) | Delete(key):
            return key, None
        case _:
            raise AssertionError(each)


def refused(then: Sequence[Write]) -> bool:
    """Whether the order of writes would matter."""
    added = {write.field for write in then if isinstance(write, AddToField)}
    put = {HashField(each.key, name) for each in then if isinstance(each, SetFields) for name, _ in each.fields}
    deleted = {write.key for write in then if isinstance(write, Delete)}
    return bool(added & put or {place.key for place in added | put} & deleted)


async def observe(store: Store) -> Model:
    """What the server holds, as the model has it."""
    model, redis = Model(), store.redis
    for key in KEYS:
        kind = (await redis.type(key)).decode()
        if kind == "none":
            continue
        model.kinds[key] = kind
        if await redis.pttl(key) > 0:
            model.expiring.add(key)
        match kind:
            case "hash":
                pairs = await redis.hgetall(key)
                model.content[key] = {name.decode(): value.decode() for name, value in pairs.items()}
            case "string":
                model.content[key] = (await redis.get(key) or b"").decode()
            case "zset":
                model.content[key] = {member.decode() for member in await redis.zrange(key, 0, -1)}
            case _:
                model.content[key] = [1] * await redis.xlen(key)
    return model


@pytest.fixture
def permanent_keys() -> tuple[str, ...]:
    return KEYS


@given(st.lists(transactions, min_size=1, max_size=6))
@example(
    [Transaction(then=[Hash("k1")["a"].set("many")]), Transaction(then=[Hash("k1")["a"].add(1), String("k2").set("x")])]
)
@limits(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_the_server_does_what_the_model_does(store: Store, story: list[Transaction]) -> None:
    await store.redis.flushall()
    fences = await delivered(store, len(story))
    model, unsettled = Model(), 0
    for transaction, fence in zip(story, fences, strict=True):
        before = deepcopy(model)
        expected = model.commit(transaction)
        answer = await commit(store, transaction, fence)
        assert type(answer) is (Committed if transaction.is_empty else expected)
        unsettled += expected is not Committed
        assert await observe(store) == model
        assert expected is Committed or model == before
        if expected is Committed and not transaction.is_empty:
            assert isinstance(await commit(store, transaction, fence), Duplicate | Conflict)
            assert await observe(store) == model
    assert await pending(store, STREAM) == unsettled


@given(st.lists(transactions, min_size=2, max_size=16))
@limits(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_so_it_does_where_all_share_one_call(store: Store, story: list[Transaction]) -> None:
    await store.redis.flushall()
    fences = await delivered(store, len(story))
    model = Model()
    expected = [model.commit(transaction) for transaction in story]
    work = [Work(transaction, ORIGIN, fence) for transaction, fence in zip(story, fences, strict=True)]
    answers = await store.committer.commit_all(work)
    assert [type(answer) for answer in answers] == expected
    assert await observe(store) == model
    assert await pending(store, STREAM) == len(story) - expected.count(Committed)
