"""One program as a child process: with a log of its own, deaf to our terminal's Ctrl-C, and gone when we are gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

# The shell forks a guard, then becomes the program. The guard reads a pipe that only we hold open: its end means that
# we are gone, even by SIGKILL; a line, that the program is, and that its process id may be reused.
_GUARDED = 'exec 3<&0; { read -r line <&3 || kill -KILL $$; } & exec "$@" 3<&- </dev/null'


class Child:
    """A Python module running as a program; `name` is what people call it."""

    def __init__(self, name: str, module: str, environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        # A session of its own: Ctrl-C is for us alone, and we end our children in order.
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARDED, "guard", sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """How it ended (minus the signal, if one ended it); `None` while it lives."""
        status = self._process.poll()
        if status is not None and self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(OSError):
                self._process.stdin.write(b"\n")
                self._process.stdin.flush()
            with suppress(OSError):
                self._process.stdin.close()
        return status

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        return self.status is None

    def terminate(self) -> None:
        """Ask it to finish what it has in hand and end. Harmless if it has ended."""
        if self.status is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once. Harmless if it has ended."""
        if self.status is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            _ = self.status  # lets go of the pipe

    def obituary(self) -> str:
        """How it ended and the last it said."""
        return f"the {self.name} {how(self.status)}; the end of its log:\n{tail(self.log)}"


def how(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "is still running"
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    last = [line[:400] for line in text.splitlines()[-lines:]] or ["(it is empty)"]
    return "\n".join(f"    {line}" for line in last)
