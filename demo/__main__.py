"""`python -m demo` and `python -m demo up`: arguments in, exit status out."""

import signal

# First of all: until we have an answer to Ctrl-C of our own, it ends us without a word, as it does any program.
signal.signal(signal.SIGINT, signal.SIG_DFL)

import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from types import FrameType  # noqa: E402

GOOD, OFF, WRONG_USAGE = 0, 1, 2


class Interrupts:
    """Ctrl-C, `kill` and a closed terminal: end at once while there is nothing to stop, else do what was agreed on."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._act: Callable[[], object] | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._arrived)

    def agree(self, act: Callable[[], object] | None) -> None:
        """What to do from now on."""
        self._act = act

    def _arrived(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        if self._act is None:
            os._exit(128 + number)
        self._act()

    @property
    def status(self) -> int:
        """The exit status by which shells tell of a signal."""
        return 128 + (self.signal or signal.SIGINT)


def main() -> int:
    """Do what was asked for; the exit status."""
    interrupts = Interrupts()
    # Importing takes a while, and Ctrl-C may come at any moment: only now, and only what is needed.
    from .files import BadFile
    from .options import USAGE, UsageError, read
    from .ports import PortTaken, choose_ports
    from .sources import workload

    if sys.argv[1:] in (["-h"], ["--help"]):
        print(USAGE)
        return GOOD
    try:
        options = read(sys.argv[1:], os.environ)
        work = workload(options) if options.replays else None
        ports = choose_ports(options)
    except (UsageError, BadFile, PortTaken) as error:
        print(f"demo: {error}", file=sys.stderr)
        return OFF if isinstance(error, PortTaken) else WRONG_USAGE

    import asyncio

    from rich.console import Console

    from .run import Verdict, run

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)

    async def live() -> Verdict:
        loop = asyncio.get_running_loop()
        agree = interrupts.agree
        return await run(options, ports, work, console, lambda act: agree(lambda: loop.call_soon_threadsafe(act)))

    verdict = asyncio.run(live())
    interrupts.agree(lambda: None)
    return {Verdict.GOOD: GOOD, Verdict.OFF: OFF, Verdict.INTERRUPTED: interrupts.status}[verdict]


if __name__ == "__main__":
    sys.exit(main())
