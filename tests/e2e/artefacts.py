"""What tells why a scenario failed, kept in a folder: the ledger's difference, the streams, the system's own words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from .driver import Driver
from .stage import Stage
from .streams import DEAD_LETTER_STREAMS, INVENTORY_STREAM, ORDERS_STREAM, RedisProblem


async def keep(driver: Driver, stage: Stage, problems: Sequence[str], directory: Path) -> None:
    """Write everything down, as far as it can still be had."""
    _text(directory / "problems.txt", "".join(f"{problem}\n" for problem in problems))
    _lines(directory / "orders.jsonl", [asdict(placed) for placed in stage.load.placed])
    _lines(directory / "recoveries.jsonl", [each._asdict() for each in stage.recoveries])
    if stage.evidence is not None:
        lives = [{**asdict(life), "done_at": life.done_at} for life in stage.evidence.lives]
        _lines(directory / "ledger.jsonl", lives)
        _lines(directory / "groups.jsonl", [group._asdict() for group in stage.evidence.groups])
    for stream in (ORDERS_STREAM, INVENTORY_STREAM, *DEAD_LETTER_STREAMS):
        with suppress(RedisProblem):
            _lines(directory / f"{stream}.jsonl", await stage.streams.dump(stream))
    await driver.keep_artefacts(directory)


def _lines(path: Path, rows: Sequence[object]) -> None:
    _text(path, "".join(json.dumps(row, default=_plain, ensure_ascii=False) + "\n" for row in rows))


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, set | frozenset) else str(value)
