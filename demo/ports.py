"""TCP ports: which one each service gets, which are free, and who holds one that is not."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable
from pathlib import Path

from .options import SERVICES, Options

HOST = "127.0.0.1"

# Below the range that outgoing connections get their ports from, and beside the one that embedded servers choose from:
# a service takes seconds to listen on a port that was free when it was chosen.
_RANGE = range(10_000, 20_000)
_DEFAULTS_OF_UP = {"order": 8001, "inventory": 8002, "notification": 8003}
_LISTENING = "0A"  # in /proc/net/tcp


class PortTaken(Exception):
    """Somebody else listens on a port that a service is to have; the message says who, and what to do about it."""


def choose_ports(options: Options) -> dict[str, int]:
    """A port for each service: what was asked for, else the defaults for `up` and free ones for the demo.

    Raises `PortTaken`.
    """
    ports = {**(_DEFAULTS_OF_UP if options.command == "up" else {}), **options.ports}
    for service, port in ports.items():
        if not is_free(port):
            raise PortTaken(
                f"port {port} of the {service} service is taken by {holder(port)}: stop that, "
                f"or choose another port: make {options.command} {service.upper()}_LISTEN={free_port()}"
            )
    for service in SERVICES:
        ports.setdefault(service, free_port(ports.values()))
    return ports


def is_free(port: int) -> bool:
    """Whether a server could listen there now; old connections of a former one are no hindrance."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError:
            return False
    return True


def free_port(but: Iterable[int] = ()) -> int:
    """A port that nobody listens on now, and none of these."""
    taken = set(but)
    while True:
        port = secrets.choice(_RANGE)
        if port not in taken and is_free(port):
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
        found |= {row[9] for row in rows if row[3] == _LISTENING and int(row[1].rpartition(":")[2], 16) == port}
    return found


def _short(command: str) -> str:
    return command if len(command) <= 60 else f"{command[:59]}…"
