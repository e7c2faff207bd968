"""Which of the streams that stand in Redis are main streams; the others belong to one of them."""

from __future__ import annotations

from collections.abc import Iterable


def main_streams(names: Iterable[str]) -> list[str]:
    """The main streams among (and behind) the given ones, sorted: all that are called `…_stream` or have retry streams.

    Dead letters and retry streams stand for their main stream even where that is gone, or no stream any more.
    """
    present = set(names)
    streams = {name for name in present if name.endswith("_stream")}
    for retries in {name for name in present if name.endswith(":retry")}:
        parts = retries.split(":")
        behind = {":".join(parts[:length]) for length in range(1, len(parts) - 1)}
        streams |= present & behind or {name for name in behind if name.endswith("_stream")}
    for letters in {name for name in present if name.endswith("_dlq")} - streams:
        base = letters.removesuffix("_dlq")
        streams.add(base if base in present else f"{base}_stream")
    return sorted(streams)


def scan_pattern(prefix: str) -> str:
    """The pattern for `SCAN` that all keys with this prefix match, and no others."""
    return "".join(f"\\{char}" if char in "*?[]^\\" else char for char in prefix) + "*"
