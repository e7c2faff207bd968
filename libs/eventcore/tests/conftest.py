"""What the tests of eventcore share beside its own fixtures: one server for programs, and short waits."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import redis

from eventcore import telemetry
from eventcore.testing import Server, ServerKind, available_kinds
from eventcore.testing.server import TlsFiles


@pytest.fixture(autouse=True)
def nothing_handled() -> Iterator[None]:
    """What is logged after a test that has decided upon deliveries by itself is not about the last of them."""
    yield
    telemetry.HANDLED.set(None)


@pytest.fixture
def any_server(running_servers: Callable[[ServerKind], Server]) -> Server:
    """A server of one kind, empty: for what does not depend on the kind, and takes a process."""
    server = running_servers(available_kinds()[0])
    with redis.Redis.from_url(server.url) as connected:
        connected.flushall()
    return server


@pytest.fixture
def brief_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit is given up as not durable after a second."""
    monkeypatch.setattr("eventcore.commit.durability.CONFIRM_WITHIN", timedelta(seconds=1))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """A certificate that vouches for itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command makes the certificate, and is not installed")
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "server.crt", directory / "server.key"
    request = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    subprocess.run([*request, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return TlsFiles(certificate=certificate, key=key, ca=certificate)
