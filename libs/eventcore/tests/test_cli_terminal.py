"""On a terminal the tool fits the window, uses colours unless asked not to, and asks before it deletes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import pytest

from eventcore.testing import Server

from .tool import GROUP, SECONDS, STREAM, append, append_letter, client, environment, fill

CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m")


class Terminal:
    """A terminal with the tool running in it."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process, self._master, self.shown = process, master, ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def read(self) -> bool:
        """Read what has come; whether there will be more."""
        with suppress(OSError):  # what Linux says at the end
            if more := os.read(self._master, 65536):
                self.shown += more.decode("utf-8", "replace")
                return True
        return False

    def read_until(self, text: str) -> None:
        while text not in self.shown:
            assert self.read(), f"{text!r} was not shown, but {self.shown!r}"

    def interrupt(self) -> None:
        """Press Ctrl-C, again if need be: Python does not hear one that comes just as it begins to wait for a line."""
        while self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)

    def read_to_the_end(self) -> str:
        while self.read():
            pass
        return self.shown

    @property
    def lines(self) -> list[str]:
        return CONTROL.sub("", self.shown).replace("\r", "").splitlines()


@contextmanager
def terminal(
    server: Server, *arguments: str, width: int = 80, height: int = 24, env: Mapping[str, str] = {}
) -> Iterator[Terminal]:
    """Run the tool in a terminal of this size."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    inherited = {name: value for name, value in environment(server).items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "eventcore", *arguments]
    settings = {**inherited, "TERM": "xterm-256color", **env}
    try:
        with subprocess.Popen(
            command, env=settings, start_new_session=True, stdin=slave, stdout=slave, stderr=slave
        ) as process:
            os.close(slave)
            try:
                yield Terminal(process, master)
            finally:
                process.kill()
    finally:
        os.close(master)


def shown(server: Server, *arguments: str, width: int = 80, env: Mapping[str, str] = {}) -> Terminal:
    with terminal(server, *arguments, width=width, env=env) as window:
        window.read_to_the_end()
        assert window.process.wait(SECONDS) == 0
        return window


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize(
    "arguments",
    [["status"], ["tail", STREAM], ["dlq", "list", STREAM], ["trace", "4bf92f35"]],
    ids=lambda each: each[0],
)
def test_every_line_fits_the_window(any_server: Server, arguments: list[str], width: int) -> None:
    with client(any_server) as connected:
        fill(connected)
        append(connected, orderId="o" * 200, meta_correlationId="c" * 200)
        append_letter(connected, error="a long story " * 50, type="a-rather.long.type.of.event")
    window = shown(any_server, *arguments, width=width)
    assert window.lines
    assert max(map(len, window.lines)) <= width


def test_a_narrow_list_has_three_lines_a_letter_and_a_wide_one_one(any_server: Server) -> None:
    with client(any_server) as connected:
        append_letter(connected, "1795422227446-0")
    assert shown(any_server, "dlq", "list", STREAM).lines[3:] == [
        "1795422227446-0  11-23 10:00:31  inventory-group  attempts_exhausted",
        "  order.created  e-1       5",
        "  ValueError: no such product",
    ]
    assert len(shown(any_server, "dlq", "list", STREAM, width=200).lines) == 2


def test_a_narrow_status_leaves_out_columns_rather_than_digits(any_server: Server) -> None:
    with client(any_server) as connected:
        many = connected.pipeline()
        for _ in range(12_345):
            many.xadd(STREAM, {"event": "{}"})
        many.execute()
        connected.xgroup_create(STREAM, GROUP, "0")

    def table(width: int) -> list[str]:
        lines = shown(any_server, "status", width=width).lines
        start = next(number for number, line in enumerate(lines) if "GROUP" in line)
        return [*lines[start].split(), *lines[start + 1].split()[:2]]

    wide = ["GROUP", "LAG", "BEHIND", "PENDING", "OLDEST", "DONE", "REDRIVEN", "LETTERS", GROUP, "12,345"]
    assert table(80) == wide
    assert table(64) == ["GROUP", "LAG", "BEHIND", "PENDING", "OLDEST", "LETTERS", GROUP, "12,345"]
    assert table(36) == ["GROUP", "LAG", "BEHIND", "PENDING", "inventor…", "12,345"]


def test_a_narrow_tail_cuts_ids_but_keeps_what_tells_them_apart(any_server: Server) -> None:
    order, correlation = "01a20781-0bcd-73be-bccb-2cbf83c5aaeb", "4bf92f3577b34da6a3ce929d0e0e4736"
    with client(any_server) as connected:
        append(connected, STREAM, "1795422227446-0", orderId=order, meta_correlationId=correlation)
    assert shown(any_server, "tail", STREAM).lines == [
        "08:23:47.446 1795422227446-0 order.created      …2cbf83c5aaeb 4bf92f3577b…"
    ]
    [wide] = shown(any_server, "tail", STREAM, width=160).lines
    assert wide.split()[-2:] == [order, correlation]


def test_there_are_colours_on_a_terminal_unless_asked_not_to(any_server: Server) -> None:
    with client(any_server) as connected:
        fill(connected)
    assert COLOUR.search(shown(any_server, "status").shown)
    assert not COLOUR.search(shown(any_server, "status", env={"NO_COLOR": "1"}).shown)
    piped = subprocess.run(
        [sys.executable, "-m", "eventcore", "status"],
        env=environment(any_server, FORCE_COLOR="1", TERM="xterm-256color"),
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    assert "\x1b" not in piped.stdout


def test_purging_asks_first(any_server: Server) -> None:
    with client(any_server) as connected:
        append_letter(connected, "1-0")
        append_letter(connected, "2-0")
        with terminal(any_server, "dlq", "purge", STREAM, "--all", "-g", GROUP) as window:
            window.read_until(f"Delete all dead letters of orders_dlq (group {GROUP}) for good? [y/N]: ")
            window.type("n\n")
            assert "nothing was purged" in window.read_to_the_end()
            assert window.process.wait(SECONDS) == 1
        assert connected.xlen("orders_dlq") == 2

        with terminal(any_server, "dlq", "purge", STREAM, "--id", "1-0") as window:
            window.read_until("Delete 1 dead letter of orders_dlq for good?")
            window.interrupt()
            window.read_to_the_end()
            assert window.process.wait(SECONDS) == 1
        assert connected.xlen("orders_dlq") == 2

        with terminal(any_server, "dlq", "purge", STREAM, "--id", "1-0") as window:
            window.read_until("for good?")
            window.type("y\n")
            assert "1 of 1 purged" in window.read_to_the_end()
        assert "1 of 1 purged" in shown(any_server, "dlq", "purge", STREAM, "--all", "--yes").shown


def test_watching_takes_the_screen_shows_what_fits_and_gives_it_back(any_server: Server) -> None:
    with client(any_server) as connected:
        for number in range(20):
            append(connected, f"a{number}_stream")
    with terminal(any_server, "status", "--watch", "--interval", "0.1", height=12) as window:
        window.read_until("more lines: name the streams to watch")
        window.process.send_signal(signal.SIGINT)
        window.read_to_the_end()
        assert window.process.wait(SECONDS) == 0
    assert "\x1b[?1049h" in window.shown
    assert window.shown.rindex("\x1b[?1049l") > window.shown.rindex("\x1b[?1049h")
    assert max(map(len, window.lines)) <= 80


def test_watching_keeps_the_last_look_while_the_server_is_away() -> None:
    with Server(append_only=True) as server:
        with client(server) as connected:
            append(connected)
        with terminal(server, "status", "--watch", "--interval", "0.1", width=120) as window:
            window.read_until("1 entry")
            server.kill()
            window.read_until("this is how it was before")
            _, _, last = window.shown.rpartition("this is how it was before")
            window.read_until("1 entry")
            server.restart()
            window.shown = last
            window.read_until("1 entry")
