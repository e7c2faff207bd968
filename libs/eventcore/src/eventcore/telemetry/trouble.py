"""What an exception says, safe to show whatever its class does: bounded, without secrets and control characters."""

from __future__ import annotations

import traceback

from .blotting import without_secrets

LONGEST_TEXT = 500
LONGEST_TRACEBACK = 8_000
# More than is shown is looked through, so that no secret is cut in two before it is found.
_LOOKED_THROUGH = 4


def kind_of(error: BaseException) -> str:
    """The name of its class, past any metaclass that has its own idea of names."""
    name: str = type.__dict__["__name__"].__get__(type(error))
    return name[:200]


def text_of(error: BaseException, longest: int = LONGEST_TEXT) -> str:
    """What it says, on one line; empty where it says nothing, or fails to."""
    try:
        said = str.__str__(str(error))  # exactly a `str`, even of a subclass
    except BaseException:  # noqa: BLE001 - of a class that is somebody else's
        return "(its text can't be shown)"
    return shortened(one_line(without_secrets(_beginning(said, _LOOKED_THROUGH * longest))), longest)


def summary_of(error: BaseException) -> str:
    """Its class and what it says: `ValueError: no luck`."""
    said = text_of(error)
    return f"{kind_of(error)}: {said}" if said else kind_of(error)


def traceback_of(error: BaseException) -> str:
    """The end of its traceback."""
    try:
        lines = "".join(traceback.format_exception(error))
    except BaseException:  # noqa: BLE001 - of a class that is somebody else's
        lines = f"{''.join(traceback.format_tb(error.__traceback__))}{summary_of(error)}\n"
    if len(lines) > (most := _LOOKED_THROUGH * LONGEST_TRACEBACK):
        lines = lines[-most:].partition("\n")[2]
    return without_secrets(lines)[-LONGEST_TRACEBACK:]


def one_line(text: str) -> str:
    """The text with all white space as single spaces, and escapes for what can't be printed."""
    text = " ".join(text.split())
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def shortened(text: str, longest: int) -> str:
    """The beginning of a text that is longer."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _beginning(text: str, longest: int) -> str:
    """The same up to a space, so that no secret is cut in two."""
    return text if len(text) <= longest else text[:longest].rpartition(" ")[0] + " …"
