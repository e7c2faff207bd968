"""Does harm to a container from a privileged pod on its node; stands alone, on nothing but Python and Linux.

signal CONTAINER NUMBER     sends a signal to its first process, even SIGKILL, which nobody inside could
cut CONTAINER ADDRESS       lets nothing more leave its network for an IPv4 address: a route into nothing
mend CONTAINER ADDRESS      takes that route away again
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
import time
from pathlib import Path

_NET_NAMESPACE = 0x40000000  # CLONE_NEWNET
# From <linux/rtnetlink.h> and <linux/netlink.h>.
_NEW_ROUTE, _DELETE_ROUTE = 24, 25
_REQUEST, _ACKNOWLEDGE, _CREATE, _EXCLUSIVE = 0x1, 0x4, 0x400, 0x200
_MAIN_TABLE, _STATIC, _UNIVERSE, _BLACKHOLE, _DESTINATION = 254, 4, 0, 6, 1
_ERROR_TYPE = 2

NO_SUCH_PROCESS = "there is no process of container"


def first_process(container: str, proc: Path = Path("/proc")) -> int:
    """The process id, as the node counts, of a container's first process."""
    for directory in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            inside = container in (directory / "cgroup").read_text()
            status = (directory / "status").read_text()
        except OSError:  # gone meanwhile
            continue
        ids = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
        if inside and len(ids) > 1 and ids[-1] == "1":
            return int(directory.name)
    sys.exit(f"{NO_SUCH_PROCESS} {container} on this node")


def send(pid: int, number: int) -> None:
    """Send it; after SIGKILL, wait until the process is gone."""
    os.kill(pid, number)
    deadline = time.monotonic() + 10
    while number == 9 and _lives(pid):
        if time.monotonic() > deadline:
            sys.exit(f"process {pid} survives SIGKILL")
        time.sleep(0.01)


def route(pid: int, address: str, *, add: bool) -> None:
    """Add a blackhole route to its network namespace, or take it away."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        if libc.setns(namespace.fileno(), _NET_NAMESPACE):
            sys.exit(f"can't enter the network of process {pid}: {os.strerror(ctypes.get_errno())}")
    kind = _NEW_ROUTE if add else _DELETE_ROUTE
    flags = _REQUEST | _ACKNOWLEDGE | (_CREATE | _EXCLUSIVE if add else 0)
    message = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, _MAIN_TABLE, _STATIC, _UNIVERSE, _BLACKHOLE, 0)
    message += struct.pack("=HH4s", 8, _DESTINATION, socket.inet_aton(address))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(message), kind, flags, 1, 0) + message)
        answer = netlink.recv(65536)
    _, answer_kind, _, _, _ = struct.unpack_from("=IHHII", answer)
    (error,) = struct.unpack_from("=i", answer, 16)
    if answer_kind != _ERROR_TYPE or error:
        sys.exit(f"route {'to' if add else 'no longer to'} {address}: {os.strerror(-error)}")


def _lives(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["signal", container, number]:
            send(first_process(container), int(number))
        case ["cut", container, address]:
            route(first_process(container), address, add=True)
        case ["mend", container, address]:
            route(first_process(container), address, add=False)
        case _:
            sys.exit(__doc__)
