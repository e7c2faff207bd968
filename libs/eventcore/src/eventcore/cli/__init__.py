"""The operator's tool: see what streams, groups and dead letters are like, and act on them."""

import os
import sys
from pathlib import Path

from .app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the tool on the command line's arguments; ends the program with 0 (done), 1 (failed) or 2 (wrong usage)."""
    with Path(os.devnull).open("r+") as nowhere:
        # Python has None for what a shell has closed, as in `2>&-`.
        sys.stdin, sys.stdout, sys.stderr = sys.stdin or nowhere, sys.stdout or nowhere, sys.stderr or nowhere
        app(prog_name="eventcore")
