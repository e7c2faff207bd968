"""Options and arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Stream = Annotated[str, typer.Argument(metavar="STREAM", help="A stream's name, with or without the prefix.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only look, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
