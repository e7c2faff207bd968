"""Transactions are plain values: rules that return them are tested without a server."""

from __future__ import annotations

import gc
from datetime import timedelta
from typing import Any
from weakref import ref

import pytest

from eventcore import Append, Found, Hash, HashField, SortedSet, String, Transaction, Write, delete, publish
from eventcore.commit.transaction import (
    AddMember,
    AddToField,
    Delete,
    Expire,
    Guard,
    Publish,
    RemoveMember,
    SetFields,
    SetText,
)

from .samples import Shipped

STOCK = Hash("stock:11")["available"]
LOCK = String("lock")


def test_guards_and_writes_read_like_what_they_mean() -> None:
    hour = timedelta(hours=1)
    assert (STOCK >= 3) == Guard(HashField("stock:11", "available"), "at_least", "3")
    assert STOCK.equals("3") == Guard(STOCK, "equals", "3")
    assert STOCK.absent() == Guard(STOCK, "absent")
    assert STOCK.present() == Guard(STOCK, "present")
    assert LOCK.equals("me") == Guard(LOCK, "equals", "me")
    assert LOCK.absent() == Guard(LOCK, "absent")
    assert LOCK.present() == Guard(LOCK, "present")
    assert STOCK.add(-3) == AddToField(STOCK, -3)
    assert STOCK.set(5) == SetFields(STOCK.key, ((STOCK.name, "5"),))
    assert LOCK.set("me", ttl=hour) == SetText(LOCK, "me", hour)
    assert LOCK.set("me") == SetText(LOCK, "me", None)
    assert Hash("stock:11").expire(hour) == Expire("stock:11", hour)
    assert SortedSet("index").add("11", 2) == AddMember("index", "11", 2)
    assert SortedSet("index").remove("11") == RemoveMember("index", "11")
    assert delete("stock:11") == Delete("stock:11")
    assert publish(Shipped(order_id="7"), event_id="e") == Publish(Shipped(order_id="7"), "e")


def test_a_hash_writes_its_fields_but_not_those_that_are_none() -> None:
    written = Hash("order:7").set({"status": "open", "lines": 2, "email": None})
    assert written == SetFields("order:7", (("status", "open"), ("lines", "2")))


def test_a_guard_names_its_place_in_words() -> None:
    assert str(STOCK >= 3) == "stock:11[available] at least 3"
    assert str(LOCK.absent()) == "lock absent"


def test_what_was_found_is_looked_up_by_place_and_says_which_guards_failed() -> None:
    enough, mine = STOCK >= 3, LOCK.equals("me")
    found = Found([(enough, "2"), (mine, "me")])
    assert found == {STOCK: "2", LOCK: "me"}
    assert found.failed == (enough,)


@pytest.mark.parametrize(
    ("guard", "held", "broken"),
    [
        (STOCK >= 3, ["3", "4", "9007199254740991"], [None, "2", "-3"]),
        (STOCK >= -1, ["-1", "0"], [None, "-2"]),
        (STOCK.equals("3"), ["3"], [None, "", "03"]),
        (STOCK.equals(""), [""], [None, "3"]),
        (STOCK.absent(), [None], ["", "3"]),
        (STOCK.present(), ["", "3"], [None]),
    ],
)
def test_a_guard_holds_for_some_values_and_not_for_others(
    guard: Guard, held: list[str | None], broken: list[str | None]
) -> None:
    assert [value for value in held if Found([(guard, value)]).failed] == []
    assert [value for value in broken if not Found([(guard, value)]).failed] == []


def test_otherwise_answers_with_writes_or_with_another_transaction() -> None:
    sorry, wait = publish(Shipped(order_id="7")), Transaction(when=[LOCK.absent()])
    found = Found([(STOCK >= 3, "2")])
    assert Transaction(otherwise=lambda _: [sorry]).decide_again(found) == Transaction(then=[sorry])
    assert Transaction(otherwise=lambda _: wait).decide_again(found) is wait
    assert Transaction(otherwise=lambda _: []).decide_again(found) == Transaction(then=[])
    assert Transaction(when=[STOCK >= 3]).decide_again(found) is None


def test_otherwise_is_told_what_was_found() -> None:
    seen: list[Found] = []
    found = Found([(STOCK >= 3, "2")])

    def look(told: Found) -> list[Write]:
        seen.append(told)
        return []

    Transaction(otherwise=look).decide_again(found)
    assert seen == [found]


def test_only_a_transaction_without_guards_and_writes_is_empty() -> None:
    assert Transaction().is_empty
    assert Transaction(otherwise=lambda _: []).is_empty
    assert not Transaction(when=[STOCK.absent()]).is_empty
    assert not Transaction(then=[Append("log", (("a", "b"),))]).is_empty


def test_a_guard_has_no_truth_so_that_and_can_not_swallow_one() -> None:
    with pytest.raises(TypeError, match="neither true nor false"):
        _ = (STOCK >= 3) and LOCK.absent()


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (STOCK, "name"),
        (Hash("stock:11"), "key"),
        (STOCK >= 3, "operand"),
        (STOCK.add(-3), "amount"),
        (publish(Shipped(order_id="7")), "event"),
        (Transaction(), "then"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_stay_what_they_are(value: object, name: str) -> None:
    with pytest.raises(AttributeError, match="immutable"):
        setattr(value, name, None)


def test_values_are_told_apart_by_what_they_are_and_hold() -> None:
    assert {Hash("lock")["a"], Hash("lock")["a"], Hash("lock")["b"], String("lock"), Hash("lock")} == {
        HashField("lock", "a"), HashField("lock", "b"), String("lock"), Hash("lock")
    }  # fmt: skip
    assert repr(STOCK >= 3) == (
        "Guard(place=HashField(key='stock:11', name='available'), operator='at_least', operand='3')"
    )


def test_a_transaction_that_its_otherwise_remembers_is_collected() -> None:
    class Shop:
        """What the handler's closure refers to."""

    def decide() -> ref[Shop]:
        shop = Shop()

        def look(found: Found) -> list[Write]:
            return [*transaction.then, String(str(shop)).set(str(found))]

        transaction = Transaction(when=[STOCK >= 3], otherwise=look)
        return ref(shop)

    shop = decide()
    gc.collect()
    assert shop() is None


@pytest.mark.parametrize("least", [float("inf"), float("nan"), 2.5, "2"])
def test_a_field_is_compared_with_integers_alone(least: Any) -> None:
    with pytest.raises(TypeError, match="it is no integer"):
        assert Hash("h")["field"] >= least
