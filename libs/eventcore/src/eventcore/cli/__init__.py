"""The operator's tool: see what streams, groups and dead letters are like, and act on them."""

from .app import app

__all__ = ["app", "main"]


def main() -> None:
    """Run the tool on the command line's arguments; ends the program with 0 (done), 1 (failed) or 2 (wrong usage)."""
    app(prog_name="eventcore")
