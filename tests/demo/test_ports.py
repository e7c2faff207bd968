"""A port that is taken is noticed, and who holds it is said."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from demo.ports import free_port, holder, is_free


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
