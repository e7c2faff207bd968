"""`kubectl` and `helm` for the stand-in: hands the command line to it, and is the agent where one is executed."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

_HERE = Path(__file__).parent


def main() -> int:
    """Ask the stand-in; its exit status."""
    arguments = sys.argv[1:]
    if arguments[-1] == "relay":
        agent = _HERE.parent / "kind/agent.py"
        environment = {**os.environ, "PYTHONPATH": str(_HERE / "names")}
        os.execve(sys.executable, [sys.executable, "-u", str(agent), "relay"], environment)  # noqa: S606
    if "-i" in arguments:
        sys.stdin.read()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["STAND_IN"])
        connection.sendall(json.dumps(arguments).encode() + b"\n")
        with connection.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                said = json.loads(line)
                if "status" in said:
                    print(said["complaint"], end="", file=sys.stderr)
                    return int(said["status"])
                print(said["text"], end="", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
