"""What every contestant written in Python is: for each work a function that prepares it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

# What is timed.
Timed = Callable[[], Awaitable[None]]
# Given the server's address and how many events, makes everything ready and returns what is to be timed.
Work = Callable[[str, int], Awaitable[Timed]]
# By the contestant's name, its works by their names.
Contestants = dict[str, dict[str, Work]]
