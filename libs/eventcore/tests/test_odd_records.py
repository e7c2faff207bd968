"""A record that can't be read is left out, and the log says so once, without what it holds."""

from __future__ import annotations

import pytest

from eventcore import Unreadable, Value
from eventcore.events import odd_records as module
from eventcore.events.odd_records import OddRecords


class Person(Value):
    """Somebody."""

    name: str
    age: int


def test_it_is_said_once_and_nothing_of_it_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    people = OddRecords("person")
    for _ in range(2):
        assert people.read("1", lambda: Person.model_validate_json('{"name": "Anna", "age": "old"}')) is None
    assert people.read("2", lambda: Person(name="Anna", age=7)) == Person(name="Anna", age=7)
    [said] = caplog.messages
    assert said.startswith("person 1 can't be read and is left out: age: ")
    assert "Anna" not in said
    assert "old" not in said


@pytest.mark.parametrize("value", ["", "[", "null", "[1]", "7"])
def test_whatever_stands_there_is_no_defect(value: str) -> None:
    assert OddRecords("person").read("1", lambda: Person.model_validate_json(value)) is None


def test_what_was_said_is_not_remembered_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SAID", 10)
    people = OddRecords("person")
    for number in range(100):
        people.leave_out(str(number), ValueError())
    assert len(people._said) <= 10


def test_of_several_values_those_are_left_out_that_could_not_be_read(caplog: pytest.LogCaptureFixture) -> None:
    values = ["a", Unreadable("a member of index holds no text"), "b"]
    assert OddRecords("person").readable("in the index", values) == ["a", "b"]
    assert caplog.messages == ["person in the index can't be read and is left out: a member of index holds no text"]
