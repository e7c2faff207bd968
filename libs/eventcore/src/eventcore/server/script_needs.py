"""What scripts do to their keys, read from their own text: which commands each runs on which of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

# In `refusal`, `may` and `call` alike a command stands before its key; a second word is its subcommand.
_ON_A_KEY = re.compile(r"'([A-Z]+)'(?:, '([A-Z]+)')?, KEYS\[(\d+|i(?: \+ 1)?)\]")
# A script that goes through its keys in pairs names them by the first of a pair.
_IN_PAIRS = {"i": 1, "i + 1": 2}


@cache
def commands_by_key(script: str) -> Mapping[int, frozenset[str]]:
    """The commands that a script runs on each of its keys, by the key's number; `xgroup|create` is a subcommand."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    for command, subcommand, number in _ON_A_KEY.findall(_text(script)):
        name = f"{command}|{subcommand}" if subcommand else command
        found[_IN_PAIRS.get(number) or int(number)].add(name.lower())
    return {number: frozenset(commands) for number, commands in found.items()}


def _text(script: str) -> str:
    return (files("eventcore") / "lua" / f"{script}.lua").read_text()
