"""Names in a call of the commit script: keys and fields by numbers, and text as Lua takes it."""

from __future__ import annotations

from msgspec import Raw, msgpack

packed = msgpack.Encoder().encode


def script_text(value: object) -> str | Raw:
    """As a string for the script, which could put nothing else into a command."""
    if isinstance(value, str):
        return value if value.__class__ is str else str.__str__(value)  # msgspec knows no subclass of `str`
    if isinstance(value, bytes):  # as MessagePack's str, which is a string of any bytes to Lua: it knows no other
        return Raw(b"\xdb%b%b" % (len(value).to_bytes(4, "big"), value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"{value!r} can't be written: it is neither text nor a number")


def field_name(name: object) -> str | bytes:
    """The name of a field, the same for the same field."""
    if isinstance(name, bytes):
        try:
            return name.decode()
        except UnicodeDecodeError:
            return name
    text = script_text(name)
    return text if isinstance(text, str) else bytes(text)


FieldNumbers = dict[str | bytes, int]
"""Names, those that are no text as bytes, with their numbers: from 1, in the order in which they are first named."""


class KeyNumbers:
    """The keys of a call, and the fields of hashes that it looks at. Transactions name both by number."""

    __slots__ = ("_fields", "_named", "_new", "_numbers", "_prefix", "names")

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._numbers: dict[str, int] = {}
        self._fields: dict[int, FieldNumbers] = {}
        self._named: list[FieldNumbers] = []  # to which of them a name was added, for each name
        self._new: list[int] = []
        self.names: list[bytes] = []

    def number(self, key: str) -> int:
        """From 1, in the order in which keys are first named."""
        number = self._numbers.get(key)
        if number is None:
            self.names.append((self._prefix + key).encode())
            number = self._numbers[key] = len(self.names)
        return number

    def fields(self, number: int) -> FieldNumbers:
        """The fields that are looked at in the hash of this number; more are added by `name`."""
        fields = self._fields.get(number)
        if fields is None:
            fields = self._fields[number] = {}
        return fields

    def name(self, field: str | bytes, fields: FieldNumbers) -> int:
        """The number of a field that is looked at for the first time."""
        if isinstance(field, str):
            field.encode()  # raises now, for one transaction, what would else be raised for the call
        number = fields[field] = len(fields) + 1
        self._named.append(fields)
        return number

    def expect_new(self, number: int) -> None:
        """Say that the hash of this number, in which fields are looked at, is most likely not there yet."""
        self._new.append(number)

    def mark(self) -> tuple[int, int, int]:
        """How much is named now, for `undo`."""
        return len(self.names), len(self._named), len(self._new)

    def undo(self, mark: tuple[int, int, int]) -> None:
        """Forget what was named since: what a transaction leaves behind that can't be compiled would hurt others."""
        keys, fields, new = mark
        for _ in self.names[keys:]:
            self._numbers.popitem()
        for each in reversed(self._named[fields:]):
            each.popitem()
        del self.names[keys:], self._named[fields:], self._new[new:]

    def looked_at(self) -> bytes:
        """The hash fields to look at, as the script takes them, once all transactions are compiled."""
        fields = {number: list(map(script_text, names)) for number, names in self._fields.items() if names}
        return packed((fields, self._new))
