"""Writing to the terminal or into a pipe: colours only on a terminal, JSON for programs, nothing that runs away."""

from __future__ import annotations

import errno
import json
import os
import select
import sys
import unicodedata
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from .complaints import ToolFailure

# Nothing is cut off that goes into a pipe.
_ENDLESS_WIDTH = 10_000


class Output:
    """Standard output and standard error of one command."""

    def __init__(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")  # an odd character is no reason to stop
        self.is_terminal: bool = sys.stdout.isatty()
        self.console = Console(
            force_terminal=self.is_terminal,
            width=None if self.is_terminal else _ENDLESS_WIDTH,
            highlight=False,
            markup=False,
            emoji=False,
        )

    @property
    def width(self) -> int:
        """Columns to write in."""
        return self.console.width

    def show(self, renderable: RenderableType) -> None:
        """Print for people."""
        if isinstance(renderable, Text) and not self.is_terminal:
            _write(renderable.plain)  # many times as fast
            return
        with _writing():
            if self.is_terminal:
                self.console.print(renderable)
                return
            with self.console.capture() as captured:
                self.console.print(renderable)
        _write("\n".join(line.rstrip() for line in captured.get().splitlines()))

    def say(self, message: str) -> None:
        """Print one plain sentence, however long."""
        _write(clean(message))

    def line(self, text: Text) -> None:
        """Print one line, cut at the terminal's edge."""
        text.no_wrap, text.overflow = True, "ellipsis"
        self.show(text)

    def document(self, document: Any) -> None:
        """Print a JSON document."""
        _write(_dumps(document, indent=2))

    def json_line(self, document: Any) -> None:
        """Print a JSON document on a line of its own, at once."""
        _write(_dumps(document), flush=True)

    async def document_of(self, head: dict[str, Any], name: str, items: AsyncIterator[dict[str, Any]]) -> None:
        """Print a JSON document whose last member is a list of any length, item by item."""
        _write(f"{_dumps(head, indent=2)[:-2]},\n  {_dumps(name)}: [", end="")
        separator = ""
        async for item in items:
            _write(separator + "\n    " + _dumps(item, indent=2).replace("\n", "\n    "), end="")
            separator = ","
        _write("\n  ]\n}" if separator else "]\n}")

    def flush(self) -> None:
        """Let go of what is still to be written. Raises `BrokenPipeError` if nobody reads any more."""
        with _writing():
            sys.stdout.flush()
            if not self.is_terminal and _is_abandoned():
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def note(self, message: str) -> None:
        """Say something beside the result."""
        print(clean(message), file=sys.stderr)

    def complain(self, message: str) -> None:
        """Say on one line what went wrong."""
        self.note(f"eventcore: {' '.join(message.split())}")


@contextmanager
def _writing() -> Iterator[None]:
    """What standard output refuses is no fault of Redis's. That nobody reads on (`| head`) is no fault at all."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        raise ToolFailure(f"can't write to standard output: {error.strerror}") from error


def _is_abandoned() -> bool:
    """Whether whoever has read our pipe is gone: a command that waits for events would never find out by writing."""
    try:
        reader = select.poll()
        reader.register(sys.stdout.fileno(), 0)
        return any(state & select.POLLERR for _, state in reader.poll(0))
    except (AttributeError, OSError, ValueError):  # no poll on this system, or standard output is no file, or closed
        return False


@_writing()
def _write(text: str, end: str = "\n", *, flush: bool = False) -> None:
    print(text, end=end, flush=flush)


def _dumps(document: Any, indent: int | None = None) -> str:
    plain = (sys.stdout.encoding or "").lower().replace("-", "") not in ("utf8", "utf8sig")
    return json.dumps(document, indent=indent, ensure_ascii=plain)


def clean(text: str, *, keep: str = "") -> str:
    """Text from events, made harmless: control characters (they could steer the terminal) are shown as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char in keep or not _steers(char) else _escaped(char) for char in text)


def _steers(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if char in "\n\t\r" else f"\\u{ord(char):04x}"
