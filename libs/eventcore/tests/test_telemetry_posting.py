"""Posting to a collector over one plain connection; what takes more than that is left to `requests`."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from requests import ConnectionError as NotConnected

from eventcore.telemetry.posting import session_for


class Collector(HTTPServer):
    """Notes what is posted, and over which connection."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.received: list[tuple[str, str, bytes]] = []
        self.connections: set[int] = set()
        self.parting = False
        self.url = f"http://127.0.0.1:{self.server_port}/v1/traces"


class Answer(BaseHTTPRequestHandler):
    """As far as it is needed here."""

    protocol_version = "HTTP/1.1"
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, self.headers["X-Who"], body))
        self.server.connections.add(self.client_address[1])
        self.send_response(503)
        self.send_header("Retry-After", "7")
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"full")
        self.close_connection = self.server.parting

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_requests_go_over_one_connection_and_are_answered(collector: Collector) -> None:
    session = session_for(collector.url)
    assert session is not None
    for body in (b"one", b"two"):
        answer = session.post(f"{collector.url}?a=1", data=body, headers={"x-who": "me"}, timeout=5)
        assert (answer.status_code, answer.reason, answer.headers["retry-after"]) == (503, "Service Unavailable", "7")
    session.close()
    assert collector.received == [("/v1/traces?a=1", "me", b"one"), ("/v1/traces?a=1", "me", b"two")]
    assert len(collector.connections) == 1


def test_a_connection_that_the_collector_has_closed_is_opened_when_the_exporter_tries_again(
    collector: Collector,
) -> None:
    session = session_for(collector.url)
    assert session is not None
    collector.parting = True
    session.post(collector.url, data=b"one", headers={"x-who": "me"}, timeout=5)
    with pytest.raises(NotConnected):
        session.post(collector.url, data=b"two", headers={"x-who": "me"}, timeout=5)
    session.post(collector.url, data=b"two", headers={"x-who": "me"}, timeout=5)
    session.close()
    assert len(collector.connections) == 2


def test_nobody_there_and_nobody_answering_are_errors_that_the_exporter_knows() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"
        session = session_for(url)
        assert session is not None
        with pytest.raises(NotConnected, match="timed out"):
            session.post(url, data=b"one", timeout=0.05)
    with pytest.raises(NotConnected, match="refused"):
        session.post(url, data=b"one", timeout=5)
    session.close()


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("https://collector:4318", ""),
        ("http://user:word@collector:4318", ""),
        ("http://collector:4318", "HTTP_PROXY"),
        ("http://collector:4318", "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER"),
    ],
)
def test_the_rest_is_left_to_requests(url: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if variable:
        monkeypatch.setenv(variable, "http://proxy:3128")
    assert session_for(url) is None
