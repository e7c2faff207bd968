"""Services get the ports that they are to have; one that is taken is noticed, and who holds it is said."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from demo.options import Options
from demo.ports import PortTaken, choose_ports, free_port, holder, is_free


def test_a_port_is_free_until_somebody_listens_there() -> None:
    port = free_port()
    assert is_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
    assert is_free(port)


def test_somebody_who_listens_on_all_addresses_takes_it_too() -> None:
    with socket.create_server(("", free_port())) as server:
        assert not is_free(server.getsockname()[1])


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux says who holds a port, in /proc")
def test_the_holder_of_a_port_is_named_with_its_process_id() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        assert f"(pid {os.getpid()})" in holder(server.getsockname()[1])


def test_a_holder_that_cannot_be_found_is_another_program() -> None:
    assert holder(free_port()) == "another program"


def test_a_port_that_is_taken_is_named_with_a_way_out() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} of the order service .* make up ORDER_LISTEN=\d+$"):
            choose_ports(Options("up", ports={"order": port}))


def test_up_takes_the_default_ports_and_the_demo_free_ones() -> None:
    defaults = {"order": 8001, "inventory": 8002, "notification": 8003}
    with suppress(PortTaken):  # somebody is up on this machine
        assert choose_ports(Options("up")) == defaults
    assert not set(choose_ports(Options()).values()) & set(defaults.values())
    assert choose_ports(Options(ports={"order": (port := free_port())}))["order"] == port
