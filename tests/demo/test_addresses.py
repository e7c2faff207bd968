"""What `make up` shows can be pasted."""

from __future__ import annotations

from demo.addresses import commands


def test_commands_fit_on_a_line_of_a_terminal_and_have_no_comments() -> None:
    lines = commands("http://127.0.0.1:30001", "http://127.0.0.1:30002", "http://127.0.0.1:30003", "redis://x")
    assert max(map(len, lines)) <= 100
    assert not any(line.startswith("#") for line in lines)
