"""TCP ports of this machine: which are free, and who holds one that is not."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path

host = "127.0.0.1"

# Below the range that outgoing connections get their ports from.
_range = range(20_000, 32_000)
_listening = "0A"  # in /proc/net/tcp


def is_free(port: int) -> bool:
    """Whether a server could listen there now; old connections of a former one are no hindrance."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nobody listens on now."""
    while True:
        if is_free(port := secrets.choice(_range)):
            return port


def holder(port: int) -> str:
    """Who listens there, as far as this system tells us: `python -m http.server (pid 4711)`."""
    sockets = {f"socket:[{inode}]" for inode in _inodes(port)}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(handle.readlink()) in sockets for handle in (process / "fd").iterdir()):
                command = (process / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
                return f"{_short(command)} (pid {process.name})"
        except OSError:  # somebody else's, or gone by now
            continue
    return "another program"


def _inodes(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
        except OSError:
            continue
        found |= {row[9] for row in rows if row[3] == _listening and int(row[1].rpartition(":")[2], 16) == port}
    return found


def _short(command: str) -> str:
    return command if len(command) <= 60 else f"{command[:59]}…"
