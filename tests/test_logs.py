"""docs/logs.md has every log message, and messages and metrics use the words of CONTRIBUTING."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from scripts.metrics_table import instruments

ROOT = Path(__file__).parents[1]
LEVELS = ("debug", "info", "warning", "error", "critical")
# Words that the table forbids for one thing and the shop or plain English needs for another.
ELSEWHERE = {"convert", "event", "message", "not", "notification", "queue", "try"}
RIDDLES = {"begins anew", "no more", "told of", "shall", "so long as", "whoever"}


def messages() -> Iterator[str]:
    """Level, logger and text of each, as docs/logs.md shows them: `%(group)s` is <group>."""
    for path in sorted(ROOT.glob("*/*/src/**/*.py")):
        source = path.read_text(encoding="utf-8")
        named = re.search(r'^log = logging.getLogger\("(\w+)"\)', source, re.MULTILINE)
        logger = named[1] if named else ".".join(path.with_suffix("").parts[path.parts.index("src") + 1 :])
        for call in ast.walk(ast.parse(source)):
            match call:
                case ast.Call(func=ast.Attribute(value=ast.Name("log"), attr=level)) if level in LEVELS:
                    text = ast.literal_eval(call.args[0])  # one constant, so that it can be found with grep
                    shown = re.sub(r"%\((\w+)\)[.\d]*\w", r"<\1>", text)
                    yield f"| {level.upper()} | `{logger}` | `{shown}` |"


def test_docs_list_every_log_message() -> None:
    rows = re.findall(r"^\| [A-Z]+ \| `[\w.]+` \| `.*?` \|(?= \S)", (ROOT / "docs/logs.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(messages())


def test_messages_and_metrics_use_the_words_of_the_table() -> None:
    table = re.findall(
        r"^\| .+ \| .+ \| (.+) \|$", (ROOT / "CONTRIBUTING.md").read_text().partition("## Words")[2], re.MULTILINE
    )
    forbidden = {word for cell in table for word in cell.split(", ")} - ELSEWHERE | RIDDLES
    texts = [*(row.split("`")[3] for row in messages()), *(each.description for each in instruments())]
    assert len(forbidden) > 20
    assert [text for text in texts if re.search(rf"\b({'|'.join(forbidden)})\b", text, re.IGNORECASE)] == []
