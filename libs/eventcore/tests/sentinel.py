"""A Sentinel for tests, of the server that is on PATH."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventcore.testing import Server, TlsFiles


@contextmanager
def sentinel(
    master: Server, directory: Path, tls: TlsFiles | None = None, *, password: str = "", its_own: str = ""
) -> Iterator[int]:
    """A Sentinel that watches over a server as `main`, reached by TLS as the server is; its port."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("there is no server on PATH to be a Sentinel")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    lines = ["bind 127.0.0.1", "protected-mode no", f"dir {directory}", f"port {0 if tls else port}"]
    if tls:
        lines += [f"tls-port {port}", "tls-replication yes", "tls-auth-clients no", f"tls-cert-file {tls.certificate}"]
        lines += [f"tls-key-file {tls.key}", f"tls-ca-cert-file {tls.ca}"]
    lines += [f"sentinel monitor main 127.0.0.1 {master.port} 1"]
    lines += [f"sentinel auth-pass main {password}"] if password else []
    lines += [f"requirepass {its_own}"] if its_own else []
    configuration = directory / "sentinel.conf"
    configuration.write_text("\n".join([*lines, ""]))
    with subprocess.Popen([program, configuration, "--sentinel"], stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert watching.stdout
            assert any("+monitor master main" in line for line in watching.stdout)
            yield port
        finally:
            watching.kill()
